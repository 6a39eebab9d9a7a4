//! A question behind a guard who sees each event first. What the question itself decides is passed on here, once for all
//! guards.

use std::collections::BTreeSet;
use std::time::Instant;

use super::{Ending, Question, Step};
use crate::model::event::Record;
use crate::model::frame::Subscribe;

/// What stands before a question.
pub trait Guard {
    /// What the question subscribes to, and what the guard has to see besides.
    fn subscription(&self, question: Subscribe) -> Subscribe {
        question
    }

    /// Whether the guard needs the stored payload.
    fn reads_payload(&self) -> bool {
        false
    }

    /// What becomes of an event that the question is not to see; nothing if it is.
    fn keep_back(&self, record: &Record) -> Option<Step>;

    /// Whether no answer is to be believed while these sources are dead, whatever the question is.
    fn is_lost_without(&self, _dead: &BTreeSet<String>) -> bool {
        false
    }
}

/// A question and its guard.
pub struct Guarded<G> {
    /// Who sees the events first.
    pub guard: G,
    /// Who sees what the guard does not keep back.
    pub question: Box<dyn Question>,
}

impl<G: Guard> Question for Guarded<G> {
    fn subscription(&self) -> Subscribe {
        self.guard.subscription(self.question.subscription())
    }

    fn reads_payload(&self) -> bool {
        self.question.reads_payload() || self.guard.reads_payload()
    }

    fn counts_the_past(&self) -> bool {
        self.question.counts_the_past()
    }

    fn begin(&mut self, now: Instant) {
        self.question.begin(now);
    }

    fn see(&mut self, record: &Record, now: Instant) -> Step {
        self.guard.keep_back(record).unwrap_or_else(|| self.question.see(record, now))
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

    fn count_anew(&mut self, now: Instant) {
        self.question.count_anew(now);
    }

    fn is_lost_without(&self, dead: &BTreeSet<String>) -> bool {
        self.question.is_lost_without(dead) || self.guard.is_lost_without(dead)
    }

    fn is_memoryless(&self) -> bool {
        self.question.is_memoryless()
    }

    fn outstanding(&self) -> Vec<String> {
        self.question.outstanding()
    }
}
