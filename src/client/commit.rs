//! The log's answer to a question about a commit, and the place from which a [`Waiter`](super::Waiter) goes on without
//! one.

use std::time::{Instant, SystemTime};

use super::BusError;
use crate::config::directories::Directories;
use crate::model::id::EventId;
use crate::model::row::Row;
use crate::store::{LogPaths, Reader, StoreError};
use crate::waiting::Ending;
use crate::waiting::commit::{Ambiguous, Asked, Commit, Past};

/// What the log says of a commit.
#[derive(Debug)]
pub struct Recalled {
    /// The question as it stands, for who waits on.
    pub commit: Commit,
    /// The answer, if it is one.
    pub ending: Option<Ending>,
    /// Everything before it has been read.
    pub since: EventId,
    /// Rows that name the commit and cannot be read, so that the answer may be wrong.
    pub unreadable: u64,
}

/// There is no answer from the log.
#[derive(Debug, thiserror::Error)]
pub enum RecallError {
    /// Several commits begin like this.
    #[error(transparent)]
    Ambiguous(#[from] Ambiguous),
    /// The log cannot be read.
    #[error(transparent)]
    Bus(#[from] BusError),
}

/// Asks the log. An old log without an index is read as a whole, which takes a while.
pub async fn recall(directories: &Directories, asked: Asked) -> Result<Recalled, RecallError> {
    let paths = LogPaths::new(&directories.state);
    let read = tokio::task::spawn_blocking(move || read(&paths, asked)).await;
    // It cannot be cancelled, so what is left is that it panicked.
    read.unwrap_or_else(|ended| std::panic::resume_unwind(ended.into_panic()))
}

fn read(paths: &LogPaths, asked: Asked) -> Result<Recalled, RecallError> {
    let sha = asked.sha.clone();
    let (mut past, mut unreadable) = (Past::new(asked), 0);
    let since = match Reader::open(paths) {
        Err(StoreError::Missing(_)) => EventId::ZERO,
        Err(error) => return Err(BusError::from(error).into()),
        Ok(reader) => {
            let mut visit = |row| match row {
                Row::Event(record) => past.recall(&record),
                Row::Unreadable(_) | Row::Lost(_) => unreadable += 1,
            };
            reader.of_commit(&sha, &mut visit).map_err(BusError::from)?.id
        }
    };
    let (commit, ending) = past.end(Instant::now(), SystemTime::now())?;
    Ok(Recalled { commit, ending, since, unreadable })
}
