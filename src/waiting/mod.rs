//! What a wait asks and when it is answered, without I/O and without a clock: events go in, an [`Ending`] comes out.
//!
//! Whoever waits, a command or a tool of an agent, does the same, and [`client::Waiter`](crate::client::Waiter) does it
//! for them: subscribe to [`Question::subscription`], hand each event to [`Question::see`], call [`Question::tick`] when
//! [`Question::deadline`] has come, and end when there is an ending. The clock is an argument, so that random histories
//! can be run in a test without waiting.

pub mod all_of;
pub mod asked;
pub mod commit;
pub mod first_of;
pub mod guarded;
pub mod matches;
pub mod none_of;
pub mod quiet;
pub mod sequence;
mod subscription;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::{Map, Value};

use crate::model::event::{Found, Record};
use crate::model::event_frame::event_body;
use crate::model::frame::Subscribe;
use crate::model::text::one_line;
use crate::model::verdict::Verdict;

/// Something that events answer.
pub trait Question {
    /// The events that can bring the answer nearer; without a place to begin, which is for the caller to choose.
    fn subscription(&self) -> Subscribe;

    /// Whether [`Question::see`] needs the stored payload, which does not travel with an event.
    fn reads_payload(&self) -> bool {
        false
    }

    /// Whether what happened before the question was put, and is told only now, counts as well: it does for a question
    /// about how something stands, and not for one about what happens.
    fn counts_the_past(&self) -> bool {
        false
    }

    /// From now on events are seen. Durations count from here.
    fn begin(&mut self, _now: Instant) {}

    /// The next event for which it has subscribed, in commit order.
    fn see(&mut self, record: &Record, now: Instant) -> Step;

    /// The answer to a question about a state, as it stands: the next event may change it. It is the answer once the log
    /// has no such event, because yesterday's success must not hide today's failure.
    fn standing(&self) -> Option<Ending> {
        None
    }

    /// When [`Question::tick`] has to be called, if nothing is seen until then.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// The deadline has come, and everything that was committed until now has been seen. Without an answer there is a
    /// later deadline or none.
    fn tick(&mut self, _now: Instant) -> Option<Ending> {
        None
    }

    /// A source saw nothing until now: whatever rests on that nothing has come counts from here.
    fn count_anew(&mut self, _now: Instant) {}

    /// Whether there is no answer to be had, or none to be believed, while these sources are dead.
    fn is_lost_without(&self, _dead: &BTreeSet<String>) -> bool {
        false
    }

    /// Whether nothing that it has seen makes a difference, so that the same question, put anew about what comes after,
    /// goes on where this one stopped.
    fn is_memoryless(&self) -> bool {
        false
    }

    /// What is still missing, each part as it was typed, for the message of a wait that ends without an answer.
    fn outstanding(&self) -> Vec<String>;
}

/// What an event means for a question.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Nothing to show.
    Aside,
    /// It counts, and the question is still open. The caller shows it.
    Counts(Shown),
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

/// Something to show.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// One line for a person.
    pub line: String,
    /// The same for a program: an event as the wire has it with its `cursor`, or a report of several.
    pub json: Map<String, Value>,
}

impl Shown {
    /// An event.
    #[must_use]
    pub fn event(record: &Record) -> Shown {
        let event = &record.event;
        let line = match &*event.summary {
            "" => one_line(&format!("{} {}", event.source, event.event_type)),
            summary => one_line(summary),
        };
        let mut json = event_body(event);
        json.insert("cursor".into(), event.id.to_string().into());
        Shown { line, json }
    }

    /// The event that has satisfied a clause.
    #[must_use]
    pub fn satisfying(record: &Record, clause: &str) -> Shown {
        let mut shown = Shown::event(record);
        shown.line = format!("{}: {}", one_line(clause), shown.line);
        shown.json.insert("clause".into(), clause.into());
        shown
    }
}

/// How an event says that something has ended; `None` if it does not say it in a word.
fn verdict_of(record: &Record) -> Option<Verdict> {
    match record.lookup("conclusion")? {
        Found::Json(Value::String(word)) if !word.is_empty() => Some(Verdict::of(word)),
        _ => None,
    }
}
