//! The MCP server as its clients meet it: the program itself, with JSON lines on its standard input and output, in both
//! lifecycles. Nothing here shares code with the server.

mod fixtures;
mod going_on;
mod hostile;
mod lifecycle;
mod messages;
mod reading;
mod refused;
mod resources;
mod scope;
mod tools;
mod waits;

use std::cell::RefCell;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Map, Value, json};

use crate::harness::{Bus, Process, Said, Subscriber};

/// Revisions that begin with a handshake.
pub const HANDSHAKES: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];
/// The one in which each request speaks for itself.
pub const STATELESS: &str = "2026-07-28";

/// One client and its server.
pub struct Client {
    pub process: Process,
    revision: String,
    next: u64,
    /// What has come and nobody has asked for.
    unread: Said,
}

impl Client {
    /// Starts a server and opens a session of this revision.
    pub fn start(bus: &Bus, revision: &str, arguments: &[&str]) -> Client {
        let mut client = Client::bare(bus, revision, arguments);
        if revision != STATELESS {
            let asked = json!({"protocolVersion": revision, "capabilities": {}, "clientInfo": me()});
            let answer = client.ask("initialize", asked);
            assert_eq!(answer["result"]["protocolVersion"], revision, "{answer}");
            client.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        }
        client
    }

    /// Starts a server, and says nothing.
    pub fn bare(bus: &Bus, revision: &str, arguments: &[&str]) -> Client {
        Client::of(bus.command(&[&["mcp"], arguments].concat()), revision)
    }

    /// Starts this server, and says nothing.
    pub fn of(mut command: Command, revision: &str) -> Client {
        command.stdin(Stdio::piped());
        Client { process: Process::start(command), revision: revision.to_owned(), next: 0, unread: Said::default() }
    }

    /// A session of the newest revision with a handshake, with which most clients come.
    pub fn new(bus: &Bus) -> Client {
        Client::start(bus, "2025-11-25", &[])
    }

    /// Sends a line.
    pub fn send(&mut self, message: &Value) {
        self.send_line(message.to_string().as_bytes());
    }

    pub fn send_line(&mut self, line: &[u8]) {
        let stdin = self.process.child.stdin.as_mut().expect("it has not been closed");
        stdin.write_all(&[line, b"\n"].concat()).unwrap();
    }

    /// Sends a request, with what its revision wants in each of them, and returns its id.
    pub fn request(&mut self, method: &str, mut params: Value) -> u64 {
        self.next += 1;
        if self.revision == STATELESS {
            let meta = params["_meta"].take();
            params["_meta"] = stateless();
            for (key, value) in meta.as_object().cloned().unwrap_or_default() {
                params["_meta"][key] = value;
            }
        }
        self.send(&json!({"jsonrpc": "2.0", "id": self.next, "method": method, "params": params}));
        self.next
    }

    /// The next message for which this holds; others are kept.
    #[track_caller]
    fn first(&mut self, holds: impl Fn(&Value) -> bool) -> Value {
        let holds = |message: &Value| {
            assert_eq!(message["jsonrpc"], "2.0", "{message}");
            holds(message)
        };
        self.unread.first(&mut self.process, holds)
    }

    /// The answer to a request.
    #[track_caller]
    pub fn answer(&mut self, id: u64) -> Value {
        self.first(|message| message["id"] == id && message.get("method").is_none())
    }

    /// The next notification of a method: its parameters.
    #[track_caller]
    pub fn notification(&mut self, method: &str) -> Value {
        self.first(|message| message["method"] == method)["params"].take()
    }

    /// What has come until now that nobody has asked for: whatever the server had to say before it answers this.
    #[track_caller]
    pub fn unread(&mut self) -> Vec<Value> {
        self.mark();
        self.unread.rest()
    }

