//! Ten thousand subscribers and a burst of a million events, with one ring: what the hub holds stays bounded, and
//! everybody gets everything.
//!
//! The log is a function: the row at a place is made when it is read, as often as it is, so that a million of them take
//! no memory and whatever grows is the hub's. `.ci/run full` runs the whole size, which takes a minute of one
//! processor; otherwise it is a hundredth of that.

use std::collections::HashMap;
use std::time::{Instant, UNIX_EPOCH};

use serde_json::json;
use waitbus::hub::{Hub, Identity, SubscriberId, Subscription};
use waitbus::model::event::{Event, Record, ingest_method};
use waitbus::model::event_fields::EventFields;
use waitbus::model::frame::Subscribe;
use waitbus::model::id::{EventId, Seq};
use waitbus::model::limits::{MAX_FRAME_BYTES, OUTBOX_BYTES, PAGE_ROWS};
use waitbus::model::row::{Position, Row};

use crate::harness::seeds;

/// What a frame of an event begins with, up to its name.
const BEFORE_NAME: &[u8] = b"{\"kind\":\"event\",\"event_id\":\"";
const NAME_BYTES: usize = 26;
/// What the socket of somebody slow takes.
const SOCKET_BYTES: usize = 200_000;
/// How often those who are slow read, and everybody's buffer is looked at.
const PASSES_PER_LOOK: usize = 64;
/// What `.ci/run full` sets.
const FULL_SEEDS: usize = 200;

struct Log {
    end: usize,
    crowd: usize,
}

impl Log {
    fn row(&self, number: usize) -> Row {
        let fields = format!("{{\"n\":{},\"text\":\"{}\"}}", number % self.crowd, "x".repeat(20));
        let event = Event {
            id: name(number),
            delivery_id: number.to_string(),
            source: "burst".into(),
            event_type: "finished".into(),
            owner: String::new(),
            repo: String::new(),
            received_at: 0,
            ingest_method: ingest_method::EMIT.into(),
            summary: String::new(),
            fields: EventFields::as_printed(&fields).unwrap(),
        };
        Row::Event(Box::new(Record::new(Seq(i64::try_from(number).unwrap()), event, None)))
    }
}

/// The name of a row is the time that it carries.
fn name(number: usize) -> EventId {
    EventId::at(UNIX_EPOCH + std::time::Duration::from_millis(number as u64))
}

/// Somebody who is owed every `step`th row from `next` on.
struct Owed {
    next: usize,
    step: usize,
    /// Whether its socket is of a bounded size, and read now and then.
    slow: bool,
    /// What has come and not been looked at.
    bytes: Vec<u8>,
    blocked: bool,
}

impl Owed {
    fn read(&mut self) {
        let mut rest = &self.bytes[..];
        while let Some((prefix, after)) = rest.split_first_chunk() {
            let Some((body, after)) = after.split_at_checked(u32::from_be_bytes(*prefix) as usize) else { break };
            rest = after;
            let Some(named) = body.strip_prefix(BEFORE_NAME) else {
                assert!(body.starts_with(b"{\"kind\":\"subscribe_ack\""), "{:?}", String::from_utf8_lossy(body));
                continue;
            };
            let id: EventId = std::str::from_utf8(&named[..NAME_BYTES]).unwrap().parse().unwrap();
            assert_eq!(id.timestamp_ms(), self.next as u64, "what comes next of every {}th row", self.step);
            self.next += self.step;
        }
        self.bytes = rest.to_vec();
    }
}

struct Crowd {
    hub: Hub,
    log: Log,
    owed: HashMap<SubscriberId, Owed>,
}

impl Crowd {
    fn new(log: Log) -> Crowd {
        let started = Instant::now();
        let identity = Identity { pid: 1, activated: false, log_path: String::new(), started, idle_exit: None };
        Crowd { hub: Hub::new(identity, Position::START), log, owed: HashMap::new() }
    }

