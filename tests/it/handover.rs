//! The two ways to start, in every order: by hand or by a client, and by a service manager. They never fight, no waiter
//! misses anything, and no socket path is lost to both.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::SystemTime;

use serde_json::json;

use crate::harness::{Bus, PATIENCE, Process, deliver, lock_holder, payload};
use crate::manager::Sockets;

/// What tells one socket file from another; the number of a file that is gone is soon used again.
fn identity(path: &Path) -> (u64, SystemTime) {
    let found = std::fs::symlink_metadata(path).unwrap();
    (found.ino(), found.modified().unwrap())
}

/// Which files both sockets are.
fn sockets(bus: &Bus) -> [(u64, SystemTime); 2] {
    [identity(&bus.broadcast()), identity(&bus.doorbell())]
}

/// A `tail` that is attached and ends after `count` events.
fn tail(bus: &Bus, count: u64) -> Process {
    let mut tail = Process::start(bus.command(&["tail", "-v", "--json", "--count", &count.to_string()]));
    tail.attached();
    tail
}

/// The next `count` numbers that it prints.
#[track_caller]
fn numbers(tail: &mut Process, count: usize) -> Vec<u64> {
    let number = |line: String| serde_json::from_str::<serde_json::Value>(&line).unwrap()["fields"]["n"].as_u64();
    (0..count).map(|_| number(tail.line()).unwrap()).collect()
}

#[test]
fn an_activated_hub_takes_over_from_a_self_started_one_under_blocked_waiters() {
    // Two hubs stole each other's socket path; when the first exited it deleted the second's.
    let bus = Bus::new();
    let mut old = bus.hub();
    let mut tails: Vec<_> = (0..8).map(|_| tail(&bus, 60)).collect();
    let mut unmatched = bus.wait(&["--source", "deploy", "--match", "n=59"]);
    bus.emit_batch("deploy", 0..20);

    let new = Sockets::bind(&bus);
    let paths = sockets(&bus);
    let mut next = new.hub(&bus);
    // What is committed around the moment of the change belongs to somebody too.
    for n in 20..40 {
        bus.emit("deploy", n);
    }
    next.ready();
    assert_eq!(old.code(), 0, "{}", old.errors());
    for n in 40..60 {
        bus.emit("deploy", n);
    }
    for tail in &mut tails {
        assert_eq!(numbers(tail, 60), (0..60).collect::<Vec<_>>());
        assert_eq!(tail.code(), 0, "{}", tail.errors());
    }
    assert_eq!(unmatched.code(), 0);
    assert_eq!(lock_holder(&bus.runtime().join("hub.lock")), Some(next.child.id()));
    assert_eq!(sockets(&bus), paths);
    next.stop();
    assert_eq!(sockets(&bus), paths, "the manager's paths stay");
}

#[test]
fn an_activated_hub_takes_over_from_one_that_a_client_started() {
    let bus = Bus::new();
    let mut waiting = tail(&bus, 2);
    let old = lock_holder(&bus.runtime().join("hub.lock")).expect("the tail has started a hub");
    bus.emit("deploy", 0);
    let new = Sockets::bind(&bus);
    let mut next = new.hub(&bus);
    next.ready();
    assert_ne!(lock_holder(&bus.runtime().join("hub.lock")), Some(old));
    bus.emit("deploy", 1);
    assert_eq!(numbers(&mut waiting, 2), [0, 1]);
    assert_eq!(waiting.code(), 0);
}

#[test]
fn an_activated_hub_takes_over_from_an_activated_one_as_at_an_upgrade() {
    let bus = Bus::new();
    let kept = Sockets::bind(&bus);
    let mut old = kept.hub(&bus);
    old.ready();
    let mut waiting = tail(&bus, 2);
    bus.emit("deploy", 0);
    let mut next = kept.hub(&bus);
    next.ready();
    assert_eq!(old.code(), 0);
    bus.emit("deploy", 1);
    assert_eq!(numbers(&mut waiting, 2), [0, 1]);
    assert_eq!(waiting.code(), 0);
}

#[test]
fn a_hub_by_hand_refuses_where_an_activated_one_runs_or_its_socket_waits() {
    let bus = Bus::new();
    let kept = Sockets::bind(&bus);
    let paths = sockets(&bus);

    // Nobody runs, but the socket is the manager's.
    for verb in [&["hub"][..], &["serve", "--addr", "127.0.0.1:0"]] {
        let output = bus.run(verb);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(bus.broadcast().to_str().unwrap()) && said.contains("service manager"), "{said}");
        assert_eq!(sockets(&bus), paths);
    }

    let mut hub = kept.hub(&bus);
    hub.ready();
    let mut waiting = tail(&bus, 1);
    for verb in [&["hub"][..], &["serve", "--addr", "127.0.0.1:0"]] {
        let output = bus.run(verb);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains("already running") && said.contains(&hub.child.id().to_string()), "{said}");
        assert_eq!(sockets(&bus), paths);
    }
    bus.emit("deploy", 1);
    assert_eq!(numbers(&mut waiting, 1), [1]);
    assert_eq!(waiting.code(), 0);
    hub.stop();
}

