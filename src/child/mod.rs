//! The commands that waitbus starts for somebody: `run` and `on`.
//!
//! [`foreground`] runs one as if it had been started directly: same process group, same terminal, same signals. The
//! [`jobs`] run beside us, each in a process [`group`] of its own that is ended as a whole, and the [`signals`] that we
//! hear are passed on to them. [`stderr`] keeps the last lines of what a command says, where that can be had without the
//! command noticing.

pub mod foreground;
pub mod group;
pub mod jobs;
pub mod signals;
pub mod stderr;

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use signal_hook::consts::SIGQUIT;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It ended itself, with this code.
    Code(u8),
    /// This signal ended it.
    Signal(i32),
}

impl Ended {
    /// The code that a shell shows for it.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Ended::Code(code) => code,
            Ended::Signal(signal) => u8::try_from(signal).map_or(u8::MAX, |signal| signal.saturating_add(128)),
        }
    }
}

impl From<ExitStatus> for Ended {
    fn from(status: ExitStatus) -> Ended {
        match (status.code(), status.signal()) {
            // The kernel keeps eight bits of it.
            (Some(code), _) => Ended::Code(u8::try_from(code).unwrap_or(u8::MAX)),
            (None, signal) => Ended::Signal(signal.unwrap_or(0)),
        }
    }
}

/// Whether a signal asks for the end of a program: what a person, a shell or a supervisor sends for that.
#[must_use]
pub fn asks_to_end(signal: i32) -> bool {
    signal == SIGQUIT || signals::ASK_TO_END.contains(&signal)
}

/// The name of a signal, such as `SIGTERM`; one without a name is its number.
#[must_use]
pub fn signal_name(signal: i32) -> String {
    signal_hook::low_level::signal_name(signal).map_or_else(|| signal.to_string(), str::to_owned)
}

/// Why a command was not started.
#[derive(Debug, thiserror::Error)]
pub enum NotStarted {
    /// There is none of that name.
    #[error("not found")]
    NotFound,
    /// It is there, and the system does not run it.
    #[error("cannot be executed: {0}")]
    CannotExecute(io::Error),
}

impl From<io::Error> for NotStarted {
    fn from(error: io::Error) -> NotStarted {
        match error.kind() {
            io::ErrorKind::NotFound => NotStarted::NotFound,
            _ => NotStarted::CannotExecute(error),
        }
    }
}
