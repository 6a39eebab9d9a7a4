//! The wire as it was recorded, and as the specification has it. A new version of the SDK may change neither.
//!
//! `tests/mcp/*.session.json` are sessions, one for each revision: a list of steps, each `{"send": MESSAGE}` or
//! `{"receive": MESSAGE}`. They are compared as parsed JSON; ids, times and the version are written as `<id 1>`, `<time>`
//! and `<version>`, and an id in what is sent stands for the one that was received. `tests/mcp/reference.json` holds
//! frames that were written by hand from the specification: a revision, what is sent, and what the answer must contain.
//!
//! `WAITBUS_RECORD=1 cargo test --test it mcp::fixtures` writes the sessions anew. What has changed then is for a person
//! to look at.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use regex::Regex;
use serde_json::{Value, json};

use super::{Client, HANDSHAKES, STATELESS};
use crate::harness::Bus;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mcp")
}

/// What differs from run to run, under names that do not.
#[derive(Default)]
struct Names {
    known: BTreeMap<String, String>,
}

impl Names {
    /// A message as it is recorded.
    fn hide(&mut self, message: &Value) -> Value {
        let id = Regex::new(r"\b0[0-9A-HJKMNP-TV-Z]{25}\b").unwrap();
        let mut text = message.to_string();
        for found in id.find_iter(&message.to_string()) {
            let next = format!("<id {}>", self.known.len());
            let name = self.known.entry(found.as_str().to_owned()).or_insert(next);
            text = text.replace(found.as_str(), name);
        }
        for (pattern, name) in [
            (r#"(\\*"received_at\\*":)[0-9]+"#, "${1}0"),
            (r#"(\\*"waited_seconds\\*":)[0-9.]+"#, "${1}0"),
            (r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z", "<time>"),
        ] {
            text = Regex::new(pattern).unwrap().replace_all(&text, name).into_owned();
        }
        let text = text.replace(&format!("\"version\":\"{}\"", env!("CARGO_PKG_VERSION")), "\"version\":\"<version>\"");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// A recorded message as it is sent.
    fn fill(&self, message: &Value) -> Value {
        let mut text = message.to_string();
        for (id, name) in &self.known {
            text = text.replace(name.as_str(), id);
        }
        serde_json::from_str(&text).unwrap()
    }
}

/// Says what was said then, and returns the session as it is now.
fn replay(said: &[Value]) -> Vec<Value> {
    let bus = Bus::new();
    let mut client = Client::bare(&bus, "as it is recorded", &["--as", "me"]);
    let mut names = Names::default();
    let mut session = Vec::new();
    for message in said {
        client.send(&names.fill(message));
        session.push(json!({"send": message}));
        let Some(id) = message.get("id") else { continue };
        // A stream has no answer until it ends, but an acknowledgement; what it rings comes after the answer of the event.
        let received = if message["method"] == "subscriptions/listen" {
            client.first(|message| message["method"] == "notifications/subscriptions/acknowledged")
        } else {
            client.first(|message| message["id"] == *id)
        };
        session.push(json!({"receive": names.hide(&received)}));
        if message["params"]["name"] == "emit_event" && said.iter().any(is_subscription) {
            let rung = client.first(|message| message["method"] == "notifications/resources/updated");
            session.push(json!({"receive": names.hide(&rung)}));
        }
    }
    session
}

fn is_subscription(message: &Value) -> bool {
    message["method"] == "resources/subscribe" || message["method"] == "subscriptions/listen"
}

/// A session of a revision: everything that there is, once.
fn said(revision: &str) -> Vec<Value> {
    let mut said = Vec::new();
    let mut ask = |method: &str, params: Value| {
        let mut params = params;
        if revision == STATELESS {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": STATELESS,
                "io.modelcontextprotocol/clientInfo": {"name": "recorded", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": {},
            });
        }
        said.push(json!({"jsonrpc": "2.0", "id": said.len(), "method": method, "params": params}));
    };
    let subscribed = json!({"uri": "waitbus://current"});
    if revision == STATELESS {
        ask("server/discover", json!({}));
        ask("subscriptions/listen", json!({"notifications": {"resourceSubscriptions": ["waitbus://current"]}}));
    } else {
        let client = json!({"name": "recorded", "version": "1"});
        ask("initialize", json!({"protocolVersion": revision, "capabilities": {}, "clientInfo": client}));
        ask("ping", json!({}));
        ask("resources/subscribe", subscribed.clone());
    }
    ask("tools/list", json!({}));
    ask("resources/list", json!({}));
    ask("resources/templates/list", json!({}));
    let mut call = |name: &str, arguments: Value| ask("tools/call", json!({"name": name, "arguments": arguments}));
    call("mark", json!({}));
    call("emit_event", json!({"source": "t", "type": "x", "conclusion": "failure", "repo": "octo/hello", "id": "1"}));
    call("wait_for_event", json!({"source": "t", "after": "<id 0>"}));
    call("wait_for_event", json!({"source": "nobody", "max_wait_seconds": 0}));
    call("wait_for_event", json!({}));
    call("list_events", json!({"after": "<id 0>"}));
    call("get_event", json!({"event_id": "<id 1>"}));
    call("ci_status", json!({"sha": "1234567"}));
    call("no_such_tool", json!({}));
    ask("resources/read", json!({"uri": "waitbus://current"}));
    ask("resources/read", json!({"uri": "waitbus://event/<id 1>"}));
    ask("resources/read", json!({"uri": "waitbus://nothing"}));
    let template = json!({"type": "ref/resource", "uri": "waitbus://repo/{owner}/{repo}"});
    ask("completion/complete", json!({"ref": template, "argument": {"name": "owner", "value": "o"}}));
    ask("no/such/method", json!({}));
    if revision != STATELESS {
        ask("resources/unsubscribe", subscribed);
    }
    said
}

#[test]
fn every_recorded_session_is_what_it_was() {
    for revision in HANDSHAKES.into_iter().chain([STATELESS]) {
        let path = directory().join(format!("{revision}.session.json"));
        if std::env::var_os("WAITBUS_RECORD").is_some() {
            let session = replay(&said(revision));
            std::fs::write(&path, serde_json::to_string_pretty(&session).unwrap() + "\n").unwrap();
        }
        let recorded = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let recorded: Vec<Value> = serde_json::from_slice(&recorded).unwrap();
        let sent: Vec<_> = recorded.iter().filter_map(|step| step.get("send").cloned()).collect();
        let now = replay(&sent);
        assert_eq!(now.len(), recorded.len(), "{revision}");
        for (then, now) in recorded.iter().zip(&now) {
            assert_eq!(then, now, "{revision}: left is what was recorded");
        }
    }
}

#[test]
fn the_frames_of_the_specification_are_answered_as_it_says() {
    let reference = std::fs::read(directory().join("reference.json")).unwrap();
    let frames: Vec<Value> = serde_json::from_slice(&reference).unwrap();
    assert!(!frames.is_empty());
    for frame in &frames {
        let bus = Bus::new();
        let mut client = Client::bare(&bus, "as it is written", &[]);
        let mut answer = Value::Null;
        for message in frame["send"].as_array().unwrap() {
            client.send(message);
            if let Some(id) = message.get("id") {
                let by = |answer: &Value| {
                    answer["id"] == *id || answer["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == *id
                };
                answer = client.first(by);
            }
        }
        contains(&answer, &frame["receive"], frame["what"].as_str().unwrap());
        for absent in frame["absent"].as_array().into_iter().flatten() {
            assert_eq!(answer.pointer(absent.as_str().unwrap()), None, "{}: {answer}", frame["what"]);
        }
    }
}

/// Whether a value has at least this.
#[track_caller]
fn contains(value: &Value, part: &Value, what: &str) {
    match part {
        Value::Object(map) => {
            for (key, part) in map {
                contains(value.get(key).unwrap_or_else(|| panic!("{what}: no {key} in {value}")), part, what);
            }
        }
        _ => assert_eq!(value, part, "{what}"),
    }
}
