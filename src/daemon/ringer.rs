//! How the listener wakes the hub: through the bell of its own process while the hub lives there, else at the
//! doorbell's socket.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::sys::bell::Bell;
use crate::sys::ring::Doorbell;

/// The one that rings. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ringer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bell: Option<Bell>,
    hub_is_here: AtomicBool,
    doorbell: Mutex<Doorbell>,
}

impl Ringer {
    /// A ringer for the hub behind `bell`, if there is one in this process, and the doorbell of others.
    #[must_use]
    pub fn new(bell: Option<Bell>, doorbell: Doorbell) -> Ringer {
        let hub_is_here = AtomicBool::new(bell.is_some());
        Ringer(Arc::new(Inner { bell, hub_is_here, doorbell: Mutex::new(doorbell) }))
    }

    /// The hub of this process has handed over; from now on the socket is rung.
    pub fn hub_has_left(&self) {
        self.0.hub_is_here.store(false, Ordering::Release);
        self.ring();
    }

    /// Rings. Nobody being there is no error: the row is in the log.
    pub fn ring(&self) {
        match &self.0.bell {
            Some(bell) if self.0.hub_is_here.load(Ordering::Acquire) => bell.ring(),
            _ => {
                self.0.doorbell.lock().unwrap_or_else(PoisonError::into_inner).ring();
            }
        }
    }
}
