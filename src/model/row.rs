//! What a reader of the log meets, and where it is: the terms in which the log and the hub talk.

use super::event::Record;
use super::frame::GapReason;
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

/// What can be read of a row that cannot be decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartialEnvelope {
    /// The source, if its text is readable.
    pub source: Option<String>,
    /// The event type, if its text is readable.
    pub event_type: Option<String>,
}
