//! A simulated client: one filter over many connections, a socket of bounded size, and a mistrust of every frame.

use std::collections::{HashMap, VecDeque};

use serde_json::{Value, json};
use waitbus::hub::SubscriberId;
use waitbus::model::id::EventId;
use waitbus::model::limits::MAX_FRAME_BYTES;

use super::log::Log;
use super::wanted::{Concern, Wanted};
use crate::random::Random;

pub struct Client {
    pub wanted: Wanted,
    pub heartbeat: bool,
    /// The cursor of the last frame that had one.
    pub cursor: Option<EventId>,
    /// The newest row that it has received on any connection.
    newest: usize,
    pub heartbeats: usize,
    pub connection: Option<Connection>,
}

pub struct Connection {
    pub id: SubscriberId,
    /// Bytes that the kernel takes before the socket is full.
    pub capacity: usize,
    /// Bytes that the client has not read yet.
    pub socket: Vec<u8>,
    /// The beginning of a frame whose rest has not come.
    buffer: Vec<u8>,
    /// Whether the hub has been told that the socket is full.
    pub blocked: bool,
    /// Whether the hub has closed it.
    pub closed: bool,
    /// Frames that have to come first, exactly so.
    first: VecDeque<Value>,
    /// Everything up to this row is accounted for.
    at: usize,
    /// The kind of the last frame.
    last: String,
    /// What it has been told of each source last: the state, and the number that the source had told of itself.
    pub told: HashMap<String, (String, u64)>,
}

impl Connection {
    /// A connection whose delivery begins after row `at`, with these frames before it.
    pub fn new(id: SubscriberId, capacity: usize, at: usize, first: Vec<Value>) -> Connection {
        Connection {
            id,
            capacity,
            socket: Vec::new(),
            buffer: Vec::new(),
            blocked: false,
            closed: false,
            first: first.into(),
            at,
            last: String::new(),
            told: HashMap::new(),
        }
    }

    pub fn room(&self) -> usize {
        self.capacity.saturating_sub(self.socket.len())
    }
}

impl Client {
    pub fn random(random: &mut Random) -> Client {
        Client {
            wanted: Wanted::random(random),
            heartbeat: random.chance(50),
            cursor: None,
            newest: 0,
            heartbeats: 0,
            connection: None,
        }
    }

    /// Reads what has arrived and looks at every whole frame. Returns whether there was anything.
    pub fn read(&mut self, log: &Log) -> bool {
        let Some(connection) = &mut self.connection else { return false };
        let progress = !connection.socket.is_empty();
        let mut bytes = std::mem::take(&mut connection.buffer);
        bytes.append(&mut connection.socket);
        let mut rest = &bytes[..];
        while let Some((prefix, after)) = rest.split_first_chunk() {
            let length = u32::from_be_bytes(*prefix) as usize;
            assert!((1..=MAX_FRAME_BYTES).contains(&length), "a frame of {length} bytes");
            let Some((body, after)) = after.split_at_checked(length) else { break };
            rest = after;
            self.frame(serde_json::from_slice(body).expect("a frame is JSON"), log);
        }
        let connection = self.connection.as_mut().expect("reading does not close");
        connection.buffer = rest.to_vec();
        if connection.closed {
            assert_eq!((&*connection.last, rest), ("shutdown", &[][..]), "how a connection ends");
            self.connection = None;
        }
        progress
    }

    fn frame(&mut self, mut frame: Value, log: &Log) {
        let connection = self.connection.as_mut().expect("frames come on connections");
        assert_ne!(connection.last, "shutdown", "something after the end: {frame}");
        let kind = frame["kind"].as_str().expect("a frame has a kind").to_owned();
        connection.last.clone_from(&kind);
        if let Some(expected) = connection.first.pop_front() {
            // Their words are for people and depend on what else is there.
            for free in [
                "notes",
                "version",
                "pid",
                "log_path",
                "uptime_sec",
                "lagging",
                "max_lag",
                "delivered",
                "unreadable_rows",
                "sources",
            ] {
                frame.as_object_mut().expect("a frame is an object").remove(free);
            }
            assert_eq!(frame, expected, "one of the first frames");
            let cursor = if kind == "gap" { "resumed_at" } else { "cursor" };
            self.cursor = frame.get(cursor).map(id).or(self.cursor);
            return;
        }
        match &*kind {
            "event" | "truncated" => self.event(&frame, log),
            "gap" if frame["reason"] == "unreadable_row" => self.unreadable(&frame, log),
            "gap" => self.pruned(&frame, log),
            "daemon_heartbeat" => {
                assert!(self.heartbeat, "a heartbeat for a client that switched it off");
                self.heartbeats += 1;
                self.reached(id(&frame["cursor"]), log);
            }
            "source_status" => self.source(&frame, log),
            "shutdown" => self.reached(id(&frame["cursor"]), log),
            _ => panic!("a frame out of place: {frame}"),
        }
    }

