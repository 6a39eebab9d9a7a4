//! A hub that a client or a person has started, and the manager's, in every order. The fake manager of
//! `tests/it/handover.rs` shows the same without root; here the one that unlinks and binds is systemd itself.

use super::machine::Machine;
use super::on_every_systemd;
use crate::harness::Process;

/// A blocked client that prints the numbers it sees.
fn tail(machine: &Machine, count: u64) -> Process {
    let mut tail = machine.start(&["tail", "-v", "--json", "--source", "deploy", "--count", &count.to_string()]);
    tail.attached();
    tail
}

#[track_caller]
fn saw(mut tail: Process, numbers: std::ops::Range<u64>) {
    for n in numbers {
        let line = tail.line();
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(event["fields"]["n"], n, "{line}");
    }
    assert_eq!(tail.code(), 0, "{}", tail.errors());
}

/// The hub that serves is the manager's, and the only one.
#[track_caller]
fn served_by_the_manager(machine: &Machine) {
    let process = machine.property("waitbus.service", "MainPID");
    assert_eq!(machine.root("pgrep --full 'waitbus (hub|serve)'"), process);
    assert!(machine.ok(&["status"]).contains(&format!("process {process}")), "{}", machine.ok(&["status"]));
}

#[test]
fn the_managers_hub_takes_over_from_one_that_a_client_has_started() {
    // The manager unlinked the live socket, its hub failed to get the lock, and the path was lost to both.
    on_every_systemd("the_managers_hub_takes_over_from_one_that_a_client_has_started", |machine| {
        machine.install();
        let tails: Vec<_> = (0..5).map(|_| tail(machine, 3)).collect();
        assert_eq!(machine.property("waitbus.service", "ActiveState"), "inactive");
        machine.emit("deploy", 0);
        machine.systemctl("enable --now waitbus.socket");
        machine.emit("deploy", 1);
        machine.until_is("waitbus.service", "active");
        machine.emit("deploy", 2);
        for tail in tails {
            saw(tail, 0..3);
        }
        served_by_the_manager(machine);
    });
}

#[test]
fn the_managers_hub_takes_over_from_one_that_a_person_has_started() {
    on_every_systemd("the_managers_hub_takes_over_from_one_that_a_person_has_started", |machine| {
        machine.install();
        let mut hub = machine.start(&["hub"]);
        hub.ready();
        let before = tail(machine, 3);
        machine.emit("deploy", 0);
        machine.systemctl("enable --now waitbus.socket");
        let between = tail(machine, 2);
        machine.emit("deploy", 1);
        assert_eq!(hub.code(), 0, "{}", hub.errors());
        machine.emit("deploy", 2);
        saw(before, 0..3);
        saw(between, 1..3);
        served_by_the_manager(machine);
    });
}

#[test]
fn a_hub_by_hand_refuses_while_the_manager_listens_or_serves() {
    on_every_systemd("a_hub_by_hand_refuses_while_the_manager_listens_or_serves", |machine| {
        machine.enable();
        let refused = |machine: &Machine| {
            for verb in [&["hub"][..], &["serve"]] {
                let output = machine.run(verb);
                assert!(matches!(output.status.code(), Some(2 | 3)), "{output:?}");
            }
        };
        refused(machine);
        let waiting = tail(machine, 1);
        refused(machine);
        machine.emit("deploy", 0);
        saw(waiting, 0..1);
        served_by_the_manager(machine);
    });
}

#[test]
fn waiters_outlive_the_sockets_being_stopped_and_started_under_them() {
    on_every_systemd("waiters_outlive_the_sockets_being_stopped_and_started_under_them", |machine| {
        machine.enable();
        let tails: Vec<_> = (0..5).map(|_| tail(machine, 6)).collect();
        for round in 0..2 {
            machine.emit("deploy", 3 * round);
            // Nobody listens any more, so the waiters start a hub of their own.
            machine.systemctl("stop waitbus.socket waitbus-doorbell.socket waitbus.service");
            machine.emit("deploy", 3 * round + 1);
            machine.systemctl("start waitbus.socket");
            machine.emit("deploy", 3 * round + 2);
        }
        for tail in tails {
            saw(tail, 0..6);
        }
        served_by_the_manager(machine);
    });
}
