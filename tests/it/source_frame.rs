//! What holds for every source, whatever it watches: nothing is lost or doubled, whoever is killed; a log that cannot be
//! written is waited for; a flood is held back; and one source is one process.

use std::fs::{self, File};
use std::io::Write;
use std::process::Command;
use std::time::Instant;

use serde_json::{Value, json};
use waitbus::model::limits::{BUSY_TIMEOUT, SOURCE_BURST_EVENTS, SOURCE_STOP_TIMEOUT};

use crate::harness::{Bus, Process, skip};

/// A source whose program is a shell script, once it is announced.
fn source(bus: &Bus, name: &str, script: &str) -> Process {
    let mut source = Process::start(bus.command(&["source", name, "--", "sh", "-c", script]));
    assert_eq!(source.line(), format!("ready source={name}"));
    source
}

/// A source that says what the test writes.
fn spoken(bus: &Bus, name: &str) -> (Process, File) {
    let fifo = bus.root().join("fifo");
    if !fifo.exists() {
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    }
    let source = source(bus, name, "exec cat fifo");
    let pipe = File::options().write(true).open(&fifo).unwrap();
    (source, pipe)
}

fn say(pipe: &mut File, n: u64) {
    writeln!(pipe, "{}", json!({"type": "finished", "id": n.to_string(), "fields": {"n": n}})).unwrap();
}

