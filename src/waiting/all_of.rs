//! `--all-of`: every clause is satisfied, each by the newest event in its scope, so that a later failure takes back an
//! earlier success.

use std::collections::BTreeSet;
use std::time::Instant;

use super::{Ending, Question, Shown, Step, subscription};
use crate::model::clause::Clause;
use crate::model::event::Record;
use crate::model::frame::Subscribe;
use crate::model::verdict::Verdict;

/// Clauses that all have to be satisfied at the same time.
#[derive(Clone, Debug)]
pub struct AllOf {
    parts: Vec<Part>,
    repos: Vec<String>,
    sticky: bool,
}

#[derive(Clone, Debug)]
struct Part {
    clause: Clause,
    satisfied: Option<Shown>,
}

impl AllOf {
    /// These clauses, in these repositories or, where none is given, in any. What is `sticky` stays satisfied once it is.
    #[must_use]
    pub fn new(clauses: Vec<Clause>, repos: Vec<String>, sticky: bool) -> AllOf {
        let parts = clauses.into_iter().map(|clause| Part { clause, satisfied: None }).collect();
        AllOf { parts, repos, sticky }
    }

    fn answer(&self) -> Option<Ending> {
        let shown: Option<Vec<_>> = self.parts.iter().map(|part| part.satisfied.clone()).collect();
        shown.map(|shown| Ending { verdict: Verdict::Success, shown })
    }

    fn open(&self) -> impl Iterator<Item = &Clause> {
        self.parts.iter().filter(|part| part.satisfied.is_none()).map(|part| &part.clause)
    }
}

impl Question for AllOf {
    fn subscription(&self) -> Subscribe {
        let needed = |part: &Part| if self.sticky { part.clause.satisfaction() } else { part.clause.scope() };
        subscription::any_of(&self.repos, self.parts.iter().map(needed))
    }

    fn reads_payload(&self) -> bool {
        self.parts.iter().any(|part| part.clause.reads_payload())
    }

    fn see(&mut self, record: &Record, _now: Instant) -> Step {
        for Part { clause, satisfied } in &mut self.parts {
            if clause.is_satisfied_by(record) {
                *satisfied = Some(Shown::satisfying(record, clause.text()));
            } else if !self.sticky && clause.concerns(record) {
                *satisfied = None;
            }
        }
        // What stays satisfied is answered once and for all.
        self.sticky.then(|| self.answer()).flatten().map_or(Step::Aside, Step::Ends)
    }

    fn standing(&self) -> Option<Ending> {
        if self.sticky { None } else { self.answer() }
    }

    fn is_lost_without(&self, dead: &BTreeSet<String>) -> bool {
        self.open().any(|clause| dead.contains(clause.source()))
    }

    fn outstanding(&self) -> Vec<String> {
        self.open().map(|clause| clause.text().to_owned()).collect()
    }
}
