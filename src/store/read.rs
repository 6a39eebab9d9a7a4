//! Reading the log in commit order, page by page, whatever is in it.
//!
//! Every page is one statement and so one snapshot. A row that cannot be decoded comes out as [`Row::Unreadable`]
//! and rows that pruning has removed as [`Row::Lost`], so that no caller can pass over either without seeing it.

use std::ops::ControlFlow;
use std::time::{Duration, SystemTime};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Transaction};
use serde_json::Value;

use super::{LogPaths, StoreError, schema};
use crate::model::event::{ENVELOPE, Event, Record, is_too_deep};
use crate::model::event_fields::EventFields;
use crate::model::frame::GapReason;
use crate::model::id::{EventId, Seq};
use crate::model::limits;
use crate::model::row::{Lost, PartialEnvelope, Position, Resolved, Row, Unreadable};
use crate::model::text::one_line;

/// How many rows there are, and how much space they take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Rows between the oldest and the newest.
    pub rows: u64,
    /// Bytes of the database, free pages included, without the write-ahead log.
    pub bytes: u64,
}

/// The one that reads.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
    paths: LogPaths,
    read_only: bool,
}

/// Columns in the order in which [`decode`] reads them. A `fields` beyond its bound is not even loaded, nor is a
/// `summary`, which then is empty: an event without a line for a person is still an event.
pub(super) const COLUMNS: &str = "seq, event_id, delivery_id, source, event_type, owner, repo, received_at, ingest_method, \
                       CASE WHEN octet_length(summary) <= ?2 THEN summary ELSE '' END, CASE WHEN octet_length(fields) <= ?1 THEN fields END";

impl Reader {
    /// Opens a log that exists. Works in a directory that may not be written, if the `-wal` and `-shm` files are
    /// there.
    pub fn open(paths: &LogPaths) -> Result<Reader, StoreError> {
        Ok(Reader { connection: schema::open_read_only(paths)?, paths: paths.clone(), read_only: true })
    }

    /// Opens the log, which is made where it is missing.
    pub fn open_or_create(paths: &LogPaths) -> Result<Reader, StoreError> {
        Ok(Reader { connection: schema::open_or_create(paths)?, paths: paths.clone(), read_only: false })
    }

    /// Reads all of it, and says what is wrong with its structure, if anything.
    pub fn quick_check(&self) -> Result<Option<String>, StoreError> {
        let said: String = self
            .prepare("PRAGMA quick_check(1)")?
            .query_row([], |row| row.get(0))
            .map_err(|error| self.error(&error))?;
        Ok((said != "ok").then_some(said))
    }

    /// The newest row that has a name, or the horizon when all rows are pruned, or [`Position::START`].
    pub fn newest(&self) -> Result<Position, StoreError> {
        let _snapshot = self.snapshot()?;
        let mut statement = self.prepare("SELECT seq, CAST(event_id AS BLOB) FROM events ORDER BY seq DESC")?;
        let mut rows = statement.query([]).map_err(|error| self.error(&error))?;
        let mut newest = None;
        while let Some(row) = rows.next().map_err(|error| self.error(&error))? {
            let seq = Seq(row.get(0).map_err(|error| self.error(&error))?);
            // The place is that of the newest row, whether or not it can be named.
            let newest = *newest.get_or_insert(seq);
            if let Some(id) = row.get_ref(1).ok().and_then(readable_id) {
                return Ok(Position { seq: newest, id });
            }
        }
        let horizon = self.horizon()?.0;
        Ok(Position { seq: newest.unwrap_or(horizon.seq), id: horizon.id })
    }

    /// The place before the oldest row that is left.
    pub fn beginning(&self) -> Result<Position, StoreError> {
        Ok(self.horizon()?.0)
    }

