//! Points in time as people type them, and where they are in the log.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use super::BusError;
use crate::config::directories::Directories;
use crate::model::duration;
use crate::model::id::EventId;
use crate::store::{LogPaths, Reader, StoreError};

/// A point from which to read: a cursor, or a time before now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// After this event.
    Cursor(EventId),
    /// From this time on.
    Time(SystemTime),
    /// From this long ago on.
    Ago(Duration),
}

/// `10m` (ago), an RFC 3339 time, seconds or nanoseconds since the epoch, or a cursor.
pub fn when(text: &str) -> Result<When, String> {
    if let Ok(cursor) = text.parse() {
        return Ok(When::Cursor(cursor));
    }
    if let Ok(number) = text.parse::<u64>() {
        /// Numbers from here on are nanoseconds: as seconds this is the year 33,658.
        const NANOSECONDS: u64 = 1_000_000_000_000;
        let since = if number < NANOSECONDS { Duration::from_secs(number) } else { Duration::from_nanos(number) };
        return Ok(When::Time(SystemTime::UNIX_EPOCH + since));
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        let since = u64::try_from(time.as_millisecond()).map_err(|_| format!("{text:?} is before 1970"))?;
        return Ok(When::Time(SystemTime::UNIX_EPOCH + Duration::from_millis(since)));
    }
    duration::parse(text).map(When::Ago).map_err(|_| {
        format!("{text:?} is no point in time: write 10m (ago), 2026-01-31T12:00:00Z, epoch seconds, or a cursor")
    })
}

/// A cursor as `waitbus mark` prints it.
pub fn cursor(text: &str) -> Result<EventId, String> {
    text.parse().map_err(|error| format!("{error}; `waitbus mark` prints one"))
}

impl When {
    /// The cursor of this point in the log. A time needs the log; where there is none, nothing has happened yet.
    pub fn resolve(self, directories: &Directories) -> Result<EventId, BusError> {
        let time = match self {
            When::Cursor(cursor) => return Ok(cursor),
            When::Time(time) => time,
            When::Ago(ago) => SystemTime::now().checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH),
        };
        match Reader::open(&LogPaths::new(&directories.state)) {
            Ok(reader) => Ok(reader.before(time)?.id),
            Err(StoreError::Missing(_)) => Ok(EventId::ZERO),
            Err(error) => Err(error.into()),
        }
    }
}

/// The cursor of now. Where there is no log, nothing has ever happened.
pub fn newest(directories: &Directories) -> Result<EventId, BusError> {
    match Reader::open(&LogPaths::new(&directories.state)) {
        Ok(reader) => Ok(reader.newest()?.id),
        Err(StoreError::Missing(_)) => Ok(EventId::ZERO),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_in_time_has_four_spellings() {
        let at = |seconds| When::Time(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(when("1970-01-01T00:01:00Z"), Ok(at(60)));
        assert_eq!(when("1700000000"), Ok(at(1_700_000_000)));
        assert_eq!(when("1700000000000000000"), Ok(at(1_700_000_000)));
        assert_eq!(when("10m"), Ok(When::Ago(Duration::from_mins(10))));
        assert_eq!(when(&"0".repeat(26)), Ok(When::Cursor(EventId::ZERO)));
        assert!(when("yesterday").unwrap_err().contains("10m"));
    }
}
