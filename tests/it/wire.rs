//! The wire as PROTOCOL.md describes it: its code blocks, run as they stand against the built program, and its rules,
//! one by one, with a subscriber that shares no code with the program. An incompatible change breaks these tests.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use waitbus::model::frame::Control;
use waitbus::model::id::EventId;
use waitbus::store::prune::Keep;
use waitbus::store::{LogPaths, Writer};

use crate::harness::{Bus, Process, Subscriber, program, skip};

const PROTOCOL: &str = include_str!("../../PROTOCOL.md");
const BEGINNING: &str = "00000000000000000000000000";
/// A well-formed id that no log has ever given out.
const UNKNOWN: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

// ---- the code blocks of PROTOCOL.md ---------------------------------------------------------------------------

#[test]
fn the_python_client_of_the_protocol_document_works() {
    let Some(python) = interpreter("python3", "the_python_client_of_the_protocol_document_works") else { return };
    exercise(|file| vec![python.clone(), file.into()], "python", "client.py");
}

#[test]
fn the_javascript_client_of_the_protocol_document_works() {
    let Some(node) = interpreter("node", "the_javascript_client_of_the_protocol_document_works") else { return };
    exercise(|file| vec![node.clone(), file.into()], "javascript", "client.js");
}

#[test]
fn the_rust_client_of_the_protocol_document_works() {
    let Some(rustc) = interpreter("rustc", "the_rust_client_of_the_protocol_document_works") else { return };
    let compile = |file: &Path| {
        let built = file.with_extension("");
        let arguments = ["--edition", "2024", "-D", "warnings", "-o"];
        let status = Command::new(&rustc).args(arguments).arg(&built).arg(file).status().unwrap();
        assert!(status.success());
        vec![built]
    };
    exercise(compile, "rust", "client.rs");
}

#[test]
fn the_shell_client_of_the_protocol_document_works() {
    let name = "the_shell_client_of_the_protocol_document_works";
    let (Some(bash), Some(_)) = (interpreter("bash", name), interpreter("socat", name)) else { return };
    exercise(|file| vec![bash.clone(), file.into()], "bash", "client.sh");
}

#[test]
fn the_foreign_writer_of_the_protocol_document_wakes_a_subscriber_once() {
    let name = "the_foreign_writer_of_the_protocol_document_wakes_a_subscriber_once";
    let Some(python) = interpreter("python3", name) else { return };
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut subscriber = bus.subscribe(&json!({"match": "source=backup"}));
    let file = bus.state().join("writer.py");
    std::fs::write(&file, block("python", "writer")).unwrap();
    for (key, said) in [("k1", "stored"), ("k1", "duplicate"), ("k2", "stored")] {
        let output = on_bus(&bus, Command::new(&python)).arg(&file).arg(key).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), said, "{output:?}");
    }
    let first = subscriber.frame();
    assert_eq!(first["delivery_id"], "k1", "{first}");
    assert_eq!(first["summary"], "backup finished");
    assert_eq!(first["fields"]["files"], 12);
    assert_eq!(first["fields"]["ingest_method"], "foreign");
    assert_eq!(subscriber.frame()["delivery_id"], "k2", "the duplicate was not delivered");
}

/// Runs a client through its life: it is served the replay and then a live event, resumes from a cursor, and tells the
/// hub's own reason when it is refused.
fn exercise(prepare: impl Fn(&Path) -> Vec<PathBuf>, language: &str, name: &str) {
    let bus = Bus::new();
    let _hub = bus.hub();
    let file = bus.state().join(name);
    std::fs::write(&file, block(language, "client")).unwrap();
    let command = prepare(&file);
    let client = |arguments: &[&str]| {
        let mut client = on_bus(&bus, Command::new(&command[0]));
        client.args(&command[1..]).args(arguments);
        client
    };
    let say = |n: u64| bus.emit("deploy", n);
    let line = |id: &str| format!("{id} deploy finished");

    let first = say(1);
    bus.emit("other", 1);
    let second = say(2);
    let mut running = Process::start(client(&["source=deploy", BEGINNING]));
    assert_eq!(running.line(), line(&first), "the replay");
    assert_eq!(running.line(), line(&second));
    let third = say(3);
    assert_eq!(running.line(), line(&third), "a live event");
    running.kill();

    let mut resumed = Process::start(client(&["source=deploy", &first]));
    assert_eq!(resumed.line(), line(&second));
    assert_eq!(resumed.line(), line(&third));
    resumed.kill();

    let output = client(&["source deploy"]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(errors.contains("bad_field: ") && errors.contains("column 7"), "{errors}");
}

/// The code block of PROTOCOL.md that is marked with a language and a role.
fn block(language: &str, role: &str) -> &'static str {
    let opening = format!("\n```{language} {role}\n");
    let mut found = PROTOCOL.split(&opening).skip(1);
    let block = found.next().unwrap_or_else(|| panic!("PROTOCOL.md has no block ```{language} {role}"));
    assert!(found.next().is_none(), "PROTOCOL.md has two blocks ```{language} {role}");
    &block[..=block.find("\n```").unwrap()]
}

