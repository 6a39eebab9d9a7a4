//! How often GitHub may be asked: its limits, the share of them that is ours, and pauses after what may pass.
//!
//! The share is for the hour that GitHub counts. A tenth of it may be used at any speed, so that a wait is answered at
//! once; the rest is spread evenly over what is left of the hour, so that it is never used up before. It is also a share
//! of what others have left: where `gh` or a script has used the quota up, the poller does not take the rest.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::http::{Reply, Unreachable, bounded};
use crate::model::limits::{
    GITHUB_BURST_PERCENT, GITHUB_LIMIT_MAX, GITHUB_LIMIT_MIN, GITHUB_RETRY_MAX, GITHUB_RETRY_MIN,
};

/// What an answer means for the next question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It is an answer.
    Answer,
    /// It is none: GitHub asks for a pause.
    Pause,
}

/// The hour that GitHub counts.
#[derive(Clone, Copy, Debug)]
struct Period {
    limit: u64,
    remaining: u64,
    /// In seconds since the epoch by GitHub's clock; tells one hour from another.
    reset: i64,
    ends: Instant,
}

/// The limits as they stand.
#[derive(Debug)]
pub(super) struct Quota {
    /// The share that is ours.
    percent: u64,
    /// Without a token GitHub counts answers that nothing has changed as well.
    anonymous: bool,
    period: Option<Period>,
    /// Our requests that counted in this period.
    spent: u64,
    /// No request before.
    ready: Instant,
    /// Why there is a pause that somebody who waits should know of.
    trouble: Option<String>,
    /// Failures, and limits without a time, one after the other.
    failures: u32,
    limits: u32,
}

impl Quota {
    pub(super) fn new(percent: u64, now: Instant) -> Quota {
        Quota { percent, anonymous: true, period: None, spent: 0, ready: now, trouble: None, failures: 0, limits: 0 }
    }

    pub(super) fn set_anonymous(&mut self, anonymous: bool) {
        self.anonymous = anonymous;
    }

    pub(super) fn is_anonymous(&self) -> bool {
        self.anonymous
    }

    /// When the next request may be made.
    pub(super) fn ready(&self) -> Instant {
        self.ready
    }

    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// How much of it is used, for a person.
    pub(super) fn told(&self) -> Option<String> {
        let Period { limit, remaining, .. } = self.period?;
        let ours = self.allowance(limit);
        Some(format!("{} of {ours} requests this hour, and GitHub leaves {remaining} of {limit}", self.spent))
    }

    /// Takes note of an answer.
    pub(super) fn hear(&mut self, reply: &Reply, now: Instant) -> Heard {
        self.failures = 0;
        self.count(reply, now);
        if !is_limit(reply) {
            self.trouble = None;
            // A token that is refused is no limit; what it is refused for goes on.
            if reply.status != 401 {
                self.limits = 0;
            }
            self.pace(reply, now);
            return Heard::Answer;
        }
        let used_up = reply.remaining == Some(0);
        let pause = match (reply.retry_after, self.period) {
            (Some(seconds), _) => bounded(seconds, GITHUB_LIMIT_MAX),
            (None, Some(period)) if used_up => period.ends.saturating_duration_since(now) + Duration::from_secs(1),
            (None, _) => growing(GITHUB_LIMIT_MIN, GITHUB_LIMIT_MAX, self.limits),
        };
        // It may say that there is none, and refuse again.
        let least = growing(GITHUB_RETRY_MIN, GITHUB_LIMIT_MAX, self.limits);
        let pause = pause.max(least).min(GITHUB_LIMIT_MAX);
        self.limits = self.limits.saturating_add(1);
        let what = if used_up { "its quota for this hour is used up" } else { "its limits ask for a pause" };
        let hint = if self.anonymous { "; a token has a larger quota: `waitbus secret set github-token`" } else { "" };
        self.pause(now + pause, format!("GitHub answers nothing for {} s: {what}{hint}", pause.as_secs()));
        Heard::Pause
    }

    /// There was no answer.
    pub(super) fn unreachable(&mut self, problem: &Unreachable, now: Instant) {
        let pause = growing(GITHUB_RETRY_MIN, GITHUB_RETRY_MAX, self.failures);
        self.failures = self.failures.saturating_add(1);
        self.pause(now + pause, format!("GitHub cannot be reached: {}", problem.0));
    }

    /// GitHub does not accept the token.
    pub(super) fn refused(&mut self, remedy: String, now: Instant) {
        let pause = growing(GITHUB_LIMIT_MIN, GITHUB_LIMIT_MAX, self.limits);
        self.limits = self.limits.saturating_add(1);
        self.pause(now + pause, remedy);
    }

    fn pause(&mut self, until: Instant, trouble: String) {
        self.ready = until;
        self.trouble = Some(trouble);
    }

