//! What is to be reached, and how the data says whether it was. Absolute figures are meant for a machine of two cores;
//! everything else is a ratio within one run.

use waitbus::measure::Estimate;

use crate::report::written::{Answers, Row};
use waitbus::measure::ratio::{Ratio, float, interval, number};

pub struct Target {
    /// As a person would say it.
    pub work: &'static str,
    /// The same of the bound.
    pub reach: &'static str,
    /// The question, and how what was done begins and ends.
    rows: (&'static str, &'static str, &'static str),
    bound: Bound,
}

enum Bound {
    /// Our median is at most so many times that of the floor.
    Floor(f64),
    /// A percentile of ours is at most so many milliseconds.
    Milliseconds(f64, f64),
    /// That percentile of whoever's name contains this is at least so many times ours.
    Faster(&'static str, f64, f64),
    /// Our median is at most so many times that of whoever's name contains this.
    Within(&'static str, f64),
    /// Our number is at most this.
    AtMost(f64),
    /// Our number is at least this.
    AtLeast(f64),
    /// Our number is at least so many times that of whoever's name contains this.
    Times(&'static str, f64),
}

use Bound::{AtLeast, AtMost, Faster, Floor, Milliseconds, Times, Within};

const fn target(
    work: &'static str,
    reach: &'static str,
    rows: (&'static str, &'static str, &'static str),
    bound: Bound,
) -> Target {
    Target { work, reach, rows, bound }
}

/// Part of the name of the implementation in Python.
const PYTHON: &str = "(Python)";
/// In the units of the rows: MiB and KiB.
const MB: f64 = 1e6 / 1_048_576.0;
const KB: f64 = 1e3 / 1_024.0;

const WEBHOOK: (&str, &str, &str) = ("wake", "webhook to recv, ", "/s");
const EMIT: (&str, &str, &str) = ("startup", "`waitbus emit ", "exec to exit");
const WAIT: (&str, &str, &str) = ("startup", "`waitbus wait ", "exec to exit");

pub const ALL: &[Target] = &[
    target("signed webhook to recv", "p50 ≤ 2 × the floor", WEBHOOK, Floor(2.0)),
    target("signed webhook to recv", "p50 ≥ 12 × faster than in Python", WEBHOOK, Faster(PYTHON, 0.5, 12.0)),
    target("signed webhook to recv", "p99 ≥ 20 × faster than in Python", WEBHOOK, Faster(PYTHON, 0.99, 20.0)),
    target(
        "emit to recv, by the library",
        "p50 ≤ 1.5 × the floor",
        ("wake", "library emit to recv, ", "/s"),
        Floor(1.5),
    ),
    target(
        "`waitbus emit`, exec to recv",
        "p50 ≤ 5 ms",
        ("wake", "`waitbus emit`, exec to recv", "/s"),
        Milliseconds(0.5, 5.0),
    ),
    target("`waitbus emit`", "p50 ≥ 80 × faster than in Python", EMIT, Faster(PYTHON, 0.5, 80.0)),
    target("`waitbus wait`, the answer is in the log", "p50 ≤ 5 ms", WAIT, Milliseconds(0.5, 5.0)),
    target("`waitbus wait`", "p50 ≥ 80 × faster than in Python", WAIT, Faster(PYTHON, 0.5, 80.0)),
    target(
        "file change to recv",
        "p50 ≤ 3 × that of inotifywait",
        ("wake", "file written to recv, ", "/s"),
        Within("inotifywait", 3.0),
    ),
    target(
        "one waiter among 1,000 with other conditions",
        "p50 ≤ 1.5 × alone",
        ("selective", "emit to recv of one, beside ", "/s"),
        Floor(1.5),
    ),
    target("wake-ups of the others", "none", ("selective", "wake-ups of ", ""), AtMost(0.0)),
    target(
        "1,000 subscribers, the last one served",
        "p50 ≤ 10 ms",
        ("fanout", "1000 subscribers, ", "last served"),
        Milliseconds(0.5, 10.0),
    ),
    target(
        "signed webhooks, synced and delivered",
        "≥ 20 × the rate of Python",
        ("ingest", "signed webhooks synced and delivered", ""),
        Times(PYTHON, 20.0),
    ),
    target(
        "socket activation, cold",
        "p50 ≤ 30 ms",
        ("activation", "connect to first frame, cold", ""),
        Milliseconds(0.5, 30.0),
    ),
    target("memory of an idle hub", "≤ 8 MB", ("memory", "idle hub", "resident"), AtMost(8.0 * MB)),
    target("memory of a blocked `wait`", "≤ 4 MB", ("memory", "blocked `waitbus wait`", "resident"), AtMost(4.0 * MB)),
    target("memory of one subscriber more", "≤ 16 kB", ("memory", "each of ", "in the hub"), AtMost(16.0 * KB)),
    target("wake-ups of an idle hub", "none", ("idle", "wake-ups in ", "hub"), AtMost(0.0)),
    target("replay to one reader", "≥ 200,000 events/s", ("replay", "replay of ", " events"), AtLeast(200_000.0)),
];

pub struct Reached {
    pub what: String,
    pub measured: String,
    pub outcome: Outcome,
}

/// Whether it was reached. Where the interval contains the bound nobody can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Met,
    Missed,
    Undecided,
}

impl Outcome {
    fn of(met: bool) -> Outcome {
        if met { Outcome::Met } else { Outcome::Missed }
    }

    /// That of two ends of an interval.
    fn both(one: bool, other: bool) -> Outcome {
        if one == other { Outcome::of(one) } else { Outcome::Undecided }
    }
}

impl Target {
    /// What was measured of it, for each thing that was done: nothing if not both sides of the comparison were.
    pub fn measured(&self, answers: &[Answers]) -> Vec<Reached> {
        let (question, begins, ends) = self.rows;
        let asked = answers.iter().filter(|answer| answer.question == question);
        asked
            .flat_map(|answer| answer.whats().into_iter().map(|what| (what, answer.of(what).collect::<Vec<_>>())))
            .filter(|(what, _)| what.starts_with(begins) && what.ends_with(ends))
            .filter_map(|(what, rows)| {
                let (measured, outcome) = self.bound.judged(&rows)?;
                Some(Reached { what: what.to_owned(), measured, outcome })
            })
            .collect()
    }
}

impl Bound {
    fn judged(&self, rows: &[&Row]) -> Option<(String, Outcome)> {
        let ours = *rows.iter().find(|row| row.is_ours() && (row.latencies().is_some() || row.number().is_some()))?;
        let of = |name: &str| {
            rows.iter()
                .copied()
                .find(|row| row.who.contains(name) && (row.latencies().is_some() || row.number().is_some()))
        };
        let ratio = |ratio: Ratio, met: &dyn Fn(f64) -> bool| {
            Some((format!("{ratio} ×"), Outcome::both(met(ratio.low), met(ratio.high))))
        };
        match *self {
            Floor(times) => {
                let floor = rows.iter().find(|row| row.is_floor())?;
                ratio(Ratio::of(at(ours, 0.5)?, at(floor, 0.5)?), &|found| found <= times)
            }
            Faster(name, quantile, times) => {
                ratio(Ratio::of(at(of(name)?, quantile)?, at(ours, quantile)?), &|found| found >= times)
            }
            Within(name, times) => ratio(Ratio::of(at(ours, 0.5)?, at(of(name)?, 0.5)?), &|found| found <= times),
            Milliseconds(quantile, most) => {
                let found = at(ours, quantile)?;
                let met = |end: u64| float(end) <= most * 1e6;
                Some((interval(found), Outcome::both(met(found.low), met(found.high))))
            }
            AtMost(most) => ours.number().map(|found| (ours.figure.to_string(), Outcome::of(found <= most))),
            AtLeast(least) => ours.number().map(|found| (ours.figure.to_string(), Outcome::of(found >= least))),
            Times(name, times) => {
                let found = ours.number()? / of(name)?.number()?;
                Some((format!("{} ×", number(found)), Outcome::of(found >= times)))
            }
        }
    }
}

/// A percentile of theirs, if there are enough samples for it.
fn at(row: &Row, quantile: f64) -> Option<Estimate> {
    row.latencies().filter(|latencies| quantile <= latencies.furthest()).map(|latencies| latencies.at(quantile))
}
