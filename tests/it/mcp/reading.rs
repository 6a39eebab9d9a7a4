//! Messages that are read over MCP by whoever does not get the answer, and what the server does when they cannot be
//! written down as read.

use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::{Value, json};

use super::{Client, STATELESS, in_both_lifecycles, inside, stateless, subscribers};
use crate::harness::Bus;

/// Longer than any end takes on a busy machine, and shorter than anything waits for a lock.
const AT_ONCE: Duration = Duration::from_secs(3);

fn say(bus: &Bus, body: &str) {
    bus.ok(&["message", "send", "bob", body, "--as", "alice", "-q"]);
}

fn unread(bus: &Bus) -> String {
    bus.ok(&["message", "inbox", "--as", "bob"])
}

/// Holds the log as a program does that writes for long.
fn locked(bus: &Bus) -> Connection {
    let log = Connection::open(bus.database()).unwrap();
    log.execute_batch("BEGIN IMMEDIATE").unwrap();
    log
}

/// The messages had their receipts, and the answer that told of them was dropped because its request had been
/// cancelled: nobody ever got them.
#[test]
fn a_read_that_is_cancelled_loses_no_message() {
    for revision in ["2025-11-25", STATELESS] {
        for at_once in [true, false] {
            let bus = Bus::new();
            say(&bus, "important");
            let mut client = Client::start(&bus, revision, &["--as", "bob"]);
            client.mark();
            let meta = if revision == STATELESS { stateless() } else { json!({}) };
            let call = json!({
                "jsonrpc": "2.0", "id": "read", "method": "tools/call",
                "params": {"name": "read_messages", "arguments": {}, "_meta": meta},
            });
            let cancelled =
                json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "read"}});
            if at_once {
                client.send_line(format!("{call}\n{cancelled}").as_bytes());
            } else {
                client.send(&call);
                client.send(&cancelled);
            }
            client.mark();
            let told = client.unread().iter().any(|message| message["id"] == "read");
            let (code, out, _) = client.close();
            assert_eq!(code, Some(0));
            let told = told || out.contains(r#""id":"read""#);
            assert_eq!(told, unread(&bus).is_empty(), "{revision}: told, or still unread");
        }
    }
}

/// Receipts were given before anything was written, also when nobody was left who could have read it.
#[test]
fn a_message_whose_answer_could_not_be_written_stays_unread() {
    let bus = Bus::new();
    say(&bus, "important");
    let mut server = bus.command(&["mcp", "--as", "bob"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    drop(server.stdout.take());
    let params = json!({"name": "read_messages", "arguments": {}, "_meta": stateless()});
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    writeln!(server.stdin.take().unwrap(), "{call}").unwrap();
    server.wait().unwrap();
    assert!(unread(&bus).contains("important"));
}

#[test]
fn messages_that_are_read_by_a_script_that_ends_with_its_input_are_read() {
    let bus = Bus::new();
    say(&bus, "hello");
    let mut client = Client::bare(&bus, STATELESS, &["--as", "bob"]);
    client.begin("read_messages", json!({}));
    let (code, out, err) = client.close();
    assert_eq!((code, &*err), (Some(0), ""));
    assert!(out.contains("hello"), "{out}");
    assert_eq!(unread(&bus), "");
}

/// Receipts were committed on the only thread that serves requests, so a log that somebody else had locked stopped all of
/// them, the end of the input and a signal for twenty seconds.
#[test]
fn a_locked_log_holds_up_neither_the_answer_nor_other_requests_nor_an_end() {
    for end in ["TERM", "the end of the input"] {
        let bus = Bus::new();
        say(&bus, "hello");
        let lock = locked(&bus);
        let mut client = Client::start(&bus, "2025-11-25", &["--as", "bob"]);
        let began = Instant::now();
        let read = client.call("read_messages", json!({}));
        assert_eq!(inside(&read["messages"][0]["data"])["body"], "hello");
        client.ask("ping", json!({}));
        if end == "TERM" {
            client.process.signal("TERM");
            assert_eq!(client.process.code(), 143);
        } else {
            assert_eq!(client.close().0, Some(0));
        }
        assert!(began.elapsed() < AT_ONCE, "{end}: {:?}", began.elapsed());
        drop(lock);
        assert!(unread(&bus).contains("hello"), "what could not be written down comes again");
    }
}

/// What could not be written down came again without a word.
#[test]
fn what_comes_again_because_it_could_not_be_written_down_is_said_to_do_so() {
    let bus = Bus::new();
    say(&bus, "hello");
    let mut client = Client::start(&bus, "2025-11-25", &["--as", "bob"]);
    client.mark();
    let log = Connection::open(bus.database()).unwrap();
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'no'); END";
    log.execute_batch(refuse).unwrap();
    for comes_again in [false, true] {
        let id = client.begin("read_messages", json!({}));
        let answer = client.answer(id);
        let line = answer["result"]["content"][0]["text"].as_str().unwrap();
        assert!(line.starts_with("1 message;"), "{line}");
        assert_eq!(line.contains("may have been read before"), comes_again, "{line}");
    }
    log.execute_batch("DROP TRIGGER refuse").unwrap();
    client.call("read_messages", json!({}));
    assert_eq!(client.call("read_messages", json!({}))["messages"], Value::Array(Vec::new()));
}

/// A reader that a signal ended said no goodbye, so whoever waited for its name was told that it had died.
#[test]
fn an_inbox_that_a_signal_ends_says_goodbye() {
    in_both_lifecycles(&["--as", "bob"], |bus, client| {
        let _hub = bus.hub();
        client.begin("read_messages", json!({"max_wait_seconds": 60}));
        subscribers(bus, 1);
        let mut wait = bus.wait(&["--source", "agent.bob"]);
        subscribers(bus, 2);
        client.process.signal("TERM");
        assert_eq!(client.process.code(), 143);
        subscribers(bus, 1);
        bus.emit("agent.bob", 1);
        assert_eq!(wait.code(), 0, "{}", wait.errors());
    });
}
