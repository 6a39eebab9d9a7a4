//! What a manager asks of a service while it runs: a sign of life when there is something to do, and a look at its
//! configuration when it is told to.

use super::machine::Machine;
use super::on_every_systemd;
use super::restart::Load;
use crate::harness::payload;

#[test]
fn a_service_that_hangs_under_load_is_killed_and_started_again_and_its_waiters_resume() {
    let name = "a_service_that_hangs_under_load_is_killed_and_started_again_and_its_waiters_resume";
    on_every_systemd(name, |machine| {
        machine.enable();
        machine.drop_in("waitbus.service", "[Service]\nWatchdogSec=1s\n");
        let mut load = Load::begin(machine, 60);
        load.emitted(20);
        machine.systemctl("kill --signal=STOP waitbus.service");
        machine.until_restarted("waitbus.service", 1);
        load.end();
        let journal = machine.root("journalctl --sync; journalctl --no-pager --output=cat");
        assert!(journal.contains("waitbus.service: Watchdog timeout"), "{journal}");
    });
}

/// How often the threads of the service have slept and been woken.
fn wake_ups(machine: &Machine) -> String {
    let process = machine.property("waitbus.service", "MainPID");
    machine.root(&format!("cat /proc/{process}/task/*/status | grep ctxt_switches"))
}

#[test]
fn an_idle_service_with_waiters_is_neither_killed_nor_woken() {
    on_every_systemd("an_idle_service_with_waiters_is_neither_killed_nor_woken", |machine| {
        machine.enable();
        machine.drop_in("waitbus.service", "[Service]\nWatchdogSec=1s\n");
        let mut waits: Vec<_> = (0..3).map(|_| machine.wait(&["--source", "deploy"])).collect();
        machine.emit("other", 1);
        // The watchdog is suspended once nothing is to be done.
        machine.until("waitbus.service", "WatchdogUSec", |period| period == "0");
        let before = wake_ups(machine);
        assert!(before.contains("voluntary"), "{before}");
        machine.root("timeout 3 tail --follow /dev/null || true");
        assert_eq!(wake_ups(machine), before, "{}", machine.suite);
        assert_eq!(machine.property("waitbus.service", "NRestarts"), "0");
        machine.emit("deploy", 1);
        for wait in &mut waits {
            assert_eq!(wait.code(), 0, "{}", wait.errors());
        }
    });
}

#[test]
fn a_reload_has_the_services_read_their_configuration_and_go_on() {
    // ExecReload= ran in the unit's sandbox, could not join the service's namespaces, and failed on every version.
    on_every_systemd("a_reload_has_the_services_read_their_configuration_and_go_on", |machine| {
        machine.enable();
        machine.systemctl("enable --now waitbus-webhook.socket");
        let mut wait = machine.wait(&["--source", "deploy"]);
        assert_eq!(machine.deliver("d1", &payload("push.payload.json"), b"any").status, 503);
        let state = |unit: &str| (machine.property(unit, "MainPID"), machine.property(unit, "NRestarts"));
        for unit in ["waitbus.service", "waitbus-webhook.service"] {
            let before = state(unit);
            machine.write("/home/dev/.config/waitbus/waitbus.toml", "log = \"debug\"\n");
            machine.systemctl(&format!("reload {unit}"));
            machine.until(unit, "StatusText", |status| status == "Ready");
            machine.write("/home/dev/.config/waitbus/waitbus.toml", "log = \"loud\"\n");
            machine.systemctl(&format!("reload {unit}"));
            // It says what is wrong, and goes on.
            machine.until(unit, "StatusText", |status| status.contains("waitbus.toml, line 1"));
            assert_eq!(state(unit), before);
        }
        machine.emit("deploy", 1);
        assert_eq!(wait.code(), 0, "{}", wait.errors());
    });
}