/// A program in the ordinary environment of the tests, with the directories of this bus.
fn on_bus(bus: &Bus, mut command: Command) -> Command {
    command.env("WAITBUS_RUNTIME_DIR", bus.runtime()).env("WAITBUS_STATE_DIR", bus.state()).stdin(Stdio::null());
    command
}

fn interpreter(program: &str, test: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|directory| directory.join(program)).find(|file| file.is_file());
    if found.is_none() {
        skip(test, &format!("{program} is not installed"));
    }
    found
}

// ---- the acknowledgement --------------------------------------------------------------------------------------

#[test]
fn the_acknowledgement_comes_first_and_has_every_key() {
    let bus = Bus::new();
    let _hub = bus.hub();
    bus.emit("deploy", 1);
    let newest = bus.emit("deploy", 2);
    let (mut subscriber, ack) = bus.subscribe_with_ack(&json!({"since": BEGINNING, "status": true}));
    let golden = json!({"kind": "subscribe_ack", "proto": 1, "caught_up_at": newest, "heartbeat_sec": 60,
                        "max_frame_bytes": 65_536, "cursor": BEGINNING, "notes": [],
                        "log_path": bus.database()});
    assert_eq!(ack, golden);
    let kinds = [0; 3].map(|_| subscriber.frame()["kind"].clone());
    assert_eq!(kinds, ["hub_status", "event", "event"]);
}

#[test]
fn caught_up_at_says_where_a_replay_ends_and_is_null_where_there_is_none() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let ack = |frame: Value| bus.subscribe_with_ack(&frame).1;
    let empty = ack(json!({"since": BEGINNING}));
    assert_eq!((&empty["caught_up_at"], &empty["cursor"]), (&Value::Null, &json!(BEGINNING)), "an empty log");
    let first = bus.emit("deploy", 1);
    let second = bus.emit("deploy", 2);
    let live = ack(json!({}));
    assert_eq!((&live["caught_up_at"], &live["cursor"]), (&Value::Null, &json!(second)), "without since");
    let replay = ack(json!({"since": first}));
    assert_eq!((&replay["caught_up_at"], &replay["cursor"]), (&json!(second), &json!(first)), "with since");
}

#[test]
fn heartbeats_are_on_unless_they_are_switched_off() {
    let bus = Bus::new();
    let _hub = bus.hub();
    for (frame, seconds) in [
        (json!({}), 60),
        (json!({"heartbeat": null}), 60),
        (json!({"heartbeat": true}), 60),
        (json!({"heartbeat": false}), 0),
    ] {
        assert_eq!(bus.subscribe_with_ack(&frame).1["heartbeat_sec"], seconds, "{frame}");
    }
}

// ---- what is refused ------------------------------------------------------------------------------------------

#[test]
fn only_the_integer_one_is_this_protocol() {
    let bus = Bus::new();
    let _hub = bus.hub();
    for proto in [json!(true), json!(1.0), json!("1"), json!(2), json!(0), json!(-1), json!(null), json!([1])] {
        let rejected = refusal(&bus, &framed(&json!({"proto": proto})));
        assert_eq!(rejected["reason"], "version", "{rejected}");
        assert_eq!(rejected["supported"], json!([1]));
    }
}

#[test]
fn a_frame_that_is_none_is_answered_with_bad_frame() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let with_length = |length: u32, body: &[u8]| [&length.to_be_bytes()[..], body].concat();
    for (case, bytes) in [
        ("a length of zero", with_length(0, b"")),
        ("a length over the cap", with_length(65_537, b"")),
        ("the largest length there is", with_length(u32::MAX, b"{}")),
        ("no JSON", with_length(5, b"hello")),
        ("no UTF-8", with_length(5, b"{\"\xff\":1")),
        ("no object", with_length(2, b"[]")),
        ("half a prefix", b"\0\0".to_vec()),
        ("half a body", with_length(10, b"{}")),
    ] {
        let rejected = refusal(&bus, &bytes);
        assert_eq!(rejected["reason"], "bad_frame", "{case}: {rejected}");
    }
}

