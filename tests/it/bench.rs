//! `waitbus bench`: what it tells, what it leaves alone, and what is left of it. No time is asserted.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::{Bus, Process, lock_holder};
use crate::terminal::Terminal;

/// Everything that lies below a directory.
fn entries(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        found.push(entry.path().display().to_string());
        if entry.path().is_dir() {
            found.extend(entries(&entry.path()));
        }
    }
    found.sort();
    found
}

/// Processes that measure on this bus: hubs and roles.
fn at_work(bus: &Bus) -> Vec<String> {
    let root = bus.root().to_str().unwrap();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().map(Result::unwrap) {
        let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
        let [environment, command] =
            ["environ", "cmdline"].map(|name| String::from_utf8_lossy(&read(name)).into_owned());
        if environment.contains(root) && (command.contains("\0bench-role\0") || command.contains("\0hub\0")) {
            found.push(command.replace('\0', " "));
        }
    }
    found
}

/// The program with a directory for temporary files that is this bus's own.
fn bench(bus: &Bus, arguments: &[&str]) -> Command {
    let temporary = bus.root().join("tmp");
    fs::create_dir_all(&temporary).unwrap();
    let mut command = bus.command(&["bench"]);
    command.args(arguments).env("TMPDIR", temporary);
    command
}

#[test]
fn a_private_bus_is_measured_beside_the_floor_and_nothing_is_left_behind() {
    // A benchmark that writes into its user's log, or forgets its hub, is run once.
    let bus = Bus::new();
    bus.emit("deploy", 1);
    let log = bus.ok(&["replay", "--json"]);
    let mut command = bench(&bus, &["--json", "--rate", "1000", "--seconds", "1", "--subscribers", "3"]);
    let before = entries(bus.root());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "there is no terminal to show progress on");

    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["live"], false);
    let [pace] = &told["emit_to_receive"].as_array().unwrap()[..] else { panic!("{told}") };
    assert_eq!(pace["rate"], 1_000);
    for who in ["floor", "bus"] {
        let told = &pace[who];
        assert_eq!(told["samples"], 1_000, "{who}");
        let counts = told["histogram"].as_array().unwrap().iter().map(|pair| pair[1].as_u64().unwrap());
        assert_eq!(counts.sum::<u64>(), 1_000, "{who}");
        let ends = ["low", "at", "high"].map(|end| told["p99"][end].as_u64().unwrap());
        assert!(0 < ends[0] && ends.is_sorted(), "{who}: {ends:?}");
    }
    assert!(pace["ratio_p50"]["at"].as_f64().unwrap() > 0.0);
    assert_eq!(told["subscribers"]["count"], 3);
    assert_eq!(told["subscribers"]["last_served"]["samples"], 100);
    assert!(told["hub_memory"]["own_bytes"].as_u64() < told["hub_memory"]["resident_bytes"].as_u64());

    assert_eq!(at_work(&bus), [""; 0]);
    assert_eq!(entries(bus.root()), before);
    assert_eq!(bus.ok(&["replay", "--json"]), log);
}

#[test]
fn an_interrupt_at_the_terminal_leaves_no_process_and_no_directory() {
    let bus = Bus::new();
    let temporary = bus.root().join("tmp");
    fs::create_dir(&temporary).unwrap();
    let before = entries(bus.root());
    let mut terminal = Terminal::shell(&bus);
    terminal.line(&format!("TMPDIR='{}' $waitbus bench --rate 1000 --seconds 60", temporary.display()));
    terminal.shows("[#");
    assert!(at_work(&bus).len() >= 3, "it is at work: {:?}", at_work(&bus));
    terminal.keys("\x03");
    terminal.shows("ready> ");
    terminal.line("echo ended with $?");
    terminal.shows("ended with 130");
    assert_eq!(at_work(&bus), [""; 0]);
    assert_eq!(entries(bus.root()), before);
}

/// A benchmark at work, and the process of its hub.
fn begun(bus: &Bus) -> (Process, u32) {
    let process = Process::start(bench(bus, &["--rate", "1000", "--seconds", "2", "--subscribers", "0"]));
    while at_work(bus).iter().all(|command| !command.contains("bench-role")) {}
    let rooms = fs::read_dir(bus.root().join("tmp")).unwrap().map(|entry| entry.unwrap().path());
    let hub = rooms.into_iter().find_map(|room| lock_holder(&room.join("run/hub.lock"))).unwrap();
    (process, hub)
}

