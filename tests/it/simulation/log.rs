//! The model of the log: every row that was ever committed, in a vector, and what has been pruned of it.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use waitbus::model::id::EventId;

/// A row as it was written.
#[derive(Clone, Debug)]
pub struct ModelRow {
    /// `None` where that is no event id.
    pub id: Option<EventId>,
    pub source: Option<&'static str>,
    pub kind: Option<&'static str>,
    pub repo: (&'static str, &'static str),
    /// The field `n`.
    pub number: Option<i64>,
    /// The number inside the payload.
    pub payload: Option<i64>,
    /// `None` where that is no number.
    pub received_at: Option<i64>,
    pub key: Option<String>,
    pub readable: bool,
    /// Whether its frame exceeds the cap.
    pub huge: bool,
}

/// A place in the log: the number of the last row before it, and how it is called.
pub type Place = (usize, EventId);

pub struct Log {
    rows: Vec<ModelRow>,
    horizon: Place,
    latest_ms: u64,
    /// Every place that was a horizon at some time.
    horizons: Vec<Place>,
    /// Which places an id has been a name of.
    names: HashMap<EventId, Vec<usize>>,
    /// Where the log ended when a source did, by the number that it had told of itself.
    pub ends: HashMap<u64, usize>,
    /// Where it ended when a source first gave this reason for being silent.
    pub silences: HashMap<u64, usize>,
}

impl Log {
    pub fn new() -> Log {
        let names = HashMap::from([(EventId::ZERO, vec![0])]);
        Log {
            rows: Vec::new(),
            horizon: (0, EventId::ZERO),
            latest_ms: 0,
            horizons: Vec::new(),
            names,
            ends: HashMap::new(),
            silences: HashMap::new(),
        }
    }

    /// The number of the newest row that was ever committed.
    pub fn end(&self) -> usize {
        self.rows.len()
    }

    /// Rows are numbered from 1.
    pub fn row(&self, number: usize) -> &ModelRow {
        &self.rows[number - 1]
    }

    pub fn push(&mut self, row: ModelRow) {
        self.rows.push(row);
        if let Some(id) = self.row(self.end()).id {
            self.name((self.end(), id));
        }
    }

    fn name(&mut self, (number, id): Place) {
        self.names.entry(id).or_default().push(number);
    }

    /// The number of the row with this name.
    pub fn find(&self, id: EventId) -> Option<usize> {
        self.names.get(&id)?.iter().copied().find(|&number| number > 0 && self.row(number).id == Some(id))
    }

    /// The row that makes an append of this key a duplicate.
    pub fn holder(&self, source: &str, key: &str) -> Option<&ModelRow> {
        self.rows[self.horizon.0..].iter().find(|row| row.source == Some(source) && row.key.as_deref() == Some(key))
    }

    /// Ids of rows that are there, and of rows that were.
    pub fn known(&self) -> (Vec<EventId>, Vec<EventId>) {
        let ids = |rows: &[ModelRow]| rows.iter().filter_map(|row| row.id).collect();
        (ids(&self.rows[self.horizon.0..]), ids(&self.rows[..self.horizon.0]))
    }

    /// Whether a reader that has come to place `number` may call it `id`: rows without a name do not change it.
    pub fn is_name(&self, id: EventId, number: usize) -> bool {
        let carried = |&named: &usize| named <= number && (named..number).all(|index| self.rows[index].id.is_none());
        self.names.get(&id).is_some_and(|places| places.iter().any(carried))
    }

    pub fn was_horizon(&self, id: EventId) -> impl Iterator<Item = usize> {
        self.horizons.iter().filter(move |horizon| horizon.1 == id).map(|horizon| horizon.0)
    }

    pub fn newest(&self) -> Place {
        let named = self.rows[self.horizon.0..].iter().rev().find_map(|row| row.id);
        (self.end(), named.unwrap_or(self.horizon.1))
    }

    /// Where a cursor points, and why something after it may be missing.
    pub fn resolve(&mut self, cursor: EventId) -> (Place, Option<&'static str>) {
        if cursor == EventId::ZERO {
            return ((0, cursor), None);
        }
        if let Some(number) = self.find(cursor).filter(|&number| number > self.horizon.0) {
            return ((number, cursor), None);
        }
        if cursor == self.horizon.1 {
            return (self.horizon, None);
        }
        if cursor.timestamp_ms() <= self.latest_ms {
            return (self.horizon, Some("pruned"));
        }
        let time = i64::try_from(cursor.timestamp_ms()).unwrap() * 1_000_000;
        let older = |number: &usize| self.row(*number).received_at.is_some_and(|at| at < time);
        let place = match (self.horizon.0 + 1..=self.end()).rev().find(older) {
            None => self.horizon,
            Some(number) => (number, self.row(number).id.unwrap_or_else(|| at_ms(cursor.timestamp_ms()))),
        };
        self.name(place);
        (place, Some("unknown_cursor"))
    }

    /// Keeps the newest `rows` and, where `cutoff` is given, what was received since. Returns how many rows go.
    pub fn prune(&mut self, rows: usize, cutoff: Option<i64>) -> usize {
        let by_number = self.end().saturating_sub(rows).max(self.horizon.0);
        let old = |row: &&ModelRow| cutoff.is_some_and(|cutoff| row.received_at.unwrap_or(0) < cutoff);
        let last = by_number + self.rows[by_number..].iter().take_while(old).count();
        let removed = last - self.horizon.0;
        if removed > 0 {
            let latest = self.rows[self.horizon.0..last].iter().filter_map(|row| Some(row.id?.timestamp_ms())).max();
            self.latest_ms = self.latest_ms.max(latest.unwrap_or(0));
            self.horizon = (last, self.row(last).id.unwrap_or_else(|| at_ms(self.latest_ms)));
            self.name(self.horizon);
            self.horizons.push(self.horizon);
        }
        removed
    }
}

fn at_ms(ms: u64) -> EventId {
    EventId::at(SystemTime::UNIX_EPOCH + Duration::from_millis(ms))
}
