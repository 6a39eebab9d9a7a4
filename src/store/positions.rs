//! How far each source has come in what it watches, kept in the same transaction as the events that it made of it: a
//! source that starts again goes on where its last committed event was, and neither doubles nor loses.

use std::time::SystemTime;

use rusqlite::{OptionalExtension, TransactionBehavior};

use super::write::insert;
use super::{Appended, StoreError, Writer};
use crate::model::event::Draft;

/// The table, also for logs that were made without it; older programs leave it alone. Only the source itself knows what
/// its position means.
const TABLE: &str =
    "CREATE TABLE IF NOT EXISTS positions (source TEXT PRIMARY KEY, position TEXT NOT NULL) WITHOUT ROWID";

impl Writer {
    /// The position of a source, if it has written one.
    pub fn position(&self, source: &str) -> Result<Option<String>, StoreError> {
        let read = || {
            self.connection().execute_batch(TABLE)?;
            let mut statement = self.connection().prepare_cached("SELECT position FROM positions WHERE source = ?1")?;
            statement.query_row([source], |row| row.get(0)).optional()
        };
        read().map_err(|error| self.error(&error))
    }

    /// Commits what a source has seen, and how far it has come with it: all of that or, on an error, nothing.
    /// [`position`](Self::position) has been asked before.
    pub fn append_from(
        &mut self,
        source: &str,
        drafts: &[Draft],
        position: Option<&str>,
        now: SystemTime,
    ) -> Result<Vec<Appended>, StoreError> {
        let outcomes = (|| {
            let (connection, ids) = self.parts();
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let outcomes = drafts.iter().map(|draft| insert(&transaction, ids, draft, now));
            let outcomes = outcomes.collect::<rusqlite::Result<Vec<_>>>()?;
            if let Some(position) = position {
                let mut statement = transaction.prepare_cached(
                    "INSERT INTO positions VALUES (?1, ?2) ON CONFLICT (source) DO UPDATE SET position = excluded.position",
                )?;
                statement.execute([source, position])?;
            }
            transaction.commit()?;
            Ok(outcomes)
        })();
        let outcomes = outcomes.map_err(|error| self.error(&error))?;
        self.touch();
        Ok(outcomes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LogPaths, Reader};
    use super::*;

    fn draft(id: &str) -> Draft {
        let (source, event_type) = ("docker".to_owned(), "finished".to_owned());
        Draft { source, event_type, delivery_id: Some(id.to_owned()), ingest_method: "source", ..Draft::default() }
    }

    #[test]
    fn a_position_is_committed_with_its_events_or_not_at_all() {
        let root = tempfile::tempdir().unwrap();
        let paths = LogPaths::new(root.path());
        let mut writer = Writer::open(&paths).unwrap();
        assert_eq!(writer.position("docker").unwrap(), None);
        let now = SystemTime::now();
        writer.append_from("docker", &[draft("a"), draft("b")], Some("2"), now).unwrap();
        writer.append_from("docker", &[draft("c")], None, now).unwrap();
        assert_eq!(writer.position("docker").unwrap().as_deref(), Some("2"), "unchanged");
        // Another process holds the write lock for longer than anybody waits: here, a foreign constraint breaks the batch.
        let bad = Draft { payload: None, source: "docker".into(), ..draft("d") };
        writer.connection().execute_batch("CREATE TRIGGER no BEFORE INSERT ON events WHEN NEW.delivery_id = 'e' BEGIN SELECT RAISE(ABORT, 'no'); END").unwrap();
        writer.append_from("docker", &[bad, draft("e")], Some("5"), now).unwrap_err();
        assert_eq!(writer.position("docker").unwrap().as_deref(), Some("2"));
        assert_eq!(Writer::open(&paths).unwrap().position("docker").unwrap().as_deref(), Some("2"), "and kept");
        assert_eq!(writer.position("fs").unwrap(), None);
        assert_eq!(Reader::open(&paths).unwrap().size().unwrap().rows, 3);
    }
}
