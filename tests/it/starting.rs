//! A hub that a client starts, and `status`, which starts none: what they leave behind, what they pass on, and what they
//! say when something is in the way.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Output;
use std::time::Instant;

use crate::harness::{Bus, PATIENCE, Process, lock_holder, skip, works};
use crate::users::{FOREIGN, Ordinary, may_switch};

fn said(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The process of the hub that somebody has started.
#[track_caller]
fn hub_of(bus: &Bus) -> u32 {
    lock_holder(&bus.runtime().join("hub.lock")).expect("a hub runs")
}

#[test]
fn a_status_leaves_no_trace() {
    let bus = Bus::new();
    for _ in 0..2 {
        let (code, out) = said(&bus.run(&["status"]));
        assert!(code == Some(0) && out.starts_with("hub: not running"), "{out}");
        assert!(!bus.state().exists());
        match fs::read_dir(bus.runtime()) {
            Ok(found) => assert_eq!(found.count(), 0),
            Err(_) => fs::create_dir(bus.runtime()).unwrap(),
        }
    }
}

#[test]
fn a_lock_that_cannot_be_asked_does_not_count_as_no_hub() {
    let bus = Bus::new();
    fs::create_dir(bus.runtime()).unwrap();
    let lock = bus.runtime().join("hub.lock");
    symlink(&lock, &lock).unwrap();
    let (code, out) = said(&bus.run(&["status"]));
    assert!(code == Some(3) && out.contains(&*lock.to_string_lossy()), "{out}");
}

#[test]
fn a_hub_is_seen_through_a_lock_that_may_only_be_read_and_not_denied_through_one_that_may_not() {
    if !may_switch("a_hub_is_seen_through_a_lock_that_may_only_be_read_and_not_denied_through_one_that_may_not") {
        return;
    }
    let user = Ordinary::new();
    let mut hub = Process::start(user.command(&[], &["hub"]));
    hub.ready();
    let lock = user.bus.runtime().join("hub.lock");
    fs::set_permissions(&lock, fs::Permissions::from_mode(0o400)).unwrap();
    let (code, out) = said(&user.command(&[], &["status"]).output().unwrap());
    assert!(code == Some(0) && out.starts_with("hub: running"), "{FOREIGN}: {out}");
    fs::set_permissions(&lock, fs::Permissions::from_mode(0o000)).unwrap();
    let (code, out) = said(&user.command(&[], &["status"]).output().unwrap());
    assert!(code == Some(3) && out.contains("hub.lock"), "{out}");
}

#[test]
fn a_hub_that_the_kernel_does_not_name_is_asked_all_the_same() {
    // Seen from another PID namespace, the holder of the lock has no number.
    let elsewhere = ["unshare", "--pid", "--fork"];
    if !works(&[&elsewhere[..], &["true"]].concat()) {
        return skip("a_hub_that_the_kernel_does_not_name_is_asked_all_the_same", "no PID namespace may be made here");
    }
    let bus = Bus::new();
    let _hub = bus.hub();
    let (code, out) = said(&bus.wrapped(&elsewhere, &["status"]).output().unwrap());
    assert!(code == Some(0) && out.starts_with("hub: running"), "{out}");
}

#[test]
fn a_started_hub_writes_after_what_an_earlier_one_has_said_until_that_is_too_much() {
    let bus = Bus::new();
    fs::create_dir(bus.state()).unwrap();
    let log = bus.state().join("hub.log");
    fs::write(&log, "what the first one said\n").unwrap();
    drop(bus.wait(&["--source", "x"]));
    assert!(fs::read_to_string(&log).unwrap().starts_with("what the first one said\n"));

    let bus = Bus::new();
    fs::create_dir(bus.state()).unwrap();
    let log = bus.state().join("hub.log");
    fs::write(&log, vec![b'x'; 2 * 1024 * 1024]).unwrap();
    drop(bus.wait(&["--source", "x"]));
    assert!(fs::metadata(&log).unwrap().len() < 1024 * 1024);
}

#[test]
fn a_started_hub_knows_nothing_of_the_service_that_started_it() {
    let bus = Bus::new();
    let theirs = [
        "NOTIFY_SOCKET",
        "CREDENTIALS_DIRECTORY",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        "JOURNAL_STREAM",
        "LISTEN_PID",
        "LISTEN_FDS",
        "LISTEN_FDNAMES",
        "INVOCATION_ID",
        "MAINPID",
    ];
    let mut command = bus.command(&["wait", "-v", "--source", "x"]);
    command.envs(theirs.map(|name| (name, "1"))).env("LANG", "C.UTF-8");
    let mut wait = Process::start(command);
    wait.attached();
    let environment = fs::read(format!("/proc/{}/environ", hub_of(&bus))).unwrap();
    let environment = String::from_utf8(environment).unwrap();
    let names: Vec<_> =
        environment.split('\0').filter_map(|entry| entry.split_once('=')).map(|(name, _)| name).collect();
    let inherited: Vec<_> = theirs.iter().filter(|name| names.contains(name)).collect();
    assert!(inherited.is_empty(), "{inherited:?}");
    assert!(names.contains(&"LANG") && names.contains(&"WAITBUS_STATE_DIR"), "{names:?}");
}

#[test]
fn a_started_hub_that_ends_before_its_starter_leaves_no_dead_process() {
    let bus = Bus::new();
    let mut tail = Process::start(bus.command(&["tail", "-v", "--count", "1"]));
    tail.attached();
    let hub = hub_of(&bus);
    // It ends because another one takes over; the one that started it goes on waiting.
    let kept = crate::manager::Sockets::bind(&bus);
    let mut next = kept.hub(&bus);
    next.ready();
    let (entry, deadline) = (format!("/proc/{hub}"), Instant::now() + PATIENCE);
    while Path::new(&entry).exists() {
        assert!(Instant::now() < deadline, "process {hub} is still in the table");
        std::thread::yield_now();
    }
    bus.emit("deploy", 1);
    assert_eq!(tail.code(), 0, "{}", tail.errors());
}

#[test]
fn a_shared_directory_is_refused_with_what_to_do_and_left_as_it_is() {
    // As root, WAITBUS_STATE_DIR=/tmp would have closed /tmp for everybody.
    let bus = Bus::new();
    fs::create_dir(bus.state()).unwrap();
    fs::set_permissions(bus.state(), fs::Permissions::from_mode(0o1777)).unwrap();
    let output = bus.run(&["emit", "--source", "a", "--type", "b"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{error}");
    assert!(error.contains("1777") && error.contains("chmod 0700"), "{error}");
    assert_eq!(fs::metadata(bus.state()).unwrap().permissions().mode() & 0o7777, 0o1777);
    assert_eq!(fs::read_dir(bus.state()).unwrap().count(), 0, "nothing has been put there");
}
