//! The sources that have announced themselves, and who has to hear how they are.
//!
//! A source is alive while a connection that announced it is open. What becomes of it is told once the log has been
//! read to its end, and to each subscriber once it has been offered everything up to there: whoever hears that a
//! source is dead has heard all that it had said. Statuses that a full buffer keeps waiting are one for each source,
//! the newest.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Hub, SubscriberId};
use crate::model::frame::{Control, Health};
use crate::model::id::Seq;
use crate::model::limits::MAX_SOURCES;
use crate::model::row::PartialEnvelope;
use crate::model::source::{Announcement, Detail, SourceState, SourceStatus, with_reason};
use crate::model::text::one_line;

#[derive(Debug, Default)]
pub(super) struct Sources {
    known: BTreeMap<String, Source>,
    /// What each connection has announced.
    announced: HashMap<SubscriberId, Connection>,
    /// Those of which something new has to be told.
    changed: BTreeSet<String>,
    changes: u64,
}

#[derive(Debug)]
struct Source {
    state: SourceState,
    detail: Detail,
    connections: usize,
    /// How many of them say that they see nothing.
    silent: usize,
    /// Why, as the last of them said it.
    reason: String,
    /// Which change was its last.
    changed: u64,
}

#[derive(Debug)]
struct Connection {
    source: String,
    on_demand: bool,
    silent: bool,
    said_bye: bool,
}

impl Source {
    /// How it is while a connection speaks for it.
    fn while_there(&self) -> SourceState {
        if self.silent == self.connections { SourceState::Silent } else { SourceState::Alive }
    }
}

impl Sources {
    /// Whether there is room for it.
    fn announce(&mut self, id: SubscriberId, announcement: Announcement) -> bool {
        let on_demand = announcement.is_on_demand();
        let Announcement { source, detail, silent, .. } = announcement;
        if !self.known.contains_key(&source) && self.known.len() >= MAX_SOURCES && !self.forget_one() {
            return false;
        }
        let (detail_of_none, reason) = (Detail::new(), String::new());
        let dead =
            Source { state: SourceState::Dead, detail: detail_of_none, connections: 0, silent: 0, reason, changed: 0 };
        let known = self.known.entry(source.clone()).or_insert(dead);
        known.connections += 1;
        known.detail = detail;
        self.announced.insert(id, Connection { source, on_demand, silent: false, said_bye: false });
        self.health(id, silent.map_or(Health::Alive, |reason| Health::Silent { reason }));
        true
    }

    /// How well a connection sees. A source is silent when all of its connections are.
    fn health(&mut self, id: SubscriberId, health: Health) {
        let Some(connection) = self.announced.get_mut(&id) else { return };
        let Some(known) = self.known.get_mut(&connection.source) else { return };
        known.silent -= usize::from(connection.silent);
        connection.silent = matches!(health, Health::Silent { .. });
        known.silent += usize::from(connection.silent);
        if let Health::Silent { reason } = health {
            known.reason = one_line(&reason);
        }
        let (source, state) = (connection.source.clone(), known.while_there());
        self.change(&source, state);
    }

    /// Forgets the source that has been away for longest. Returns whether there was one.
    fn forget_one(&mut self) -> bool {
        let away = self.known.iter().filter(|(_, source)| source.connections == 0);
        let Some(oldest) = away.min_by_key(|(_, source)| source.changed).map(|(name, _)| name.clone()) else {
            return false;
        };
        self.known.remove(&oldest);
        true
    }

    fn ended(&mut self, id: SubscriberId) {
        let Some(Connection { source, on_demand, silent, said_bye }) = self.announced.remove(&id) else { return };
        let Some(known) = self.known.get_mut(&source) else { return };
        known.connections -= 1;
        known.silent -= usize::from(silent);
        let state = match (known.connections, said_bye, on_demand) {
            (0, true, true) => SourceState::Alive,
            (0, true, false) => SourceState::Gone,
            (0, false, _) => SourceState::Dead,
            // Somebody else still speaks for it.
            _ => known.while_there(),
        };
        self.change(&source, state);
    }

    fn change(&mut self, name: &str, state: SourceState) {
        self.changes += 1;
        let Some(source) = self.known.get_mut(name) else { return };
        source.changed = self.changes;
        if std::mem::replace(&mut source.state, state) != state {
            self.changed.insert(name.to_owned());
        }
    }

