//! Telling the bus something: commit, ring, done.

use std::time::SystemTime;

use super::BusError;
use crate::config::directories::Directories;
use crate::model::event::Draft;
use crate::store::{Appended, LogPaths, Writer};
use crate::sys::ring::Doorbell;

/// A writer that rings. Keep one and use it often: the log and the doorbell stay open.
#[derive(Debug)]
pub struct Publisher {
    writer: Writer,
    doorbell: Doorbell,
}

impl Publisher {
    /// Opens the log, which is made where it is missing. No hub is needed.
    pub fn open(directories: &Directories) -> Result<Publisher, BusError> {
        let paths = LogPaths::new(&directories.state);
        let writer = Writer::open(&paths)?;
        Ok(Publisher { writer, doorbell: Doorbell::at(directories.doorbell().ok(), paths.bell()) })
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

    /// How far a source has come, as it said when it last published.
    pub fn position(&self, source: &str) -> Result<Option<String>, BusError> {
        Ok(self.writer.position(source)?)
    }

    /// Commits what a source has seen together with how far it has come, all or nothing, and rings if there is something
    /// to hear. Its position has been asked for before.
    pub fn publish_from(
        &mut self,
        source: &str,
        drafts: &[Draft],
        position: Option<&str>,
    ) -> Result<Vec<Appended>, BusError> {
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
