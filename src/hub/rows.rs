//! Rows: which ones the hub needs next, and to whom they go.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::judging::Lane;
use super::ring::Entry;
use super::{Hub, Read, SubscriberId};
use crate::model::limits;
use crate::model::row::Row;

impl Hub {
    /// Whether [`Hub::next_read`] has to be asked again before anything else happens.
    #[must_use]
    pub fn wants_rows(&self) -> bool {
        self.rung || !self.hungry.is_empty() || self.docket.has_turns()
    }

    /// The rows that are needed next. `None` means that the sockets may be served first; whether there is more to
    /// read then is what [`Hub::wants_rows`] says.
    pub fn next_read(&mut self) -> Option<Read> {
        // They are marked as queued already.
        self.hungry.extend(self.docket.turns());
        if self.rung && (self.hungry.is_empty() || !self.tail_was_read) {
            self.tail_was_read = true;
            let after = self.ring.tail().seq;
            return Some(Read { reader: None, after, limit: limits::PAGE_ROWS });
        }
        self.tail_was_read = false;
        for _ in 0..limits::FED_PER_PASS {
            let Some(id) = self.next_hungry() else { break };
            let read = match self.lane(id) {
                Some(lane) => self.gather(id, lane),
                None => self.feed(id),
            };
            if read.is_some() {
                return read;
            }
        }
        None
    }

    fn lane(&self, id: SubscriberId) -> Option<Lane> {
        self.subscribers.get(&id)?.lane
    }

    fn next_hungry(&mut self) -> Option<SubscriberId> {
        let id = self.hungry.pop_front()?;
        if let Some(subscriber) = self.subscribers.get_mut(&id) {
            subscriber.queued = false;
        }
        Some(id)
    }

    pub(super) fn queue(&mut self, id: SubscriberId) {
        if let Some(subscriber) = self.subscribers.get_mut(&id)
            && !std::mem::replace(&mut subscriber.queued, true)
        {
            self.hungry.push_back(id);
        }
    }

    /// One row of a read, in order. Breaks when its reader can take no more.
    pub fn offer(&mut self, read: &Read, row: Row) -> ControlFlow<()> {
        match read.reader {
            None => {
                self.offer_to_all(row);
                ControlFlow::Continue(())
            }
            Some(id) if self.lane(id).is_some() => {
                if self.gather_from_log(id, row) {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            }
            Some(id) => {
                let entry = Entry::new(row);
                let Some(subscriber) = self.subscribers.get_mut(&id) else { return ControlFlow::Break(()) };
                if !subscriber.has_room() {
                    return ControlFlow::Break(());
                }
                let cursor = subscriber.cursor;
                self.delivered += subscriber.take(&entry, cursor);
                ControlFlow::Continue(())
            }
        }
    }

    /// A read is over; `exhausted` says that the log has no row after the last one offered.
    pub fn read_done(&mut self, read: &Read, exhausted: bool) {
        match read.reader {
            None => {
                self.rung &= !exhausted;
                if exhausted {
                    self.tell_changes();
                }
            }
            Some(id) => match self.lane(id) {
                Some(lane) => self.gathered_from_log(id, lane, exhausted),
                None => {
                    let Some(subscriber) = self.subscribers.get(&id) else { return };
                    // It may have read further than the hub, which then follows on its own.
                    self.rung |= subscriber.cursor.seq > self.ring.tail().seq;
                    self.settle(id, exhausted);
                }
            },
        }
    }

    fn offer_to_all(&mut self, row: Row) {
        let before = self.ring.tail();
        let entry = Entry::new(row);
        self.unreadable_rows += u64::from(matches!(entry.row, Row::Unreadable(_)));
        let concerned = match &entry.row {
            Row::Event(record) => self.index.candidates(record),
            Row::Unreadable(_) | Row::Lost(_) => self.everybody(),
        };
        for id in concerned {
            let Some(subscriber) = self.subscribers.get_mut(&id) else { continue };
            if !subscriber.live {
                continue;
            }
            if subscriber.lane.is_some() {
                if subscriber.filter.may_concern(&entry.row) {
                    subscriber.fall_behind(before);
                    self.queue(id);
                }
                continue;
            }
            if !subscriber.has_room() {
                subscriber.fall_behind(before);
                continue;
            }
            let cursor = subscriber.position(before);
            let was_empty = subscriber.outbox.is_empty();
            self.delivered += subscriber.take(&entry, cursor);
            if was_empty && !subscriber.outbox.is_empty() && !subscriber.blocked {
                self.sendable.push_back(id);
            }
        }
        self.ring.push(Arc::new(entry));
    }

    /// Fills a subscriber from memory, or says what to read for it.
    fn feed(&mut self, id: SubscriberId) -> Option<Read> {
        let subscriber = self.subscribers.get_mut(&id)?;
        if subscriber.live {
            return None;
        }
        for entry in self.ring.after(subscriber.cursor.seq).into_iter().flatten() {
            if !subscriber.has_room() {
                break;
            }
            let cursor = subscriber.cursor;
            self.delivered += subscriber.take(entry, cursor);
        }
        subscriber.live = subscriber.cursor.seq >= self.ring.tail().seq;
        let after = subscriber.cursor.seq;
        let read = Read { reader: Some(id), after, limit: limits::PAGE_ROWS };
        let wanted = !subscriber.live && subscriber.has_room();
        if !subscriber.outbox.is_empty() && !subscriber.blocked {
            self.sendable.push_back(id);
        }
        self.tell(id);
        wanted.then_some(read)
    }
}
