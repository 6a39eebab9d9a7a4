//! Setting up sources where there is no service manager, and what is said of them: `source list`, `enable`, `disable`,
//! `doctor`; and a command line that uses another log than the hub.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Bus, Process, Subscriber};

/// The program in a session without a manager, whatever the session of the tests has.
fn alone(bus: &Bus, arguments: &[&str]) -> Command {
    let mut command = bus.command(arguments);
    command.env("XDG_RUNTIME_DIR", bus.root());
    command
}

fn run(bus: &Bus, arguments: &[&str]) -> Output {
    alone(bus, arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn configure(bus: &Bus, text: &str) -> String {
    let config = bus.root().join("config");
    fs::create_dir_all(&config).unwrap();
    fs::write(config.join("waitbus.toml"), text).unwrap();
    config.join("waitbus.toml").display().to_string()
}

/// What `source list` says of each source, by its name and how it arrives.
fn list(bus: &Bus) -> BTreeMap<(String, String), Value> {
    let output = run(bus, &["source", "list", "--json"]);
    assert!(output.status.success(), "{}", said(&output));
    let rows = serde_json::Deserializer::from_slice(&output.stdout).into_iter().map(Result::<Value, _>::unwrap);
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    rows.map(|row| ((text(&row, "source"), text(&row, "by")), row)).collect()
}

fn row<'a>(rows: &'a BTreeMap<(String, String), Value>, source: &str, by: &str) -> &'a Value {
    rows.get(&(source.to_owned(), by.to_owned())).unwrap_or_else(|| panic!("no {source} by {by} in {rows:?}"))
}

#[test]
fn the_list_has_every_source_and_its_missing_step_without_a_hub_and_without_a_manager() {
    let bus = Bus::new();
    let rows = list(&bus);
    assert!(!bus.broadcast().exists() && !bus.state().exists(), "it starts nothing, and makes nothing");
    for (source, by, next) in [
        ("alertmanager", "waitbus", "waitbus source alertmanager"),
        ("alertmanager", "webhook", "waitbus secret set alertmanager-webhook-secret; then waitbus serve"),
        ("docker", "waitbus", "waitbus source docker"),
        ("fs", "waitbus", "add to waitbus.toml: [source.fs] with paths = [\"/path/to/watch\"]; then waitbus source fs"),
        ("github", "waitbus", "waitbus source github"),
        ("github", "webhook", "waitbus secret set github-webhook-secret; then waitbus serve"),
        (
            "pytest",
            "plugin",
            "pip install \"git+https://github.com/waitbus/waitbus#subdirectory=packaging/pytest\"; then WAITBUS_PYTEST=1 in the environment of pytest",
        ),
    ] {
        let row = row(&rows, source, by);
        assert_eq!((&row["state"], &row["next"]), (&json!("off"), &json!(next)), "{row}");
        assert_eq!(
            (&row["unit"], &row["section"], &row["reason"]),
            (&Value::Null, &json!(false), &Value::Null),
            "{row}"
        );
    }
    assert_eq!(rows.len(), 7);
    bus.set_secret();
    assert_eq!(row(&list(&bus), "github", "webhook")["next"], "waitbus serve");
    assert_eq!(row(&list(&bus), "github", "waitbus")["secret"], json!({"name": "github-token", "set": false}));

    let table = run(&bus, &["source", "list"]);
    let table = String::from_utf8(table.stdout).unwrap();
    let heads = table.lines().next().unwrap();
    let (by, state) = (heads.find("BY").unwrap(), heads.find("STATE").unwrap());
    assert_eq!(table.lines().count(), 8, "{table}");
    for line in table.lines().skip(1) {
        assert!(line[by..].starts_with(['w', 'p']) && line[state..].starts_with("off"), "{table}");
    }
}

#[test]
fn the_list_tells_who_is_alive_silent_gone_or_dead_and_what_would_bring_it_back() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let announce = |source: &str, more: &Value| {
        let mut announcement = json!({"source": source, "detail": {"start": format!("start-{source}")}});
        announcement.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        bus.subscribe(&json!({"match": "event_id=null", "heartbeat": false, "announce": announcement}))
    };
    let mut told = bus.subscribe(&json!({"heartbeat": false}));
    let _alive = announce("docker", &json!({}));
    let _silent = announce("sensor", &json!({"silent": "the cable is out"}));
    drop(announce("github", &json!({})));
    drop(announce("other", &json!({})));
    let mut gone: Subscriber = announce("deploy", &json!({}));
    gone.send(br#"{"kind":"bye"}"#);
    drop(gone);
    let mut ended = 0;
    while ended < 3 {
        let frame = told.frame();
        ended += u32::from(frame["state"] == "dead" || frame["state"] == "gone");
    }
    let state = |source: &str, by: &str| {
        let rows = list(&bus);
        let row = row(&rows, source, by).clone();
        (row["state"].as_str().unwrap().to_owned(), row["next"].as_str().map(str::to_owned))
    };
    assert_eq!(state("docker", "waitbus"), ("alive".to_owned(), None));
    assert_eq!(state("sensor", "itself"), ("silent".to_owned(), None));
    assert_eq!(row(&list(&bus), "sensor", "itself")["reason"], "the cable is out");
    assert_eq!(state("github", "waitbus"), ("dead".to_owned(), Some("waitbus source github".to_owned())));
    assert_eq!(state("other", "itself"), ("dead".to_owned(), Some("start-other".to_owned())));
    assert_eq!(state("deploy", "itself"), ("gone".to_owned(), Some("start-deploy".to_owned())));

    // A plugin announces nothing; its events are known.
    assert_eq!(state("pytest", "plugin").0, "off");
    bus.emit("pytest", 1);
    assert_eq!(state("pytest", "plugin"), ("seen".to_owned(), None));
}

