//! The plain question: that an event matches, or so many of them, or how the one that matches has ended.

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::time::Instant;

use super::{Ending, Question, Shown, Step, verdict_of};
use crate::model::event::Record;
use crate::model::frame::Subscribe;
use crate::model::verdict::Verdict;

/// Every event that it has subscribed to matches, because the subscription is the question.
#[derive(Clone, Debug)]
pub struct Matches {
    /// What was asked for, also as it was typed.
    pub asked: Plain,
    /// When it is answered.
    pub until: Until,
}

/// Plain conditions.
#[derive(Clone, Debug)]
pub struct Plain {
    /// The conditions.
    pub subscribe: Subscribe,
    /// The sources that they name, of which each is enough.
    pub sources: Vec<String>,
    /// The same as it was typed.
    pub typed: String,
}

/// When a question that several events may answer is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// So many more have come.
    Seen(NonZeroU64),
    /// One has come that has a conclusion. That is the verdict.
    Concluded,
}

impl Until {
    /// What one more event means, if it counts.
    pub(super) fn count(&mut self, record: &Record, shown: impl FnOnce() -> Shown) -> Step {
        match self {
            Until::Seen(left) => match NonZeroU64::new(left.get() - 1) {
                None => Step::Ends(Ending { verdict: Verdict::Success, shown: vec![shown()] }),
                Some(fewer) => {
                    *left = fewer;
                    Step::Counts(shown())
                }
            },
            Until::Concluded => {
                verdict_of(record).map_or(Step::Aside, |verdict| Step::Ends(Ending { verdict, shown: vec![shown()] }))
            }
        }
    }

    /// Whether no event has counted that is not the answer, and none will.
    pub(super) fn is_memoryless(self) -> bool {
        matches!(self, Until::Seen(NonZeroU64::MIN) | Until::Concluded)
    }

    /// What is missing for the end, after `what`.
    pub(super) fn outstanding(self, what: &str) -> String {
        match self {
            Until::Seen(NonZeroU64::MIN) => what.to_owned(),
            Until::Seen(left) => format!("{what} (another {left} times)"),
            Until::Concluded => format!("{what} (with a conclusion)"),
        }
    }
}

impl Question for Matches {
    fn subscription(&self) -> Subscribe {
        let mut subscribe = self.asked.subscribe.clone();
        if self.until == Until::Concluded {
            let alternatives = &mut subscribe.alternatives;
            if alternatives.is_empty() {
                alternatives.push(Vec::new());
            }
            for conditions in alternatives {
                conditions.push("conclusion?".to_owned());
            }
        }
        subscribe
    }

    fn see(&mut self, record: &Record, _now: Instant) -> Step {
        self.until.count(record, || Shown::event(record))
    }

    fn is_lost_without(&self, dead: &BTreeSet<String>) -> bool {
        let sources = &self.asked.sources;
        !sources.is_empty() && sources.iter().all(|source| dead.contains(source))
    }

    fn is_memoryless(&self) -> bool {
        self.until.is_memoryless()
    }

    fn outstanding(&self) -> Vec<String> {
        vec![self.until.outstanding(&self.asked.typed)]
    }
}