    fn count(&mut self, reply: &Reply, now: Instant) {
        if let (Some(limit), Some(remaining), Some(reset)) = (reply.limit, reply.remaining, reply.reset) {
            let left = reset.saturating_sub(reply.date.unwrap_or_else(|| Timestamp::now().as_second()));
            let ends = now + bounded(u64::try_from(left).unwrap_or(0), GITHUB_LIMIT_MAX);
            // GitHub's servers do not agree on the second.
            let is_same = |period: &Period| period.reset.abs_diff(reset) < 60 && now < period.ends;
            if !self.period.as_ref().is_some_and(is_same) {
                self.spent = 0;
            }
            self.period = Some(Period { limit, remaining, reset, ends });
        }
        self.spent += u64::from(self.counts(reply));
    }

    fn counts(&self, reply: &Reply) -> bool {
        reply.status != 304 || self.anonymous
    }

    /// Spreads what is left of the share over what is left of the hour.
    fn pace(&mut self, reply: &Reply, now: Instant) {
        self.ready = now;
        let Some(Period { limit, remaining, ends, .. }) = self.period else { return };
        let ours = self.allowance(limit);
        let left = ours.saturating_sub(self.spent).min(self.share(remaining));
        let until_end = ends.saturating_duration_since(now);
        if left == 0 {
            let why = format!(
                "the share of GitHub's quota that waitbus may use ({ours} of {limit} requests an hour) is used up for {} s: \
                 `budget` in [source.github] is its percentage",
                until_end.as_secs()
            );
            self.pause(ends, why);
        } else if self.counts(reply) && self.spent > percent(ours, GITHUB_BURST_PERCENT) {
            self.ready = now + until_end / u32::try_from(left).unwrap_or(u32::MAX);
        }
    }

    /// At least one, or a small quota would be none.
    fn allowance(&self, limit: u64) -> u64 {
        self.share(limit).max(1)
    }

    fn share(&self, requests: u64) -> u64 {
        percent(requests, self.percent)
    }
}

/// So much of a number, which comes from the network and may be any.
fn percent(of: u64, percent: u64) -> u64 {
    of.saturating_mul(percent) / 100
}

/// Whether GitHub refuses because it was asked too often. It says so with 403 as well, which also means other things.
fn is_limit(reply: &Reply) -> bool {
    let says_so = || String::from_utf8_lossy(&reply.body).to_ascii_lowercase().contains("rate limit");
    match reply.status {
        429 => true,
        403 => reply.retry_after.is_some() || reply.remaining == Some(0) || says_so(),
        _ => false,
    }
}

