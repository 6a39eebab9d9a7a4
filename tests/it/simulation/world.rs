//! One history: a hub, its log and its clients, and the steps that chance takes with them. The world drives the hub as
//! the broadcast service does, with sockets and a clock of its own.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use waitbus::hub::{Hub, Identity, Lane, Opinion, Question, Read, SubscriberId, Subscription};
use waitbus::model::frame::{Health, Subscribe};
use waitbus::model::id::{EventId, Seq};
use waitbus::model::limits::{
    HEARTBEAT, JUDGED_ROWS, MAX_FRAME_BYTES, OUTBOX_BYTES, PAGE_ROWS, QUESTIONS_PER_LANE, WRITE_SLICES,
};
use waitbus::model::row::{Position, Resolved, Row};

use super::Profile;
use super::client::{Client, Connection};
use super::log::Log;
use super::shelf::Shelf;
use super::wanted::SOURCES;
use crate::random::Random;

pub struct World {
    pub random: Random,
    pub profile: Profile,
    pub shelf: Shelf,
    pub log: Log,
    pub hub: Hub,
    pub clients: Vec<Client>,
    /// What has been asked and not been answered.
    questions: Vec<Question>,
    /// The connections that are sources.
    sources: Vec<Speaker>,
    /// How each source is, and the number that it told of itself last.
    states: HashMap<&'static str, (&'static str, u64)>,
    /// Where the log ended when each source last became silent.
    silent_since: HashMap<&'static str, usize>,
    announcements: u64,
    /// The newest row that the hub has been told of, by the bell or by a subscription.
    told: usize,
    /// Whether the hub is shutting down.
    stopping: bool,
    start: Instant,
    /// Milliseconds since the start.
    pub elapsed: u64,
    /// What has happened, for whoever has to find out why it went wrong.
    trace: Vec<String>,
}

/// A connection that is a source.
struct Speaker {
    id: SubscriberId,
    source: &'static str,
    silent: bool,
    /// Who waits for it, as it was told last.
    demand: Option<Value>,
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the history so far:\n{}", self.trace.join("\n"));
        }
    }
}

/// When every history begins, in milliseconds since the epoch.
pub const BEGINNING_MS: u64 = 1_700_000_000_000;

impl World {
    pub fn new(seed: u64, profile: Profile) -> World {
        let mut random = Random::new(seed);
        let shelf = Shelf::new();
        let start = Instant::now();
        let hub = hub(&shelf, start);
        let clients = (0..random.within(1..=5)).map(|_| Client::random(&mut random)).collect();
        World {
            random,
            profile,
            shelf,
            log: Log::new(),
            hub,
            clients,
            questions: Vec::new(),
            sources: Vec::new(),
            states: HashMap::new(),
            silent_since: HashMap::new(),
            announcements: 0,
            told: 0,
            stopping: false,
            start,
            elapsed: 0,
            trace: Vec::new(),
        }
    }

    pub fn note(&mut self, what: String) {
        self.trace.push(what);
    }

