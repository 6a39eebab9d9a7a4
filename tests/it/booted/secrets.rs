//! The webhook secret at every place that a machine has for it: what is signed with it is accepted, what is not is
//! refused, and it is found nowhere else.

use std::io::Write;
use std::process::Stdio;

use super::machine::Machine;
use super::on_every_systemd;
use crate::harness::payload;

const FIRST: &str = "correct-horse-battery-staple-1";
const SECOND: &str = "correct-horse-battery-staple-2";

/// `waitbus secret VERB github-webhook-secret` with the secret on standard input.
#[track_caller]
fn secret(machine: &Machine, verb: &str, text: &str, more: &str) {
    let script = format!("waitbus secret {verb} github-webhook-secret {more}");
    let mut command = machine.command_of_dev(&["bash", "-c", &script]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}: {}", machine.suite, String::from_utf8_lossy(&output.stderr));
}

/// Where the secret is kept, as `secret list` has it.
fn rung(machine: &Machine) -> String {
    let listed: serde_json::Value = serde_json::from_str(&machine.ok(&["secret", "list", "--json"])).unwrap();
    listed["stored"].as_str().unwrap().to_owned()
}

/// Everything that somebody else might read, and has the text: arguments and environments of all processes, the journal,
/// and every file of the user's and of the machine's state and configuration.
fn found_in(machine: &Machine, text: &str) -> String {
    // The text comes through standard input, so that nobody here has it as an argument.
    const SEARCH: &str = "read -r text
        journalctl --sync
        grep --text --recursive --files-with-matches --fixed-strings --file=<(echo \"$text\") \
            /proc/[0-9]*/{cmdline,environ} /home /run/user /run/systemd /etc /var /tmp 2>/dev/null || true";
    let mut search = machine.command(&["bash", "-c", SEARCH]);
    let mut child = search.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("{text}\n").as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn a_secret_is_accepted_at_the_best_place_of_the_machine_and_found_nowhere_else() {
    on_every_systemd("a_secret_is_accepted_at_the_best_place_of_the_machine_and_found_nowhere_else", |machine| {
        machine.enable();
        machine.systemctl("enable --now waitbus-webhook.socket");
        let body = payload("push.payload.json");
        let status = |id: &str, secret: &str| machine.deliver(id, &body, secret.as_bytes()).status;
        assert_eq!(status("d0", FIRST), 503, "there is none yet");

        for (round, place) in ["best", "file"].into_iter().enumerate() {
            let more = if place == "file" { "--plain" } else { "" };
            if round == 0 {
                secret(machine, "set", FIRST, more);
            } else {
                secret(machine, "rotate", FIRST, more);
            }
            let expected = match (place, machine.suite) {
                ("file", _) | (_, "bookworm") => "file",
                (_, "trixie") => "helper",
                _ => "manager",
            };
            assert_eq!(rung(machine), expected);
            assert_eq!(status(&format!("{place}-1"), FIRST), 200);
            assert_eq!(status(&format!("{place}-2"), SECOND), 401);
            machine.systemctl("restart waitbus-webhook.service");
            assert_eq!(status(&format!("{place}-3"), FIRST), 200);

            // The file itself, and what the manager has made for the one service that needs it.
            let mut allowed = vec!["/run/user/1000/credentials/waitbus-webhook.service/github-webhook-secret"];
            if expected == "file" {
                allowed.push("/home/dev/.local/state/waitbus/credentials/github-webhook-secret");
            }
            let found = found_in(machine, FIRST);
            let others: Vec<_> = found.lines().filter(|path| !allowed.contains(path)).collect();
            assert!(others.is_empty(), "{}: {others:?}", machine.suite);
            assert!(found.contains("waitbus-webhook.service"), "the search finds what is there: {found:?}");

            secret(machine, "rotate", SECOND, more);
            assert_eq!(status(&format!("{place}-4"), FIRST), 401);
            assert_eq!(status(&format!("{place}-5"), SECOND), 200);
        }
    });
}

#[test]
fn without_a_secret_or_with_an_empty_one_the_listener_says_what_to_do_and_the_hub_runs() {
    on_every_systemd(
        "without_a_secret_or_with_an_empty_one_the_listener_says_what_to_do_and_the_hub_runs",
        |machine| {
            machine.enable();
            machine.systemctl("enable --now waitbus-webhook.socket");
            let body = payload("push.payload.json");
            let credentials = "/home/dev/.local/state/waitbus/credentials/github-webhook-secret";
            for content in [None, Some("")] {
                if let Some(content) = content {
                    machine.write(credentials, content);
                    machine.systemctl("restart waitbus-webhook.service");
                }
                let answer = machine.deliver("d1", &body, b"");
                assert_eq!(answer.status, 503);
                assert!(answer.body.contains("github-webhook-secret"), "{}", answer.body);
                assert_eq!(machine.property("waitbus-webhook.service", "ActiveState"), "active");
            }
            let mut wait = machine.wait(&["--source", "deploy"]);
            machine.emit("deploy", 1);
            assert_eq!(wait.code(), 0, "{}", wait.errors());
        },
    );
}
