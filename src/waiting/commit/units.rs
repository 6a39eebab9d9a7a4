//! The units of judgement: what has to end well for a commit to be well, and which of them contain others.
//!
//! - A **workflow run** contains its jobs, and the check suite and check runs that GitHub makes of it. Where events of
//!   the run itself come, it alone decides: a job may fail with `continue-on-error` while its run succeeds. Where only
//!   its jobs are heard of, they decide.
//!   One that was cancelled is not judged when a later run of its workflow for the same commit took its place, as where
//!   a workflow allows one run at a time and a label starts another.
//! - A **check run** of any other app stands alone. A **check suite** stands for the checks of an app that are not told
//!   of one by one.
//! - A **commit status** is one for each context.
//!
//! Of each the highest attempt counts, whatever the order in which events come; what is told of an older one changes
//! nothing.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};

use super::told::{Key, Repository, State, Told};
use crate::model::verdict::Verdict;

/// What is known of one unit.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) name: String,
    pub(super) url: Option<String>,
    pub(super) number: Option<i64>,
    /// Attempt or id; see [`Told::generation`].
    pub(super) generation: i64,
    suite: Option<i64>,
    /// What it has said itself of this generation.
    own: Option<State>,
    /// Whether it has ever said anything itself: then it will again.
    speaks: bool,
    jobs: BTreeMap<(String, i64), Job>,
    /// When it last changed.
    pub(super) changed: i64,
}

/// A job of a run.
#[derive(Debug)]
pub(super) struct Job {
    attempt: i64,
    pub(super) state: State,
    pub(super) url: Option<String>,
}

/// Every unit of a commit.
#[derive(Debug, Default)]
pub(super) struct Units(BTreeMap<(Repository, Key), Unit>);

impl Units {
    /// Takes note of what an event says. Tells whether it was new.
    pub(super) fn hear(&mut self, repository: Repository, told: &Told<'_>, now: i64) -> bool {
        let latest_counts = matches!(told.key, Key::Status(_) | Key::Suite(_));
        let unit = self.0.entry((repository, told.key.clone())).or_insert_with(|| Unit::new(told, now));
        let news = match told.job {
            Some(job) => unit.hear_job(job, told),
            None => unit.hear_itself(told, latest_counts),
        };
        if news {
            unit.changed = now;
        }
        news
    }

    /// Nothing has changed later than this.
    pub(super) fn not_after(&mut self, date: i64) {
        for unit in self.0.values_mut() {
            unit.changed = unit.changed.min(date);
        }
    }

    /// Those that are judged: what another one contains is left out.
    pub(super) fn judged(&self) -> impl Iterator<Item = (&Repository, &Key, &Unit)> {
        let containers = Containers::of(self);
        let units = self.0.iter().map(|((repository, key), unit)| (repository, key, unit));
        units.filter(move |(repository, key, unit)| !containers.contain(repository, key, unit))
    }
}

