//! The hub under load, under bad rows and bad readers, and across its own end.

use std::fs::File;
use std::process::Command;
use std::time::Instant;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::harness::{Bus, PATIENCE, Process, skip};

/// A line of `/proc/PID/status`, as a number.
fn proc_status(pid: u32, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The hub has never used much memory, where the system can tell.
fn assert_small(hub: &Process) {
    if cfg!(target_os = "linux") {
        let peak = proc_status(hub.child.id(), "VmHWM");
        assert!(peak < 32 * 1_024, "{peak} KiB");
    }
}

fn insert(bus: &Bus, columns_and_values: &str) {
    let log = Connection::open(bus.database()).unwrap();
    log.execute_batch(&format!("PRAGMA wal_autocheckpoint=0; INSERT INTO events {columns_and_values}")).unwrap();
}

fn ring(bus: &Bus) {
    use std::io::Write;
    std::os::unix::net::UnixStream::connect(bus.doorbell()).unwrap().write_all(&[1]).unwrap();
}

/// What a subscriber costs the hub is told as 16 kB at most; a buffer for each connection would be more than that.
#[test]
fn a_subscriber_costs_the_hub_a_few_kilobytes() {
    const MANY: u64 = 400;
    let bus = Bus::new();
    let hub = bus.hub();
    let own = || waitbus::sys::memory::of(hub.child.id()).map(|memory| memory.own);
    let subscribe = || bus.subscribe(&json!({"match": "n=1", "heartbeat": false}));
    // What there is one of comes with the first.
    let _first = subscribe();
    let Some(before) = own() else {
        return skip("a_subscriber_costs_the_hub_a_few_kilobytes", "the system does not tell");
    };
    let _crowd: Vec<_> = (0..MANY).map(|_| subscribe()).collect();
    let each = (own().unwrap() - before) / MANY;
    assert!(each <= 16_000, "{each} bytes");
}

#[test]
fn a_burst_with_one_ring_is_delivered_whole_and_in_order_to_everybody() {
    // An earlier implementation read 500 rows a ring; the rest waited for somebody else's.
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut all: Vec<_> = (0..3).map(|_| bus.subscribe(&json!({}))).collect();
    let mut some = bus.subscribe(&json!({"match": "n>=4990"}));
    bus.emit_batch("load", 0..5_000);
    for subscriber in &mut all {
        assert_eq!(subscriber.numbers(5_000), (0..5_000).collect::<Vec<_>>());
    }
    assert_eq!(some.numbers(10), (4_990..5_000).collect::<Vec<_>>());
}

#[test]
fn a_replay_of_many_rows_is_complete_and_needs_little_memory() {
    // An earlier implementation stopped at 500 rows, counted before filtering, and acknowledged everything.
    let bus = Bus::new();
    bus.emit_batch("load", 0..100_000);
    let hub = bus.hub();
    let mut all = bus.subscribe(&json!({"since": "0".repeat(26)}));
    let mut few = bus.subscribe(&json!({"since": "0".repeat(26), "match": "n>=99999"}));
    assert_eq!(few.numbers(1), [99_999]);
    assert_eq!(all.numbers(100_000), (0..100_000).collect::<Vec<_>>());
    assert_small(&hub);
}

#[test]
fn a_thousand_subscribers_are_served_and_only_the_concerned_ones_are_written_to() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut each: Vec<_> = (0..1_000).map(|n| bus.subscribe(&json!({"match": format!("n={n}")}))).collect();
    let mut all: Vec<_> = (0..200).map(|_| bus.subscribe(&json!({}))).collect();
    bus.emit("load", 77);
    assert_eq!(each[77].numbers(1), [77]);
    for subscriber in &mut all {
        assert_eq!(subscriber.numbers(1), [77]);
    }
    // One more event for everybody: whoever had been sent the first one would read it now.
    bus.emit_batch("load", 0..1_000);
    for (n, subscriber) in (0..).zip(&mut each) {
        assert_eq!(subscriber.numbers(1), [n]);
    }
}

#[test]
fn a_reader_that_never_reads_delays_nobody_and_misses_nothing() {
    let bus = Bus::new();
    let hub = bus.hub();
    let mut lazy = bus.subscribe(&json!({}));
    let mut busy = bus.subscribe(&json!({}));
    for burst in 0..10 {
        bus.emit_batch("load", burst * 2_000..(burst + 1) * 2_000);
        assert_eq!(busy.numbers(2_000), (burst * 2_000..(burst + 1) * 2_000).collect::<Vec<_>>());
    }
    let status: Value = serde_json::from_str(&bus.ok(&["status", "--json"])).unwrap();
    assert_eq!(status["hub"]["status"]["lagging"], 1, "{status}");
    assert_eq!(lazy.numbers(20_000), (0..20_000).collect::<Vec<_>>());
    assert_small(&hub);
}

