//! The Debian package: built from the program under test, installed, used, upgraded and purged.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use super::machine::Machine;
use super::on_every_systemd;
use crate::harness::{payload, program, skip, works};

const SECRET: &[u8] = b"a secret of a packaged bus";
const INSTALL: &str = "dpkg -i /var/tmp/waitbus.deb 2>&1";

/// Builds the package, and runs a scenario on machines on which it has just been installed.
fn on_every_systemd_with_the_package(name: &str, scenario: impl Fn(&Machine)) {
    if !works(&["dpkg-deb", "--version"]) {
        return skip(name, "it takes dpkg-deb");
    }
    let directory = tempfile::tempdir().unwrap();
    let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/build-deb");
    let built = Command::new(build).arg(program()).arg(directory.path()).arg("-Znone").output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let deb = String::from_utf8(built.stdout).unwrap();
    on_every_systemd(name, |machine| {
        fs::copy(deb.trim(), machine.path("/var/tmp/waitbus.deb")).unwrap();
        machine.root(INSTALL);
        scenario(machine);
    });
}

#[test]
fn the_package_works_from_enable_to_upgrade_and_leaves_nothing_but_the_log() {
    on_every_systemd_with_the_package(
        "the_package_works_from_enable_to_upgrade_and_leaves_nothing_but_the_log",
        |machine| {
            // Each user decides, also where the administrator has everything else preset.
            let state = |unit: &str| machine.property(unit, "UnitFileState");
            let sockets = ["waitbus.socket", "waitbus-doorbell.socket", "waitbus-webhook.socket"];
            assert_eq!(sockets.map(state), ["disabled"; 3]);
            machine.systemctl("preset-all");
            assert_eq!(sockets.map(state), ["disabled"; 3]);

            machine.systemctl("enable --now waitbus.socket");
            assert_eq!(
                machine.ok(&["install"]),
                "nothing has to be done",
                "the package's units are what it would write"
            );
            machine.ok(&["install", "--webhook"]);
            let ours = "find ~/.config/systemd/user -type f";
            assert_eq!(machine.dev(ours), "", "copies would hide the package's units");
            set_secret(machine);

            // Upgraded under a blocked wait: what runs becomes the new program, and the wait resumes.
            let mut wait = machine.wait(&["--source", "github"]);
            let before = machine.property("waitbus.service", "MainPID");
            machine.root(INSTALL);
            assert_ne!(machine.property("waitbus.service", "MainPID"), before);
            assert_eq!(machine.deliver("d1", &payload("push.payload.json"), SECRET).json()["status"], "stored");
            assert_eq!(wait.code(), 0, "{}", wait.errors());
            let doctor = machine.ok(&["doctor"]);
            assert!(doctor.lines().all(|line| line.starts_with("ok ")), "{}: {doctor}", machine.suite);

            machine.ok(&["uninstall"]);
            machine.root("dpkg -P waitbus 2>&1");
            let left = machine.root("find /home /root /etc /usr /var/lib /run/systemd -xdev -iname '*waitbus*'");
            assert_eq!(left, "/home/dev/.local/state/waitbus");
            let left =
                machine.root("find /home/dev/.local/state/waitbus /home/dev/.config -type f -printf '%f\\n' | sort");
            assert_eq!(left, "bell\nevents.db\nevents.db-shm\nevents.db-wal\nwake");
        },
    );
}

#[test]
fn a_purge_takes_the_links_of_users_who_are_there_with_it() {
    on_every_systemd_with_the_package("a_purge_takes_the_links_of_users_who_are_there_with_it", |machine| {
        machine.systemctl("enable --now waitbus.socket waitbus-webhook.socket");
        machine
            .dev("mkdir -p ~/.config/waitbus && echo \"source.fs.paths = ['$HOME']\" >~/.config/waitbus/waitbus.toml");
        machine.ok(&["source", "enable", "fs"]);
        machine.root("dpkg -r waitbus 2>&1");
        assert_eq!(machine.property("waitbus.socket", "ActiveState"), "inactive");
        assert_eq!(machine.property("waitbus-source@fs.service", "ActiveState"), "inactive");
        let links = "find ~/.config/systemd/user -name '*waitbus*' | wc -l";
        assert_eq!(machine.dev(links), "4", "who installs it again finds it as it was");
        machine.root("dpkg -P waitbus 2>&1");
        assert_eq!(machine.dev(links), "0");
    });
}

fn set_secret(machine: &Machine) {
    let mut set = machine.command_of_dev(&["waitbus", "secret", "set", "github-webhook-secret"]);
    let mut set = set.stdin(Stdio::piped()).spawn().unwrap();
    set.stdin.take().unwrap().write_all(SECRET).unwrap();
    assert!(set.wait().unwrap().success());
}
