//! Sources in the hands of the user manager: enabled, killed, over the end of a session, disabled; and the token.

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use super::machine::{Machine, PROGRAM};
use super::on_every_systemd;
use crate::harness::Process;

const FS: &str = "waitbus-source@fs.service";
const GITHUB: &str = "waitbus-source@github.service";
/// Where a user keeps programs.
const MINE: &str = "/home/dev/bin/waitbus";

fn configure(machine: &Machine, text: &str) {
    machine.write("/home/dev/.config/waitbus/waitbus.toml", text);
}

/// Has `fs` watch a directory that is there.
fn watch(machine: &Machine) {
    machine.dev("mkdir -p ~/watched");
    configure(machine, "[source.fs]\npaths = ['/home/dev/watched']\n");
}

/// A file that is made is an event.
#[track_caller]
fn sees(machine: &Machine, file: &str) {
    let mut wait = machine.wait(&["--source", "fs", "--match", &format!("path=/home/dev/watched/{file}")]);
    machine.dev(&format!("touch ~/watched/{file}"));
    assert_eq!(wait.code(), 0, "{}: {}", machine.suite, wait.errors());
}

/// What `source list` says of a source of waitbus's own.
fn listed(machine: &Machine, source: &str) -> Value {
    let said = machine.ok(&["source", "list", "--json"]);
    let mut rows = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    rows.find(|row| row["source"] == source && (row["by"] == "waitbus" || row["by"] == "command")).unwrap()
}

