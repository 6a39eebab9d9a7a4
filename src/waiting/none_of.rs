//! `--none-of`: another question, unless one of these clauses is satisfied before it is answered.

use std::collections::BTreeSet;

use super::guarded::{Guard, Guarded};
use super::{Ending, Question, Shown, Step, subscription};
use crate::model::clause::Clause;
use crate::model::event::Record;
use crate::model::filter::Filter;
use crate::model::frame::{Rejection, Subscribe};
use crate::model::verdict::Verdict;

/// The word of the verdict when what must not happen has happened.
pub const FORBIDDEN: &str = "none_of";

/// What must not happen while a question is open.
pub struct NoneOf {
    /// Which events the question asked for, because others come as well.
    wanted: Filter,
    forbidden: Vec<Clause>,
}

impl NoneOf {
    /// Guards a question. Whatever narrows it to repositories narrows the clauses, too.
    pub fn guard(question: Box<dyn Question>, forbidden: Vec<Clause>) -> Result<Guarded<NoneOf>, Rejection> {
        let wanted = question.subscription().filter()?;
        Ok(Guarded { guard: NoneOf { wanted, forbidden }, question })
    }
}

impl Guard for NoneOf {
    fn subscription(&self, question: Subscribe) -> Subscribe {
        subscription::with(question, self.forbidden.iter().map(Clause::satisfaction))
    }

    fn reads_payload(&self) -> bool {
        self.wanted.reads_payload() || self.forbidden.iter().any(Clause::reads_payload)
    }

    fn keep_back(&self, record: &Record) -> Option<Step> {
        if let Some(clause) = self.forbidden.iter().find(|clause| clause.is_satisfied_by(record)) {
            let shown = vec![Shown::satisfying(record, clause.text())];
            return Some(Step::Ends(Ending { verdict: Verdict::Failure(FORBIDDEN.to_owned()), shown }));
        }
        (!self.wanted.wants(record)).then_some(Step::Aside)
    }

    fn is_lost_without(&self, dead: &BTreeSet<String>) -> bool {
        // A source that cannot say it any more does not show that nothing has happened.
        self.forbidden.iter().any(|clause| dead.contains(clause.source()))
    }
}
