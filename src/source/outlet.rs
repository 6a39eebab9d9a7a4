//! What a worker hands its events to. It waits until they are committed, so a source that is faster than the log, or than
//! its own bound, is slowed down and loses nothing.

use std::future::pending;

use tokio::sync::{mpsc, oneshot, watch};

use crate::config::directories::Directories;
use crate::model::event::Draft;
use crate::model::frame::Health;
use crate::model::source::Demand;
use crate::model::text::one_line;
use crate::store::Appended;

/// Events and the position that is reached with them, on their way to the log.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) drafts: Vec<Draft>,
    pub(super) position: Option<String>,
    pub(super) committed: oneshot::Sender<Vec<Appended>>,
}

/// The way of one worker to the bus.
#[derive(Debug)]
pub struct Outlet {
    pub(super) name: String,
    pub(super) directories: Directories,
    pub(super) position: Option<String>,
    pub(super) batches: mpsc::Sender<Batch>,
    pub(super) health: watch::Sender<Health>,
    pub(super) demand: watch::Receiver<Demand>,
}

impl Outlet {
    /// The name of the source, which its events carry.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directories of this bus.
    #[must_use]
    pub fn directories(&self) -> &Directories {
        &self.directories
    }

    /// The position with which this source last published, before this process began; none if it never has.
    #[must_use]
    pub fn position(&self) -> Option<&str> {
        self.position.as_deref()
    }

    /// Commits events and the position that is reached with them, together, and returns what became of each, in their
    /// order, once they are. A log that is locked or full is waited for. The drafts keep the rules of [`Draft::check`]:
    /// one that does not is left out and named in the service's log.
    pub async fn publish(&self, drafts: Vec<Draft>, position: Option<String>) -> Vec<Appended> {
        let (committed, outcome) = oneshot::channel();
        // The service ends after its worker, so there is somebody; if it does not, the worker is not gone on with.
        if self.batches.send(Batch { drafts, position, committed }).await.is_err() {
            return pending().await;
        }
        match outcome.await {
            Ok(appended) => appended,
            Err(_) => pending().await,
        }
    }

    /// The worker sees what it is for, again or for the first time.
    pub fn seeing(&self) {
        self.set(Health::Alive);
    }

    /// The worker does not see what it is for, and goes on trying. The reason is a sentence for a person; it is cleaned
    /// here. Whoever waits for the source hears it, and goes on waiting: what may have to be waited for for ever is
    /// [`Broken`](super::Broken) instead.
    pub fn silent(&self, reason: impl Into<String>) {
        self.set(Health::Silent { reason: one_line(&reason.into()) });
    }

    /// Who waits for events of this source, and when that changes.
    #[must_use]
    pub fn demand(&self) -> watch::Receiver<Demand> {
        self.demand.clone()
    }

    fn set(&self, health: Health) {
        self.health.send_if_modified(|known| {
            let changes = *known != health;
            *known = health;
            changes
        });
    }
}
