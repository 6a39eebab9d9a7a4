//! How far a measurement has come, and whether it is to stop: shared with whoever shows the one and decides the other.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::Unmeasured;

/// Counts samples, those of the warm-up too.
#[derive(Debug, Default)]
pub struct Progress {
    sent: AtomicU64,
    stop: AtomicBool,
}

impl Progress {
    /// How many samples have been sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Has the measurement end at its next sample.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// A sample is about to be sent.
    pub(super) fn one_more(&self) -> Result<(), Unmeasured> {
        self.sent.fetch_add(1, Ordering::Relaxed);
        if self.stop.load(Ordering::Relaxed) { Err(Unmeasured::Stopped) } else { Ok(()) }
    }
}
