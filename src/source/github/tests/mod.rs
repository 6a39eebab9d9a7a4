//! The poller against an API in memory, on a clock that the test turns: what is asked, what is told, and what is not.

mod api;
mod late;
mod turns;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use self::api::{Api, Failure};
use super::http::{Base, Reply, Unreachable};
use super::poller::{Next, Poller};
use super::quota::Quota;
use super::round::{Moment, Told};
use super::*;
use crate::config::settings::tests::sections;
use crate::model::event::{Draft, HAPPENED_AT};
use crate::model::filter::RepoFilter;
use crate::model::limits::{
    GITHUB_AFTERMATH, GITHUB_FOLLOWED_RUNS, GITHUB_INTERVAL_IDLE, GITHUB_RUN_PAGES, GITHUB_RUNS_PER_PAGE,
};
use crate::model::source::Demand;

const INTERVAL: Duration = Duration::from_secs(10);

/// A poller with its log, its clock and its API.
struct World {
    api: Api,
    poller: Poller,
    now: Instant,
    begin: Instant,
    repositories: Vec<(String, String)>,
    demand: Demand,
    /// What was committed, by its key.
    log: BTreeMap<String, Draft>,
    position: Option<String>,
    /// Keys in the order in which they were told.
    told: Vec<String>,
    /// How often something was told that had been told.
    doubles: usize,
}

/// When the world begins, in seconds since the epoch.
const EPOCH: i64 = 1_800_000_000;

impl World {
    fn new(names: &[&str]) -> World {
        let now = Instant::now();
        let split = |name: &&str| name.split_once('/').map(|(owner, repo)| (owner.to_owned(), repo.to_owned()));
        let repositories: Vec<_> = names.iter().filter_map(split).collect();
        let poller = poller(&repositories, None, now);
        World {
            api: Api::new(EPOCH),
            poller,
            now,
            begin: now,
            repositories,
            demand: Demand::default(),
            log: BTreeMap::new(),
            position: None,
            told: Vec::new(),
            doubles: 0,
        }
    }

    fn want(&mut self, filters: &[&str]) {
        let filters = filters.iter().map(|filter| RepoFilter::parse(filter).unwrap());
        self.demand = Demand { filters: filters.collect(), newest: Vec::new() };
        self.poller.demand(&self.demand, self.now);
    }

    /// One more begins to wait with each filter that there is.
    fn come(&mut self) {
        let came = self.demand.newest.first().map_or(1, |newest| newest + 1);
        self.demand.newest = vec![came; self.demand.filters.len()];
        self.poller.demand(&self.demand, self.now);
    }

    fn wall(&self) -> i64 {
        EPOCH + i64::try_from((self.now - self.begin).as_secs()).unwrap()
    }

    fn moment(&self) -> Moment {
        Moment { now: self.now, wall: self.wall() * 1_000_000_000, skew: 0 }
    }

    fn commit(&mut self, told: Told) {
        if told.moved {
            self.position = Some(self.poller.position());
        }
        for draft in told.drafts {
            let key = draft.delivery_id.clone().unwrap();
            if self.log.insert(key.clone(), draft).is_some() {
                self.doubles += 1;
            } else {
                self.told.push(key);
            }
        }
    }

    /// Asks once if it may now; tells whether it did.
    fn step(&mut self) -> bool {
        self.api.now = self.wall();
        match self.poller.next(self.now) {
            Next::Ask(request) => {
                let reply = self.api.answer(&request);
                let told = self.poller.hear(Ok(reply), self.moment());
                self.commit(told);
                true
            }
            Next::At(_) | Next::Asleep => false,
        }
    }

    /// Asks until there is nothing to ask now.
    fn settle(&mut self) {
        while self.step() {}
    }