    /// Where a cursor points.
    pub fn resolve(&self, cursor: EventId) -> Result<Resolved, StoreError> {
        let _snapshot = self.snapshot()?;
        let known = |seq: Seq| Resolved { position: Position { seq, id: cursor }, gap: None };
        if cursor == EventId::ZERO {
            return Ok(known(Seq::START));
        }
        let seq = self
            .prepare("SELECT seq FROM events WHERE event_id = ?1")?
            .query_row([cursor.to_string()], |row| row.get(0))
            .optional()
            .map_err(|error| self.error(&error))?;
        if let Some(seq) = seq {
            return Ok(known(Seq(seq)));
        }
        let (horizon, latest_ms) = self.horizon()?;
        if cursor == horizon.id {
            return Ok(known(horizon.seq));
        }
        if horizon.seq > Seq::START && cursor.timestamp_ms() <= latest_ms {
            return Ok(Resolved { position: horizon, gap: Some(GapReason::Pruned) });
        }
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(cursor.timestamp_ms());
        Ok(Resolved { position: self.before(time)?, gap: Some(GapReason::UnknownCursor) })
    }

    /// Visits up to `limit` rows after a place, oldest first, until `visit` breaks off. Returns whether the end of
    /// the log was reached.
    pub fn scan(
        &self,
        after: Seq,
        limit: usize,
        with_payload: bool,
        visit: &mut dyn FnMut(Row) -> ControlFlow<()>,
    ) -> Result<bool, StoreError> {
        let _snapshot = self.snapshot()?;
        let payload = if with_payload { "payload" } else { "NULL" };
        let mut statement =
            self.prepare(&format!("SELECT {COLUMNS}, {payload} FROM events WHERE seq > ?3 ORDER BY seq LIMIT ?4"))?;
        let parameters = (limits::MAX_FIELDS_BYTES, limits::MAX_STORED_SUMMARY_BYTES, after.0, limit);
        let mut rows = statement.query(parameters).map_err(|error| self.error(&error))?;
        let mut visited = 0;
        while let Some(row) = rows.next().map_err(|error| self.error(&error))? {
            let seq = Seq(row.get(0).map_err(|error| self.error(&error))?);
            if visited == 0
                && seq.0 > after.0 + 1
                && let Some(lost) = self.lost(after)?
                && visit(Row::Lost(lost)).is_break()
            {
                return Ok(false);
            }
            visited += 1;
            let row = decode(row, seq).map_or_else(|row| Row::Unreadable(*row), |record| Row::Event(Box::new(record)));
            if visit(row).is_break() {
                return Ok(false);
            }
        }
        if visited == 0
            && let Some(lost) = self.lost(after)?
        {
            return Ok(visit(Row::Lost(lost)).is_continue());
        }
        Ok(visited < limit)
    }

    /// Visits the events before a place, newest first and without their payloads, until `visit` breaks off. What cannot
    /// be read is passed over: this looks for what there is.
    pub fn scan_back(
        &self,
        before: Seq,
        limit: usize,
        visit: &mut dyn FnMut(Record) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let _snapshot = self.snapshot()?;
        let mut statement =
            self.prepare(&format!("SELECT {COLUMNS}, NULL FROM events WHERE seq < ?3 ORDER BY seq DESC LIMIT ?4"))?;
        let parameters = (limits::MAX_FIELDS_BYTES, limits::MAX_STORED_SUMMARY_BYTES, before.0, limit);
        let mut rows = statement.query(parameters).map_err(|error| self.error(&error))?;
        while let Some(row) = rows.next().map_err(|error| self.error(&error))? {
            let seq = Seq(row.get(0).map_err(|error| self.error(&error))?);
            if let Ok(record) = decode(row, seq)
                && visit(record).is_break()
            {
                break;
            }
        }
        Ok(())
    }

    /// The event at a place, with its payload; nothing if there is none, or none that can be read.
    pub fn at(&self, place: Seq) -> Result<Option<Record>, StoreError> {
        let mut found = None;
        self.scan(Seq(place.0 - 1), 1, true, &mut |row| match row {
            Row::Event(record) if record.seq == place => {
                found = Some(*record);
                ControlFlow::Break(())
            }
            // Rows that were pruned before it come first.
            Row::Lost(_) => ControlFlow::Continue(()),
            Row::Event(_) | Row::Unreadable(_) => ControlFlow::Break(()),
        })?;
        Ok(found)
    }

