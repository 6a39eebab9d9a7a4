//! Who waits for which source: what the subscribers ask for by name, as a source that wants to know it is told.
//!
//! It is counted as subscribers come and go, and told when a socket has taken everything before: whatever comes and goes
//! in between is one frame, of the newest state, and one that a source has been told already is none.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Hub, SubscriberId};
use crate::model::filter::{Filter, RepoFilter};
use crate::model::frame::Control;
use crate::model::limits::MAX_DEMAND_FILTERS;
use crate::model::source::Demand;

#[derive(Debug, Default)]
pub(super) struct Demands {
    /// Source → what is asked of it → who asks that.
    asked: BTreeMap<String, BTreeMap<RepoFilter, Asking>>,
    /// What each subscriber asks of which source, where it names one.
    waiting: HashMap<SubscriberId, Asked>,
    /// The connections that want to hear of it.
    listeners: HashMap<SubscriberId, Listener>,
    /// Those of them for which something may have changed since they were told.
    stale: BTreeSet<SubscriberId>,
}

/// Sources, and what is asked of them.
type Asked = BTreeSet<(String, RepoFilter)>;

#[derive(Debug)]
struct Asking {
    waiting: usize,
    /// Who came last, also if that one has gone since: who comes is news, who goes is none while others wait.
    newest: SubscriberId,
}

#[derive(Debug)]
struct Listener {
    source: String,
    told: Option<Demand>,
}

impl Demands {
    /// Somebody waits.
    pub(super) fn come(&mut self, id: SubscriberId, filter: &Filter) {
        let asked = asked(filter);
        if asked.is_empty() {
            return;
        }
        for (source, repo) in &asked {
            let repos = self.asked.entry(source.clone()).or_default();
            let asking = repos.entry(repo.clone()).or_insert(Asking { waiting: 0, newest: id });
            (asking.waiting, asking.newest) = (asking.waiting + 1, id);
            self.changed(source);
        }
        self.waiting.insert(id, asked);
    }

    /// A connection is gone, whatever it was.
    pub(super) fn go(&mut self, id: SubscriberId) {
        self.listeners.remove(&id);
        self.stale.remove(&id);
        for (source, repo) in self.waiting.remove(&id).into_iter().flatten() {
            let Some(repos) = self.asked.get_mut(&source) else { continue };
            let Some(asking) = repos.get_mut(&repo) else { continue };
            asking.waiting -= 1;
            if asking.waiting > 0 {
                continue;
            }
            repos.remove(&repo);
            if repos.is_empty() {
                self.asked.remove(&source);
            }
            self.changed(&source);
        }
    }

    fn changed(&mut self, source: &str) {
        let concerned = self.listeners.iter().filter(|(_, listener)| listener.source == source);
        self.stale.extend(concerned.map(|(id, _)| *id));
    }

    /// A connection of a source wants to hear of it.
    pub(super) fn listen(&mut self, id: SubscriberId, source: String) {
        self.listeners.insert(id, Listener { source, told: None });
        self.stale.insert(id);
    }

    /// What a connection has to be told, if that is not what it was told last.
    pub(super) fn news(&mut self, id: SubscriberId) -> Option<Control> {
        self.stale.remove(&id);
        let listener = self.listeners.get_mut(&id)?;
        let asked = self.asked.get(&listener.source);
        let demand = if asked.is_some_and(|repos| repos.len() > MAX_DEMAND_FILTERS) {
            Demand { filters: vec![RepoFilter::Any], newest: Vec::new() }
        } else {
            let each = asked.into_iter().flatten();
            let (filters, newest) = each.map(|(repo, asking)| (repo.clone(), asking.newest.0)).unzip();
            Demand { filters, newest }
        };
        if listener.told.as_ref() == Some(&demand) {
            return None;
        }
        listener.told = Some(demand.clone());
        Some(Control::Demand(demand))
    }
}

/// What a filter asks of which source, each once. What no event can have is not asked for.
fn asked(filter: &Filter) -> Asked {
    let demands = filter.demands().into_iter();
    let each = demands.flat_map(|(source, repos)| repos.into_iter().map(move |repo| (source, repo)));
    each.filter_map(|(source, repo)| Some((source.to_owned(), repo.folded()?))).collect()
}

impl Hub {
    /// Tells the sources what is new of those who wait for them, as far as their sockets take it.
    pub(super) fn tell_demand(&mut self) {
        for id in self.demands.stale.iter().copied().collect::<Vec<_>>() {
            let Some(subscriber) = self.subscribers.get_mut(&id) else { continue };
            if subscriber.blocked || subscriber.closing || !subscriber.outbox.is_empty() {
                continue;
            }
            if let Some(news) = self.demands.news(id) {
                subscriber.push(&news);
                self.sendable.push_back(id);
            }
        }
    }
}