    /// Lets time pass, and does whatever comes due in it.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.settle();
            match self.poller.next(self.now) {
                Next::At(due) if due <= end => self.now = due,
                _ => break,
            }
        }
        self.now = end;
        self.settle();
    }

    /// The process dies, and another one begins where the log says.
    fn restart(&mut self) {
        self.poller = poller(&self.repositories, self.position.as_deref(), self.now);
        self.poller.demand(&self.demand, self.now);
    }

    /// What was told since the last time, without the jobs.
    fn runs(&mut self) -> Vec<String> {
        let told = std::mem::take(&mut self.told);
        told.into_iter().filter(|key| key.starts_with("workflow_run") || key.starts_with("runs_missed")).collect()
    }
}

fn poller(repositories: &[(String, String)], position: Option<&str>, now: Instant) -> Poller {
    let mut quota = Quota::new(100, now);
    quota.set_anonymous(false);
    Poller::new(Base::parse(Base::PUBLIC).unwrap(), INTERVAL, repositories, position, quota, now)
}

#[test]
fn without_anybody_who_waits_there_is_one_look_and_then_neither_a_request_nor_a_deadline() {
    let mut world = World::new(&["octo/hello", "octo/other"]);
    world.api.run("octo/hello", 1, "completed", Some("success"));
    world.pass(Duration::from_hours(10));
    assert_eq!(world.api.asked.len(), 2, "{:?}", world.api.asked);
    assert_eq!(world.poller.next(world.now), Next::Asleep);
    world.api.run("octo/hello", 2, "in_progress", None);
    world.want(&["octo/other"]);
    world.pass(Duration::from_secs(5));
    assert_eq!(world.api.asked_of("octo/hello").len(), 1, "nobody waits for this one");
    world.want(&[]);
    world.api.asked.clear();
    world.pass(Duration::from_hours(10));
    assert!(world.api.asked.is_empty());
    assert_eq!(world.poller.next(world.now), Next::Asleep);
}

/// Its first poll announced twenty old runs as new.
#[test]
fn what_had_happened_before_the_first_look_says_so_and_what_happens_then_is_news() {
    let mut world = World::new(&["octo/hello"]);
    world.api.now -= 3_600;
    world.api.run("octo/hello", 1, "completed", Some("failure"));
    world.api.now += 3_600;
    world.want(&["*"]);
    world.settle();
    assert_eq!(world.runs(), ["workflow_run octo/hello 1.1 completed failure"], "--sha finds it");
    let old = world.log.values().next().unwrap();
    assert_eq!(old.fields[HAPPENED_AT], (EPOCH - 3_600) * 1_000_000_000, "and nobody is woken for it");
    world.pass(INTERVAL);
    world.api.run("octo/hello", 2, "queued", None);
    world.pass(INTERVAL);
    world.api.run("octo/hello", 2, "completed", Some("success"));
    world.pass(INTERVAL);
    let news = ["workflow_run octo/hello 2.1 requested", "workflow_run octo/hello 2.1 completed success"];
    assert_eq!(world.runs(), news);
    assert!(news.iter().all(|key| !world.log[*key].fields.contains_key(HAPPENED_AT)));
    assert_eq!(world.doubles, 0);
}

/// A poller's key left out the run attempt, so a re-run with the same outcome was never announced.
#[test]
fn a_rerun_with_the_same_outcome_is_told() {
    let mut world = World::new(&["octo/hello"]);
    world.want(&["octo/hello"]);
    world.api.run("octo/hello", 1, "completed", Some("failure"));
    world.settle();
    world.runs();
    world.api.rerun("octo/hello", 1, 2, "completed", Some("failure"));
    world.pass(INTERVAL);
    assert_eq!(world.runs(), ["workflow_run octo/hello 1.2 completed failure"]);
}

#[test]
fn a_look_at_what_has_not_changed_costs_nothing_of_the_quota() {
    let mut world = World::new(&["octo/hello"]);
    world.api.run("octo/hello", 1, "completed", Some("success"));
    world.want(&["octo/hello"]);
    world.pass(Duration::from_hours(1));
    let costly = world.api.asked.iter().filter(|asked| asked.status != 304).count();
    assert!(
        world.api.asked.len() > 60 && costly == 3,
        "the runs, and what is said of their commit: {costly} of {}",
        world.api.asked.len()
    );
    // Also not after a restart: the words are in the position.
    world.restart();
    world.api.asked.clear();
    world.settle();
    assert_eq!(world.api.asked[0].status, 304, "{:?}", world.api.asked);
}

