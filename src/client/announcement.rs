//! Being a source that others can know to be there: a connection to the hub that is kept open, and a goodbye before it
//! ends. Without the goodbye its end is the source's death, which whoever waits for it learns at once.
//!
//! While it is open the source says whether it sees what it is for, and hears who waits for it. Each hub is told and
//! tells anew.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;

use tokio::sync::watch;

use super::BusError;
use super::connection::{Connection, Received};
use super::feed::{Failure, Options, dial};
use crate::config::directories::Directories;
use crate::model::frame::{Health, Said, Subscribe};
use crate::model::limits::{BYE_TIMEOUT, START_TIMEOUT};
use crate::model::source::{Announcement, Demand};

/// A source that has been announced.
#[derive(Debug)]
pub struct Announced {
    directories: Directories,
    path: PathBuf,
    subscribe: Subscribe,
    options: Options,
    link: Link,
    notes: Vec<String>,
    health: watch::Receiver<Health>,
    health_said: watch::Sender<Health>,
    /// What the hub that it has, or that it calls, knows of its health.
    told: Health,
    demand: watch::Sender<Demand>,
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
        let told = announcement.silent.clone().map_or(Health::Alive, |reason| Health::Silent { reason });
        // It wants no events: no event has this source and no id.
        let nothing = vec![vec![format!("source={}", announcement.source), "event_id=null".to_owned()]];
        let subscribe =
            Subscribe { alternatives: nothing, heartbeat: false, announce: Some(announcement), ..Subscribe::default() };
        match dial(directories, &path, &subscribe, START_TIMEOUT).await {
            Ok((connection, _, notes)) => {
                let (link, directories) = (Link::Up(connection), directories.clone());
                let (health_said, health) = watch::channel(told.clone());
                let demand = watch::Sender::default();
                Ok(Announced { directories, path, subscribe, options, link, notes, health, health_said, told, demand })
            }
            Err(failure) => Err(failure.into_error(&path, START_TIMEOUT)),
        }
    }

    /// What the hub had to say about it.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Where to say how well it sees what it is for; [`keep`](Self::keep) tells the hub.
    #[must_use]
    pub fn health(&self) -> watch::Sender<Health> {
        self.health_said.clone()
    }

    /// Who waits for it, if its announcement asked for that. After the end of a hub they come back one by one, and the
    /// next hub tells of those who have.
    #[must_use]
    pub fn demand(&self) -> watch::Receiver<Demand> {
        self.demand.subscribe()
    }

    /// Keeps the source announced, across every end of the hub. Ends only if the hub cannot be had back. May be
    /// cancelled at any time: the source stays announced for as long as this is not dropped.
    pub async fn keep(&mut self) -> Result<Infallible, BusError> {
        loop {
            match &mut self.link {
                Link::Up(connection) => {
                    let health = self.health.borrow_and_update().clone();
                    if health != self.told {
                        connection.say(&Said::Health(health.clone()));
                        self.told = health;
                    }
                    let received = tokio::select! {
                        received = connection.next() => received,
                        Ok(()) = self.health.changed() => continue,
                    };
                    match received {
                        Ok(Received::Demand(demand)) => drop(self.demand.send_replace(demand)),
                        Ok(_) => {}
                        Err(_end) => self.link = Link::Down,
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
    fn call(&mut self) -> Link {
        self.told = self.health.borrow_and_update().clone();
        if let Some(announcement) = &mut self.subscribe.announce {
            announcement.silent = match &self.told {
                Health::Alive => None,
                Health::Silent { reason } => Some(reason.clone()),
            };
        }
        let (directories, path, subscribe) = (self.directories.clone(), self.path.clone(), self.subscribe.clone());
        let patience = self.options.grace;
        Link::Calling(Box::pin(async move {
            let (connection, _, _) = dial(&directories, &path, &subscribe, patience).await?;
            Ok(connection)
        }))
    }

    /// Says goodbye: the source leaves, and did not fail. A hub that is gone need not be told.
    pub async fn bye(self) {
        self.end(Said::Bye).await;
    }

    /// Says why the source cannot go on, and ends with that.
    pub async fn fail(self, reason: String) {
        self.end(Said::Failed { reason }).await;
    }

    async fn end(self, last: Said) {
        let connection = match self.link {
            Link::Up(connection) => Some(connection),
            Link::Calling(called) => tokio::time::timeout(BYE_TIMEOUT, called).await.ok().and_then(Result::ok),
            Link::Down => None,
        };
        if let Some(mut connection) = connection {
            connection.say(&last);
            let _ = connection.flush().await;
        }
    }
}
