//! What is to be reached, and how the data says whether it was. Absolute figures are meant for a machine of two cores;
//! everything else is a ratio within one run.

use waitbus::measure::Estimate;

use crate::report::ratio::{Ratio, interval, number};
use crate::report::written::{Answers, Row};

pub struct Target {
    /// As a person would say it.
    pub work: &'static str,
    /// The same of the bound.
    pub reach: &'static str,
    /// The question, and the words that `what` has to contain.
    rows: (&'static str, &'static [&'static str]),
    bound: Bound,
}

enum Bound {
    /// Our median is at most so many times that of the floor.
    Floor(f64),
    /// A percentile of ours is at most so many milliseconds.
    Milliseconds(f64, f64),
    /// That percentile of whoever's name contains this is at least so many times ours.
    Faster(&'static str, f64, f64),
    /// Our number is at most this.
    AtMost(f64),
    /// Our number is at least this.
    AtLeast(f64),
    /// Our number is at least so many times that of whoever's name contains this.
    Times(&'static str, f64),
}

use Bound::{AtLeast, AtMost, Faster, Floor, Milliseconds, Times};

const fn target(
    work: &'static str,
    reach: &'static str,
    question: &'static str,
    words: &'static [&'static str],
    bound: Bound,
) -> Target {
    Target { work, reach, rows: (question, words), bound }
}

const PYTHON: &str = "Python";

pub const ALL: &[Target] = &[
    target("webhook to recv", "p50 ≤ 2 × the floor", "wake", &["webhook to recv"], Floor(2.0)),
    target(
        "webhook to recv",
        "p50 ≥ 12 × faster than the Python waitbus",
        "wake",
        &["webhook to recv"],
        Faster(PYTHON, 0.5, 12.0),
    ),
    target(
        "webhook to recv",
        "p99 ≥ 20 × faster than the Python waitbus",
        "wake",
        &["webhook to recv"],
        Faster(PYTHON, 0.99, 20.0),
    ),
    target("library emit to recv", "p50 ≤ 1.5 × the floor", "wake", &["library emit to recv"], Floor(1.5)),
];

pub struct Reached {
    pub what: String,
    pub measured: String,
    pub met: bool,
}

impl Target {
    /// What was measured of it, for each thing that was done: nothing if not both sides of the comparison were.
    pub fn measured(&self, answers: &[Answers]) -> Vec<Reached> {
        let (question, words) = self.rows;
        let asked = answers.iter().filter(|answer| answer.question == question);
        asked
            .flat_map(|answer| answer.whats().into_iter().map(|what| (what, answer.of(what).collect::<Vec<_>>())))
            .filter(|(what, _)| words.iter().all(|word| what.contains(word)))
            .filter_map(|(what, rows)| {
                let (measured, met) = self.bound.judged(&rows)?;
                Some(Reached { what: what.to_owned(), measured, met })
            })
            .collect()
    }
}

impl Bound {
    fn judged(&self, rows: &[&Row]) -> Option<(String, bool)> {
        let ours = *rows.iter().find(|row| row.is_ours() && (row.latencies().is_some() || row.number().is_some()))?;
        let of = |name: &str| {
            rows.iter()
                .copied()
                .find(|row| row.who.contains(name) && (row.latencies().is_some() || row.number().is_some()))
        };
        let ratio = |ratio: Ratio, met: bool| Some((format!("{ratio} ×"), met));
        match *self {
            Floor(times) => {
                let floor = rows.iter().find(|row| row.is_floor())?;
                let found = Ratio::of(at(ours, 0.5)?, at(floor, 0.5)?);
                ratio(found, found.at <= times)
            }
            Faster(name, quantile, times) => {
                let found = Ratio::of(at(of(name)?, quantile)?, at(ours, quantile)?);
                ratio(found, found.at >= times)
            }
            Milliseconds(quantile, most) => {
                let found = at(ours, quantile)?;
                Some((interval(found), crate::report::ratio::float(found.at) <= most * 1e6))
            }
            AtMost(most) => ours.number().map(|found| (number(found), found <= most)),
            AtLeast(least) => ours.number().map(|found| (number(found), found >= least)),
            Times(name, times) => {
                let found = ours.number()? / of(name)?.number()?;
                Some((format!("{} ×", number(found)), found >= times))
            }
        }
    }
}

/// A percentile of theirs, if there are enough samples for it.
fn at(row: &Row, quantile: f64) -> Option<Estimate> {
    row.latencies().filter(|latencies| quantile <= latencies.furthest()).map(|latencies| latencies.at(quantile))
}
