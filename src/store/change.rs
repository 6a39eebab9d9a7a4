//! Committing what has changed, and only that.
//!
//! The key of a change is `OF/N/STATE`, N counted from 1. What is said is compared with the newest change of the same
//! thing, in the transaction that stores it: the same state is a duplicate, whoever repeats it and however often; another
//! one is stored, also a state that it has been in before.

use std::time::SystemTime;

use rusqlite::{OptionalExtension, Transaction, TransactionBehavior};

use super::write::insert;
use super::{Appended, StoreError, Writer};
use crate::model::change::Change;
use crate::model::event::Draft;
use crate::model::id::EventId;

impl Writer {
    /// Commits what is news of the changes, and then the events, in one transaction: all of them or, on an error, none.
    /// Returns what became of each, in this order. The caller has checked the drafts.
    pub fn append_changes(
        &mut self,
        changes: &[Change],
        events: &[Draft],
        now: SystemTime,
    ) -> Result<Vec<Appended>, StoreError> {
        let outcomes = (|| {
            let (connection, ids) = self.parts();
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut outcomes = Vec::with_capacity(changes.len() + events.len());
            for change in changes {
                let newest = newest(&transaction, change)?;
                let (number, state) = newest.as_ref().map_or((0, ""), |newest| (newest.number, &*newest.state));
                outcomes.push(match newest.as_ref().filter(|_| state == change.state) {
                    Some(same) => Appended::Duplicate { id: same.id },
                    None => {
                        let key = format!("{}/{}/{}", change.of, number + 1, change.state);
                        let draft = Draft { delivery_id: Some(key), ..change.draft.clone() };
                        insert(&transaction, ids, &draft, now)?
                    }
                });
            }
            for draft in events {
                outcomes.push(insert(&transaction, ids, draft, now)?);
            }
            transaction.commit()?;
            Ok(outcomes)
        })();
        let outcomes = outcomes.map_err(|error| self.error(&error))?;
        self.touch();
        Ok(outcomes)
    }
}

struct Newest {
    number: u64,
    state: String,
    id: EventId,
}

/// The newest change of the same thing that is still in the log. Foreign rows whose keys are none are passed over.
fn newest(transaction: &Transaction<'_>, change: &Change) -> rusqlite::Result<Option<Newest>> {
    let mut statement = transaction.prepare_cached(
        // '0' is the character after '/', so these are the keys that begin with `OF/`.
        "SELECT delivery_id, event_id FROM events WHERE source = ?1 AND delivery_id > ?2 || '/' AND delivery_id < ?2 || '0'
         ORDER BY seq DESC LIMIT 1",
    )?;
    let row: Option<(String, String)> =
        statement.query_row([&change.draft.source, &change.of], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    Ok(row.and_then(|(key, id)| {
        let (number, state) = key[change.of.len() + 1..].split_once('/')?;
        Some(Newest { number: number.parse().ok()?, state: state.to_owned(), id: id.parse().unwrap_or(EventId::ZERO) })
    }))
}

#[cfg(test)]
mod tests {
    use super::super::{LogPaths, Reader};
    use super::*;

    fn change(of: &str, state: &str) -> Change {
        let (source, event_type) = ("alertmanager".to_owned(), "prometheus_alert".to_owned());
        let draft = Draft { source, event_type, ingest_method: "webhook", ..Draft::default() };
        Change { of: of.to_owned(), state: state.to_owned(), draft }
    }

    #[test]
    fn a_state_that_is_repeated_is_one_event_and_one_that_comes_back_is_another() {
        // An alert that its Prometheus could not repeat in time is resolved, and when it can again the same alert fires,
        // since the same time: a key of those had it taken for a repetition, and the alert stayed resolved.
        let root = tempfile::tempdir().unwrap();
        let paths = LogPaths::new(root.path());
        let mut writer = Writer::open(&paths).unwrap();
        let mut say = |states: &[(&str, &str)]| -> Vec<bool> {
            let changes: Vec<_> = states.iter().map(|(of, state)| change(of, state)).collect();
            let outcomes = writer.append_changes(&changes, &[], SystemTime::now()).unwrap();
            outcomes.iter().map(|outcome| matches!(outcome, Appended::Stored { .. })).collect()
        };
        assert_eq!(say(&[("a", "firing"), ("b", "firing"), ("a", "firing")]), [true, true, false]);
        assert_eq!(say(&[("a", "firing"), ("a", "resolved"), ("b", "firing")]), [false, true, false]);
        assert_eq!(
            say(&[("a", "resolved"), ("a", "firing"), ("a", "firing"), ("a", "resolved")]),
            [false, true, false, true]
        );
        // One name that begins with another, and more changes than one digit counts.
        assert_eq!(say(&[("a0", "resolved"), ("a", "resolved")]), [true, false]);
        for round in 0..12 {
            assert_eq!(say(&[("c", "firing"), ("c", "resolved")]), [true, true], "{round}");
        }
        assert_eq!(Reader::open(&paths).unwrap().size().unwrap().rows, 5 + 1 + 24);
    }

    #[test]
    fn changes_and_events_are_stored_together_or_not_at_all() {
        let root = tempfile::tempdir().unwrap();
        let paths = LogPaths::new(root.path());
        let mut writer = Writer::open(&paths).unwrap();
        let event = Draft { event_type: "refused".into(), ..change("", "").draft };
        writer.connection().execute_batch("CREATE TRIGGER no BEFORE INSERT ON events WHEN NEW.event_type = 'refused' BEGIN SELECT RAISE(ABORT, 'no'); END").unwrap();
        writer.append_changes(&[change("a", "firing")], &[event], SystemTime::now()).unwrap_err();
        assert_eq!(Reader::open(&paths).unwrap().size().unwrap().rows, 0);
    }
}
