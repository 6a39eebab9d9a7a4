//! Exit codes. They are API: scripts branch on them.

use std::fmt;
use std::process::ExitCode;

use crate::child::NotStarted;
use crate::client::BusError;
use crate::model::frame::RejectReason;
use crate::model::verdict::Verdict;
use crate::store::StoreError;
use crate::waiting::asked::{BadQuestion, Spelling};

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// What was asked for happened; for a verdict, it is success.
    Success,
    /// A verdict was asked for, and it is a failure.
    Failed,
    /// A flag, a condition, a duration or a path makes no sense; nothing was waited for.
    Usage,
    /// The bus failed: the hub or the log could not be reached, or a gap opened under the wait.
    Bus,
    /// A verdict was asked for, and it is neither success nor failure.
    Neither,
    /// `--timeout` elapsed.
    TimedOut,
    /// The command to run could not be executed.
    CannotExecute,
    /// The command to run was not found.
    NotFound,
    /// The code of the command that was run, passed through.
    Command(u8),
    /// A verdict, under the code that `--exit-on` gives to its word.
    Mapped(u8),
    /// A signal ended it, after a clean teardown.
    Signal(u8),
}

/// The same for `--help`.
pub(super) const HELP: &str = "Exit codes:
  0      what was asked for happened; for a verdict, success
  1      a verdict was asked for: it is a failure
  2      usage: nothing was waited for
  3      the bus or the source failed: no hub, no log, a gap under the wait, a dead source
  4      a verdict was asked for: neither success nor failure (skipped, neutral, superseded ...)
  124    --timeout elapsed
  126    the command to run could not be executed
  127    the command to run was not found
  128+n  ended by signal n (130 SIGINT, 143 SIGTERM)";

impl Exit {
    /// The code that the parent process sees.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Exit::Success => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Bus => 3,
            Exit::Neither => 4,
            Exit::TimedOut => 124,
            Exit::CannotExecute => 126,
            Exit::NotFound => 127,
            Exit::Command(code) | Exit::Mapped(code) => code,
            Exit::Signal(number) => 128 + number,
        }
    }
}

impl From<&Verdict> for Exit {
    fn from(verdict: &Verdict) -> Exit {
        match verdict {
            Verdict::Success => Exit::Success,
            Verdict::Failure(_) => Exit::Failed,
            Verdict::Neither(_) => Exit::Neither,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

impl From<&NotStarted> for Exit {
    fn from(problem: &NotStarted) -> Exit {
        match problem {
            NotStarted::NotFound => Exit::NotFound,
            NotStarted::CannotExecute(_) => Exit::CannotExecute,
        }
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
    /// It ends like this, for this reason.
    pub fn of(exit: Exit, message: impl fmt::Display) -> Failure {
        Failure { exit, message: message.to_string() }
    }

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

impl From<BadQuestion> for Failure {
    fn from(bad: BadQuestion) -> Failure {
        Failure::usage(bad.told(Spelling::Flags))
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure::bus(error)
    }
}
