//! Between two starts: a service that leaves when nobody is there, that is slow to come or to go, or that cannot start.
//! Whoever connects meanwhile is served.

use super::on_every_systemd;
use crate::harness::payload;

/// Has the service wait for a word from the test before it starts and after it stops. Outside the sandbox, because the
/// next process could not join the namespaces of the first.
const GATED: &str = "[Service]
ExecStartPre=+cat %t/waitbus/start
ExecStopPost=+cat %t/waitbus/stop
";

#[test]
fn an_idle_service_leaves_and_the_next_use_starts_it_again() {
    on_every_systemd("an_idle_service_leaves_and_the_next_use_starts_it_again", |machine| {
        machine.write("/home/dev/.config/waitbus/waitbus.toml", "idle_exit = \"200ms\"\n");
        machine.enable();
        machine.systemctl("enable --now waitbus-webhook.socket");
        let mut mark = machine.ok(&["mark"]);
        for n in 0..3 {
            let mut wait = machine.wait(&["--source", "deploy", "--after", &mark]);
            mark = machine.emit("deploy", n);
            assert_eq!(wait.code(), 0, "{}", wait.errors());
            assert_eq!(machine.deliver("d1", &payload("push.payload.json"), b"any").status, 503);
            for (service, socket) in
                [("waitbus.service", "waitbus.socket"), ("waitbus-webhook.service", "waitbus-webhook.socket")]
            {
                machine.until_is(service, "inactive");
                assert_eq!(machine.property(service, "Result"), "success");
                assert_eq!(machine.property(socket, "SubState"), "listening");
            }
        }
        assert_eq!(machine.property("waitbus.service", "NRestarts"), "0");
    });
}

#[test]
fn whoever_connects_while_the_service_starts_or_stops_is_queued_and_served() {
    on_every_systemd("whoever_connects_while_the_service_starts_or_stops_is_queued_and_served", |machine| {
        machine.enable();
        machine.dev("mkfifo $XDG_RUNTIME_DIR/waitbus/start $XDG_RUNTIME_DIR/waitbus/stop");
        machine.drop_in("waitbus.service", GATED);
        let open = |gate: &str| machine.dev(&format!("echo >$XDG_RUNTIME_DIR/waitbus/{gate}"));
        let connect = |state: &str| {
            let tail = |_| machine.start(&["tail", "-v", "--source", "deploy", "--count", "2"]);
            let mut tails: Vec<_> = (0..3).map(tail).collect();
            machine.until_is("waitbus.service", state);
            tails.push(tail(3));
            tails
        };

        let mut tails = connect("activating");
        open("start");
        for tail in &mut tails {
            tail.attached();
        }
        machine.emit("deploy", 1);

        machine.systemctl("stop --no-block waitbus.service");
        machine.until_is("waitbus.service", "deactivating");
        tails.extend(connect("deactivating"));
        open("stop");
        machine.until_is("waitbus.service", "activating");
        open("start");
        for tail in &mut tails[4..] {
            tail.attached();
        }
        machine.emit("deploy", 2);
        machine.emit("deploy", 3);
        for tail in &mut tails {
            assert_eq!(tail.code(), 0, "{}", tail.errors());
        }
    });
}

#[test]
fn a_crash_loop_takes_no_socket_away_and_the_repaired_service_serves_the_next_connection() {
    // With systemd's limit of starts, five crashes took the sockets away until somebody called reset-failed.
    let name = "a_crash_loop_takes_no_socket_away_and_the_repaired_service_serves_the_next_connection";
    on_every_systemd(name, |machine| {
        machine.enable();
        machine.drop_in("waitbus.service", "[Service]\nExecStart=\nExecStart=/bin/false\nRestartSec=50ms\n");
        let mut waits: Vec<_> = (0..3).map(|_| machine.start(&["wait", "-v", "--source", "deploy"])).collect();
        for n in 0..8 {
            machine.emit("deploy", n);
            machine.until_restarted("waitbus.service", 3 * (n + 1));
        }
        for socket in ["waitbus.socket", "waitbus-doorbell.socket"] {
            assert_eq!(machine.property(socket, "ActiveState"), "active");
        }
        machine.dev("rm ~/.config/systemd/user/waitbus.service.d/test.conf; systemctl --user daemon-reload");
        let mut late = machine.wait(&["--source", "deploy"]);
        for wait in &mut waits {
            wait.attached();
        }
        machine.emit("deploy", 99);
        for wait in waits.iter_mut().chain([&mut late]) {
            assert_eq!(wait.code(), 0, "{}", wait.errors());
        }
    });
}