/// A verb that fails: its code, and what it said.
fn failing(machine: &Machine, arguments: &[&str]) -> (i32, String) {
    let output = machine.run(arguments);
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_source_that_is_enabled_runs_now_after_a_crash_and_with_each_session_until_it_is_disabled() {
    let name = "a_source_that_is_enabled_runs_now_after_a_crash_and_with_each_session_until_it_is_disabled";
    on_every_systemd(name, |machine| {
        machine.install();
        watch(machine);
        let dry = machine.ok(&["source", "enable", "fs", "--dry-run"]);
        assert!(dry.ends_with(&format!("would run systemctl --user start {FS}")), "{dry}");
        assert_eq!(machine.property(FS, "ActiveState"), "inactive");
        machine.ok(&["source", "enable", "fs"]);
        assert_eq!(machine.ok(&["source", "enable", "fs"]), "nothing has to be done");
        assert_eq!(machine.dev("find ~/.config/systemd/user -type f"), "", "the package's units do");
        sees(machine, "first");
        let row = listed(machine, "fs");
        assert_eq!((&row["state"], &row["next"]), (&json!("alive"), &Value::Null), "{row}");
        assert_eq!(row["unit"], json!({"enabled": true, "active": true}));
        assert!(row["since"].is_string(), "{row}");
        let status: Value = serde_json::from_str(&machine.ok(&["status", "--json"])).unwrap();
        let start = &status["hub"]["status"]["sources"][0]["detail"]["start"];
        assert_eq!(*start, format!("systemctl --user start {FS}"));

        machine.systemctl(&format!("kill --signal=KILL {FS}"));
        machine.until_restarted(FS, 1);
        machine.until_is(FS, "active");
        sees(machine, "second");

        machine.root("systemctl restart user@1000.service");
        machine.until_is(FS, "active");
        sees(machine, "third");
        let doctor = machine.ok(&["doctor"]);
        assert!(doctor.contains("ok       sources: fs is there"), "{doctor}");

        machine.ok(&["source", "disable", "fs"]);
        assert_eq!(["ActiveState", "UnitFileState"].map(|name| machine.property(FS, name)), ["inactive", "disabled"]);
        assert_eq!(machine.ok(&["source", "disable", "fs"]), "nothing has to be done");
        let row = listed(machine, "fs");
        assert_eq!((&row["state"], &row["next"]), (&json!("gone"), &json!("waitbus source enable fs")), "{row}");
        machine.root("systemctl restart user@1000.service");
        assert_eq!(machine.property(FS, "ActiveState"), "inactive");
    });
}

#[test]
fn a_source_that_cannot_start_is_told_with_its_own_words_and_one_that_never_could_is_not_tried_again() {
    let name = "a_source_that_cannot_start_is_told_with_its_own_words_and_one_that_never_could_is_not_tried_again";
    on_every_systemd(name, |machine| {
        machine.install();
        watch(machine);
        // The log cannot be opened, which may be otherwise the next time.
        machine.dev("mkdir -p ~/.local/state/waitbus/events.db");
        let (code, said) = failing(machine, &["source", "enable", "fs"]);
        assert!(code == 3 && said.contains("the source fs fails: ") && said.contains("events.db"), "{said}");
        assert!(said.contains(&format!("`journalctl --user -u {FS}`")), "{said}");
        let row = listed(machine, "fs");
        assert!(row["state"] == "failed" && row["reason"].as_str().unwrap().contains("events.db"), "{row}");
        let (code, _) = failing(machine, &["doctor"]);
        assert_eq!(code, 3);
        machine.dev("rmdir ~/.local/state/waitbus/events.db");
        machine.until_is(FS, "active");
        sees(machine, "repaired");

        // It is enabled, and its section makes no sense any more.
        configure(machine, "[source.fs]\npaths = 1\n");
        machine.dev(&format!("systemctl --user restart {FS} || true"));
        machine.until_is(FS, "failed");
        assert_eq!([machine.property(FS, "ExecMainStatus"), machine.property(FS, "NRestarts")], ["2", "0"]);
        let row = listed(machine, "fs");
        assert!(row["state"] == "mistake" && row["reason"].as_str().unwrap().contains("line 2"), "{row}");
        let (code, said) = failing(machine, &["source", "enable", "fs"]);
        assert!(code == 2 && said.contains("waitbus.toml, line 2"), "{said}");
        watch(machine);
        machine.ok(&["source", "enable", "fs"]);
        sees(machine, "mended");

        // Ready, and then it cannot go on; ready, and it sees nothing.
        configure(machine, "[source.mine]\ncommand = ['/nowhere/program']\n[source.fs]\npaths = ['/nowhere/at/all']\n");
        let (code, said) = failing(machine, &["source", "enable", "mine"]);
        assert!(code == 3 && said.contains("the source mine fails: ") && said.contains("/nowhere/program"), "{said}");
        let said = String::from_utf8(machine.run(&["source", "enable", "fs"]).stderr).unwrap();
        assert!(said.contains("sees nothing yet") && said.contains("/nowhere/at/all"), "{said}");
        let row = listed(machine, "fs");
        assert!(row["state"] == "silent" && row["reason"].as_str().unwrap().contains("/nowhere/at/all"), "{row}");
        machine.ok(&["source", "disable", "mine"]);

        // What is changed under a running source is read by the next `enable`, and by no second one.
        machine.dev("mkdir -p ~/watched/more");
        configure(machine, "[source.fs]\npaths = ['/home/dev/watched']\nignore = ['*.o']\n");
        let said = machine.ok(&["source", "enable", "fs"]);
        assert_eq!(said, format!("ran systemctl --user restart {FS}"));
        assert_eq!(machine.ok(&["source", "enable", "fs"]), "nothing has to be done");
    });
}

#[test]
fn a_source_needs_no_installation_before_it_and_goes_with_uninstall() {
    on_every_systemd("a_source_needs_no_installation_before_it_and_goes_with_uninstall", |machine| {
        machine.dev(&format!("mkdir -p ~/bin && cp {PROGRAM} {MINE}"));
        watch(machine);
        machine.dev(&format!("{MINE} source enable fs"));
        assert_eq!(machine.dev(&format!("{MINE} install")), "nothing has to be done");
        let start = |arguments: &[&str]| Process::start(machine.command_of_dev(&[&[MINE], arguments].concat()));
        let mut wait = start(&["wait", "-v", "--source", "fs"]);
        wait.attached();
        machine.dev("touch ~/watched/first");
        assert_eq!(wait.code(), 0, "{}", wait.errors());
        let process = machine.property(FS, "MainPID");
        assert_eq!(machine.root(&format!("readlink /proc/{process}/exe")), MINE);

        // A new program in its place is the source's too.
        machine.dev(&format!("cp {PROGRAM} {MINE}.new && mv {MINE}.new {MINE}"));
        let said = machine.dev(&format!("{MINE} install"));
        assert!(said.starts_with("ran systemctl --user try-restart ") && said.contains(FS), "{said}");

        machine.dev(&format!("{MINE} uninstall"));
        assert_eq!(machine.root("pgrep --full 'waitbus sourc[e]' || true"), "");
        assert_eq!(machine.dev("find ~/.config/systemd -name '*waitbus*' 2>/dev/null || true"), "");
        assert_eq!(machine.systemctl("list-units --all --no-legend 'waitbus*'"), "");
    });
}

/// Prints one event, with its unit and whether anything is taken from it, and stays.
const PROGRAM_OF_MINE: &str = r#"#!/bin/sh
unit=$(sed -n 's,.*/\(.*\.service\)$,\1,p' /proc/self/cgroup) bound=$(sed -n 's/^NoNewPrivs:.//p' /proc/self/status)
printf '{"type":"begun","fields":{"unit":"%s","bound":"%s"}}\n' "$unit" "$bound"
exec sleep infinity
"#;

#[test]
fn a_program_of_the_users_is_a_source_under_any_name_and_does_what_it_does_in_a_shell() {
    let name = "a_program_of_the_users_is_a_source_under_any_name_and_does_what_it_does_in_a_shell";
    on_every_systemd(name, |machine| {
        machine.install();
        machine.write("/home/dev/bin/mine", PROGRAM_OF_MINE);
        machine.dev("chmod +x ~/bin/mine");
        for source in ["mine", "my.own-1_x", "0.service"] {
            let unit = format!("waitbus-source@{source}.service");
            configure(machine, &format!("[source.\"{source}\"]\ncommand = ['/home/dev/bin/mine']\n"));
            let mut wait = machine.wait(&["--source", source, "--type", "begun", "--json"]);
            machine.ok(&["source", "enable", source]);
            let event: Value = serde_json::from_str(&wait.line()).unwrap();
            assert_eq!((&event["fields"]["unit"], &event["fields"]["bound"]), (&json!(unit), &json!("0")));
            assert_eq!(wait.code(), 0, "{}", wait.errors());
            assert_eq!(listed(machine, source)["state"], "alive");
            machine.ok(&["source", "disable", source]);
            assert_eq!(machine.property(&unit, "ActiveState"), "inactive");
        }
    });
}

#[test]
fn the_token_reaches_the_source_that_needs_it_from_wherever_it_is_kept() {
    on_every_systemd("the_token_reaches_the_source_that_needs_it_from_wherever_it_is_kept", |machine| {
        machine.install();
        // What is handed over is the unit's affair, whatever runs in it.
        machine.drop_in(GITHUB, "[Service]\nType=exec\nExecStart=\nExecStart=sleep infinity\n");
        let set = |text: &str, more: &str| {
            let script = format!("waitbus secret set github-token {more}");
            let mut set = machine.command_of_dev(&["bash", "-c", &script]);
            let mut set = set.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            set.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
            let output = set.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stderr).unwrap()
        };
        let handed = || machine.dev(&format!("cat $XDG_RUNTIME_DIR/credentials/{GITHUB}/github-token"));
        machine.systemctl(&format!("start {GITHUB}"));
        assert_eq!(handed(), "", "none, and it starts all the same");
        // One that has none is restarted.
        let said = set("gho_first", "");
        assert!(said.contains("waitbus-source@github.service was restarted and has it"), "{said}");
        assert_eq!(handed(), "gho_first");
        for (text, more) in [("gho_second", "--plain"), ("gho_third", "")] {
            set(text, more);
            machine.systemctl(&format!("restart {GITHUB}"));
            assert_eq!(handed(), text);
        }
        assert!(!machine.systemctl(&format!("cat {FS}")).contains("github-token"), "and no other");
        let secrets = machine.ok(&["secret", "list"]);
        assert!(
            secrets.lines().any(|line| line.starts_with("github-token: ") && line.ends_with("has it")),
            "{secrets}"
        );
    });
}
