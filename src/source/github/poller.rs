//! Whom to ask next, and when: the repositories that somebody waits for, within the quota. No I/O, and the clock is an
//! argument.
//!
//! A repository is looked at once when it is new here, so that what happens later can be told from what had happened
//! before; then only while somebody waits for it. With nobody waiting there is neither a request nor a deadline.

use std::time::Duration;

use tokio::time::Instant;

use super::http::{Base, Reply, Request, Unreachable};
use super::place::Places;
use super::quota::{Heard, Quota, growing};
use super::round::{Moment, Purpose, Told};
use super::watch::Watch;
use crate::model::filter::RepoFilter;
use crate::model::limits::{
    GITHUB_AFTERMATH, GITHUB_FAULT_RETRY, GITHUB_INTERVAL_IDLE, GITHUB_RETRY_MAX, GITHUB_RETRY_MIN, GITHUB_SLOWING,
    MAX_FAULT_CHARS,
};
use crate::model::source::Demand;
use crate::model::text::one_line;

/// What is to be done next.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// Ask this.
    Ask(Request),
    /// Come back then.
    At(Instant),
    /// Nobody waits.
    Asleep,
}

/// A repository and when it is its turn.
#[derive(Debug)]
struct Turn {
    watch: Watch,
    wanted: bool,
    /// Whether no look has come to its end since somebody waits, or since one was broken off.
    afresh: bool,
    /// Whether somebody has come since the look that is under way began.
    came: bool,
    /// When it is to be looked at; `None` if nobody needs that.
    due: Option<Instant>,
    /// Since when nothing has changed there.
    quiet: Instant,
    /// Answers that made no sense, one after the other.
    failures: u32,
    /// Why GitHub does not show it, or how it fails.
    fault: Option<String>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Poller {
    base: Base,
    interval: Duration,
    turns: Vec<Turn>,
    pub(super) quota: Quota,
    /// What was committed when this process began.
    places: Places,
    /// For the log, each once.
    said: Vec<String>,
    /// Who waited when it was told last.
    demand: Demand,
}

impl Poller {
    pub(super) fn new(
        base: Base,
        interval: Duration,
        repositories: &[(String, String)],
        position: Option<&str>,
        quota: Quota,
        now: Instant,
    ) -> Poller {
        let mut places = Places::read(position);
        let turn = |(owner, repo): &(String, String)| {
            let place = places.take(&format!("{owner}/{repo}"));
            let due = place.is_none().then_some(now);
            let watch = Watch::new(owner, repo, place);
            Turn { watch, wanted: false, afresh: true, came: false, due, quiet: now, failures: 0, fault: None }
        };
        let turns = repositories.iter().map(turn).collect();
        Poller { base, interval, turns, quota, places, said: Vec::new(), demand: Demand::default() }
    }

    /// Takes note of who waits. A repository for which somebody begins to wait is looked at at once, also if others wait
    /// for it already.
    pub(super) fn demand(&mut self, demand: &Demand, now: Instant) {
        let newcomers: Vec<&RepoFilter> = demand.newcomers(&self.demand).collect();
        for turn in &mut self.turns {
            let (owner, repo) = (turn.watch.owner(), turn.watch.repo());
            let wanted = demand.filters.iter().any(|filter| filter.passes(owner, repo));
            let came = newcomers.iter().any(|filter| filter.passes(owner, repo));
            match (turn.wanted, wanted) {
                (false, true) => {
                    (turn.due, turn.quiet, turn.afresh) = (Some(now), now, true);
                    turn.watch.stop();
                }
                (true, true) if came => {
                    (turn.quiet, turn.afresh) = (now, true);
                    // A look that is under way is gone on with, or those who come one after the other would keep it from
                    // its end.
                    if turn.watch.is_looking() {
                        turn.came = true;
                    } else {
                        turn.due = Some(now);
                    }
                }
                (true, false) if turn.watch.place.is_some() => {
                    turn.due = None;
                    turn.watch.stop();
                }
                _ => {}
            }
            turn.wanted = wanted;
        }
        self.demand = demand.clone();
    }