#[test]
fn a_field_that_makes_no_sense_is_named() {
    let bus = Bus::new();
    let _hub = bus.hub();
    for (frame, named) in [
        (json!({"filters": "octo/hello"}), "`filters`"),
        (json!({"filters": vec!["*"; 65]}), "64"),
        (json!({"filters": ["octo"]}), "owner/repo"),
        (json!({"event_types": "push"}), "`event_types`"),
        (json!({"event_types": vec!["push"; 65]}), "64"),
        (json!({"since": "yesterday"}), "`since`"),
        (json!({"since": UNKNOWN.to_lowercase()}), "`since`"),
        (json!({"since": 5}), "`since`"),
        (json!({"envelope": "full"}), "`envelope`"),
        (json!({"match": 5}), "`match`"),
        (json!({"match": vec!["a=1"; 65]}), "64"),
        (json!({"match": format!("a={}", "x".repeat(4_096))}), "4096"),
        (json!({"match": "a==1"}), "column 3"),
        (json!({"where": true}), "`where`"),
        (json!({"where": "sorce == \"github\""}), "column 1: an event has no `sorce`: did you mean `source`?"),
        (json!({"heartbeat": "no"}), "`heartbeat`"),
        (json!({"status": 1}), "`status`"),
    ] {
        let rejected = refusal(&bus, &framed(&frame));
        assert_eq!(rejected["reason"], "bad_field", "{rejected}");
        assert!(rejected["remediation"].as_str().unwrap().contains(named), "{frame}: {rejected}");
    }
}

#[test]
fn a_client_that_does_not_subscribe_in_time_is_told_so() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut silent = Subscriber::connect(&bus.broadcast());
    let mut slow = Subscriber::connect(&bus.broadcast());
    slow.stream.write_all(&[0, 0, 0, 2, b'{']).unwrap();
    for subscriber in [&mut silent, &mut slow] {
        let rejected = subscriber.frame();
        assert_eq!((&rejected["kind"], &rejected["reason"]), (&json!("subscribe_rejected"), &json!("timeout")));
        assert!(rejected["remediation"].as_str().unwrap().contains("10 s"), "{rejected}");
        assert_eq!(subscriber.try_frame(), None);
    }
}

#[test]
fn one_subscriber_too_many_is_told_so_and_a_place_that_is_left_is_given_again() {
    let bus = Bus::new();
    // 64 descriptors are the hub's own, so two places are left.
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "ulimit -n 66 && exec \"$0\" hub"]).arg(program());
    let mut hub = Process::start(on_bus(&bus, shell));
    hub.ready();

    let _first = bus.subscribe(&json!({}));
    let second = bus.subscribe(&json!({}));
    let rejected = refusal(&bus, &framed(&json!({})));
    assert_eq!(rejected["reason"], "too_many_subscribers", "{rejected}");
    drop(second);
    // The hub learns of it in its own time.
    while bus.subscribe_with_ack(&json!({})).1["kind"] != "subscribe_ack" {}
}

// ---- what is let pass -----------------------------------------------------------------------------------------

#[test]
fn unknown_keys_and_nulls_are_ignored() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut subscriber = bus.subscribe(&json!({
        "proto": 1, "filters": null, "event_types": null, "since": null, "envelope": null, "match": null,
        "where": null, "heartbeat": null, "status": null, "a_later_key": {"x": [1]},
    }));
    bus.emit("deploy", 1);
    assert_eq!(subscriber.numbers(1), [1]);
}

#[test]
fn what_follows_the_subscribe_frame_is_ignored() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut subscriber = Subscriber::connect(&bus.broadcast());
    let trailing = [&framed(&json!({})), &framed(&json!({"proto": 2}))[..], b"\0\0\0\0 and more"].concat();
    subscriber.stream.write_all(&trailing).unwrap();
    assert_eq!(subscriber.frame()["kind"], "subscribe_ack");
    subscriber.stream.write_all(&[0; 10_000]).unwrap();
    bus.emit("deploy", 1);
    assert_eq!(subscriber.numbers(1), [1]);
}

