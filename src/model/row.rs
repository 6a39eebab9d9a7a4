//! What a reader of the log meets, and where it is: the terms in which the log and the hub talk.

use super::event::Record;
use super::frame::{Gap, GapReason};
use super::id::{EventId, Seq};

/// A place in the log under both of its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// What orders it.
    pub seq: Seq,
    /// What clients call it.
    pub id: EventId,
}

impl Position {
    /// Before the first row.
    pub const START: Position = Position { seq: Seq::START, id: EventId::ZERO };
}

/// Where a cursor points, and whether something after it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Delivery goes on after this.
    pub position: Position,
    /// Why something is missing, if it is. Rows that were pruned after a cursor that is known are not reported
    /// here: the first page reports them, with their number.
    pub gap: Option<GapReason>,
}

/// Rows between the cursor and the first row that is left, removed by pruning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The newest of them.
    pub through: Position,
    /// How many.
    pub missed: u64,
}

/// A row that cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Its place.
    pub seq: Seq,
    /// Its name, if that is readable.
    pub id: Option<EventId>,
    /// What else is readable.
    pub envelope: PartialEnvelope,
    /// What is wrong with it.
    pub problem: String,
}

/// What a scan meets.
#[derive(Debug)]
pub enum Row {
    /// An event.
    Event(Box<Record>),
    /// A row that is not one.
    Unreadable(Unreadable),
    /// Rows that were there once.
    Lost(Lost),
}

impl Row {
    /// The place that a reader has reached once it has seen this row and came from `from`.
    #[must_use]
    pub fn position(&self, from: Position) -> Position {
        match self {
            Row::Event(record) => Position { seq: record.seq, id: record.event.id },
            // A row without a readable name cannot be resumed from; the one before it can, at the price of
            // meeting the row again.
            Row::Unreadable(row) => Position { seq: row.seq, id: row.id.unwrap_or(from.id) },
            Row::Lost(lost) => lost.through,
        }
    }

    /// What a reader that came from `from` misses here, if it is not an event.
    #[must_use]
    pub fn gap(&self, from: Position) -> Option<Gap> {
        let reached = self.position(from);
        let (reason, missed) = match self {
            Row::Event(_) => return None,
            Row::Unreadable(_) => (GapReason::UnreadableRow, 1),
            // Counted from where this reader is, which need not be where the log was read from.
            Row::Lost(_) => (GapReason::Pruned, u64::try_from(reached.seq.0 - from.seq.0).unwrap_or(0)),
        };
        Some(Gap { reason, since: from.id, resumed_at: reached.id, missed: Some(missed) })
    }

    /// Bytes of text that it holds, as an estimate of what keeping it costs.
    #[must_use]
    pub fn weight(&self) -> usize {
        match self {
            Row::Event(record) => record.weight(),
            Row::Unreadable(row) => row.problem.len(),
            Row::Lost(_) => 0,
        }
    }
}

/// What can be read of a row that cannot be decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartialEnvelope {
    /// The source, if its text is readable.
    pub source: Option<String>,
    /// The event type, if its text is readable.
    pub event_type: Option<String>,
    /// The repository's owner, if its text is readable.
    pub owner: Option<String>,
    /// The repository's name, if its text is readable.
    pub repo: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::event::tests::record;
    use super::*;

    fn place(seq: i64) -> Position {
        Position { seq: Seq(seq), id: EventId::at(std::time::UNIX_EPOCH + std::time::Duration::from_secs(9)) }
    }

    #[test]
    fn every_row_leads_somewhere_and_what_is_no_event_is_a_gap() {
        let event = Row::Event(Box::new(record(5, "x", &json!({}))));
        assert_eq!(event.position(place(4)).seq, Seq(5));
        assert_eq!(event.gap(place(4)), None);
        let row = Unreadable { seq: Seq(5), id: None, envelope: PartialEnvelope::default(), problem: "bad".into() };
        let row = Row::Unreadable(row);
        assert_eq!(row.position(place(4)), place(5), "what has no name is resumed from the row before it");
        assert_eq!(row.gap(place(4)).map(|gap| (gap.reason, gap.missed)), Some((GapReason::UnreadableRow, Some(1))));
        let lost = Row::Lost(Lost { through: place(9), missed: 9 });
        assert_eq!(lost.position(place(4)), place(9));
        assert_eq!(lost.gap(place(4)).map(|gap| (gap.reason, gap.missed)), Some((GapReason::Pruned, Some(5))));
    }
}
