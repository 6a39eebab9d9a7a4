//! Bytes: who has some, and what became of them.

use super::{Hub, SubscriberId};

impl Hub {
    /// The next subscriber with bytes to write.
    pub fn next_write(&mut self) -> Option<SubscriberId> {
        loop {
            if self.sendable.is_empty() {
                self.tell_demand();
            }
            let id = self.sendable.pop_front()?;
            if self.subscribers.get(&id).is_some_and(|subscriber| !subscriber.outbox.is_empty() && !subscriber.blocked)
            {
                return Some(id);
            }
        }
    }

    /// What is to be written to a subscriber, in order.
    pub fn outbox(&self, id: SubscriberId) -> impl Iterator<Item = &[u8]> {
        self.subscribers.get(&id).into_iter().flat_map(|subscriber| subscriber.outbox.slices())
    }

    /// Its socket has taken so many bytes. Returns whether it is done for good: everything up to its `shutdown`
    /// frame is written.
    pub fn wrote(&mut self, id: SubscriberId, bytes: usize) -> bool {
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return false };
        subscriber.outbox.consume(bytes);
        if subscriber.closing {
            if !subscriber.outbox.is_empty() {
                self.sendable.push_back(id);
            }
            return subscriber.outbox.is_empty();
        }
        if !subscriber.outbox.is_empty() {
            self.sendable.push_back(id);
        }
        if subscriber.is_hungry() {
            self.queue(id);
        }
        self.tell(id);
        false
    }

    /// Its socket is full; [`Hub::writable`] says when it has room.
    pub fn blocked(&mut self, id: SubscriberId) {
        if let Some(subscriber) = self.subscribers.get_mut(&id) {
            subscriber.blocked = true;
        }
    }
}
