//! `run`: the command notices nothing, whoever started it sees the command's own end, and the bus sees both ends.

use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use crate::harness::{Bus, PATIENCE, Process, program, skip, works};
use crate::terminal::Terminal;
use crate::users::{FOREIGN, Ordinary, may_switch};

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs a shell command as `run` does.
fn run(bus: &Bus, script: &str) -> Output {
    bus.run(&["run", "--", "sh", "-c", script])
}

/// The events in the log, oldest first.
fn events(bus: &Bus) -> Vec<Value> {
    bus.ok(&["replay", "--json"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The fields of the newest event.
fn last(bus: &Bus) -> Value {
    events(bus).pop().unwrap()["fields"].take()
}

/// A shell script with the bus in its environment and the program as its first argument.
fn script(bus: &Bus, text: &str) -> Command {
    let bare = bus.command(&[]);
    let mut shell = Command::new("bash");
    shell.args(["-c", text, "bash", program()]).env_clear().current_dir(bus.root()).stdin(Stdio::null());
    shell.envs(bare.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell
}

#[test]
fn every_exit_code_is_the_commands_own() {
    let bus = Bus::new();
    let output = script(&bus, "for i in $(seq 0 255); do $1 run -- sh -c \"exit $i\"; echo $?; done").output().unwrap();
    let codes: Vec<u8> =
        std::str::from_utf8(&output.stdout).unwrap().lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(codes, (0..=255).collect::<Vec<_>>());
    assert_eq!(stderr(&output), "");
    let told: Vec<_> = events(&bus).iter().filter_map(|event| event["fields"]["exit_code"].as_u64()).collect();
    assert_eq!(told, (0..=255).collect::<Vec<_>>());
}

#[test]
fn a_signal_that_ends_the_command_is_seen_by_whoever_started_us_and_leaves_no_core_of_ours() {
    let bus = Bus::new();
    for (name, number) in [("TERM", 15), ("KILL", 9), ("SEGV", 11), ("ABRT", 6), ("USR1", 10), ("PIPE", 13), ("INT", 2)]
    {
        let text = format!("ulimit -c unlimited; exec $1 run -- sh -c 'ulimit -c 0; kill -{name} $$'");
        let status = script(&bus, &text).status().unwrap();
        assert_eq!((status.signal(), status.core_dumped()), (Some(number), false), "{name}");
        let fields = last(&bus);
        assert_eq!((&fields["exit_code"], &fields["signal"]), (&json!(128 + number), &json!(format!("SIG{name}"))));
        let asked = ["TERM", "INT"].contains(&name);
        assert_eq!(fields["conclusion"], if asked { "cancelled" } else { "failure" }, "{name}");
    }
}

#[test]
fn both_ends_are_events_that_say_the_same_run_and_no_argument() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut wait = bus.wait(&["--source", "run", "--match", "name=tests", "--count", "2", "--json"]);
    let output = bus.run(&["run", "--name", "tests", "--", "sh", "-c", "echo 'why it\tfailed' >&2; exit 3", "s3cret"]);
    assert_eq!(output.status.code(), Some(3));
    let [start, end]: [Value; 2] = [(); 2].map(|()| serde_json::from_str(&wait.line()).unwrap());
    assert_eq!(wait.code(), 0);
    assert_eq!((&start["event_type"], &end["event_type"]), (&json!("started"), &json!("finished")));
    let id = start["fields"]["run_id"].as_str().unwrap();
    assert_eq!(end["fields"]["run_id"], id);
    assert_eq!(
        (start["delivery_id"].as_str(), end["delivery_id"].as_str()),
        (Some(&*format!("{id}.started")), Some(&*format!("{id}.finished")))
    );
    let root = bus.root().canonicalize().unwrap();
    for event in [&start, &end] {
        let fields = &event["fields"];
        assert_eq!((&fields["command"], &fields["cwd"]), (&json!("sh"), &json!(root.to_str().unwrap())), "{fields}");
    }
    assert_eq!((&start["fields"]["status"], &end["fields"]["status"]), (&json!("in_progress"), &json!("completed")));
    assert_eq!((&end["fields"]["conclusion"], &end["fields"]["exit_code"]), (&json!("failure"), &json!(3)));
    assert_eq!(end["fields"]["stderr_tail"], "why it failed");
    assert!(end["fields"]["duration_ms"].is_u64());
    for file in ["events.db", "events.db-wal"] {
        let log = std::fs::read(bus.state().join(file)).unwrap();
        assert!(!log.windows(6).any(|window| window == b"s3cret"), "an argument is in {file}");
    }
}

#[test]
fn both_ends_say_what_the_command_was_run_on() {
    let bus = Bus::new();
    let text = "git init -q -b main . && git config user.name n && git config user.email e && \
        git commit -q --allow-empty -m one && git remote add origin git@github.com:octo/hello.git && git rev-parse HEAD && \
        $1 run -- git commit -q --allow-empty -m two";
    let output = script(&bus, text).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let sha = String::from_utf8(output.stdout).unwrap();
    let told = events(&bus);
    assert_eq!(told.len(), 2);
    for event in told {
        let fields = &event["fields"];
        assert_eq!((&event["owner"], &event["repo"]), (&json!("octo"), &json!("hello")));
        assert_eq!((&fields["head_branch"], fields["head_sha"].as_str()), (&json!("main"), Some(sha.trim())));
    }
}

#[test]
fn a_command_that_cannot_be_started_has_its_code_and_both_events() {
    let bus = Bus::new();
    std::fs::write(bus.root().join("plain"), "echo hi\n").unwrap();
    std::fs::write(bus.root().join("empty"), "").unwrap();
    std::fs::set_permissions(bus.root().join("empty"), std::fs::Permissions::from_mode(0o755)).unwrap();
    for (command, code, problem) in [
        ("does-not-exist", 127, "not found"),
        ("./does/not/exist", 127, "not found"),
        ("./plain", 126, "cannot be executed"),
        ("./empty", 126, "cannot be executed"),
        ("/", 126, "cannot be executed"),
    ] {
        let output = bus.run(&["run", "--", command]);
        assert_eq!(output.status.code(), Some(code), "{command}");
        assert!(stderr(&output).contains(problem) && stderr(&output).contains(command), "{}", stderr(&output));
        let fields = last(&bus);
        assert_eq!((&fields["conclusion"], &fields["exit_code"]), (&json!("startup_failure"), &json!(code)));
    }
    assert_eq!(events(&bus).len(), 10, "a start and an end for each");
    // It was told that a name was empty which it had not given.
    for unnamed in [&["run", "--", ""][..], &["run", "--name", "tests", "--", "", "argument"]] {
        let output = bus.run(unnamed);
        assert_eq!((output.status.code(), stderr(&output).contains("the command is empty")), (Some(2), true));
        assert!(!stderr(&output).contains("--name"), "{}", stderr(&output));
    }
    for usage in
        [&["run"][..], &["run", "--"], &["run", "--name", " ", "--", "true"], &["run", "--junit", "--", "true"]]
    {
        assert_eq!(bus.run(usage).status.code(), Some(2), "{usage:?}");
    }
    assert_eq!(events(&bus).len(), 10);
}

#[test]
fn the_command_has_the_descriptors_signals_and_group_that_it_would_have_without_us() {
    let bus = Bus::new();
    let look = "trap '' HUP QUIT USR1; exec 7>seven; \
        show() { \"$@\" bash -c 'grep ^Sig.[gl] /proc/self/status | grep -v SigCgt; ls /proc/$$/fd; ps -o pgid= $$; umask; ulimit -a; env | sort; echo seven >&7'; }";
    let seen =
        |how: &str| {
            let output = script(&bus, &format!("{look}; echo $$; {how}")).output().unwrap();
            assert!(output.status.success(), "{}", stderr(&output));
            let text = String::from_utf8(output.stdout).unwrap();
            assert_eq!(std::fs::read_to_string(bus.root().join("seven")).unwrap(), "seven\n");
            // Each has the group of its own script.
            let (_script, rest) = text.split_once('\n').unwrap();
            let group = Command::new("ps").args(["-o", "pgid=", &std::process::id().to_string()]).output().unwrap();
            assert!(rest.contains(std::str::from_utf8(&group.stdout).unwrap().trim()), "{rest}");
            let lines = rest.lines().filter(|line| !line.starts_with("_="));
            // The C library keeps signals 32 and 33 for itself, and ignores them in whatever it starts.
            lines
                .map(|line| {
                    if line.starts_with("Sig") { line[line.len() - 8..].replacen('8', "0", 1) } else { line.to_owned() }
                })
                .collect::<Vec<_>>()
        };
    assert_eq!(seen("show env"), seen("show $1 run --"));
}

#[test]
fn whatever_goes_in_and_out_is_untouched() {
    let bus = Bus::new();
    let input: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut child = bus.command(&["run", "--", "sh", "-c", "cat; printf '\\377\\0\\033' >&2"]);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut stdin, expected) = (child.stdin.take().unwrap(), input.clone());
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success() && output.stdout == expected, "{} bytes", output.stdout.len());
    assert_eq!(output.stderr, b"\xff\0\x1b");
    let output = run(&bus, "head -c 20000000 /dev/zero >&2");
    assert_eq!(output.stderr.len(), 20_000_000);
    // A reader that has enough ends the command, as it does without us.
    for yes in ["yes", "yes >&2"] {
        let text =
            format!("$1 run -- sh -c 'exec {yes}' 2>&1 >/dev/null | head -c 100 >/dev/null; echo ${{PIPESTATUS[0]}}");
        let text = if yes == "yes" { text.replace(" 2>&1 >/dev/null", "") } else { text };
        assert_eq!(script(&bus, &text).output().unwrap().stdout, b"141\n", "{yes}");
    }
}

#[test]
fn the_end_of_standard_error_is_told_where_it_can_be_had_without_the_command_noticing() {
    let bus = Bus::new();
    let failing =
        "'for i in $(seq 100); do echo line $i >&2; done; printf \"\\033[31mred\\033[0m 1%%\\rdone\" >&2; exit 1'";
    let tail = |redirection: &str| {
        assert!(script(&bus, &format!("echo before >log; $1 run -- sh -c {failing} {redirection}")).status().is_ok());
        last(&bus)["stderr_tail"].clone()
    };
    let lines: Vec<_> = (82..=100).map(|n| format!("line {n}")).chain(["done".to_owned()]).collect();
    assert_eq!(tail("2> >(cat >/dev/null)"), lines.join("\n"), "a pipe");
    assert_eq!(tail("2>log"), lines.join("\n"), "a file");
    assert_eq!(tail("2>>log"), lines.join("\n"), "a file with something in it");
    assert_eq!(tail(">log 2>&1"), lines.join("\n"), "a file that is standard output, too");
    assert_eq!(tail("2>&1 | cat >/dev/null"), Value::Null, "a pipe that is standard output, too, keeps its order");
    assert_eq!(tail("2>/dev/null"), Value::Null);
    assert_eq!(script(&bus, "echo before >log; $1 run -- false 2>>log").status().unwrap().code(), Some(1));
    assert_eq!(last(&bus)["stderr_tail"], Value::Null, "what others wrote before is not its own");
    assert_eq!(run(&bus, "echo fine >&2").status.code(), Some(0));
    assert_eq!(last(&bus)["stderr_tail"], Value::Null, "nobody asks why something has succeeded");
}

#[test]
fn what_the_command_leaves_behind_can_go_on_writing() {
    // A server that a command starts died of a broken pipe as soon as it said something.
    let bus = Bus::new();
    let mut command = bus.command(&[
        "run",
        "--",
        "sh",
        "-c",
        "echo first >&2; (trap \"\" PIPE; read x <go; echo second >&2; echo $? >go) & exit 4",
    ]);
    assert!(Command::new("mkfifo").arg(bus.root().join("go")).status().unwrap().success());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut errors = child.stderr.take().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(4), "it ends with its command");
    assert_eq!(last(&bus)["stderr_tail"], "first");
    std::fs::write(bus.root().join("go"), "\n").unwrap();
    assert_eq!(std::fs::read_to_string(bus.root().join("go")).unwrap(), "0\n", "it could write");
    let mut text = String::new();
    errors.read_to_string(&mut text).unwrap();
    assert_eq!(text, "first\nsecond\n", "and the pipe ends when it does");
}

