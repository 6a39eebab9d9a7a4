//! Messages between agents: what one process says another reads, whole, in order and at least once; whoever waits for an
//! answer gets it; and who is there is known from who is.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use waitbus::client::message::{Found, find, send};
use waitbus::client::{Begin, Inbox, Mail, Options};
use waitbus::config::directories::Directories;
use waitbus::model::limits::{GRACE, MAX_AGENT_NAME_BYTES, MAX_FRAME_BYTES, MAX_MESSAGE_BYTES, MAX_SOURCES};
use waitbus::model::message::{Outgoing, Wanted};

use crate::harness::{Bus, PATIENCE, Process};

const BEGINNING: &str = "00000000000000000000000000";

/// `waitbus message …`, with this name.
fn message(bus: &Bus, name: &str, arguments: &[&str]) -> Command {
    let mut command = bus.command(&[&["message"], arguments].concat());
    command.env("WAITBUS_AGENT", name);
    command
}

#[track_caller]
fn ok(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}{err}", output.status);
    out.trim_end().to_owned()
}

/// Runs it to its end, which has to be a good one, and returns what it printed.
#[track_caller]
fn said(bus: &Bus, name: &str, arguments: &[&str]) -> String {
    ok(&message(bus, name, arguments).output().unwrap())
}

/// The same, with its code and what it said on standard error.
fn ended(bus: &Bus, name: &str, arguments: &[&str]) -> (i32, String, String) {
    let output = message(bus, name, arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap().trim_end().to_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// An inbox that waits, attached.
fn inbox(bus: &Bus, name: &str, arguments: &[&str]) -> Process {
    let mut inbox = Process::start(message(bus, name, &[&["inbox", "-v"], arguments].concat()));
    inbox.attached();
    inbox
}

/// Sends a text that is too long for an argument.
fn send_from_input(bus: &Bus, arguments: &[&str], body: &str) -> String {
    let mut child = message(bus, "alice", arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    ok(&child.wait_with_output().unwrap())
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// The bodies of what `inbox --json` has printed.
fn bodies(printed: &str) -> Vec<String> {
    let body = |line| json(line)["fields"]["msg_body"].as_str().unwrap().to_owned();
    printed.lines().map(body).collect()
}

fn unread(bus: &Bus, name: &str) -> Vec<String> {
    bodies(&said(bus, name, &["inbox", "--json"]))
}

/// The receipts in the log: of which message, for whom, from whom.
fn receipts(bus: &Bus) -> Vec<[Value; 3]> {
    let log = bus.ok(&["replay", "--type", "agent_receipt", "--json"]);
    log.lines().map(|line| ["msg_id", "msg_to", "msg_from"].map(|key| json(line)["fields"][key].clone())).collect()
}

fn directories(bus: &Bus) -> Directories {
    Directories { runtime: bus.runtime(), state: bus.state(), config: bus.root().join("config") }
}

/// Something is inserted by a program that knows nothing of these rules.
fn insert(bus: &Bus, fields: &Value) {
    let log = rusqlite::Connection::open(bus.database()).unwrap();
    let sql = "INSERT INTO events (source, event_type, fields) VALUES ('agent', 'agent_message', ?1)";
    log.execute_batch("PRAGMA wal_autocheckpoint=0").unwrap();
    log.execute(sql, [fields.to_string()]).unwrap();
}

#[test]
fn a_request_is_answered_by_another_process_and_what_belongs_together_says_so() {
    let bus = Bus::new();
    let mut bob = inbox(&bus, "bob", &["--wait", "--json"]);
    let mut request = Process::start(message(&bus, "alice", &["request", "bob", "which port?", "--thread", "ports"]));
    let asked = json(&bob.line());
    assert_eq!(bob.code(), 0);
    let fields = &asked["fields"];
    assert_eq!(
        (&fields["msg_from"], &fields["msg_to"], &fields["msg_body"]),
        (&json!("alice"), &json!("bob"), &json!("which port?"))
    );
    assert_eq!(asked["cursor"], asked["event_id"]);
    let id = asked["event_id"].as_str().unwrap();
    // Others that are addressed to alice are no reply.
    said(&bus, "bob", &["send", "alice", "something else", "--thread", "ports"]);
    let answered = json(&said(&bus, "bob", &["reply", id, "8080\nor 8081", "--json"]));
    assert_eq!(answered["correlation_id"], fields["msg_correlation_id"]);
    assert_eq!(request.ending(), (Some(0), "8080\nor 8081".to_owned(), String::new()));
    let reply =
        bus.ok(&["replay", "--match", &format!("event_id={}", answered["event_id"].as_str().unwrap()), "--json"]);
    let reply = &json(&reply)["fields"];
    assert_eq!((&reply["msg_to"], &reply["msg_thread"]), (&json!("alice"), &json!("ports")));
    assert_eq!(unread(&bus, "alice"), ["something else"], "the reply has been read");
}

#[tokio::test]
async fn a_reply_that_comes_before_the_wait_begins_is_not_missed() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let name = |name: &str| name.parse().unwrap();
    let correlation_id = Some("c1".to_owned());
    let outgoing = Outgoing {
        to: "bob".parse().unwrap(),
        from: name("alice"),
        body: "?".into(),
        thread: None,
        correlation_id: correlation_id.clone(),
        reply_to: None,
    };
    let sent = send(&directories(&bus), &outgoing.draft().unwrap()).unwrap();
    assert!(matches!(find(&directories(&bus), sent.id).unwrap(), Found::Message(_)));
    said(&bus, "bob", &["reply", &sent.id.to_string(), "at once"]);
    for attached_first in [false, true] {
        let wanted = Wanted { correlation_id: correlation_id.clone(), ..Wanted::of(name("alice")) };
        let begin = Begin::After(sent.mark);
        let mut inbox = Inbox::open(&directories(&bus), wanted, begin, Options { grace: GRACE }).unwrap();
        if attached_first {
            inbox.attach().await.unwrap();
        }
        let next = tokio::time::timeout(PATIENCE, inbox.next()).await.expect("it is in the log");
        let Mail::Letter(letter) = next.unwrap() else { panic!("a gap") };
        assert_eq!(letter.message.body, "at once");
        inbox.handed_over();
        assert!(inbox.close(PATIENCE).await.is_none());
    }
}

/// The hub dies under the request, and whoever replies has none to be reached through: only the log carries the answer.
#[test]
fn a_request_outlives_its_hub() {
    let bus = Bus::new();
    let mut hub = bus.hub();
    let mut request = Process::start(message(&bus, "alice", &["request", "bob", "?", "-v", "--json"]));
    request.attached();
    hub.kill();
    let asked = said(&bus, "bob", &["inbox", "--json"]);
    said(&bus, "bob", &["reply", json(&asked)["event_id"].as_str().unwrap(), "!"]);
    let reply = request.line();
    assert_eq!((request.code(), bodies(&reply)), (0, vec!["!".to_owned()]));
}

#[test]
fn a_request_without_a_reply_ends_and_its_reply_is_in_the_inbox() {
    let bus = Bus::new();
    let (code, out, err) = ended(&bus, "alice", &["request", "bob", "?", "--timeout", "200ms"]);
    assert_eq!((code, &*out), (124, ""));
    assert!(err.contains("bob is not known to be there; the message waits in the log"), "{err}");
    assert!(err.contains("timed out; no reply to") && err.contains("in the inbox of alice"), "{err}");
    let asked = said(&bus, "bob", &["inbox", "--json"]);
    said(&bus, "bob", &["reply", json(&asked)["event_id"].as_str().unwrap(), "late"]);
    assert_eq!(unread(&bus, "alice"), ["late"]);
}

#[test]
fn a_body_over_the_frame_cap_is_read_whole() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let long = "0123456789 \"quoted\"\n".repeat(10_000);
    assert!(long.len() > 3 * MAX_FRAME_BYTES);
    let mut follower = inbox(&bus, "bob", &["--follow", "--json"]);
    let id = send_from_input(&bus, &["send", "bob", "-"], &long);
    assert_eq!(bodies(&follower.line()), [&*long]);
    let mut request = Process::start(message(&bus, "bob", &["request", "alice", "?", "-v", "--json"]));
    request.attached();
    let asked = said(&bus, "alice", &["inbox", "--json"]);
    let file = bus.root().join("body");
    std::fs::write(&file, &long).unwrap();
    said(&bus, "alice", &["reply", json(&asked)["event_id"].as_str().unwrap(), &format!("@{}", file.display())]);
    assert_eq!(bodies(&request.line()), [&*long]);
    let printed = said(&bus, "bob", &["inbox", "--after", BEGINNING]);
    assert!(printed.starts_with(&format!("{id} from alice to bob:\n  0123456789 \"quoted\"\n  0123456789")));
    assert!(printed.lines().count() > 20_000);
    let over = "x".repeat(MAX_MESSAGE_BYTES + 1);
    let mut child =
        message(&bus, "alice", &["send", "bob", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(over.as_bytes()).unwrap();
    let refused = child.wait_with_output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("body: "), "{refused:?}");
}

#[test]
fn what_is_said_to_everybody_reaches_everybody_else_and_no_newcomer() {
    let bus = Bus::new();
    let mut readers = ["bob", "carol"].map(|name| inbox(&bus, name, &["--follow", "--json"]));
    let mut own = inbox(&bus, "alice", &["--follow", "--json"]);
    said(&bus, "alice", &["send", "*", "hello"]);
    for reader in &mut readers {
        assert_eq!(bodies(&reader.line()), ["hello"]);
    }
    said(&bus, "bob", &["send", "alice", "hello back"]);
    assert_eq!(bodies(&own.line()), ["hello back"], "and not what alice said herself");
    assert_eq!(unread(&bus, "dave"), Vec::<String>::new(), "dave was not there");
    said(&bus, "alice", &["send", "*", "again"]);
    assert_eq!(unread(&bus, "dave"), ["again"], "dave has read before");
    assert_eq!(unread(&bus, "dave"), Vec::<String>::new());
    assert_eq!(bodies(&said(&bus, "erin", &["inbox", "--json", "--after", BEGINNING])), ["hello", "again"]);
    // A word to many does not come back from each of them.
    readers[0].signal("TERM");
    assert_eq!(readers[0].ending().0, Some(143));
    assert_eq!(
        receipts(&bus).iter().map(|[_, to, from]| (to.clone(), from.clone())).collect::<Vec<_>>(),
        [(json!("bob"), json!("alice"))]
    );
    let (code, _, err) = ended(&bus, "alice", &["send", "*", "hello", "--receipt"]);
    assert_eq!(code, 2, "{err}");
}

#[test]
fn a_thread_is_read_alone_and_the_rest_stays_unread() {
    let bus = Bus::new();
    for (body, thread) in [("a1", Some("a")), ("none", None), ("b1", Some("b=\"c\"")), ("a2", Some("a"))] {
        let thread = thread.map_or_else(Vec::new, |thread| vec!["--thread", thread]);
        said(&bus, "alice", &[&["send", "bob", body], &*thread].concat());
    }
    let of = |thread: &str| bodies(&said(&bus, "bob", &["inbox", "--json", "--thread", thread, "--since", "1h"]));
    assert_eq!(of("b=\"c\""), ["b1"]);
    assert_eq!(of("c"), Vec::<String>::new());
    assert_eq!(unread(&bus, "bob"), ["a1", "none", "a2"], "b1 has been read");
    assert_eq!(of("a"), ["a1", "a2"], "who asks for the past gets it");
    assert_eq!(ended(&bus, "bob", &["inbox", "--thread", "a"]).0, 2);
}

#[test]
fn a_receipt_is_given_once_and_after_the_message_was_handed_over() {
    let bus = Bus::new();
    let mut waiting = Process::start(message(&bus, "alice", &["send", "bob", "1", "--receipt", "--json", "-v"]));
    let sent = json(&waiting.line());
    waiting.attached();
    assert_eq!(receipts(&bus), Vec::<[Value; 3]>::new());
    // A reader that goes away before it has read has not read.
    let mut closed = message(&bus, "bob", &["inbox"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert!(closed.stdout(writer).status().unwrap().success());
    assert_eq!(receipts(&bus), Vec::<[Value; 3]>::new());
    assert_eq!(unread(&bus, "bob"), ["1"]);
    let receipt = json(&waiting.line());
    assert_eq!(waiting.code(), 0);
    assert_eq!((&receipt["event_type"], &receipt["fields"]["msg_id"]), (&json!("agent_receipt"), &sent["event_id"]));
    assert_eq!(bodies(&said(&bus, "bob", &["inbox", "--json", "--after", BEGINNING])), ["1"]);
    assert_eq!(receipts(&bus), [[sent["event_id"].clone(), json!("alice"), json!("bob")]]);
    assert_eq!(unread(&bus, "bob"), Vec::<String>::new());
    let (code, out, err) = ended(&bus, "alice", &["send", "nobody", "2", "--receipt", "--timeout", "100ms"]);
    assert!(code == 124 && err.contains(&format!("{out} has not been handed over")), "{code} {out} {err}");
}

#[test]
fn every_reader_of_a_name_gets_every_message_that_comes_while_it_is_there() {
    let bus = Bus::new();
    let mut readers = [inbox(&bus, "bob", &["--follow", "--json"]), inbox(&bus, "bob", &["--follow", "--json"])];
    for n in 0..20 {
        said(&bus, "alice", &["send", "bob", &n.to_string(), "--quiet"]);
    }
    for reader in &mut readers {
        for n in 0..20 {
            assert_eq!(bodies(&reader.line()), [n.to_string()]);
        }
        reader.signal("TERM");
        assert_eq!(reader.ending().0, Some(143));
    }
    assert_eq!(receipts(&bus).len(), 20);
    assert_eq!(unread(&bus, "bob"), Vec::<String>::new());
}

/// Whoever is killed between reading and being done with it must not have lost a message.
#[test]
fn what_was_read_is_not_brought_again_and_what_was_not_is() {
    let bus = Bus::new();
    said(&bus, "alice", &["send", "bob", "1"]);
    said(&bus, "alice", &["send", "carol", "for carol"]);
    assert_eq!(unread(&bus, "bob"), ["1"]);
    assert_eq!(unread(&bus, "bob"), Vec::<String>::new());
    let place = bus.state().join("inboxes/bob");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(place.parent().unwrap()), mode(&place)), (0o700, 0o600));
    let mut waiting = inbox(&bus, "bob", &["--wait", "--json"]);
    let second = said(&bus, "alice", &["send", "bob", "2"]);
    assert_eq!((bodies(&waiting.line()), waiting.code()), (vec!["2".to_owned()], 0));
    let mut third = Process::start(message(&bus, "alice", &["send", "bob", "3", "--receipt"]));
    let mut killed = inbox(&bus, "bob", &["--follow", "--json", "--after", &second]);
    assert_eq!(bodies(&killed.line()), ["3"]);
    assert_eq!(third.code(), 0);
    let mut again = inbox(&bus, "bob", &["--follow", "--json"]);
    killed.kill();
    said(&bus, "alice", &["send", "bob", "4"]);
    assert_eq!(bodies(&again.line()), ["4"], "3 has its receipt");
    again.kill();
    let left = unread(&bus, "bob");
    assert!(left.is_empty() || left == ["4"], "at least once: {left:?}");
    // Waiting again begins with what is there and needs no hub for it.
    said(&bus, "alice", &["send", "bob", "5"]);
    said(&bus, "alice", &["send", "bob", "6"]);
    let at_once = message(&bus, "bob", &["inbox", "--wait", "--json"]).output().unwrap();
    assert_eq!(bodies(&ok(&at_once)), ["5", "6"]);
    let (code, out, _) = ended(&bus, "bob", &["inbox", "--wait", "--timeout", "50ms"]);
    assert_eq!((code, &*out), (124, ""));
}

#[test]
fn messages_that_were_pruned_are_announced_once_and_the_inbox_goes_on() {
    let bus = Bus::new();
    assert_eq!(unread(&bus, "bob"), Vec::<String>::new());
    said(&bus, "alice", &["send", "bob", "1"]);
    assert_eq!(unread(&bus, "bob"), ["1"]);
    for body in ["2", "3", "4"] {
        said(&bus, "alice", &["send", "bob", body]);
    }
    bus.ok(&["prune", "--keep-rows", "1"]);
    let (code, out, err) = ended(&bus, "bob", &["inbox", "--json"]);
    assert!(code == 3 && out.is_empty() && err.contains("were pruned"), "{code} {out} {err}");
    assert_eq!(unread(&bus, "bob"), ["4"]);
    assert_eq!(unread(&bus, "newcomer"), Vec::<String>::new(), "of what was before a name there is no gap");
    bus.ok(&["prune", "--keep-rows", "0"]);
    let (code, _, err) = ended(&bus, "bob", &["inbox", "--after", BEGINNING]);
    assert!(code == 3 && err.contains("were pruned"), "{code} {err}");
    assert_eq!(ended(&bus, "bob", &["inbox", "--after", BEGINNING, "--allow-gap"]).0, 0);
}

#[test]
fn who_is_there_is_known_from_who_is_and_not_from_who_was() {
    let bus = Bus::new();
    assert_eq!(said(&bus, "alice", &["who"]), "");
    let _hub = bus.hub();
    let mut news = bus.subscribe(&json!({"match": "source=agent.bob"}));
    let mut first = inbox(&bus, "bob", &["--follow"]);
    assert_eq!(news.frame()["state"], "alive");
    let who = json(&said(&bus, "alice", &["who", "--json"]));
    assert_eq!(who["name"], "bob");
    assert!(who["for_sec"].as_u64().unwrap() < 60 && who["since"].as_str().unwrap().ends_with('Z'), "{who}");
    assert_eq!(ended(&bus, "alice", &["send", "bob", "1"]).2, "");
    let mut second = inbox(&bus, "bob", &["--follow"]);
    first.kill();
    // Somebody else reads under the name: nobody has been told anything.
    assert!(said(&bus, "alice", &["who"]).starts_with("bob, since 20"));
    second.kill();
    assert_eq!(news.frame()["state"], "dead");
    assert_eq!(said(&bus, "alice", &["who"]), "");
    assert_eq!(
        ended(&bus, "alice", &["send", "bob", "2"]).2,
        "waitbus: bob is not known to be there; the message waits in the log"
    );
    assert_eq!(
        ended(&bus, "alice", &["send", "*", "3"]).2,
        "waitbus: nobody else is known to be there; the message waits in the log"
    );
    let mut third = inbox(&bus, "bob", &["--follow"]);
    assert_eq!(news.frame()["state"], "alive");
    third.signal("TERM");
    assert_eq!(news.frame()["state"], "gone");
    assert_eq!(third.code(), 143);
}

/// An agent that dies is not a source that dies: nobody who waits for events may be ended by it, nor be woken.
#[test]
fn the_death_of_an_agent_neither_ends_nor_wakes_who_did_not_ask_for_it_by_name() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut waits = [
        bus.wait(&["--source", "agent"]),
        bus.wait(&["--match", "msg_body?"]),
        bus.wait(&["--where", "fields.msg_from == 'alice'"]),
    ];
    let mut sees = ["source=agent", "msg_body?"].map(|condition| bus.subscribe(&json!({"match": condition})));
    let mut news = bus.subscribe(&json!({"match": "source=agent.bob"}));
    let mut by_name = bus.wait(&["--source", "agent.bob"]);
    for _ in 0..3 {
        inbox(&bus, "bob", &["--follow"]).kill();
        assert_eq!([news.frame(), news.frame()].map(|frame| frame["state"].clone()), [json!("alive"), json!("dead")]);
    }
    let (code, _, err) = by_name.ending();
    assert!(code == Some(3) && err.contains("agent.bob is dead"), "{err}");
    // One that comes later does not hear of it either.
    let late = bus.subscribe(&json!({"match": "msg_body?"}));
    said(&bus, "alice", &["send", "bob", "all the same"]);
    for wait in &mut waits {
        let (code, out, err) = wait.ending();
        assert_eq!((code, &*out), (Some(0), "alice to bob: all the same"), "{err}");
    }
    let [source, condition] = &mut sees;
    for subscriber in [source, condition, &mut { late }] {
        assert_eq!(subscriber.frame()["kind"], "event", "the first frame since the acknowledgement");
    }
}

/// The hub knows a bounded number of sources. Agents with names of their own for each day must not make it forget that a
/// source is dead, for whose events somebody may wait.
#[test]
fn agents_that_have_left_make_room_for_sources_and_not_the_other_way_round() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let announce = |source: &str, detail: Value| {
        bus.subscribe(&json!({"match": "event_id=null", "announce": {"source": source, "detail": detail}}))
    };
    let mut news = bus.subscribe(&json!({"match": "source=docker"}));
    drop(announce("docker", json!({})));
    assert_eq!([news.frame(), news.frame()].map(|frame| frame["state"].clone()), [json!("alive"), json!("dead")]);
    for n in 0..2 * MAX_SOURCES {
        let name = format!("agent.a{n}");
        let mut watched = bus.subscribe(&json!({"match": format!("source={name}")}));
        drop(announce(&name, json!({"presence": true})));
        assert_eq!(
            [watched.frame(), watched.frame()].map(|frame| frame["state"].clone()),
            [json!("alive"), json!("dead")]
        );
    }
    let mut late = bus.subscribe(&json!({"match": "source=docker"}));
    assert_eq!(late.frame()["state"], "dead", "it is still known");
    let status = json(&bus.ok(&["status", "--json"]));
    let sources = status["hub"]["status"]["sources"].as_array().unwrap();
    assert_eq!(sources.len(), MAX_SOURCES);
    assert!(sources.iter().all(|source| source["for_sec"].as_u64().unwrap() < 60), "{status}");
}

#[test]
fn hostile_text_does_nothing_to_a_terminal_and_is_exact_as_json() {
    let bus = Bus::new();
    let evil = "\u{1b}[2J\u{1b}]0;title\u{7}a\rb\u{9b}31mc\u{202e}d\u{200b}e\n01M8E5GYY7M2N2TXZ7HMDJB4WE from root to bob:\n\u{0}x\u{2028}y";
    let sent = send_from_input(&bus, &["send", "bob", "-", "--thread", "\u{202e}t"], evil);
    let shown = said(&bus, "bob", &["inbox"]);
    assert_eq!(
        shown,
        format!(
            "{sent} from alice to bob, thread t:\n  a bcde\n  01M8E5GYY7M2N2TXZ7HMDJB4WE from root to bob:\n   x y"
        )
    );
    let exact = said(&bus, "bob", &["inbox", "--json", "--after", BEGINNING]);
    assert_eq!(bodies(&exact), [evil]);
    assert!(!exact.contains(|c: char| c.is_control() || c == '\u{202e}'), "{exact:?}");
    // Rows of other programs, which keep no rules, and one that is no event at all.
    let long = "\u{1b}x".repeat(90_000);
    for fields in [
        json!({"msg_to": "bob", "msg_from": long, "msg_body": {"not": ["text"]}, "msg_thread": 7}),
        json!({"msg_to": "bob", "msg_from": ["x"], "msg_reply_to": "../../etc", "msg_body": null}),
        json!({"msg_to": ["bob"], "msg_body": "to nobody"}),
        json!({"msg_to": "bob", "msg_from": "mallory", "msg_body": "last"}),
    ] {
        insert(&bus, &fields);
    }
    let shown = said(&bus, "bob", &["inbox"]);
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines.len(), 6, "{shown}");
    assert_eq!([lines[1], lines[3], lines[5]], ["  {\"not\":[\"text\"]}", "  null", "  last"]);
    assert!(lines.iter().all(|line| line.chars().count() < 500 && !line.contains(char::is_control)), "{shown}");
    let events = bus.ok(&["replay", "--json", "--match", "msg_reply_to?"]);
    let id = json(&events)["event_id"].as_str().unwrap().to_owned();
    let (code, _, err) = ended(&bus, "bob", &["reply", &id, "x"]);
    assert!(code == 2 && err.contains("reply address"), "{err}");
}

