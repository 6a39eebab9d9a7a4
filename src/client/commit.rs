//! Which commit is meant, what the log says of it, and the place from which a [`Waiter`](super::Waiter) goes on without
//! one.

use std::path::Path;
use std::time::{Instant, SystemTime};

use super::BusError;
use super::checkout::Checkout;
use super::status::{HubState, hub};
use crate::config::directories::Directories;
use crate::model::filter::RepoFilter;
use crate::model::frame::{Gap, GapReason};
use crate::model::id::EventId;
use crate::model::row::Row;
use crate::model::sha::{BadSha, Sha};
use crate::model::source::SourceState;
use crate::store::{LogPaths, Reader, StoreError};
use crate::waiting::commit::{self, Ambiguous, Asked, Commit, Past};
use crate::waiting::{Ending, Question};

/// What the log says of a commit.
#[derive(Debug)]
pub struct Recalled {
    /// The question as it stands, for who waits on.
    pub commit: Commit,
    /// The answer, if it is one.
    pub ending: Option<Ending>,
    /// Everything before it has been read.
    pub since: EventId,
    /// What is missing, so that the answer may be wrong: what was pruned after the place from which on events count, and
    /// rows that name the commit and cannot be read.
    pub gaps: Vec<Gap>,
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

/// The text names no commit.
#[derive(Debug, thiserror::Error)]
#[error("{bad}, and git knows no commit of that name here")]
pub struct NoCommit {
    #[from]
    bad: BadSha,
}

/// The commit that is meant by what somebody has typed in this directory, and the repositories in which it is to be
/// looked for, if nobody says others.
///
/// Digits are the beginning of a commit, anything else is a name that git knows: `HEAD`, a branch, a tag. If git has
/// the commit here, it tells its whole name, and the repositories are those with which commits are exchanged; a commit
/// that git does not have here may be anybody's.
pub fn meant(directory: &Path, text: &str) -> Result<(Sha, Vec<RepoFilter>), NoCommit> {
    let digits = text.parse::<Sha>();
    let name = digits.as_ref().map_or(text, Sha::as_str);
    let sha = match (digits.clone(), Checkout::resolve(directory, name)) {
        (Ok(digits), Some(commit)) if digits.names(commit.as_str()) => commit,
        (Ok(digits), _) => return Ok((digits, Vec::new())),
        (Err(_), Some(commit)) => commit,
        (Err(bad), None) => return Err(bad.into()),
    };
    let remotes = Checkout::of(directory).map(|checkout| checkout.remotes).unwrap_or_default();
    Ok((sha, remotes.into_iter().map(|forge| RepoFilter::Repo(forge.owner, forge.repo)).collect()))
}

/// Asks the log what it says after a place, each event dated by when it was received: a commit that ended long ago need
/// not settle again. Zeros are the beginning of the log, wherever that is by now. An old log without an index is read as
/// a whole, which takes a while.
pub async fn recall(directories: &Directories, asked: Asked, after: EventId) -> Result<Recalled, RecallError> {
    let paths = LogPaths::new(&directories.state);
    let read = tokio::task::spawn_blocking(move || read(&paths, asked, after)).await;
    // It cannot be cancelled, so what is left is that it panicked.
    read.unwrap_or_else(|ended| std::panic::resume_unwind(ended.into_panic()))
}

impl Recalled {
    /// The same for whoever waits on. Where GitHub is asked only while somebody waits, the log may be old, and what it
    /// says is no answer yet: a run may have been started again since.
    pub async fn for_waiting(mut self, directories: &Directories) -> Recalled {
        if is_polled(directories).await {
            let now = Instant::now();
            self.commit.ask_first(now);
            self.ending = self.ending.filter(|_| self.commit.tick(now).is_some());
        }
        self
    }
}

/// Whether GitHub is asked on this machine, for as long as somebody waits for it. A listener announces no source, so one
/// that is announced asks.
async fn is_polled(directories: &Directories) -> bool {
    let Ok(HubState::Running(status)) = hub(directories).await else { return false };
    let is_there = |state| matches!(state, SourceState::Alive | SourceState::Silent);
    status.sources.iter().any(|source| source.source == commit::SOURCE && is_there(source.state))
}

fn read(paths: &LogPaths, asked: Asked, after: EventId) -> Result<Recalled, RecallError> {
    let sha = asked.sha.clone();
    let (mut past, mut unreadable) = (Past::new(asked), 0);
    let mut gaps = Vec::new();
    let since = match Reader::open(paths) {
        // Where there is no log yet, what comes first comes after the place.
        Err(StoreError::Missing(_)) => after,
        Err(error) => return Err(BusError::from(error).into()),
        Ok(reader) => {
            let mut visit = |row| match row {
                Row::Event(record) => past.recall(&record),
                Row::Unreadable(_) | Row::Lost(_) => unreadable += 1,
            };
            let (begin, newest) = reader.of_commit(&sha, after, &mut visit).map_err(BusError::from)?;
            let gap = |reason, resumed_at, missed| Gap { reason, since: after, resumed_at, missed };
            gaps.extend(begin.gap.map(|reason| gap(reason, begin.position.id, None)));
            gaps.extend((unreadable > 0).then(|| gap(GapReason::UnreadableRow, newest.id, Some(unreadable))));
            newest.id
        }
    };
    let (commit, mut ending) = past.end(Instant::now(), SystemTime::now())?;
    for shown in ending.iter_mut().flat_map(|ending| &mut ending.shown) {
        shown.json.insert("cursor".into(), since.to_string().into());
    }
    Ok(Recalled { commit, ending, since, gaps })
}
