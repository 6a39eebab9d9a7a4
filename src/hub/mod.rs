//! The fan-out, without I/O and without a clock: facts come in as calls, and what has to be done comes out when it
//! is asked for.
//!
//! A subscriber is a filter, a cursor and a bounded buffer. One that has been offered every row that the hub has
//! read is *live* and costs nothing until a row concerns it; one that has not is *behind* and is filled from the
//! newest rows in memory ([`ring`]) or from the log, a page at a time, whenever its buffer has room. Replay and
//! live delivery are therefore the same thing, a slow reader is one that is filled later, and nothing has to be
//! remembered across a restart.
//!
//! Whoever drives the hub does, in any order and as often as there is something to do:
//! [`Hub::rang`], [`Hub::subscribe`], [`Hub::disconnected`], [`Hub::writable`], [`Hub::tick`] (facts);
//! [`Hub::next_read`] → [`Hub::offer`] … → [`Hub::read_done`] (rows); [`Hub::next_write`] → [`Hub::outbox`] →
//! [`Hub::wrote`] or [`Hub::blocked`] (bytes); [`Hub::deadline`] (when to call `tick`).

mod asked;
mod facts;
mod index;
mod ring;
mod subscriber;

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::ControlFlow;
use std::time::{Instant, SystemTime};

use bytes::Bytes;

pub use facts::{Identity, Read, SubscriberId, Subscription};

use crate::model::frame::{Control, Gap, PROTO};
use crate::model::id::Seq;
use crate::model::limits;
use crate::model::row::{Position, Resolved, Row};
use index::Index;
use ring::{Entry, Ring};
use subscriber::Subscriber;

/// The state of the fan-out.
#[derive(Debug)]
pub struct Hub {
    identity: Identity,
    subscribers: HashMap<SubscriberId, Subscriber>,
    next_id: u64,
    /// Every subscriber, found by what it waits for.
    index: Index,
    /// The newest rows that were read from the log.
    ring: Ring,
    /// Whether the log may have rows after the newest one read.
    rung: bool,
    /// Subscribers that are behind and have room.
    hungry: VecDeque<SubscriberId>,
    /// Whether the last page was for the end of the log; pages alternate, so that neither side starves.
    tail_was_read: bool,
    /// Subscribers with bytes to write whose sockets are not known to be full.
    sendable: VecDeque<SubscriberId>,
    /// When each subscriber that wants heartbeats has to get the next one.
    heartbeats: BTreeSet<(Instant, SubscriberId)>,
    payload_readers: usize,
    idle_since: Option<Instant>,
    busy_elsewhere: bool,
    delivered: u64,
    unreadable_rows: u64,
}

impl Hub {
    /// A hub that has read the log up to `tail`.
    #[must_use]
    pub fn new(identity: Identity, tail: Position) -> Hub {
        Hub {
            subscribers: HashMap::new(),
            next_id: 0,
            index: Index::default(),
            ring: Ring::new(tail),
            rung: false,
            hungry: VecDeque::new(),
            tail_was_read: false,
            sendable: VecDeque::new(),
            heartbeats: BTreeSet::new(),
            payload_readers: 0,
            idle_since: Some(identity.started),
            busy_elsewhere: false,
            delivered: 0,
            unreadable_rows: 0,
            identity,
        }
    }

    // ---- facts ----

    /// Somebody has committed something.
    pub fn rang(&mut self) {
        self.rung = true;
    }

    /// A new subscriber. Its acknowledgement is the first thing in its buffer.
    pub fn subscribe(&mut self, subscription: Subscription, now: Instant) -> SubscriberId {
        let id = SubscriberId(self.next_id);
        self.next_id += 1;
        let Subscription { filter, since, newest, heartbeat, status } = subscription;
        let start = since.map_or(newest, |(_, resolved)| resolved.position);
        self.index.insert(id, &filter);
        self.payload_readers += usize::from(filter.reads_payload());
        self.idle_since = None;

        let described = status.then(|| self.status(now));
        let mut subscriber = Subscriber::new(filter, start);
        subscriber.push(&Control::SubscribeAck {
            proto: PROTO,
            caught_up_at: since.and((newest.seq > Seq::START).then_some(newest.id)),
            heartbeat_sec: if heartbeat { limits::HEARTBEAT.as_secs() } else { 0 },
            max_frame_bytes: limits::MAX_FRAME_BYTES,
            cursor: start.id,
            notes: Vec::new(),
        });
        if let Some(status) = described {
            subscriber.push(&Control::HubStatus(status));
        }
        if let Some((cursor, Resolved { position, gap: Some(reason) })) = since {
            subscriber.push(&Control::Gap(Gap { reason, since: cursor, resumed_at: position.id, missed: None }));
        }
        if heartbeat {
            self.schedule_heartbeat(&mut subscriber, id, now);
        }
        self.subscribers.insert(id, subscriber);
        self.sendable.push_back(id);
        self.queue(id);
        // It is behind if the log has rows after its cursor that this hub has not read.
        self.rung |= newest.seq > self.ring.tail().seq;
        id
    }

    /// A subscriber is gone.
    pub fn disconnected(&mut self, id: SubscriberId, now: Instant) {
        let Some(subscriber) = self.subscribers.remove(&id) else { return };
        self.index.remove(id);
        self.payload_readers -= usize::from(subscriber.filter.reads_payload());
        if let Some(due) = subscriber.heartbeat_due {
            self.heartbeats.remove(&(due, id));
        }
        self.rest(now);
    }

    /// Another part of this process is in use, or is no more; as long as it is, the hub is not idle.
    pub fn busy_elsewhere(&mut self, busy: bool, now: Instant) {
        self.busy_elsewhere = busy;
        self.rest(now);
    }

