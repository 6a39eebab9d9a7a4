//! Finding what the log says of one commit without reading all of it: an index for each field that names commits.
//!
//! The indexes are over the text of `fields` and not over its JSON. Any program may insert rows, with whatever SQLite it
//! has, and an index is damaged when two versions of the JSON functions disagree on a row; what is no JSON, or no UTF-8,
//! is just another text. So the indexes only propose rows, and whoever reads those decides what they say.

use rusqlite::Connection;

use super::StoreError;
use super::read::{COLUMNS, Reader, decode};
use crate::model::id::{EventId, Seq};
use crate::model::limits;
use crate::model::row::{Position, Resolved, Row};
use crate::model::sha::Sha;

/// The fields whose rows are found: what happened to a commit, and what was pushed after it.
const FIELDS: [&str; 2] = ["head_sha", "before"];

/// Whether `fields` has such a key, as JSON is usually written: the colon right after the name. Within a text the quotes
/// would be escaped.
fn present(field: &str) -> String {
    format!("instr(fields, '\"{field}\":') > 0")
}

/// The 40 characters after that key, without the quote before them.
fn commit(field: &str) -> String {
    let skipped = field.len() + r#""":"#.len();
    format!("substr(ltrim(substr(fields, instr(fields, '\"{field}\":') + {skipped}, 60), ' \"'), 1, 40)")
}

/// Makes the indexes.
pub(super) fn index(connection: &Connection) -> rusqlite::Result<()> {
    for field in FIELDS {
        let (commit, present) = (commit(field), present(field));
        connection.execute_batch(&format!("CREATE INDEX by_{field} ON events ({commit}) WHERE {present}"))?;
    }
    Ok(())
}

/// The rows of a commit: the beginning of its name is `?3`, and `?4` is what comes after all that begin so.
fn query() -> String {
    let found = FIELDS.map(|field| {
        let (commit, present) = (commit(field), present(field));
        format!("SELECT seq FROM events WHERE {present} AND {commit} >= ?3 AND {commit} < ?4")
    });
    format!("SELECT {COLUMNS}, NULL FROM events WHERE seq IN ({}) ORDER BY seq", found.join(" UNION "))
}

