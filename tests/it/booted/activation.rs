//! First use: what starts a service, which log it writes, and who may use it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::machine::{DEV, Machine, OTHER};
use super::on_every_systemd;
use crate::harness::payload;

const SECRET: &[u8] = b"a secret of a booted machine";

/// The fields `n` of what a verb printed with `--json`.
fn numbers(printed: &str) -> Vec<u64> {
    let number = |line: &str| serde_json::from_str::<Value>(line).unwrap()["fields"]["n"].as_u64();
    printed.lines().filter_map(number).collect()
}

#[test]
fn the_first_use_of_each_socket_starts_its_service_and_all_share_one_log() {
    on_every_systemd("the_first_use_of_each_socket_starts_its_service_and_all_share_one_log", |machine| {
        machine.enable();
        let is = |unit: &str| machine.property(unit, "ActiveState");
        assert_eq!(["waitbus.socket", "waitbus-doorbell.socket"].map(is), ["active", "active"]);
        assert_eq!(is("waitbus.service"), "inactive");

        // A connection.
        let mut wait = machine.wait(&["--source", "deploy"]);
        assert_eq!(is("waitbus.service"), "active");
        machine.emit("deploy", 1);
        assert_eq!(wait.code(), 0, "{}", wait.errors());

        // A ring.
        machine.systemctl("stop waitbus.service");
        machine.emit("deploy", 2);
        machine.until_is("waitbus.service", "active");

        // A delivery.
        let credentials = "/home/dev/.local/state/waitbus/credentials";
        machine.write(&format!("{credentials}/github-webhook-secret"), std::str::from_utf8(SECRET).unwrap());
        machine.systemctl("enable --now waitbus-webhook.socket");
        assert_eq!(is("waitbus-webhook.service"), "inactive");
        let mut wait = machine.wait(&["--source", "github"]);
        let body = payload("push.payload.json");
        assert_eq!(machine.deliver("d1", &body, SECRET).json()["status"], "stored");
        assert_eq!(is("waitbus-webhook.service"), "active");
        assert_eq!(wait.code(), 0, "{}", wait.errors());
        assert_eq!(machine.deliver("d2", &body, b"a guess").status, 401);

        // On 252 the manager's own idea of a user's state directory is another one.
        let stored = machine.ok(&["replay", "--json"]);
        assert_eq!((numbers(&stored), stored.lines().count()), (vec![1, 2], 3), "{stored}");
        let logs = machine.root("find /home /root /var/lib -name events.db");
        assert_eq!(logs, "/home/dev/.local/state/waitbus/events.db");
    });
}

#[test]
fn the_order_in_which_the_manager_passes_its_sockets_never_matters() {
    // It changes from one start of the manager to the next, and only the names tell.
    on_every_systemd("the_order_in_which_the_manager_passes_its_sockets_never_matters", |machine| {
        machine.enable();
        let mut orders = BTreeSet::new();
        for n in 0..24 {
            machine.systemctl(if n % 2 == 0 { "daemon-reload" } else { "daemon-reexec" });
            machine.systemctl("restart waitbus.service");
            let mut wait = machine.wait(&["--source", "deploy", "--match", &format!("n={n}")]);
            machine.emit("deploy", n);
            assert_eq!(wait.code(), 0, "{}", wait.errors());
            let process = machine.property("waitbus.service", "MainPID");
            let environment = machine.root(&format!("tr '\\0' '\\n' </proc/{process}/environ"));
            orders
                .extend(environment.lines().filter_map(|line| line.strip_prefix("LISTEN_FDNAMES=")).map(str::to_owned));
            if orders.len() == 2 {
                break;
            }
        }
        println!("{}: {orders:?}", machine.suite);
    });
}

#[test]
fn what_is_emitted_while_everything_is_stopped_is_seen_after_the_mark() {
    on_every_systemd("what_is_emitted_while_everything_is_stopped_is_seen_after_the_mark", |machine| {
        machine.enable();
        machine.emit("deploy", 1);
        let mark = machine.ok(&["mark"]);
        machine.systemctl("stop waitbus.socket waitbus-doorbell.socket waitbus.service");
        assert!(!machine.path("/run/user/1000/waitbus/broadcast.sock").exists());
        machine.emit("deploy", 2);
        machine.systemctl("start waitbus.socket");
        assert_eq!(numbers(&machine.ok(&["wait", "--json", "--source", "deploy", "--after", &mark])), [2]);
        assert_eq!(machine.property("waitbus.service", "ActiveState"), "active");
    });
}

/// A session that nobody has logged in to has no variables.
#[test]
fn a_command_without_a_session_reaches_the_same_bus() {
    on_every_systemd("a_command_without_a_session_reaches_the_same_bus", |machine| {
        machine.enable();
        assert_eq!(machine.root("loginctl --no-legend list-sessions | grep -v manager || true"), "");
        let mut wait = machine.wait(&["--source", "cron"]);
        let cron = ["env", "HOME=/home/dev", "LOGNAME=dev", "waitbus"];
        let emit = ["emit", "--source", "cron", "--type", "finished", "--field", "n=1"];
        let good = |arguments: &[&str]| {
            let output = machine.command_of(DEV, &[&cron[..], arguments].concat()).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        let mark = machine.ok(&["mark"]);
        good(&emit);
        assert_eq!(wait.code(), 0, "{}", wait.errors());
        assert_eq!(numbers(&good(&["wait", "--json", "--source", "cron", "--after", &mark])), [1]);
        assert!(good(&["status"]).contains("hub: running"), "{}", good(&["status"]));
        assert_eq!(machine.root("pgrep --count --full 'waitbus hub'"), "1");
    });
}

#[test]
fn another_user_of_the_machine_can_neither_connect_nor_read_nor_ring() {
    on_every_systemd("another_user_of_the_machine_can_neither_connect_nor_read_nor_ring", |machine| {
        machine.enable();
        machine.emit("deploy", 1);
        machine.until_is("waitbus.service", "active");
        let refused = |machine: &Machine, command: &[&str]| {
            let output = machine.command_of(OTHER, command).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success() && said.contains("Permission denied"), "{command:?}: {said}");
        };
        let modes = machine.dev(
            "stat --format=%a $XDG_RUNTIME_DIR/waitbus $XDG_RUNTIME_DIR/waitbus/*.sock ~/.local/state/waitbus ~/.local/state/waitbus/events.db",
        );
        assert_eq!(modes.lines().collect::<Vec<_>>(), ["700", "600", "600", "700", "600"]);
        for open in [false, true] {
            if open {
                // Only the modes of what is ours are left.
                machine.root("chmod 755 /run/user/1000 /home/dev /home/dev/.local /home/dev/.local/state");
            }
            for socket in ["broadcast", "doorbell"] {
                refused(machine, &["socat", "-u", &format!("UNIX:/run/user/1000/waitbus/{socket}.sock"), "-"]);
            }
            refused(machine, &["cat", "/home/dev/.local/state/waitbus/events.db"]);
        }
    });
}
