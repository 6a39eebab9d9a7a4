//! Being a source that others can know to be there: a connection to the hub that is kept open, and a goodbye before it
//! ends. Without the goodbye its end is the source's death, which whoever waits for it learns at once.

use std::convert::Infallible;
use std::path::PathBuf;

use super::BusError;
use super::connection::Connection;
use super::feed::{Options, dial};
use crate::config::directories::Directories;
use crate::model::frame::Subscribe;
use crate::model::limits::START_TIMEOUT;
use crate::model::source::Announcement;

/// A source that has been announced.
#[derive(Debug)]
pub struct Announced {
    directories: Directories,
    path: PathBuf,
    subscribe: Subscribe,
    options: Options,
    connection: Connection,
    notes: Vec<String>,
}

impl Announced {
    /// Announces a source, starting a hub if there is none.
    pub async fn open(
        directories: &Directories,
        announcement: Announcement,
        options: Options,
    ) -> Result<Announced, BusError> {
        let path = directories.broadcast()?;
        // It wants no events: no event has this source and no id.
        let nothing = vec![vec![format!("source={}", announcement.source), "event_id=null".to_owned()]];
        let subscribe =
            Subscribe { alternatives: nothing, heartbeat: false, announce: Some(announcement), ..Subscribe::default() };
        match dial(directories, &path, &subscribe, START_TIMEOUT).await {
            Ok((connection, _, notes)) => {
                Ok(Announced { directories: directories.clone(), path, subscribe, options, connection, notes })
            }
            Err(failure) => Err(failure.into_error(&path, START_TIMEOUT)),
        }
    }

    /// What the hub had to say about it.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Keeps the source announced, across every end of the hub. Ends only if the hub cannot be had back. May be
    /// cancelled at any time: the source stays announced for as long as this is not dropped.
    pub async fn keep(&mut self) -> Result<Infallible, BusError> {
        loop {
            if self.connection.next().await.is_ok() {
                continue;
            }
            let patience = self.options.grace;
            match dial(&self.directories, &self.path, &self.subscribe, patience).await {
                Ok((connection, _, _)) => self.connection = connection,
                Err(failure) => return Err(failure.into_error(&self.path, patience)),
            }
        }
    }

    /// Says goodbye: the source leaves, and did not fail. A hub that is gone need not be told.
    pub async fn bye(mut self) {
        let _ = self.connection.bye().await;
    }
}
