//! Committing events. One [`Writer`] per process, kept open.

use std::time::SystemTime;

use rusqlite::{Connection, TransactionBehavior, params};

use super::{LogPaths, StoreError, checkpoint, schema};
use crate::model::event::Draft;
use crate::model::id::{EventId, IdGenerator, Seq};
use crate::model::limits::{CHECKPOINT_ALONE_BYTES, CHECKPOINT_LOOK_EVERY};
use crate::model::text::one_line;
use crate::sys::wake::TouchFile;

/// What became of a draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is committed.
    Stored {
        /// Its place.
        seq: Seq,
        /// Its name.
        id: EventId,
    },
    /// An event of the same source and `delivery_id` is already in the log.
    Duplicate {
        /// The name of that event.
        id: EventId,
    },
}

impl Appended {
    /// The event's name, whether it was stored now or before.
    #[must_use]
    pub fn id(&self) -> EventId {
        match *self {
            Appended::Stored { id, .. } | Appended::Duplicate { id } => id,
        }
    }
}

/// The one that writes.
#[derive(Debug)]
pub struct Writer {
    connection: Connection,
    paths: LogPaths,
    wake: TouchFile,
    ids: IdGenerator,
    calls_since_look: usize,
}

impl Writer {
    /// Opens the log, which is made where it is missing.
    pub fn open(paths: &LogPaths) -> Result<Writer, StoreError> {
        let connection = schema::open_or_create(paths)?;
        let wake = TouchFile::open(&paths.wake()).map_err(|error| StoreError::io(&paths.wake(), &error))?;
        Ok(Writer { connection, paths: paths.clone(), wake, ids: IdGenerator::default(), calls_since_look: 0 })
    }

    /// Commits one event. The caller has checked the draft; when this returns, the row survives the end of any
    /// process, and the wake file has been touched.
    pub fn append(&mut self, draft: &Draft, now: SystemTime) -> Result<Appended, StoreError> {
        let outcome = insert(&self.connection, &mut self.ids, draft, now).map_err(|error| self.error(&error))?;
        self.wake.touch();
        Ok(outcome)
    }

    /// Commits many events in one transaction: all of them or, on an error, none.
    pub fn append_all(&mut self, drafts: &[Draft], now: SystemTime) -> Result<Vec<Appended>, StoreError> {
        let outcomes = (|| {
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let outcomes = drafts
                .iter()
                .map(|draft| insert(&transaction, &mut self.ids, draft, now))
                .collect::<rusqlite::Result<Vec<_>>>()?;
            transaction.commit()?;
            Ok(outcomes)
        })();
        let outcomes = outcomes.map_err(|error| self.error(&error))?;
        self.wake.touch();
        Ok(outcomes)
    }

    /// Moves committed pages into the database if the write-ahead log has grown past its bound. For writers that
    /// have nobody else to do it; call it when nobody waits for you. It looks at its first call and then now and
    /// again, because looking costs about as much as a commit.
    pub fn checkpoint_if_due(&mut self) -> Result<(), StoreError> {
        let look = self.calls_since_look == 0;
        self.calls_since_look = (self.calls_since_look + 1) % CHECKPOINT_LOOK_EVERY;
        // The file keeps its size when SQLite starts it over, so a large one only says that a look is worth it.
        let large = |wal: std::fs::Metadata| wal.len() > CHECKPOINT_ALONE_BYTES;
        if look && std::fs::metadata(self.paths.wal()).is_ok_and(large) {
            checkpoint::run_alone(&self.connection).map_err(|error| self.error(&error))?;
        }
        Ok(())
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn parts(&mut self) -> (&mut Connection, &mut IdGenerator) {
        (&mut self.connection, &mut self.ids)
    }

    pub(super) fn touch(&mut self) {
        self.wake.touch();
    }

    pub(super) fn connection_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }

    pub(super) fn error(&self, error: &rusqlite::Error) -> StoreError {
        StoreError::sql(&self.paths.database(), error)
    }
}

pub(super) fn insert(
    connection: &Connection,
    ids: &mut IdGenerator,
    draft: &Draft,
    now: SystemTime,
) -> rusqlite::Result<Appended> {
    let id = ids.next(now);
    let text = id.to_string();
    let received_at = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    // A map of names and values always is JSON.
    let fields = serde_json::to_string(&draft.fields).unwrap_or_default();
    let delivery_id = draft.delivery_id.as_deref().unwrap_or(&text);
    // ON CONFLICT DO NOTHING would use up a sequence number for every duplicate, and the holes would make a gap's
    // count of missing rows wrong.
    let mut statement = connection.prepare_cached(
        "INSERT INTO events (event_id, delivery_id, source, event_type, owner, repo, received_at, ingest_method,
                             summary, fields, payload)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11
         WHERE NOT EXISTS (SELECT 1 FROM events WHERE source = ?3 AND delivery_id = ?2) RETURNING seq",
    )?;
    let mut rows = statement.query(params![
        text,
        delivery_id,
        draft.source,
        draft.event_type,
        draft.owner,
        draft.repo,
        i64::try_from(received_at).unwrap_or(i64::MAX),
        draft.ingest_method,
        one_line(&draft.summary),
        fields,
        draft.payload,
    ])?;
    let seq = rows.next()?.map(|row| row.get(0)).transpose()?;
    // The row comes back before the commit has happened; only the end of the statement tells whether it has.
    while rows.next()?.is_some() {}
    match seq {
        Some(seq) => Ok(Appended::Stored { seq: Seq(seq), id }),
        None if draft.is_certain && draft.delivery_id.is_some() => {
            let other = Draft { delivery_id: None, ..draft.clone() };
            insert(connection, ids, &other, now)
        }
        None => Ok(Appended::Duplicate { id: existing(connection, &draft.source, delivery_id)? }),
    }
}

fn existing(connection: &Connection, source: &str, delivery_id: &str) -> rusqlite::Result<EventId> {
    let mut statement =
        connection.prepare_cached("SELECT event_id FROM events WHERE source = ?1 AND delivery_id = ?2")?;
    let text: String = statement.query_row([source, delivery_id], |row| row.get(0))?;
    // A foreign writer may have stored the first of the two under a name that is no id.
    Ok(text.parse().unwrap_or(EventId::ZERO))
}
