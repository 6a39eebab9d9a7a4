//! `--first-of`: the first clause that an event satisfies.

use std::collections::BTreeSet;
use std::time::Instant;

use super::matches::Until;
use super::{Question, Shown, Step, subscription};
use crate::model::clause::Clause;
use crate::model::event::Record;
use crate::model::frame::Subscribe;

/// Clauses of which one has to be satisfied, and which one is told.
#[derive(Clone, Debug)]
pub struct FirstOf {
    /// The clauses. Of two that one event satisfies, the first is told.
    pub clauses: Vec<Clause>,
    /// Only events of these repositories; none given means any.
    pub repos: Vec<String>,
    /// When it is answered.
    pub until: Until,
}

impl Question for FirstOf {
    fn subscription(&self) -> Subscribe {
        let concluded = (self.until == Until::Concluded).then(|| "conclusion?".to_owned());
        let needed = |clause: &Clause| clause.satisfaction().into_iter().chain(concluded.clone()).collect();
        subscription::any_of(&self.repos, self.clauses.iter().map(needed))
    }

    fn reads_payload(&self) -> bool {
        self.clauses.iter().any(Clause::reads_payload)
    }

    fn see(&mut self, record: &Record, _now: Instant) -> Step {
        match self.clauses.iter().find(|clause| clause.is_satisfied_by(record)) {
            Some(clause) => self.until.count(record, || Shown::satisfying(record, clause.text())),
            None => Step::Aside,
        }
    }

    fn is_lost_without(&self, dead: &BTreeSet<String>) -> bool {
        self.clauses.iter().all(|clause| dead.contains(clause.source()))
    }

    fn is_memoryless(&self) -> bool {
        self.until.is_memoryless()
    }

    fn outstanding(&self) -> Vec<String> {
        self.clauses.iter().map(|clause| self.until.outstanding(clause.text())).collect()
    }
}
