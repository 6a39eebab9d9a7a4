//! `waitbus install` and `uninstall`, and an upgrade in place.

use super::machine::{Machine, PROGRAM};
use super::on_every_systemd;

/// Where a user keeps programs.
const MINE: &str = "/home/dev/bin/waitbus";

/// A copy of the program in the user's own directory, renamed into place as installers do.
fn copy(machine: &Machine) {
    machine.dev(&format!("mkdir -p ~/bin && cp {PROGRAM} {MINE}.new && mv {MINE}.new {MINE}"));
}

#[test]
fn install_makes_the_bus_work_for_a_program_wherever_it_lives_and_uninstall_leaves_the_log_alone() {
    let name = "install_makes_the_bus_work_for_a_program_wherever_it_lives_and_uninstall_leaves_the_log_alone";
    on_every_systemd(name, |machine| {
        copy(machine);
        machine.dev(&format!("{MINE} install --webhook"));
        assert_eq!(machine.property("waitbus.service", "ActiveState"), "inactive", "it starts no service");
        let again = machine.dev(&format!("{MINE} install --webhook 2>&1"));
        assert!(again.contains("nothing"), "{again}");

        let mut wait = crate::harness::Process::start(machine.command_of_dev(&[MINE, "wait", "-v", "--source", "x"]));
        wait.attached();
        machine.dev(&format!("{MINE} emit --source x --type y"));
        assert_eq!(wait.code(), 0, "{}", wait.errors());
        let process = machine.property("waitbus.service", "MainPID");
        assert_eq!(machine.root(&format!("readlink /proc/{process}/exe")), MINE);
        machine.dev(&format!("echo secret-of-github | {MINE} secret set github-webhook-secret"));
        machine.dev(&format!("{MINE} doctor"));

        machine.dev(&format!("{MINE} uninstall"));
        assert_eq!(machine.systemctl("list-unit-files --no-legend 'waitbus*' || true"), "");
        assert_eq!(machine.root("pgrep --full 'waitbus (hub|listen)' || true"), "");
        // A lock that somebody may hold is nobody's to remove; the session takes its directory with it.
        let left = "find ~ $XDG_RUNTIME_DIR -path ~/bin -prune -o -path '*waitbus*' -print -o -name '*github*' -print";
        let kept = "^/home/dev/.local/state/waitbus(/(events.db|events.db-wal|events.db-shm|wake|bell))?$|^/run/user/1000/waitbus(/hub.lock|/secrets)?$";
        assert_eq!(
            machine.dev(&format!("({left}) 2>/dev/null | grep -v -E '{kept}' || true")),
            "",
            "{}",
            machine.suite
        );
        assert!(machine.path("/home/dev/.local/state/waitbus/events.db").exists());
    });
}

#[test]
fn a_new_program_in_place_of_the_old_serves_the_waiters_of_the_old() {
    on_every_systemd("a_new_program_in_place_of_the_old_serves_the_waiters_of_the_old", |machine| {
        copy(machine);
        machine.dev(&format!("{MINE} install"));
        let tail = |_| {
            let count = ["tail", "-v", "--source", "deploy", "--count", "3"];
            crate::harness::Process::start(machine.command_of_dev(&[&[MINE], &count[..]].concat()))
        };
        let mut tails: Vec<_> = (0..20).map(tail).collect();
        for tail in &mut tails {
            tail.attached();
        }
        let emit = || machine.dev(&format!("{MINE} emit --source deploy --type finished"));
        emit();
        let process = machine.property("waitbus.service", "MainPID");
        copy(machine);
        // The old one goes on with a file that has no name any more.
        emit();
        // `install` said that nothing had to be done, and the old one went on.
        assert!(machine.dev(&format!("{MINE} doctor")).contains("waitbus.service still runs the program before"));
        let said = machine.dev(&format!("{MINE} install"));
        assert_eq!(said, "ran systemctl --user try-restart waitbus.service");
        assert_eq!(machine.dev(&format!("{MINE} install")), "nothing has to be done");
        emit();
        for tail in &mut tails {
            assert_eq!(tail.code(), 0, "{}", tail.errors());
        }
        assert_ne!(machine.property("waitbus.service", "MainPID"), process);
    });
}