    /// One event by its name, with its payload.
    pub fn find(&self, id: EventId) -> Result<Option<(Record, Option<String>)>, StoreError> {
        let _snapshot = self.snapshot()?;
        let parameters = (limits::MAX_FIELDS_BYTES, limits::MAX_STORED_SUMMARY_BYTES, id.to_string());
        let mut statement =
            self.prepare(&format!("SELECT {COLUMNS}, NULL, payload FROM events WHERE event_id = ?3"))?;
        let mut rows = statement.query(parameters).map_err(|error| self.error(&error))?;
        let Some(row) = rows.next().map_err(|error| self.error(&error))? else { return Ok(None) };
        let seq = Seq(row.get(0).map_err(|error| self.error(&error))?);
        let payload = row.get_ref(12).ok().and_then(|value| text(value).ok().flatten()).map(str::to_owned);
        Ok(decode(row, seq).ok().map(|record| (record, payload)))
    }

    /// The place of what a source has said under this `delivery_id`.
    pub fn said(&self, source: &str, delivery_id: &str) -> Result<Option<Seq>, StoreError> {
        self.prepare("SELECT seq FROM events WHERE source = ?1 AND delivery_id = ?2")?
            .query_row([source, delivery_id], |row| row.get(0).map(Seq))
            .optional()
            .map_err(|error| self.error(&error))
    }

    /// How much there is.
    pub fn size(&self) -> Result<Size, StoreError> {
        let _snapshot = self.snapshot()?;
        self.prepare(
            // One query for each end: both in one would read a whole index.
            "SELECT coalesce((SELECT max(seq) FROM events) - (SELECT min(seq) FROM events) + 1, 0),
                    (SELECT page_count FROM pragma_page_count) * (SELECT page_size FROM pragma_page_size)",
        )?
        .query_row([], |row| Ok(Size { rows: row.get(0)?, bytes: row.get(1)? }))
        .map_err(|error| self.error(&error))
    }

    /// What is missing right after a place.
    fn lost(&self, after: Seq) -> Result<Option<Lost>, StoreError> {
        let (through, _) = self.horizon()?;
        let missed = u64::try_from(through.seq.0 - after.0).unwrap_or(0);
        Ok((missed > 0).then_some(Lost { through, missed }))
    }

    /// The newest row that pruning has removed, and the latest time among all that it has.
    pub(super) fn horizon(&self) -> Result<(Position, u64), StoreError> {
        self.prepare("SELECT seq, event_id, latest_ms FROM horizon")?
            .query_row([], |row| {
                let id: String = row.get(1)?;
                let latest_ms: u64 = row.get(2)?;
                let fallback = EventId::at(SystemTime::UNIX_EPOCH + Duration::from_millis(latest_ms));
                Ok((Position { seq: Seq(row.get(0)?), id: id.parse().unwrap_or(fallback) }, latest_ms))
            })
            .map_err(|error| self.error(&error))
    }

    /// One view of the log for a reader that may have no more than that: to begin it is what can fail there.
    pub(super) fn snapshot(&self) -> Result<Option<Transaction<'_>>, StoreError> {
        if self.read_only { self.view() } else { Ok(None) }
    }

    /// One view of the log for several statements.
    pub(super) fn view(&self) -> Result<Option<Transaction<'_>>, StoreError> {
        if !self.connection.is_autocommit() {
            return Ok(None);
        }
        let begun = schema::settled(|| {
            let snapshot = self.connection.unchecked_transaction()?;
            snapshot.prepare_cached("SELECT 1 FROM horizon")?.query_row([], |_| Ok(()))?;
            Ok(snapshot)
        });
        begun.map(Some).map_err(|error| self.error(&error))
    }

    pub(super) fn prepare(&self, sql: &str) -> Result<rusqlite::CachedStatement<'_>, StoreError> {
        self.connection.prepare_cached(sql).map_err(|error| self.error(&error))
    }

    pub(super) fn error(&self, error: &rusqlite::Error) -> StoreError {
        StoreError::sql(&self.paths.database(), error)
    }
}

pub(super) fn readable_id(value: ValueRef<'_>) -> Option<EventId> {
    std::str::from_utf8(value.as_bytes().ok()?).ok()?.parse().ok()
}

