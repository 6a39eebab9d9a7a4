//! Moving committed pages from the write-ahead log into the database, off everybody's hot path.

use std::cell::OnceCell;

use rusqlite::Connection;

use super::{LogPaths, StoreError, schema};
use crate::model::limits::CHECKPOINT_WAL_BYTES;

/// A connection that does nothing but checkpoint, for a thread of its own.
#[derive(Debug)]
pub struct Checkpointer {
    connection: OnceCell<Connection>,
    paths: LogPaths,
}

impl Checkpointer {
    /// Of this log, which is opened when there is something to look at for the first time.
    #[must_use]
    pub fn of(paths: &LogPaths) -> Checkpointer {
        Checkpointer { connection: OnceCell::new(), paths: paths.clone() }
    }

    /// Checkpoints if enough pages wait for it. Never waits for a reader or a writer, and neither waits for it.
    pub fn run_if_due(&self) -> Result<bool, StoreError> {
        let connection = match self.connection.get() {
            Some(connection) => connection,
            None => {
                let connection = schema::open_or_create(&self.paths)?;
                self.connection.get_or_init(|| connection)
            }
        };
        run_if_due(connection).map_err(|error| StoreError::sql(&self.paths.database(), &error))
    }
}

pub(super) fn run_if_due(connection: &Connection) -> rusqlite::Result<bool> {
    let due = pending_bytes(connection)? > CHECKPOINT_WAL_BYTES;
    if due {
        connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
    }
    Ok(due)
}

/// Bytes of the write-ahead log that are not in the database yet.
fn pending_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    // A connection knows the log's state as of its last read; without one, NOOP would report an old state.
    connection.query_row("SELECT 1 FROM horizon", [], |_| Ok(()))?;
    let (pages, done): (i64, i64) =
        connection.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| Ok((row.get(1)?, row.get(2)?)))?;
    let page_size: u64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    Ok(u64::try_from(pages - done).unwrap_or(0) * page_size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wal_is_emptied_when_it_has_grown_and_only_then() {
        let state = tempfile::tempdir().unwrap();
        let paths = LogPaths::new(state.path());
        let writer = schema::open_or_create(&paths).unwrap();
        let checkpointer = Checkpointer::of(&paths);
        let insert = |bytes: u64| {
            let sql = "INSERT INTO events (source, event_type, payload) VALUES ('a', 'b', zeroblob(?1))";
            writer.execute(sql, [i64::try_from(bytes).unwrap()]).unwrap();
        };
        insert(10);
        assert!(!checkpointer.run_if_due().unwrap());
        insert(CHECKPOINT_WAL_BYTES);
        assert!(pending_bytes(&writer).unwrap() > CHECKPOINT_WAL_BYTES);
        assert!(checkpointer.run_if_due().unwrap());
        assert_eq!(pending_bytes(&writer).unwrap(), 0);
        assert!(!checkpointer.run_if_due().unwrap());
    }
}
