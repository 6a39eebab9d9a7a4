//! The poller of GitHub as a process, against a server that behaves like the documented API.

mod faults;
mod server;
mod token;

use std::fs;

use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;
use serde_json::Value;

use self::server::Server;
use crate::harness::{Bus, Process, deliver};

/// A bus with an API.
struct World {
    bus: Bus,
    server: Server,
}

impl World {
    /// An API that knows `octo/hello`.
    fn new() -> World {
        let world = World { bus: Bus::new(), server: Server::start() };
        world.server.run_at(1, 1, "completed", Some("success"), Timestamp::now() - SignedDuration::from_hours(24));
        world.configure("repositories = ['octo/hello']");
        world
    }

    fn configure(&self, lines: &str) {
        let directory = self.bus.root().join("config");
        fs::create_dir_all(&directory).unwrap();
        let section =
            format!("[source.github]\napi = '{}'\ninterval = '1s'\nbudget = 100\n{lines}\n", self.server.url());
        fs::write(directory.join("waitbus.toml"), section).unwrap();
    }

    /// The poller, ready.
    fn poll(&self) -> Process {
        let mut poller = Process::start(self.bus.command(&["source", "github"]));
        poller.ready();
        poller
    }

    /// The poller, once it has looked for the first time and sleeps.
    fn poll_and_sleep(&self) -> Process {
        let mut poller = self.poll();
        self.server.asked_more_than(0);
        poller.said("Asleep: nobody waits; ");
        poller
    }

