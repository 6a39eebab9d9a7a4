//! What `install` finds when it is not the first: units that differ, units of somebody else, another directory, another
//! program, and a manager that does not know what the shell knows.

use super::machine::{Machine, PROGRAM};
use super::on_every_systemd;
use crate::harness::{Process, payload};

const UNITS: &str = "/home/dev/.config/systemd/user";

/// Runs the program where it lies, with variables of the shell's, to its end.
fn run(machine: &Machine, variables: &[&str], program: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let environment = [&["env"][..], variables].concat();
    let output = machine.command_of_dev(&[&environment[..], &[program], arguments].concat()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[track_caller]
fn install(machine: &Machine, variables: &[&str], program: &str) -> String {
    let (code, said) = run(machine, variables, program, &["install"]);
    assert_eq!(code, Some(0), "{}: {said}", machine.suite);
    said
}

#[test]
fn install_repairs_what_differs_under_a_waiter_and_leaves_drop_ins_alone() {
    on_every_systemd("install_repairs_what_differs_under_a_waiter_and_leaves_drop_ins_alone", |machine| {
        install(machine, &[], PROGRAM);
        machine.drop_in("waitbus.service", "[Service]\nEnvironment=WAITBUS_LOG=debug\n");
        let mut wait = Process::start(machine.command_of_dev(&[PROGRAM, "wait", "-v", "--source", "x"]));
        wait.attached();
        let before = machine.property("waitbus.service", "MainPID");
        machine.dev(&format!("cd {UNITS}; echo '# mine' >>waitbus.service; rm waitbus-webhook.socket"));

        let (_, shown) = run(machine, &[], PROGRAM, &["install", "--dry-run"]);
        assert!(shown.contains("would write") && shown.contains("    - # mine\n"), "{shown}");
        assert!(!machine.path(&format!("{UNITS}/waitbus-webhook.socket")).exists(), "a dry run only shows");
        assert_eq!(machine.property("waitbus.service", "MainPID"), before);

        let said = install(machine, &[], PROGRAM);
        assert_eq!(said.matches("wrote ").count(), 2, "{said}");
        assert_ne!(machine.property("waitbus.service", "MainPID"), before, "what runs is what is installed");
        assert!(install(machine, &[], PROGRAM).contains("nothing has to be done"));
        run(machine, &[], PROGRAM, &["emit", "--source", "x", "--type", "y"]);
        assert_eq!(wait.code(), 0, "{}", wait.errors());

        run(machine, &[], PROGRAM, &["uninstall"]);
        assert_eq!(
            machine.dev("find ~/.config/systemd -type f -o -type l"),
            format!("{UNITS}/waitbus.service.d/test.conf")
        );
    });
}

#[test]
fn a_unit_of_somebody_elses_is_named_and_neither_replaced_nor_removed() {
    on_every_systemd("a_unit_of_somebody_elses_is_named_and_neither_replaced_nor_removed", |machine| {
        let mine = "[Service]\nExecStart=/bin/true\n";
        machine.write(&format!("{UNITS}/waitbus.service"), mine);
        let (code, said) = run(machine, &[], PROGRAM, &["install"]);
        assert!(code == Some(3) && said.contains(&format!("{UNITS}/waitbus.service is in the way")), "{said}");
        assert_eq!(machine.dev(&format!("ls {UNITS}")), "waitbus.service", "nothing was begun");
        assert_eq!(run(machine, &[], PROGRAM, &["uninstall"]).0, Some(0));
        assert_eq!(machine.dev(&format!("cat {UNITS}/waitbus.service")), mine.trim_end());
        // Masked: a link to nothing.
        machine.dev(&format!("rm {UNITS}/*; systemctl --user mask waitbus.socket"));
        let (code, said) = run(machine, &[], PROGRAM, &["install"]);
        assert!(code == Some(3) && said.contains("is in the way: it is a link"), "{said}");
    });
}

#[test]
fn doctor_says_what_keeps_the_services_from_starting() {
    // A service that failed each time was never "failed", because it was always about to be started again; a secret that
    // was empty was to be helped by a restart; and of a port that was taken not even the place where it is said.
    on_every_systemd("doctor_says_what_keeps_the_services_from_starting", |machine| {
        machine.enable();
        machine.drop_in("waitbus.service", "[Service]\nExecStart=\nExecStart=/bin/false\nRestartSec=1h\n");
        machine.emit("deploy", 1);
        machine.until("waitbus.service", "SubState", |state| state.starts_with("auto-restart"));
        let doctor = || run(machine, &[], PROGRAM, &["doctor"]);
        let (code, said) = doctor();
        assert!(code == Some(3) && said.contains("waitbus.service fails, and is started again"), "{said}");

        machine.write("/home/dev/.local/state/waitbus/credentials/github-webhook-secret", "");
        let (_, said) = run(machine, &[], PROGRAM, &["secret", "list"]);
        assert!(said.contains("github-webhook-secret: not set"), "{said}");

        let mut taken = machine.command_of_dev(&["socat", "TCP-LISTEN:9000,bind=127.0.0.1", "PIPE"]).spawn().unwrap();
        machine.dev("until ss -ltn 2>/dev/null | grep -q :9000 || grep -q ':2328 ' /proc/net/tcp; do :; done");
        let (code, _) = run(machine, &[], PROGRAM, &["install", "--webhook"]);
        assert_eq!(code, Some(3));
        let (_, said) = doctor();
        assert!(said.contains("`journalctl --user -u waitbus-webhook.socket` says why"), "{said}");
        taken.kill().unwrap();
        taken.wait().unwrap();
    });
}

#[test]
fn the_service_uses_the_directories_of_whoever_installs_whatever_they_and_the_program_are_called() {
    let name = "the_service_uses_the_directories_of_whoever_installs_whatever_they_and_the_program_are_called";
    on_every_systemd(name, |machine| {
        let program = "/home/dev/it's 100% \"mine\"/wait$bus";
        let copy = "mkdir \"$(dirname \"$0\")\" && cp /opt/waitbus \"$0\"";
        assert!(machine.command_of_dev(&["bash", "-c", copy, program]).status().unwrap().success());
        let variables = ["WAITBUS_STATE_DIR=/home/dev/a 100% $HOME", "WAITBUS_RUNTIME_DIR=/run/user/1000/else%where"];
        // What systemd cannot hand a secret over from is refused before anything is written.
        let (code, said) = run(machine, &variables, program, &["install"]);
        assert!(code == Some(2) && said.contains("white space"), "{said}");
        assert_eq!(machine.dev("find ~ -path \"*systemd*\""), "");

        let variables = ["WAITBUS_STATE_DIR=/home/dev/a100%$HOME", variables[1]];
        install(machine, &variables, program);
        assert!(install(machine, &variables, program).contains("nothing has to be done"));
        run(machine, &variables, program, &["emit", "--source", "x", "--type", "y"]);
        let (code, said) = run(machine, &variables, program, &["wait", "--since", "1h", "--source", "x"]);
        assert_eq!((code, &*said), (Some(0), "x y\n"));
        let hub = machine.property("waitbus.service", "MainPID");
        assert_eq!(machine.root(&format!("readlink /proc/{hub}/exe")), program);
        assert_eq!(
            machine.root("find /home /run -name events.db -o -name broadcast.sock"),
            "/home/dev/a100%$HOME/events.db\n/run/user/1000/else%where/broadcast.sock"
        );
        let (code, said) = run(machine, &variables, program, &["doctor"]);
        assert!(code == Some(0) && said.contains("ok       store: "), "{said}");

        // A secret, too: it is kept beside that log, and a helper answers in that runtime directory.
        run(machine, &variables, program, &["install", "--webhook"]);
        let (code, secret) =
            run(machine, &variables, program, &["secret", "set", "github-webhook-secret", "--generate"]);
        assert_eq!(code, Some(0), "{secret}");
        let secret = secret.lines().next().unwrap();
        let answer = machine.deliver("d1", &payload("push.payload.json"), secret.as_bytes());
        assert_eq!(answer.json()["status"], "stored", "{answer:?}");

        // Back to what everybody has, and then from a session whose variables the manager has never seen.
        install(machine, &[], PROGRAM);
        let foreign = ["XDG_CONFIG_HOME=/home/dev/other", "XDG_STATE_HOME=/home/dev/state"];
        let said = install(machine, &foreign, PROGRAM);
        assert!(said.contains(&format!("wrote {UNITS}/waitbus.service")), "{said}");
        run(machine, &foreign, PROGRAM, &["emit", "--source", "x", "--type", "y"]);
        let (code, said) = run(machine, &foreign, PROGRAM, &["wait", "--since", "1h", "--source", "x"]);
        assert_eq!((code, &*said), (Some(0), "x y\n"));
        let (code, said) = run(machine, &foreign, PROGRAM, &["doctor"]);
        assert!(code == Some(0) && said.contains("ok       store: "), "{said}");
    });
}

#[test]
fn a_program_that_the_services_could_not_see_is_refused() {
    on_every_systemd("a_program_that_the_services_could_not_see_is_refused", |machine| {
        machine.dev("cp /opt/waitbus /var/tmp/waitbus");
        let (code, said) = run(machine, &[], "/var/tmp/waitbus", &["install"]);
        assert!(code == Some(2) && said.contains("temporary files"), "{said}");
        assert_eq!(machine.dev("find ~ -path \"*systemd*\""), "");
    });
}
