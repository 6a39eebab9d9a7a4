//! Every line of protection in the units is in force. A probe that runs with a unit's own settings finds everything
//! closed; with none of them, everything open; with a single one, what that line is there for closed. A line that a
//! version ignored would be open in the last.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::machine::{DEV, Machine};
use super::on_every_systemd;

/// A setting, and a command that succeeds where it is not in force.
type Probe = (&'static str, &'static str);

const STATE: &str = "/home/dev/.local/state/waitbus";

#[rustfmt::skip]
const FORBIDDEN: [Probe; 27] = [
    ("PrivateUsers", "grep -q 4294967295 /proc/self/uid_map"),
    ("CapabilityBoundingSet", "! grep -q '^CapBnd:.0*$' /proc/self/status"),
    ("NoNewPrivileges", "grep -q '^NoNewPrivs:.0' /proc/self/status"),
    ("ProtectSystem", "touch /srv/open/probe"),
    ("ReadOnlyPaths", "touch $HOME/probe"),
    ("ReadOnlyPaths", "touch $XDG_RUNTIME_DIR/probe"),
    ("InaccessiblePaths", "socat -u OPEN:/dev/null UNIX:$XDG_RUNTIME_DIR/bus"),
    ("InaccessiblePaths", "socat -u OPEN:/dev/null UNIX:$XDG_RUNTIME_DIR/systemd/private"),
    ("InaccessiblePaths", "cat $STATE/credentials/github-webhook-secret"),
    ("InaccessiblePaths", "ls $XDG_RUNTIME_DIR/waitbus/secrets"),
    ("InaccessiblePaths", HANDED_OVER),
    ("ProtectControlGroups", "group=/sys/fs/cgroup$(sed -n s/^0:://p /proc/self/cgroup); mkdir $group/probe && rmdir $group/probe"),
    ("PrivateDevices", "test -e /dev/everybodys"),
    ("PrivateTmp", "test -e /tmp/everybodys"),
    ("PrivateIPC", "test $(readlink /proc/self/ns/ipc) = $IPC"),
    // The address of the listener, 127.0.0.1:9000, which everybody on the machine can see.
    ("PrivateNetwork", "grep -q 0100007F:2328 /proc/net/tcp"),
    ("RestrictAddressFamilies", "perl -e 'socket(S, 16, 3, 0) or exit 1'"),
    ("RestrictNamespaces", "unshare --user true"),
    ("RestrictSUIDSGID", "chmod u+s $(mktemp -p $STATE)"),
    ("LockPersonality", "setarch --addr-no-randomize true"),
    ("MemoryDenyWriteExecute", "perl -e 'exit(syscall($ARGV[0], 0, 4096, 7, 0x22, -1, 0) == -1)' $MMAP"),
    ("SystemCallArchitectures", "$STATE/foreign"),
    ("SystemCallFilter", "perl -e 'exit(syscall($ARGV[0], 0, 0, 0, 0) == -1)' $PTRACE"),
    ("SystemCallFilter", "chown $(id -u) $(mktemp -p $STATE)"),
    ("UMask", "test $(umask) != 0077"),
    ("LimitCORE", "test $(ulimit -H -c) != 0"),
    ("SystemCallErrorNumber", "perl -e 'syscall($ARGV[0], 0, 0, 0, 0)' $PTRACE; test $? -ge 128"),
];

/// The sources that have a sandbox.
const SOURCES: [&str; 4] = [
    "waitbus-source@alertmanager.service.d/10-waitbus.conf",
    "waitbus-source@docker.service.d/10-waitbus.conf",
    "waitbus-source@fs.service.d/10-waitbus.conf",
    GITHUB,
];
const GITHUB: &str = "waitbus-source@github.service.d/10-waitbus.conf";
/// Where these have their secrets from, and what is closed to all others.
const HANDED_OVER: &str = "ls $XDG_RUNTIME_DIR/credentials";
const GIVEN_SECRETS: [&str; 2] = ["waitbus-webhook.service", GITHUB];

