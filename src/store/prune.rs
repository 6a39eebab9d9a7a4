//! Trimming the log from its oldest end, in short steps, while everything runs.
//!
//! What is removed is remembered as the horizon, so that a reader whose cursor lies before it is told.

use std::time::{Duration, SystemTime};

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::{StoreError, Writer};
use crate::model::id::EventId;
use crate::model::limits::{PRUNE_BYTES, PRUNE_ROWS};

/// What to keep. A row is removed when any of the bounds says so.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keep {
    /// Rows not older than this.
    pub age: Option<Duration>,
    /// At most this many rows.
    pub rows: Option<u64>,
    /// At most this many bytes of database, free pages not counted.
    pub bytes: Option<u64>,
}

/// One row at the oldest end of the log.
struct Oldest {
    seq: i64,
    event_id: String,
    received_at: i64,
    /// About what it takes in the database.
    bytes: u64,
}

/// What a row takes besides its texts of any length: its short columns, its header and its three index entries.
const ROW_BYTES: u64 = 256;

impl Writer {
    /// Removes one step's worth of rows, and returns how many. Zero means that nothing is left to remove.
    pub fn prune_step(&mut self, keep: &Keep, now: SystemTime) -> Result<usize, StoreError> {
        let step = (|| {
            let transaction = self.connection_mut().transaction_with_behavior(TransactionBehavior::Immediate)?;
            let removed = remove_oldest(&transaction, keep, now)?;
            transaction.commit()?;
            Ok(removed)
        })();
        let removed = step.map_err(|error| self.error(&error))?;
        // What one step has freed may be more than it could give back; writers have their turns in between.
        while removed == 0 && self.give_back().map_err(|error| self.error(&error))? {
            self.checkpoint_if_due()?;
        }
        Ok(removed)
    }

    /// Gives one step's worth of free pages back. Returns whether there were any.
    fn give_back(&mut self) -> rusqlite::Result<bool> {
        let free =
            |connection: &Connection| connection.pragma_query_value(None, "freelist_count", |row| row.get::<_, u64>(0));
        // Looked at without a lock first: mostly there is nothing to do.
        if free(self.connection_mut())? == 0 {
            return Ok(false);
        }
        let transaction = self.connection_mut().transaction_with_behavior(TransactionBehavior::Immediate)?;
        let before = free(&transaction)?;
        vacuum(&transaction)?;
        let less = free(&transaction)? < before;
        transaction.commit()?;
        Ok(less)
    }
}

fn remove_oldest(transaction: &Transaction<'_>, keep: &Keep, now: SystemTime) -> rusqlite::Result<usize> {
    let mut statement = transaction.prepare_cached(&format!(
        "SELECT seq, CAST(event_id AS BLOB), received_at, octet_length(summary) + octet_length(fields) +
                coalesce(octet_length(payload), 0) + {ROW_BYTES} FROM events ORDER BY seq LIMIT {PRUNE_ROWS}"
    ))?;
    let oldest = statement.query_map([], |row| {
        let event_id = String::from_utf8_lossy(&row.get::<_, Vec<u8>>(1)?).into_owned();
        // A foreign row may hold anything in its columns; one without a time is as old as can be.
        Ok(Oldest { seq: row.get(0)?, event_id, received_at: row.get(2).unwrap_or(0), bytes: row.get(3)? })
    })?;
    let oldest = oldest.collect::<rusqlite::Result<Vec<_>>>()?;
    let by_age = keep.age.map_or(0, |age| {
        let cutoff = now.checked_sub(age).and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        let cutoff = cutoff.map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX));
        oldest.iter().take_while(|row| row.received_at < cutoff).count()
    });
    let by_rows = match keep.rows {
        // Sequences have no holes to speak of, and counting them would read the whole log.
        Some(rows) => {
            let last_removed = newest_seq(transaction)?.saturating_sub(i64::try_from(rows).unwrap_or(i64::MAX));
            oldest.iter().take_while(|row| row.seq <= last_removed).count()
        }
        None => 0,
    };
    let by_bytes = match keep.bytes {
        Some(bytes) => match used_bytes(transaction)?.saturating_sub(bytes) {
            0 => 0,
            excess => rows_of(&oldest, excess),
        },
        None => 0,
    };
    let removed = by_age.max(by_rows).max(by_bytes).min(rows_of(&oldest, PRUNE_BYTES));
    let Some(last) = removed.checked_sub(1).map(|index| &oldest[index]) else { return Ok(0) };

    transaction.execute("DELETE FROM events WHERE seq <= ?1", [last.seq])?;
    let ids = oldest[..removed].iter().filter_map(|row| row.event_id.parse::<EventId>().ok());
    let latest = ids.map(|id| id.timestamp_ms()).max().unwrap_or(0);
    transaction.execute(
        "UPDATE horizon SET seq = ?1, event_id = ?2, latest_ms = max(latest_ms, ?3)",
        (last.seq, &last.event_id, i64::try_from(latest).unwrap_or(i64::MAX)),
    )?;
    vacuum(transaction)?;
    Ok(removed)
}

/// How many of the oldest rows take this many bytes together: one at least, if there is one.
fn rows_of(oldest: &[Oldest], bytes: u64) -> usize {
    let mut before = 0_u64;
    let fits = |row: &&Oldest| {
        let fits = before < bytes;
        before = before.saturating_add(row.bytes);
        fits
    };
    oldest.iter().take_while(fits).count().max(1).min(oldest.len())
}

/// Gives free pages back to the file system, as many as one step may move.
fn vacuum(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let page_size: u64 = transaction.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let mut vacuum = transaction.prepare(&format!("PRAGMA incremental_vacuum({})", PRUNE_BYTES / page_size.max(1)))?;
    // The pragma frees one page per step of its statement.
    let mut pages = vacuum.query([])?;
    while pages.next()?.is_some() {}
    Ok(())
}

fn newest_seq(transaction: &Transaction<'_>) -> rusqlite::Result<i64> {
    transaction.query_row("SELECT coalesce(max(seq), 0) FROM events", [], |row| row.get(0))
}

fn used_bytes(transaction: &Transaction<'_>) -> rusqlite::Result<u64> {
    let pragma = |name: &str| transaction.pragma_query_value(None, name, |row| row.get::<_, u64>(0));
    Ok((pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?)
}