#[test]
fn a_client_that_has_closed_its_sending_side_is_served_until_it_goes() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut subscriber = bus.subscribe(&json!({}));
    subscriber.stream.shutdown(Shutdown::Write).unwrap();
    for n in 1..4 {
        bus.emit("deploy", n);
        assert_eq!(subscriber.numbers(1), [n]);
    }
    drop(subscriber);
    // The hub notices its end without having to send anything: nobody but the one who asks is left.
    let left = || {
        let mut asking = bus.subscribe(&json!({"match": "event_id=null", "status": true}));
        asking.frame()["subscribers"].clone()
    };
    while left() != 0 {}
}

// ---- what is delivered ----------------------------------------------------------------------------------------

#[test]
fn zeros_are_the_beginning_of_the_log() {
    let bus = Bus::new();
    let _hub = bus.hub();
    bus.emit_batch("deploy", 0..1_000);
    // A replay that had filled its socket once went on only with the next ring or heartbeat: the hub asked whether
    // there was more to read before it wrote, and not after.
    let mut subscriber = bus.subscribe(&json!({"since": BEGINNING}));
    assert!(subscriber.numbers(1_000).into_iter().eq(0..1_000));
}

#[test]
fn filters_types_and_conditions_are_evaluated_in_the_hub() {
    let bus = Bus::new();
    let _hub = bus.hub();
    for (repo, kind, n) in
        [("octo/hello", "finished", "1"), ("octo/other", "finished", "2"), ("octo/hello", "started", "3")]
    {
        bus.ok(&["emit", "--source", "ci", "--type", kind, "--repo", repo, "--field", &format!("n={n}")]);
    }
    for (frame, expected) in [
        (json!({}), &[1, 2, 3][..]),
        (json!({"filters": []}), &[1, 2, 3]),
        (json!({"filters": ["Octo/Hello"]}), &[1, 3]),
        (json!({"filters": ["octo/*", "nobody/*"]}), &[1, 2, 3]),
        (json!({"event_types": ["started", "not_invented_yet"]}), &[3]),
        (json!({"match": "n>=2"}), &[2, 3]),
        (json!({"match": ["n>=2", "event_type=finished"]}), &[2]),
        (json!({"match": ["n=1", "n=3"]}), &[1, 3]),
        (json!({"match": [["n=1"], ["n=2", "repo=other"]]}), &[1, 2]),
        (json!({"match": "missing!=1"}), &[]),
    ] {
        let mut asked = frame.clone();
        asked["since"] = json!(BEGINNING);
        let mut subscriber = bus.subscribe(&asked);
        assert_eq!(subscriber.numbers(expected.len()), expected, "{frame}");
    }
}

#[test]
fn an_event_has_exactly_these_keys() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut subscriber = bus.subscribe(&json!({}));
    let id = bus.ok(&[
        "emit",
        "--source",
        "deploy",
        "--type",
        "finished",
        "--repo",
        "octo/hello",
        "--id",
        "k1",
        "--conclusion",
        "success",
        "--field",
        "exit_code=0",
        "--field",
        "name=\"0\"",
        "--summary",
        "a\u{1b}[31m\nb",
    ]);
    let mut event = subscriber.frame();
    let received_at = event["received_at"].take();
    assert!(received_at.as_u64().unwrap() > 1_600_000_000_000_000_000, "nanoseconds: {received_at}");
    let golden = json!({
        "kind": "event", "event_id": id, "source": "deploy", "event_type": "finished", "owner": "octo",
        "repo": "hello", "delivery_id": "k1", "received_at": null, "summary": "a b",
        "fields": {"source": "deploy", "event_type": "finished", "owner": "octo", "repo": "hello",
                   "ingest_method": "emit", "conclusion": "success", "exit_code": 0, "name": "0"},
    });
    assert_eq!(event, golden);
}

