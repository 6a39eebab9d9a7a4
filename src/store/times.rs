//! Where a time lies in the log, found without reading it: rows have no index by their time, and need none.
//!
//! People ask for what has just been, so the newest rows are looked at one by one, and their clocks need not agree. What
//! lies further back is found by halving, as if times only grew. Where they do not, because the clocks of two writers
//! differ or a foreign row has any time at all, the answer is rather too early than too late: a place counts as before
//! the time only if several rows around it do.

use std::time::SystemTime;

use rusqlite::OptionalExtension;
use rusqlite::types::Value;

use super::StoreError;
use super::read::{Reader, readable_id};
use crate::model::id::{EventId, Seq};
use crate::model::limits::{HALVING_ROWS, NEWEST_ROWS};
use crate::model::row::Position;

impl Reader {
    /// The newest place all of whose rows were received before `time`, as far as clocks agree.
    pub fn before(&self, time: SystemTime) -> Result<Position, StoreError> {
        let _snapshot = self.snapshot()?;
        let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let nanoseconds = i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX);
        let found = match self.newest_before(nanoseconds)? {
            None => self.far_before(nanoseconds)?,
            found => found,
        };
        if let Some((seq, id)) = found {
            return Ok(Position { seq, id: id.unwrap_or_else(|| EventId::at(time)) });
        }
        let (horizon, latest_ms) = self.horizon()?;
        // Rows of that time may have been pruned: a cursor that carries the time lets the hub say so.
        let reaches_back = u128::from(latest_ms) >= since_epoch.as_millis() && horizon.seq > Seq::START;
        Ok(if reaches_back { Position { seq: Seq::START, id: EventId::at(time) } } else { horizon })
    }

    /// The newest of the newest rows that was received before.
    fn newest_before(&self, nanoseconds: i64) -> Result<Option<Named>, StoreError> {
        self.place(
            "SELECT seq, CAST(event_id AS BLOB) FROM events
             WHERE seq > (SELECT max(seq) FROM events) - ?1 AND received_at < ?2 ORDER BY seq DESC LIMIT 1",
            (NEWEST_ROWS, nanoseconds),
        )
    }

    /// The same for all older rows.
    fn far_before(&self, nanoseconds: i64) -> Result<Option<Named>, StoreError> {
        let ends = self
            .prepare("SELECT (SELECT min(seq) FROM events) - 1, (SELECT max(seq) FROM events) - ?1")?
            .query_row([NEWEST_ROWS], |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(|error| self.error(&error))?;
        let (Some(mut low), Some(mut high)): (Option<i64>, Option<i64>) = ends else { return Ok(None) };
        let mut latest = self.prepare(
            "SELECT max(received_at) FROM
                 (SELECT received_at FROM events WHERE seq <= ?1 ORDER BY seq DESC LIMIT ?2)",
        )?;
        while low < high {
            let middle = high - (high - low) / 2;
            let latest: Value =
                latest.query_row((middle, HALVING_ROWS), |row| row.get(0)).map_err(|error| self.error(&error))?;
            // What is no time is not before any.
            if matches!(latest, Value::Integer(latest) if latest < nanoseconds) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        self.place(
            "SELECT seq, CAST(event_id AS BLOB) FROM events WHERE seq <= ?1 ORDER BY seq DESC LIMIT ?2",
            (low, 1),
        )
    }

    fn place(&self, sql: &str, parameters: (i64, i64)) -> Result<Option<Named>, StoreError> {
        self.prepare(sql)?
            .query_row(parameters, |row| Ok((Seq(row.get(0)?), row.get_ref(1).ok().and_then(readable_id))))
            .optional()
            .map_err(|error| self.error(&error))
    }
}

/// A row, and how it is called if that can be read.
type Named = (Seq, Option<EventId>);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rusqlite::Connection;

    use super::super::{LogPaths, Writer};
    use super::*;

    /// A cursor from elsewhere whose time lies far back made the hub read all of the log before it did anything else:
    /// three seconds for a million rows.
    #[test]
    fn a_time_far_back_is_found_where_it_is_and_not_later_whatever_single_rows_say() {
        let state = tempfile::tempdir().unwrap();
        let paths = LogPaths::new(state.path());
        drop(Writer::open(&paths).unwrap());
        let rows = 4 * NEWEST_ROWS;
        Connection::open(paths.database())
            .unwrap()
            .execute_batch(&format!(
                "INSERT INTO events (source, event_type, received_at)
                     WITH RECURSIVE rows (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM rows WHERE n < {rows})
                     SELECT 'a', 'b', n * 1000000000 FROM rows;
                 UPDATE events SET received_at = 0 WHERE seq = {rows} / 2 OR seq = {rows} * 3 / 4 - 1;
                 UPDATE events SET received_at = 'today' WHERE seq = {rows} / 4;"
            ))
            .unwrap();
        let reader = Reader::open(&paths).unwrap();
        let before = |seconds: i64| {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap());
            reader.before(time).unwrap().seq.0
        };
        assert_eq!((before(rows + 9), before(rows), before(rows - 9)), (rows, rows - 1, rows - 10));
        for seconds in (2..rows - NEWEST_ROWS).step_by(97) {
            let (found, truth) = (before(seconds), seconds - 1);
            assert!((truth - 4 * HALVING_ROWS..=truth).contains(&found), "{found} is not {truth}");
        }
        assert_eq!(before(0), 0);
    }
}
