//! Being a source that others can know to be there: a connection to the hub that is kept open, and a goodbye before it
//! ends. Without the goodbye its end is the source's death, which whoever waits for it learns at once.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;

use super::BusError;
use super::connection::Connection;
use super::feed::{Failure, Options, dial};
use crate::config::directories::Directories;
use crate::model::frame::Subscribe;
use crate::model::limits::{BYE_TIMEOUT, START_TIMEOUT};
use crate::model::source::Announcement;

/// A source that has been announced.
#[derive(Debug)]
pub struct Announced {
    directories: Directories,
    path: PathBuf,
    subscribe: Subscribe,
    options: Options,
    link: Link,
    notes: Vec<String>,
}

/// What it has of the hub.
enum Link {
    /// The hub has acknowledged it.
    Up(Connection),
    /// The hub has ended, and is called again. The next one may have heard the announcement already, so this is gone on
    /// with and never given up half-way: the end of that connection would be taken for the source's death.
    Calling(Pin<Box<dyn Future<Output = Result<Connection, Failure>> + Send>>),
    /// The hub has ended, and is not called.
    Down,
}

impl fmt::Debug for Link {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Link::Up(_) => "Up",
            Link::Calling(_) => "Calling",
            Link::Down => "Down",
        })
    }
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
                let link = Link::Up(connection);
                Ok(Announced { directories: directories.clone(), path, subscribe, options, link, notes })
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
            match &mut self.link {
                Link::Up(connection) => {
                    if connection.next().await.is_err() {
                        self.link = Link::Down;
                    }
                }
                Link::Down => self.link = self.call(),
                Link::Calling(called) => match called.await {
                    Ok(connection) => self.link = Link::Up(connection),
                    Err(failure) => {
                        self.link = Link::Down;
                        return Err(failure.into_error(&self.path, self.options.grace));
                    }
                },
            }
        }
    }

    /// A call of the hub, of its own, so that whoever stops waiting for it does not end it.
    fn call(&self) -> Link {
        let (directories, path, subscribe) = (self.directories.clone(), self.path.clone(), self.subscribe.clone());
        let patience = self.options.grace;
        Link::Calling(Box::pin(async move {
            let (connection, _, _) = dial(&directories, &path, &subscribe, patience).await?;
            Ok(connection)
        }))
    }

    /// Says goodbye: the source leaves, and did not fail. A hub that is gone need not be told.
    pub async fn bye(self) {
        let connection = match self.link {
            Link::Up(connection) => Some(connection),
            Link::Calling(called) => tokio::time::timeout(BYE_TIMEOUT, called).await.ok().and_then(Result::ok),
            Link::Down => None,
        };
        if let Some(mut connection) = connection {
            let _ = connection.bye().await;
        }
    }
}
