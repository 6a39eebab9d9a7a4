//! The newest rows, decoded once, for subscribers that are slightly behind: a burst is then read from the log once
//! and not once per subscriber.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::model::event_frame::encode_event;
use crate::model::id::Seq;
use crate::model::limits::{RING_BYTES, RING_EVENTS};
use crate::model::row::{Position, Row};

/// A row and, once somebody needed it, its frame.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) row: Row,
    /// Encoded when the first subscriber needs it, and shared by all.
    frame: OnceLock<Bytes>,
}

impl Entry {
    pub(super) fn new(row: Row) -> Entry {
        Entry { row, frame: OnceLock::new() }
    }

    /// The frame of an event; a row that is none has no frame to share.
    pub(super) fn frame(&self) -> Option<Bytes> {
        let Row::Event(record) = &self.row else { return None };
        Some(self.frame.get_or_init(|| encode_event(&record.event)).clone())
    }
}

/// A bounded, gapless run of rows that ends at the newest one read.
#[derive(Debug)]
pub(super) struct Ring {
    entries: VecDeque<Arc<Entry>>,
    weight: usize,
    /// The place before the first entry.
    start: Seq,
    tail: Position,
}

impl Ring {
    pub(super) fn new(tail: Position) -> Ring {
        Ring { entries: VecDeque::new(), weight: 0, start: tail.seq, tail }
    }

    pub(super) fn tail(&self) -> Position {
        self.tail
    }

    pub(super) fn push(&mut self, entry: Arc<Entry>) {
        self.tail = entry.row.position(self.tail);
        self.weight += entry.row.weight();
        self.entries.push_back(entry);
        while self.entries.len() > RING_EVENTS || self.weight > RING_BYTES {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.weight -= oldest.row.weight();
            self.start = oldest.row.position(Position::START).seq;
        }
    }

    /// The rows after a place, or `None` if some of them are only in the log.
    pub(super) fn after(&self, seq: Seq) -> Option<impl Iterator<Item = &Arc<Entry>>> {
        let first = self.entries.partition_point(|entry| entry.row.position(Position::START).seq <= seq);
        (seq >= self.start).then(|| self.entries.range(first..))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::event::tests::record;
    use crate::model::id::EventId;

    fn event(seq: i64, bytes: usize) -> Arc<Entry> {
        Arc::new(Entry::new(Row::Event(Box::new(record(seq, "x", &json!({"text": "x".repeat(bytes)}))))))
    }

    fn seqs(ring: &Ring, after: i64) -> Option<Vec<i64>> {
        let rows = ring.after(Seq(after))?;
        Some(rows.map(|entry| entry.row.position(Position::START).seq.0).collect())
    }

    #[test]
    fn it_holds_the_newest_rows_and_says_when_older_ones_are_needed() {
        let mut ring = Ring::new(Position { seq: Seq(10), id: EventId::ZERO });
        assert_eq!(seqs(&ring, 10), Some(vec![]));
        assert_eq!(seqs(&ring, 9), None);
        for seq in 11..=13 {
            ring.push(event(seq, 1));
        }
        assert_eq!(seqs(&ring, 10), Some(vec![11, 12, 13]));
        assert_eq!(seqs(&ring, 12), Some(vec![13]));
        assert_eq!(seqs(&ring, 99), Some(vec![]));
        for seq in 14..14 + i64::try_from(RING_EVENTS).unwrap() {
            ring.push(event(seq, 1));
        }
        assert_eq!(seqs(&ring, 12), None);
        assert_eq!(seqs(&ring, 13).unwrap().len(), RING_EVENTS);
    }

    #[test]
    fn a_huge_row_empties_it_and_is_still_the_tail() {
        let mut ring = Ring::new(Position::START);
        ring.push(event(1, 10));
        ring.push(event(2, RING_BYTES));
        assert_eq!(ring.tail().seq, Seq(2));
        assert_eq!(seqs(&ring, 1), None);
        assert_eq!(seqs(&ring, 2), Some(vec![]));
        assert_eq!(ring.weight, 0);
    }
}