#[test]
fn it_is_asked_steadily_while_something_goes_on_and_ever_more_rarely_while_nothing_does() {
    let mut world = World::new(&["octo/hello"]);
    world.api.run("octo/hello", 1, "completed", Some("success"));
    world.want(&["octo/hello"]);
    let looks = |world: &mut World, time| {
        world.api.asked.clear();
        world.pass(time);
        world.api.asked.iter().filter(|asked| asked.path.contains("per_page=30")).count()
    };
    let first = looks(&mut world, Duration::from_mins(1));
    assert!((6..=7).contains(&first), "{first}");
    looks(&mut world, Duration::from_hours(1));
    let quiet = looks(&mut world, Duration::from_mins(10));
    assert!((9..=11).contains(&quiet), "every {GITHUB_INTERVAL_IDLE:?}: {quiet}");
    world.api.run("octo/hello", 2, "in_progress", None);
    looks(&mut world, Duration::from_mins(2));
    let busy = looks(&mut world, Duration::from_mins(10));
    assert!((59..=61).contains(&busy), "{busy}");
    // Somebody who comes is answered at once, however long it has been quiet.
    world.want(&[]);
    world.pass(Duration::from_hours(1));
    world.want(&["octo/*"]);
    world.api.asked.clear();
    world.settle();
    assert!(!world.api.asked.is_empty());
}

#[test]
fn after_an_outage_everything_is_told_once_however_many_pages_it_takes() {
    let mut world = World::new(&["octo/hello"]);
    world.want(&["octo/hello"]);
    for id in 1..=5 {
        world.api.run("octo/hello", id, "completed", Some("success"));
    }
    world.api.run("octo/hello", 6, "in_progress", None);
    world.settle();
    assert_eq!(world.runs().len(), 6);
    // Whoever waits goes on waiting while the machine is away; the run that went on has long left the first page.
    world.now += Duration::from_hours(1);
    world.api.now = world.wall();
    world.api.run("octo/hello", 6, "completed", Some("failure"));
    for id in 7..=150 {
        world.api.run("octo/hello", id, "completed", Some("success"));
    }
    world.restart();
    world.settle();
    let told = world.runs();
    assert_eq!(told.len(), 145, "{told:?}");
    assert!(told.contains(&"workflow_run octo/hello 6.1 completed failure".to_owned()));
    assert_eq!(world.doubles, 0);
    world.restart();
    world.pass(INTERVAL);
    assert_eq!((world.runs(), world.doubles), (vec![], 0));
}

#[test]
fn a_gap_that_is_too_large_is_said() {
    let mut world = World::new(&["octo/hello"]);
    world.want(&["octo/hello"]);
    world.api.run("octo/hello", 1, "completed", Some("success"));
    world.settle();
    world.runs();
    let pages = i64::try_from(GITHUB_RUN_PAGES * GITHUB_RUNS_PER_PAGE).unwrap();
    for id in 2..=pages + 7 {
        world.api.run("octo/hello", id, "completed", Some("success"));
    }
    world.pass(INTERVAL);
    let told = world.runs();
    assert_eq!(told[0], "runs_missed octo/hello 1 8");
    assert_eq!(told.len(), usize::try_from(pages).unwrap() + 1);
    assert!(world.log[&told[0]].summary.contains("those between 1 and 8 are not told"));
    assert_eq!(world.log[&told[0]].check(), Ok(()));
}

#[test]
fn a_run_that_leaves_the_first_page_while_it_goes_on_is_followed_to_its_end() {
    let mut world = World::new(&["octo/hello"]);
    world.want(&["octo/hello"]);
    world.api.run("octo/hello", 1, "in_progress", None);
    world.settle();
    for id in 2..=100 {
        world.api.run("octo/hello", id, "completed", Some("success"));
        if id % 20 == 0 {
            world.pass(INTERVAL);
        }
    }
    world.runs();
    world.api.run("octo/hello", 1, "completed", Some("success"));
    world.pass(INTERVAL);
    assert_eq!(world.runs(), ["workflow_run octo/hello 1.1 completed success"]);
    // One that is deleted is forgotten, and not asked for for ever.
    world.api.run("octo/hello", 101, "in_progress", None);
    world.pass(INTERVAL);
    world.api.delete("octo/hello", 101);
    world.pass(INTERVAL);
    world.api.asked.clear();
    world.pass(INTERVAL * 3);
    assert!(world.api.asked.iter().all(|asked| !asked.path.ends_with("/101")), "{:?}", world.api.asked);
}