#[test]
fn an_event_over_the_cap_is_cut_keeps_its_verdict_and_still_matches() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let by_verdict = json!({"match": ["conclusion=failure", "status=completed"]});
    let by_what_is_cut = json!({"match": ["log~needle$", "source=ci"]});
    let mut subscribers = [by_verdict, by_what_is_cut].map(|frame| bus.subscribe(&frame));
    let fields = json!({"aaa": "y".repeat(40_000), "log": "x".repeat(70_000) + "needle", "status": "completed",
                        "conclusion": "failure", "exit_code": 3, "msg_correlation_id": "c1"});
    let event =
        json!({"source": "ci", "type": "finished", "owner": "octo", "repo": "hello", "id": "k1", "fields": fields});
    let mut emit = bus.command(&["emit", "--batch"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    emit.stdin.take().unwrap().write_all(event.to_string().as_bytes()).unwrap();
    let id = String::from_utf8(emit.wait_with_output().unwrap().stdout).unwrap();
    for subscriber in &mut subscribers {
        let golden = json!({
            "kind": "truncated", "event_id": id.trim(), "source": "ci", "event_type": "finished", "owner": "octo",
            "repo": "hello", "delivery_id": "k1", "reason": "frame_too_large", "max_frame_bytes": 65_536,
            "correlation_id": "c1",
            "fields": {"source": "ci", "event_type": "finished", "owner": "octo", "repo": "hello",
                       "ingest_method": "emit", "status": "completed", "conclusion": "failure", "exit_code": 3,
                       "aaa": "y".repeat(40_000), "msg_correlation_id": "c1"},
        });
        assert_eq!(subscriber.frame(), golden);
    }
}

#[test]
fn the_fields_come_last_so_that_keys_can_be_found_as_text() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut subscriber = bus.subscribe(&json!({}));
    bus.ok(&["emit", "--source", "a", "--type", "b", "--field", "summary=not this", "--field", "event_id=nor this"]);
    let mut prefix = [0; 4];
    subscriber.stream.read_exact(&mut prefix).unwrap();
    let mut body = vec![0; u32::from_be_bytes(prefix) as usize];
    subscriber.stream.read_exact(&mut body).unwrap();
    let (own, fields) = std::str::from_utf8(&body).unwrap().split_once("\"fields\":").unwrap();
    assert!(own.contains("\"summary\":\"a b\"") && own.contains("\"event_id\":"), "{own}");
    assert!(fields.ends_with("}}") && fields.contains("\"summary\":\"not this\""), "{fields}");
}

#[test]
fn one_ring_is_enough_for_many_rows_and_a_kept_connection_rings_again() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut subscriber = bus.subscribe(&json!({"match": "source=backup"}));
    let log = rusqlite::Connection::open(bus.database()).unwrap();
    log.execute_batch("PRAGMA wal_autocheckpoint=0").unwrap();
    let insert = |n: u64| {
        let sql = "INSERT INTO events (source, event_type, fields) VALUES ('backup', 'x', json_object('n', ?1))";
        log.execute(sql, [n]).unwrap();
    };
    let mut bell = UnixStream::connect(bus.doorbell()).unwrap();
    for round in 0..3 {
        let numbers: Vec<u64> = (round * 300..(round + 1) * 300).collect();
        for &n in &numbers {
            insert(n);
        }
        bell.write_all(&[7]).unwrap();
        assert_eq!(subscriber.numbers(300), numbers);
    }
}

// ---- control frames -------------------------------------------------------------------------------------------

#[test]
fn a_refusal_has_exactly_these_keys() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let rejected = refusal(&bus, &framed(&json!({"proto": 2})));
    let golden = json!({"kind": "subscribe_rejected", "reason": "version", "supported": [1],
                        "remediation": "this hub speaks protocol 1, not 2; send `\"proto\": 1`"});
    assert_eq!(rejected, golden);
    assert_eq!(refusal(&bus, &framed(&json!({"since": 1})))["supported"], Value::Null);
}

#[test]
fn a_cursor_that_the_log_never_had_is_announced_and_delivery_goes_on_at_its_time() {
    let bus = Bus::new();
    let _hub = bus.hub();
    bus.emit("deploy", 1);
    let mut subscriber = bus.subscribe(&json!({"since": UNKNOWN}));
    let golden =
        json!({"kind": "gap", "reason": "unknown_cursor", "since": UNKNOWN, "resumed_at": BEGINNING, "missed": null});
    assert_eq!(subscriber.frame(), golden);
    assert_eq!(subscriber.numbers(1), [1]);
}