#[test]
fn a_hub_whose_place_is_gone_sends_its_waiters_to_the_new_one() {
    // A session that ends takes its runtime directory away; what was started in it and lives on must not go deaf.
    let bus = Bus::new();
    let mut hub = bus.hub();
    let mut old = bus.wait(&["--match", "n=2"]);
    std::fs::remove_dir_all(bus.runtime()).unwrap();
    let mut new = bus.wait(&["--match", "n=1"]);
    assert_eq!(hub.code(), 0, "it leaves when the new one has come");
    bus.emit("deploy", 1);
    bus.emit("deploy", 2);
    assert_eq!((new.code(), old.code()), (0, 0));
}

#[test]
fn a_hub_whose_sockets_were_removed_makes_room_for_one_that_can_be_reached() {
    // It still has the lock, so no other could start, and nobody could reach it: every wait failed until somebody emitted.
    let bus = Bus::new();
    let mut hub = bus.hub();
    let mut old = bus.wait(&["--source", "deploy"]);
    std::fs::remove_file(bus.broadcast()).unwrap();
    std::fs::remove_file(bus.doorbell()).unwrap();
    let mut new = bus.wait(&["--source", "deploy"]);
    assert_eq!(hub.code(), 0);
    bus.emit("deploy", 1);
    assert_eq!((new.code(), old.code()), (0, 0));
}

#[test]
fn a_hub_whose_log_is_gone_leaves_and_its_waits_do_not_wait_for_ever() {
    // It went on with a file that had no name any more, or another one. What was emitted went into a new one, and neither
    // those who waited nor those who came later heard of it.
    let removed = |bus: &Bus| std::fs::remove_dir_all(bus.state()).unwrap();
    let moved_away = |bus: &Bus| std::fs::rename(bus.state(), bus.root().join("elsewhere")).unwrap();
    for gone in [removed, moved_away] {
        let bus = Bus::new();
        let mut hub = bus.hub();
        bus.emit("deploy", 0);
        let mut old = bus.wait(&["--source", "deploy"]);
        gone(&bus);
        bus.emit("deploy", 1);
        assert_eq!(hub.code(), 3);
        assert!(hub.errors().contains("events.db has been removed or replaced"));
        assert_eq!(old.code(), 3, "what it has missed is not known");
        assert!(old.errors().contains("gap"));
        let mut new = bus.wait(&["--source", "deploy"]);
        bus.emit("deploy", 2);
        assert_eq!(new.code(), 0);
    }
}

#[test]
fn clients_that_never_stop_sending_stop_nobody_else() {
    // Reading from a socket that is never empty never gives way by itself.
    let bus = Bus::new();
    let mut hub = bus.hub();
    let flood = |path: std::path::PathBuf, frame: Option<&str>| {
        let mut subscriber = crate::harness::Subscriber::connect(&path);
        if let Some(frame) = frame {
            subscriber.send(frame.as_bytes());
        }
        let mut stream = subscriber.stream;
        std::thread::spawn(move || while std::io::Write::write_all(&mut stream, &vec![1; 65_536]).is_ok() {});
    };
    flood(bus.broadcast(), Some("{}"));
    flood(bus.doorbell(), None);
    let mut subscriber = bus.subscribe(&json!({}));
    for n in 0..20 {
        bus.emit("deploy", n);
        assert_eq!(subscriber.numbers(1), [n]);
    }
    hub.stop();
}

#[test]
fn a_ring_is_heard_also_when_more_writers_are_connected_than_have_a_place() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut subscriber = bus.subscribe(&json!({}));
    let places = waitbus::model::limits::MAX_RINGERS + 10;
    let _silent: Vec<_> =
        (0..places).map(|_| std::os::unix::net::UnixStream::connect(bus.doorbell()).unwrap()).collect();
    bus.emit("deploy", 1);
    assert_eq!(subscriber.numbers(1), [1]);
}

#[test]
fn a_hub_that_accepts_and_says_nothing_ends_the_wait_when_its_grace_is_over() {
    let bus = Bus::new();
    let mut hub = bus.hub();
    let mut wait = bus.wait(&["--source", "deploy", "--grace", "300ms"]);
    Connection::open(bus.database()).unwrap().pragma_update(None, "user_version", 99).unwrap();
    hub.kill();
    std::fs::remove_file(bus.broadcast()).unwrap();
    let _frozen = std::os::unix::net::UnixListener::bind(bus.broadcast()).unwrap();
    assert_eq!(wait.code(), 3);
    wait.said("could not be reached within 0.3 s");
}