/// What contains others, found by what it has in common with them: a commit may have thousands of checks, of which
/// each event asks.
#[derive(Debug, Default)]
struct Containers<'a> {
    suites_of_runs: BTreeSet<(&'a Repository, i64)>,
    suites_of_checks: BTreeSet<(&'a Repository, i64)>,
    jobs: BTreeSet<(&'a Repository, i64)>,
    /// The latest run of each workflow, by its name.
    latest: BTreeMap<(&'a Repository, &'a str), i64>,
}

impl<'a> Containers<'a> {
    fn of(units: &'a Units) -> Containers<'a> {
        let mut containers = Containers::default();
        for ((repository, key), unit) in &units.0 {
            let suite = unit.suite.map(|suite| (repository, suite));
            match key {
                Key::Run(id) => {
                    containers.suites_of_runs.extend(suite);
                    containers.jobs.extend(unit.jobs.keys().map(|&(_, job)| (repository, job)));
                    let latest = containers.latest.entry((repository, &unit.name)).or_insert(*id);
                    *latest = (*latest).max(*id);
                }
                Key::Check(..) => containers.suites_of_checks.extend(suite),
                Key::Suite(_) | Key::Status(_) => {}
            }
        }
        containers
    }

    fn contain(&self, repository: &Repository, key: &Key, unit: &Unit) -> bool {
        let is_among = |suites: &BTreeSet<_>| unit.suite.is_some_and(|suite| suites.contains(&(repository, suite)));
        match key {
            Key::Status(_) => false,
            Key::Run(id) => {
                unit.verdict().as_ref().is_some_and(is_cancelled)
                    && self.latest.get(&(repository, &*unit.name)).is_some_and(|latest| latest > id)
            }
            // The check run that GitHub makes of a job has its id.
            Key::Check(..) => {
                is_among(&self.suites_of_runs)
                    || (unit.generation != 0 && self.jobs.contains(&(repository, unit.generation)))
            }
            Key::Suite(_) => is_among(&self.suites_of_runs) || is_among(&self.suites_of_checks),
        }
    }
}

impl Unit {
    fn new(told: &Told<'_>, now: i64) -> Unit {
        Unit {
            name: told.name.to_owned(),
            url: None,
            number: None,
            generation: told.generation,
            suite: None,
            own: None,
            speaks: false,
            jobs: BTreeMap::new(),
            changed: now,
        }
    }

    fn hear_itself(&mut self, told: &Told<'_>, latest_counts: bool) -> bool {
        let first = !self.speaks;
        self.speaks = true;
        self.suite = self.suite.or(told.suite);
        self.number = told.number.or(self.number);
        if told.generation < self.generation {
            return first;
        }
        if told.generation > self.generation {
            self.generation = told.generation;
            self.own = None;
        }
        if self.url.is_none() || self.own.is_none() {
            self.url = told.url.map(str::to_owned);
            told.name.clone_into(&mut self.name);
        }
        match &self.own {
            Some(state) if !(latest_counts || replaces(&told.state, state)) => false,
            Some(state) if *state == told.state => false,
            _ => {
                self.own = Some(told.state.clone());
                true
            }
        }
    }

    fn hear_job(&mut self, (name, id): (&str, i64), told: &Told<'_>) -> bool {
        let attempt = told.generation;
        let again = attempt > self.generation;
        if again {
            self.generation = attempt;
            self.own = None;
        }
        let url = || told.url.map(str::to_owned);
        let job = self.jobs.entry((name.to_owned(), id)).or_insert_with(|| Job {
            attempt: 0,
            state: told.state.clone(),
            url: url(),
        });
        let news = attempt > job.attempt
            || (attempt == job.attempt && told.state != job.state && replaces(&told.state, &job.state));
        if news {
            *job = Job { attempt, state: told.state.clone(), url: url() };
        }
        news || again
    }

    /// The jobs that count. A repetition of one has its name, and another id.
    pub(super) fn jobs(&self) -> impl Iterator<Item = (&str, &Job)> {
        self.jobs.iter().filter_map(|((name, _), job)| {
            let again = |other: &Job| other.attempt > job.attempt;
            let same = self.jobs.range((name.clone(), i64::MIN)..=(name.clone(), i64::MAX));
            (!same.map(|(_, other)| other).any(again)).then_some((name.as_str(), job))
        })
    }

    /// How it ended; `None` while it goes on.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        if self.speaks {
            return self.own.as_ref()?.verdict().cloned();
        }
        let verdicts: Option<Vec<_>> = self.jobs().map(|(_, job)| job.state.verdict()).collect();
        together(&verdicts?)
    }

    /// How it failed, also when it goes on: a job of a run that says nothing itself decides alone.
    pub(super) fn failure(&self) -> Option<Verdict> {
        let job =
            || self.jobs().filter_map(|(_, job)| job.state.verdict()).find(|verdict| is_failure(verdict)).cloned();
        self.verdict().or_else(|| if self.speaks { None } else { job() }).filter(is_failure)
    }

    /// GitHub's word for where it is.
    pub(super) fn word(&self) -> String {
        if let Some(verdict) = self.verdict() {
            return verdict.word().to_owned();
        }
        let open = self.jobs().map(|(_, job)| &job.state).find(|state| state.verdict().is_none());
        self.own.as_ref().or(open).map_or("expected", State::word).to_owned()
    }
}

/// Whether a state of the same attempt is later than another, in whatever order they come: what has ended goes on only
/// when it needed somebody's consent, which it then got.
fn replaces(new: &State, old: &State) -> bool {
    match (old, new) {
        (State::Open(_), _) | (State::Ended(_), State::Ended(_)) => true,
        (State::Ended(verdict), State::Open(status)) => verdict.word() == "action_required" && status == "in_progress",
    }
}

/// Whether it went wrong, and not only because somebody ended it.
pub(super) fn is_failure(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Failure(_)) && !is_cancelled(verdict)
}

/// Whether somebody ended it.
pub(super) fn is_cancelled(verdict: &Verdict) -> bool {
    verdict.word() == "cancelled"
}

/// The verdict on all of them, when all have ended; `None` on none. What was left out, or is of no importance to
/// whoever checked it, is no obstacle where something succeeded, as for GitHub's own required checks; alone it is no
/// success. A word that is not known never is.
pub(super) fn together<V: Borrow<Verdict>>(verdicts: &[V]) -> Option<Verdict> {
    fn weight(verdict: &Verdict) -> u8 {
        match (verdict, verdict.word()) {
            (Verdict::Failure(_), "failure") => 7,
            (Verdict::Failure(_), _) if is_cancelled(verdict) => 5,
            (Verdict::Failure(_), _) => 6,
            (Verdict::Neither(_), "neutral") => 1,
            (Verdict::Neither(_), "skipped") => 0,
            (Verdict::Neither(_), "action_required") => 4,
            (Verdict::Neither(_), _) => 3,
            (Verdict::Success, _) => 2,
        }
    }
    verdicts.iter().map(Borrow::borrow).max_by_key(|verdict| weight(verdict)).cloned()
}
