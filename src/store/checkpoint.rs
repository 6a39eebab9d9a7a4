//! Moving committed pages from the write-ahead log into the database, off everybody's hot path, and keeping that log of a
//! length that commits do not change.
//!
//! A commit that makes the file longer changes what the file system has to write in its own journal; a sync then waits for
//! that, and a commit that comes meanwhile waits too, although nobody asked it to be durable. Measured with 24 KB written
//! a thousand times a second beside a thread that syncs (ext4): at the end of the file p50 33 µs, p99 1.2 to 6 ms, slowest
//! 68 ms; over what was there before 18 µs, 60 to 150 µs, and rarely a millisecond. So the log starts over again and again,
//! also under a load that never pauses.

use std::cell::OnceCell;
use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rusqlite::Connection;

use super::{LogPaths, StoreError, schema};
use crate::model::limits::{BUSY_TIMEOUT, CHECKPOINT_ALONE_BYTES, CHECKPOINT_WAL_BYTES, WAL_SIZE_LIMIT};

/// A thread that looks whether a checkpoint is due when it is told that rows have come. It ends with this.
#[derive(Debug)]
pub struct Checkpoints(mpsc::SyncSender<()>);

impl Checkpoints {
    /// Starts it. `failed` hears of what went wrong; the next look tries again.
    pub fn start(paths: &LogPaths, failed: impl Fn(StoreError) + Send + 'static) -> io::Result<Checkpoints> {
        let checkpointer = Checkpointer::of(paths);
        let (look, due) = mpsc::sync_channel(1);
        thread::Builder::new().name("checkpoint".into()).spawn(move || {
            while due.recv().is_ok() {
                if let Err(error) = checkpointer.run_if_due() {
                    failed(error);
                }
            }
        })?;
        Ok(Checkpoints(look))
    }

    /// Has it look. Never waits.
    pub fn look(&self) {
        // A full channel means that it is about to look anyway.
        let _ = self.0.try_send(());
    }
}

/// A connection that does nothing but checkpoint.
#[derive(Debug)]
struct Checkpointer {
    connection: OnceCell<Connection>,
    paths: LogPaths,
    /// From which size of the write-ahead log on a commit may have to wait, in bytes.
    bound: u64,
}

impl Checkpointer {
    /// Of this log, which is opened when there is something to look at for the first time.
    fn of(paths: &LogPaths) -> Checkpointer {
        Checkpointer { connection: OnceCell::new(), paths: paths.clone(), bound: WAL_SIZE_LIMIT }
    }

    /// Checkpoints if enough pages wait for it. Waits for no reader, and lets a writer wait only if commits have come
    /// during every checkpoint until the log was at its bound: it starts over when all of it is in the database, which
    /// under a load without a pause happens only if a writer waits for once.
    fn run_if_due(&self) -> Result<bool, StoreError> {
        let connection = self.connection()?;
        let failed = |error| StoreError::sql(&self.paths.database(), &error);
        let state = State::of(connection).map_err(failed)?;
        if state.pending() <= CHECKPOINT_WAL_BYTES {
            return Ok(false);
        }
        checkpoint(connection, "PASSIVE").map_err(failed)?;
        if state.pages > self.bound {
            // Whoever holds a lock is not waited for: the next look finds another moment.
            connection.busy_timeout(Duration::ZERO).map_err(failed)?;
            let finished = checkpoint(connection, "FULL");
            connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
            finished.map_err(failed)?;
        }
        Ok(true)
    }

    fn connection(&self) -> Result<&Connection, StoreError> {
        if let Some(connection) = self.connection.get() {
            return Ok(connection);
        }
        let connection = schema::open_or_create(&self.paths)?;
        Ok(self.connection.get_or_init(|| connection))
    }
}

/// The same for a writer that has nobody to do it for it, and whoever waits for it waits for this.
pub(super) fn run_alone(connection: &Connection) -> rusqlite::Result<()> {
    let due = State::of(connection)?.pending() > CHECKPOINT_ALONE_BYTES;
    if due { checkpoint(connection, "PASSIVE") } else { Ok(()) }
}

fn checkpoint(connection: &Connection, how: &str) -> rusqlite::Result<()> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |_| Ok(()))
}

/// The write-ahead log as of now, in bytes of pages.
struct State {
    /// All that are in it.
    pages: u64,
    /// Those of them that are in the database as well.
    done: u64,
}

impl State {
    fn of(connection: &Connection) -> rusqlite::Result<State> {
        // A connection knows the log's state as of its last read; without one, NOOP would report an old state.
        connection.query_row("SELECT 1 FROM horizon", [], |_| Ok(()))?;
        let (pages, done): (i64, i64) =
            connection.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| Ok((row.get(1)?, row.get(2)?)))?;
        let page_size: u64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        let bytes = |pages| u64::try_from(pages).unwrap_or(0) * page_size;
        Ok(State { pages: bytes(pages), done: bytes(done) })
    }

    /// What is not in the database yet.
    fn pending(&self) -> u64 {
        self.pages - self.done
    }
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
        let pending = || State::of(checkpointer.connection().unwrap()).unwrap().pending();
        assert!(pending() > CHECKPOINT_WAL_BYTES);
        assert!(checkpointer.run_if_due().unwrap());
        assert_eq!(pending(), 0);
        assert!(!checkpointer.run_if_due().unwrap());
    }
}
