//! Where the secret is to be seen while it is set, handed over and replaced: nowhere but where it belongs.

use std::io::Write;
use std::process::Stdio;

use super::machine::Machine;
use super::on_every_systemd;
use crate::harness::payload;

/// Notes the arguments and the environment of every process of the user's, its own among them, and becomes the tool
/// that it stands for.
const WITNESS: &str = r#"
for tool in systemctl systemd-creds systemd-run; do
    {
        echo '#!/bin/bash'
        echo 'cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ >>/var/tmp/seen 2>/dev/null'
        echo "exec /usr/bin/$tool \"\$@\""
    } >/usr/local/bin/$tool
    chmod 755 /usr/local/bin/$tool
done
touch /var/tmp/seen
chmod 666 /var/tmp/seen
"#;

/// Reads what to look for from standard input, so that it is no argument here either.
const SEARCH: &str = "journalctl --sync; cat >/dev/shm/wanted; \
    grep -rlsF -f /dev/shm/wanted /etc /home /root /run /tmp /var /usr/local | sort; \
    cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | grep -aqF -f /dev/shm/wanted && echo a process; \
    rm /dev/shm/wanted";

const STORED: &str = "/home/dev/.local/state/waitbus/credentials/github-webhook-secret";
const HANDED_OVER: &str = "/run/user/1000/credentials/waitbus-webhook.service/github-webhook-secret";

#[test]
fn the_secret_is_in_no_argument_no_environment_and_no_file_but_its_own() {
    on_every_systemd("the_secret_is_in_no_argument_no_environment_and_no_file_but_its_own", |machine| {
        machine.enable();
        machine.ok(&["install", "--webhook"]);
        machine.root(WITNESS);
        let generated = machine.ok(&["secret", "set", "github-webhook-secret", "--generate"]);
        assert_eq!(generated.len(), 64, "{}", machine.suite);
        let body = payload("push.payload.json");
        assert_eq!(machine.deliver("d1", &body, generated.as_bytes()).json()["status"], "stored");
        let kept = !machine.ok(&["secret", "list"]).contains("encrypted");
        assert_eq!(kept, machine.suite == "bookworm", "the best rung of each");
        let places = if kept { vec![STORED, HANDED_OVER] } else { vec![HANDED_OVER] };
        assert_eq!(found(machine, &generated), places, "{}", machine.suite);

        // The hub need not know it: where it lies, where a helper says it and where it is handed over is closed to it.
        machine.wait(&["--source", "github", "--since", "1h"]).code();
        let hub = machine.property("waitbus.service", "MainPID");
        let handed_over = "/run/user/1000/credentials";
        for closed in [handed_over, "/home/dev/.local/state/waitbus/credentials", "/run/user/1000/waitbus/secrets"] {
            machine.root(&format!("grep -q 'inaccessible/dir {closed} ' /proc/{hub}/mountinfo"));
        }

        // Replaced, and from standard input.
        let given = "another secret of the same machine";
        let mut rotate = machine.command_of_dev(&["waitbus", "secret", "rotate", "github-webhook-secret"]);
        let mut rotate = rotate.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        rotate.stdin.take().unwrap().write_all(given.as_bytes()).unwrap();
        let output = rotate.wait_with_output().unwrap();
        assert!(output.status.success() && !String::from_utf8_lossy(&output.stderr).contains(given));
        assert_eq!(machine.deliver("d2", &body, given.as_bytes()).json()["status"], "stored");
        assert_eq!(machine.deliver("d3", &body, generated.as_bytes()).status, 401, "the one before is over");
        assert_eq!(found(machine, given), places, "{}", machine.suite);
        assert_eq!(found(machine, &generated), [""; 0], "{}", machine.suite);

        // In the worse place on request, and back: nothing stays behind.
        let plain = machine.ok(&["secret", "rotate", "github-webhook-secret", "--generate", "--plain"]);
        assert_eq!(found(machine, &plain), [STORED, HANDED_OVER], "{}", machine.suite);
        assert_eq!(machine.deliver("d4", &body, plain.as_bytes()).json()["status"], "stored");
        let last = machine.ok(&["secret", "rotate", "github-webhook-secret", "--generate"]);
        assert_eq!(found(machine, &last), places, "{}", machine.suite);
        assert_eq!(found(machine, &plain), [""; 0], "{}", machine.suite);

        let seen = std::fs::read(machine.path("/var/tmp/seen")).unwrap();
        let has = |text: &str| seen.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(has("systemd-creds") && has("try-restart") && has("secret\0rotate\0"), "the witness has looked");
        assert!([&generated, given, &plain, &last].iter().all(|secret| !has(secret)), "{}", machine.suite);
    });
}

/// The files of the machine that have this text, and its processes.
#[track_caller]
fn found(machine: &Machine, text: &str) -> Vec<String> {
    let mut search = machine.command(&["bash", "-c", SEARCH]);
    let mut search = search.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    search.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = search.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}
