//! The sources that have announced themselves, and who has to hear how they are.
//!
//! A source is alive while a connection that announced it is open. What becomes of it is told once the log has been
//! read to its end, and to each subscriber once it has been offered everything up to there: whoever hears that a
//! source is dead has heard all that it had said. Statuses that a full buffer keeps waiting are one for each source,
//! the newest.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

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
    /// Why it is silent or dead, as the last of them said it; empty if none did.
    reason: String,
    /// Which change was its last.
    changed: u64,
    /// When it came to be as it is.
    since: Instant,
    /// Whether nobody's answer depends on it.
    is_presence: bool,
}

#[derive(Debug)]
struct Connection {
    source: String,
    on_demand: bool,
    silent: bool,
    said_bye: bool,
    /// Why it cannot go on, if it has said so.
    failed: String,
}

impl Source {
    /// How it is while a connection speaks for it.
    fn while_there(&self) -> SourceState {
        if self.silent == self.connections { SourceState::Silent } else { SourceState::Alive }
    }
}

impl Sources {
    /// Whether there is room for it.
    fn announce(&mut self, id: SubscriberId, announcement: Announcement, now: Instant) -> bool {
        let (on_demand, is_presence) = (announcement.is_on_demand(), announcement.is_presence());
        let Announcement { source, detail, silent, .. } = announcement;
        if !self.known.contains_key(&source) && self.known.len() >= MAX_SOURCES && !self.forget_one() {
            return false;
        }
        let known = self.known.entry(source.clone()).or_insert_with(|| Source {
            state: SourceState::Dead,
            detail: Detail::new(),
            connections: 0,
            silent: 0,
            reason: String::new(),
            changed: 0,
            since: now,
            is_presence,
        });
        known.connections += 1;
        known.detail = detail;
        known.is_presence = is_presence;
        let connection = Connection { source, on_demand, silent: false, said_bye: false, failed: String::new() };
        self.announced.insert(id, connection);
        self.health(id, silent.map_or(Health::Alive, |reason| Health::Silent { reason }), now);
        true
    }

    /// How well a connection sees. A source is silent when all of its connections are.
    fn health(&mut self, id: SubscriberId, health: Health, now: Instant) {
        let Some(connection) = self.announced.get_mut(&id) else { return };
        let Some(known) = self.known.get_mut(&connection.source) else { return };
        known.silent -= usize::from(connection.silent);
        connection.silent = matches!(health, Health::Silent { .. });
        known.silent += usize::from(connection.silent);
        if let Health::Silent { reason } = health {
            known.reason = one_line(&reason);
        }
        let (source, state) = (connection.source.clone(), known.while_there());
        self.change(&source, state, now);
    }

    /// Forgets the source that has been away for longest, a presence first. Returns whether there was one.
    fn forget_one(&mut self) -> bool {
        let away = self.known.iter().filter(|(_, source)| source.connections == 0);
        let Some(oldest) =
            away.min_by_key(|(_, source)| (!source.is_presence, source.changed)).map(|(name, _)| name.clone())
        else {
            return false;
        };
        self.known.remove(&oldest);
        true
    }

    fn ended(&mut self, id: SubscriberId, now: Instant) {
        let Some(connection) = self.announced.remove(&id) else { return };
        let Connection { source, on_demand, silent, said_bye, failed } = connection;
        let Some(known) = self.known.get_mut(&source) else { return };
        known.connections -= 1;
        known.silent -= usize::from(silent);
        let state = match (known.connections, said_bye, on_demand) {
            (0, true, true) => SourceState::Alive,
            (0, true, false) => SourceState::Gone,
            (0, false, _) => {
                known.reason = one_line(&failed);
                SourceState::Dead
            }
            // Somebody else still speaks for it.
            _ => known.while_there(),
        };
        self.change(&source, state, now);
    }

    fn change(&mut self, name: &str, state: SourceState, now: Instant) {
        self.changes += 1;
        let Some(source) = self.known.get_mut(name) else { return };
        source.changed = self.changes;
        if std::mem::replace(&mut source.state, state) != state {
            source.since = now;
            self.changed.insert(name.to_owned());
        }
    }

    fn is_presence(&self, name: &str) -> bool {
        self.known.get(name).is_some_and(|source| source.is_presence)
    }

    fn status(&self, name: &str) -> Option<SourceStatus> {
        let Source { state, detail, reason, .. } = self.known.get(name)?;
        let detail = match state {
            SourceState::Silent | SourceState::Dead if !reason.is_empty() => with_reason(detail.clone(), reason),
            _ => detail.clone(),
        };
        Some(SourceStatus { source: name.to_owned(), state: *state, detail, for_sec: None })
    }

    /// All of them, with how long they have been so.
    pub(super) fn statuses(&self, now: Instant) -> Vec<SourceStatus> {
        let lasting = self.known.iter().filter_map(|(name, source)| {
            let for_sec = Some(now.saturating_duration_since(source.since).as_secs());
            Some(SourceStatus { for_sec, ..self.status(name)? })
        });
        lasting.collect()
    }
}

impl Hub {
    /// A source says that it leaves.
    pub fn bye(&mut self, id: SubscriberId) {
        if let Some(connection) = self.sources.announced.get_mut(&id) {
            connection.said_bye = true;
        }
    }

    /// A source says why it cannot go on; its connection ends next.
    pub fn failed(&mut self, id: SubscriberId, reason: String) {
        if let Some(connection) = self.sources.announced.get_mut(&id) {
            connection.failed = reason;
        }
    }

    /// A source says how well it sees. Its last words before it are in the log, and are told first.
    pub fn health(&mut self, id: SubscriberId, health: Health, now: Instant) {
        self.sources.health(id, health, now);
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
    pub(super) fn announce(&mut self, id: SubscriberId, announcement: Announcement, now: Instant) -> Option<String> {
        let (name, demand) = (announcement.source.clone(), announcement.demand);
        if !self.sources.announce(id, announcement, now) {
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
    pub(super) fn source_ended(&mut self, id: SubscriberId, now: Instant) {
        self.sources.ended(id, now);
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
        // Agents come and go; whoever did not ask for one by its name is not woken for it.
        let is_asked = !self.sources.is_presence(name) || subscriber.filter.sources().contains(&name);
        if !own && !subscriber.closing && is_asked && subscriber.filter.could_want(&source) {
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
