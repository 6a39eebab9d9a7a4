//! The bell that wakes the hub. Any number of rings before the hub looks are one, and any task or thread can ring without
//! waiting. A ring that finds the hub at work costs no system call.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::task::consume_budget;

/// The end that is rung. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Bell(Arc<Notify>);

/// The end that is heard.
#[derive(Debug)]
pub struct BellReceiver(Arc<Notify>);

impl Bell {
    /// Rings. Never blocks and never fails: a bell that has been rung stays so until it is heard.
    pub fn ring(&self) {
        self.0.notify_one();
    }
}

impl BellReceiver {
    /// Waits for a ring, and takes all that have come together. A ring that comes when nobody waits any more is kept.
    pub async fn rung(&self) {
        // Those who ring without a pause do not keep the loop from everything else.
        consume_budget().await;
        self.0.notified().await;
    }
}

/// A new bell.
#[must_use]
pub fn bell() -> (Bell, BellReceiver) {
    let bell = Arc::new(Notify::new());
    (Bell(Arc::clone(&bell)), BellReceiver(bell))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn many_rings_before_it_is_heard_are_one() {
        let (bell, heard) = bell();
        for _ in 0..10_000 {
            bell.ring();
        }
        heard.rung().await;
        let again = tokio::time::timeout(std::time::Duration::from_millis(1), heard.rung()).await;
        assert!(again.is_err(), "nothing is left to hear");
        bell.clone().ring();
        heard.rung().await;
    }

    #[tokio::test]
    async fn a_ring_is_not_lost_with_whoever_stops_waiting_for_it() {
        let (bell, heard) = bell();
        // As a loop that waits for several things does at each turn.
        for _ in 0..1_000 {
            let mut waiting = Box::pin(heard.rung());
            tokio::select! { biased; () = &mut waiting => unreachable!(), () = tokio::task::yield_now() => {} }
            bell.ring();
            drop(waiting);
            heard.rung().await;
        }
    }
}