#[test]
fn the_jobs_of_a_run_are_told_as_they_end_and_all_of_them_when_it_has() {
    let mut world = World::new(&["octo/hello"]);
    world.want(&["octo/hello"]);
    world.api.run("octo/hello", 1, "in_progress", None);
    world.api.job("octo/hello", 1, 11, "in_progress", None);
    world.settle();
    world.api.job("octo/hello", 1, 11, "completed", Some("success"));
    for job in 12..=150 {
        world.api.job("octo/hello", 1, job, "queued", None);
    }
    world.pass(INTERVAL);
    assert!(world.log.contains_key("workflow_job octo/hello 11.1 completed success"), "before the run has ended");
    assert!(world.log.contains_key("workflow_job octo/hello 150.1 queued"), "also from the second page");
    for job in 12..=150 {
        world.api.job("octo/hello", 1, job, "completed", Some("failure"));
    }
    world.api.run("octo/hello", 1, "completed", Some("failure"));
    // The process dies after the run has been told, and before its jobs are.
    world.now += INTERVAL;
    while !world.log.contains_key("workflow_run octo/hello 1.1 completed failure") {
        assert!(world.step());
    }
    world.restart();
    world.pass(INTERVAL);
    let failed =
        (12..=150).filter(|job| world.log.contains_key(&format!("workflow_job octo/hello {job}.1 completed failure")));
    assert_eq!(failed.count(), 139);
    world.api.asked.clear();
    world.pass(INTERVAL);
    assert!(world.api.asked.iter().all(|asked| !asked.path.contains("jobs")), "nothing is owed any more");
}

/// `wait --sha` would have said success after the first run, whatever other services were still to say.
#[test]
fn what_others_say_of_a_commit_is_told_while_somebody_waits() {
    let mut world = World::new(&["octo/hello"]);
    for id in 1..=5 {
        world.api.run("octo/hello", id, "completed", Some("success"));
    }
    world.api.status(5, 50, "pending");
    world.settle();
    assert!(world.api.asked.iter().all(|asked| !asked.path.contains("commits")), "nobody waits");
    world.want(&["octo/hello"]);
    world.settle();
    let keys = |world: &World| -> Vec<String> {
        let others = world.log.keys().filter(|key| key.starts_with("check_run") || key.starts_with("status"));
        others.cloned().collect()
    };
    assert_eq!(keys(&world), ["status octo/hello 50"], "of what was over before anybody waited, too");
    let commits = world.api.asked.iter().filter(|asked| asked.path.contains("commits")).count();
    assert_eq!(commits, 6, "the checks and statuses of three commits");
    // It goes on, so it is followed to its end; the others are left alone after a while.
    world.pass(GITHUB_AFTERMATH * 2);
    world.api.asked.clear();
    world.api.status(5, 51, "failure");
    world.pass(INTERVAL);
    let commits: Vec<_> = world.api.asked.iter().filter(|asked| asked.path.contains("commits")).collect();
    assert_eq!((commits.len(), keys(&world).len()), (2, 2), "{commits:?}");
    assert!(commits.iter().all(|asked| asked.path.contains(&format!("{:040x}", 5))));
    world.pass(GITHUB_AFTERMATH * 2);
    world.api.asked.clear();
    world.pass(GITHUB_AFTERMATH);
    assert!(world.api.asked.iter().all(|asked| !asked.path.contains("commits")), "it has ended");
    // A new run, and a check of another app that outlives it.
    world.api.run("octo/hello", 6, "in_progress", None);
    world.api.check(6, 60, "queued", None);
    world.pass(INTERVAL * 3);
    world.api.run("octo/hello", 6, "completed", Some("success"));
    world.pass(INTERVAL * 3);
    world.api.check(6, 60, "completed", Some("failure"));
    world.pass(INTERVAL * 2);
    let told = keys(&world);
    assert!(
        told[0].starts_with("check_run octo/hello 60 completed failure 2027-01-15T08:")
            && told[1] == "check_run octo/hello 60 created",
        "{told:?}"
    );
    let check = &world.log[&told[0]];
    assert_eq!((&check.fields["head_branch"], &check.fields["app"]), (&"main".into(), &"scanner".into()));
    assert_eq!(world.doubles, 0);
}