    fn stored(&self) -> Vec<Value> {
        let events = self.bus.ok(&["replay", "--source", "github", "--json"]);
        events.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Those of a run, as `attempt conclusion`.
    fn of_run(&self, id: i64) -> Vec<String> {
        let stored = self.stored();
        let of_it =
            stored.iter().filter(|event| event["event_type"] == "workflow_run" && event["fields"]["run_id"] == id);
        of_it.map(|event| format!("{} {}", event["fields"]["run_attempt"], event["fields"]["conclusion"])).collect()
    }
}

const FINDS: [&str; 4] = ["--source", "github", "--match", "conclusion=success"];

/// Its first poll announced twenty old runs as new.
#[test]
fn a_wait_ends_with_what_happens_and_not_with_yesterdays_success() {
    let world = World::new();
    let _hub = world.bus.hub();
    let mut wait = world.bus.wait(&FINDS);
    let _poller = world.poll();
    world.server.asked_more_than(1);
    world.server.run(2, 1, "in_progress", None);
    world.server.job(2, 21, "in_progress", None);
    let mut job = world.bus.wait(&[
        "--source",
        "github",
        "--type",
        "workflow_job",
        "--match",
        "job_name=job 21",
        "--match",
        "status=completed",
    ]);
    world.server.job(2, 21, "completed", Some("success"));
    assert!(job.line().contains("job job 21: success"), "{}", job.errors());
    world.server.run(2, 1, "completed", Some("success"));
    // A job that has succeeded is one, too; the run's own end is what is asked for here.
    let _ = wait.line();
    assert_eq!(wait.code(), 0);
    let mut wait =
        world.bus.wait(&["--source", "github", "--type", "workflow_run", "--match", "run_id=3", "--verdict"]);
    world.server.run(3, 1, "completed", Some("failure"));
    assert_eq!(wait.line(), "octo/hello: ci failed on main (run 3) 0000000");
    assert_eq!(wait.code(), 1);
    assert_eq!(world.of_run(1), ["1 \"success\""], "it is in the log, and told nobody");
}

#[test]
fn the_verdict_on_a_commit_is_found_although_it_was_over_before_anybody_waited() {
    let world = World::new();
    let _hub = world.bus.hub();
    let _poller = world.poll();
    let sha = format!("{:040x}", 1);
    let mut wait = Process::start(world.bus.command(&["wait", "--sha", &sha, "--settle", "0s", "--timeout", "1m"]));
    assert_eq!(wait.line(), "octo/hello 0000000: success: ci (run 1)");
    assert_eq!(wait.code(), 0);
}

/// The log had the answer, so the wait ended before it had subscribed, the poller slept because nobody waited, and a run
/// that had been started again stayed failed for ever.
#[test]
fn a_verdict_of_the_log_is_believed_only_once_github_has_been_asked() {
    let world = World::new();
    let _hub = world.bus.hub();
    let _poller = world.poll();
    let sha = format!("{:040x}", 1);
    let verdict = || Process::start(world.bus.command(&["wait", "--sha", &sha, "--settle", "5s", "--timeout", "1m"]));
    assert_eq!(verdict().code(), 0);
    world.server.run(1, 2, "in_progress", None);
    let mut wait = verdict();
    let _rerun = world.bus.wait(&["--source", "github", "--since", "1h", "--match", "run_attempt=2"]).line();
    world.server.run(1, 2, "completed", Some("failure"));
    assert_eq!(wait.code(), 1, "{}", wait.errors());
    world.server.run(1, 3, "completed", Some("success"));
    assert_eq!(verdict().code(), 0);
}

#[test]
fn what_happened_after_a_mark_is_told_to_who_waits_after_it_although_nobody_looked_then() {
    let world = World::new();
    let _hub = world.bus.hub();
    let _poller = world.poll_and_sleep();
    let mark = world.bus.emit("deploy", 1);
    // Half a minute later, by GitHub's word, the run has ended; nobody has asked meanwhile.
    world.server.run_at(2, 1, "completed", Some("success"), Timestamp::now() + SignedDuration::from_secs(1));
    let mut wait = Process::start(world.bus.command(&[&["wait", "--after", &mark][..], &FINDS].concat()));
    assert_eq!(wait.line(), "octo/hello: ci succeeded on main (run 2) 0000000");
    assert_eq!(wait.code(), 0);
}

#[test]
fn a_transition_that_a_delivery_and_a_poll_tell_is_one_event() {
    // Webhook and poll both on announced everything twice.
    let world = World::new();
    let (_serve, address) = world.bus.serve();
    let mut tail =
        Process::start(world.bus.command(&["tail", "-v", "--source", "github", "--type", "workflow_run", "--json"]));
    tail.attached();
    let _poller = world.poll();
    world.server.asked_more_than(1);
    let next = |tail: &mut Process| {
        let event: Value = serde_json::from_str(&tail.line()).unwrap();
        (
            event["fields"]["run_id"].as_i64().unwrap(),
            event["fields"]["ingest_method"].as_str().unwrap().to_owned(),
            event,
        )
    };
    // Told by the delivery first, and then by the poll with what comes after it.
    let run = world.server.run(2, 1, "completed", Some("success"));
    let delivered = deliver(address, "workflow_run", "uuid-2", &Server::delivery(&run));
    let (id, _, first) = next(&mut tail);
    assert_eq!((delivered.status, id), (200, 2));
    world.server.run(3, 1, "completed", Some("success"));
    let (id, method, second) = next(&mut tail);
    assert_eq!((id, &*method), (3, "source"), "and nothing of 2 in between");
    // Told by the poll first; GitHub may send it as often as it likes.
    let run = world.server.run(3, 1, "completed", Some("success"));
    for uuid in ["uuid-3", "uuid-3", "uuid-4"] {
        let answer = deliver(address, "workflow_run", uuid, &Server::delivery(&run));
        assert_eq!((answer.status, &answer.json()["status"]), (200, &"duplicate".into()), "{answer:?}");
        assert_eq!(answer.json()["event_id"], second["event_id"]);
    }
    // A re-run with the same outcome is another event, whoever tells it.
    world.server.run(2, 2, "completed", Some("success"));
    let (id, _, rerun) = next(&mut tail);
    assert_eq!((id, rerun["fields"]["run_attempt"].as_i64()), (2, Some(2)));
    assert_eq!((world.of_run(2).len(), world.of_run(3).len()), (2, 1));
    // Whoever told it, it is the same event.
    let same = |event: &Value| {
        let mut event = event.clone();
        for own in ["event_id", "cursor", "received_at", "delivery_id", "summary"] {
            event.as_object_mut().unwrap().remove(own);
        }
        for own in ["ingest_method", "run_id", "run_number", "head_sha", "url", "check_suite_id", "run_attempt"] {
            event["fields"].as_object_mut().unwrap().remove(own);
        }
        event
    };
    assert_eq!(same(&first), same(&second));
}

#[test]
fn nothing_is_asked_while_nobody_waits_and_who_comes_is_answered_at_once() {
    let world = World::new();
    let _hub = world.bus.hub();
    let mut poller = world.poll_and_sleep();
    let asked = world.server.asked().len();
    assert_eq!(asked, 1, "the first look");
    // Several intervals, and somebody who waits for something else.
    let output = world.bus.run(&["wait", "--source", "deploy", "--timeout", "3s"]);
    assert_eq!(output.status.code(), Some(124));
    let output = world.bus.run(&["wait", "--source", "github", "--repo", "octo/other", "--timeout", "100ms"]);
    assert_eq!(output.status.code(), Some(124));
    assert_eq!(world.server.asked().len(), asked);
    let mut wait = world.bus.wait(&FINDS);
    world.server.run(2, 1, "completed", Some("success"));
    assert!(wait.line().contains("run 2"));
    assert_eq!(wait.code(), 0);
    poller.said("Asleep: nobody waits");
    let asked = world.server.asked().len();
    let _ = world.bus.run(&["wait", "--source", "deploy", "--timeout", "2s"]);
    assert_eq!(world.server.asked().len(), asked);
}

#[test]
fn requests_are_conditional_also_after_a_restart() {
    for only_modified in [false, true] {
        let world = World::new();
        if only_modified {
            world.server.only_modified();
        }
        let _hub = world.bus.hub();
        let mut poller = world.poll_and_sleep();
        poller.kill();
        let _poller = world.poll();
        let _wait = world.bus.wait(&FINDS);
        let asked = world.server.asked_more_than(2);
        assert_eq!(asked.iter().map(|asked| asked.status).collect::<Vec<_>>()[..3], [200, 304, 304]);
        for asked in &asked {
            assert_eq!(asked.headers["x-github-api-version"], "2022-11-28");
            assert!(asked.headers["user-agent"].starts_with("waitbus/"), "{asked:?}");
            assert_eq!(asked.headers["accept"], "application/vnd.github+json");
        }
    }
}

#[test]
fn a_poller_that_is_killed_between_an_answer_and_its_commit_tells_it_when_it_is_back() {
    let world = World::new();
    let _hub = world.bus.hub();
    let mut poller = world.poll_and_sleep();
    let mut wait = world.bus.wait(&[&FINDS[..], &["--allow-absent"]].concat());
    // Whoever has the log keeps the answer from being committed.
    let log = Connection::open(world.bus.database()).unwrap();
    log.execute_batch("BEGIN IMMEDIATE").unwrap();
    world.server.run(2, 1, "completed", Some("success"));
    let asked = world.server.asked();
    let answered = |from: usize| {
        let mut seen = from;
        while !world.server.asked_more_than(seen)[from..].iter().any(|asked| asked.status == 200) {
            seen = world.server.asked().len();
        }
    };
    answered(asked.len());
    poller.kill();
    log.execute_batch("ROLLBACK").unwrap();
    assert_eq!(world.of_run(2), Vec::<String>::new());
    let _poller = world.poll();
    assert!(wait.line().contains("run 2"));
    assert_eq!(world.of_run(2), ["1 \"success\""]);
}

#[test]
fn an_outage_of_the_poller_loses_nothing_and_doubles_nothing() {
    let world = World::new();
    let _hub = world.bus.hub();
    let mut poller = world.poll_and_sleep();
    poller.kill();
    let mut tail = Process::start(world.bus.command(&[
        "tail",
        "-v",
        "--source",
        "github",
        "--type",
        "workflow_run",
        "--count",
        "100",
    ]));
    tail.attached();
    for id in 2..=101 {
        world.server.run(id, 1, "completed", Some("success"));
    }
    let mut poller = world.poll();
    let told: Vec<_> = (2..=101).map(|_| tail.line()).collect();
    assert!(told[0].contains("(run 2)") && told[99].contains("(run 101)"), "in order: {told:?}");
    poller.kill();
    let _poller = world.poll();
    let mut wait = world.bus.wait(&FINDS);
    world.server.run(102, 1, "completed", Some("success"));
    assert!(wait.line().contains("run 102"));
    let runs = world.stored().iter().filter(|event| event["event_type"] == "workflow_run").count();
    assert_eq!(runs, 102);
}
