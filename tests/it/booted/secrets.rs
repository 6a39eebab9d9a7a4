//! The webhook secret at every place that a machine has for it: what is signed with it is accepted, what is not is
//! refused. `traces` looks for it everywhere else.

use std::io::Write;
use std::process::Stdio;

use super::machine::Machine;
use super::on_every_systemd;
use crate::harness::payload;

const FIRST: &str = "correct-horse-battery-staple-1";
const SECOND: &str = "correct-horse-battery-staple-2";

const GITHUB: &str = "github-webhook-secret";
const ALERTMANAGER: &str = "alertmanager-webhook-secret";

/// `waitbus secret VERB NAME` with the secret on standard input.
#[track_caller]
fn secret(machine: &Machine, verb: &str, name: &str, text: &str, more: &str) {
    let script = format!("waitbus secret {verb} {name} {more}");
    let mut command = machine.command_of_dev(&["bash", "-c", &script]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}: {}", machine.suite, String::from_utf8_lossy(&output.stderr));
}

/// Where the secret is kept, as `secret list` has it.
fn rung(machine: &Machine) -> String {
    let listed = machine.ok(&["secret", "list", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(listed.lines().next().unwrap()).unwrap();
    assert_eq!(listed["name"], GITHUB);
    listed["stored"].as_str().unwrap().to_owned()
}

#[test]
fn what_is_signed_with_the_secret_is_accepted_wherever_it_is_kept_and_nothing_else() {
    on_every_systemd("what_is_signed_with_the_secret_is_accepted_wherever_it_is_kept_and_nothing_else", |machine| {
        machine.enable();
        machine.systemctl("enable --now waitbus-webhook.socket");
        let body = payload("push.payload.json");
        let status = |id: &str, secret: &str| machine.deliver(id, &body, secret.as_bytes()).status;
        assert_eq!(status("before", FIRST), 503);
        let best = match machine.suite {
            "bookworm" => "file",
            "trixie" => "helper",
            _ => "manager",
        };
        for (verb, more, place) in [("set", "", best), ("rotate", "--plain", "file")] {
            secret(machine, verb, GITHUB, FIRST, more);
            assert_eq!(rung(machine), place);
            assert_eq!((status(&format!("{verb}-1"), FIRST), status(&format!("{verb}-2"), SECOND)), (200, 401));
            // Handed over once more.
            machine.systemctl("restart waitbus-webhook.service");
            assert_eq!((status(&format!("{verb}-3"), FIRST), status(&format!("{verb}-4"), SECOND)), (200, 401));
            secret(machine, "rotate", GITHUB, SECOND, more);
            assert_eq!((status(&format!("{verb}-5"), FIRST), status(&format!("{verb}-6"), SECOND)), (401, 200));
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

#[test]
fn the_secrets_of_a_service_do_not_take_each_other_away_wherever_each_is_kept() {
    // The drop-in of one began with an empty `LoadCredential=`, which takes away all that was named before it.
    let name = "the_secrets_of_a_service_do_not_take_each_other_away_wherever_each_is_kept";
    on_every_systemd(name, |machine| {
        machine.enable();
        machine.systemctl("enable --now waitbus-webhook.socket");
        let handed = |name: &str| {
            machine.systemctl("restart waitbus-webhook.service");
            machine.dev(&format!("cat $XDG_RUNTIME_DIR/credentials/waitbus-webhook.service/{name}"))
        };
        for (github, alertmanager) in [("", ""), ("--plain", ""), ("", "--plain"), ("--plain", "--plain")] {
            secret(machine, "set", GITHUB, FIRST, github);
            secret(machine, "set", ALERTMANAGER, SECOND, alertmanager);
            assert_eq!((handed(GITHUB), handed(ALERTMANAGER)), (FIRST.to_owned(), SECOND.to_owned()));
        }
        // What it was given opens its door, and in its sandbox it can read which alert is the heartbeat.
        let config = "[source.alertmanager]\nheartbeat = \"Alive\"\n";
        machine.write("/home/dev/.config/waitbus/waitbus.toml", config);
        let alert = |name| serde_json::json!({"status": "firing", "labels": {"alertname": name}});
        let group = serde_json::json!({"version": "4", "alerts": [alert("Alive"), alert("DiskFull")]}).to_string();
        let post = |token: &str| {
            let authorization = format!("Bearer {token}");
            machine.post("/alertmanager", &[("authorization", &authorization)], group.as_bytes()).status
        };
        assert_eq!((post(FIRST), post(SECOND)), (401, 200));
        let told = machine.ok(&["replay", "--json"]);
        let types = ["prometheus_alert", "prometheus_heartbeat"].map(|name| told.contains(&format!("\"{name}\"")));
        assert_eq!((told.lines().count(), types), (2, [true, true]), "{told}");
    });
}