#[test]
fn a_token_that_may_not_read_checks_still_tells_of_runs() {
    let mut world = World::new(&["octo/hello"]);
    world.api.without_checks = true;
    world.api.run("octo/hello", 1, "completed", Some("success"));
    world.want(&["octo/hello"]);
    world.pass(INTERVAL);
    world.api.run("octo/hello", 2, "completed", Some("success"));
    world.pass(INTERVAL * 3);
    assert_eq!(world.runs().len(), 2);
    let said = world.poller.said();
    assert!(said.len() == 1 && said[0].contains("judged by their workflow runs alone"), "{said:?}");
    assert_eq!(world.poller.trouble(), None);
    let refused = world.api.asked.iter().filter(|asked| asked.status == 403).count();
    assert_eq!(refused, 1, "it is not asked again");
}

#[test]
fn a_repository_that_is_not_there_is_said_once_and_stops_no_other() {
    let mut world = World::new(&["octo/gone", "octo/hello"]);
    world.api.absent.insert("octo/gone".to_owned());
    world.settle();
    let said = world.poller.said();
    assert!(said.len() == 1 && said[0].contains("octo/gone") && said[0].contains("github-token"), "{said:?}");
    assert_eq!(world.poller.trouble(), None, "nobody waits");
    world.want(&["*"]);
    world.api.run("octo/hello", 1, "completed", Some("success"));
    world.pass(Duration::from_mins(10));
    assert_eq!(world.runs(), ["workflow_run octo/hello 1.1 completed success"]);
    assert!(world.poller.trouble().unwrap().contains("octo/gone"));
    assert_eq!(world.api.asked_of("octo/gone").len(), 2, "once, and once when somebody came");
    world.want(&["octo/hello"]);
    assert_eq!(world.poller.trouble(), None, "it is nobody's trouble");
    world.api.absent.clear();
    world.want(&["*"]);
    world.settle();
    assert_eq!(world.poller.trouble(), None);
}

#[test]
fn a_repository_that_was_renamed_is_followed_and_said_once_and_no_redirect_leads_elsewhere() {
    let mut world = World::new(&["octo/old"]);
    world.api.renamed.insert("octo/old".to_owned(), "octo/new".to_owned());
    world.api.run("octo/new", 1, "completed", Some("success"));
    world.want(&["octo/old"]);
    world.pass(INTERVAL * 3);
    assert_eq!(world.runs(), ["workflow_run octo/new 1.1 completed success"]);
    let said = world.poller.said();
    assert!(said.len() == 1 && said[0].contains("octo/old has moved"), "{said:?}");
    assert_eq!(world.api.asked_of("octo/old").len(), 1, "then it is asked by its number");

    for elsewhere in [
        "https://evil.example.com/repositories/1/actions/runs",
        "https://api.github.com.evil.org/x",
        "http://api.github.com/x",
    ] {
        let mut world = World::new(&["octo/old"]);
        world.api.redirect = Some(elsewhere.to_owned());
        world.want(&["octo/old"]);
        world.settle();
        assert_eq!(world.api.asked.len(), 1, "{elsewhere}");
        assert!(world.poller.trouble().unwrap().contains("not followed"));
    }
    let mut world = World::new(&["octo/old"]);
    world.api.redirect = Some("https://api.github.com/repos/octo/old/actions/runs".to_owned());
    world.want(&["octo/old"]);
    world.settle();
    assert_eq!(world.api.asked.len(), 4, "no circle");
}