    /// What is to be done now.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        let Some((due, turn)) = self.first(now) else { return Next::Asleep };
        let at = due.max(self.quota.ready());
        if at > now {
            return Next::At(at);
        }
        let turn = &mut self.turns[turn];
        if !turn.watch.is_looking() {
            // Without a token each of them would cost a part of a quota that is gone at once.
            let checks = turn.wanted && !self.quota.is_anonymous();
            // Where there are so many repositories that they wait for each other, what goes on comes first.
            let is_late = now.saturating_duration_since(due) > self.interval;
            let is_aftermath = !is_late && now.saturating_duration_since(turn.quiet) < GITHUB_AFTERMATH;
            let commits = turn.afresh || is_aftermath;
            turn.watch.begin(Purpose { jobs: turn.wanted, checks, commits });
            turn.came = false;
        }
        turn.watch.request().map_or(Next::Asleep, Next::Ask)
    }

    /// Whose turn it is: a look that has begun is gone on with. Of those that are due when a question may be asked, whom
    /// somebody waits for comes first, and then whoever waits for longest.
    fn first(&self, now: Instant) -> Option<(Instant, usize)> {
        let next = self.quota.ready().max(now);
        let turns = self.turns.iter().enumerate().filter_map(|(index, turn)| Some((turn, turn.due?, index)));
        let first = turns.min_by_key(|(turn, due, _)| (!turn.watch.is_looking(), next.max(*due), !turn.wanted, *due));
        first.map(|(_, due, index)| (due, index))
    }

    /// What came of the last question. `skewed` says what has to be added to GitHub's dates.
    pub(super) fn hear(&mut self, heard: Result<Reply, Unreachable>, moment: Moment) -> Told {
        let now = moment.now;
        let Some(index) = self.turns.iter().position(|turn| turn.watch.is_looking()) else { return Told::default() };
        let reply = match heard {
            Ok(reply) => reply,
            Err(problem) => {
                self.quota.unreachable(&problem, now);
                self.turns[index].later(now);
                return Told::default();
            }
        };
        let heard = self.quota.hear(&reply, now);
        let turn = &mut self.turns[index];
        if heard == Heard::Pause || reply.status == 401 {
            turn.break_off();
            // After the pause the others come first, in case that it is this one alone which is refused.
            turn.due = Some(now);
            return Told::default();
        }
        if let Some(problem) = reply.cut {
            turn.failed(&format!("the answer of GitHub breaks off: {problem}"), now);
            return Told::default();
        }
        match reply.status {
            200 | 304 => {}
            status if turn.watch.may_lack_it(status) => {
                if status == 403 && turn.watch.lacks_checks() {
                    let name = turn.watch.name();
                    self.said.push(format!(
                        "GitHub does not show the checks and statuses of {name} to this token: its commits are judged by \
                         their workflow runs alone"
                    ));
                }
            }
            301 | 302 | 307 | 308 => {
                let root = turn.watch.root().to_owned();
                if !turn.watch.redirected(reply.location.as_deref(), &self.base) {
                    turn.faulty(
                        format!("GitHub sends {} to another place, which is not followed", turn.watch.name()),
                        now,
                    );
                } else if turn.watch.root() != root {
                    self.said.push(format!("{} has moved: name it as it is called now", turn.watch.name()));
                }
                self.say_fault(index);
                return Told::default();
            }
            500.. => {
                turn.failed(&format!("GitHub fails with {}", reply.status), now);
                return Told::default();
            }
            status => {
                turn.faulty(refusal(&turn.watch.name(), status, &reply.body), now);
                self.say_fault(index);
                return Told::default();
            }
        }
        match turn.watch.answered(&reply, &self.base, moment) {
            Ok(told) => {
                (turn.failures, turn.fault) = (0, None);
                if !told.drafts.is_empty() {
                    turn.quiet = now;
                }
                if !turn.watch.is_looking() {
                    turn.afresh = turn.came || !turn.wanted;
                    let rest = if turn.came { Duration::ZERO } else { turn.rest(self.interval, now) };
                    turn.due = turn.wanted.then(|| now + rest);
                }
                told
            }
            Err(bad) => {
                turn.failed(&format!("the answer of GitHub cannot be read: {bad}"), now);
                Told::default()
            }
        }
    }

