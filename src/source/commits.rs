//! Writes what a source hands over into the log, on a thread of its own, because the log may have to be waited for.
//!
//! A log that is locked, full or read-only is tried again until it takes what waits; that is said once, and the source is
//! silent meanwhile. With nothing to write it sleeps.

use std::io;
use std::thread;

use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, warn};

use super::outlet::Batch;
use crate::client::{BusError, Publisher};
use crate::config::directories::Directories;
use crate::model::event::{Draft, ingest_method};
use crate::model::frame::Health;
use crate::model::limits::{MAX_FIELDS_BYTES, SOURCE_LOG_RETRY, SOURCE_TRANSACTION_EVENTS};
use crate::store::{Appended, StoreError};

/// Who commits for one source.
pub(super) struct Commits {
    pub(super) directories: Directories,
    pub(super) name: String,
    pub(super) publisher: Publisher,
    /// How well the log can be written.
    pub(super) health: watch::Sender<Health>,
}

impl Commits {
    /// Starts the thread. It ends when nobody can hand over anything any more and everything is committed, or when the
    /// log can never be written again; then it answers.
    pub(super) fn start(self, batches: mpsc::Receiver<Batch>) -> io::Result<oneshot::Receiver<Result<(), BusError>>> {
        let (ended, end) = oneshot::channel();
        thread::Builder::new().name("commit".into()).spawn(move || {
            // Nobody may wait for it any more.
            let _ = ended.send(self.serve(batches));
        })?;
        Ok(end)
    }

    fn serve(mut self, mut batches: mpsc::Receiver<Batch>) -> Result<(), BusError> {
        while let Some(Batch { mut drafts, position, committed }) = batches.blocking_recv() {
            let good: Vec<bool> = drafts.iter_mut().map(|draft| self.takes(draft)).collect();
            let mut kept = good.iter();
            drafts.retain(|_| *kept.next().unwrap_or(&false));
            let mut appended = self.commit(&drafts, position.as_deref())?.into_iter();
            // A worker that is gone need not be answered.
            let _ = committed.send(good.into_iter().map(|good| appended.next_if(good)).collect());
        }
        Ok(())
    }

    /// In as many transactions as it needs; the position goes with the last.
    fn commit(&mut self, drafts: &[Draft], position: Option<&str>) -> Result<Vec<Appended>, BusError> {
        let mut appended = Vec::with_capacity(drafts.len());
        let mut rest = drafts;
        loop {
            let (part, after) = rest.split_at(rest.len().min(SOURCE_TRANSACTION_EVENTS));
            rest = after;
            appended.extend(self.commit_part(part, position.filter(|_| rest.is_empty()))?);
            if rest.is_empty() {
                return Ok(appended);
            }
        }
    }

    fn commit_part(&mut self, drafts: &[Draft], position: Option<&str>) -> Result<Vec<Appended>, BusError> {
        let mut said = false;
        loop {
            let problem = match self.publisher.publish_from(&self.name, drafts, position) {
                Ok(appended) => {
                    if said {
                        info!(source = self.name, "the log takes events again");
                        self.health.send_replace(Health::Alive);
                    }
                    return Ok(appended);
                }
                Err(BusError::Store(problem)) if problem.may_pass() => problem,
                Err(problem) => return Err(problem),
            };
            if !said {
                said = true;
                warn!(%problem, source = self.name, "events wait for the log");
                self.health.send_replace(Health::Silent { reason: format!("its events wait: {problem}") });
            }
            thread::sleep(SOURCE_LOG_RETRY);
            // One that could not be written as it was opened may be usable if it is opened again. SQLite has waited for a
            // lock already.
            if !matches!(problem, StoreError::Busy(_)) {
                match Publisher::open(&self.directories) {
                    Ok(publisher) => self.publisher = publisher,
                    Err(BusError::Store(problem)) if problem.may_pass() => {}
                    Err(problem) => return Err(problem),
                }
            }
        }
    }

    /// Whether a draft may be stored as it is. How it came here is known.
    fn takes(&self, draft: &mut Draft) -> bool {
        draft.ingest_method = ingest_method::SOURCE;
        let size = || serde_json::to_vec(&draft.fields).map_or(usize::MAX, |text| text.len());
        let problem = match draft.check() {
            Err(bad) => bad.to_string(),
            Ok(()) if draft.source != self.name => format!("source: {:?} is another one", draft.source),
            Ok(()) if size() > MAX_FIELDS_BYTES => format!("fields: more than {MAX_FIELDS_BYTES} bytes"),
            Ok(()) => return true,
        };
        error!(source = self.name, problem, "an event was left out");
        false
    }
}

/// What became of the drafts that were not left out, one after the other.
trait NextIf {
    fn next_if(&mut self, good: bool) -> Option<Appended>;
}

impl<I: Iterator<Item = Appended>> NextIf for I {
    fn next_if(&mut self, good: bool) -> Option<Appended> {
        good.then(|| self.next()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{LogPaths, Reader};

    fn draft(source: &str, id: usize) -> Draft {
        let (source, event_type) = (source.to_owned(), "finished".to_owned());
        Draft { source, event_type, delivery_id: Some(id.to_string()), ..Draft::default() }
    }

    #[test]
    fn a_large_batch_is_stored_in_parts_and_the_answers_line_up_with_what_was_handed_over() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let directories = Directories { runtime: at("run"), state: at("state"), config: at("config") };
        let mut publisher = Publisher::open(&directories).unwrap();
        assert_eq!(publisher.position("fs").unwrap(), None);
        let (batches, handed_over) = mpsc::channel(1);
        let commits = Commits {
            directories: directories.clone(),
            name: "fs".into(),
            publisher,
            health: watch::Sender::default(),
        };
        let end = commits.start(handed_over).unwrap();
        let count = 2 * SOURCE_TRANSACTION_EVENTS + 1;
        let mut drafts: Vec<_> = (0..count).map(|id| draft("fs", id)).collect();
        drafts.insert(1, draft("docker", 1));
        drafts.insert(3, draft("fs", 0));
        let (committed, outcome) = oneshot::channel();
        batches.blocking_send(Batch { drafts, position: Some("here".into()), committed }).unwrap();
        let outcome = outcome.blocking_recv().unwrap();
        assert_eq!(outcome.len(), count + 2);
        assert_eq!(outcome[1], None, "of another source");
        assert!(matches!(outcome[3], Some(Appended::Duplicate { id }) if outcome[0].unwrap().id() == id));
        assert!(outcome[4..].iter().all(|appended| matches!(appended, Some(Appended::Stored { .. }))));
        drop(batches);
        end.blocking_recv().unwrap().unwrap();
        assert_eq!(Publisher::open(&directories).unwrap().position("fs").unwrap().as_deref(), Some("here"));
        assert_eq!(Reader::open(&LogPaths::new(at("state"))).unwrap().size().unwrap().rows, count as u64);
    }
}