/// What the services need, and have.
const ALLOWED: [(&str, &str); 16] = [
    ("waitbus.service", "touch $STATE/probe"),
    ("waitbus.service", "touch $XDG_RUNTIME_DIR/waitbus/probe"),
    ("waitbus-webhook.service", "touch $STATE/probe"),
    ("waitbus-webhook.service", "perl -e 'socket(S, 2, 1, 0) or exit 1'"),
    (SOURCES[0], "touch $STATE/probe"),
    (SOURCES[1], "touch $STATE/probe"),
    (SOURCES[2], "touch $STATE/probe"),
    (SOURCES[3], "touch $STATE/probe"),
    // A source announces itself there, and rings.
    (SOURCES[0], "socat -u OPEN:/dev/null UNIX:$XDG_RUNTIME_DIR/waitbus/broadcast.sock"),
    (SOURCES[1], "socat -u OPEN:/dev/null UNIX:$XDG_RUNTIME_DIR/waitbus/doorbell.sock"),
    (SOURCES[2], "socat -u OPEN:/dev/null UNIX:$XDG_RUNTIME_DIR/waitbus/broadcast.sock"),
    (SOURCES[3], "socat -u OPEN:/dev/null UNIX:$XDG_RUNTIME_DIR/waitbus/doorbell.sock"),
    // What each is for.
    (SOURCES[1], "perl -e 'socket(S, 2, 1, 0) or exit 1'"),
    (SOURCES[1], "socat -u OPEN:/dev/null UNIX:/tmp/engine.sock"),
    (SOURCES[2], "test -e /tmp/everybodys && ls $HOME"),
    (SOURCES[3], "perl -e 'socket(S, 2, 1, 0) or exit 1'"),
];

/// Lines that only make sense together: the first needs the others to be seen.
const TOGETHER: [(&str, &[&str]); 2] =
    [("SystemCallFilter", &["SystemCallErrorNumber"]), ("SystemCallErrorNumber", &["SystemCallFilter"])];

/// The settings of a unit: those of the sandbox, and what else a probe asks about.
fn settings(unit: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("units").join(unit)).unwrap();
    let (before, sandbox) = text.split_once("# ---- Sandbox").expect("the unit has a sandbox");
    let line = |line: &str| line.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    let of = |text: &str| text.lines().filter(|line| !line.starts_with('#')).filter_map(line).collect::<Vec<_>>();
    let asked = of(before).into_iter().filter(|(key, _)| FORBIDDEN.iter().any(|(probed, _)| probed == key));
    asked.chain(of(sandbox)).collect()
}

/// A machine with something of everybody's everywhere, and a probe.
fn prepare(machine: &Machine) {
    // An engine's socket, which only its group may use. The manager learns of its groups when it starts.
    machine.root("groupadd engine && gpasswd --add dev engine >/dev/null && systemctl restart user@1000.service");
    machine.root(
        "socat UNIX-LISTEN:/tmp/engine.sock,fork,mode=660,group=engine EXEC:true </dev/null >/dev/null 2>&1 &
         until [ -S /tmp/engine.sock ]; do :; done",
    );
    machine.enable();
    machine.systemctl("enable --now waitbus-webhook.socket");
    machine.write(&format!("{STATE}/credentials/github-webhook-secret"), "a secret");
    machine.root("mkdir -m 777 /srv/open; touch /dev/everybodys /tmp/everybodys");
    fs::write(machine.path(&format!("{STATE}/foreign")), foreign_program()).unwrap();
    fs::set_permissions(machine.path(&format!("{STATE}/foreign")), fs::Permissions::from_mode(0o755)).unwrap();
    let ipc = machine.dev("readlink /proc/self/ns/ipc");
    let (mmap, ptrace) = if cfg!(target_arch = "x86_64") { (9, 101) } else { (222, 117) };
    machine.write(
        "/home/dev/probe.sh",
        &format!(
            "export STATE={STATE} IPC={ipc} MMAP={mmap} PTRACE={ptrace}\n\
             while IFS= read -r probe; do\n\
             if bash -c \"$probe\" >/dev/null 2>&1 </dev/null; then echo open; else echo closed; fi\n\
             done <$1\n"
        ),
    );
}

/// A program of 32 bits: `exit(0)` by way of `int 0x80`.
fn foreign_program() -> Vec<u8> {
    let code = [0xb8, 1, 0, 0, 0, 0x31, 0xdb, 0xcd, 0x80];
    let entry = 0x40_0000_u64 + 64 + 56;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    for word in [entry, 64, 0] {
        file.extend(word.to_le_bytes());
    }
    file.extend(b"\0\0\0\0\x40\0\x38\0\x01\0\0\0\0\0\0\0\x01\0\0\0\x05\0\0\0");
    for word in [0, 0x40_0000, 0x40_0000, 64 + 56 + 9, 64 + 56 + 9, 0x1000_u64] {
        file.extend(word.to_le_bytes());
    }
    file.extend(code);
    file
}

/// The settings of a unit, and commands to run under them.
struct Trial<'a> {
    settings: Vec<(String, String)>,
    commands: Vec<&'a str>,
}