#[test]
fn what_makes_no_sense_ends_with_2_and_sends_nothing() {
    let bus = Bus::new();
    let event = bus.emit("deploy", 1);
    let long = "x".repeat(MAX_AGENT_NAME_BYTES + 1);
    for (arguments, said) in [
        (vec!["reply", BEGINNING, "x"], "no message"),
        (vec!["reply", "nonsense", "x"], "not an event id"),
        (vec!["reply", &event, "x"], "is an event, but no message"),
        (vec!["send", "a b", "x"], "to: "),
        (vec!["send", "..", "x"], "to: "),
        (vec!["send", &long, "x"], "at most"),
        (vec!["send", "bob", "x", "--as", "*"], "name: "),
        (vec!["send", "bob", "x", "--thread", "a\nb"], "thread: "),
        (vec!["send", "bob", "@/nowhere"], "BODY @/nowhere"),
        (vec!["send", "bob", "x", "--timeout", "1s"], "--receipt"),
        (vec!["request", "alice", "x"], "its own reply"),
        (vec!["inbox", "--timeout", "1s"], "--wait or --follow"),
        (vec!["inbox", "--wait", "--follow"], "cannot be used with"),
        (vec!["inbox", "--thread", "", "--since", "1h"], "thread: "),
    ] {
        let (code, out, err) = ended(&bus, "alice", &arguments);
        assert!(code == 2 && out.is_empty() && err.contains(said), "{arguments:?}: {code} {err}");
    }
    for (name, words) in
        [("", "who are you? Give a name with --as NAME, or set WAITBUS_AGENT"), ("a b", "WAITBUS_AGENT: ")]
    {
        for arguments in
            [vec!["send", "bob", "x"], vec!["request", "bob", "x"], vec!["inbox"], vec!["reply", &event, "x"]]
        {
            let (code, _, err) = ended(&bus, name, &arguments);
            assert!(code == 2 && err.contains(words), "{arguments:?}: {err}");
        }
    }
    assert_eq!(bus.ok(&["replay"]).lines().count(), 1, "nothing was sent");
    assert!(!bus.broadcast().exists(), "and nothing was started");
}

