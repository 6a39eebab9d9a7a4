//! What a service manager needs of us on disk: units or agents for this program, wherever it lives, and the secrets
//! that they hand over. Written, compared and removed here; nothing here prints.
//!
//! Everything begins as a [`Plan`]: the steps that lead from what is there to what is wanted, each of which can be shown
//! before it is done. A plan without steps means that nothing has to be done, so installing twice is installing once,
//! and a dry run cannot say anything else than what a real one does.
//!
//! - [`files`]: what is wanted beside what is there, and writing the difference, whole or not at all.
//! - [`request`]: what a service manager's own tool is asked to do.
//! - [`secret`]: where secrets are kept, and how a service is given them.
//! - [`systemd`]: the units, and what of them is installed, enabled and running.
//! - [`launchd`]: the agents, and which of them it knows.

pub mod files;
pub mod launchd;
pub mod request;
pub mod secret;
pub mod systemd;

use std::path::{Path, PathBuf};

use crate::config::directories::{BadDirectory, Directories};
use crate::sys::manager::{KIND, Kind};
use files::{Change, FileError};
use request::{Refused, Request};

/// What is to be installed.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Where the command line that installs has its files; the services get the same.
    pub directories: &'a Directories,
    /// The program that the services run.
    pub program: &'a Path,
    /// Whether the webhook listener's socket is opened as well.
    pub webhook: bool,
    /// The source that is started as well, now and with each session.
    pub source: Option<&'a str>,
}

/// One thing to do. They are done in their order, and the first that fails is the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make a directory that is for this user alone.
    Directory(PathBuf),
    /// Write or remove a file whose content may be shown.
    Change(Change),
    /// Remove a file unread: a secret, or lines of a log.
    Remove(PathBuf),
    /// Have the service manager do something.
    Ask(Request),
}

impl Step {
    /// Does it.
    pub fn take(&self) -> Result<(), SetupError> {
        match self {
            Step::Directory(path) => files::directory(path).map_err(SetupError::from),
            Step::Change(change) => change.make().map_err(SetupError::from),
            Step::Remove(path) => files::remove(path).map_err(SetupError::from),
            Step::Ask(request) => request.run().map(drop).map_err(SetupError::from),
        }
    }
}

/// What has to be done, in order; nothing if all is as it should be.
pub type Plan = Vec<Step>;

/// Something cannot be set up. Each message says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A file cannot be compared, written or removed.
    #[error(transparent)]
    File(#[from] FileError),
    /// A directory, or a path in it, cannot be used.
    #[error(transparent)]
    Directory(#[from] BadDirectory),
    /// The service manager's tool failed.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// There is nobody to install for.
    #[error(
        "{problem}; waitbus works without: the first `waitbus wait` starts a hub, and `waitbus serve` runs everything in the foreground. {remedy}"
    )]
    NoManager {
        /// What is missing.
        problem: String,
        /// How to get it, as a sentence.
        remedy: String,
    },
    /// Unit files are UTF-8, and systemd hands no secret over from a path with white space.
    #[error("systemd cannot use {}, because it has white space or is not UTF-8: use another path", .0.display())]
    Unwritable(PathBuf),
    /// Agents are XML.
    #[error("{} cannot be written into an agent, because it is not UTF-8 or has control characters: use another path", .0.display())]
    NotText(PathBuf),
    /// The manager would look for units elsewhere.
    #[error("the user manager reads no units from {}: it reads them from {searched}", looked.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or "))]
    Elsewhere {
        /// Where they would have been written.
        looked: Vec<PathBuf>,
        /// Where it says that it looks.
        searched: String,
    },
}

/// What leads from what is there to an installation as it is wanted.
pub fn install(wanted: &Wanted<'_>) -> Result<Plan, SetupError> {
    match KIND {
        Kind::Systemd => systemd::install(wanted),
        Kind::Launchd => launchd::install(wanted),
    }
}

/// What leads from what is there to a source that nobody runs. Its section and what it has told stay.
pub fn disable(source: &str) -> Result<Plan, SetupError> {
    match KIND {
        Kind::Systemd => systemd::disable(source),
        Kind::Launchd => launchd::disable(source),
    }
}

/// What a source that could not be started has said last, if its manager knows.
#[must_use]
pub fn last_words(source: &str) -> Option<String> {
    match KIND {
        Kind::Systemd => systemd::last_words(source),
        // launchd starts it, and does not wait for it.
        Kind::Launchd => None,
    }
}

/// What leads from what is there to a machine without waitbus's services. The log stays.
#[derive(Debug)]
pub struct Removal {
    /// The steps.
    pub plan: Plan,
    /// Why no manager can be told. The files go without it; what one that is out of reach has loaded stays.
    pub untold: Option<String>,
}

/// How to get there.
pub fn uninstall(directories: &Directories) -> Result<Removal, SetupError> {
    match KIND {
        Kind::Systemd => systemd::uninstall(directories),
        Kind::Launchd => launchd::uninstall(directories).map(|plan| Removal { plan, untold: None }),
    }
}