impl Reader {
    /// Visits every row after a cursor that names the commit, oldest first, whatever else it says. Returns where the cursor
    /// points, and the newest place of the same view of the log: whoever goes on from there misses nothing. In an old log
    /// that could not be given its indexes, all rows are looked at.
    pub fn of_commit(
        &self,
        sha: &Sha,
        after: EventId,
        visit: &mut dyn FnMut(Row),
    ) -> Result<(Resolved, Position), StoreError> {
        let _view = self.view()?;
        let begin = self.resolve(after)?;
        let mut statement = self.prepare(&query())?;
        // `g` comes after the last digit.
        let after = format!("{sha}g");
        let bounds = (limits::MAX_FIELDS_BYTES, limits::MAX_STORED_SUMMARY_BYTES, sha.as_str(), after);
        let mut rows = statement.query(bounds).map_err(|error| self.error(&error))?;
        while let Some(row) = rows.next().map_err(|error| self.error(&error))? {
            let seq = Seq(row.get(0).map_err(|error| self.error(&error))?);
            // Few rows name a commit, and a condition on the place could lead the query away from its indexes.
            if seq <= begin.position.seq {
                continue;
            }
            visit(decode(row, seq).map_or_else(|row| Row::Unreadable(*row), |record| Row::Event(Box::new(record))));
        }
        Ok((begin, self.newest()?))
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use serde_json::json;

    use super::super::{LogPaths, Writer, schema};
    use super::*;
    use crate::model::event::{Draft, ingest_method};

    const COMMIT: &str = "3484a3fb816e0859fd6e1cea078d76385ff50625";
    const OTHER: &str = "f95f852bd8fca8fcc58a9a2d6c842781e32a215e";

    struct Log {
        _state: tempfile::TempDir,
        paths: LogPaths,
        writer: Writer,
    }

    fn log() -> Log {
        let state = tempfile::tempdir().unwrap();
        let paths = LogPaths::new(state.path());
        let writer = Writer::open(&paths).unwrap();
        Log { _state: state, paths, writer }
    }

    impl Log {
        fn append(&mut self, fields: &serde_json::Value) {
            let draft = Draft {
                source: "github".into(),
                event_type: "push".into(),
                ingest_method: ingest_method::EMIT,
                fields: fields.as_object().cloned().unwrap(),
                ..Draft::default()
            };
            self.writer.append(&draft, SystemTime::UNIX_EPOCH).unwrap();
        }

        fn foreign(&self, sql: &str) {
            Connection::open(self.paths.database()).unwrap().execute_batch(sql).unwrap();
        }

        fn found(&self, sha: &str) -> (Vec<i64>, Vec<i64>) {
            let (mut events, mut unreadable) = (Vec::new(), Vec::new());
            let reader = Reader::open(&self.paths).unwrap();
            let place = reader.of_commit(&sha.parse().unwrap(), EventId::ZERO, &mut |row| match row {
                Row::Event(record) => events.push(record.seq.0),
                Row::Unreadable(row) => unreadable.push(row.seq.0),
                Row::Lost(lost) => panic!("{lost:?}"),
            });
            assert_eq!(place.unwrap().1, reader.newest().unwrap());
            (events, unreadable)
        }
    }

    #[test]
    fn a_commit_is_found_by_any_beginning_of_it_and_nothing_else_is() {
        let mut log = log();
        log.append(&json!({"head_sha": COMMIT, "head_branch": "head_sha"}));
        log.append(&json!({"head_sha": OTHER, "title": format!("\"head_sha\":\"{COMMIT}")}));
        log.append(&json!({"head_sha": OTHER, "before": COMMIT}));
        log.append(&json!({"title": COMMIT}));
        log.append(&json!({"before": OTHER, "head_sha": "3484a3fffffffffffffffffffffffffffffffff0"}));
        for sha in [COMMIT, &COMMIT[..8], &COMMIT[..39]] {
            assert_eq!(log.found(sha), (vec![1, 3], vec![]), "{sha}");
        }
        assert_eq!(log.found(&COMMIT[..7]), (vec![1, 3, 5], vec![]));
        assert_eq!(log.found(OTHER), (vec![2, 3, 5], vec![]));
        assert_eq!(log.found("0000000"), (vec![], vec![]));
    }

    #[test]
    fn rows_of_other_programs_are_found_however_they_space_them_and_harm_nobody_whatever_they_hold() {
        let log = log();
        for fields in [
            format!("'{{\"head_sha\": \"{COMMIT}\"}}'"),
            format!("'{{\"head_sha\":   \"{COMMIT}\", \"x\": 1'"),
            format!("'{{\"head_sha\":\"{COMMIT}\",\"x\":\"' || CAST(x'ff' AS TEXT) || '\"}}'"),
            format!("CAST('{{\"head_sha\":\"{COMMIT}\"}}' AS BLOB)"),
            "'\"head_sha\":'".to_owned(),
            "x'ff00'".to_owned(),
            "12".to_owned(),
        ] {
            log.foreign(&format!("INSERT INTO events (source, event_type, fields) VALUES ('x', 'y', {fields})"));
        }
        assert_eq!(log.found(COMMIT), (vec![1], vec![2, 3, 4]), "what cannot be read is told, not left out");
        log.foreign("DELETE FROM events");
        assert_eq!(log.found(COMMIT), (vec![], vec![]));
        let whole: String = Connection::open(log.paths.database())
            .unwrap()
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(whole, "ok");
    }

    #[test]
    fn the_log_is_not_read_for_it() {
        let log = log();
        let connection = Connection::open(log.paths.database()).unwrap();
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", query())).unwrap();
        let sha: Sha = COMMIT.parse().unwrap();
        let plan = statement.query_map((1, 1, sha.as_str(), "x"), |row| row.get::<_, String>(3)).unwrap();
        let plan: Vec<_> = plan.map(Result::unwrap).collect();
        for index in ["by_head_sha", "by_before"] {
            assert!(plan.iter().any(|step| step.contains("SEARCH") && step.contains(index)), "{plan:?}");
        }
        assert!(!plan.iter().any(|step| step.starts_with("SCAN events")), "{plan:?}");
    }

    /// A log as the first version made it.
    fn old(paths: &LogPaths) {
        drop(schema::open_or_create(paths).unwrap());
        let connection = Connection::open(paths.database()).unwrap();
        connection.execute_batch("DROP INDEX by_head_sha; DROP INDEX by_before; PRAGMA user_version=1").unwrap();
        let sql =
            "INSERT INTO events (source, event_type, fields) VALUES ('github', 'push', json_object('head_sha', ?1))";
        connection.execute(sql, [COMMIT]).unwrap();
    }

    #[test]
    fn a_log_of_the_first_version_is_read_as_it_is_and_brought_up_to_date_by_who_writes() {
        let state = tempfile::tempdir().unwrap();
        let paths = LogPaths::new(state.path());
        old(&paths);
        let version = || {
            let connection = Connection::open(paths.database()).unwrap();
            connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0)).unwrap()
        };
        let found = || {
            let mut found = 0;
            let reader = Reader::open(&paths).unwrap();
            reader.of_commit(&COMMIT.parse().unwrap(), EventId::ZERO, &mut |_| found += 1).unwrap();
            found
        };
        assert_eq!((found(), version()), (1, 1), "a reader changes nothing");
        drop(schema::open_or_create(&paths).unwrap());
        assert_eq!((found(), version()), (1, schema::VERSION));
    }

    #[test]
    fn a_log_that_many_open_at_once_is_brought_up_to_date_by_one_of_them() {
        let state = tempfile::tempdir().unwrap();
        let paths = LogPaths::new(state.path());
        for _ in 0..20 {
            old(&paths);
            let start = std::sync::Barrier::new(8);
            std::thread::scope(|scope| {
                let open = || {
                    scope.spawn(|| {
                        start.wait();
                        schema::open_or_create(&paths).is_ok()
                    })
                };
                for opened in [(); 8].map(|()| open()) {
                    assert!(opened.join().unwrap());
                }
            });
        }
    }
}