#[test]
fn a_signal_that_is_sent_to_us_reaches_the_command_once_and_the_end_is_told() {
    let bus = Bus::new();
    for (signal, code, conclusion) in
        [("TERM", 7, "cancelled"), ("INT", 7, "cancelled"), ("HUP", 7, "cancelled"), ("USR1", 7, "failure")]
    {
        let text = format!("trap 'echo got; exit 7' {signal}; echo up; while :; do sleep 0.01; done");
        let mut process = Process::start(bus.command(&["run", "--", "bash", "-c", &text]));
        assert_eq!(process.line(), "up");
        process.signal(signal);
        assert_eq!(process.line(), "got");
        assert_eq!(process.code(), code);
        assert_eq!(last(&bus)["conclusion"], conclusion, "{signal}");
    }
    let mut process = Process::start(bus.command(&["run", "--", "sleep", "1000"]));
    let mut wait = bus.wait(&["--source", "run", "--match", "status=in_progress", "--since", "1h", "--count", "5"]);
    assert_eq!(wait.code(), 0);
    process.signal("TERM");
    assert_eq!(process.end().signal(), Some(15), "a command without a handler is ended by it, and so are we");
}

#[test]
fn a_command_that_signals_its_parent_or_its_group_is_not_told_again() {
    let bus = Bus::new();
    let text = "n=0; trap 'n=$((n+1))' USR1; kill -USR1 $PPID; kill -USR1 $$; kill -USR1 $PPID; \
        for i in 1 2 3; do sleep 0.02; done; exit $n";
    assert_eq!(bus.run(&["run", "--", "bash", "-c", text]).status.code(), Some(1));
}

