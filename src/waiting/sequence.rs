//! `--then`: the clauses are satisfied one after the other, each by a later event than the one before.

use std::collections::BTreeSet;
use std::time::Instant;

use super::{Ending, Question, Shown, Step, subscription};
use crate::model::clause::Clause;
use crate::model::event::Record;
use crate::model::frame::Subscribe;
use crate::model::verdict::Verdict;

/// Clauses in an order. What satisfies a later one too early counts for nothing.
#[derive(Clone, Debug)]
pub struct Sequence {
    clauses: Vec<Clause>,
    repos: Vec<String>,
    satisfied: usize,
}

impl Sequence {
    /// These clauses, in these repositories or, where none is given, in any.
    #[must_use]
    pub fn new(clauses: Vec<Clause>, repos: Vec<String>) -> Sequence {
        Sequence { clauses, repos, satisfied: 0 }
    }

    fn open(&self) -> &[Clause] {
        &self.clauses[self.satisfied..]
    }
}

impl Question for Sequence {
    fn subscription(&self) -> Subscribe {
        subscription::any_of(&self.repos, self.clauses.iter().map(Clause::satisfaction))
    }

    fn reads_payload(&self) -> bool {
        self.clauses.iter().any(Clause::reads_payload)
    }

    fn see(&mut self, record: &Record, _now: Instant) -> Step {
        let Some(clause) = self.open().first().filter(|clause| clause.is_satisfied_by(record)) else {
            return Step::Aside;
        };
        let shown = Shown::satisfying(record, clause.text());
        self.satisfied += 1;
        if self.open().is_empty() {
            Step::Ends(Ending { verdict: Verdict::Success, shown: vec![shown] })
        } else {
            Step::Counts(shown)
        }
    }

    fn is_lost_without(&self, dead: &BTreeSet<String>) -> bool {
        self.open().iter().any(|clause| dead.contains(clause.source()))
    }

    fn outstanding(&self) -> Vec<String> {
        self.open().iter().map(|clause| clause.text().to_owned()).collect()
    }
}