    #[track_caller]
    pub fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.request(method, params);
        self.answer(id)
    }

    /// Sends a tool's call and returns its id.
    #[allow(clippy::needless_pass_by_value, reason = "arguments are written where they are passed")]
    pub fn begin(&mut self, tool: &str, arguments: Value) -> u64 {
        self.request("tools/call", json!({"name": tool, "arguments": arguments}))
    }

    /// What a tool has said in the end, which has to be well.
    #[track_caller]
    pub fn result(&mut self, id: u64) -> Value {
        let answer = self.answer(id);
        let result = &answer["result"];
        assert_eq!(result["isError"], false, "{answer}");
        let line = result["content"][0]["text"].as_str().unwrap();
        assert!(!line.is_empty() && !line.contains('\n'), "a line for a person: {line:?}");
        let text: Value = serde_json::from_str(result["content"][1]["text"].as_str().unwrap()).unwrap();
        assert_eq!(text, result["structuredContent"], "the text and the structure say the same");
        text
    }

    /// Calls a tool, and returns what it says.
    #[track_caller]
    pub fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let id = self.begin(tool, arguments);
        self.result(id)
    }

    /// Calls a tool that has to refuse, and returns its sentence.
    #[track_caller]
    pub fn refusal(&mut self, tool: &str, arguments: Value) -> String {
        let id = self.begin(tool, arguments);
        let answer = self.answer(id);
        assert_eq!(answer["result"]["isError"], true, "{answer}");
        answer["result"]["content"][0]["text"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub fn mark(&mut self) -> String {
        self.call("mark", json!({}))["cursor"].as_str().unwrap().to_owned()
    }

    /// Closes its input and waits for its end.
    #[track_caller]
    pub fn close(&mut self) -> (Option<i32>, String, String) {
        drop(self.process.child.stdin.take());
        self.process.ending()
    }
}

/// What each request says of itself in the revision without a handshake.
pub fn stateless() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": STATELESS,
        "io.modelcontextprotocol/clientInfo": me(),
        "io.modelcontextprotocol/clientCapabilities": {},
    })
}

fn me() -> Value {
    json!({"name": "test", "version": "1"})
}

/// Does the same in a session of each lifecycle.
pub fn in_both_lifecycles(arguments: &[&str], test: impl Fn(&Bus, &mut Client)) {
    for revision in ["2025-11-25", STATELESS] {
        let bus = Bus::new();
        let mut client = Client::start(&bus, revision, arguments);
        test(&bus, &mut client);
    }
}

thread_local! {
    /// Those of our own that ask a hub how many there are. They stay, because nobody could tell when one has gone.
    static ASKING: RefCell<Vec<(PathBuf, Subscriber)>> = const { RefCell::new(Vec::new()) };
}

/// Waits until the hub has so many subscribers: those who wait are attached.
pub fn subscribers(bus: &Bus, count: u64) {
    loop {
        let mut asking = bus.subscribe(&json!({"match": "event_id=null", "status": true, "heartbeat": false}));
        let status = asking.frame();
        assert_eq!(status["kind"], "hub_status", "{status}");
        let ours = ASKING.with_borrow_mut(|all| {
            let ours = all.iter().filter(|(path, _)| *path == bus.broadcast()).count() as u64;
            all.push((bus.broadcast(), asking));
            ours
        });
        if status["subscribers"] == ours + count {
            return;
        }
        std::thread::yield_now();
    }
}

/// What stands in a fence, which has to hold.
#[track_caller]
pub fn inside(fenced: &Value) -> Value {
    let text = fenced.as_str().unwrap_or_else(|| panic!("no text: {fenced}"));
    let inside = text.strip_prefix("<waitbus-outside>").and_then(|rest| rest.strip_suffix("</waitbus-outside>"));
    let inside = inside.unwrap_or_else(|| panic!("no fence: {text}"));
    assert!(!inside.contains(['<', '>']), "{inside}");
    serde_json::from_str(inside).unwrap_or_else(|error| panic!("{error}: {inside}"))
}

/// The fields of an event.
#[track_caller]
pub fn fields(event: &Value) -> Map<String, Value> {
    inside(&event["data"])["fields"].as_object().unwrap().clone()
}
