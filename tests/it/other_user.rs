//! Only you: what another user of the machine meets.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::harness::{Bus, Process, deliver, payload};
use crate::users::{AS_FOREIGN, may_switch};

/// Connects as another user, says `knocking`, sends a subscribe frame once it is told to, and prints what comes back.
const VISITOR: &str = "
import json, socket, struct, sys
visitor = socket.socket(socket.AF_UNIX)
try:
    visitor.connect(sys.argv[1])
    frame = json.dumps({}).encode()
    visitor.sendall(struct.pack('>I', len(frame)) + frame)
    print('knocking', flush=True)
    print('answer', visitor.recv(100), flush=True)
except OSError as error:
    print(type(error).__name__, flush=True)
";

fn visitor(path: &Path) -> Process {
    let mut command = Command::new(AS_FOREIGN[0]);
    command.args(&AS_FOREIGN[1..]).args(["/usr/bin/python3", "-c", VISITOR]).arg(path).stdin(Stdio::null());
    Process::start(command)
}

/// Whether another user can read a file.
fn can_read(path: &Path) -> bool {
    let output = Command::new(AS_FOREIGN[0]).args(&AS_FOREIGN[1..]).arg("cat").arg(path).output().unwrap();
    output.status.success() || !output.stdout.is_empty()
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Everything below a directory, and the directory.
fn below(directory: &Path) -> Vec<PathBuf> {
    let mut all = vec![directory.to_owned()];
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            all.extend(below(&entry.path()));
        } else {
            all.push(entry.path());
        }
    }
    all
}

/// A bus on which everything has happened that makes files.
fn used(bus: &Bus) -> Process {
    // A generous umask is what the modes have to stand against.
    let generous = ["sh", "-c", "umask 0; exec \"$@\"", "sh"];
    bus.set_secret();
    chmod(&bus.state(), 0o755);
    chmod(&bus.state().join("credentials"), 0o755);
    let mut wait = Process::start(bus.wrapped(&generous, &["wait", "-v", "--source", "github"]));
    wait.attached();
    let mut listen = Process::start(bus.wrapped(&generous, &["listen", "--addr", "127.0.0.1:0"]));
    let address = listen.ready().split_once("webhook=").unwrap().1.parse().unwrap();
    assert_eq!(deliver(address, "push", "d1", &payload("push.payload.json")).status, 200);
    assert_eq!(wait.code(), 0);
    let emit = bus.wrapped(&generous, &["emit", "--source", "a", "--type", "b"]).output().unwrap();
    assert!(emit.status.success());
    listen
}

#[test]
fn every_file_and_directory_is_for_this_user_alone_whatever_the_umask() {
    // The log file was 0644.
    let bus = Bus::new();
    let _listen = used(&bus);
    let mut names = Vec::new();
    for path in [below(&bus.state()), below(&bus.runtime())].concat() {
        let found = fs::symlink_metadata(&path).unwrap();
        // Only the parent of the secret, which a person has made, may have been 0755 before.
        let expected = if found.is_dir() { 0o700 } else { 0o600 };
        if !path.ends_with("credentials") {
            assert_eq!(found.mode() & 0o7777, expected, "{}", path.display());
        }
        names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    for name in ["events.db", "events.db-wal", "events.db-shm", "wake", "hub.log", "broadcast.sock", "doorbell.sock"] {
        assert!(names.contains(&name.to_owned()), "{name} among {names:?}");
    }
}

#[test]
fn the_modes_stop_another_user_at_the_sockets_and_the_log() {
    if !may_switch("the_modes_stop_another_user_at_the_sockets_and_the_log") {
        return;
    }
    let bus = Bus::new();
    let _listen = used(&bus);
    chmod(bus.root(), 0o755);
    let refused = || {
        for socket in [bus.broadcast(), bus.doorbell()] {
            assert_eq!(visitor(&socket).line(), "PermissionError");
        }
        for path in below(&bus.state()).iter().filter(|path| path.is_file()) {
            assert!(!can_read(path), "{}", path.display());
        }
    };
    refused();
    // Each of the two would do: the directories, and the files in them.
    chmod(&bus.state(), 0o755);
    chmod(&bus.runtime(), 0o755);
    refused();
    chmod(&bus.state(), 0o700);
    chmod(&bus.runtime(), 0o700);
    for path in [below(&bus.state()), below(&bus.runtime())].concat() {
        if !fs::symlink_metadata(&path).unwrap().is_dir() {
            chmod(&path, 0o666);
        }
    }
    refused();
}

#[test]
fn another_user_for_whom_the_modes_were_opened_is_closed_before_anything_is_read_or_written() {
    let name = "another_user_for_whom_the_modes_were_opened_is_closed_before_anything_is_read_or_written";
    if !may_switch(name) {
        return;
    }
    let bus = Bus::new();
    let mut hub = bus.hub();
    bus.emit("deploy", 0);
    for directory in [bus.root(), &bus.runtime(), &bus.state()] {
        chmod(directory, 0o755);
    }
    for socket in [bus.broadcast(), bus.doorbell()] {
        chmod(&socket, 0o666);
    }
    let mut mine = bus.subscribe(&json!({}));
    for _ in 0..3 {
        // The hub stands still while the visitor connects and speaks. When it goes on it closes, and the kernel says
        // `reset` to the visitor because what they sent was never read.
        hub.signal("STOP");
        let mut visitor = visitor(&bus.broadcast());
        assert_eq!(visitor.line(), "knocking");
        hub.signal("CONT");
        assert_eq!(visitor.line(), "ConnectionResetError");
        hub.said("a connection of another user was closed");
    }
    // The doorbell has its file mode only: the worst that it can cause is one look at the log.
    let mut ringer = visitor(&bus.doorbell());
    assert_eq!(ringer.line(), "knocking");
    bus.emit("deploy", 1);
    assert_eq!(mine.numbers(1), [1]);
    assert!(!can_read(&bus.database()), "the log has a mode of its own");
    assert!(!can_read(&bus.state().join("events.db-wal")));
    assert_eq!(hub.errors().matches("another user").count(), 0, "nobody else was closed");
    hub.stop();
}

#[test]
fn a_directory_of_another_user_is_refused() {
    if !may_switch("a_directory_of_another_user_is_refused") {
        return;
    }
    let bus = Bus::new();
    for (directory, arguments) in [
        (bus.runtime(), &["hub"][..]),
        (bus.state(), &["emit", "--source", "a", "--type", "b"]),
        (bus.state(), &["listen", "--addr", "127.0.0.1:0"]),
    ] {
        fs::create_dir_all(&directory).unwrap();
        std::os::unix::fs::chown(&directory, Some(crate::users::FOREIGN), None).unwrap();
        let output = bus.run(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(matches!(output.status.code(), Some(2 | 3)), "{said}");
        assert!(said.contains(directory.to_str().unwrap()) && said.contains("belongs to uid 65534"), "{said}");
    }
}
