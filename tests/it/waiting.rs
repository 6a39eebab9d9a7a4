//! `wait`, `tail`, `replay`, `mark` and `emit` as a person at two terminals meets them, with every way to end.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::{Bus, Process, deliver, lock_holder, payload, program, skip, works};

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_signed_webhook_wakes_the_wait_of_the_first_example() {
    let bus = Bus::new();
    let (_serve, address) = bus.serve();
    let mut wait = bus.wait(&["--source", "github", "--match", "conclusion=success", "--json"]);
    let answer = deliver(address, "workflow_run", "d1", &payload("workflow_run.completed.payload.json"));
    assert_eq!(answer.status, 200, "{answer:?}");
    let event: Value = serde_json::from_str(&wait.line()).unwrap();
    assert_eq!(event["event_id"], answer.json()["event_id"]);
    assert_eq!(event["cursor"], event["event_id"]);
    assert_eq!(event["fields"]["conclusion"], "success");
    assert_eq!(wait.code(), 0);
}

#[test]
fn the_first_wait_starts_a_hub_that_outlives_it() {
    let bus = Bus::new();
    let mut wait = bus.wait(&["--source", "deploy"]);
    let id = bus.emit("deploy", 1);
    assert_eq!(wait.line(), "deploy finished");
    assert_eq!(wait.code(), 0);
    assert!(bus.ok(&["status"]).starts_with("hub: running"), "{}", bus.ok(&["status"]));
    assert_eq!(bus.ok(&["mark"]), id);
}