#[test]
fn the_bus_is_never_in_the_way() {
    let bus = Bus::new();
    std::fs::write(bus.state(), "in the way").unwrap();
    let output = run(&bus, "echo out; exit 5");
    assert_eq!((output.status.code(), &*output.stdout), (Some(5), &b"out\n"[..]));
    assert_eq!(stderr(&output).lines().count(), 1, "said once: {}", stderr(&output));
    assert!(stderr(&output).contains("the bus is not told of this command"), "{}", stderr(&output));
    let output = bus.run(&["run", "--quiet", "--", "false"]);
    assert_eq!((output.status.code(), &*stderr(&output)), (Some(1), ""));
    // No directory can be found at all, as in a container or a service.
    let output = bus
        .command(&["run", "--", "echo", "out"])
        .env_clear()
        .envs([("PATH", "/bin:/usr/bin"), ("HOME", "nowhere")])
        .output()
        .unwrap();
    assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"out\n"[..]), "{}", stderr(&output));
    let output = bus.command(&["run", "--", "echo", "out"]).env("WAITBUS_STATE_DIR", "relative").output().unwrap();
    assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"out\n"[..]));
    assert!(stderr(&output).contains("WAITBUS_STATE_DIR"), "{}", stderr(&output));
}

#[test]
fn a_log_that_is_locked_delays_a_command_by_a_moment_only() {
    let bus = Bus::new();
    bus.emit("deploy", 1);
    let log = rusqlite::Connection::open(bus.database()).unwrap();
    log.execute_batch("BEGIN IMMEDIATE").unwrap();
    let began = Instant::now();
    let output = run(&bus, "exit 5");
    assert_eq!(output.status.code(), Some(5));
    assert!(stderr(&output).contains("does not answer"), "{}", stderr(&output));
    assert!(began.elapsed() < waitbus::model::limits::BUSY_TIMEOUT, "{:?}", began.elapsed());
    // A lock that is given back in time costs nothing but its time.
    let mut process = Process::start(bus.command(&["run", "--", "echo", "done"]));
    assert_eq!(process.line(), "done");
    log.execute_batch("COMMIT").unwrap();
    assert_eq!((process.code(), &*process.errors()), (0, ""));
    let told: Vec<_> = events(&bus).iter().map(|event| event["event_type"].as_str().unwrap().to_owned()).collect();
    assert_eq!(told[told.len() - 2..], ["started", "finished"], "in this order: {told:?}");
}

