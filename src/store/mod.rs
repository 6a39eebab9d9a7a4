//! The log: one SQLite file, `<state>/events.db`, and the only SQL of the program.
//!
//! A [`Writer`] commits events and touches the wake file, a [`Reader`] pages through them in commit order, a
//! [`Syncer`](durable::Syncer) makes commits durable for those who promised it, [`checkpoint`] keeps the write-ahead
//! log short, [`prune`] keeps the log short. Nothing here logs, sleeps, rings or reads the environment.
//!
//! Commits are `synchronous=NORMAL`: they survive the end of any process at once, and a power cut after the next
//! sync. Automatic checkpoints are off in every connection of ours: they stall the commit that happens to trigger
//! them (measured before anything else was built: p99 of emit to receive 10.8 ms with them, 0.4 ms without).

mod change;
pub mod checkpoint;
mod commits;
pub mod durable;
mod names;
mod positions;
pub mod prune;
mod read;
mod schema;
#[cfg(test)]
mod tests;
mod times;
mod write;

use std::io;
use std::path::{Path, PathBuf};

pub use names::{Learned, Scribe};
pub use read::{Reader, Size};
pub use write::{Appended, Writer};

/// Files of the log, all in the state directory.
#[derive(Clone, Debug)]
pub struct LogPaths {
    directory: PathBuf,
}

impl LogPaths {
    /// The log of a state directory.
    pub fn new(state_dir: impl Into<PathBuf>) -> LogPaths {
        LogPaths { directory: state_dir.into() }
    }

    /// The state directory itself.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.directory.join("events.db")
    }

    /// SQLite's write-ahead log.
    #[must_use]
    pub fn wal(&self) -> PathBuf {
        self.directory.join("events.db-wal")
    }

    /// The file whose time is set after every commit, for readers that may not use sockets.
    #[must_use]
    pub fn wake(&self) -> PathBuf {
        self.directory.join("wake")
    }

    /// The file whose time is set by a writer that could not ring the doorbell, for the hub.
    #[must_use]
    pub fn bell(&self) -> PathBuf {
        self.directory.join("bell")
    }
}

/// What can go wrong with the log. Callers branch on the kind; the text is for people.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no log yet.
    #[error("there is no event log at {}", .0.display())]
    Missing(PathBuf),
    /// The state directory cannot be made, or is not ours.
    #[error("the state directory {} cannot be used: {problem}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A later version of waitbus has changed the log.
    #[error("the event log {} has format {found}, and this version of waitbus reads up to {supported}: use the newer waitbus", path.display())]
    TooNew {
        /// The database.
        path: PathBuf,
        /// Its `user_version`.
        found: i64,
        /// The newest one this version knows.
        supported: i64,
    },
    /// The file is something else, or damaged.
    #[error("{} is not a readable waitbus event log ({problem}): move it away, and a new one is made", path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        problem: String,
    },
    /// Another process has held the write lock for too long.
    #[error("the event log {} is locked by another process", .0.display())]
    Busy(PathBuf),
    /// No space is left.
    #[error("no space is left for the event log {}", .0.display())]
    Full(PathBuf),
    /// The file or its directory may not be written.
    #[error("the event log {} may not be written: {problem}", path.display())]
    ReadOnly {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        problem: String,
    },
    /// Anything else that SQLite or the file system reports.
    #[error("the event log {} failed: {problem}", path.display())]
    Failed {
        /// The database.
        path: PathBuf,
        /// What was reported.
        problem: String,
    },
}

impl StoreError {
    /// Whether the log may be usable later without anybody having to repair it.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            StoreError::Busy(_) | StoreError::Full(_) | StoreError::ReadOnly { .. } | StoreError::Failed { .. } => true,
            StoreError::Missing(_)
            | StoreError::Directory { .. }
            | StoreError::TooNew { .. }
            | StoreError::Damaged { .. } => false,
        }
    }

    fn sql(path: &Path, error: &rusqlite::Error) -> StoreError {
        use rusqlite::ErrorCode as Code;
        let path = path.to_owned();
        let problem = error.to_string();
        match error.sqlite_error_code() {
            Some(Code::DatabaseBusy | Code::DatabaseLocked) => StoreError::Busy(path),
            Some(Code::DiskFull) => StoreError::Full(path),
            Some(Code::ReadOnly | Code::PermissionDenied) => StoreError::ReadOnly { path, problem },
            Some(Code::NotADatabase | Code::DatabaseCorrupt) => StoreError::Damaged { path, problem },
            _ => StoreError::Failed { path, problem },
        }
    }

    fn io(path: &Path, error: &io::Error) -> StoreError {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full(path),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                StoreError::ReadOnly { path, problem: error.to_string() }
            }
            _ => StoreError::Failed { path, problem: error.to_string() },
        }
    }
}
