//! `--none-of`: another question, unless one of these clauses is satisfied before it is answered.

use std::collections::BTreeSet;
use std::time::Instant;

use super::{Ending, Question, Shown, Step, subscription};
use crate::model::clause::Clause;
use crate::model::event::Record;
use crate::model::filter::Filter;
use crate::model::frame::{Rejection, Subscribe};
use crate::model::verdict::Verdict;

/// The word of the verdict when what must not happen has happened.
pub const FORBIDDEN: &str = "none_of";

/// A question, and what must not happen while it is open.
pub struct NoneOf {
    question: Box<dyn Question>,
    /// Which events the question asked for, because others come as well.
    wanted: Filter,
    forbidden: Vec<Clause>,
}

impl NoneOf {
    /// Guards a question. Whatever narrows it to repositories narrows the clauses, too.
    pub fn new(question: Box<dyn Question>, forbidden: Vec<Clause>) -> Result<NoneOf, Rejection> {
        let wanted = question.subscription().filter()?;
        Ok(NoneOf { question, wanted, forbidden })
    }
}

impl Question for NoneOf {
    fn subscription(&self) -> Subscribe {
        subscription::with(self.question.subscription(), self.forbidden.iter().map(Clause::satisfaction))
    }

    fn reads_payload(&self) -> bool {
        self.question.reads_payload() || self.wanted.reads_payload() || self.forbidden.iter().any(Clause::reads_payload)
    }

    fn begin(&mut self, now: Instant) {
        self.question.begin(now);
    }

    fn see(&mut self, record: &Record, now: Instant) -> Step {
        if let Some(clause) = self.forbidden.iter().find(|clause| clause.is_satisfied_by(record)) {
            let shown = vec![Shown::satisfying(record, clause.text())];
            return Step::Ends(Ending { verdict: Verdict::Failure(FORBIDDEN.to_owned()), shown });
        }
        if self.wanted.wants(record) { self.question.see(record, now) } else { Step::Aside }
    }

    fn standing(&self) -> Option<Ending> {
        self.question.standing()
    }

    fn deadline(&self) -> Option<Instant> {
        self.question.deadline()
    }

    fn tick(&mut self, now: Instant) -> Option<Ending> {
        self.question.tick(now)
    }

    fn is_lost_without(&self, dead: &BTreeSet<String>) -> bool {
        // A source that cannot say it any more does not show that nothing has happened.
        self.question.is_lost_without(dead) || self.forbidden.iter().any(|clause| dead.contains(clause.source()))
    }

    fn is_memoryless(&self) -> bool {
        self.question.is_memoryless()
    }

    fn outstanding(&self) -> Vec<String> {
        self.question.outstanding()
    }
}
