//! Programs as sources: what they print becomes events, what they should not have printed stops nothing, and they are
//! kept running and ended as a whole.

use std::fs;
use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};
use waitbus::model::limits::MAX_BATCH_LINE_BYTES;

use crate::harness::{Bus, Process, is_gone, works};

fn source(bus: &Bus, name: &str, script: &str) -> Process {
    let mut source = Process::start(bus.command(&["source", name, "--", "sh", "-c", script, "s3cret"]));
    assert_eq!(source.line(), format!("ready source={name}"));
    source
}

fn events(bus: &Bus) -> Vec<Value> {
    bus.ok(&["replay", "--json"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Waits for the event that tells of an end, and returns it.
fn exit(bus: &Bus, name: &str, script: &str) -> (Process, Value) {
    let mut wait = bus.wait(&["--source", name, "--type", "source_exited", "--json"]);
    let source = source(bus, name, script);
    let told = serde_json::from_str(&wait.line()).unwrap();
    (source, told)
}

#[test]
fn what_is_no_event_is_named_and_counted_and_everything_else_is_stored() {
    let bus = Bus::new();
    let mut hostile = fs::File::create(bus.root().join("hostile")).unwrap();
    hostile.write_all(b"{\"type\":\"first\"}\nnot JSON \x1b[31m\n{\"type\":\"\xff\xfe\"}\n\n[1]\n").unwrap();
    hostile
        .write_all(b"{\"type\":\"t\",\"source\":\"github\"}\n{\"type\":\"a b\"}\n{\"type\":\"t\",\"x\":1}\n")
        .unwrap();
    hostile.write_all(&vec![b'x'; MAX_BATCH_LINE_BYTES + 70_000]).unwrap();
    hostile
        .write_all(b"\n{\"type\":\"last\",\"repo\":\"hello\",\"owner\":\"octo\",\"fields\":{\"program\":\"mine\"}}")
        .unwrap();
    drop(hostile);
    let (mut source, told) = exit(&bus, "odd", "cat hostile");
    source.stop();
    let fields = &told["fields"];
    assert_eq!((&fields["lines_refused"], &fields["conclusion"]), (&json!(7), &json!("success")), "{told}");
    let errors = source.errors();
    assert!(errors.contains("not JSON") && !errors.contains("[31m") && !errors.contains('\u{1b}'), "{errors}");
    let types: Vec<_> = events(&bus).iter().map(|event| event["event_type"].clone()).collect();
    assert_eq!(types, ["first", "last", "source_exited"]);
    let all = events(&bus);
    assert_eq!((&all[0]["fields"]["program"], &all[1]["fields"]["program"]), (&json!("sh"), &json!("mine")));
    assert_eq!((&all[0]["source"], &all[0]["fields"]["ingest_method"]), (&json!("odd"), &json!("source")));
    assert_eq!(all[1]["owner"], "octo");
}

/// A damaged log is to be moved away, says its error, and a new one is made. A source that ran meanwhile counted as alive
/// and wrote into the one that was moved, which nobody read.
#[test]
fn a_source_whose_log_is_moved_away_goes_on_in_the_one_that_is_there() {
    let bus = Bus::new();
    let lines = bus.root().join("lines");
    assert!(works(&["mkfifo", lines.to_str().unwrap()]));
    let _source = source(&bus, "tick", "exec cat lines");
    let mut lines = fs::OpenOptions::new().write(true).open(lines).unwrap();
    let mut wait = bus.wait(&["--source", "tick", "--type", "before"]);
    lines.write_all(b"{\"type\":\"before\"}\n{\"position\":\"1\"}\n").unwrap();
    assert_eq!(wait.code(), 0);
    let away = bus.root().join("away");
    fs::create_dir(&away).unwrap();
    for name in ["events.db", "events.db-wal", "events.db-shm"] {
        fs::rename(bus.state().join(name), away.join(name)).unwrap();
    }
    // Whoever writes next makes another log, and their ring has the hub of the old one leave.
    bus.emit("other", 1);
    let mut wait = bus.wait(&["--source", "tick", "--type", "after", "--timeout", "20s"]);
    lines.write_all(b"{\"type\":\"after\"}\n{\"position\":\"2\"}\n").unwrap();
    assert_eq!(wait.code(), 0);
}

#[test]
fn an_end_is_an_event_with_what_was_said_last_and_no_argument() {
    let bus = Bus::new();
    let (mut source, told) = exit(&bus, "once", "echo 'why it\x1b[1m failed' >&2; exit 3");
    source.said("it is started again in 1 s");
    // It is in its pause, or runs again; either way it ends at once.
    source.stop();
    let fields = &told["fields"];
    assert_eq!((&fields["exit_code"], &fields["conclusion"]), (&json!(3), &json!("failure")));
    assert_eq!((&fields["stderr_tail"], &fields["program"]), (&json!("why it failed"), &json!("sh")));
    let (mut source, told) = exit(&bus, "killed", "kill -KILL $$");
    source.stop();
    assert_eq!((&told["fields"]["signal"], &told["fields"]["exit_code"]), (&json!("SIGKILL"), &json!(137)));
    for file in ["events.db", "events.db-wal"] {
        let log = fs::read(bus.state().join(file)).unwrap();
        assert!(!log.windows(6).any(|window| window == b"s3cret"), "an argument is in {file}");
    }
}

#[test]
fn the_pauses_between_starts_grow_and_whoever_waits_hears_that_it_is_silent() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut wait = bus.wait(&["--source", "fails", "--match", "never=1"]);
    let mut source = source(&bus, "fails", "exit 1");
    assert!(
        wait.said("the source fails sees nothing").contains("sh: ended with exit code 1; it is started again in 1 s")
    );
    source.said("started again in 2 s");
    source.said("started again in 4 s");
    source.stop();
    wait.kill();
    assert_eq!(wait.errors(), "", "it was said once");
}

#[test]
fn everything_that_a_program_has_started_ends_with_it() {
    let bus = Bus::new();
    let mut wait = bus.wait(&["--source", "parent", "--type", "child", "--json"]);
    let script = r#"sh -c 'trap "" TERM; while :; do read x <block; done' & echo "{\"type\":\"child\",\"fields\":{\"pid\":$!}}"; wait"#;
    assert!(std::process::Command::new("mkfifo").arg(bus.root().join("block")).status().unwrap().success());
    let mut source = source(&bus, "parent", script);
    let told: Value = serde_json::from_str(&wait.line()).unwrap();
    let child = told["fields"]["pid"].to_string();
    assert!(works(&["kill", "-0", &child]));
    source.stop();
    // It has been killed, which the kernel carries out when it comes to it.
    assert!(is_gone(&child), "{child} runs still");
}

#[test]
fn a_program_that_cannot_be_started_is_the_end_and_a_section_that_makes_no_sense_a_mistake() {
    let bus = Bus::new();
    let ended = |arguments: &[&str]| {
        let output = bus.run(&[&["source"], arguments].concat());
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let plain = bus.root().join("plain");
    fs::write(&plain, "no program").unwrap();
    for (arguments, code, words) in [
        (&["none", "--", "/no/such/program"][..], 3, "/no/such/program: not found"),
        (&["none", "--", plain.to_str().unwrap()], 3, "cannot be executed"),
        (&["none", "--"], 2, "which program?"),
        (&["none", "program"], 2, "a program comes after `--`"),
        (&["lst"], 2, "did you mean `waitbus source list`?"),
        (&["no ne", "--", "true"], 2, "is not a name"),
        (&["no ne"], 2, "is not a name"),
        (&["../x"], 2, "is not a name"),
        (&["alertmanager", "extra"], 2, "alertmanager takes no arguments: what it is told is [source.alertmanager]"),
        (&["pytest"], 2, "pytest is a plugin of pytest, and nobody runs it: pip install"),
        (&["enable", "pytest"], 2, "WAITBUS_PYTEST=1"),
        (&["disable", "pytest"], 2, "WAITBUS_PYTEST=0"),
        (&["alertmanager", "--", "true"], 2, "give the program another name"),
    ] {
        let (is, errors) = ended(arguments);
        assert!(
            is == Some(code) && errors.to_lowercase().contains(&words.to_lowercase()),
            "{arguments:?}: {is:?} {errors}"
        );
    }
    let config = bus.root().join("config");
    fs::create_dir_all(&config).unwrap();
    for (section, words) in [
        ("command = []", "needs a `command`"),
        ("command = ['./here']", "an absolute path"),
        ("command = ['true']\ndirectory = 'here'", "an absolute path"),
        ("comand = ['true']", "did you mean \"command\"?"),
    ] {
        fs::write(config.join("waitbus.toml"), format!("[source.odd]\n{section}\n")).unwrap();
        let (is, errors) = ended(&["odd"]);
        assert!(is == Some(2) && errors.contains(words), "{section}: {is:?} {errors}");
    }
    // The hub refused it, for a reason of its own, when it was run.
    fs::write(config.join("waitbus.toml"), "\n[source.'a b']\ncommand = ['true']\n").unwrap();
    let rows = bus.ok(&["source", "list", "--json"]);
    let mut rows = rows.lines().map(|row| serde_json::from_str::<Value>(row).unwrap());
    let row = rows.find(|row| row["source"] == "a b").unwrap();
    let reason = row["reason"].as_str().unwrap_or_default();
    assert!(row["state"] == "mistake" && reason.contains("line 2: ") && reason.contains("is not a name"), "{row}");
}

/// Nobody held back what was no event: it took a processor, or megabytes of the log a second, and nobody was told.
#[test]
fn a_flood_of_lines_that_are_no_events_is_held_back_and_told() {
    for line in ["nonsense", "", r#"{"position":"1"}"#] {
        let bus = Bus::new();
        let mut wait = bus.wait(&["--source", "loud", "--type", "source_throttled", "--json"]);
        let mut source = source(&bus, "loud", &format!("yes '{line}'"));
        let told: Value = serde_json::from_str(&wait.line()).unwrap();
        assert_eq!(told["fields"]["status"], "in_progress", "{line}");
        source.stop();
    }
}

/// It could say nothing any more, and was `alive` for ever.
#[test]
fn a_program_that_closes_its_output_and_lives_on_is_silent() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut wait = bus.wait(&["--source", "mute", "--match", "never=1"]);
    assert!(std::process::Command::new("mkfifo").arg(bus.root().join("block")).status().unwrap().success());
    let mut source = source(&bus, "mute", r#"echo '{"type":"a"}'; exec >/dev/null; read x <block"#);
    let said = wait.said("the source mute sees nothing");
    assert!(said.contains("sh has closed its standard output and runs on"), "{said}");
    // Its end is an end like any other.
    fs::write(bus.root().join("block"), "\n").unwrap();
    source.said("ended with exit code 0");
    source.stop();
}

#[test]
fn the_example_says_what_has_changed_and_only_that() {
    let bus = Bus::new();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/examples/disk-space.py");
    let config = bus.root().join("config");
    fs::create_dir_all(&config).unwrap();
    for (limit, status) in [("0", Some("full")), ("0", None), ("101", Some("free"))] {
        let section =
            format!("[source.disk]\ncommand = [{:?}, '{limit}', '/']\ndirectory = '/'\n", example.to_str().unwrap());
        fs::write(config.join("waitbus.toml"), section).unwrap();
        let before = events(&bus).len();
        let mut source = Process::start(bus.command(&["source", "disk"]));
        source.ready();
        if let Some(status) = status {
            let mut wait = bus.wait(&["--source", "disk", "--since", "1h", "--match", &format!("status={status}")]);
            assert_eq!(wait.code(), 0);
        } else {
            source.said("the program has been started");
        }
        source.stop();
        assert_eq!(events(&bus).len() - before, usize::from(status.is_some()), "{limit}");
    }
}
