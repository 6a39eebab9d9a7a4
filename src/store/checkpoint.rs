//! Moving committed pages from the write-ahead log into the database, off everybody's hot path, and keeping that log of a
//! length that commits do not change.
//!
//! A commit that makes the file longer changes what the file system has to write in its own journal, and each sync then
//! waits for that; a commit that comes meanwhile waits too, although nobody asked it to be durable. Measured with 24 KB
//! written a thousand times a second beside a thread that syncs (ext4): at the end of the file p50 33 µs, p99 1.2 to 6 ms,
//! slowest 68 ms; over zeros that were there before 18 µs, 60 to 150 µs, and rarely a millisecond.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::{LogPaths, StoreError, schema};
use crate::model::limits::{
    BUSY_TIMEOUT, CHECKPOINT_ALONE_BYTES, CHECKPOINT_WAL_BYTES, WAL_ROOM_BYTES, WAL_SIZE_LIMIT, WAL_STEP_BYTES,
};

/// A connection that does nothing but checkpoint, for a thread of its own.
#[derive(Debug)]
pub struct Checkpointer {
    connection: Connection,
    paths: LogPaths,
}

impl Checkpointer {
    /// Opens the log, which is made where it is missing.
    pub fn open(paths: &LogPaths) -> Result<Checkpointer, StoreError> {
        Ok(Checkpointer { connection: schema::open_or_create(paths)?, paths: paths.clone() })
    }

    /// Makes room for what will be committed, and checkpoints if enough pages wait for it. Waits for no reader, and lets a
    /// writer wait only if commits have come during every checkpoint until the log was at its bound: it starts over when
    /// all of it is in the database, which under a load without a pause happens only if a writer waits for once.
    pub fn run_if_due(&self) -> Result<bool, StoreError> {
        let failed = |error| StoreError::sql(&self.paths.database(), &error);
        let state = State::of(&self.connection).map_err(failed)?;
        if state.end() > WAL_STEP_BYTES as u64 {
            // Room is a matter of speed: a disk without any is heard of by whoever commits.
            let _ = self.make_room(state.end());
        }
        if state.pending() <= CHECKPOINT_WAL_BYTES {
            return Ok(false);
        }
        checkpoint(&self.connection, "PASSIVE").map_err(failed)?;
        if state.end() > WAL_SIZE_LIMIT {
            // Whoever holds a lock is not waited for: the next look finds another moment.
            self.connection.busy_timeout(Duration::ZERO).map_err(failed)?;
            let finished = checkpoint(&self.connection, "FULL");
            self.connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
            finished.map_err(failed)?;
        }
        Ok(true)
    }

    /// Writes zeros after the end of the write-ahead log, if there are few. SQLite takes them for the remains of an
    /// earlier round. Only whoever has the write lock may do it: another one could be writing there.
    fn make_room(&self, used: u64) -> io::Result<()> {
        let wal = OpenOptions::new().write(true).open(self.paths.wal())?;
        if wal.metadata()?.len() >= (used + WAL_ROOM_BYTES / 2).min(WAL_SIZE_LIMIT) {
            return Ok(());
        }
        let wanted = (used + WAL_ROOM_BYTES).min(WAL_SIZE_LIMIT);
        let zeros = vec![0; WAL_STEP_BYTES];
        loop {
            // Step by step: whoever commits meanwhile does not wait for all of it.
            let lock = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate);
            let _lock = lock.map_err(io::Error::other)?;
            let end = wal.metadata()?.len();
            if end >= wanted {
                break;
            }
            wal.write_all_at(&zeros, end)?;
        }
        wal.sync_data()
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

    /// Where the next page would be written, about: each has 24 bytes before it.
    fn end(&self) -> u64 {
        self.pages + self.pages / 128
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::super::{Reader, Writer};
    use super::*;
    use crate::model::event::Draft;

    #[test]
    fn the_wal_is_emptied_when_it_has_grown_and_only_then() {
        let state = tempfile::tempdir().unwrap();
        let paths = LogPaths::new(state.path());
        let writer = schema::open_or_create(&paths).unwrap();
        let checkpointer = Checkpointer::open(&paths).unwrap();
        let insert = |bytes: u64| {
            let sql = "INSERT INTO events (source, event_type, payload) VALUES ('a', 'b', zeroblob(?1))";
            writer.execute(sql, [i64::try_from(bytes).unwrap()]).unwrap();
        };
        insert(10);
        assert!(!checkpointer.run_if_due().unwrap());
        insert(CHECKPOINT_WAL_BYTES);
        let pending = || State::of(&checkpointer.connection).unwrap().pending();
        assert!(pending() > CHECKPOINT_WAL_BYTES);
        assert!(checkpointer.run_if_due().unwrap());
        assert_eq!(pending(), 0);
        assert!(!checkpointer.run_if_due().unwrap());
    }

    #[test]
    fn there_is_room_before_it_is_needed_and_what_is_in_the_log_stays() {
        let state = tempfile::tempdir().unwrap();
        let paths = LogPaths::new(state.path());
        let mut writer = Writer::open(&paths).unwrap();
        let checkpointer = Checkpointer::open(&paths).unwrap();
        let mut commit = |numbers: std::ops::Range<usize>| {
            for n in numbers {
                let draft = Draft { source: "a".into(), event_type: format!("b{n}"), ..Draft::default() };
                writer.append(&draft, SystemTime::now()).unwrap();
            }
        };
        let length = || std::fs::metadata(paths.wal()).unwrap().len();
        // Rows before, during and after: another process commits while zeros are written.
        commit(0..100);
        std::thread::scope(|scope| {
            scope.spawn(|| commit(100..200));
            checkpointer.run_if_due().unwrap();
        });
        let made = length();
        assert!(made >= WAL_ROOM_BYTES, "{made}");
        commit(200..300);
        assert_eq!(length(), made, "what is committed does not make it longer");
        drop((writer, checkpointer));
        let reader = Reader::open(&paths).unwrap();
        assert_eq!((reader.size().unwrap().rows, reader.quick_check().unwrap()), (300, None));
    }
}