#[test]
fn a_hub_that_a_wait_started_holds_none_of_its_descriptors() {
    // A hub that keeps the pipe of `waitbus wait | cat` open keeps `cat` from ending.
    let bus = Bus::new();
    bus.emit("x", 1);
    // It ends when the hub that it has started has served it, and not at a time that may be before that.
    let script = format!("{} wait --source x --after {} 9>&1 | cat", program(), "0".repeat(26));
    let mut shell = Command::new("sh");
    let waits = bus.command(&[]);
    shell
        .args(["-c", &script])
        .envs(waits.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .stdin(Stdio::null());
    let output = shell.output().unwrap();
    assert!(output.status.success(), "the pipe has ended");
    assert_eq!(output.stdout, b"x finished\n", "{}", stderr(&output));
    assert!(bus.ok(&["status"]).starts_with("hub: running"));
}

#[test]
fn many_waits_that_find_no_hub_at_once_start_one() {
    // Each of 200 waiters whose socket was being opened anew had the user manager start a hub. The manager was busy with
    // that for half a minute, no waiter looked whether another hub served, and all of them ended with 3.
    let bus = Bus::new();
    let mut waits: Vec<_> =
        (0..30).map(|_| Process::start(bus.command(&["wait", "-v", "--source", "deploy"]))).collect();
    for wait in &mut waits {
        wait.attached();
    }
    let hub = lock_holder(&bus.runtime().join("hub.lock")).unwrap();
    assert!(works(&["kill", "-KILL", &hub.to_string()]));
    bus.emit("deploy", 1);
    for wait in &mut waits {
        assert_eq!(wait.code(), 0);
    }
    let said = std::fs::read_to_string(bus.state().join("hub.log")).unwrap();
    assert!(!said.contains("already running"), "{said}");
}

#[test]
fn nothing_that_was_committed_after_a_mark_is_missed() {
    let bus = Bus::new();
    assert_eq!(bus.ok(&["mark"]), "0".repeat(26), "nothing has ever happened");
    let first = bus.ok(&["mark"]);
    bus.emit("deploy", 1);
    let second = bus.ok(&["mark"]);
    bus.emit("deploy", 2);
    let wait = |after: &str| bus.ok(&["wait", "--source", "deploy", "--after", after, "--json"]);
    let n = |line: &str| serde_json::from_str::<Value>(line).unwrap()["fields"]["n"].clone();
    assert_eq!(n(&wait(&first)), 1);
    assert_eq!(n(&wait(&second)), 2);
    assert_eq!(n(&bus.ok(&["wait", "--match", "n=2", "--since", "10m", "--json"])), 2);
    assert_eq!(bus.run(&["wait", "--source", "deploy", "--timeout", "100ms"]).status.code(), Some(124), "from now on");
}

#[test]
fn each_way_to_end_has_its_code() {
    let bus = Bus::new();
    let code = |arguments: &[&str]| bus.run(arguments).status.code().unwrap();
    assert_eq!(code(&["wait", "--source", "x", "--timeout", "1ms"]), 124);
    for usage in [
        &["wait"][..],
        &["wait", "--source", "x", "--timeout", "5"],
        &["wait", "--match", "conclusion"],
        &["wait", "--repo", "nonsense"],
        &["wait", "--source", "x", "--after", "yesterday"],
        &["wait", "--source", "x", "--count", "0"],
        &["wait", "--sourec", "x"],
        &["wait", "--source", ""],
        &["wait", "--type", ""],
        &["emit", "--source", "x"],
        &["emit", "--source", "a b", "--type", "t"],
        &["emit", "--source", "a", "--type", "t", "--field", "nonsense"],
        &["emit", "--source", "a", "--type", "t", "--payload", "@/does/not/exist"],
        &["nonsense"],
        &[],
    ] {
        let output = bus.run(usage);
        assert_eq!(output.status.code(), Some(2), "{usage:?}");
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{usage:?}: words on standard error");
    }
    for signal in ["INT", "TERM"] {
        let mut wait = bus.wait(&["--source", "x"]);
        wait.signal(signal);
        assert_eq!(wait.code(), if signal == "INT" { 130 } else { 143 });
    }
    for help in [&["--help"][..], &["wait", "--help"], &["emit", "--help"], &["--version"]] {
        assert_eq!(code(help), 0, "{help:?}");
    }
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let bus = Bus::new();
    std::fs::write(bus.state(), "in the way").unwrap();
    let output = bus.run(&["emit", "--source", "a", "--type", "b"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains(&*bus.state().to_string_lossy()), "{}", stderr(&output));
    let output = bus.command(&["mark"]).env("WAITBUS_STATE_DIR", "relative").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("WAITBUS_STATE_DIR"), "{}", stderr(&output));
    let long = format!("/tmp/{}", "x".repeat(100));
    let output = bus.command(&["wait", "--source", "x"]).env("WAITBUS_RUNTIME_DIR", long).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("107"), "{}", stderr(&output));
}

#[test]
fn a_log_of_a_later_version_is_refused_by_everybody_and_left_alone() {
    let bus = Bus::new();
    bus.emit("deploy", 1);
    rusqlite::Connection::open(bus.database()).unwrap().pragma_update(None, "user_version", 99).unwrap();
    for verb in
        [&["emit", "--source", "a", "--type", "b"][..], &["wait", "--source", "a"], &["mark"], &["hub"], &["replay"]]
    {
        let output = bus.run(verb);
        assert_eq!(output.status.code(), Some(3), "{verb:?}");
        assert!(stderr(&output).contains("format 99"), "{verb:?}: {}", stderr(&output));
    }
}