/// Runs all trials at once, each in a unit of its own, and tells of each of their commands whether it succeeded.
fn open(machine: &Machine, trials: &[Trial<'_>]) -> Vec<Vec<bool>> {
    let units = "/home/dev/.config/systemd/user";
    for (number, trial) in trials.iter().enumerate() {
        let lines: Vec<_> = trial.settings.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        let lines = lines.concat();
        let place = format!("/home/dev/trial-{number}");
        machine.write(&place, &format!("{}\n", trial.commands.join("\n")));
        machine.write(
            &format!("{units}/trial-{number}.service"),
            &format!(
                "[Service]\nType=oneshot\nStandardOutput=truncate:{place}.out\nStandardError=null\n\
                 ExecStart=/bin/bash /home/dev/probe.sh {place}\n{lines}"
            ),
        );
    }
    machine.systemctl("daemon-reload");
    machine.systemctl(&format!("start $(seq --format=trial-%g.service 0 {})", trials.len() - 1));
    let said = |number| fs::read_to_string(machine.path(&format!("/home/dev/trial-{number}.out"))).unwrap();
    let found: Vec<Vec<_>> =
        (0..trials.len()).map(|number| said(number).lines().map(|word| word == "open").collect()).collect();
    for (trial, found) in trials.iter().zip(&found) {
        assert_eq!(trial.commands.len(), found.len(), "{:?}", trial.settings);
    }
    found
}

/// What the unit says, and what its probes have to find: all of it, and each line alone.
fn check(machine: &Machine, unit: &str, probes: &[Probe]) {
    let probes: Vec<_> =
        probes.iter().filter(|(_, command)| *command != HANDED_OVER || !GIVEN_SECRETS.contains(&unit)).collect();
    let settings = settings(unit);
    let keys: BTreeSet<_> = settings.iter().map(|(key, _)| &**key).collect();
    let probed: BTreeSet<_> = FORBIDDEN.iter().map(|(key, _)| *key).chain(["ReadWritePaths"]).collect();
    assert!(keys.is_subset(&probed), "{unit}: no probe for {:?}", keys.difference(&probed));

    let of_key = |key: &str| probes.iter().filter(|(of, _)| *of == key).map(|(_, command)| *command).collect();
    let closed: Vec<_> = probes.iter().filter(|(key, _)| keys.contains(key)).map(|(_, command)| *command).collect();
    let allowed: Vec<_> = ALLOWED.iter().filter(|(of, _)| *of == unit).map(|(_, command)| *command).collect();
    let mut trials = vec![
        Trial { settings: settings.clone(), commands: closed },
        Trial { settings: settings.clone(), commands: allowed },
    ];
    for key in keys.iter().filter(|key| **key != "ReadWritePaths") {
        let with = TOGETHER.iter().find(|(of, _)| of == key).map_or(&[][..], |(_, with)| with);
        let chosen = settings.iter().filter(|(other, _)| other == key || with.contains(&&**other)).cloned();
        // The lines about files need it on 252.
        trials.push(Trial { settings: [users()].into_iter().chain(chosen).collect(), commands: of_key(key) });
    }
    let found = open(machine, &trials);
    for (number, (trial, found)) in trials.iter().zip(found).enumerate() {
        for (command, open) in trial.commands.iter().zip(found) {
            assert_eq!(open, number == 1, "{unit} on {}: {command}\nunder {:?}", machine.suite, trial.settings);
        }
    }
}

fn users() -> (String, String) {
    ("PrivateUsers".to_owned(), "yes".to_owned())
}

#[test]
fn every_line_of_the_sandbox_is_in_force() {
    on_every_systemd("every_line_of_the_sandbox_is_in_force", |machine| {
        prepare(machine);
        // Not every machine runs programs of 32 bits.
        let foreign = machine.command_of(DEV, &[&format!("{STATE}/foreign")]).status().unwrap().success();
        let probes: Vec<Probe> =
            FORBIDDEN.into_iter().filter(|(key, _)| foreign || *key != "SystemCallArchitectures").collect();
        let commands: Vec<_> = probes.iter().map(|(_, command)| *command).collect();
        let none = Trial { settings: Vec::new(), commands: commands.clone() };
        let found = open(machine, &[none, Trial { settings: vec![users()], commands }]);
        for (place, (key, command)) in probes.iter().enumerate() {
            let open = found[usize::from(*key != "PrivateUsers")][place];
            assert_eq!(open, *key != "SystemCallErrorNumber", "without {key}: {command}");
        }
        for unit in ["waitbus.service", "waitbus-webhook.service"].into_iter().chain(SOURCES) {
            check(machine, unit, &probes);
        }
    });
}