#[test]
fn a_state_directory_that_may_not_be_written_is_said_and_no_obstacle() {
    if !may_switch("a_state_directory_that_may_not_be_written_is_said_and_no_obstacle") {
        return;
    }
    let ordinary = Ordinary::new();
    std::fs::create_dir(ordinary.bus.state()).unwrap();
    chown(ordinary.bus.state(), Some(FOREIGN), Some(FOREIGN)).unwrap();
    std::fs::set_permissions(ordinary.bus.state(), std::fs::Permissions::from_mode(0o500)).unwrap();
    let output = ordinary.command(&["env"], &["run", "--", "sh", "-c", "exit 6"]).output().unwrap();
    assert_eq!(output.status.code(), Some(6), "{}", stderr(&output));
    assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
}

#[test]
fn a_junit_report_adds_the_failing_tests_and_a_missing_one_changes_nothing() {
    let bus = Bus::new();
    let report = "<testsuite><testcase classname='t' name='a'/><testcase classname='t' name='b'><failure/></testcase></testsuite>";
    let run = |script: &str| bus.run(&["run", "--junit", "report.xml", "--", "sh", "-c", script]);
    let output = run(&format!("echo \"{report}\" >report.xml; exit 1"));
    assert_eq!((output.status.code(), &*stderr(&output)), (Some(1), ""));
    let event = events(&bus).pop().unwrap();
    let fields = &event["fields"];
    assert_eq!(fields["failing_tests"], json!(["t::b"]));
    let counts = ["total", "passed", "failed", "errors", "skipped"]
        .map(|name| fields[&format!("tests_{name}")].as_u64().unwrap());
    assert_eq!(counts, [2, 1, 1, 0, 0]);
    assert!(event["summary"].as_str().unwrap().contains("1 of 2 tests failed"), "{event}");
    // The one of an earlier run says nothing about one that crashed before it wrote its own.
    for (script, problem) in [
        ("exit 9", "has not written it"),
        ("echo '<testsuite>' >report.xml; exit 9", "not XML"),
        ("rm report.xml; exit 9", "No such file"),
        ("mkfifo report.xml; exit 9", "not a file"),
    ] {
        let output = run(script);
        assert_eq!(output.status.code(), Some(9));
        assert!(stderr(&output).contains(problem) && stderr(&output).contains("report.xml"), "{}", stderr(&output));
        let fields = last(&bus);
        assert!(fields["junit_problem"].as_str().unwrap().contains(problem), "{fields}");
        assert_eq!(fields["tests_total"], Value::Null);
    }
}

