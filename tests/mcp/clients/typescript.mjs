// The official TypeScript SDK as a client of `waitbus mcp` over stdio: told what to do, it says what came of it.
//
//     node typescript.mjs PACKAGE REVISION PROGRAM [ARGUMENT...]
//
// PACKAGE is @modelcontextprotocol/sdk (1.x) or @modelcontextprotocol/client (2.x). The lines are those of `python.py`.

import { createInterface } from 'node:readline';

const [name, revision, command, ...args] = process.argv.slice(2);
const first = name.endsWith('/sdk');
const { Client } = await import(first ? `${name}/client/index.js` : name);
const { StdioClientTransport } = await import(first ? `${name}/client/stdio.js` : `${name}/stdio`);
const types = first ? await import(`${name}/types.js`) : undefined;
const modern = revision >= '2026';

const say = what => console.log(JSON.stringify(what));
const heard = notification => say({ updated: notification.params.uri });

function connected() {
    const me = { name: 'test', version: '1' };
    if (!first) {
        const versionNegotiation = { mode: modern ? 'auto' : 'legacy' };
        const client = new Client(me, { versionNegotiation, ...(modern ? {} : { supportedProtocolVersions: [revision] }) });
        client.setNotificationHandler('notifications/resources/updated', heard);
        return client;
    }
    const client = new Client(me);
    // 1.x asks for its newest revision, and can be told of no other.
    const request = client.request.bind(client);
    client.request = (asked, ...rest) => {
        if (asked.method === 'initialize') asked.params.protocolVersion = revision;
        return request(asked, ...rest);
    };
    client.setNotificationHandler(types.ResourceUpdatedNotificationSchema, heard);
    return client;
}

const client = connected();
// The SDK passes on little of its environment by itself, and the bus of a test is in it.
const transport = new StdioClientTransport({ command, args, env: process.env });
let agreed;
if (first) transport.setProtocolVersion = version => (agreed = version);
await client.connect(transport);
say({ agreed: first ? agreed : client.getNegotiatedProtocolVersion(), sdk: name });

const calls = new Map();
const streams = new Map();
const anything = { '~standard': { version: 1, vendor: 'test', validate: value => ({ value }) } };

const verbs = {
    call({ id, name, arguments: given, progress }) {
        const controller = new AbortController();
        calls.set(id, controller);
        const onprogress = ({ progress, total }) => say({ id, progress, total });
        const options = { signal: controller.signal, ...(progress ? { onprogress } : {}) };
        const asked = { name, arguments: given };
        return first ? client.callTool(asked, undefined, options) : client.callTool(asked, options);
    },
    cancel: ({ of }) => calls.get(of).abort(),
    tools: () => client.listTools(),
    resources: () => client.listResources(),
    templates: () => client.listResourceTemplates(),
    read: ({ uri }) => client.readResource({ uri }),
    complete: ({ uri, name, value }) => client.complete({ ref: { type: 'ref/resource', uri }, argument: { name, value } }),
    async subscribe({ uri }) {
        if (!modern) return client.subscribeResource({ uri });
        streams.set(uri, await client.listen({ resourceSubscriptions: [uri] }));
    },
    unsubscribe: ({ uri }) => (modern ? streams.get(uri).close() : client.unsubscribeResource({ uri })),
    request: ({ method }) => client.request({ method }, first ? types.EmptyResultSchema : anything),
};

async function run(task) {
    const { id } = task;
    try {
        say({ id, result: (await verbs[task.do](task)) ?? null });
    } catch (error) {
        if (calls.get(id)?.signal.aborted) say({ id, cancelled: true });
        else say({ id, error: { code: error.code, message: error.message } });
    }
}

for await (const line of createInterface({ input: process.stdin })) run(JSON.parse(line));
await client.close();
