//! How a session begins, what it makes of what is no message, and how it ends.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Client, HANDSHAKES, STATELESS, in_both_lifecycles, subscribers};
use crate::harness::{Bus, lock_holder};

/// Longer than any end takes on a busy machine, and shorter than the five seconds that the SDK gives its handlers.
const AT_ONCE: Duration = Duration::from_secs(3);

#[test]
fn every_revision_is_spoken_by_the_same_server() {
    let bus = Bus::new();
    for revision in HANDSHAKES.into_iter().chain([STATELESS]) {
        let mut client = Client::start(&bus, revision, &[]);
        let tools = client.ask("tools/list", json!({}));
        let names: Vec<_> = tools["result"]["tools"].as_array().unwrap().iter().map(|tool| &tool["name"]).collect();
        assert_eq!(names[0], "wait_for_event", "what to use comes first");
        assert_eq!(names.len(), 8);
        for tool in tools["result"]["tools"].as_array().unwrap() {
            for part in ["inputSchema", "outputSchema"] {
                assert_eq!(tool[part]["type"], "object", "{tool}");
            }
            assert!(tool["annotations"]["readOnlyHint"].is_boolean(), "{tool}");
            assert_eq!(tool["annotations"]["destructiveHint"], false, "{tool}");
        }
        assert_eq!(client.mark(), "0".repeat(26));
        assert_eq!(client.close().0, Some(0));
    }
    let mut client = Client::bare(&bus, STATELESS, &[]);
    let found = client.ask("server/discover", json!({}));
    assert_eq!(found["result"]["supportedVersions"].as_array().unwrap().len(), 5, "{found}");
    let unknown = client.ask("tools/list", json!({"_meta": {"io.modelcontextprotocol/protocolVersion": "2099-01-01"}}));
    assert!(unknown["error"]["data"]["supported"].is_array(), "{unknown}");
}

#[test]
fn what_nobody_knows_is_refused_and_the_session_goes_on() {
    in_both_lifecycles(&[], |_, client| {
        assert_eq!(client.ask("no/such/method", json!({}))["error"]["code"], -32601);
        let answer = client.ask("tools/call", json!({"name": "no_such_tool", "arguments": {}}));
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
        client.send(&json!({"jsonrpc": "2.0", "method": "notifications/nobody/knows"}));
        client.mark();
    });
}

/// A line that was no JSON was passed over without a word, and whoever had sent it waited for ever.
#[test]
fn what_is_no_message_is_answered_and_the_session_goes_on() {
    let bus = Bus::new();
    let mut client = Client::new(&bus);
    for (line, code) in [
        (&b"{nonsense"[..], -32700),
        (b"[1, 2]", -32600),
        (br#"{"jsonrpc":"2.0","id":[],"method":"ping"}"#, -32600),
        (b"\xff\xfe", -32700),
    ] {
        client.send_line(line);
        let answer = client.first(|message| message.get("error").is_some());
        assert_eq!(answer["error"]["code"], code, "{answer}");
        assert!(answer["id"].is_null(), "{answer}");
    }
    client.send_line(b"");
    let long =
        [br#"{"jsonrpc":"2.0","id":"x","method":"ping","params":{"x":""#, "x".repeat(17 << 20).as_bytes()].concat();
    client.send_line(&long);
    let answer = client.first(|message| message.get("error").is_some());
    assert_eq!(answer["error"]["code"], -32600, "{answer}");
    client.mark();
}

/// A client that said something before it asked for anything ended the server.
#[test]
fn a_stray_notification_before_the_first_request_ends_nothing() {
    let bus = Bus::new();
    let mut client = Client::bare(&bus, STATELESS, &[]);
    client.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}}));
    client.mark();
}

#[test]
fn the_end_of_the_input_ends_it_at_once_with_waits_pending_and_nothing_is_left() {
    in_both_lifecycles(&[], |bus, client| {
        let _hub = bus.hub();
        let ids: Vec<_> = (0..3).map(|_| client.begin("wait_for_event", json!({"source": ["nobody"]}))).collect();
        subscribers(bus, 3);
        let began = Instant::now();
        let (code, out, err) = client.close();
        assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
        assert_eq!((code, &*err), (Some(0), ""));
        let answers: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for id in ids {
            let answer = answers.iter().find(|answer| answer["id"] == id).unwrap_or_else(|| panic!("{id}: {out}"));
            assert_eq!(answer["result"]["structuredContent"]["status"], "pending", "{answer}");
        }
        subscribers(bus, 0);
    });
}

#[test]
fn a_signal_ends_it_at_once_with_waits_pending() {
    in_both_lifecycles(&[], |bus, client| {
        let _hub = bus.hub();
        client.begin("wait_for_event", json!({"source": ["nobody"]}));
        subscribers(bus, 1);
        let began = Instant::now();
        client.process.signal("TERM");
        assert_eq!(client.process.code(), 143);
        assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
        subscribers(bus, 0);
    });
}

#[test]
fn it_starts_the_bus_if_there_is_none_and_the_bus_outlives_it() {
    let bus = Bus::new();
    let mut client = Client::new(&bus);
    assert_eq!(lock_holder(&bus.runtime().join("hub.lock")), None, "nobody has asked for it yet");
    let after = client.mark();
    let id = client.begin("wait_for_event", json!({"source": ["deploy"], "after": after}));
    let emitted = bus.emit("deploy", 1);
    assert_eq!(client.result(id)["event"]["event_id"], *emitted);
    client.close();
    assert!(lock_holder(&bus.runtime().join("hub.lock")).is_some());
}

#[test]
fn requests_that_were_sent_before_the_input_ended_are_answered() {
    let bus = Bus::new();
    let mut client = Client::bare(&bus, STATELESS, &[]);
    let id = client.begin("mark", json!({}));
    let (code, out, _) = client.close();
    let answer: Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    assert_eq!((code, &answer["id"]), (Some(0), &json!(id)));
}
