//! Names of events: the public [`EventId`] (a ULID) and the log's internal order, [`Seq`].
//!
//! The id is what clients see and resume from; the sequence decides the order. An id's time says roughly when,
//! never what came before what: two processes' clocks do not agree, their commits do.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use ulid::{Generator, Ulid};

/// Position of a row in the log: 1 for the first row ever, never reused. [`Seq::START`] is before all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub i64);

impl Seq {
    /// The position before the first row.
    pub const START: Seq = Seq(0);
}

/// Public name of an event and cursor of the wire: 26 upper-case Crockford characters (ULID).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(Ulid);

impl EventId {
    /// Twenty-six zeros: the beginning of the log, the cursor of an empty one.
    pub const ZERO: EventId = EventId(Ulid::nil());

    /// An id that carries `time` and sorts before every real id of that millisecond: a cursor made from a time.
    #[must_use]
    pub fn at(time: SystemTime) -> EventId {
        let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        EventId(Ulid::from_parts(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX), 0))
    }

    /// Milliseconds since the epoch that this id carries.
    #[must_use]
    pub fn timestamp_ms(&self) -> u64 {
        self.0.timestamp_ms()
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.array_to_str(&mut [0; ulid::ULID_LEN]))
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not 26 upper-case Crockford characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an event id: expected 26 upper-case Crockford characters (0-9 A-Z without I, L, O, U), the first at most 7"
)]
pub struct BadEventId;

impl FromStr for EventId {
    type Err = BadEventId;

    fn from_str(text: &str) -> Result<EventId, BadEventId> {
        let id = EventId(Ulid::from_string(text).map_err(|_| BadEventId)?);
        // The decoder forgives case and look-alikes; a cursor is compared as text, so it may not.
        if id.0.array_to_str(&mut [0; ulid::ULID_LEN]) == text { Ok(id) } else { Err(BadEventId) }
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<EventId, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// Makes ids that only grow within one process, also when the clock steps back.
#[derive(Debug, Default)]
pub struct IdGenerator(Generator);

impl IdGenerator {
    /// The next id, carrying `now`, or the last id's millisecond when `now` is before it.
    pub fn next(&mut self, now: SystemTime) -> EventId {
        EventId(match self.0.generate_from_datetime(now) {
            Ok(id) => id,
            // 2^80 ids in one millisecond: the next one carries the following millisecond.
            Err(overflow) => overflow.commit_overflow_increment(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_itself() {
        let id = EventId::at(SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.timestamp_ms(), 1_700_000_000_123);
        assert_eq!(EventId::ZERO.to_string(), "0".repeat(26));
    }

    #[test]
    fn only_the_canonical_spelling_is_an_id() {
        for bad in ["", "0", "01arz3ndektsv4rrffq69g5fav", "01ARZ3NDEKTSV4RRFFQ69G5FAO", "81ARZ3NDEKTSV4RRFFQ69G5FAV"] {
            assert_eq!(bad.parse::<EventId>(), Err(BadEventId), "{bad}");
        }
        assert!("01ARZ3NDEKTSV4RRFFQ69G5FAV".parse::<EventId>().is_ok());
    }

    #[test]
    fn ids_of_one_process_grow_even_when_the_clock_steps_back() {
        let mut ids = IdGenerator::default();
        let late = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000);
        let early = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let (a, b, c) = (ids.next(late), ids.next(early), ids.next(late));
        assert!(a < b && b < c, "{a} {b} {c}");
    }
}