#[test]
fn a_full_disk_is_an_error_with_a_name_and_nothing_is_half_stored() {
    let bus = Bus::new();
    std::fs::create_dir(bus.state()).unwrap();
    std::fs::set_permissions(bus.state(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let mount = format!("mount -t tmpfs -o size=160k,mode=0700 none {} && exec \"$@\"", bus.state().display());
    let inside = |script: &str| {
        let mut command = bus.command(&[]);
        let variables: Vec<_> =
            command.get_envs().map(|(name, value)| (name.to_owned(), value.unwrap().to_owned())).collect();
        command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &mount, "sh", "sh", "-c", script]).env_clear().envs(variables);
        command.output().unwrap()
    };
    if !inside("true").status.success() {
        return skip(
            "a_full_disk_is_an_error_with_a_name_and_nothing_is_half_stored",
            "no file system may be mounted here",
        );
    }
    let emit = format!("{} emit --source a --type b --payload @$HOME/large", program());
    std::fs::write(bus.state().parent().unwrap().join("large"), vec![b'x'; 20_000]).unwrap();
    let output = inside(&format!(
        "i=0; while [ $i -lt 20 ]; do {emit} || break; i=$((i+1)); done; {} replay | wc -l",
        program()
    ));
    assert!(stderr(&output).contains("no space is left for the event log"), "{}", stderr(&output));
    let lines: Vec<_> = std::str::from_utf8(&output.stdout).unwrap().lines().collect();
    assert_eq!(lines.last().unwrap().trim().parse(), Ok(lines.len() - 1), "every id that was printed, and no more");
}

#[test]
fn a_reader_that_stops_reading_is_no_error() {
    let bus = Bus::new();
    bus.emit_batch("load", 0..5_000);
    let script = format!("set -o pipefail; {} replay | head -1", program());
    let mut shell = Command::new("bash");
    let command = bus.command(&[]);
    shell.args(["-c", &script]).env_clear();
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = shell.output().unwrap();
    assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"load finished\n"[..]), "{}", stderr(&output));
    assert!(output.stderr.is_empty());
}

#[test]
fn text_from_outside_reaches_the_terminal_without_control_characters() {
    let bus = Bus::new();
    bus.emit("deploy", 1);
    let evil =
        "(source, event_type, summary) VALUES ('x', 'y', 'red ' || char(27) || '[31m' || char(8238, 7, 10) || 'end')";
    rusqlite::Connection::open(bus.database()).unwrap().execute_batch(&format!("INSERT INTO events {evil}")).unwrap();
    assert_eq!(bus.ok(&["replay"]), "deploy finished\nred end");
    let evil = "(source, event_type, fields) VALUES ('x', 'y', '{\"a\": \"' || char(155, 127, 8238) || '\"}')";
    rusqlite::Connection::open(bus.database()).unwrap().execute_batch(&format!("INSERT INTO events {evil}")).unwrap();
    let json = bus.ok(&["replay", "--json"]);
    assert!(json.contains(r#""a":"\u009b\u007f\u202e""#), "{json:?}");
}

#[test]
fn a_replay_in_a_pager_neither_holds_the_log_nor_reads_past_its_beginning() {
    let bus = Bus::new();
    bus.emit_batch("load", 0..5_000);
    let mut command = bus.command(&["replay", "--json"]);
    let mut replay = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(replay.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    // It has begun, and the pipe is full before it is done.
    let log = rusqlite::Connection::open(bus.database()).unwrap();
    log.execute_batch("INSERT INTO events (source, event_type, fields) VALUES ('x', 'y', 'no JSON')").unwrap();
    let busy: i64 = log.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).unwrap();
    assert_eq!(busy, 0, "a reader holds the log");
    assert_eq!(lines.map(Result::unwrap).count(), 4_999);
    let output = replay.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &*stderr(&output)), (Some(0), ""), "what came later is not its business");
}