pub(super) fn decode(row: &rusqlite::Row<'_>, seq: Seq) -> Result<Record, Box<Unreadable>> {
    let columns = Columns { row };
    columns.record(seq).map_err(|problem| {
        Box::new(Unreadable {
            seq,
            id: columns.text(1, "event_id", 26).ok().and_then(|text| text.parse().ok()),
            envelope: PartialEnvelope {
                source: columns.name(3, "source").ok(),
                event_type: columns.name(4, "event_type").ok(),
                owner: columns.text(5, "owner", limits::MAX_REPO_BYTES).ok().map(str::to_owned),
                repo: columns.text(6, "repo", limits::MAX_REPO_BYTES).ok().map(str::to_owned),
            },
            problem,
        })
    })
}

/// Access to the columns of [`COLUMNS`], with a message for each way in which one can be wrong.
struct Columns<'a> {
    row: &'a rusqlite::Row<'a>,
}

impl Columns<'_> {
    fn record(&self, seq: Seq) -> Result<Record, String> {
        let id = self.text(1, "event_id", 26)?.parse().map_err(|error| format!("event_id is {error}"))?;
        let ingest_method = self.name(8, "ingest_method")?;
        // Cleaned whatever the row says of its origin: anybody can write that.
        let summary = one_line(self.text(9, "summary", limits::MAX_STORED_SUMMARY_BYTES)?);
        let event = Event {
            id,
            delivery_id: self.text(2, "delivery_id", limits::MAX_DELIVERY_ID_BYTES)?.to_owned(),
            source: self.name(3, "source")?,
            event_type: self.name(4, "event_type")?,
            owner: self.text(5, "owner", limits::MAX_REPO_BYTES)?.to_owned(),
            repo: self.text(6, "repo", limits::MAX_REPO_BYTES)?.to_owned(),
            received_at: match self.row.get_ref(7) {
                Ok(ValueRef::Integer(nanoseconds)) => nanoseconds,
                _ => return Err("received_at is not an integer".into()),
            },
            ingest_method,
            summary,
            fields: self.fields()?,
        };
        let payload = self.row.get_ref(11).ok().and_then(|value| text(value).ok().flatten());
        Ok(Record::new(seq, event, payload.map(str::to_owned)))
    }

    fn fields(&self) -> Result<EventFields, String> {
        let text = match self.row.get_ref(10).map_err(|error| error.to_string())? {
            ValueRef::Null => return Err(format!("fields is null or over {} bytes", limits::MAX_FIELDS_BYTES)),
            value => text(value)?.ok_or("fields is not text")?,
        };
        if let Some(fields) = EventFields::as_printed(text) {
            return Ok(fields);
        }
        match serde_json::from_str(text) {
            Ok(Value::Object(mut fields)) => {
                for name in ENVELOPE {
                    fields.remove(name);
                }
                if is_too_deep(&fields) {
                    return Err(format!("fields is nested more than {} deep", limits::MAX_FIELD_DEPTH));
                }
                Ok(fields.into())
            }
            Ok(_) => Err("fields is not a JSON object".into()),
            Err(error) => Err(format!("fields is not JSON: {error}")),
        }
    }

    fn name(&self, index: usize, column: &str) -> Result<String, String> {
        match self.text(index, column, limits::MAX_NAME_BYTES)? {
            "" => Err(format!("{column} is empty")),
            name => Ok(name.to_owned()),
        }
    }

    fn text(&self, index: usize, column: &str, limit: usize) -> Result<&str, String> {
        let value = self.row.get_ref(index).map_err(|error| error.to_string())?;
        let text = text(value).and_then(|text| text.ok_or("is not text".into()));
        match text {
            Ok(text) if text.len() <= limit => Ok(text),
            Ok(text) => Err(format!("{column} has {} bytes, more than {limit}", text.len())),
            Err(problem) => Err(format!("{column} {problem}")),
        }
    }
}

fn text(value: ValueRef<'_>) -> Result<Option<&str>, String> {
    match value {
        ValueRef::Text(bytes) => std::str::from_utf8(bytes).map(Some).map_err(|_| "is not UTF-8".to_owned()),
        _ => Ok(None),
    }
}