#[test]
fn a_row_that_cannot_be_read_is_announced_to_those_it_may_concern_and_stops_nobody() {
    // In an earlier implementation one row with invalid UTF-8 stopped all delivery for good.
    let bus = Bus::new();
    let mut hub = bus.hub();
    let mut concerned = bus.subscribe(&json!({"match": "n>=0"}));
    let mut other = bus.subscribe(&json!({"match": "source=deploy"}));
    let mut strict = bus.wait(&["--match", "n>=0"]);
    let mut lenient = bus.wait(&["--match", "n>=0", "--allow-gap"]);
    insert(&bus, "(source, event_type, fields) VALUES ('cron', 'done', CAST(x'7b22ff' AS TEXT))");
    ring(&bus);
    let gap = concerned.frame();
    assert_eq!((&gap["kind"], &gap["reason"], &gap["missed"]), (&json!("gap"), &json!("unreadable_row"), &json!(1)));
    assert_eq!(strict.code(), 3, "what it may have missed is unknown");
    strict.said("cannot be read");
    bus.emit("deploy", 5);
    assert_eq!(concerned.numbers(1), [5]);
    assert_eq!(other.numbers(1), [5], "the row's source is readable, and it is another one");
    assert_eq!(lenient.code(), 0);
    hub.said("a row of the log cannot be read");
}

#[test]
fn a_row_of_another_program_is_delivered_with_all_that_it_left_out() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut subscriber = bus.subscribe(&json!({}));
    insert(&bus, "(source, event_type) VALUES ('cron', 'never_heard_of')");
    ring(&bus);
    let event = subscriber.frame();
    assert_eq!((&event["source"], &event["event_type"]), (&json!("cron"), &json!("never_heard_of")));
    let mut resumed = bus.subscribe(&json!({"since": event["event_id"]}));
    bus.emit("x", 1);
    assert_eq!(resumed.numbers(1), [1]);
}

#[test]
fn a_wait_gets_the_whole_of_an_event_that_exceeds_a_frame() {
    // In an earlier implementation such an event became a stub that no condition could match.
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut wait = bus.wait(&["--match", "conclusion=failure", "--match", "after>=1", "--json"]);
    let text = "x".repeat(90_000);
    let event =
        json!({"source": "deploy", "type": "finished", "conclusion": "failure", "fields": {"after": 1, "text": text}});
    let mut emit = bus.command(&["emit", "--batch"]);
    let mut emit = emit.stdin(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut emit.stdin.take().unwrap(), event.to_string().as_bytes()).unwrap();
    assert!(emit.wait().unwrap().success());
    let seen: Value = serde_json::from_str(&wait.line()).unwrap();
    assert_eq!(seen["fields"]["text"].as_str().unwrap().len(), 90_000);
    assert_eq!(wait.code(), 0);
}

#[test]
fn a_blocked_wait_survives_every_end_of_the_hub_and_misses_nothing() {
    // The second round is a waiter that has seen nothing yet: it resumes from its acknowledgement's cursor.
    let bus = Bus::new();
    for signal in ["KILL", "TERM"] {
        let mut hub = bus.hub();
        let mut tail = Process::start(bus.command(&["tail", "-v", "--json", "--count", "2"]));
        tail.attached();
        hub.signal(signal);
        hub.end();
        let expected = [bus.emit("deploy", 1), bus.emit("deploy", 2)];
        let ids =
            [tail.line(), tail.line()].map(|line| serde_json::from_str::<Value>(&line).unwrap()["event_id"].clone());
        assert_eq!(ids, expected, "{signal}");
        assert_eq!(tail.code(), 0);
        // The tail has started a hub of its own, and the next round needs the place.
        let pid = crate::harness::lock_holder(&bus.runtime().join("hub.lock")).unwrap();
        let mut watch = bus.subscribe(&json!({}));
        Command::new("kill").arg(pid.to_string()).status().unwrap();
        while watch.try_frame().is_some() {}
        while crate::harness::lock_holder(&bus.runtime().join("hub.lock")).is_some() {}
    }
}

#[test]
fn a_hub_that_stops_tells_its_subscribers_from_where_to_go_on() {
    let bus = Bus::new();
    let mut hub = bus.hub();
    let mut subscriber = bus.subscribe(&json!({}));
    let id = bus.emit("deploy", 1);
    assert_eq!(subscriber.numbers(1), [1]);
    hub.stop();
    let last = subscriber.frame();
    assert_eq!(last, json!({"kind": "shutdown", "reason": "stopping", "retry": true, "cursor": id}));
    assert_eq!(subscriber.try_frame(), None);
}

