//! What cannot be read, as another user than root has it, and what is told of it once it can be.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use serde_json::Value;

use crate::harness::Process;
use crate::users::{FOREIGN, Ordinary, may_switch};

fn close(path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(0o000)).unwrap();
}

fn open(path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

/// A named directory that could not be read counted as alive. It was told of in the log of the service alone, and nothing
/// in it was ever told, also when it could be read; nor what was in a closed directory below one that was named.
#[test]
fn what_cannot_be_read_is_said_and_told_as_soon_as_it_can_be() {
    if !may_switch("what_cannot_be_read_is_said_and_told_as_soon_as_it_can_be") {
        return;
    }
    let user = Ordinary::new();
    let named = user.bus.root().join("named");
    for directory in ["open", "shut"] {
        fs::create_dir_all(named.join(directory)).unwrap();
        fs::write(named.join(directory).join("old"), "x").unwrap();
        chown(named.join(directory), Some(FOREIGN), Some(FOREIGN)).unwrap();
    }
    chown(&named, Some(FOREIGN), Some(FOREIGN)).unwrap();
    close(&named.join("shut"));
    close(&named);
    let mut hub = Process::start(user.command(&[], &["hub"]));
    hub.ready();
    let mut tail = Process::start(user.command(&[], &["tail", "-v", "--json", "--source", "fs"]));
    tail.attached();
    let mut source = Process::start(user.command(&[], &["source", "fs", named.to_str().unwrap()]));
    source.ready();
    let silent = source.said("sees nothing");
    assert!(silent.contains(&format!("{} cannot be read: ", named.display())), "{silent}");
    let mut next = || {
        let event: Value = serde_json::from_str(&tail.line()).unwrap();
        let path = Path::new(event["fields"]["path"].as_str().unwrap()).strip_prefix(&named).unwrap().to_owned();
        format!("{} {}", event["fields"]["kind"].as_str().unwrap(), path.display())
    };
    open(&named);
    fs::write(named.join("f"), "x").unwrap();
    assert_eq!(next(), "create f", "and nothing old");
    source.said("sees again");
    // One below it, that was closed at the start …
    open(&named.join("shut"));
    fs::write(named.join("shut/f"), "x").unwrap();
    assert_eq!(next(), "create shut/f");
    // … and one that is closed when somebody else writes into it.
    close(&named.join("open"));
    fs::write(named.join("open/f"), "x").unwrap();
    source.said("it cannot be read, so nothing in it is told");
    open(&named.join("open"));
    assert_eq!(next(), "create open/f");
}

/// A directory in which nothing may be listed can be passed through all the same.
#[test]
fn a_named_path_below_a_directory_that_may_not_be_listed_is_watched() {
    if !may_switch("a_named_path_below_a_directory_that_may_not_be_listed_is_watched") {
        return;
    }
    let user = Ordinary::new();
    let named = user.bus.root().join("above/named");
    fs::create_dir_all(&named).unwrap();
    fs::set_permissions(named.parent().unwrap(), Permissions::from_mode(0o711)).unwrap();
    let mut wait = Process::start(user.command(&[], &["wait", "-v", "--source", "fs", "--allow-absent"]));
    wait.attached();
    let mut source = Process::start(user.command(&[], &["source", "fs", named.to_str().unwrap()]));
    source.ready();
    fs::write(named.join("f"), "x").unwrap();
    assert_eq!(wait.code(), 0);
}