#[test]
fn started_by_hand_and_by_the_manager_at_once_the_managers_serves_and_nothing_is_missed() {
    for round in 0..10 {
        let bus = Bus::new();
        let mut by_hand = Process::start(bus.command(&["hub"]));
        if round % 2 == 0 {
            // Early and late in the other's start, in turn.
            by_hand.ready();
        }
        let kept = Sockets::bind(&bus);
        let paths = sockets(&bus);
        let mut activated = kept.hub(&bus);
        let mut waiting =
            Process::start(bus.command(&["tail", "-v", "--json", "--count", "3", "--after", &"0".repeat(26)]));
        bus.emit("deploy", 0);
        activated.ready();
        // It has handed over, or refused to begin with.
        let code = by_hand.code();
        assert!([0, 2, 3].contains(&code), "round {round}: {code}: {}", by_hand.errors());
        assert_eq!(lock_holder(&bus.runtime().join("hub.lock")), Some(activated.child.id()), "round {round}");
        assert_eq!(sockets(&bus), paths, "round {round}");
        bus.emit("deploy", 1);
        bus.subscribe(&json!({}));
        bus.emit("deploy", 2);
        assert_eq!(numbers(&mut waiting, 3), [0, 1, 2], "round {round}");
        assert_eq!(waiting.code(), 0);
        activated.stop();
        assert_eq!(sockets(&bus), paths, "round {round}");
    }
}

#[test]
fn many_hubs_by_hand_at_once_are_one_in_the_end() {
    let bus = Bus::new();
    let mut hubs: Vec<_> = (0..6).map(|_| Process::start(bus.command(&["hub"]))).collect();
    let mut waiting = tail(&bus, 1);
    let holder = lock_holder(&bus.runtime().join("hub.lock")).expect("one of them is the hub");
    for hub in &mut hubs {
        if hub.child.id() != holder {
            assert_eq!(hub.code(), 3);
            assert!(hub.errors().contains("already running"));
        }
    }
    bus.emit("deploy", 1);
    assert_eq!(numbers(&mut waiting, 1), [1]);
    assert_eq!(waiting.code(), 0);
}

#[test]
fn a_second_hub_by_hand_refuses_and_names_the_first_which_stays() {
    let bus = Bus::new();
    let mut first = bus.hub();
    let paths = sockets(&bus);
    let output = bus.run(&["hub"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(3), 0), "{said}");
    let runtime = bus.runtime();
    let names = [runtime.to_str().unwrap(), &first.child.id().to_string(), "already running"];
    assert!(names.iter().all(|name| said.contains(*name)), "{said}");
    assert_eq!(sockets(&bus), paths);
    bus.subscribe(&json!({}));
    first.stop();
    let mut second = bus.hub();
    bus.subscribe(&json!({}));
    second.stop();
}

#[test]
fn the_stale_socket_of_a_dead_hub_is_replaced() {
    let bus = Bus::new();
    let mut dead = bus.hub();
    let paths = sockets(&bus);
    let mut waiting = tail(&bus, 2);
    bus.emit("deploy", 0);
    assert_eq!(numbers(&mut waiting, 1), [0]);
    dead.kill();
    assert_eq!(sockets(&bus), paths, "it had no time to clean up");
    bus.emit("deploy", 1);
    let by_hand = bus.run(&["hub", "--idle-exit", "1ms"]);
    // The waiter may have been faster, and started one.
    assert!([Some(0), Some(3)].contains(&by_hand.status.code()), "{by_hand:?}");
    assert_eq!(numbers(&mut waiting, 1), [1]);
    assert_eq!(waiting.code(), 0);
    assert_ne!(sockets(&bus), paths);
    let names: Vec<_> = std::fs::read_dir(bus.runtime()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "nothing else is left: {names:?}");
}

#[test]
fn a_serve_that_hands_over_goes_on_as_the_listener_and_wakes_the_waiters_of_the_new_hub() {
    let bus = Bus::new();
    let (mut serve, address) = bus.serve();
    let mut waiting = Process::start(bus.command(&["tail", "-v", "--count", "3"]));
    waiting.attached();
    let body = payload("push.payload.json");
    let send = |id: &str| assert_eq!(deliver(address, "push", id, &body).status, 200);
    send("before");
    waiting.line();
    let mut subscriber = bus.subscribe(&json!({}));
    let mut ringer = UnixStream::connect(bus.doorbell()).unwrap();
    ringer.set_read_timeout(Some(PATIENCE)).unwrap();
    let kept = Sockets::bind(&bus);
    let mut hub = kept.hub(&bus);
    send("around");
    hub.ready();
    waiting.line();
    serve.said("goes on as the webhook listener");
    // The process lives on, but whoever was connected to its hub learns that there is none any more.
    while let Some(frame) = subscriber.try_frame() {
        assert!(frame["kind"] == "event" || frame["reason"] == "handover", "{frame}");
    }
    assert_eq!(ringer.read(&mut [0]).unwrap(), 0, "a ring that nobody hears would be a wake that is lost");
    send("after");
    waiting.line();
    assert_eq!(waiting.code(), 0);

    // And it does so across the end of that hub, too.
    let mut waiting = Process::start(bus.command(&["tail", "-v", "--count", "2"]));
    waiting.attached();
    hub.kill();
    send("meanwhile");
    let mut next = kept.hub(&bus);
    next.ready();
    waiting.line();
    send("later");
    waiting.line();
    assert_eq!(waiting.code(), 0);
    serve.stop();
}
