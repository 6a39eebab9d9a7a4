//! `on`: the command is run for what happened and for nothing else, learns of it without being able to be hurt by it,
//! and is gone when it should be.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};
use std::time::Instant;

use serde_json::Value;

use crate::harness::{Bus, PATIENCE, Process, is_gone, program};
use crate::terminal::Terminal;

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Starts an `on` with a shell command and returns once it is attached.
fn on(bus: &Bus, arguments: &[&str], script: &str) -> Process {
    let mut process = Process::start(bus.command(&[&["on", "-v"], arguments, &["--", "bash", "-c", script]].concat()));
    process.attached();
    process
}

/// The files of events that are there.
fn event_files(bus: &Bus) -> Vec<String> {
    let files =
        std::fs::read_dir(bus.runtime()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    files.filter(|name| name.starts_with("event-")).collect()
}

/// Whether a process is there.
fn is_alive(pid: &str) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    state.is_ok_and(|state| !state.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

#[test]
fn the_command_is_run_for_what_happened_and_its_code_is_ours() {
    let bus = Bus::new();
    let mut on = on(&bus, &["--source", "deploy", "--match", "n=2"], "echo $WAITBUS_EVENT_SOURCE; exit 7");
    bus.emit("deploy", 1);
    bus.emit("deploy", 2);
    assert_eq!(on.line(), "deploy");
    assert_eq!(on.code(), 7);
    // What has happened before it was attached counts when it is said so.
    let mark = "0".repeat(26);
    let output = bus.run(&["on", "--match", "n=1", "--after", &mark, "--", "sh", "-c", "kill -TERM $$"]);
    assert_eq!(output.status.signal(), Some(15), "{}", stderr(&output));
    let output = bus.run(&["on", "--match", "n=1", "--after", &mark, "--", "does-not-exist"]);
    assert_eq!(output.status.code(), Some(127), "{}", stderr(&output));
    let output = bus.run(&["on", "--match", "n=1", "--after", &mark, "--", "/etc/passwd"]);
    assert_eq!(output.status.code(), Some(126), "{}", stderr(&output));
    assert_eq!(event_files(&bus), [""; 0]);
}

#[test]
fn nothing_is_run_where_a_wait_would_not_exit_with_0() {
    let bus = Bus::new();
    bus.ok(&["emit", "--source", "ci", "--type", "finished", "--conclusion", "failure"]);
    bus.ok(&["emit", "--source", "ci", "--type", "finished", "--conclusion", "skipped"]);
    for (arguments, code) in [
        (&["--source", "ci", "--since", "1h", "--verdict"][..], 1),
        (&["--match", "conclusion=skipped", "--since", "1h", "--verdict"], 4),
        (&["--match", "conclusion=skipped", "--since", "1h", "--verdict", "--exit-on", "skipped=0"], 0),
        (&["--source", "x", "--none-of", "ci:conclusion=failure", "--since", "1h"], 1),
        (&["--source", "x", "--none-of", "ci:conclusion=failure", "--since", "1h", "--loop"], 1),
        (&["--source", "x", "--timeout", "1ms"], 124),
        (&["--source", "x", "--timeout", "1ms", "--loop"], 124),
        (&["--source", "x", "--restart"], 2),
        (&["--source", "x", "--jobs", "2"], 2),
        (&["--source", "x", "--stop-timeout", "1s"], 2),
        (&["--source", "x", "--loop", "--restart", "--jobs", "2"], 2),
        (&["--source", "x", "--loop", "--jobs", "0"], 2),
        (&["--sha", "0123456789", "--loop"], 2),
        (&[], 2),
    ] {
        let output = bus.run(&[&["on"], arguments, &["--", "touch", "ran"]].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", stderr(&output));
        assert_eq!(bus.root().join("ran").exists(), code == 0, "{arguments:?}");
        let _ = std::fs::remove_file(bus.root().join("ran"));
    }
    assert_eq!(bus.run(&["on", "--source", "x"]).status.code(), Some(2), "no command");
}

#[test]
fn an_event_reaches_the_command_as_clean_variables_and_as_a_private_file_and_in_no_other_way() {
    let bus = Bus::new();
    let script = "tr '\\0' '\\n' </proc/$$/environ | grep ^WAITBUS_EVENT | sort; echo; tr '\\0' ' ' </proc/$$/cmdline; echo; \
        stat -c '%a %u' $WAITBUS_EVENT_FILE; cat $WAITBUS_EVENT_FILE";
    let mut command = bus.command(&["on", "-v", "--source", "evil", "--", "bash", "-c", script]);
    command.env("WAITBUS_EVENT_URL", "of another event").env("WAITBUS_EVENT_STATUS", "of another event");
    let mut on = Process::start(command);
    on.attached();
    let evil = "a\nLD_PRELOAD=/x\u{0}\u{1b}[31m\u{202e}=$(touch ran)`touch ran`";
    let fields = serde_json::json!({"status": evil, "conclusion": ["no"], "run_id": 12, "PATH": "/evil", "head_sha": "x".repeat(5_000)});
    let line = serde_json::json!({"source": "evil", "type": "t", "owner": "octo", "repo": "hello", "summary": evil, "fields": fields});
    std::fs::write(bus.root().join("batch"), line.to_string()).unwrap();
    let batch = std::fs::File::open(bus.root().join("batch")).unwrap();
    assert!(bus.command(&["emit", "--batch"]).stdin(batch).status().unwrap().success());
    let mut variables = std::collections::BTreeMap::new();
    loop {
        let line = on.line();
        let Some((name, value)) = line.split_once('=') else { break };
        variables.insert(name.to_owned(), value.to_owned());
    }
    let clean = "a LD_PRELOAD=/x =$(touch ran)`touch ran`";
    let names: Vec<_> = variables.keys().map(|name| name.strip_prefix("WAITBUS_EVENT_").unwrap()).collect();
    assert_eq!(names, ["FILE", "HEAD_SHA", "ID", "REPO", "RUN_ID", "SOURCE", "STATUS", "SUMMARY", "TYPE"]);
    let variable = |name: &str| &*variables[&format!("WAITBUS_EVENT_{name}")];
    assert_eq!(["STATUS", "SUMMARY", "RUN_ID", "REPO"].map(variable), [clean, clean, "12", "octo/hello"]);
    assert_eq!(variable("HEAD_SHA").chars().count(), 300);
    let arguments = on.line();
    assert!(!arguments.contains("evil") && !arguments.contains(variable("FILE")), "{arguments}");
    assert_eq!(on.line(), format!("600 {}", rustix::process::geteuid().as_raw()));
    let event: Value = serde_json::from_str(&on.line()).unwrap();
    assert_eq!((&event["fields"]["status"], &event["event_id"]), (&evil.into(), &variable("ID").into()));
    assert_eq!(on.code(), 0);
    assert_eq!(event_files(&bus), [""; 0]);
    assert!(!bus.root().join("ran").exists());
}

#[test]
fn what_happens_while_the_command_runs_is_run_for_in_order_and_nothing_is_lost() {
    let bus = Bus::new();
    assert!(Command::new("mkfifo").arg(bus.root().join("go")).status().unwrap().success());
    let script = "grep -o '\"n\":[0-9]*' $WAITBUS_EVENT_FILE; case $(cat $WAITBUS_EVENT_FILE) in *'\"n\":0}'*|*'\"n\":0,'*) read x <go;; esac; exit 3";
    let mut on = on(&bus, &["--source", "load", "--loop"], script);
    bus.emit("load", 0);
    assert_eq!(on.line(), "\"n\":0");
    bus.emit_batch("load", 1..60);
    let status = bus.ok(&["status", "--json"]);
    let pid = serde_json::from_str::<Value>(&status).unwrap()["hub"]["status"]["pid"].to_string();
    assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
    bus.emit_batch("load", 60..100);
    std::fs::write(bus.root().join("go"), "\n").unwrap();
    for n in 1..100 {
        assert_eq!(on.line(), format!("\"n\":{n}"));
    }
    on.said("bash ended with exit code 3");
    on.signal("TERM");
    assert_eq!(on.code(), 143);
}

#[test]
fn a_restart_ends_the_whole_command_before_it_starts_anew_for_the_newest() {
    let bus = Bus::new();
    // The group's second process outlives a TERM to its first, as a server behind a shell does.
    let script = "trap 'rm -f running; exit' TERM; [ -e running ] && echo twice; touch running; sleep 1000 & echo $! $(grep -o '\"n\":[0-9]*' $WAITBUS_EVENT_FILE); wait";
    let mut on = on(&bus, &["--source", "fs", "--loop", "--restart"], script);
    bus.emit("fs", 0);
    let first = on.line();
    let (pid, n) = first.split_once(' ').unwrap();
    assert_eq!(n, "\"n\":0");
    assert!(is_alive(pid));
    bus.emit("fs", 1);
    let second = on.line();
    assert_eq!(second.split_once(' ').unwrap().1, "\"n\":1");
    assert!(is_gone(pid), "it was to end with its command");
    // A storm ends with the newest, and never has two of them.
    bus.emit_batch("fs", 2..500);
    loop {
        let line = on.line();
        assert_ne!(line, "twice");
        if line.ends_with("\"n\":499") {
            break;
        }
    }
    assert_eq!(event_files(&bus).len(), 1);
    on.signal("INT");
    assert_eq!(on.code(), 130);
    assert_eq!(event_files(&bus), [""; 0]);
    assert!(!on.errors().contains("was ended by"), "replacing it is no news");
}

#[test]
fn a_command_that_does_not_end_when_asked_is_killed_after_its_time() {
    let bus = Bus::new();
    let script = "trap '' TERM INT; sleep 1000 & echo $$; while :; do wait; done";
    let mut on = on(&bus, &["--source", "fs", "--loop", "--restart", "--stop-timeout", "50ms"], script);
    bus.emit("fs", 0);
    let first = on.line();
    bus.emit("fs", 1);
    let second = on.line();
    assert!(is_gone(&first));
    on.signal("INT");
    assert_eq!(on.code(), 130);
    assert!(is_gone(&second));
    // With all the time in the world, a second Ctrl-C is enough.
    let mut on = self::on(
        &bus,
        &["--source", "fs", "--loop", "--stop-timeout", "1h"],
        "trap 'echo asked' INT; sleep 1000 & echo $$; while :; do wait; done",
    );
    bus.emit("fs", 2);
    let third = on.line();
    on.signal("INT");
    assert_eq!(on.line(), "asked");
    on.signal("INT");
    assert_eq!(on.code(), 130);
    assert!(is_gone(&third));
}

#[test]
fn no_more_commands_run_at_a_time_than_may() {
    let bus = Bus::new();
    assert!(Command::new("mkfifo").arg(bus.root().join("go")).status().unwrap().success());
    let mut on = on(&bus, &["--source", "load", "--loop", "--jobs", "3"], "echo up; read x <go; echo down");
    bus.emit_batch("load", 0..5);
    for _ in 0..3 {
        assert_eq!(on.line(), "up");
    }
    // The file of the fourth is not there before there is room for it.
    assert_eq!(event_files(&bus).len(), 3);
    let mut running = 3;
    let mut ended = 0;
    let mut go = std::fs::File::options().read(true).write(true).open(bus.root().join("go")).unwrap();
    for _ in 0..5 {
        std::io::Write::write_all(&mut go, b"\n").unwrap();
    }
    while ended < 5 {
        match &*on.line() {
            "up" => running += 1,
            _ => (running, ended) = (running - 1, ended + 1),
        }
        assert!(running <= 3);
    }
    on.signal("TERM");
    assert_eq!(on.code(), 143);
}

#[test]
fn a_loop_ends_when_its_command_cannot_be_started_or_the_answer_cannot_be_known() {
    let bus = Bus::new();
    bus.emit("load", 0);
    let mark = "0".repeat(26);
    let output = bus.run(&["on", "--loop", "--source", "load", "--after", &mark, "--", "does-not-exist"]);
    assert_eq!((output.status.code(), stderr(&output).contains("does-not-exist: not found")), (Some(127), true));
    bus.emit_batch("load", 1..10);
    bus.ok(&["prune", "--keep-rows", "2"]);
    let output = bus.run(&["on", "--loop", "--source", "load", "--after", &mark, "--", "touch", "ran"]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(!bus.root().join("ran").exists());
}

#[test]
fn what_is_ignored_stays_ignored_while_waiting() {
    // `nohup waitbus wait` was ended by the hang-up of its terminal.
    let bus = Bus::new();
    let bare = bus.command(&[]);
    for verb in ["wait -v --source x --count 1", "on -v --source x -- echo ran", "on -v --loop --source x -- echo ran"]
    {
        let mut shell = Command::new("bash");
        shell.args(["-c", &format!("trap '' HUP; exec {} {verb}", program())]).env_clear();
        shell.envs(bare.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut process = Process::start(shell);
        process.attached();
        process.signal("HUP");
        bus.emit("x", 1);
        assert!(["x finished", "ran"].contains(&&*process.line()), "{verb}");
        if verb.contains("--loop") {
            process.signal("TERM");
            assert_eq!(process.code(), 143);
        } else {
            assert_eq!(process.code(), 0, "{verb}");
        }
    }
}

#[test]
fn on_a_terminal_ctrl_c_ends_the_commands_and_ctrl_z_stops_them() {
    let bus = Bus::new();
    let mut terminal = Terminal::shell(&bus);
    terminal.line("$waitbus on -v --loop --source x -- bash -c 'trap \"trap - CONT; echo c\\\"\\\"ontinued\" CONT; echo p\"\"id=$$; test -t 0 || echo nothing to r\"\"ead; sleep 1000 & while :; do wait; done'");
    terminal.shows("attached");
    bus.emit("x", 1);
    terminal.shows("pid=");
    let pid = terminal.shows("\r\n");
    terminal.shows("nothing to read");
    terminal.keys("\x1a");
    terminal.shows("Stopped");
    // The kernel stops a process when it gets to it, and tells nobody but its parent.
    let deadline = Instant::now() + PATIENCE;
    while !std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") T ") {
        assert!(Instant::now() < deadline, "it still runs");
        std::thread::yield_now();
    }
    terminal.line("fg");
    terminal.shows("continued");
    terminal.keys("\x03");
    terminal.shows("ready> ");
    assert!(is_gone(&pid));
    terminal.line("echo \"code=$?\"");
    terminal.shows("code=130");
    // Once, the command has the terminal, as if it had been typed.
    terminal.line("$waitbus on -v --source x -- bash -c 'test -t 0 && echo \"t\"ty; read line; echo \"<$line>\"; exec sleep 1000'");
    terminal.shows("attached");
    bus.emit("x", 2);
    terminal.shows("tty");
    terminal.line("typed");
    terminal.shows("<typed>");
    terminal.keys("\x03");
    terminal.shows("ready> ");
    terminal.line("echo \"code=$?\"");
    terminal.shows("code=130");
    assert_eq!(event_files(&bus), [""; 0]);
    assert!(terminal.end().success());
}

#[test]
fn a_command_that_is_run_once_has_what_comes_in() {
    let bus = Bus::new();
    let mut command = bus.command(&["on", "-v", "--source", "x", "--", "cat"]);
    let mut process = command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut process.stdin.take().unwrap(), b"in").unwrap();
    let mut said = [0; 64];
    assert!(process.stderr.as_mut().unwrap().read(&mut said).unwrap() > 0, "attached");
    bus.emit("x", 1);
    assert_eq!(process.wait_with_output().unwrap().stdout, b"in");
}