#[test]
fn whatever_fails_on_the_way_nothing_is_lost_and_nothing_told_twice() {
    let mut world = World::new(&["octo/hello"]);
    world.want(&["octo/hello"]);
    world.api.run("octo/hello", 1, "completed", Some("success"));
    world.settle();
    let failures: [Failure; 5] = [
        |reply| *reply = Reply { status: 502, ..Reply::default() },
        |reply| reply.body.truncate(reply.body.len() / 2),
        |reply| reply.body = b"<html>a proxy</html>".to_vec(),
        |reply| *reply = Reply { status: 429, retry_after: Some(3), ..Reply::default() },
        |reply| *reply = Reply { status: 403, remaining: Some(0), ..reply.clone() },
    ];
    let mut next = 2;
    for failure in failures {
        for at in 0..4 {
            for id in next..next + 70 {
                world.api.run("octo/hello", id, "completed", Some("failure"));
                world.api.job("octo/hello", id, 1_000 + id, "completed", Some("failure"));
            }
            next += 70;
            world.pass(INTERVAL / 2);
            world.api.failing = Some((world.api.asked.len() + at, failure));
            world.pass(Duration::from_hours(2));
            assert_eq!(world.poller.trouble(), None);
        }
    }
    let expected = usize::try_from(next).unwrap() - 1;
    assert_eq!(world.runs().len(), expected);
    assert_eq!(world.doubles, 0);
}

#[test]
fn an_outage_of_the_network_is_a_pause_and_a_sentence() {
    let mut world = World::new(&["octo/hello"]);
    world.want(&["octo/hello"]);
    world.settle();
    world.now += INTERVAL;
    let Next::Ask(_) = world.poller.next(world.now) else { panic!("it is due") };
    let told = world.poller.hear(Err(Unreachable("no route to host".into())), world.moment());
    assert!(told.drafts.is_empty() && !told.moved);
    assert!(world.poller.trouble().unwrap().contains("no route to host"));
    assert!(matches!(world.poller.next(world.now), Next::At(_)));
    world.pass(INTERVAL);
    assert_eq!(world.poller.trouble(), None);
}

#[test]
fn runs_that_are_followed_are_bounded() {
    let mut world = World::new(&["octo/hello"]);
    world.want(&["octo/hello"]);
    for id in 1..=200 {
        world.api.run("octo/hello", id, "in_progress", None);
        if id % 25 == 0 {
            world.pass(INTERVAL);
        }
    }
    world.pass(INTERVAL * 2);
    let place: serde_json::Value = serde_json::from_str(world.position.as_ref().unwrap()).unwrap();
    let kept = place["repositories"]["octo/hello"]["runs"].as_object().unwrap().len();
    assert!(kept <= GITHUB_RUNS_PER_PAGE + GITHUB_FOLLOWED_RUNS, "{kept}");
}

#[test]
fn what_makes_no_sense_in_the_section_is_named_with_its_line() {
    let setup = |text: &str| Setup::of(&sections(&format!("[source.github]\n{text}"))["github"]);
    let good = "repositories = ['octo/hello']\nbudget = 100\ninterval = '1s'\napi = 'https://ghe.example.com/api/v3'";
    let good = setup(good).unwrap();
    assert_eq!((good.budget, good.interval, good.base.forge()), (100, Duration::from_secs(1), "ghe.example.com"));
    for (bad, words) in [
        ("repositories = ['octo']", ["line 2", "OWNER/REPO"]),
        ("repositories = ['octo/hel lo']", ["line 2", "OWNER/REPO"]),
        ("repository = 'octo/hello'", ["line 2", "did you mean \"repositories\"?"]),
        ("budget = 0", ["line 2", "percentage"]),
        ("budget = 101", ["line 2", "percentage"]),
        ("interval = '100ms'", ["line 2", "at least 1 s"]),
        ("api = 'http://api.github.com'", ["line 2", "https"]),
        ("checkouts = ['src']", ["line 2", "absolute"]),
    ] {
        let error = setup(bad).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{bad}: {error}");
    }
}