#[test]
fn rows_that_were_pruned_are_announced_with_their_number() {
    let bus = Bus::new();
    let ids: Vec<String> = (1..=5).map(|n| bus.emit("deploy", n)).collect();
    let mut writer = Writer::open(&LogPaths::new(bus.state())).unwrap();
    let keep = Keep { rows: Some(2), ..Keep::default() };
    while writer.prune_step(&keep, std::time::SystemTime::now()).unwrap() > 0 {}
    // Only now: a hub that has the rows in memory would deliver them all the same.
    let _hub = bus.hub();
    let gap = |since: &str, missed: Value| json!({"kind": "gap", "reason": "pruned", "since": since, "resumed_at": ids[2], "missed": missed});
    for (since, missed) in [(BEGINNING, json!(3)), (&*ids[0], Value::Null)] {
        let mut subscriber = bus.subscribe(&json!({"since": since}));
        assert_eq!(subscriber.frame(), gap(since, missed));
        assert_eq!(subscriber.numbers(2), [4, 5]);
    }
    assert_eq!(bus.subscribe(&json!({"since": ids[2]})).numbers(2), [4, 5], "the newest pruned row is no gap");
}

#[test]
fn a_row_that_cannot_be_read_is_announced_to_those_whom_it_may_concern() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let before = bus.emit("deploy", 1);
    let log = rusqlite::Connection::open(bus.database()).unwrap();
    log.execute_batch("PRAGMA wal_autocheckpoint=0").unwrap();
    let sql = "INSERT INTO events (event_id, source, event_type, fields) VALUES (?1, 'deploy', 'x', 'no JSON')";
    log.execute(sql, [UNKNOWN]).unwrap();
    bus.emit("deploy", 2);
    let mut concerned = bus.subscribe(&json!({"since": before, "match": "source=deploy"}));
    let golden =
        json!({"kind": "gap", "reason": "unreadable_row", "since": before, "resumed_at": UNKNOWN, "missed": 1});
    assert_eq!(concerned.frame(), golden);
    assert_eq!(concerned.numbers(1), [2]);
    let mut unconcerned =
        bus.subscribe(&json!({"since": before, "match": [["source=other"], ["n=2"]], "event_types": ["finished"]}));
    assert_eq!(unconcerned.numbers(1), [2]);
}

#[test]
fn the_hub_tells_about_itself_when_it_is_asked() {
    let bus = Bus::new();
    let hub = bus.hub();
    let _other = bus.subscribe(&json!({}));
    let mut status = bus.subscribe(&json!({"status": true})).frame();
    assert!(status["uptime_sec"].take().is_u64());
    let golden = json!({"kind": "hub_status", "version": env!("CARGO_PKG_VERSION"), "pid": hub.child.id(),
                        "activated": false, "log_path": bus.database(), "uptime_sec": null, "subscribers": 1, "lagging": 0, "max_lag": 0,
                        "delivered": 0, "unreadable_rows": 0, "sources": []});
    assert_eq!(status, golden);
}

#[test]
fn a_hub_that_stops_says_so_and_where_to_resume() {
    let bus = Bus::new();
    let mut hub = bus.hub();
    let newest = bus.emit("deploy", 1);
    let mut subscriber = bus.subscribe(&json!({}));
    hub.stop();
    let golden = json!({"kind": "shutdown", "reason": "stopping", "retry": true, "cursor": newest});
    assert_eq!(subscriber.frame(), golden);
    assert_eq!(subscriber.try_frame(), None);
}

#[test]
fn a_heartbeat_has_exactly_these_keys() {
    // It comes after a minute, so it is looked at where it is made.
    let heartbeat = Control::DaemonHeartbeat { ts: 1_700_000_000, uptime_sec: 60, cursor: EventId::ZERO };
    let body: Value = serde_json::from_slice(&heartbeat.encode()[4..]).unwrap();
    let golden = json!({"kind": "daemon_heartbeat", "ts": 1_700_000_000, "uptime_sec": 60, "cursor": BEGINNING});
    assert_eq!(body, golden);
}

// ---- helpers --------------------------------------------------------------------------------------------------

fn framed(frame: &Value) -> Vec<u8> {
    let body = frame.to_string().into_bytes();
    [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], &body].concat()
}

/// Sends bytes, ends the sending side, and returns the refusal, which is the only answer.
#[track_caller]
fn refusal(bus: &Bus, bytes: &[u8]) -> Value {
    let mut subscriber = Subscriber::connect(&bus.broadcast());
    subscriber.stream.write_all(bytes).unwrap();
    subscriber.stream.shutdown(Shutdown::Write).unwrap();
    let frame = subscriber.frame();
    assert_eq!(frame["kind"], "subscribe_rejected", "{frame}");
    assert_eq!(subscriber.try_frame(), None, "nothing follows");
    frame
}