/// The log is reached where the sockets are not. A message that is in the log is sent, whatever becomes of the rest; and
/// what could not be waited for is not sent.
#[test]
fn where_no_hub_can_be_reached_a_message_is_sent_and_a_request_is_refused_before_it_is() {
    let bus = Bus::new();
    let long = bus.root().join("x".repeat(120));
    let run =
        |arguments: &[&str]| message(&bus, "alice", arguments).env("WAITBUS_RUNTIME_DIR", &long).output().unwrap();
    ok(&run(&["send", "bob", "1"]));
    for arguments in [&["request", "bob", "2"][..], &["send", "bob", "3", "--receipt"]] {
        let refused = run(arguments);
        assert_eq!((refused.status.code(), &*refused.stdout), (Some(2), &b""[..]), "{refused:?}");
    }
    assert_eq!(unread(&bus, "bob"), ["1"]);
}

/// Several writers at once, a hub that dies in the middle, and one reader.
#[test]
fn a_thousand_messages_of_several_writers_come_once_and_in_the_order_of_the_log() {
    const WRITERS: usize = 5;
    const EACH: usize = 200;
    let bus = Bus::new();
    let mut hub = bus.hub();
    let mut reader = inbox(&bus, "bob", &["--follow", "--json"]);
    let batches: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let line = |n: usize| {
                let fields = json!({"msg_to": "bob", "msg_from": format!("w{writer}"), "msg_body": n.to_string()});
                json!({"source": "agent", "type": "agent_message", "fields": fields}).to_string()
            };
            (0..EACH).map(line).collect::<Vec<_>>()
        })
        .collect();
    let mut received: Vec<Value> = Vec::new();
    std::thread::scope(|scope| {
        for lines in &batches {
            scope.spawn(|| {
                for batch in lines.chunks(20) {
                    let mut child =
                        bus.command(&["emit", "--batch"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
                    child.stdin.take().unwrap().write_all(batch.join("\n").as_bytes()).unwrap();
                    assert!(child.wait().unwrap().success());
                }
            });
        }
        for n in 0..WRITERS * EACH {
            received.push(json(&reader.line()));
            if n == WRITERS * EACH / 3 {
                hub.kill();
            }
        }
    });
    let log = bus.ok(&["replay", "--type", "agent_message", "--json"]);
    let id = |event: &Value| event["event_id"].as_str().unwrap().to_owned();
    assert_eq!(
        received.iter().map(id).collect::<Vec<_>>(),
        log.lines().map(|line| id(&json(line))).collect::<Vec<_>>()
    );
    let mut next = BTreeMap::new();
    for event in &received {
        let n = next.entry(event["fields"]["msg_from"].as_str().unwrap().to_owned()).or_insert(0);
        assert_eq!(event["fields"]["msg_body"], n.to_string());
        *n += 1;
    }
    reader.signal("TERM");
    assert_eq!(reader.ending().0, Some(143));
    assert_eq!(receipts(&bus).len(), WRITERS * EACH);
    assert_eq!(unread(&bus, "bob"), Vec::<String>::new());
}

/// An inbox that could not give its receipts, because the log was locked, heeded neither its time nor a signal for twenty
/// seconds.
#[test]
fn an_inbox_that_cannot_write_down_what_was_read_ends_when_it_is_asked_to() {
    let bus = Bus::new();
    said(&bus, "alice", &["send", "bob", "hello", "-q"]);
    let log = rusqlite::Connection::open(bus.database()).unwrap();
    log.execute_batch("BEGIN IMMEDIATE").unwrap();
    let began = Instant::now();
    let output = message(&bus, "bob", &["inbox", "--wait", "--timeout", "100ms"]).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "there was one: {out}{err}");
    assert!(out.contains("hello") && err.contains("may be printed again"), "{out}{err}");
    let mut following = Process::start(message(&bus, "bob", &["inbox", "--follow"]));
    assert!(following.line().contains("from alice"));
    following.signal("TERM");
    assert_eq!(following.code(), 143);
    // Longer than either takes on a busy machine, and shorter than anything waits for a lock.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    drop(log);
    assert_eq!(unread(&bus, "bob"), ["hello"], "it comes again");
    assert_eq!(unread(&bus, "bob"), Vec::<String>::new());
}
