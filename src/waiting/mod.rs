//! What a wait asks and when it is answered, without I/O and without a clock: events go in, an [`Ending`] comes out.
//!
//! Whoever waits, a command or a tool of an agent, does the same: subscribe to [`Question::subscription`], hand each
//! event to [`Question::see`], call [`Question::tick`] when [`Question::deadline`] has come, and end when there is an
//! ending. The clock is an argument, so that random histories can be run in a test without waiting.

pub mod commit;

use std::time::Instant;

use serde_json::Value;

use crate::model::event::Record;
use crate::model::frame::Subscribe;
use crate::model::verdict::Verdict;

/// Something that events answer.
pub trait Question {
    /// The events that can bring the answer nearer; without a place to begin, which is for the caller to choose.
    fn subscription(&self) -> Subscribe;

    /// The next event, in commit order. Events that do not concern the question are welcome and change nothing.
    fn see(&mut self, record: &Record, now: Instant) -> Step;

    /// When [`Question::tick`] has to be called, if nothing is seen until then.
    fn deadline(&self) -> Option<Instant>;

    /// Time has passed.
    fn tick(&mut self, now: Instant) -> Option<Ending>;

    /// What is still missing, each part as it was typed, for the message of a wait that ends without an answer.
    fn outstanding(&self) -> Vec<String>;
}

/// What an event means for a question.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Nothing.
    Aside,
    /// It counts, and the question is still open. The caller shows it.
    Counts,
    /// It is the answer.
    Ends(Ending),
}

/// The answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    /// Whether what was asked for has happened. A question without a verdict of its own ends with
    /// [`Verdict::Success`], whatever the event says.
    pub verdict: Verdict,
    /// What to show for it, in order.
    pub shown: Vec<Shown>,
}

/// Something to show at the end.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// One line for a person.
    pub line: String,
    /// The same for a program: an event as the wire has it, or a report of several.
    pub json: Value,
}
