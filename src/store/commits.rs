//! Finding what the log says of one commit without reading all of it: an index for each field that names commits.
//!
//! The indexes are over the text of `fields` and not over its JSON. Any program may insert rows, with whatever SQLite it
//! has, and an index is damaged when two versions of the JSON functions disagree on a row; what is no JSON, or no UTF-8,
//! is just another text. So the indexes only propose rows, and whoever reads those decides what they say.

use rusqlite::Connection;

use super::StoreError;
use super::read::{COLUMNS, Reader, decode};
use crate::model::id::Seq;
use crate::model::limits;
use crate::model::row::{Position, Row};
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

impl Reader {
    /// Visits every row that names the commit, oldest first, whatever else it says. Returns the newest place of the same
    /// view of the log: whoever goes on from there misses nothing. In an old log that could not be given its indexes,
    /// all rows are looked at.
    pub fn of_commit(&self, sha: &Sha, visit: &mut dyn FnMut(Row)) -> Result<Position, StoreError> {
        let _snapshot = self.snapshot()?;
        let found = FIELDS.map(|field| {
            let (commit, present) = (commit(field), present(field));
            format!("SELECT seq FROM events WHERE {present} AND {commit} >= ?3 AND {commit} < ?4")
        });
        let sql = format!("SELECT {COLUMNS}, NULL FROM events WHERE seq IN ({}) ORDER BY seq", found.join(" UNION "));
        let mut statement = self.prepare(&sql)?;
        // `g` comes after the last digit.
        let (first, after) = (sha.as_str(), format!("{sha}g"));
        let mut rows = statement
            .query((limits::MAX_FIELDS_BYTES, limits::MAX_STORED_SUMMARY_BYTES, first, after))
            .map_err(|error| self.error(&error))?;
        while let Some(row) = rows.next().map_err(|error| self.error(&error))? {
            let seq = Seq(row.get(0).map_err(|error| self.error(&error))?);
            visit(decode(row, seq).map_or_else(|row| Row::Unreadable(*row), |record| Row::Event(Box::new(record))));
        }
        self.newest()
    }
}