#[test]
fn a_command_on_a_terminal_has_the_terminal() {
    let bus = Bus::new();
    let mut terminal = Terminal::shell(&bus);
    terminal.line("$waitbus run -- sh -c 'for i in 0 1 2; do test -t $i && echo tty $i; done; stty size; tty -s </dev/tty && echo ours'");
    for text in ["tty 0", "tty 1", "tty 2", "30 90", "ours"] {
        terminal.shows(text);
    }
    terminal
        .line("$waitbus run -- bash -c 'trap \"stty size; exit\" WINCH; echo u\"\"p; while :; do sleep 0.01; done'");
    terminal.shows("up");
    terminal.resize(31, 91);
    terminal.shows("31 91");
    terminal.shows("ready> ");
    terminal.line("$waitbus run -- sh -c 'read line; echo \"<$line>\"'");
    terminal.line("typed");
    terminal.shows("<typed>");
    assert!(terminal.end().success());
}

#[test]
fn an_interrupt_from_the_terminal_reaches_the_command_once() {
    // A wrapper that passes on what the terminal has sent to everybody interrupts twice, and the second one means "at
    // once" to many programs.
    let bus = Bus::new();
    let mut terminal = Terminal::shell(&bus);
    terminal.line("$waitbus run --name polite -- bash -c 'n=0; trap \"n=\\$((n+1))\" INT; echo u\"\"p; while read -t 0.3 x || [ $n = 0 ]; do :; done; exit $n'; echo \"code=$?\"");
    terminal.shows("up");
    terminal.keys("\x03");
    terminal.shows("code=1");
    terminal.line("$waitbus run -- sh -c 'echo u\"\"p; exec sleep 1000'; echo went on");
    terminal.shows("up");
    terminal.keys("\x03");
    // The shell gives the rest of the line up, because it sees that its command was interrupted.
    assert!(!terminal.shows("ready> ").contains("\nwent on"));
    terminal.line("echo \"code=$?\"");
    terminal.shows("code=130");
    drop(terminal);
    let conclusions: Vec<_> =
        events(&bus).iter().filter_map(|event| event["fields"]["conclusion"].as_str().map(str::to_owned)).collect();
    assert_eq!(conclusions, ["cancelled"; 2]);
}

