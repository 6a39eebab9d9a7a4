//! Exit codes. They are API: scripts branch on them.

use std::fmt;
use std::process::ExitCode;

use crate::client::BusError;
use crate::model::frame::RejectReason;
use crate::store::StoreError;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// What was asked for happened.
    Success,
    /// A flag, a condition, a duration or a path makes no sense; nothing was waited for.
    Usage,
    /// The bus failed: the hub or the log could not be reached, or a gap opened under the wait.
    Bus,
    /// `--timeout` elapsed.
    TimedOut,
    /// A signal ended it, after a clean teardown.
    Signal(u8),
}

/// The same for `--help`.
pub(super) const HELP: &str = "Exit codes:
  0      what was asked for happened
  2      usage: nothing was waited for
  3      the bus failed: no hub, no log, or a gap under the wait
  124    --timeout elapsed
  128+n  ended by signal n (130 SIGINT, 143 SIGTERM)";

impl Exit {
    /// The code that the parent process sees.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Exit::Success => 0,
            Exit::Usage => 2,
            Exit::Bus => 3,
            Exit::TimedOut => 124,
            Exit::Signal(number) => 128 + number,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// A verb that could not do what it was asked for: what to print, and how to end.
#[derive(Debug)]
pub struct Failure {
    /// How to end.
    pub exit: Exit,
    message: String,
}

impl Failure {
    /// The person who called can mend it by calling differently.
    pub fn usage(message: impl fmt::Display) -> Failure {
        Failure { exit: Exit::Usage, message: message.to_string() }
    }

    /// The bus cannot do it now.
    pub fn bus(message: impl fmt::Display) -> Failure {
        Failure { exit: Exit::Bus, message: message.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<BusError> for Failure {
    fn from(error: BusError) -> Failure {
        match error {
            BusError::Directory(_) | BusError::Rejected { reason: RejectReason::BadField, .. } => Failure::usage(error),
            other => Failure::bus(other),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure::bus(error)
    }
}
