//! What the engine does not tell any more is found by looking at all containers: after a restart it has forgotten its
//! events, and it keeps a few hundred of them at most.
//!
//! A look takes its time, and the engine tells on meanwhile. Of a container of which it has told since the look began,
//! it is believed, and what the look found is not.

use std::collections::{BTreeMap, HashSet};

use super::draft::{self, Subject};
use super::tracker::{End, slack};
use super::{Container, Engine, Tracker};
use crate::model::event::Draft;

/// What a look at an engine has found.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// Each container by its id.
    pub containers: BTreeMap<String, Container>,
    /// Whether these are all.
    pub complete: bool,
}

impl Container {
    fn subject<'a>(&'a self, engine: Engine, id: &'a str) -> Subject<'a> {
        Subject { engine, id, name: &self.name, image: &self.image, labels: &self.labels }
    }
}

impl Tracker {
    /// A look begins: something may have happened that the engine has not told, since the newest event that it has, or
    /// since an earlier look that came to no end. What it tells from now on is noted.
    pub fn begin_look(&mut self) {
        self.unsure_since.get_or_insert(self.since());
        self.told = Some(HashSet::new());
    }

    /// Compares what the look has found with what is known, and returns what must have happened in between. The first
    /// look of all tells nothing: it is the beginning.
    pub fn end_look(&mut self, engine: Engine, look: &Look) -> Vec<Draft> {
        let known_until = self.unsure_since.take().unwrap_or_else(|| self.since());
        let told = self.told.take().unwrap_or_default();
        let news = self.settled && !self.is_full();
        let mut drafts = Vec::new();
        self.ended.retain(|_, finished| known_until - *finished <= slack());
        let thought_to_run = self.running.iter().filter(|(id, _)| !told.contains(*id));
        let thought_to_run: Vec<_> = thought_to_run.map(|(id, run)| (id.clone(), run.started)).collect();
        for (id, began) in thought_to_run {
            match look.containers.get(&id) {
                None if look.complete => drafts.extend(self.lost(engine, &id)),
                Some(container) if !container.running => drafts.extend(self.found_ended(engine, &id, container)),
                Some(container) if container.started.is_some_and(|started| started > known_until.max(began)) => {
                    drafts.extend(self.lost(engine, &id));
                    drafts.extend(self.found_running(engine, &id, container));
                }
                None | Some(_) => {}
            }
        }
        for (id, container) in look.containers.iter().filter(|(id, _)| !told.contains(*id)) {
            let is_late = container.finished.is_some_and(|finished| finished > known_until);
            if container.running && !self.running.contains_key(id) {
                let draft = self.found_running(engine, id, container);
                drafts.extend(draft.filter(|_| news));
            } else if news && is_late && !container.running && !self.ended.contains_key(id) {
                drafts.extend(self.found_ended(engine, id, container));
            }
        }
        self.settled = true;
        drafts
    }

    fn found_running(&mut self, engine: Engine, id: &str, container: &Container) -> Option<Draft> {
        let subject = container.subject(engine, id);
        let started = container.started?;
        let mut draft = subject.draft("start", "running", &format!("start/{started}"), "started while nobody watched");
        draft.fields.extend(draft::time(started).map(|time| ("started_at".into(), time)));
        draft.fields.insert("recovered".into(), true.into());
        self.insert(&subject, started);
        Some(draft)
    }

    fn found_ended(&mut self, engine: Engine, id: &str, container: &Container) -> Option<Draft> {
        let finished = container.finished?;
        let mut run = self.running.remove(id).unwrap_or_default();
        run.oom |= container.oom_killed;
        run.started = container.started.unwrap_or(run.started);
        self.ended.insert(id.to_owned(), finished);
        let end =
            End { code: Some(container.exit_code), at: finished, key: format!("die/{finished}"), recovered: true };
        Some(run.end(&container.subject(engine, id), &end))
    }
}