    fn subscribe(&mut self, conditions: &[String], next: usize, step: usize, slow: bool) {
        let frame = json!({"match": conditions, "heartbeat": false});
        let filter = Subscribe::parse(frame.to_string().as_bytes()).unwrap().filter().unwrap();
        let (since, newest, heartbeat, status, announce, notes) =
            (None, Position::START, false, false, None, Vec::new());
        let subscription = Subscription { filter, since, newest, heartbeat, status, announce, notes };
        let id = self.hub.subscribe(subscription, Instant::now());
        self.owed.insert(id, Owed { next, step, slow, bytes: Vec::new(), blocked: false });
    }

    /// The service's turn: a page, and every write.
    fn pass(&mut self) {
        if let Some(read) = self.hub.next_read() {
            let first = usize::try_from(read.after.0).unwrap() + 1;
            let last = self.log.end.min(first + read.limit - 1);
            assert!(read.limit <= PAGE_ROWS);
            let whole = (first..=last).all(|number| self.hub.offer(&read, self.log.row(number)).is_continue());
            self.hub.read_done(&read, whole && last == self.log.end);
        }
        while let Some(id) = self.hub.next_write() {
            self.bounded(id);
            let owed = self.owed.get_mut(&id).unwrap();
            let mut room = if owed.slow { SOCKET_BYTES - owed.bytes.len() } else { usize::MAX };
            let mut taken = 0;
            for slice in self.hub.outbox(id) {
                let part = &slice[..slice.len().min(room)];
                owed.bytes.extend_from_slice(part);
                (taken, room) = (taken + part.len(), room - part.len());
            }
            if taken == 0 {
                owed.blocked = true;
                self.hub.blocked(id);
                continue;
            }
            if !owed.slow {
                owed.read();
            }
            assert!(!self.hub.wrote(id, taken), "nobody is sent away");
        }
    }

    fn bounded(&self, id: SubscriberId) {
        let bytes: usize = self.hub.outbox(id).map(<[u8]>::len).sum();
        assert!(bytes < OUTBOX_BYTES + MAX_FRAME_BYTES, "{bytes} bytes wait for one subscriber");
    }

    /// Those who are slow read what has come.
    fn read_slowly(&mut self) {
        for (id, owed) in self.owed.iter_mut().filter(|(_, owed)| owed.slow) {
            owed.read();
            if std::mem::take(&mut owed.blocked) {
                self.hub.writable(*id);
            }
        }
    }

    fn is_served(&self) -> bool {
        self.owed.values().all(|owed| owed.next > self.log.end)
    }
}

/// A burst went out one page for each ring, and a reader that did not keep up was sent away or held all of it in memory.
#[test]
fn a_burst_reaches_a_crowd_whole_and_the_hub_holds_no_more_than_it_may() {
    let share = if seeds(1).count() >= FULL_SEEDS { 1 } else { 100 };
    let (end, crowd) = (1_000_000 / share, 10_000 / share);
    let mut world = Crowd::new(Log { end, crowd });
    for number in 0..crowd {
        let first = if number == 0 { crowd } else { number };
        world.subscribe(&[format!("n={number}")], first, crowd, false);
    }
    for slow in [false, true, true] {
        world.subscribe(&[], 1, 1, slow);
    }
    // They have been acknowledged before anything happens.
    while world.hub.wants_rows() {
        world.pass();
    }
    world.hub.rang();
    // In each pass somebody takes a frame at least, and those who are slow read after a few.
    let bound = 10 * end;
    for pass in 0..bound {
        world.pass();
        if pass % PASSES_PER_LOOK == 0 || !world.hub.wants_rows() {
            world.read_slowly();
            world.owed.keys().for_each(|&id| world.bounded(id));
            if world.is_served() {
                assert!(!world.hub.wants_rows() && world.hub.next_write().is_none(), "nobody wants anything more");
                return;
            }
        }
    }
    panic!("after {bound} passes somebody still waits");
}
