//! The names that events have had, kept beside them: those of rows that are pruned are still known.
//!
//! Nobody who commits pays for it. The hub, which reads every row, writes down what it has not met before, and how far
//! it has read; whoever needs the names reads the rows after that place as well. A log that has no such tables yet is
//! read from its beginning once.

use std::ops::ControlFlow;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::{LogPaths, Reader, StoreError, schema};
use crate::model::id::Seq;
use crate::model::limits::{NAMES_READ_AT_ONCE, PAGE_ROWS};
use crate::model::row::{Position, Row};
use crate::model::vocabulary::{Kind, Name, Vocabulary};

/// The tables, also for logs that were made without them; older programs leave them alone.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS names (kind TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID;
-- The newest row whose names are in there.
CREATE TABLE IF NOT EXISTS names_read (one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL);
";

impl Reader {
    /// The names that are written down, and the place up to which they are complete.
    pub fn names(&self) -> Result<Learned, StoreError> {
        let _snapshot = self.snapshot()?;
        let mut vocabulary = Vocabulary::default();
        let exists = self
            .prepare("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('names', 'names_read')")?
            .query_row([], |row| row.get::<_, u64>(0))
            .map_err(|error| self.error(&error))?;
        if exists < 2 {
            return Ok(Learned::default());
        }
        let mut statement = self.prepare("SELECT kind, name FROM names")?;
        let mut rows = statement.query([]).map_err(|error| self.error(&error))?;
        while let Some(row) = rows.next().map_err(|error| self.error(&error))? {
            // Anybody can write anything there; what makes no sense is no name.
            let text = |index| row.get_ref(index).ok().and_then(|value| value.as_str().ok());
            let kind = text(0).and_then(|word| Kind::ALL.into_iter().find(|(_, of)| *of == word));
            if let (Some((kind, _)), Some(name)) = (kind, text(1)) {
                vocabulary.add(kind, name);
            }
        }
        let seq: Option<i64> = self
            .prepare("SELECT seq FROM names_read")?
            .query_row([], |row| row.get(0))
            .optional()
            .map_err(|error| self.error(&error))?;
        Ok(Learned { vocabulary, new: Vec::new(), place: Seq(seq.unwrap_or(0)) })
    }

    /// Adds the names of one page of rows after a place, and moves it. Returns whether the end of the log was reached.
    pub fn learn(&self, known: &mut Learned) -> Result<bool, StoreError> {
        let Learned { vocabulary, new, place } = known;
        self.scan(*place, PAGE_ROWS, false, &mut |row| {
            if let Row::Event(record) = &row {
                new.extend(vocabulary.learn(record));
            }
            *place = row.position(Position::START).seq;
            ControlFlow::Continue(())
        })
    }

    /// The same for as many pages as may be waited for.
    pub fn learn_at_once(&self, known: &mut Learned) -> Result<bool, StoreError> {
        for _ in 0..NAMES_READ_AT_ONCE / PAGE_ROWS {
            if self.learn(known)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Names, and how far the log was read for them.
#[derive(Debug, Default)]
pub struct Learned {
    /// All of them.
    pub vocabulary: Vocabulary,
    /// Those that were met while reading.
    pub new: Vec<Name>,
    /// Their rows end here.
    pub place: Seq,
}

/// The one that writes names down.
#[derive(Debug)]
pub struct Scribe {
    connection: Connection,
    paths: LogPaths,
}

impl Scribe {
    /// Opens the log, which has to be there.
    pub fn open(paths: &LogPaths) -> Result<Scribe, StoreError> {
        let scribe = Scribe { connection: schema::open_or_create(paths)?, paths: paths.clone() };
        scribe.connection.execute_batch(TABLES).map_err(|error| scribe.error(&error))?;
        Ok(scribe)
    }

    /// Writes names down, and that those of all rows up to a place are there.
    pub fn write(&mut self, names: &[Name], read: Seq) -> Result<(), StoreError> {
        let written = (|| {
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            {
                let mut insert =
                    transaction.prepare_cached("INSERT OR IGNORE INTO names (kind, name) VALUES (?1, ?2)")?;
                for (kind, name) in names {
                    let word = Kind::ALL.into_iter().find(|(known, _)| known == kind).map_or("", |(_, word)| word);
                    insert.execute([word, name])?;
                }
                let mut place = transaction.prepare_cached(
                    "INSERT INTO names_read VALUES (1, ?1) ON CONFLICT (one) DO UPDATE SET seq = max(seq, excluded.seq)",
                )?;
                place.execute([read.0])?;
            }
            transaction.commit()
        })();
        written.map_err(|error| self.error(&error))
    }

    fn error(&self, error: &rusqlite::Error) -> StoreError {
        StoreError::sql(&self.paths.database(), error)
    }
}