/// A pause that doubles, with up to a quarter more, so that machines that failed together do not come back together.
pub(super) fn growing(first: Duration, most: Duration, times: u32) -> Duration {
    let pause = first.saturating_mul(2_u32.saturating_pow(times)).min(most);
    let random = u32::try_from(RandomState::new().hash_one(times) % 256).unwrap_or(0);
    pause + pause * random / 1_024
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64, status: u16, remaining: u64) -> Reply {
        Reply {
            status,
            limit: Some(5_000),
            remaining: Some(remaining),
            reset: Some(3_600),
            date: Some(seconds),
            ..Reply::default()
        }
    }

    fn quota(now: Instant) -> Quota {
        let mut quota = Quota::new(20, now);
        quota.set_anonymous(false);
        quota
    }

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// As fast as it may: how many requests an hour are made, and the longest pause between two.
    fn hour(status: u16, mut quota: Quota, begin: Instant) -> (u64, Duration) {
        let (mut now, mut asked, mut longest) = (begin, 0, Duration::ZERO);
        while now < begin + secs(3_600) && asked < 100_000 {
            asked += 1;
            let seconds = i64::try_from((now - begin).as_secs()).unwrap();
            let spent = if status == 304 { 0 } else { asked };
            quota.hear(&at(seconds, status, 5_000 - spent), now);
            longest = longest.max(quota.ready() - now);
            now = quota.ready();
        }
        (asked, longest)
    }

    #[test]
    fn an_hour_costs_no_more_than_the_share_and_never_comes_to_a_stop() {
        let now = Instant::now();
        let (asked, longest) = hour(200, quota(now), now);
        assert!((900..=1_001).contains(&asked), "{asked}");
        assert!(longest < secs(10), "{longest:?}");
        let (asked, longest) = hour(304, quota(now), now);
        assert_eq!((asked, longest), (100_000, Duration::ZERO), "what nothing has changed in costs nothing");
        let mut anonymous = quota(now);
        anonymous.set_anonymous(true);
        let (asked, _) = hour(304, anonymous, now);
        assert!(asked <= 1_001, "without a token it does: {asked}");
    }

    #[test]
    fn of_what_others_have_left_the_poller_takes_its_share_and_not_the_rest() {
        let now = Instant::now();
        let mut quota = quota(now);
        assert_eq!(quota.hear(&at(0, 200, 4), now), Heard::Answer);
        assert_eq!(quota.ready(), now + secs(3_600), "4 are left for whoever else needs them");
        assert!(quota.trouble().unwrap().contains("`budget`"));
        assert_eq!(
            quota.hear(&Reply { reset: Some(7_200), ..at(3_600, 200, 5_000) }, now + secs(3_600)),
            Heard::Answer
        );
        assert_eq!((quota.trouble(), quota.ready()), (None, now + secs(3_600)), "a new hour");
        assert_eq!(quota.told().unwrap(), "1 of 1000 requests this hour, and GitHub leaves 5000 of 5000");
    }

    #[test]
    fn every_kind_of_limit_is_obeyed() {
        let now = Instant::now();
        let cases = [
            (Reply { retry_after: Some(30), ..at(0, 429, 100) }, secs(30), secs(30)),
            (Reply { retry_after: Some(30), ..at(0, 403, 100) }, secs(30), secs(30)),
            (at(0, 403, 0), secs(3_601), secs(3_601)),
            (at(0, 429, 0), secs(3_601), secs(3_601)),
            (
                Reply { body: br#"{"message":"You have exceeded a secondary rate limit"}"#.into(), ..at(0, 403, 100) },
                secs(60),
                secs(75),
            ),
            (Reply { status: 429, ..Reply::default() }, secs(60), secs(75)),
            (Reply { retry_after: Some(u64::MAX), ..at(0, 429, 1) }, GITHUB_LIMIT_MAX, GITHUB_LIMIT_MAX),
        ];
        for (reply, least, most) in cases {
            let mut quota = quota(now);
            assert_eq!(quota.hear(&reply, now), Heard::Pause, "{reply:?}");
            let pause = quota.ready() - now;
            assert!(least <= pause && pause <= most, "{reply:?}: {pause:?}");
            assert!(quota.trouble().is_some());
        }
        let forbidden =
            Reply { body: br#"{"message":"Resource not accessible by integration"}"#.into(), ..at(0, 403, 100) };
        assert_eq!(quota(now).hear(&forbidden, now), Heard::Answer, "403 means other things, too");
    }

    #[test]
    fn limits_and_failures_that_go_on_are_asked_about_less_and_less() {
        let now = Instant::now();
        let mut quota = quota(now);
        let mut last = Duration::ZERO;
        for _ in 0..4 {
            quota.hear(&Reply { status: 429, ..Reply::default() }, now);
            assert!(quota.ready() - now > last * 3 / 2);
            last = quota.ready() - now;
        }
        for times in 0..100 {
            assert!(growing(GITHUB_RETRY_MIN, GITHUB_RETRY_MAX, times) <= GITHUB_RETRY_MAX * 5 / 4);
        }
        quota.unreachable(&Unreachable("no route".into()), now);
        assert!(quota.ready() - now <= GITHUB_RETRY_MIN * 5 / 4 && quota.trouble().unwrap().contains("no route"));
        quota.hear(&at(0, 304, 4_000), now);
        assert_eq!((quota.ready(), quota.trouble()), (now, None));
    }

    /// `Retry-After: 0` was taken at its word: 20 requests a second, with nobody waiting.
    #[test]
    fn a_limit_that_asks_for_no_pause_gets_one_that_grows() {
        let now = Instant::now();
        let mut quota = quota(now);
        let mut last = GITHUB_RETRY_MIN / 2;
        for _ in 0..4 {
            quota.hear(&Reply { retry_after: Some(0), ..at(0, 429, 100) }, now);
            assert!(quota.ready() - now > last * 3 / 2, "{:?} after {last:?}", quota.ready() - now);
            last = quota.ready() - now;
        }
    }

    /// A token that was withdrawn was shown to GitHub once a minute for as long as the machine was on.
    #[test]
    fn a_token_that_is_refused_is_shown_less_and_less() {
        let now = Instant::now();
        let mut quota = quota(now);
        let mut last = Duration::ZERO;
        for _ in 0..4 {
            assert_eq!(quota.hear(&at(0, 401, 100), now), Heard::Answer);
            quota.refused("another token".into(), now);
            assert!(quota.ready() - now > last * 3 / 2, "{:?} after {last:?}", quota.ready() - now);
            last = quota.ready() - now;
        }
        quota.hear(&at(0, 200, 4_000), now);
        assert_eq!((quota.ready(), quota.trouble()), (now, None));
    }

    #[test]
    fn no_number_of_a_header_is_too_large() {
        let now = Instant::now();
        let mut quota = quota(now);
        let all = u64::MAX;
        let reply = Reply { limit: Some(all), reset: Some(i64::MAX), retry_after: Some(all), ..at(0, 200, all) };
        assert_eq!(quota.hear(&reply, now), Heard::Answer);
        assert!(quota.told().is_some() && quota.ready() == now);
    }
}
