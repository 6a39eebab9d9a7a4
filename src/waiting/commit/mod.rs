//! The verdict on a commit: all its runs, jobs, checks and statuses together.
//!
//! A commit is well when everything that was seen for it has ended well and nothing has changed for the settle time;
//! it is not as soon as one unit ([`units`] says what that is) has failed, or, when all are waited for, once all have
//! ended. The log is asked first: [`Past`] takes what it holds and is judged as a whole, because a failure that a re-run
//! has taken back is none; then the [`Commit`] goes on with what comes.
//!
//! Two early ends are left out when all are waited for: a failure, and a newer push to the branch ([`branches`]) while
//! something is still open, which then may never end, or was cancelled. A cancellation that no push explains is believed
//! after the settle time, because the push may be told later.

mod branches;
mod report;
#[cfg(test)]
mod tests;
mod told;
mod units;

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

use branches::Branches;
pub use told::SOURCE;
use told::{Repository, Told, text};
use units::Units;

use super::{Ending, Question, Step};
use crate::model::event::{Event, Record};
use crate::model::filter::RepoFilter;
use crate::model::frame::Subscribe;
use crate::model::limits::SETTLE;
use crate::model::sha::Sha;
use crate::model::verdict::Verdict;

/// The word for a commit that a newer push has replaced before it had a verdict.
pub const SUPERSEDED: &str = "superseded";
/// The word for two commits that begin alike, of which the second came while it was waited for.
pub const AMBIGUOUS: &str = "ambiguous";

/// What is asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The commit.
    pub sha: Sha,
    /// Only what happened in these repositories; none given means any.
    pub repos: Vec<RepoFilter>,
    /// How long nothing may change before all is taken to be said.
    pub settle: Duration,
    /// Whether the first failure is the answer.
    pub fail_fast: bool,
}

impl Asked {
    /// A commit in any repository, with the usual settle time, failing fast.
    #[must_use]
    pub fn of(sha: Sha) -> Asked {
        Asked { sha, repos: Vec::new(), settle: SETTLE, fail_fast: true }
    }
}

/// Several commits begin like this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{sha} could be {}: give more digits", commits.join(" or "))]
pub struct Ambiguous {
    /// What was given.
    pub sha: Sha,
    /// The commits, in full.
    pub commits: Vec<String>,
}

/// What the log holds of a commit, before it is judged.
#[derive(Debug)]
pub struct Past(Seen);

impl Past {
    /// Nothing yet.
    #[must_use]
    pub fn new(asked: Asked) -> Past {
        Past(Seen {
            asked,
            commits: BTreeSet::new(),
            elsewhere: BTreeSet::new(),
            units: Units::default(),
            branches: Branches::default(),
            changed: None,
            sees_from: i64::MIN,
            asks_from: None,
        })
    }

    /// The next event of the log, in commit order.
    pub fn recall(&mut self, record: &Record) {
        self.0.hear(&record.event, record.event.received_at);
    }

    /// The question as it stands once everything in the log is known, and its answer, if that is one: an old commit is
    /// answered at once, because the settle time counts from when its newest event was received.
    pub fn end(self, now: Instant, wall: SystemTime) -> Result<(Commit, Option<Ending>), Ambiguous> {
        let mut seen = self.0;
        if seen.commits.len() > 1 {
            return Err(Ambiguous { sha: seen.asked.sha, commits: seen.commits.into_iter().collect() });
        }
        let wall = wall.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let wall = i64::try_from(wall).unwrap_or(i64::MAX);
        // Dates in the future are those of a clock that has been set back since.
        seen.changed = seen.changed.map(|date| date.min(wall));
        seen.units.not_after(wall);
        let mut commit = Commit { seen, clock: Clock { now, wall } };
        let ending = commit.tick(now);
        Ok((commit, ending))
    }
}

/// The verdict on a commit, waited for.
#[derive(Debug)]
pub struct Commit {
    seen: Seen,
    clock: Clock,
}

/// What has been asked, and what has been heard of it.
#[derive(Debug)]
struct Seen {
    asked: Asked,
    /// In full, those that it could be.
    commits: BTreeSet<String>,
    /// Repositories outside the scope in which it was seen.
    elsewhere: BTreeSet<String>,
    units: Units,
    branches: Branches,
    /// When something last changed.
    changed: Option<i64>,
    /// Since when it would be known that something has changed.
    sees_from: i64,
    /// When GitHub began to be asked, where somebody does that for whoever waits: until it can have answered, what is
    /// known may be old.
    asks_from: Option<i64>,
}

/// One moment on both clocks: what the log has is dated in nanoseconds since the epoch, what comes has no date that
/// could be relied on.
#[derive(Clone, Copy, Debug)]
struct Clock {
    now: Instant,
    wall: i64,
}

impl Clock {
    /// A moment as the log would date it.
    fn date(self, now: Instant) -> i64 {
        let passed = now.saturating_duration_since(self.now).as_nanos();
        self.wall.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX))
    }

    /// The moment of a date, which is now for one that is past.
    fn moment(self, date: i64) -> Option<Instant> {
        self.now.checked_add(Duration::from_nanos(u64::try_from(date.saturating_sub(self.wall)).unwrap_or(0)))
    }
}

/// Where the question stands.
enum Standing {
    /// It is answered.
    Answered(Verdict),
    /// It is not, and will be at this date if nothing comes.
    Open(Option<i64>),
}

