//! What has been handed over to whoever reads messages, and is written down: receipts in the log, and the place of the
//! name in a file. It is written beside whoever reads, because the log may be locked for a while.

use std::io::{self, Write};
use std::path::Path;

use tempfile::NamedTempFile;
use tokio::task::{JoinHandle, spawn_blocking};

use super::{BusError, Publisher};
use crate::config::directories::Directories;
use crate::model::event::Draft;
use crate::model::id::EventId;
use crate::model::limits::RECEIPTS_PER_COMMIT;
use crate::model::message::AgentName;
use crate::sys::private;

/// What has been handed over under a name.
#[derive(Debug)]
pub(super) struct Handed {
    directories: Directories,
    name: AgentName,
    /// The receipts that have not been committed yet.
    receipts: Vec<Draft>,
    /// The place that has been written down last.
    place: Option<EventId>,
    publisher: Option<Publisher>,
    /// What is being written.
    writing: Option<JoinHandle<Written>>,
    problem: Option<BusError>,
}

/// What has come of writing.
#[derive(Debug)]
struct Written {
    publisher: Option<Publisher>,
    /// Those that could not be committed.
    receipts: Vec<Draft>,
    /// The place that could be written down.
    place: Option<EventId>,
    problem: Option<BusError>,
}

impl Handed {
    /// Nothing yet, by a name that has this place.
    pub(super) fn new(directories: &Directories, name: &AgentName, place: Option<EventId>) -> Handed {
        let (directories, name) = (directories.clone(), name.clone());
        Handed { directories, name, receipts: Vec::new(), place, publisher: None, writing: None, problem: None }
    }

    /// These receipts are to be given.
    pub(super) fn owe(&mut self, receipts: impl IntoIterator<Item = Draft>) {
        self.receipts.extend(receipts);
    }

    /// Whether so much is owed that it is to be written down before anything else is read.
    pub(super) fn is_much(&self) -> bool {
        self.receipts.len() >= RECEIPTS_PER_COMMIT
    }

    /// Why something could not be written down, since this was asked last.
    pub(super) fn take_problem(&mut self) -> Option<BusError> {
        self.problem.take()
    }

    /// Writes down what is owed, and this place, if there is one. What cannot be is tried again the next time. May be
    /// cancelled at any time: what is being written then goes on.
    pub(super) async fn settle(&mut self, place: Option<EventId>) {
        self.written().await;
        let place = place.filter(|place| self.place != Some(*place));
        if self.receipts.is_empty() && place.is_none() {
            return;
        }
        let (directories, name) = (self.directories.clone(), self.name.clone());
        let (receipts, publisher) = (std::mem::take(&mut self.receipts), self.publisher.take());
        self.writing = Some(spawn_blocking(move || {
            let mut written = Written { publisher, receipts, place: None, problem: None };
            written.problem = written.write(&directories, &name, place).err();
            written
        }));
        self.written().await;
    }

    /// Waits for what is being written.
    async fn written(&mut self) {
        let Some(writing) = &mut self.writing else { return };
        let outcome = writing.await;
        self.writing = None;
        // One that is not, because the process ends, is as good as killed.
        let Ok(Written { publisher, mut receipts, place, problem }) = outcome else { return };
        receipts.append(&mut self.receipts);
        if problem.is_some() {
            receipts.truncate(RECEIPTS_PER_COMMIT);
            self.problem = problem;
        }
        (self.publisher, self.receipts, self.place) = (publisher, receipts, place.or(self.place));
    }

    /// Does not wait any longer for what is being written.
    pub(super) fn give_up(&mut self) {
        if self.writing.is_some() {
            self.problem = Some(BusError::Unsettled);
        }
    }
}

impl Written {
    fn write(&mut self, directories: &Directories, name: &AgentName, place: Option<EventId>) -> Result<(), BusError> {
        while !self.receipts.is_empty() {
            let publisher = match &mut self.publisher {
                Some(open) => open,
                none => none.insert(Publisher::open(directories)?),
            };
            let some = self.receipts.len().min(RECEIPTS_PER_COMMIT);
            publisher.publish_all(&self.receipts[..some])?;
            self.receipts.drain(..some);
        }
        // The receipts first: whoever is killed in between is not handed the same again.
        if let Some(place) = place {
            let path = directories.inbox(name.as_str());
            write_place(&path, name, place).map_err(|error| BusError::Place { path, problem: error.to_string() })?;
            self.place = Some(place);
        }
        Ok(())
    }
}

/// The place that is written down for a name. What is no such file, or another name's where files do not tell `Bob` from
/// `bob`, says nothing.
pub(super) fn read_place(path: &Path, name: &AgentName) -> Option<EventId> {
    let text = std::fs::read_to_string(path).ok()?;
    let (written, cursor) = text.trim_end().split_once(' ')?;
    (written == name.as_str()).then(|| cursor.parse().ok())?
}

/// Replaces the file as a whole, so that nobody reads half of it.
fn write_place(path: &Path, name: &AgentName, cursor: EventId) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    private::directory(directory)?;
    let mut file = NamedTempFile::with_prefix_in(".", directory)?;
    writeln!(file, "{name} {cursor}")?;
    file.persist(path)?;
    Ok(())
}
