//! What a worker hands its events to. It waits until they are committed, so a source that is faster than the log, or than
//! its own bound, is slowed down and loses nothing.

use std::future::pending;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot, watch};

use super::throttle::Throttle;
use crate::config::directories::Directories;
use crate::model::event::Draft;
use crate::model::frame::Health;
use crate::model::limits::{SOURCE_BURST_EVENTS, SOURCE_EVENTS_PER_SECOND};
use crate::model::source::Demand;
use crate::model::text::one_line;
use crate::store::Appended;

/// Events and the position that is reached with them, on their way to the log.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) drafts: Vec<Draft>,
    pub(super) position: Option<String>,
    pub(super) committed: oneshot::Sender<Vec<Option<Appended>>>,
}

/// The way of one worker to the bus.
#[derive(Debug)]
pub struct Outlet {
    name: String,
    directories: Directories,
    position: Option<String>,
    batches: mpsc::Sender<Batch>,
    health: watch::Sender<Health>,
    demand: watch::Receiver<Demand>,
    throttle: Mutex<Throttle>,
    /// When the source will have been calm for long enough, while it is held back.
    calm_at: watch::Sender<Option<Instant>>,
}

/// The other end of an outlet.
#[derive(Debug)]
pub(super) struct Handed {
    pub(super) batches: mpsc::Receiver<Batch>,
    pub(super) health: watch::Receiver<Health>,
    pub(super) calm_at: watch::Sender<Option<Instant>>,
}

impl Outlet {
    pub(super) fn new(
        name: String,
        directories: Directories,
        position: Option<String>,
        demand: watch::Receiver<Demand>,
        batches: usize,
    ) -> (Outlet, Handed) {
        let (batches, handed_over) = mpsc::channel(batches);
        let (health, healths) = watch::channel(Health::Alive);
        let calm_at = watch::Sender::default();
        let throttle = Mutex::new(Throttle::new(SOURCE_BURST_EVENTS, SOURCE_EVENTS_PER_SECOND, Instant::now()));
        let handed = Handed { batches: handed_over, health: healths, calm_at: calm_at.clone() };
        (Outlet { name, directories, position, batches, health, demand, throttle, calm_at }, handed)
    }

    /// Where what the service itself has to say goes.
    pub(super) fn batches(&self) -> mpsc::Sender<Batch> {
        self.batches.clone()
    }

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

    /// Commits events and the position that is reached with them, and returns what became of each, in their order, once
    /// they are: together, or a very large batch in parts, of which the last has the position. A log that is locked or
    /// full is waited for, and so is a source that says more than it may. The drafts keep the rules of [`Draft::check`]
    /// and carry the source's name: one that does not is left out, and named in the service's log.
    pub async fn publish(&self, drafts: Vec<Draft>, position: Option<String>) -> Vec<Option<Appended>> {
        let count = drafts.len();
        let (committed, outcome) = oneshot::channel();
        // The service ends after its worker, so there is somebody; if it does not, the worker is not gone on with.
        if self.batches.send(Batch { drafts, position, committed }).await.is_err() {
            return pending().await;
        }
        let Ok(appended) = outcome.await else { return pending().await };
        self.hold_back(count).await;
        appended
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

    /// Waits for as long as what has been said was too much. Events that are published are counted there; this is for
    /// what costs as much and is none.
    pub(super) async fn hold_back(&self, count: usize) {
        let pause = {
            let mut throttle = self.throttle.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let pause = throttle.take(count, now);
            if !pause.is_zero() || self.calm_at.borrow().is_some() {
                self.calm_at.send_replace(Some(now + throttle.until_calm(now)));
            }
            pause
        };
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
}