impl Question for Commit {
    fn subscription(&self) -> Subscribe {
        let asked = &self.seen.asked;
        let sha = &asked.sha;
        let names = |field| if sha.is_whole() { format!("{field}=\"{sha}\"") } else { format!("{field}*={sha}*") };
        let from = format!("source={SOURCE}");
        let both = |condition| vec![from.clone(), condition];
        let repos: Vec<_> = asked.repos.iter().map(RepoFilter::to_string).collect();
        Subscribe {
            filters: if repos.is_empty() { vec![RepoFilter::Any.to_string()] } else { repos },
            alternatives: vec![
                both(names("head_sha")),
                both(names("before")),
                // Whether one of these replaces the commit depends on the branches, which are learnt on the way.
                both("event_type=push".to_owned()),
            ],
            heartbeat: false,
            ..Subscribe::default()
        }
    }

    fn counts_the_past(&self) -> bool {
        true
    }

    fn see(&mut self, record: &Record, now: Instant) -> Step {
        self.seen.hear(&record.event, self.clock.date(now));
        Step::Aside
    }

    fn standing(&self) -> Option<Ending> {
        match self.seen.standing(i64::MIN) {
            Standing::Answered(verdict) => Some(self.seen.ending(verdict)),
            Standing::Open(_) => None,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self.seen.standing(i64::MIN) {
            Standing::Answered(_) => None,
            Standing::Open(due) => self.clock.moment(due?),
        }
    }

    fn tick(&mut self, now: Instant) -> Option<Ending> {
        match self.seen.standing(self.clock.date(now)) {
            Standing::Answered(verdict) => Some(self.seen.ending(verdict)),
            Standing::Open(_) => None,
        }
    }

    fn count_anew(&mut self, now: Instant) {
        self.seen.sees_from = self.clock.date(now);
    }

    fn is_lost_without(&self, dead: &BTreeSet<String>) -> bool {
        dead.contains(SOURCE)
    }

    fn outstanding(&self) -> Vec<String> {
        self.seen.outstanding()
    }
}

impl Commit {
    /// GitHub is asked from now on, because somebody waits: nothing that is known is the answer before the settle time is
    /// over.
    pub fn ask_first(&mut self, now: Instant) {
        self.seen.asks_from = Some(self.clock.date(now));
    }

    /// Repositories other than those that were asked for in which the log has the commit, for a warning.
    #[must_use]
    pub fn elsewhere(&self) -> Vec<String> {
        self.seen.elsewhere.iter().cloned().collect()
    }
}

impl Seen {
    fn hear(&mut self, event: &Event, date: i64) {
        if event.source != SOURCE {
            return;
        }
        let named = |name| text(&event.fields, name).filter(|commit| self.asked.sha.names(commit));
        let (head, before) = (named("head_sha"), named("before"));
        let repository = Repository::of(event);
        let repos = &self.asked.repos;
        if !repos.is_empty() && !repos.iter().any(|filter| filter.passes(&event.owner, &event.repo)) {
            if head.is_some() {
                self.elsewhere.insert(repository.name().to_owned());
            }
            return;
        }
        self.commits.extend(head.into_iter().chain(before).map(str::to_owned));
        let mut news = self.branches.hear(event, &self.asked.sha);
        if head.is_some()
            && let Some(told) = Told::by(event)
        {
            news |= self.units.hear(repository, &told, date);
        }
        if news {
            self.changed = Some(date);
        }
    }

    /// Where it stands at this date.
    fn standing(&self, date: i64) -> Standing {
        let Some((verdict, since)) = self.answer() else { return Standing::Open(None) };
        let Some(since) = since.map(|since| since.max(self.sees_from)).max(self.asks_from) else {
            return Standing::Answered(verdict);
        };
        let settled = since.saturating_add(i64::try_from(self.asked.settle.as_nanos()).unwrap_or(i64::MAX));
        if date >= settled { Standing::Answered(verdict) } else { Standing::Open(Some(settled)) }
    }

    /// The answer, if nothing else comes, and since when nothing has; `None` for one that need not settle.
    fn answer(&self) -> Option<(Verdict, Option<i64>)> {
        if self.commits.len() > 1 {
            return Some((Verdict::Neither(AMBIGUOUS.to_owned()), None));
        }
        let superseded = self.branches.superseded_by().map(|_| Verdict::Neither(SUPERSEDED.to_owned()));
        if self.asked.fail_fast
            && let Some(early) = self.early(superseded.as_ref())
        {
            return Some(early);
        }
        let verdicts: Option<Vec<_>> = self.units.judged().map(|(_, _, unit)| unit.verdict()).collect();
        let verdict = match units::together(&verdicts?) {
            Some(verdict) if !units::is_cancelled(&verdict) => verdict,
            cancelled => superseded.or(cancelled)?,
        };
        Some((verdict, self.changed))
    }

    /// The same before all have ended.
    fn early(&self, superseded: Option<&Verdict>) -> Option<(Verdict, Option<i64>)> {
        let failures: Vec<_> = self.units.judged().filter_map(|(_, _, unit)| unit.failure()).collect();
        if let Some(failure) = units::together(&failures) {
            return Some((failure, None));
        }
        let ended = self.units.judged().map(|(_, _, unit)| (unit.verdict(), unit.changed));
        let (cancelled, others): (Vec<_>, Vec<_>) =
            ended.partition(|(verdict, _)| verdict.as_ref().is_some_and(units::is_cancelled));
        let is_over = cancelled.is_empty() && !others.is_empty() && others.iter().all(|(verdict, _)| verdict.is_some());
        match superseded {
            Some(_) if is_over => None,
            Some(superseded) => Some((superseded.clone(), None)),
            None => {
                let (verdict, since) = cancelled.into_iter().min_by_key(|(_, changed)| *changed)?;
                Some((verdict?, Some(since)))
            }
        }
    }
}
