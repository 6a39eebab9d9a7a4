//! What GitHub says late, or in an order that nobody expects: it is told all the same.

use super::*;
use crate::model::limits::{GITHUB_COMMITS, GITHUB_ENDED_TRIES};

fn asked_about_commits(world: &mut World, time: Duration) -> usize {
    world.api.asked.clear();
    world.pass(time);
    world.api.asked.iter().filter(|asked| asked.path.contains("commits")).count()
}

/// A wait for the verdict of another service never ended: it came four seconds after the last run, and by then nobody
/// asked about the commit any more.
#[test]
fn what_others_say_after_the_last_run_has_ended_is_told_to_who_waits_already() {
    let mut world = World::new(&["octo/hello"]);
    world.api.run("octo/hello", 1, "completed", Some("success"));
    world.want(&["octo/hello"]);
    world.pass(INTERVAL * 3);
    world.api.status(1, 50, "failure");
    world.pass(INTERVAL * 2);
    assert!(world.log.contains_key("status octo/hello 50"), "{:?}", world.log.keys());
}

/// A permanent `tail` was one who waits, so nobody who came later had the commits looked at.
#[test]
fn who_comes_while_another_waits_has_github_asked_anew_and_who_leaves_has_not() {
    let mut world = World::new(&["octo/hello", "octo/other"]);
    world.api.run("octo/hello", 1, "completed", Some("success"));
    world.want(&["*"]);
    world.pass(Duration::from_hours(3));
    world.api.status(1, 50, "failure");
    world.pass(Duration::from_secs(90));
    assert!(!world.log.contains_key("status octo/hello 50"), "nothing has changed for long");
    world.api.asked.clear();
    world.want(&["*", "octo/hello"]);
    world.settle();
    assert!(world.log.contains_key("status octo/hello 50"), "at once: {:?}", world.api.asked);
    assert!(world.api.asked_of("octo/other").is_empty(), "nobody came for that");
    world.api.asked.clear();
    world.want(&["*"]);
    world.settle();
    assert!(world.api.asked.is_empty(), "{:?}", world.api.asked);
}

/// `wait --sha` answered from a log that did not know of a re-run, because others waited and the next look was a minute
/// away.
#[test]
fn who_comes_for_what_others_wait_for_has_github_asked_at_once_and_by_a_look_that_begins_then() {
    let mut world = World::new(&["octo/hello"]);
    world.api.run("octo/hello", 1, "completed", Some("success"));
    world.want(&["octo/hello"]);
    world.come();
    world.pass(Duration::from_hours(3));
    world.runs();
    // Just after a look.
    world.pass(GITHUB_INTERVAL_IDLE);
    world.api.rerun("octo/hello", 1, 2, "completed", Some("failure"));
    world.api.job("octo/hello", 1, 11, "completed", Some("failure"));
    world.api.status(1, 50, "failure");
    world.come();
    world.settle();
    assert_eq!(world.runs(), ["workflow_run octo/hello 1.2 completed failure"]);
    assert!(world.log.contains_key("workflow_job octo/hello 11.1 completed failure"), "{:?}", world.log.keys());
    assert!(world.log.contains_key("status octo/hello 50"), "{:?}", world.log.keys());
    // While a look is under way that has asked for the runs already: it goes on, and another one follows.
    world.come();
    assert!(world.step() && world.step(), "the runs, and a commit");
    world.api.run("octo/hello", 2, "completed", Some("success"));
    world.come();
    world.settle();
    assert_eq!(world.runs(), ["workflow_run octo/hello 2.1 completed success"]);
    world.api.asked.clear();
    world.settle();
    assert!(world.api.asked.is_empty(), "once: {:?}", world.api.asked);
}

