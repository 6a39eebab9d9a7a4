//! What the watches of all engines share: the way to the log, the position, and how well the source sees.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::warn;

use super::engine::Problem;
use crate::ingest::docker::Tracker;
use crate::model::event::Draft;
use crate::model::limits::MAX_ENGINES;
use crate::source::Outlet;

/// The bus as the watches know it.
pub(super) struct Bus {
    outlet: Outlet,
    /// What is known of each engine, by the path of its socket: together the position of the source. Only what was handed
    /// over with its events, or needs none, is in here, because the next commit of any engine takes all of it along.
    known: Mutex<BTreeMap<String, Tracker>>,
    seen: Mutex<BTreeMap<PathBuf, Seen>>,
    /// Whether somebody named these sockets and expects an engine at each.
    named: bool,
}

/// How an engine is seen.
#[derive(Default)]
enum Seen {
    /// Nobody has tried yet.
    #[default]
    NotYet,
    Well,
    /// It is not. One that has been seen before, or was named, is missed; any other may just not be installed.
    Not {
        missed: bool,
        problem: Problem,
    },
}

impl Bus {
    pub(super) fn new(outlet: Outlet, hosts: &[PathBuf], named: bool) -> Bus {
        let known = outlet.position().map(serde_json::from_str).transpose().unwrap_or_else(|problem| {
            warn!(%problem, "what the source has seen before cannot be read, so it begins anew");
            None
        });
        let seen = hosts.iter().map(|host| (host.clone(), Seen::NotYet)).collect();
        Bus { outlet, known: Mutex::new(known.unwrap_or_default()), seen: Mutex::new(seen), named }
    }

    /// What is known of an engine, if it was ever watched.
    pub(super) fn known(&self, host: &Path) -> Option<Tracker> {
        lock(&self.known).get(&*host.to_string_lossy()).cloned()
    }

    /// Keeps what is known of an engine. Every event that follows from it has been handed over.
    pub(super) fn keep(&self, host: &Path, tracker: &Tracker) {
        let mut known = lock(&self.known);
        known.insert(host.to_string_lossy().into_owned(), tracker.clone());
        // Sockets that were watched once and are not any more: the longest ago goes.
        while known.len() > 2 * MAX_ENGINES {
            let Some(oldest) = known.iter().min_by_key(|(_, tracker)| tracker.since()).map(|(host, _)| host.clone())
            else {
                return;
            };
            known.remove(&oldest);
        }
    }

    /// Commits events together with what is known of their engine.
    pub(super) async fn publish(&self, host: &Path, tracker: &Tracker, drafts: Vec<Draft>) {
        self.keep(host, tracker);
        let position = serde_json::to_string(&*lock(&self.known)).ok();
        self.outlet.publish(drafts, position).await;
    }

    /// An engine tells its events.
    pub(super) fn sees(&self, host: &Path) {
        lock(&self.seen).insert(host.to_owned(), Seen::Well);
        self.tell();
    }

    /// An engine does not.
    pub(super) fn misses(&self, host: &Path, problem: Problem) {
        let mut seen = lock(&self.seen);
        let before = seen.remove(host).unwrap_or_default();
        let missed = self.named || matches!(before, Seen::Well | Seen::Not { missed: true, .. });
        seen.insert(host.to_owned(), Seen::Not { missed, problem });
        drop(seen);
        self.tell();
    }

    /// Tells how the source as a whole sees.
    fn tell(&self) {
        let seen = lock(&self.seen);
        let problems = |only_missed: bool| {
            let of = seen.values().filter_map(move |seen| match seen {
                Seen::Not { missed, problem } if *missed || !only_missed => Some(problem),
                _ => None,
            });
            of.collect::<Vec<_>>()
        };
        let missed = problems(true);
        if !missed.is_empty() {
            return self.outlet.silent(missed.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "));
        }
        if seen.values().any(|seen| matches!(seen, Seen::Well)) {
            return self.outlet.seeing();
        }
        if seen.values().any(|seen| matches!(seen, Seen::NotYet)) {
            return;
        }
        // None of the usual places has an engine. One that is there and closed says more than those that are not.
        let all = problems(false);
        let telling = all.iter().find(|problem| !matches!(problem, Problem::Absent(_))).or(all.first());
        if let Some(problem) = telling {
            self.outlet.silent(problem.to_string());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
