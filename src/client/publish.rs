//! Telling the bus something: commit, ring, done.

use std::time::SystemTime;

use super::BusError;
use crate::config::directories::Directories;
use crate::model::event::Draft;
use crate::store::{Appended, LogPaths, Writer};
use crate::sys::place::Place;
use crate::sys::ring::Doorbell;

/// A writer that rings. Keep one and use it often: the log and the doorbell stay open.
#[derive(Debug)]
pub struct Publisher {
    writer: Writer,
    doorbell: Doorbell,
    paths: LogPaths,
    /// The log of a source, which writes for as long as its machine runs.
    place: Option<Place>,
}

impl Publisher {
    /// Opens the log, which is made where it is missing. No hub is needed.
    pub fn open(directories: &Directories) -> Result<Publisher, BusError> {
        let paths = LogPaths::new(&directories.state);
        let writer = Writer::open(&paths)?;
        let doorbell = Doorbell::at(directories.doorbell().ok(), paths.bell());
        Ok(Publisher { writer, doorbell, paths, place: None })
    }

    /// Commits an event and rings. The caller has checked the draft.
    pub fn publish(&mut self, draft: &Draft) -> Result<Appended, BusError> {
        let appended = self.writer.append(draft, SystemTime::now())?;
        self.ring();
        Ok(appended)
    }

    /// Commits events in one transaction, all or none, and rings once.
    pub fn publish_all(&mut self, drafts: &[Draft]) -> Result<Vec<Appended>, BusError> {
        let appended = self.writer.append_all(drafts, SystemTime::now())?;
        self.ring();
        Ok(appended)
    }

    /// How far a source has come, as it said when it last published. From then on the log is known by its file, too, so
    /// that [`Publisher::publish_from`] notices when it is another one.
    pub fn position(&mut self, source: &str) -> Result<Option<String>, BusError> {
        let position = self.writer.position(source)?;
        self.place = Place::of(&self.paths.database()).ok();
        Ok(position)
    }

    /// Commits what a source has seen together with how far it has come, all or nothing, and rings if there is something
    /// to hear. A log that was removed or replaced meanwhile is left to whoever has it, and the one that is there is
    /// written, or a new one made.
    pub fn publish_from(
        &mut self,
        source: &str,
        drafts: &[Draft],
        position: Option<&str>,
    ) -> Result<Vec<Appended>, BusError> {
        if self.place.as_ref().is_none_or(Place::is_lost) {
            self.writer = Writer::open(&self.paths)?;
            self.position(source)?;
        }
        let appended = self.writer.append_from(source, drafts, position, SystemTime::now())?;
        if !drafts.is_empty() {
            self.ring();
        }
        Ok(appended)
    }

    fn ring(&mut self) {
        self.doorbell.ring();
        // After the bell, so that nobody waits for it; the next commit tries again if it fails.
        let _ = self.writer.checkpoint_if_due();
    }
}