    /// A socket that was full has room.
    pub fn writable(&mut self, id: SubscriberId) {
        if let Some(subscriber) = self.subscribers.get_mut(&id)
            && std::mem::take(&mut subscriber.blocked)
        {
            self.sendable.push_back(id);
        }
    }

    /// The clock has reached a deadline; `wall` is the same moment for people.
    pub fn tick(&mut self, now: Instant, wall: SystemTime) {
        while let Some(&(due, id)) = self.heartbeats.first() {
            if due > now {
                break;
            }
            self.heartbeats.pop_first();
            let cursor = self.cursor(id);
            let Some(mut subscriber) = self.subscribers.remove(&id) else { continue };
            // Whoever has something to read knows that the hub is there.
            if subscriber.outbox.is_empty() {
                subscriber.push(&Control::DaemonHeartbeat {
                    ts: wall.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs()),
                    uptime_sec: self.uptime(now),
                    cursor: cursor.id,
                });
                self.sendable.push_back(id);
            }
            self.schedule_heartbeat(&mut subscriber, id, now);
            self.subscribers.insert(id, subscriber);
        }
    }

    /// Tells every subscriber that the hub stops. Nothing more is delivered after it.
    pub fn shut_down(&mut self, reason: &str, retry: bool) {
        for id in self.everybody() {
            let cursor = self.cursor(id).id;
            if let Some(subscriber) = self.subscribers.get_mut(&id) {
                subscriber.push(&Control::Shutdown { reason: reason.to_owned(), retry, cursor });
                subscriber.closing = true;
                if !subscriber.blocked {
                    self.sendable.push_back(id);
                }
            }
        }
        self.hungry.clear();
        self.rung = false;
    }

    // ---- rows ----

    /// Whether [`Hub::next_read`] has to be asked again before anything else happens.
    #[must_use]
    pub fn wants_rows(&self) -> bool {
        self.rung || !self.hungry.is_empty()
    }

    /// The rows that are needed next. `None` means that the sockets may be served first; whether there is more to
    /// read then is what [`Hub::wants_rows`] says.
    pub fn next_read(&mut self) -> Option<Read> {
        if self.rung && (self.hungry.is_empty() || !self.tail_was_read) {
            self.tail_was_read = true;
            let with_payload = self.payload_readers > 0;
            let after = self.ring.tail().seq;
            return Some(Read { reader: None, after, limit: limits::PAGE_ROWS, with_payload });
        }
        self.tail_was_read = false;
        for _ in 0..limits::FED_PER_PASS {
            let Some(id) = self.next_hungry() else { break };
            self.feed_from_memory(id);
            let Some(subscriber) = self.subscribers.get(&id) else { continue };
            if !subscriber.live && subscriber.has_room() {
                let with_payload = subscriber.filter.reads_payload();
                let after = subscriber.cursor.seq;
                return Some(Read { reader: Some(id), after, limit: limits::PAGE_ROWS, with_payload });
            }
        }
        None
    }

    fn next_hungry(&mut self) -> Option<SubscriberId> {
        let id = self.hungry.pop_front()?;
        if let Some(subscriber) = self.subscribers.get_mut(&id) {
            subscriber.queued = false;
        }
        Some(id)
    }

    fn queue(&mut self, id: SubscriberId) {
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
            None => self.rung &= !exhausted,
            Some(id) => {
                let tail = self.ring.tail().seq;
                let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
                // It may have read further than the hub, which then follows on its own.
                self.rung |= subscriber.cursor.seq > tail;
                if !subscriber.outbox.is_empty() && !subscriber.blocked {
                    self.sendable.push_back(id);
                }
                if exhausted || subscriber.cursor.seq >= tail {
                    subscriber.live = true;
                } else if subscriber.has_room() {
                    self.queue(id);
                }
            }
        }
    }

    // ---- bytes ----

    /// The next subscriber with bytes to write.
    pub fn next_write(&mut self) -> Option<SubscriberId> {
        loop {
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
        false
    }

    /// Its socket is full; [`Hub::writable`] says when it has room.
    pub fn blocked(&mut self, id: SubscriberId) {
        if let Some(subscriber) = self.subscribers.get_mut(&id) {
            subscriber.blocked = true;
        }
    }

    // ---- within ----

    fn rest(&mut self, now: Instant) {
        self.idle_since = (self.subscribers.is_empty() && !self.busy_elsewhere).then_some(now);
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
        self.ring.push(entry);
    }

    /// In the order in which they came, so that the same facts always have the same outcome.
    fn everybody(&self) -> Vec<SubscriberId> {
        let mut ids: Vec<_> = self.subscribers.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    fn feed_from_memory(&mut self, id: SubscriberId) {
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
        if subscriber.live {
            return;
        }
        // Rows in memory may have been read without their payloads.
        let from_memory = if subscriber.filter.reads_payload() { None } else { self.ring.after(subscriber.cursor.seq) };
        for entry in from_memory.into_iter().flatten() {
            if !subscriber.has_room() {
                break;
            }
            let cursor = subscriber.cursor;
            self.delivered += subscriber.take(entry, cursor);
        }
        subscriber.live = subscriber.cursor.seq >= self.ring.tail().seq;
        if !subscriber.outbox.is_empty() && !subscriber.blocked {
            self.sendable.push_back(id);
        }
    }

    fn schedule_heartbeat(&mut self, subscriber: &mut Subscriber, id: SubscriberId, now: Instant) {
        let due = now + limits::HEARTBEAT;
        subscriber.heartbeat_due = Some(due);
        self.heartbeats.insert((due, id));
    }
}

/// A frame that is encoded when the first subscriber needs it and shared by all.
type SharedFrame = OnceCell<Bytes>;