fn kill(process: u32) {
    assert!(Command::new("kill").args(["-KILL", &process.to_string()]).status().unwrap().success());
}

#[test]
fn a_hub_that_is_killed_while_it_is_measured_is_named_as_the_cause() {
    // It said that the receiving process does not start.
    let bus = Bus::new();
    let (mut process, hub) = begun(&bus);
    kill(hub);
    let (code, printed, said) = process.ending();
    assert_eq!((code, &*printed), (Some(3), ""), "{said}");
    assert!(said.starts_with("waitbus: the hub that was measured has ended"), "{said}");
}

#[test]
fn what_a_killed_benchmark_has_left_behind_goes_with_the_next_and_nothing_else_does() {
    let bus = Bus::new();
    let (mut process, hub) = begun(&bus);
    process.kill();
    kill(hub);
    let left = |at: &Path| entries(at).iter().filter(|path| path.contains("/.waitbus-bench-")).count();
    assert!(left(bus.root()) > 2, "{:?}", entries(bus.root()));
    // One that is at work, and something of another kind.
    let temporary = bus.root().join("tmp");
    for name in [".waitbus-bench-busy", ".waitbus-bench-other"] {
        fs::create_dir(temporary.join(name)).unwrap();
    }
    let lock = fs::File::create(temporary.join(".waitbus-bench-busy/lock")).unwrap();
    lock.lock().unwrap();
    let output = bench(&bus, &["--rate", "1000", "--seconds", "1", "--subscribers", "0"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found = entries(bus.root()).into_iter().filter(|path| path.contains("/.waitbus-bench-")).collect::<Vec<_>>();
    let kept = [".waitbus-bench-busy", ".waitbus-bench-busy/lock", ".waitbus-bench-other"];
    assert_eq!(found, kept.map(|name| temporary.join(name).display().to_string()));
}

#[test]
fn a_live_hub_is_measured_by_events_that_stay_in_the_log_and_wake_nobody_else() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let conditions = [
        &["--type", "finished"][..],
        &["--match", "conclusion?"],
        &["--match", "status!=queued"],
        &["--match", "n>=0"],
        &["--where", "fields.n >= 0"],
    ];
    let mut waits: Vec<_> = conditions.iter().map(|conditions| bus.wait(conditions)).collect();
    let output = bench(&bus, &["--live", "--rate", "1000", "--seconds", "1", "--subscribers", "0"]).output().unwrap();
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success(), "{err}");
    assert_eq!(err, "waitbus: 1500 events of source bench, type bench_sample, will stay in the log\n");
    assert!(out.contains("the hub that runs") && out.contains(" times the floor"), "{out}");
    assert!(out.is_ascii(), "this locale is not UTF-8: {out}");
    let log = bus.ok(&["replay", "--json"]);
    let told = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert_eq!(told.filter(|event| event["event_type"] == "bench_sample").count(), 1_500);

    bus.ok(&[
        "emit",
        "--source",
        "deploy",
        "--type",
        "finished",
        "--conclusion",
        "success",
        "--status",
        "completed",
        "--field",
        "n=1",
    ]);
    for wait in &mut waits {
        assert_eq!(wait.line(), "deploy finished: success");
    }
}

#[test]
fn without_a_hub_there_is_none_to_measure_live_and_none_is_started() {
    let bus = Bus::new();
    let output = bench(&bus, &["--live"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("waitbus: no hub is running"), "{output:?}");
    assert!(!bus.database().exists());
    assert_eq!(at_work(&bus), [""; 0]);
}

#[test]
fn a_flag_that_makes_no_sense_ends_with_2_and_nothing_is_measured() {
    let bus = Bus::new();
    let rates = (1..=9).flat_map(|rate| ["--rate".to_owned(), rate.to_string()]).collect::<Vec<_>>();
    let rates: Vec<_> = rates.iter().map(String::as_str).collect();
    for arguments in [
        &["--seconds", "0"][..],
        &["--seconds", "601"],
        &["--seconds", "soon"],
        &["--rate", "0"],
        &["--rate", "40001"],
        &["--subscribers", "1001"],
        &["--subscribers", "-1"],
        &["--rate", "40000", "--seconds", "600"],
        &["once"],
        &rates,
    ] {
        let output = bench(&bus, arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{arguments:?}");
    }
    assert_eq!(entries(bus.root()), [bus.root().join("tmp").display().to_string()]);
}