#[test]
fn pruning_runs_beside_everything_else_and_whoever_is_affected_is_told() {
    // An earlier implementation refused to prune while the bus was up; the log grew for ever.
    let bus = Bus::new();
    let _hub = bus.hub();
    bus.emit_batch("load", 0..3_000);
    let mut subscriber = bus.subscribe(&serde_json::json!({"match": "n>=3000"}));
    let mark = bus.ok(&["mark"]);
    assert_eq!(bus.ok(&["prune", "--keep-rows", "100"]), "2900 events removed");
    assert_eq!(bus.ok(&["prune", "--older-than", "1h", "--json"]), "{\"removed\":0}");
    bus.emit("load", 3_000);
    assert_eq!(subscriber.numbers(1), [3_000]);
    assert_eq!(
        bus.run(&["wait", "--source", "load", "--after", &"0".repeat(26), "--timeout", "60s"]).status.code(),
        Some(3)
    );
    assert!(bus.run(&["wait", "--source", "load", "--after", &mark]).status.success());
    assert_eq!(bus.ok(&["wait", "--source", "load", "--since", &"0".repeat(26), "--allow-gap", "-q"]), "load finished");
    assert_eq!(bus.ok(&["replay"]).lines().count(), 101, "all that there is");
    let replay = bus.run(&["replay", "--since", &"0".repeat(26)]);
    assert_eq!((replay.status.code(), stderr(&replay).contains("2900 events were pruned")), (Some(3), true));
    assert_eq!(bus.run(&["prune"]).status.code(), Some(2));
}

#[test]
fn an_emitter_that_cannot_ring_is_heard_by_the_hub_of_its_log() {
    // A sandbox that forbids sockets but not the log, or a cron job without the session's runtime directory.
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut wait = bus.wait(&["--source", "cron"]);
    let elsewhere = bus.runtime().join("elsewhere");
    let emit =
        bus.command(&["emit", "--source", "cron", "--type", "done"]).env("WAITBUS_RUNTIME_DIR", elsewhere).status();
    assert!(emit.unwrap().success());
    assert_eq!(wait.line(), "cron done");
}

#[test]
fn output_that_is_lost_is_no_success() {
    let bus = Bus::new();
    bus.emit("deploy", 1);
    for verb in [&["mark"][..], &["replay"], &["wait", "--source", "deploy", "--since", "1h"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = bus.command(verb).stdout(full).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{verb:?}");
        assert!(stderr(&output).contains("standard output could not be written"), "{}", stderr(&output));
    }
}

#[test]
fn a_value_too_deep_to_be_read_is_refused_and_one_that_another_program_wrote_is_announced() {
    // Such an event was acknowledged, and the frame that no client could parse made every one of them ask again for ever.
    let bus = Bus::new();
    let nested = |depth: usize| format!("x={}1{}", "[".repeat(depth), "]".repeat(depth));
    let emit = |depth| bus.run(&["emit", "--source", "d", "--type", "t", "--field", &nested(depth)]).status.code();
    assert_eq!((emit(64), emit(65), emit(127)), (Some(0), Some(2), Some(2)));
    let fields = format!("{{\"x\":{}1{}}}", "[".repeat(126), "]".repeat(126));
    let insert = format!("INSERT INTO events (source, event_type, fields) VALUES ('d', 't', '{fields}')");
    rusqlite::Connection::open(bus.database()).unwrap().execute_batch(&insert).unwrap();
    bus.emit("d", 2);
    let seen = bus.ok(&["wait", "--source", "d", "--since", "1h", "--allow-gap", "--count", "2", "--json", "-q"]);
    assert!(seen.lines().last().unwrap().contains("\"n\":2"), "{seen}");
}

#[test]
fn what_a_batch_says_is_stored_whole_or_not_at_all() {
    let bus = Bus::new();
    let batch = |text: &str| {
        let mut child = bus
            .command(&["emit", "--batch", "--json"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let good =
        "{\"source\":\"a\",\"type\":\"b\",\"id\":\"k\"}\n{\"source\":\"a\",\"type\":\"b\",\"status\":\"done\"}\n";
    assert_eq!(batch(&format!("{good}nonsense\n")).status.code(), Some(2));
    assert_eq!(bus.ok(&["replay"]), "");
    assert!(batch(good).status.success());
    let again = batch(good);
    let duplicates: Vec<Value> = std::str::from_utf8(&again.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["duplicate"].clone())
        .collect();
    assert_eq!(duplicates, [true, false]);
    assert_eq!(bus.ok(&["replay"]), "a b\na b: done\na b: done");
}