    /// The position that is reached.
    pub(super) fn position(&self) -> String {
        let watches = self.turns.iter().map(|turn| &turn.watch);
        self.places.with(watches.filter_map(|watch| Some((watch.name(), watch.place.as_ref()?))))
    }

    /// Why somebody who waits may wait in vain; none if nobody waits, or all is well.
    pub(super) fn trouble(&self) -> Option<String> {
        let mut wanted = self.turns.iter().filter(|turn| turn.wanted).peekable();
        wanted.peek()?;
        if let Some(trouble) = self.quota.trouble() {
            return Some(trouble.to_owned());
        }
        let mut faults = wanted.filter_map(|turn| turn.fault.as_deref());
        let first = faults.next()?;
        let more = faults.count();
        Some(if more == 0 { first.to_owned() } else { format!("{first} (and {more} more)") })
    }

    /// How many repositories somebody waits for.
    pub(super) fn wanted(&self) -> usize {
        self.turns.iter().filter(|turn| turn.wanted).count()
    }

    /// What there is to say for the log.
    pub(super) fn said(&mut self) -> Vec<String> {
        std::mem::take(&mut self.said)
    }

    /// Whoever waits hears of a fault by the source's silence; if nobody does, the log has it.
    fn say_fault(&mut self, index: usize) {
        let turn = &self.turns[index];
        if let (false, Some(fault)) = (turn.wanted, &turn.fault) {
            self.said.push(fault.clone());
        }
    }
}

impl Turn {
    /// How long it is left alone: where something goes on it is looked at steadily, elsewhere the more rarely the longer
    /// nothing has changed.
    fn rest(&self, interval: Duration, now: Instant) -> Duration {
        if self.watch.is_busy() {
            return interval;
        }
        let slow = now.saturating_duration_since(self.quiet) / GITHUB_SLOWING;
        slow.clamp(interval, GITHUB_INTERVAL_IDLE.max(interval))
    }

    /// GitHub does not show it. That rarely passes by itself.
    fn faulty(&mut self, fault: String, now: Instant) {
        self.break_off();
        self.fault = Some(fault);
        self.due = self.wanted.then(|| now + GITHUB_FAULT_RETRY);
    }

    /// Something is wrong that passes.
    fn failed(&mut self, problem: &str, now: Instant) {
        self.fault = Some(format!("{}: {problem}", self.watch.name()));
        self.later(now);
    }

    /// The look has failed. What it would have been followed by is made up for.
    fn break_off(&mut self) {
        self.watch.stop();
        self.afresh = true;
    }

    /// It is asked again later, so that the others have their turns.
    fn later(&mut self, now: Instant) {
        self.break_off();
        self.due = Some(now + growing(GITHUB_RETRY_MIN, GITHUB_RETRY_MAX, self.failures));
        self.failures = self.failures.saturating_add(1);
    }
}

/// Why GitHub does not show a repository, and what helps.
fn refusal(name: &str, status: u16, body: &[u8]) -> String {
    let message = serde_json::from_slice::<serde_json::Value>(body).ok();
    let message = message.as_ref().and_then(|body| body.get("message")?.as_str()).unwrap_or_default();
    let message: String = one_line(message).chars().take(MAX_FAULT_CHARS).collect();
    match status {
        404 => format!(
            "GitHub shows no repository {name}: look at its name, or give a token that may read its Actions with `waitbus \
             secret set github-token`"
        ),
        _ => format!(
            "GitHub does not show the runs of {name} ({status} {message}): give a token that may read its Actions with \
             `waitbus secret set github-token`"
        ),
    }
}