#[test]
fn a_section_that_makes_no_sense_is_told_with_its_line_by_whoever_looks() {
    let bus = Bus::new();
    let path = configure(&bus, "log = 'info'\n\n[source.docker]\nnonsense = 1\n");
    let place = format!("{path}, line 4: ");
    let enabled = run(&bus, &["source", "enable", "docker"]);
    assert!(enabled.status.code() == Some(2) && said(&enabled).contains(&place), "{}", said(&enabled));
    let rows = list(&bus);
    let docker = row(&rows, "docker", "waitbus");
    assert_eq!((&docker["state"], &docker["section"]), (&json!("mistake"), &json!(true)), "{docker}");
    assert!(docker["reason"].as_str().unwrap().contains(&place), "{docker}");
    let doctor = run(&bus, &["doctor"]);
    let found = String::from_utf8(doctor.stdout).unwrap();
    assert!(
        doctor.status.code() == Some(3)
            && found.contains(&format!("problem  sources: the section of docker makes no sense: {place}")),
        "{found}"
    );
    assert_eq!(row(&list(&bus), "github", "waitbus")["state"], "off", "and it stops nobody else");

    configure(&bus, "[source.docker]\n");
    let doctor = run(&bus, &["doctor"]);
    let found = String::from_utf8(doctor.stdout).unwrap();
    let warning = "warning  sources: docker has a section in waitbus.toml, and nobody runs it. waitbus source docker";
    assert!(doctor.status.success() && found.contains(warning), "{found}");
}

#[test]
fn without_a_manager_the_command_for_the_foreground_is_named() {
    let bus = Bus::new();
    configure(&bus, "[source.docker]\n");
    for verb in ["enable", "disable"] {
        let output = run(&bus, &["source", verb, "docker"]);
        assert_eq!(output.status.code(), Some(3));
        let said = said(&output);
        assert!(
            said.contains("no systemd user manager") && said.contains("`waitbus source docker` runs it in"),
            "{said}"
        );
    }
    // Nobody had asked whether there is such a source.
    for (name, words) in [("nosuch", "there is no source \"nosuch\""), ("dokcer", "did you mean \"docker\"?")] {
        let output = run(&bus, &["source", "disable", name]);
        assert!(output.status.code() == Some(2) && said(&output).contains(words), "{}", said(&output));
    }
}

#[test]
fn what_has_to_be_told_to_a_source_is_shown_as_lines_to_copy() {
    let bus = Bus::new();
    let path = bus.root().join("config/waitbus.toml").display().to_string();
    for (name, lines) in [
        ("fs", "\n\n[source.fs]\npaths = [\"/path/to/watch\"]\n"),
        ("sensor", "\n\n[source.sensor]\ncommand = [\"/path/to/program\"]\n"),
        ("my.own", "\n\n[source.\"my.own\"]\ncommand = [\"/path/to/program\"]\n"),
        ("dokcer", "did you mean \"docker\"?"),
    ] {
        let output = run(&bus, &["source", "enable", name]);
        let said = said(&output);
        assert!(output.status.code() == Some(2) && said.contains(lines) && said.contains(&path), "{said}");
    }
    configure(&bus, "[source.fs]\nignore = ['*.o']\n");
    let output = run(&bus, &["source", "enable", "fs"]);
    assert!(output.status.code() == Some(2) && said(&output).contains("\npaths = "), "{}", said(&output));
    for name in ["list", "help", "a b", "a/b", "", "ä"] {
        let output = run(&bus, &["source", "enable", name]);
        assert_eq!(output.status.code(), Some(2), "{name}");
    }
}

/// `emit` stored the event in one log, and `wait` waited at the hub of another until its timeout, without a word.
#[test]
fn whoever_subscribes_to_a_hub_of_another_log_is_told_at_once() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let other = bus.root().join("other");
    let elsewhere = |arguments: &[&str]| {
        let mut command = bus.command(arguments);
        command.env("WAITBUS_STATE_DIR", &other);
        command.output().unwrap()
    };
    let begun = Instant::now();
    let output = elsewhere(&["wait", "--source", "deploy", "--timeout", "60s"]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    let message = said(&output);
    for word in [bus.database().to_str().unwrap(), other.to_str().unwrap(), "WAITBUS_STATE_DIR"] {
        assert!(message.contains(word), "{message}");
    }
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert_eq!(elsewhere(&["tail"]).status.code(), Some(3));
    assert!(!other.exists(), "nothing was made there");

    // The same log by another name is the same log.
    std::os::unix::fs::symlink(bus.state(), &other).unwrap();
    let mut command = bus.command(&["wait", "-v", "--source", "deploy"]);
    command.env("WAITBUS_STATE_DIR", &other);
    let mut wait = Process::start(command);
    wait.attached();
    bus.emit("deploy", 1);
    assert_eq!(wait.code(), 0, "{}", wait.errors());
}

/// It named the socket of a hub that nobody could have started, after ten seconds.
#[test]
fn a_state_directory_that_cannot_be_made_is_named_by_whoever_waits() {
    let bus = Bus::new();
    fs::write(bus.root().join("file"), "").unwrap();
    let state = bus.root().join("file/state");
    let begun = Instant::now();
    for arguments in [&["wait", "--source", "x"][..], &["emit", "--source", "x", "--type", "y"]] {
        let mut command = alone(&bus, arguments);
        let output = command.env("WAITBUS_STATE_DIR", &state).output().unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains(&format!("the state directory {} cannot be used", state.display())), "{said}");
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "it will not get better");
}
