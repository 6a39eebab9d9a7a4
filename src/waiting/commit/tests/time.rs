//! When a commit is answered: what the log's dates and the waiter's clock have to do with each other.

use super::*;

fn after(now: Instant, seconds: u64) -> Instant {
    now + Duration::from_secs(seconds)
}

/// The verdict as of a moment, as the driver would ask for it.
fn at(commit: &mut Commit, now: Instant) -> Option<String> {
    let ending = commit.standing().or_else(|| commit.tick(now));
    ending.map(|ending| ending.verdict.word().to_owned())
}

fn see(commit: &mut Commit, said: &Said, now: Instant) {
    // What is committed while somebody waits has whatever date its writer's clock gave it.
    assert_eq!(commit.see(&said.record(77), now), Step::Aside);
}

fn waiting(history: &[Said], seconds: u64) -> (Commit, Instant) {
    let (commit, ending) = past(asked(), history, seconds);
    assert_eq!(ending, None);
    let now = commit.clock.now;
    (commit, now)
}

#[test]
fn a_commit_that_ended_before_the_settle_time_is_answered_at_once() {
    let history = [run(1, 1, "success").at(100)];
    for (seconds, expected) in
        [(100, None), (109, None), (110, Some(Verdict::Success)), (9_999, Some(Verdict::Success))]
    {
        assert_eq!(past(asked(), &history, seconds).1.map(|ending| ending.verdict), expected, "{seconds}");
    }
    let hasty = Asked { settle: Duration::ZERO, ..asked() };
    assert_eq!(past(hasty, &history, 100).1.map(|ending| ending.verdict), Some(Verdict::Success));
}

#[test]
fn what_is_left_of_the_settle_time_is_waited_for() {
    let (mut commit, now) = waiting(&[run(1, 1, "success").at(100)], 104);
    assert_eq!(commit.deadline(), Some(after(now, 6)));
    assert_eq!(at(&mut commit, after(now, 5)), None);
    assert_eq!(at(&mut commit, after(now, 6)).as_deref(), Some("success"));
}

#[test]
fn a_date_in_the_future_counts_as_now() {
    let (commit, now) = waiting(&[run(1, 1, "success").at(5_000)], 100);
    assert_eq!(commit.deadline(), Some(after(now, 10)));
    let (commit, now) = waiting(&[run(1, 1, "cancelled").at(5_000), run(2, 1, "queued").at(50)], 100);
    assert_eq!(commit.deadline(), Some(after(now, 10)), "of a cancellation as well");
}

#[test]
fn a_run_that_appears_while_it_settles_is_waited_for() {
    let (mut commit, now) = waiting(&[run(1, 1, "success").at(100)], 100);
    see(&mut commit, &run(2, 1, "queued"), after(now, 9));
    assert_eq!((commit.deadline(), at(&mut commit, after(now, 900))), (None, None));
    see(&mut commit, &run(2, 1, "success"), after(now, 901));
    assert_eq!(commit.deadline(), Some(after(now, 911)));
    assert_eq!(at(&mut commit, after(now, 911)).as_deref(), Some("success"));
}

#[test]
fn what_is_told_twice_does_not_put_the_answer_off() {
    let (mut commit, now) = waiting(&[run(1, 1, "success").at(100), job(1, "a", 1, "success").at(100)], 100);
    see(&mut commit, &run(1, 1, "success"), after(now, 5));
    see(&mut commit, &job(1, "a", 1, "success"), after(now, 6));
    see(&mut commit, &run(1, 1, "in_progress"), after(now, 7));
    assert_eq!(commit.deadline(), Some(after(now, 10)));
}

#[test]
fn before_the_first_run_nothing_is_due() {
    let (mut commit, now) = waiting(&[], 100);
    assert_eq!((commit.deadline(), at(&mut commit, after(now, 900))), (None, None));
    see(&mut commit, &run(1, 1, "queued"), after(now, 900));
    see(&mut commit, &run(1, 1, "failure"), after(now, 901));
    assert_eq!(at(&mut commit, after(now, 901)).as_deref(), Some("failure"), "a failure need not settle");
}

#[test]
fn a_cancellation_is_believed_when_no_push_has_explained_it() {
    let (mut commit, now) = waiting(&[run(1, 1, "queued"), run(2, 1, "queued")], 100);
    see(&mut commit, &run(1, 1, "cancelled"), after(now, 1));
    see(&mut commit, &run(2, 1, "in_progress"), after(now, 2));
    assert_eq!(commit.deadline(), Some(after(now, 11)), "other news do not put it off");
    assert_eq!(at(&mut commit, after(now, 10)), None);
    assert_eq!(at(&mut commit, after(now, 11)).as_deref(), Some("cancelled"));
    see(&mut commit, &push("main", SHA, NEWER), after(now, 10));
    assert_eq!(at(&mut commit, after(now, 10)).as_deref(), Some("superseded"));
}

#[test]
fn a_rerun_within_the_settle_time_takes_a_success_and_a_cancellation_back() {
    for ended in ["success", "cancelled", "skipped"] {
        let (mut commit, now) = waiting(&[run(1, 1, ended).at(100)], 100);
        see(&mut commit, &run(1, 2, "queued"), after(now, 9));
        assert_eq!((commit.deadline(), at(&mut commit, after(now, 900))), (None, None), "{ended}");
    }
}

#[test]
fn it_subscribes_to_the_commit_and_to_what_may_take_its_place() {
    use crate::model::filter::Filter;
    let dead = |source: &str| past(asked(), &[], 0).0.is_lost_without(&[source.to_owned()].into());
    assert!(dead("github") && !dead("pytest"));
    let filter = |sha: &str, repos: &[&str]| -> Filter {
        let repos = repos.iter().map(|name| RepoFilter::parse(name).unwrap()).collect();
        let (commit, _) = past(Asked { repos, ..Asked::of(sha.parse().unwrap()) }, &[], 0);
        commit.subscription().filter().unwrap()
    };
    for sha in [SHA, "3484a3f", "3484A3FB81"] {
        let any = filter(sha, &[]);
        for said in [
            run(1, 1, "queued"),
            push("x", NEWER, OLDER),
            Said::new("pull_request", json!({"before": SHA, "head_sha": NEWER})),
        ] {
            assert!(any.wants(&said.record(1)), "{sha} {said:?}");
            assert!(filter(sha, &["octo/hello"]).wants(&said.record(1)));
            assert!(!filter(sha, &["octo/other", "me/*"]).wants(&said.record(1)));
        }
        assert!(!any.wants(&run(1, 1, "queued").with("head_sha", NEWER).record(1)));
        let mut elsewhere = run(1, 1, "queued").record(1);
        elsewhere.event.source = "pytest".into();
        assert!(!any.wants(&elsewhere));
    }
    assert!(
        filter("1234567", &[]).wants(&run(1, 1, "queued").with("head_sha", "1234567890").record(1)),
        "digits are no number"
    );
}

/// Each event compared every check of the commit with every other one: a wait for a commit with a thousand of them was
/// busy for a minute.
#[test]
fn a_commit_with_thousands_of_checks_is_judged_in_a_moment() {
    let history: Vec<_> = (1..=10_000).map(|id| check("codecov", &format!("check {id}"), id, "success")).collect();
    let began = Instant::now();
    assert_eq!(verdict(asked(), &history), Some(Verdict::Success));
    let elapsed = began.elapsed();
    assert!(elapsed < Duration::from_secs(5), "{elapsed:?}");
}