fn events(bus: &Bus) -> Vec<Value> {
    bus.ok(&["replay", "--json"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn numbers(bus: &Bus) -> Vec<u64> {
    events(bus).iter().filter_map(|event| event["fields"]["n"].as_u64()).collect()
}

/// A program that counts, and goes on where it was; every event has its key.
const COUNTS: &str = r#"i=${WAITBUS_SOURCE_POSITION:-0}; while [ "$i" -lt 3000 ]; do
    i=$((i + 1)); echo "{\"type\":\"finished\",\"id\":\"$i\",\"fields\":{\"n\":$i}}"
    [ $((i % 7)) = 0 ] && echo "{\"position\":\"$i\"}"; done; exit 0"#;

#[test]
fn whoever_is_killed_a_source_that_goes_on_from_its_position_neither_loses_nor_doubles() {
    let bus = Bus::new();
    let mut hub = bus.hub();
    for round in 1..=6 {
        let mut waiter = bus.subscribe(&json!({"match": "source=counter"}));
        let mut counter = source(&bus, "counter", COUNTS);
        let mut seen = 0;
        while seen < 300 {
            let frame = waiter.frame();
            assert!(frame["kind"] == "source_status" || frame["kind"] == "event", "{frame}");
            seen += u64::from(frame["fields"]["n"].is_u64());
            if frame["event_type"] == "source_exited" {
                break;
            }
        }
        if round % 2 == 0 {
            hub.kill();
            hub = bus.hub();
        }
        counter.kill();
    }
    let mut wait =
        bus.wait(&["--source", "counter", "--type", "source_exited", "--match", "exit_code=0", "--allow-absent"]);
    let mut counter = source(&bus, "counter", COUNTS);
    assert_eq!(wait.code(), 0);
    counter.stop();
    assert!(numbers(&bus).into_iter().eq(1..=3_000), "each once, and in order");
}

#[test]
fn a_locked_log_is_waited_for_and_said_once_and_a_stop_does_not_wait_for_it() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut waiter = bus.subscribe(&json!({"match": "source=spoken"}));
    let (mut source, mut pipe) = spoken(&bus, "spoken");
    assert_eq!(waiter.frame()["state"], "alive");
    say(&mut pipe, 1);
    assert_eq!(waiter.numbers(1), [1]);
    let log = rusqlite::Connection::open(bus.database()).unwrap();
    log.execute_batch("BEGIN IMMEDIATE").unwrap();
    say(&mut pipe, 2);
    source.said("events wait for the log");
    let silent = waiter.frame();
    assert_eq!(silent["state"], "silent");
    assert!(silent["detail"]["reason"].as_str().unwrap().contains("locked by another process"), "{silent}");
    log.execute_batch("ROLLBACK").unwrap();
    assert_eq!(waiter.numbers(1), [2]);
    assert_eq!(waiter.frame()["state"], "alive");
    log.execute_batch("BEGIN IMMEDIATE").unwrap();
    say(&mut pipe, 3);
    // It has been read once the next one can be written into an empty pipe; nobody can see it from outside.
    source.said("events wait for the log");
    source.signal("TERM");
    let begun = Instant::now();
    let (code, _, errors) = source.ending();
    assert!(begun.elapsed() < SOURCE_STOP_TIMEOUT + BUSY_TIMEOUT / 2, "{:?}", begun.elapsed());
    assert_eq!(code, Some(3), "{errors}");
    assert!(errors.contains("before its last events could be stored"), "{errors}");
    log.execute_batch("ROLLBACK").unwrap();
    assert_eq!(numbers(&bus), [1, 2], "nothing half");
}

#[test]
fn a_full_log_is_waited_for_and_everything_is_stored_when_there_is_room() {
    let bus = Bus::new();
    fs::create_dir(bus.state()).unwrap();
    let state = bus.state().display().to_string();
    let mount =
        format!("mount -t tmpfs -o size=1400k,mode=0700 none {state} && head -c 1000k /dev/zero >{state}/filler");
    let inside = |arguments: &[&str]| {
        let bare = bus.command(&[]);
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &format!("{mount} && exec \"$@\""), "sh"]).args(arguments).env_clear();
        command.envs(bare.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(bus.root());
        command
    };
    if !inside(&["true"]).output().is_ok_and(|output| output.status.success()) {
        let name = "a_full_log_is_waited_for_and_everything_is_stored_when_there_is_room";
        return skip(name, "no file system may be mounted here");
    }
    let script = r#"p=$(head -c 20000 /dev/zero | tr '\0' x); for i in $(seq 20); do
        echo "{\"type\":\"finished\",\"fields\":{\"n\":$i},\"payload\":\"$p\"}"; done; exec tail -f /dev/null"#;
    let mut source = Process::start(inside(&[crate::harness::program(), "source", "large", "--", "sh", "-c", script]));
    source.ready();
    source.said("no space is left for the event log");
    // The file system of that process, from outside.
    let there = format!("/proc/{}/root{state}", source.child.id());
    fs::remove_file(format!("{there}/filler")).unwrap();
    source.said("the log takes events again");
    let pid = source.child.id().to_string();
    let replay = || {
        let bare = bus.command(&[]);
        let mut command = Command::new("nsenter");
        command.args(["-t", &pid, "-m", crate::harness::program(), "replay", "--json"]).env_clear();
        let output = command.envs(bare.get_envs().filter_map(|(name, value)| Some((name, value?)))).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let event = |line: &str| serde_json::from_str::<Value>(line).unwrap()["fields"]["n"].as_u64();
        text.lines().filter_map(event).collect::<Vec<_>>()
    };
    while replay().len() < 20 {}
    assert!(replay().into_iter().eq(1..=20));
    source.stop();
}

#[test]
fn a_flood_is_held_back_and_told_of_twice_and_nothing_of_it_is_lost() {
    let bus = Bus::new();
    let _hub = bus.hub();
    // So many that a machine with a lot to do is still too fast.
    let many = u64::from(SOURCE_BURST_EVENTS) + 4_000;
    let mut wait = bus.wait(&["--source", "flood", "--type", "source_throttled", "--count", "2", "--json"]);
    let script = format!(
        "awk 'BEGIN {{ for (i = 1; i <= {many}; i++) printf \"{{\\\"type\\\":\\\"t\\\",\\\"fields\\\":{{\\\"n\\\":%d}}}}\\n\", i }}'; \
         exec tail -f /dev/null"
    );
    let mut flood = source(&bus, "flood", &script);
    let told: [Value; 2] = [(); 2].map(|()| serde_json::from_str(&wait.line()).unwrap());
    assert_eq!(wait.code(), 0);
    assert_eq!(told.each_ref().map(|event| &event["fields"]["status"]), ["in_progress", "completed"]);
    assert!(told[1]["fields"]["duration_ms"].as_u64().unwrap() > 2_000, "{}", told[1]);
    flood.stop();
    let all = events(&bus);
    assert!(all.iter().filter_map(|event| event["fields"]["n"].as_u64()).eq(1..=many));
    assert_eq!(all.len() as u64, many + 2, "and nothing else");
}

/// Two of the same source would each go on from the same position, and say everything twice.
#[test]
fn a_source_runs_once_on_a_log() {
    let bus = Bus::new();
    let (mut first, _pipe) = spoken(&bus, "spoken");
    let second = bus.run(&["source", "spoken", "--", "cat"]);
    let errors = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(3), "{errors}");
    let holder = format!("the source spoken runs already (process {})", first.child.id());
    assert!(errors.contains(&holder), "{errors}");
    let mut other = source(&bus, "other", "exec tail -f /dev/null");
    other.stop();
    first.kill();
    let (mut third, _pipe) = spoken(&bus, "spoken");
    third.stop();
}

#[test]
fn a_damaged_log_ends_a_source_with_a_sentence() {
    let bus = Bus::new();
    fs::create_dir(bus.state()).unwrap();
    fs::write(bus.database(), "this is no database, and it is long enough to look like one".repeat(40)).unwrap();
    let ended = bus.run(&["source", "spoken", "--", "cat"]);
    let errors = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(3), "{errors}");
    assert!(errors.contains("not a readable waitbus event log"), "{errors}");
}