    fn status(&self, name: &str) -> Option<SourceStatus> {
        let Source { state, detail, reason, .. } = self.known.get(name)?;
        let detail = match state {
            SourceState::Silent => with_reason(detail.clone(), reason),
            _ => detail.clone(),
        };
        Some(SourceStatus { source: name.to_owned(), state: *state, detail })
    }

    /// All of them.
    pub(super) fn statuses(&self) -> Vec<SourceStatus> {
        self.known.keys().filter_map(|name| self.status(name)).collect()
    }
}

impl Hub {
    /// A source says that it leaves.
    pub fn bye(&mut self, id: SubscriberId) {
        if let Some(connection) = self.sources.announced.get_mut(&id) {
            connection.said_bye = true;
        }
    }

    /// A source says how well it sees. Its last words before it are in the log, and are told first.
    pub fn health(&mut self, id: SubscriberId, health: Health) {
        self.sources.health(id, health);
        self.rung |= !self.sources.changed.is_empty();
    }

    /// Whether a source of this name has announced itself.
    #[must_use]
    pub fn knows_source(&self, name: &str) -> bool {
        self.sources.known.contains_key(name)
    }

    /// Whether this connection is a source.
    #[must_use]
    pub fn is_source(&self, id: SubscriberId) -> bool {
        self.sources.announced.contains_key(&id)
    }

    /// A connection announces a source. What cannot be watched is worth a word to whoever announces it.
    pub(super) fn announce(&mut self, id: SubscriberId, announcement: Announcement) -> Option<String> {
        let (name, demand) = (announcement.source.clone(), announcement.demand);
        if !self.sources.announce(id, announcement) {
            return Some(format!(
                "the hub watches {MAX_SOURCES} sources already; whether {name} is there is not known"
            ));
        }
        self.rung |= !self.sources.changed.is_empty();
        if demand {
            self.demands.listen(id, name);
        }
        None
    }

    /// A connection has ended, and with it perhaps a source.
    pub(super) fn source_ended(&mut self, id: SubscriberId) {
        self.sources.ended(id);
        // Its last words are in the log; they come before the news of its end.
        self.rung |= !self.sources.changed.is_empty();
    }

    /// The log has been read to its end: what has changed until now can be told after it.
    pub(super) fn tell_changes(&mut self) {
        let changed = std::mem::take(&mut self.sources.changed);
        if !changed.is_empty() {
            let end = self.ring.tail().seq;
            for id in self.everybody() {
                for name in &changed {
                    self.owe(id, name, end);
                }
            }
        }
        for id in self.owed.iter().copied().collect::<Vec<_>>() {
            self.tell(id);
        }
    }

    /// A new subscriber hears of those that are not there.
    pub(super) fn owe_absences(&mut self, id: SubscriberId, newest: Seq) {
        let absent = self.sources.known.iter().filter(|(_, source)| source.state != SourceState::Alive);
        for name in absent.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.owe(id, &name, newest);
        }
        self.tell(id);
    }

    /// The status of a source has to reach a subscriber, if it could concern it, after everything up to `end`.
    fn owe(&mut self, id: SubscriberId, name: &str, end: Seq) {
        let own = self.sources.announced.get(&id).is_some_and(|connection| connection.source == name);
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
        let source = PartialEnvelope { source: Some(name.to_owned()), ..PartialEnvelope::default() };
        if !own && !subscriber.closing && subscriber.filter.could_want(&source) {
            subscriber.owed.insert(name.to_owned(), end);
            self.owed.insert(id);
        }
    }

    /// Tells a subscriber what it is owed, as far as it has come and its buffer has room.
    pub(super) fn tell(&mut self, id: SubscriberId) {
        if !self.owed.contains(&id) {
            return;
        }
        let tail = self.ring.tail();
        let Some(subscriber) = self.subscribers.get_mut(&id) else {
            self.owed.remove(&id);
            return;
        };
        let reached = subscriber.position(tail).seq;
        // Of one that has changed again, the newer state is told, and later: more has to come before it.
        let settled = |name: &String| !self.sources.changed.contains(name);
        let due = subscriber.owed.iter().filter(|&(name, &end)| end <= reached && settled(name));
        for name in due.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            if !subscriber.has_room() {
                break;
            }
            subscriber.owed.remove(&name);
            if let Some(status) = self.sources.status(&name) {
                subscriber.push(&Control::SourceStatus(status));
            }
        }
        if subscriber.owed.is_empty() || subscriber.closing {
            subscriber.owed = BTreeMap::new();
            self.owed.remove(&id);
        }
        if !subscriber.outbox.is_empty() && !subscriber.blocked {
            self.sendable.push_back(id);
        }
    }
}
