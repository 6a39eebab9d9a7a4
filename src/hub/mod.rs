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
//! [`Hub::came`], [`Hub::went`], [`Hub::rang`], [`Hub::subscribe`], [`Hub::bye`], [`Hub::health`],
//! [`Hub::disconnected`], [`Hub::writable`], [`Hub::tick`] (facts);
//! [`Hub::next_read`] → [`Hub::offer`] … → [`Hub::read_done`] (rows); [`Hub::next_question`] → [`Hub::judged`] (what is
//! decided beside the loop); [`Hub::next_write`] → [`Hub::outbox`] → [`Hub::wrote`] or [`Hub::blocked`] (bytes);
//! [`Hub::deadline`] (when to call `tick`).

mod asked;
mod demand;
mod facts;
mod index;
mod judging;
mod ring;
mod rows;
mod sources;
mod subscriber;
mod writes;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Instant, SystemTime};

pub use facts::{Identity, Read, SubscriberId, Subscription};
pub use judging::{Lane, Opinion, Question};

use crate::model::frame::{Control, Gap, PROTO};
use crate::model::id::Seq;
use crate::model::limits;
use crate::model::row::{Position, Resolved};
use demand::Demands;
use index::Index;
use judging::Docket;
use ring::Ring;
use sources::Sources;
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
    /// What has to be decided beside the loop.
    docket: Docket,
    /// The sources that have announced themselves.
    sources: Sources,
    /// Who waits for them.
    demands: Demands,
    /// Subscribers that have not been told yet how some source is.
    owed: BTreeSet<SubscriberId>,
    idle_since: Option<Instant>,
    /// How many have come in and not subscribed yet.
    guests: usize,
    used_elsewhere: bool,
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
            docket: Docket::default(),
            sources: Sources::default(),
            demands: Demands::default(),
            owed: BTreeSet::new(),
            idle_since: Some(identity.started),
            guests: 0,
            used_elsewhere: false,
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

    /// Somebody has come in, and will subscribe or go. As long as somebody is there, the hub is not idle.
    pub fn came(&mut self) {
        self.guests += 1;
        self.idle_since = None;
    }

    /// One of those who came is a guest no more: it has subscribed, or has gone without.
    pub fn went(&mut self, now: Instant) {
        self.guests = self.guests.saturating_sub(1);
        self.rest(now);
    }

    /// Somebody is at the door and will come in: to be idle begins anew.
    pub fn knocked(&mut self, now: Instant) {
        self.rest(now);
    }

    /// A new subscriber. Its acknowledgement is the first thing in its buffer.
    pub fn subscribe(&mut self, subscription: Subscription, now: Instant) -> SubscriberId {
        let id = SubscriberId(self.next_id);
        self.next_id += 1;
        let Subscription { filter, since, newest, heartbeat, status, announce, mut notes } = subscription;
        let start = since.map_or(newest, |(_, resolved)| resolved.position);
        self.index.insert(id, &filter);
        self.idle_since = None;

        match announce {
            Some(announcement) => notes.extend(self.announce(id, announcement, now)),
            None => self.demands.come(id, &filter),
        }
        let described = status.then(|| self.status(now));
        let mut subscriber = Subscriber::new(filter, start);
        subscriber.push(&Control::SubscribeAck {
            proto: PROTO,
            caught_up_at: since.and((newest.seq > Seq::START).then_some(newest.id)),
            heartbeat_sec: if heartbeat { limits::HEARTBEAT.as_secs() } else { 0 },
            max_frame_bytes: limits::MAX_FRAME_BYTES,
            cursor: start.id,
            notes,
            log_path: self.identity.log_path.clone(),
        });
        if let Some(status) = described {
            subscriber.push(&Control::HubStatus(status));
        }
        if let Some(news) = self.demands.news(id) {
            subscriber.push(&news);
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
        self.owe_absences(id, newest.seq);
        // It is behind if the log has rows after its cursor that this hub has not read.
        self.rung |= newest.seq > self.ring.tail().seq;
        id
    }

    /// A subscriber is gone.
    pub fn disconnected(&mut self, id: SubscriberId, now: Instant) {
        let Some(subscriber) = self.subscribers.remove(&id) else { return };
        self.index.remove(id);
        self.owed.remove(&id);
        self.source_ended(id, now);
        self.demands.go(id);
        if let Some(due) = subscriber.heartbeat_due {
            self.heartbeats.remove(&(due, id));
        }
        self.rest(now);
    }

    /// Another part of this process is in use, which is why the hub is not idle, until [`Hub::unused_elsewhere`].
    pub fn used_elsewhere(&mut self) {
        (self.used_elsewhere, self.idle_since) = (true, None);
    }

    /// The other part has not been in use since then.
    pub fn unused_elsewhere(&mut self, since: Instant) {
        if std::mem::take(&mut self.used_elsewhere) {
            self.rest(since);
        }
        self.idle_since = self.idle_since.map(|idle_since| idle_since.max(since));
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
        self.docket.close();
        self.rung = false;
    }

    // ---- within ----

    fn rest(&mut self, now: Instant) {
        let idle = self.subscribers.is_empty() && self.guests == 0 && !self.used_elsewhere;
        self.idle_since = idle.then_some(now);
    }

    /// In the order in which they came, so that the same facts always have the same outcome.
    fn everybody(&self) -> Vec<SubscriberId> {
        let mut ids: Vec<_> = self.subscribers.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    fn schedule_heartbeat(&mut self, subscriber: &mut Subscriber, id: SubscriberId, now: Instant) {
        let due = now + limits::HEARTBEAT;
        subscriber.heartbeat_due = Some(due);
        self.heartbeats.insert((due, id));
    }
}
