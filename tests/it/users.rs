//! Being somebody else: root can try what another user of the machine can do.

use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;

use crate::harness::{Bus, program, skip, works};

/// Nobody's uid, on every machine.
pub const FOREIGN: u32 = 65_534;

/// What runs a command as another user.
pub const AS_FOREIGN: [&str; 6] = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];

/// Whether this process may become somebody else; a test that needs it skips by its name.
pub fn may_switch(test: &str) -> bool {
    let may = works(&[&AS_FOREIGN[..], &["true"]].concat());
    if !may {
        skip(test, "it takes root to become another user");
    }
    may
}

/// A bus of an ordinary user, with a copy of the program that they can reach.
pub struct Ordinary {
    pub bus: Bus,
}

impl Ordinary {
    pub fn new() -> Ordinary {
        let bus = Bus::new();
        let copy = bus.root().join("waitbus");
        std::fs::copy(program(), &copy).unwrap();
        std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).unwrap();
        chown(bus.root(), Some(FOREIGN), Some(FOREIGN)).unwrap();
        Ordinary { bus }
    }

    /// The program as that user, after what `first` does as root.
    pub fn command(&self, first: &[&str], arguments: &[&str]) -> Command {
        let copy = format!("shift; exec {} \"$@\"", self.bus.root().join("waitbus").display());
        self.bus.wrapped(&[first, &AS_FOREIGN, &["sh", "-c", &copy, "sh"]].concat(), arguments)
    }
}