#[test]
fn a_command_can_be_stopped_and_continued_as_a_job() {
    let bus = Bus::new();
    let mut terminal = Terminal::shell(&bus);
    terminal.line(
        "$waitbus run -- sh -c 'echo u\"\"p; while read line; do echo \"<$line>\"; done; exit 5'; echo \"code=$?\"",
    );
    terminal.shows("up");
    terminal.line("one");
    terminal.shows("<one>");
    terminal.keys("\x1a");
    terminal.shows("Stopped");
    terminal.shows("ready> ");
    terminal.line("fg; echo \"code=$?\"");
    terminal.line("two");
    terminal.shows("<two>");
    terminal.keys("\x1a");
    terminal.shows("Stopped");
    terminal.shows("ready> ");
    // In the background it may not read, which stops it again.
    terminal.line("bg; echo b\"\"g");
    terminal.shows("bg");
    terminal.line("wait -f -n; until jobs | grep -q Stopped; do :; done; jobs; echo h\"\"alted");
    terminal.shows("halted");
    terminal.line("fg; echo \"code=$?\"");
    terminal.line("three");
    terminal.shows("<three>");
    terminal.keys("\x04");
    terminal.shows("code=5");
    assert!(terminal.end().success());
}

/// Waits until a process is stopped.
#[track_caller]
fn stopped(pid: u32) {
    let deadline = Instant::now() + PATIENCE;
    let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    while !state().rsplit_once(") ").unwrap().1.starts_with('T') {
        assert!(Instant::now() < deadline, "it was never stopped: {}", state());
        std::thread::yield_now();
    }
}

#[test]
fn whoever_continues_us_continues_the_command_and_undoes_no_later_stop() {
    // `fg` continues the whole group. Passed on by us, and late, as on a busy machine, that undid the Ctrl-Z after it.
    let bus = Bus::new();
    let mut command = bus.command(&["run", "--", "sh", "-c", "echo $$; exec cat"]);
    command.stdin(Stdio::piped());
    let mut run = Process::start(command);
    let (ours, command) = (run.child.id(), run.line().parse().unwrap());
    let send = |signal: &str, pid: u32| {
        assert!(Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status().unwrap().success());
    };
    send("STOP", command);
    stopped(ours);
    // The command has been continued and stopped again before we hear that we are.
    send("CONT", command);
    send("STOP", command);
    send("CONT", ours);
    stopped(ours);
    stopped(command);
    // Now only we are continued. A command that runs again reads that there is nothing more to read.
    send("CONT", ours);
    drop(run.child.stdin.take());
    assert_eq!(run.code(), 0, "{}", run.errors());
}

#[test]
fn a_terminal_that_goes_away_tells_the_command() {
    // The kernel tells the leader of the session only, which is the command when nobody stands between.
    let name = "a_terminal_that_goes_away_tells_the_command";
    if !works(&["python3", "--version"]) {
        return skip(name, "there is no python3");
    }
    let bus = Bus::new();
    let python = r#"
import os, pty, sys
heard, tell = os.pipe()
os.set_inheritable(tell, True)
child, terminal = pty.fork()
if child == 0:
    script = f'trap "echo heard >&{tell}; exit 9" HUP; echo up; while :; do sleep 0.01; done'
    os.execv(sys.argv[1], ["waitbus", "run", "--", "bash", "-c", script])
os.close(tell)
shown = b""
while b"up" not in shown:
    shown += os.read(terminal, 100)
os.close(terminal)
print(os.read(heard, 100).decode().strip(), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"#;
    let output = bus.wrapped(&["python3", "-c", python], &[]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "heard 9\n", "{}", stderr(&output));
    assert_eq!(last(&bus)["conclusion"], "cancelled");
}

#[test]
fn a_command_that_tidies_up_before_it_stops_keeps_the_terminal_until_it_has() {
    // An editor sets the terminal back before it stops. A wrapper that stops at once has the shell take the terminal
    // from under it.
    let bus = Bus::new();
    let mut terminal = Terminal::shell(&bus);
    terminal.line("$waitbus run -- bash -c 'trap \"sleep 0.2; echo ti\\\"\\\"dy; kill -STOP \\$\\$\" TSTP; echo u\"\"p; while :; do :; done'");
    terminal.shows("up");
    terminal.keys("\x1a");
    assert!(!terminal.shows("tidy").contains("ready> "));
    terminal.shows("Stopped");
    terminal.line("kill %1; fg; echo \"code=$?\"");
    terminal.shows("code=143");
    assert!(terminal.end().success());
}