/// Such a run was left out and forgotten beside a newer one, so a failed run was never told.
#[test]
fn a_run_that_has_ended_and_does_not_say_how_is_told_when_it_does() {
    let mut world = World::new(&["octo/hello"]);
    world.api.run("octo/hello", 5, "completed", Some("success"));
    world.want(&["octo/hello"]);
    world.settle();
    world.runs();
    world.api.run("octo/hello", 10, "completed", None);
    world.api.run("octo/hello", 11, "in_progress", None);
    world.pass(INTERVAL);
    assert_eq!(world.runs(), ["workflow_run octo/hello 11.1 in_progress"], "how it ended is not known");
    world.restart();
    world.api.run("octo/hello", 10, "completed", Some("failure"));
    world.pass(INTERVAL);
    assert_eq!(world.runs(), ["workflow_run octo/hello 10.1 completed failure"]);
    // Also one that goes on, and is asked for alone because it has left the first page.
    for id in 12..=60 {
        world.api.run("octo/hello", id, "completed", Some("success"));
    }
    world.pass(INTERVAL);
    world.runs();
    world.api.run("octo/hello", 11, "completed", None);
    world.pass(INTERVAL);
    assert_eq!((world.runs(), world.poller.trouble()), (vec![], None));
    world.api.run("octo/hello", 11, "completed", Some("cancelled"));
    world.pass(INTERVAL);
    assert_eq!(world.runs(), ["workflow_run octo/hello 11.1 completed cancelled"]);
    assert_eq!(world.doubles, 0);
}

/// GitHub's lists are not of one moment: the run had ended, its job was still listed as running, and whoever waited for
/// the job waited for ever.
#[test]
fn a_job_that_is_listed_as_running_when_its_run_has_ended_is_followed_to_its_end() {
    let mut world = World::new(&["octo/hello"]);
    world.want(&["octo/hello"]);
    world.api.run("octo/hello", 1, "in_progress", None);
    world.api.job("octo/hello", 1, 11, "in_progress", None);
    world.settle();
    world.api.run("octo/hello", 1, "completed", Some("failure"));
    world.pass(INTERVAL * 2);
    world.api.job("octo/hello", 1, 11, "completed", Some("failure"));
    world.pass(INTERVAL * 2);
    assert!(world.log.contains_key("workflow_job octo/hello 11.1 completed failure"), "{:?}", world.log.keys());
    // Also of an attempt that begins before the jobs of the one before have ended.
    world.api.run("octo/hello", 3, "in_progress", None);
    world.api.job("octo/hello", 3, 31, "in_progress", None);
    world.pass(INTERVAL);
    world.api.run("octo/hello", 3, "completed", Some("failure"));
    world.pass(INTERVAL);
    world.api.rerun("octo/hello", 3, 2, "in_progress", None);
    world.pass(INTERVAL * 2 * GITHUB_ENDED_TRIES);
    world.api.rerun("octo/hello", 3, 2, "completed", Some("failure"));
    world.pass(INTERVAL * 2);
    world.api.job("octo/hello", 3, 31, "completed", Some("failure"));
    world.pass(INTERVAL * 2);
    assert!(world.log.contains_key("workflow_job octo/hello 31.1 completed failure"), "{:?}", world.log.keys());
    // One that never ends is given up.
    world.api.run("octo/hello", 4, "in_progress", None);
    world.api.job("octo/hello", 4, 41, "in_progress", None);
    world.pass(INTERVAL);
    world.api.run("octo/hello", 4, "completed", Some("cancelled"));
    world.pass(Duration::from_hours(1));
    world.api.asked.clear();
    world.pass(Duration::from_mins(10));
    assert!(world.api.asked.iter().all(|asked| !asked.path.contains("jobs")), "{:?}", world.api.asked);
}

/// A run that was told had its commit asked about once, and where GitHub failed just then, never again.
#[test]
fn a_check_that_could_not_be_asked_for_is_asked_for_when_it_can() {
    let mut world = World::new(&["octo/hello"]);
    world.want(&["octo/hello"]);
    world.settle();
    world.api.run("octo/hello", 2, "completed", Some("success"));
    world.api.check(2, 60, "completed", Some("failure"));
    world.api.broken = Some("check-runs");
    world.pass(Duration::from_hours(1));
    assert!(world.poller.trouble().unwrap().contains("502"));
    world.api.broken = None;
    world.pass(Duration::from_mins(10));
    assert!(world.log.keys().any(|key| key.starts_with("check_run octo/hello 60 completed")), "{:?}", world.log.keys());
}

#[test]
fn commits_where_nothing_has_changed_for_long_are_left_alone() {
    let mut world = World::new(&["octo/hello"]);
    for id in 1..=5 {
        world.api.run("octo/hello", id, "completed", Some("success"));
    }
    world.want(&["octo/hello"]);
    assert!(asked_about_commits(&mut world, Duration::from_mins(1)) > 2 * GITHUB_COMMITS);
    world.pass(Duration::from_hours(1));
    assert_eq!(asked_about_commits(&mut world, Duration::from_mins(10)), 0);
}
