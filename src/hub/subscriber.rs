//! One subscriber: a filter, a cursor and a bounded buffer.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, Bytes};

use super::judging::{Lane, Page};
use super::ring::Entry;
use crate::model::filter::Filter;
use crate::model::frame::Control;
use crate::model::id::Seq;
use crate::model::limits::OUTBOX_BYTES;
use crate::model::row::Position;

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not one state")]
pub(super) struct Subscriber {
    pub(super) filter: Arc<Filter>,
    /// Who decides what it wants, if that may not be decided in the loop.
    pub(super) lane: Option<Lane>,
    /// The last row it was offered while it was behind. Once it is live the hub's tail takes over, and this is
    /// only the place that nothing before it is delivered.
    pub(super) cursor: Position,
    /// Whether it has been offered every row that the hub has read.
    pub(super) live: bool,
    /// Whether it is in the queue of those who want to be filled.
    pub(super) queued: bool,
    /// Whether its socket is full.
    pub(super) blocked: bool,
    /// Whether its last frame is in the buffer.
    pub(super) closing: bool,
    /// Whether a question of its is out.
    pub(super) asked: bool,
    /// Whether its next page has to come from the log, because what is in memory is not in the log any more.
    pub(super) past_memory: bool,
    /// Its next page, while that is being read.
    pub(super) page: Option<Page>,
    pub(super) heartbeat_due: Option<Instant>,
    /// Sources of whose state it has to hear, each once it has come so far.
    pub(super) owed: BTreeMap<String, Seq>,
    pub(super) outbox: Outbox,
}

impl Subscriber {
    pub(super) fn new(filter: Filter, cursor: Position) -> Subscriber {
        Subscriber {
            lane: Lane::of(&filter),
            filter: Arc::new(filter),
            cursor,
            live: false,
            queued: false,
            blocked: false,
            closing: false,
            asked: false,
            past_memory: false,
            page: None,
            heartbeat_due: None,
            owed: BTreeMap::new(),
            outbox: Outbox::default(),
        }
    }

    /// Where it is, given where the hub is.
    pub(super) fn position(&self, tail: Position) -> Position {
        if self.live && tail.seq > self.cursor.seq { tail } else { self.cursor }
    }

    pub(super) fn has_room(&self) -> bool {
        self.outbox.bytes < OUTBOX_BYTES && !self.closing
    }

    /// Whether so much has been written that filling its buffer is worth a look into the log again.
    pub(super) fn is_hungry(&self) -> bool {
        !self.live && !self.closing && self.outbox.bytes <= OUTBOX_BYTES / 2
    }

    pub(super) fn push(&mut self, control: &Control) {
        self.outbox.push(control.encode());
    }

    /// From now on it is filled from its cursor.
    pub(super) fn fall_behind(&mut self, last: Position) {
        self.cursor = self.position(last);
        self.live = false;
    }

    /// Takes a row: puts its frame into the buffer if it concerns this subscriber, and moves the cursor past it.
    /// `from` is where the subscriber is. Returns how many frames that was.
    pub(super) fn take(&mut self, entry: &Entry, from: Position) -> u64 {
        let reached = entry.row.position(from);
        if reached.seq <= from.seq {
            return 0;
        }
        self.cursor = reached;
        if self.filter.concerns(&entry.row) { self.deliver(entry, from) } else { 0 }
    }

    /// Puts the frame of a row into the buffer, or what is missing where that cannot be delivered.
    pub(super) fn deliver(&mut self, entry: &Entry, from: Position) -> u64 {
        match entry.row.gap(from) {
            Some(gap) => self.push(&Control::Gap(gap)),
            None => self.outbox.push(entry.frame().unwrap_or_default()),
        }
        1
    }
}

/// Frames that wait for the socket, shared with everybody else who gets them.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    frames: VecDeque<Bytes>,
    bytes: usize,
}

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(super) fn slices(&self) -> impl Iterator<Item = &[u8]> {
        self.frames.iter().map(|frame| &**frame)
    }

    fn push(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    /// Takes written bytes off the front.
    pub(super) fn consume(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some(frame) = self.frames.front_mut() {
            if frame.len() > written {
                frame.advance(written);
                break;
            }
            written -= frame.len();
            self.frames.pop_front();
        }
        if self.frames.is_empty() {
            // A waiter may be blocked for days: it keeps no memory for its last burst.
            self.frames = VecDeque::new();
        }
    }
}
