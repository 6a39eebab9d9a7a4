"""The official Python SDK, 1.x or 2.x, as a client of `waitbus mcp` over stdio: told what to do, it says what came of it.

    python python.py REVISION PROGRAM [ARGUMENT...]

Each line of standard input is a task in JSON, `{"id": 1, "do": "call", ...}`; tasks run side by side. Each line of standard
output is what came: `{"id": 1, "result": ...}`, `{"id": 1, "error": {"code": ..., "message": ...}}`, `{"id": 1,
"progress": ...}` or `{"updated": URI}`. The first line says what the two agreed on. `typescript.mjs` does the same.
"""

import json
import os
import sys
from importlib.metadata import version

import anyio
import mcp.types as types
from mcp import ClientSession, StdioServerParameters, stdio_client

FIRST = version("mcp").startswith("1.")
if FIRST:
    from mcp import McpError
    from pydantic import AnyUrl as Uri
else:
    import mcp.client.session
    from mcp import Client
    from mcp import MCPError as McpError

    Uri = str

REVISION, PROGRAM, *ARGUMENTS = sys.argv[1:]
# The SDK passes on little of its environment by itself, and the bus of a test is in it.
SERVER = StdioServerParameters(command=PROGRAM, args=ARGUMENTS, env=dict(os.environ))


def say(**what):
    print(json.dumps(what), flush=True)


def plain(model):
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)


async def heard(message):
    message = message.root if FIRST and isinstance(message, types.ServerNotification) else message
    # What a stream says is said by the stream.
    if REVISION < "2026" and isinstance(message, types.ResourceUpdatedNotification):
        say(updated=str(message.params.uri))


class Driver:
    def __init__(self, session, client, tasks):
        self.session, self.client, self.tasks = session, client, tasks
        self.scopes, self.requests = {}, {}

    async def run(self, task):
        with anyio.CancelScope() as scope:
            self.scopes[task["id"]] = scope
            try:
                say(id=task["id"], result=await getattr(self, task["do"])(task))
            except McpError as error:
                say(id=task["id"], error={"code": error.error.code, "message": error.error.message})
        if scope.cancelled_caught:
            say(id=task["id"], cancelled=True)

    async def call(self, task):
        async def progressed(progress, total, _message):
            say(id=task["id"], progress=progress, total=total)

        if FIRST:
            self.requests[task["id"]] = self.session._request_id
        callback = progressed if task.get("progress") else None
        caller = self.client or self.session
        return plain(await caller.call_tool(task["name"], task["arguments"], progress_callback=callback))

    async def cancel(self, task):
        self.scopes[task["of"]].cancel()
        # 1.x leaves it to its users to tell the server.
        if FIRST:
            params = types.CancelledNotificationParams(requestId=self.requests[task["of"]])
            told = types.CancelledNotification(method="notifications/cancelled", params=params)
            await self.session.send_notification(types.ClientNotification(told))

    async def tools(self, _task):
        return plain(await (self.client or self.session).list_tools())

    async def resources(self, _task):
        return plain(await (self.client or self.session).list_resources())

    async def templates(self, _task):
        return plain(await (self.client or self.session).list_resource_templates())

    async def read(self, task):
        return plain(await (self.client or self.session).read_resource(Uri(task["uri"])))

    async def complete(self, task):
        reference = types.ResourceTemplateReference(type="ref/resource", uri=task["uri"])
        argument = {"name": task["name"], "value": task["value"]}
        return plain(await self.session.complete(reference, argument))

    async def subscribe(self, task):
        if REVISION < "2026":
            return plain(await self.session.subscribe_resource(Uri(task["uri"])))
        await self.tasks.start(self.listen, task["uri"])

    async def listen(self, uri, task_status):
        with anyio.CancelScope() as self.scopes[uri]:
            async with self.client.listen(resource_subscriptions=[uri]) as stream:
                task_status.started()
                async for event in stream:
                    say(updated=event.uri)

    async def unsubscribe(self, task):
        if REVISION < "2026":
            return plain(await self.session.unsubscribe_resource(Uri(task["uri"])))
        self.scopes[task["uri"]].cancel()

    async def request(self, task):
        request = types.Request(method=task["method"], params=None)
        return plain(await self.session.send_request(request, types.EmptyResult))


async def serve(session, client, agreed):
    say(agreed=agreed, sdk=version("mcp"))
    async with anyio.create_task_group() as tasks:
        driver = Driver(session, client, tasks)
        async for line in anyio.wrap_file(sys.stdin):
            tasks.start_soon(driver.run, json.loads(line))
        tasks.cancel_scope.cancel()


async def main():
    if FIRST:
        types.LATEST_PROTOCOL_VERSION = REVISION
        async with stdio_client(SERVER) as (reads, writes), ClientSession(reads, writes, message_handler=heard) as session:
            answer = await session.initialize()
            await serve(session, None, answer.protocolVersion)
    else:
        mcp.client.session.LATEST_HANDSHAKE_VERSION = REVISION
        mode = "legacy" if REVISION < "2026" else "auto"
        async with Client(SERVER, mode=mode, message_handler=heard) as client:
            await serve(client.session, client, client.protocol_version)


anyio.run(main)