    fn event(&mut self, frame: &Value, log: &Log) {
        let name = id(&frame["event_id"]);
        let number = log.find(name).unwrap_or_else(|| panic!("an event that nobody wrote: {frame}"));
        let row = log.row(number);
        assert_eq!(self.wanted.concern(row), Concern::Event, "row {number} is not for {:?}", self.wanted);
        assert!(number > self.newest, "row {number} came after row {}", self.newest);
        self.owed_nothing_before(number - 1, log);
        let expected = json!({
            "kind": if row.huge { "truncated" } else { "event" }, "source": row.source, "event_type": row.kind,
            "owner": row.repo.0, "repo": row.repo.1,
        });
        for (key, value) in expected.as_object().expect("it is one") {
            assert_eq!(frame[key], *value, "{key} of row {number}");
        }
        assert_eq!(frame["fields"]["source"], json!(row.source));
        assert_eq!(frame["fields"]["n"], json!(row.number));
        assert_eq!(frame.get("payload"), None);
        self.newest = number;
        self.move_to(number, name);
    }

    /// How a source is. One that is not there any more has said everything before.
    fn source(&mut self, frame: &Value, log: &Log) {
        let text = |key: &str| frame[key].as_str().expect("a text").to_owned();
        let (source, state) = (text("source"), text("state"));
        let number = frame["detail"]["n"].as_u64().expect("the number that it had told");
        assert!(self.wanted.could_concern(&source), "{frame} is nothing for {:?}", self.wanted);
        match &*state {
            "alive" => {}
            "silent" => {
                let reason = frame["detail"]["reason"].as_str().and_then(|reason| reason.parse().ok());
                self.owed_nothing_before(log.silences[&reason.expect("the reason that it had told")], log);
            }
            _ => self.owed_nothing_before(log.ends[&number], log),
        }
        let connection = self.connection.as_mut().expect("frames come on connections");
        connection.told.insert(source, (state, number));
    }

    /// A row that cannot be read: exactly the next one that concerns this client.
    fn unreadable(&mut self, frame: &Value, log: &Log) {
        let at = self.at();
        let number = (at + 1..=log.end()).find(|&number| self.wanted.concern(log.row(number)) != Concern::Nothing);
        let number = number.unwrap_or_else(|| panic!("after row {at} everything can be read: {frame}"));
        let row = log.row(number);
        assert_eq!(self.wanted.concern(row), Concern::Gap, "row {number} can be read: {frame}");
        let (since, resumed_at) = (id(&frame["since"]), id(&frame["resumed_at"]));
        assert_eq!(frame["missed"], 1);
        assert!(log.is_name(since, number - 1), "row {number} is after {since}: {frame}");
        assert_eq!(resumed_at, row.id.unwrap_or(since), "row {number}");
        self.move_to(number, resumed_at);
    }

    /// Rows that were pruned before the hub could read them: all from where the client was to a horizon of the log.
    fn pruned(&mut self, frame: &Value, log: &Log) {
        assert_eq!(frame["reason"], "pruned");
        let (since, resumed_at) = (id(&frame["since"]), id(&frame["resumed_at"]));
        let missed = usize::try_from(frame["missed"].as_u64().expect("a count")).unwrap();
        let at = self.at();
        let fits = |&through: &usize| {
            through.checked_sub(missed).is_some_and(|from| from >= at && missed > 0 && log.is_name(since, from))
        };
        let through = log.was_horizon(resumed_at).find(fits);
        let through = through.unwrap_or_else(|| panic!("after row {at} that was never pruned: {frame}"));
        self.owed_nothing_before(through - missed, log);
        self.move_to(through, resumed_at);
    }

    /// A frame that moves the cursor past rows that do not concern this client.
    fn reached(&mut self, cursor: EventId, log: &Log) {
        let mut places = (self.at()..=log.end()).filter(|&number| log.is_name(cursor, number));
        let place = places.next().unwrap_or_else(|| panic!("{cursor} is no place after row {}", self.at()));
        self.owed_nothing_before(place, log);
        self.move_to(place, cursor);
    }

    /// Whether every row up to `number` that concerns it has been announced on this connection.
    pub fn owed_nothing_before(&self, number: usize, log: &Log) {
        for missing in self.at() + 1..=number {
            let concern = self.wanted.concern(log.row(missing));
            assert_eq!(concern, Concern::Nothing, "row {missing} of {number} never came: {:?}", log.row(missing));
        }
    }

    fn at(&self) -> usize {
        self.connection.as_ref().map_or(0, |connection| connection.at)
    }

    fn move_to(&mut self, number: usize, cursor: EventId) {
        self.cursor = Some(cursor);
        if let Some(connection) = &mut self.connection {
            assert!(number >= connection.at, "back from row {} to row {number}", connection.at);
            connection.at = number;
        }
    }
}

fn id(value: &Value) -> EventId {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{value} is no event id"))
}