#[test]
fn a_hub_that_cannot_be_had_back_ends_the_wait_with_3_and_says_so() {
    let bus = Bus::new();
    let mut hub = bus.hub();
    // Long enough for a hub to start and to say why it cannot, however much else the machine has to do.
    let mut wait = bus.wait(&["--source", "deploy", "--grace", "3s"]);
    // From here on no hub can start: a later version has changed the log.
    Connection::open(bus.database()).unwrap().pragma_update(None, "user_version", 99).unwrap();
    hub.kill();
    assert_eq!(wait.code(), 3);
    let message = wait.said("could not be reached");
    for part in ["broadcast.sock", "3 s", "format 99"] {
        assert!(message.contains(part), "{message}");
    }
}

/// When the time was up while one more hub was on its way, the wait said that nobody listened, and not why.
#[test]
fn why_no_hub_could_start_is_said_also_when_the_next_one_is_still_starting() {
    let bus = Bus::new();
    let mut hub = bus.hub();
    let mut wait = bus.wait(&["--source", "deploy", "--grace", "3s"]);
    Connection::open(bus.database()).unwrap().pragma_update(None, "user_version", 99).unwrap();
    hub.kill();
    let said = || std::fs::read_to_string(bus.state().join("hub.log")).unwrap_or_default();
    let deadline = Instant::now() + PATIENCE;
    while !said().contains("format 99") {
        assert!(Instant::now() < deadline, "no hub was started");
    }
    // From here on a hub that starts waits for what its configuration says.
    let configuration = bus.root().join("config/waitbus.toml");
    std::fs::create_dir_all(configuration.parent().unwrap()).unwrap();
    assert!(Command::new("mkfifo").arg(&configuration).status().unwrap().success());
    assert_eq!(wait.code(), 3);
    // Now it goes on, and has to come to its end before its log is removed: it would make a new one.
    let refusals = || said().matches("format 99").count();
    let before = refusals();
    let waiting = File::options().read(true).write(true).open(&configuration).unwrap();
    let empty = configuration.with_extension("new");
    std::fs::write(&empty, "").unwrap();
    std::fs::rename(&empty, &configuration).unwrap();
    drop(waiting);
    while refusals() == before {
        assert!(Instant::now() < deadline, "no hub was starting");
    }
    let message = wait.said("could not be reached");
    assert!(message.contains("format 99"), "{message}");
}

#[test]
fn a_subscriber_that_hangs_up_is_noticed_at_once() {
    // An earlier implementation noticed at the next send, which on a quiet bus may be never.
    let bus = Bus::new();
    let _hub = bus.hub();
    let subscribers = || {
        let status: Value = serde_json::from_str(&bus.ok(&["status", "--json"])).unwrap();
        status["hub"]["status"]["subscribers"].as_u64().unwrap()
    };
    let (first, second) = (bus.subscribe(&json!({})), bus.subscribe(&json!({})));
    assert_eq!(subscribers(), 2);
    drop(first);
    second.stream.shutdown(std::net::Shutdown::Write).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while subscribers() != 1 {
        assert!(Instant::now() < deadline, "the hub still counts it; one that is half closed still listens");
    }
    drop(second);
    while subscribers() != 0 {
        assert!(Instant::now() < deadline, "the hub still counts it");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn nobody_is_woken_for_what_does_not_concern_them() {
    use std::io::Read;
    use std::time::Duration;

    let bus = Bus::new();
    let hub = bus.hub();
    let wait = bus.wait(&["--match", "conclusion=success"]);
    let mut quiet = bus.subscribe(&json!({"heartbeat": false, "match": "n=1"}));
    let switches = |pid| {
        let asleep = || std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap().contains("State:\tS");
        while !asleep() {}
        proc_status(pid, "voluntary_ctxt_switches")
    };
    let waiter = switches(wait.child.id());
    for n in 2..30 {
        bus.emit("deploy", n);
    }
    bus.emit("deploy", 1);
    assert_eq!(quiet.numbers(1), [1]);
    assert_eq!(switches(wait.child.id()), waiter, "29 events, none of which match");
    // With nothing to do, nobody does anything. The read is what takes the time.
    let idle = switches(hub.child.id());
    quiet.stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    assert!(quiet.stream.read(&mut [0]).is_err());
    assert_eq!((switches(hub.child.id()), switches(wait.child.id())), (idle, waiter));
}