    pub fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(BEGINNING_MS + self.elapsed)
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_millis(self.elapsed)
    }

    pub fn ring(&mut self) {
        self.note("ring".into());
        self.told = self.log.end();
        self.hub.rang();
    }

    /// Subscribes a client that has no connection, after `since`.
    pub fn connect(&mut self, index: usize, since: Option<EventId>) {
        let client = &self.clients[index];
        let (heartbeat, status) = (client.heartbeat, self.random.chance(10));
        let mut frame = client.wanted.frame();
        frame["since"] = json!(since);
        frame["heartbeat"] = json!(heartbeat);
        frame["status"] = json!(status);
        self.note(format!("connect {index}: {frame}"));
        let subscribe = Subscribe::parse(frame.to_string().as_bytes()).unwrap();
        let newest = self.shelf.reader.newest().unwrap();
        assert_eq!(newest, place(self.log.newest()), "the newest row");
        let resolved = subscribe.since.map(|cursor| (cursor, self.shelf.reader.resolve(cursor).unwrap()));
        let expected = since.map(|cursor| self.log.resolve(cursor));
        let simple = |Resolved { position, gap }: Resolved| (position, gap.map(|gap| json!(gap)));
        let (found, meant) = (
            resolved.map(|(_, resolved)| simple(resolved)),
            expected.map(|(at, gap)| (place(at), gap.map(|gap| json!(gap)))),
        );
        assert_eq!(found, meant, "where {since:?} points");

        let ((at, cursor), gap) = expected.unwrap_or((self.log.newest(), None));
        let caught_up_at = since.filter(|_| newest.seq > Seq::START).map(|_| newest.id);
        let mut first = vec![json!({
            "kind": "subscribe_ack", "proto": 1, "caught_up_at": caught_up_at, "cursor": cursor,
            "heartbeat_sec": if heartbeat { HEARTBEAT.as_secs() } else { 0 }, "max_frame_bytes": MAX_FRAME_BYTES,
        })];
        if status {
            first.push(json!({"kind": "hub_status", "activated": false, "subscribers": self.hub.subscribers()}));
        }
        if let Some(reason) = gap {
            let missed = Value::Null;
            first
                .push(json!({"kind": "gap", "reason": reason, "since": since, "resumed_at": cursor, "missed": missed}));
        }
        let filter = subscribe.filter().unwrap();
        let subscription =
            Subscription { filter, since: resolved, newest, heartbeat, status, announce: None, notes: Vec::new() };
        let id = self.hub.subscribe(subscription, self.now());
        self.told = self.log.end();
        let capacity = self.random.pick(&[1_500, 20_000, 100_000, 400_000]);
        self.clients[index].connection = Some(Connection::new(id, capacity, at, first));
    }

    /// A client hangs up. What it has not read is lost with the socket.
    pub fn disconnect(&mut self, index: usize) {
        if let Some(connection) = self.clients[index].connection.take() {
            self.note(format!("disconnect {index}"));
            self.hub.disconnected(connection.id, self.now());
        }
    }

    /// A client reads what its socket holds, which makes room in it.
    pub fn read(&mut self, index: usize) -> bool {
        let client = &mut self.clients[index];
        let progress = client.read(&self.log);
        if let Some(connection) = &mut client.connection
            && std::mem::take(&mut connection.blocked)
        {
            self.hub.writable(connection.id);
        }
        progress
    }

    /// One page, if the hub wants one. Returns whether it did.
    pub fn page(&mut self) -> bool {
        let read = self.hub.next_read();
        self.take_questions();
        let Some(read) = read else { return false };
        let Read { after, limit, .. } = read;
        let mut rows = 0;
        let World { hub, shelf, .. } = self;
        let visit = &mut |row| {
            rows += 1;
            hub.offer(&read, row)
        };
        let exhausted = shelf.reader.scan(after, limit, false, visit).unwrap();
        assert!(rows <= PAGE_ROWS + 1, "a page of {rows} rows");
        self.note(format!("page: {read:?}, {rows} rows, exhausted: {exhausted}"));
        self.hub.read_done(&read, exhausted);
        self.take_questions();
        for index in 0..self.clients.len() {
            self.bounded(index);
        }
        true
    }

    /// A source comes.
    pub fn announce(&mut self) {
        let source = self.random.pick(&SOURCES);
        self.announcements += 1;
        let number = self.announcements;
        let nothing = [format!("source={source}"), "event_id=null".to_owned()];
        let silent = self.random.chance(20);
        let announcement = json!({"source": source, "detail": {"n": number}, "demand": true, "silent": silent.then(|| number.to_string())});
        let frame = json!({"match": nothing, "heartbeat": false, "announce": announcement});
        let Subscribe { announce, .. } = Subscribe::parse(frame.to_string().as_bytes()).unwrap();
        let filter = Subscribe::parse(frame.to_string().as_bytes()).unwrap().filter().unwrap();
        let newest = self.shelf.reader.newest().unwrap();
        let (since, heartbeat, status, notes) = (None, false, false, Vec::new());
        let subscription = Subscription { filter, since, newest, heartbeat, status, announce, notes };
        let id = self.hub.subscribe(subscription, self.now());
        self.note(format!("source {number} comes: {source}, silent: {silent}"));
        self.sources.push(Speaker { id, source, silent, demand: None });
        let (before, _) = self.states.get(source).copied().unwrap_or_default();
        self.states.insert(source, (before, number));
        self.is_there(source, number);
    }

    /// A source says how well it sees.
    pub fn say_health(&mut self) {
        if self.sources.is_empty() {
            return;
        }
        let index = self.random.within(0..=self.sources.len() - 1);
        let silent = self.random.chance(50);
        self.sources[index].silent = silent;
        let (id, source) = (self.sources[index].id, self.sources[index].source);
        self.announcements += 1;
        let reason = self.announcements;
        let health = if silent { Health::Silent { reason: reason.to_string() } } else { Health::Alive };
        self.hub.health(id, health, self.now());
        self.note(format!("a source says: {source}, silent: {silent}"));
        self.is_there(source, reason);
    }

    /// A source is there, and silent if every connection that speaks for it says so; `reason` is a new one.
    fn is_there(&mut self, source: &'static str, reason: u64) {
        let silent = self.sources.iter().filter(|speaker| speaker.source == source).all(|speaker| speaker.silent);
        // A newer reason takes the place of one that has not been told everywhere; it needs no more to come before it.
        let end = match self.states[source] {
            ("silent", _) => self.silent_since[source],
            _ => self.log.end(),
        };
        self.log.silences.entry(reason).or_insert(end);
        self.changes(source, if silent { "silent" } else { "alive" });
    }

    fn changes(&mut self, source: &'static str, state: &'static str) {
        let (before, number) = self.states[source];
        if before != state {
            self.states.insert(source, (state, number));
            if state == "silent" {
                self.silent_since.insert(source, self.log.end());
            } else if state != "alive" {
                self.log.ends.insert(number, self.log.end());
            }
            // The hub reads the log to its end before it tells.
            self.told = self.log.end();
        }
    }

    /// A source ends, with a goodbye or without one.
    pub fn end_source(&mut self) {
        if self.sources.is_empty() {
            return;
        }
        let Speaker { id, source, .. } = self.sources.remove(self.random.within(0..=self.sources.len() - 1));
        let bye = self.random.chance(50);
        if bye {
            self.hub.bye(id);
        }
        self.hub.disconnected(id, self.now());
        self.note(format!("a source ends: {source}, with a goodbye: {bye}"));
        if self.sources.iter().all(|other| other.source != source) {
            self.changes(source, if bye { "gone" } else { "dead" });
        } else {
            self.announcements += 1;
            self.is_there(source, self.announcements);
        }
    }

    /// Whether every source has been told who waits for it.
    fn every_source_knows(&self) {
        for Speaker { source, demand, .. } in &self.sources {
            let there = self.clients.iter().filter(|client| client.connection.is_some());
            let waiting: BTreeSet<_> = there.flat_map(|client| client.wanted.demands(source)).collect();
            let told = demand
                .as_ref()
                .map(|demand| demand["filters"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()));
            let told: Option<BTreeSet<_>> = told.map(|told| told.map(str::to_owned).collect());
            assert_eq!(told, Some(waiting), "who waits for {source}");
        }
    }

    /// Whether everybody has heard of every source that is not there what there is to hear.
    fn everybody_knows(&self) {
        for (index, client) in self.clients.iter().enumerate() {
            let Some(connection) = &client.connection else { continue };
            for (source, (state, number)) in &self.states {
                let told = connection.told.get(*source).map(|(state, number)| (&**state, *number));
                let must = *state != "alive" && client.wanted.could_concern(source);
                assert!(
                    // Another connection that is silent, too, says it with another number, and is no news.
                    !must
                        || told.is_some_and(
                            |(told, told_number)| told == *state && (told == "silent" || told_number == *number)
                        ),
                    "client {index} was told {told:?} of {source}: {state}"
                );
                assert!(
                    told.is_none_or(|(told, _)| told == *state),
                    "client {index}: {source} is {state}, not {told:?}"
                );
            }
        }
    }

    fn take_questions(&mut self) {
        while let Some(question) = self.hub.next_question() {
            assert!(question.rows().next().is_some() && question.rows().count() <= JUDGED_ROWS, "{question:?}");
            self.questions.push(question);
            assert!(self.questions.len() <= Lane::ALL.len() * QUESTIONS_PER_LANE);
        }
    }

    /// Somebody answers a question, whole or only its beginning. Returns whether there was one.
    pub fn answer(&mut self) -> bool {
        if self.questions.is_empty() {
            return false;
        }
        let question = self.questions.remove(self.random.within(0..=self.questions.len() - 1));
        let filter = &question.filter;
        let opinions = question.rows().map(|row| match row {
            Row::Event(record) if filter.reads_payload() => match self.shelf.reader.at(record.seq).unwrap() {
                Some(record) if filter.wants(&record) => Opinion::Wanted,
                Some(_) => Opinion::Unwanted,
                None => Opinion::Lost,
            },
            Row::Event(record) if !filter.wants(record) => Opinion::Unwanted,
            _ => Opinion::Wanted,
        });
        let mut opinions: Vec<_> = opinions.collect();
        if self.random.chance(20) {
            opinions.truncate(self.random.within(1..=opinions.len()));
        }
        self.note(format!("{question:?} is answered: {opinions:?}"));
        self.hub.judged(question, &opinions);
        for index in 0..self.clients.len() {
            self.bounded(index);
        }
        true
    }

    /// Nobody's buffer exceeds its bound by more than the frame that reached it, and the farewell.
    fn bounded(&self, index: usize) {
        let Some(connection) = &self.clients[index].connection else { return };
        let sizes: Vec<usize> = self.hub.outbox(connection.id).map(<[u8]>::len).collect();
        let allowed = 1 + usize::from(self.stopping);
        let before: usize = sizes.iter().rev().skip(allowed).sum();
        assert!(before < OUTBOX_BYTES, "client {index}: {sizes:?}");
    }

    /// One write, if the hub has something to write. Returns whether it had.
    pub fn write(&mut self) -> bool {
        let Some(id) = self.hub.next_write() else { return false };
        if let Some(speaker) = self.sources.iter_mut().find(|speaker| speaker.id == id) {
            let all: Vec<u8> = self.hub.outbox(id).flatten().copied().collect();
            let mut rest = &all[..];
            while let Some((prefix, after)) = rest.split_first_chunk() {
                let (body, after) = after.split_at(u32::from_be_bytes(*prefix) as usize);
                let frame: Value = serde_json::from_slice(body).unwrap();
                if frame["kind"] == "demand" {
                    assert_ne!(speaker.demand.as_ref(), Some(&frame), "the same is told once");
                    speaker.demand = Some(frame);
                }
                rest = after;
            }
            if self.hub.wrote(id, all.len()) {
                self.hub.disconnected(id, self.now());
            }
            return true;
        }
        let index = self.client(id);
        self.bounded(index);
        let waiting: usize = self.hub.outbox(id).take(WRITE_SLICES).map(<[u8]>::len).sum();
        assert!(waiting > 0, "a write of nothing");
        let connection = self.clients[index].connection.as_mut().unwrap();
        let room = connection.room().min(waiting);
        if room == 0 {
            connection.blocked = true;
            self.hub.blocked(id);
            return true;
        }
        let taken = if self.random.chance(70) { room } else { self.random.within(1..=room) };
        let mut left = taken;
        for slice in self.hub.outbox(id) {
            let part = &slice[..left.min(slice.len())];
            connection.socket.extend_from_slice(part);
            left -= part.len();
        }
        if self.hub.wrote(id, taken) {
            connection.closed = true;
            self.hub.disconnected(id, self.now());
        }
        true
    }

    fn client(&self, id: SubscriberId) -> usize {
        let is_it = |client: &Client| client.connection.as_ref().is_some_and(|connection| connection.id == id);
        self.clients.iter().position(is_it).expect("the hub writes to those who are there")
    }

    /// Time passes; the hub is called where it asked for that.
    pub fn pass_time(&mut self, ms: u64) {
        self.note(format!("{ms} ms pass"));
        self.elapsed += ms;
        let (now, wall) = (self.now(), self.wall());
        if self.hub.deadline().is_some_and(|deadline| deadline <= now) {
            self.hub.tick(now, wall);
        }
        let wants = |client: &Client| client.heartbeat && client.connection.as_ref().is_some_and(|it| !it.closed);
        let wanted = self.clients.iter().any(wants);
        assert_eq!(
            self.hub.deadline().map(|deadline| deadline > now),
            wanted.then_some(true),
            "a deadline for nothing"
        );
    }

    /// The hub ends, by the rules or not, and another one begins on the same log.
    pub fn restart(&mut self, by_the_rules: bool) {
        self.note(format!("restart, by the rules: {by_the_rules}"));
        if by_the_rules {
            self.stopping = true;
            self.hub.shut_down("stopping", true);
            assert_eq!(self.hub.next_read(), None, "a hub that stops reads no more");
            if self.random.chance(20) {
                // Somebody rings nevertheless, and whoever drives it looks: nothing comes after the farewell.
                self.ring();
                self.page();
                self.answer();
            }
            // Some of them never read; the service does not wait for those for ever.
            let stuck = self.random.within(0..=self.clients.len());
            let mut busy = true;
            while busy {
                busy = self.write();
                for index in (0..self.clients.len()).filter(|&index| index != stuck) {
                    busy |= self.read(index);
                }
            }
            for (index, client) in self.clients.iter().enumerate() {
                assert!(
                    index == stuck || client.connection.as_ref().is_none_or(|it| it.closed),
                    "client {index} waits"
                );
            }
            self.stopping = false;
        }
        for index in 0..self.clients.len() {
            if self.random.chance(70) {
                self.clients[index].read(&self.log);
            }
            self.clients[index].connection = None;
        }
        self.questions.clear();
        self.sources.clear();
        self.states.clear();
        self.hub = hub(&self.shelf, self.start);
    }

    /// Goes on until nobody has anything to do, which has to come soon. Then everybody has everything that the hub
    /// has been told of.
    pub fn settle(&mut self) {
        // A client takes a row or some part of a frame in each pass, and the smallest socket some part of 1,500 bytes.
        let text = self.shelf.bytes + 1_000 * self.log.end();
        let bound = 100 + self.clients.len() * (self.log.end() + text / 500);
        for _ in 0..bound {
            // As the service drives it: a pass without a page may still be followed by one with.
            let mut busy = self.page() || self.hub.wants_rows();
            busy |= self.answer();
            while self.write() {
                busy = true;
            }
            for index in 0..self.clients.len() {
                busy |= self.read(index);
            }
            if !busy {
                for client in self.clients.iter().filter(|client| client.connection.is_some()) {
                    client.owed_nothing_before(self.told, &self.log);
                }
                self.everybody_knows();
                self.every_source_knows();
                return;
            }
        }
        panic!("after {bound} passes the hub still wants {:?}", self.hub.next_read());
    }
}

fn hub(shelf: &Shelf, started: Instant) -> Hub {
    Hub::new(
        Identity { pid: 1, activated: false, log_path: String::new(), started, idle_exit: None },
        shelf.reader.newest().unwrap(),
    )
}

fn place((number, id): (usize, EventId)) -> Position {
    Position { seq: Seq(i64::try_from(number).unwrap()), id }
}
