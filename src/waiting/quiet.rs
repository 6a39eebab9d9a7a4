//! `--quiet-for`: that nothing matches for so long. Absence is an event.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;

use super::matches::Plain;
use super::{Ending, Question, Shown, Step};
use crate::model::event::Record;
use crate::model::frame::Subscribe;
use crate::model::verdict::Verdict;

/// Silence of the events that it has subscribed to, counted from the beginning and from each of them as it is seen.
///
/// What was read from the past counts from when it was read: a silence may be told too late and never too early.
#[derive(Clone, Debug)]
pub struct Quiet {
    asked: Plain,
    duration: Duration,
    until: Option<Instant>,
    matched: u64,
}

impl Quiet {
    /// Of the events that match, for so long.
    #[must_use]
    pub fn new(asked: Plain, duration: Duration) -> Quiet {
        Quiet { asked, duration, until: None, matched: 0 }
    }
}

impl Question for Quiet {
    fn subscription(&self) -> Subscribe {
        self.asked.subscribe.clone()
    }

    fn begin(&mut self, now: Instant) {
        self.until = Some(now + self.duration);
    }

    fn see(&mut self, _record: &Record, now: Instant) -> Step {
        self.until = Some(now + self.duration);
        self.matched += 1;
        Step::Aside
    }

    fn deadline(&self) -> Option<Instant> {
        self.until
    }

    fn tick(&mut self, now: Instant) -> Option<Ending> {
        self.until.filter(|&until| until <= now)?;
        let seconds = self.duration.as_secs_f64();
        let json = json!({"kind": "quiet", "quiet_for_sec": seconds, "matched": self.matched});
        let shown =
            Shown { line: format!("quiet for {seconds} s"), json: json.as_object().cloned().unwrap_or_default() };
        Some(Ending { verdict: Verdict::Success, shown: vec![shown] })
    }

    fn count_anew(&mut self, now: Instant) {
        self.begin(now);
    }

    fn is_lost_without(&self, dead: &BTreeSet<String>) -> bool {
        self.asked.sources.iter().any(|source| dead.contains(source))
    }

    fn outstanding(&self) -> Vec<String> {
        let quiet = format!("{} s without", self.duration.as_secs_f64());
        vec![format!("{quiet} {} ({} have come)", self.asked.typed, self.matched)]
    }
}
