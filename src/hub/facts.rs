//! What goes in and out of the hub besides rows and bytes: who subscribes, what has to be read, where the hub runs.

use std::time::{Duration, Instant};

use crate::model::filter::Filter;
use crate::model::id::{EventId, Seq};
use crate::model::row::{Position, Resolved};
use crate::model::source::Announcement;

/// Name of a subscriber within one hub; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriberId(pub(super) u64);

/// What a new subscriber asks for, compiled and resolved.
#[derive(Debug)]
pub struct Subscription {
    /// What it wants.
    pub filter: Filter,
    /// The cursor that it sent, and where that points.
    pub since: Option<(EventId, Resolved)>,
    /// The newest row of the log at this moment.
    pub newest: Position,
    /// Whether it wants heartbeats.
    pub heartbeat: bool,
    /// Whether it wants to know about the hub.
    pub status: bool,
    /// Which source it is, if it is one.
    pub announce: Option<Announcement>,
    /// Warnings for whoever subscribes.
    pub notes: Vec<String>,
}

/// Rows that the hub wants to be offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// For whom: a subscriber that is behind, or `None` for the end of the log.
    pub reader: Option<SubscriberId>,
    /// Rows strictly after this one.
    pub after: Seq,
    /// At most so many.
    pub limit: usize,
}

/// What the hub needs to know about the process that it runs in.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// The process id, for the status.
    pub pid: u32,
    /// Whether a service manager passed the sockets.
    pub activated: bool,
    /// When it was ready.
    pub started: Instant,
    /// How long it stays without subscribers; `None` for as long as it is let.
    pub idle_exit: Option<Duration>,
}
