//! The verdict on a commit, from what GitHub sends to the exit code.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use serde_json::{Value, json};
use tokio::runtime::Builder;
use waitbus::client::commit::{Recalled, recall};
use waitbus::config::directories::Directories;
use waitbus::ingest::github::{Accepted, Delivery, accept};
use waitbus::model::filter::RepoFilter;
use waitbus::model::id::EventId;
use waitbus::store::{LogPaths, Writer};
use waitbus::waiting::commit::Asked;

use crate::harness::{self, Bus, lock_holder, payload};

/// GitHub's own example deliveries about commits, by event.
const DELIVERIES: [(&str, &str); 11] = [
    ("workflow_run", "workflow_run.completed"),
    // Told late.
    ("workflow_run", "workflow_run.requested"),
    ("workflow_job", "workflow_job.queued"),
    ("workflow_job", "workflow_job.in_progress"),
    ("workflow_job", "workflow_job.completed.failure.with-organization"),
    ("check_run", "check_run.completed"),
    ("check_suite", "check_suite.completed"),
    ("status", "status"),
    ("deployment_status", "deployment_status"),
    ("push", "push"),
    ("pull_request", "pull_request.closed"),
];

fn directories(bus: &Bus) -> Directories {
    Directories { runtime: bus.runtime(), state: bus.state(), config: bus.root().join("config") }
}

/// What the log says of a commit in these repositories.
fn asked(bus: &Bus, sha: &str, repos: &[&str]) -> Recalled {
    let repos = repos.iter().map(|name| RepoFilter::parse(name).unwrap()).collect();
    let asked = Asked { repos, settle: std::time::Duration::ZERO, ..Asked::of(sha.parse().unwrap()) };
    let runtime = Builder::new_current_thread().build().unwrap();
    runtime.block_on(recall(&directories(bus), asked, EventId::ZERO)).unwrap()
}

fn line(bus: &Bus, sha: &str, repos: &[&str]) -> String {
    asked(bus, sha, repos).ending.map_or("-".to_owned(), |mut ending| ending.shown.remove(0).line)
}

#[test]
fn what_github_sends_is_a_verdict() {
    let bus = Bus::new();
    assert_eq!(line(&bus, "3484a3f", &[]), "-", "without a log");
    let mut writer = Writer::open(&LogPaths::new(bus.state())).unwrap();
    for (number, (event, file)) in DELIVERIES.iter().enumerate() {
        let body = payload(&format!("{file}.payload.json"));
        let id = number.to_string();
        let accepted = accept(&Delivery { event, id: &id, content_type: None, body: &body }).unwrap();
        let Accepted::Event(draft) = accepted else { panic!("{event}") };
        writer.append(&draft, SystemTime::now()).unwrap();
    }
    assert_eq!(line(&bus, "3484a3f", &["octo-org/*"]), "octo-org/octo-repo 3484a3f: success: test (run 163)");
    // The examples of jobs are of one job at three times, under three names, and of one of them the end is told.
    let jobs = asked(&bus, "3484a3f", &["codertocat/hello-world", "octocoders/hello-world"]);
    let failed = jobs.ending.unwrap().shown.remove(0);
    assert_eq!(failed.line, "Octocoders/Hello-World 3484a3f: failure: CodeQL / linters");
    assert_eq!(failed.json["cursor"], jobs.since.to_string());
    assert_eq!(jobs.commit.elsewhere(), ["octo-org/octo-repo"]);
    assert_eq!(line(&bus, "ec26c3e57c", &[]), "Codertocat/Hello-World ec26c3e: success: Octocoders-linter");
    assert_eq!(
        line(&bus, "6113728f27ae82c7b1a177c8d03f9e96e0adf246", &[]),
        "Codertocat/Hello-World 6113728: success: default"
    );
    assert_eq!(line(&bus, "f95f852", &[]), "-", "a deployment is no check");
}

const SHA: &str = "3484a3fb816e0859fd6e1cea078d76385ff50625";
const NEWER: &str = "f95f852bd8fca8fcc58a9a2d6c842781e32a215e";

/// Emits what GitHub would say of a commit in `octo/hello`.
fn tell(bus: &Bus, kind: &str, mut fields: Value) {
    fields.as_object_mut().unwrap().entry("head_sha").or_insert(SHA.into());
    let event = json!({"source": "github", "type": kind, "owner": "octo", "repo": "hello", "fields": fields});
    let mut child = bus.command(&["emit", "--batch"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(event.to_string().as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

fn run(id: u64, attempt: u64, status: &str, conclusion: Option<&str>) -> Value {
    json!({"run_id": id, "run_attempt": attempt, "run_number": id * 10, "workflow_name": format!("w{id}"),
        "head_branch": "main", "trigger": "push", "status": status, "conclusion": conclusion})
}

fn job(run: u64, id: u64, conclusion: &str) -> Value {
    json!({"run_id": run, "run_attempt": 1, "job_id": id, "job_name": format!("j{id}"), "workflow_name": "w1",
        "status": "completed", "conclusion": conclusion})
}

/// A question about the commit that does not settle, and whose answer has come by then or never will.
fn sha<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["wait", "--sha", SHA, "--settle", "0s", "--timeout", "1m"], more].concat()
}

/// Exit code, standard output and standard error.
fn end(bus: &Bus, arguments: &[&str]) -> (i32, String, String) {
    let output = bus.run(arguments);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim_end().to_owned();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_run_that_fails_after_its_first_job_succeeded_is_a_failure() {
    // `wait --sha` returned success at the first successful job although another job of the commit failed later.
    let bus = Bus::new();
    let mut wait = bus.wait(&sha(&[])[1..]);
    tell(&bus, "workflow_run", run(1, 1, "in_progress", None));
    tell(&bus, "workflow_job", job(1, 1, "success"));
    tell(&bus, "workflow_job", job(1, 2, "failure"));
    tell(&bus, "workflow_run", run(1, 1, "completed", Some("failure")));
    assert_eq!(wait.line(), "octo/hello 3484a3f: failure: w1 / j2 (run 10)");
    assert_eq!(wait.code(), 1);
}

#[test]
fn a_wait_before_the_first_run_ends_when_the_last_one_has() {
    let bus = Bus::new();
    let mut wait = bus.wait(&sha(&["--json"])[1..]);
    tell(&bus, "workflow_run", run(1, 1, "queued", None));
    tell(&bus, "workflow_run", run(2, 1, "queued", None));
    tell(&bus, "workflow_run", run(1, 1, "completed", Some("success")));
    let mut other = run(9, 1, "completed", Some("failure"));
    other["head_sha"] = NEWER.into();
    tell(&bus, "workflow_run", other);
    tell(&bus, "workflow_run", run(2, 1, "completed", Some("skipped")));
    let report: Value = serde_json::from_str(&wait.line()).unwrap();
    assert_eq!(
        (&report["verdict"], &report["sha"], &report["repo"]),
        (&json!("success"), &json!(SHA), &json!("octo/hello"))
    );
    let runs: Vec<_> = report["runs"].as_array().unwrap().iter().map(|run| &run["conclusion"]).collect();
    assert_eq!(runs, ["success", "skipped"]);
    assert_eq!(wait.code(), 0);
}

#[test]
fn a_commit_that_ended_long_ago_is_answered_from_the_log_alone() {
    let bus = Bus::new();
    bus.ok(&["emit", "--source", "x", "--type", "y"]);
    let fields =
        json!({"head_sha": SHA, "run_id": 1, "workflow_name": "ci", "status": "completed", "conclusion": "success"});
    let log = rusqlite::Connection::open(bus.database()).unwrap();
    let sql = "INSERT INTO events (source, event_type, received_at, fields) VALUES ('github', 'workflow_run', 1, ?1)";
    log.execute(sql, [fields.to_string()]).unwrap();
    // The usual settle time is over since long.
    assert_eq!(end(&bus, &["wait", "--sha", "3484a3f"]).0, 0);
    assert_eq!(lock_holder(&bus.runtime().join("hub.lock")), None, "no hub was started for it");
}

/// What a replay brought was dated by when it was read, so after a place a commit that had ended long ago was never judged
/// by a wait that was shorter than the settle time.
#[test]
fn after_a_place_too_a_commit_that_ended_long_ago_is_answered_at_once() {
    let bus = Bus::new();
    let mark = bus.ok(&["emit", "--source", "x", "--type", "y"]);
    let fields = json!({"head_sha": SHA, "run_id": 1, "status": "completed", "conclusion": "success"}).to_string();
    let log = rusqlite::Connection::open(bus.database()).unwrap();
    let sql = "INSERT INTO events (source, event_type, received_at, fields) VALUES ('github', 'workflow_run', 1, ?1)";
    log.execute(sql, [fields]).unwrap();
    assert_eq!(end(&bus, &["wait", "--sha", SHA, "--after", &mark, "--timeout", "3s"]).0, 0);
    assert_eq!(end(&bus, &["wait", "--sha", SHA, "--after", &bus.ok(&["mark"]), "--timeout", "300ms"]).0, 124);
    bus.emit("x", 1);
    bus.ok(&["prune", "--keep-rows", "1"]);
    let (code, _, said) = end(&bus, &["wait", "--sha", SHA, "--after", &mark, "--timeout", "300ms"]);
    assert!(code == 3 && said.contains("pruned"), "{code} {said}");
}

#[test]
fn a_newer_push_ends_the_wait_as_neither_and_may_be_mapped() {
    let bus = Bus::new();
    tell(&bus, "workflow_run", run(1, 1, "queued", None));
    let mut waits = [bus.wait(&sha(&[])[1..]), bus.wait(&sha(&["--exit-on", "superseded=0"])[1..])];
    let mut patient = bus.wait(&sha(&["--no-fail-fast"])[1..]);
    let push = json!({"ref": "refs/heads/main", "head_branch": "main", "before": SHA, "head_sha": NEWER});
    tell(&bus, "push", push);
    for (wait, code) in waits.iter_mut().zip([4, 0]) {
        assert_eq!(wait.line(), "octo/hello 3484a3f: superseded: by f95f852");
        assert_eq!(wait.code(), code);
    }
    tell(&bus, "workflow_run", run(1, 1, "completed", Some("success")));
    assert_eq!(patient.line(), "octo/hello 3484a3f: success: w1 (run 10)");
    assert_eq!(patient.code(), 0);
}

#[test]
fn every_end_of_a_run_ends_the_wait_with_its_code() {
    // A commit whose run ended `skipped`, `neutral`, `startup_failure` or `action_required` never ended the wait.
    for (conclusion, code) in [
        ("success", 0),
        ("failure", 1),
        ("cancelled", 1),
        ("timed_out", 1),
        ("startup_failure", 1),
        ("skipped", 4),
        ("neutral", 4),
        ("action_required", 4),
        ("stale", 4),
        ("of a later time", 4),
    ] {
        let bus = Bus::new();
        tell(&bus, "workflow_run", run(1, 1, "completed", Some(conclusion)));
        let line = format!("octo/hello 3484a3f: {conclusion}: w1 (run 10)");
        assert_eq!(end(&bus, &sha(&[])), (code, line, String::new()));
    }
}

#[test]
fn a_rerun_takes_a_failure_back() {
    let bus = Bus::new();
    tell(&bus, "workflow_run", run(1, 1, "completed", Some("failure")));
    assert_eq!(end(&bus, &sha(&[])).0, 1);
    let mark = bus.ok(&["mark"]);
    let mut later = bus.wait(&sha(&["--after", &mark])[1..]);
    tell(&bus, "workflow_run", run(1, 2, "queued", None));
    let mut wait = bus.wait(&sha(&[])[1..]);
    // Of the first attempt, told late.
    tell(&bus, "workflow_run", run(1, 1, "in_progress", None));
    tell(&bus, "workflow_run", run(1, 2, "completed", Some("success")));
    for wait in [&mut wait, &mut later] {
        assert_eq!(wait.line(), "octo/hello 3484a3f: success: w1 (run 10, attempt 2)");
        assert_eq!(wait.code(), 0);
    }
}

#[test]
fn what_happens_while_the_hub_is_away_is_part_of_the_verdict() {
    let bus = Bus::new();
    let mut hub = bus.hub();
    let mut wait = bus.wait(&sha(&[])[1..]);
    tell(&bus, "workflow_run", run(1, 1, "queued", None));
    hub.kill();
    // The failure is taken back before anybody is told.
    let lines = [run(1, 1, "completed", Some("failure")), run(1, 2, "queued", None)];
    let log = rusqlite::Connection::open(bus.database()).unwrap();
    log.execute_batch("PRAGMA wal_autocheckpoint=0; BEGIN").unwrap();
    for mut fields in lines {
        fields["head_sha"] = SHA.into();
        let sql = "INSERT INTO events (source, event_type, owner, repo, fields) VALUES ('github', 'workflow_run', 'octo', 'hello', ?1)";
        log.execute(sql, [fields.to_string()]).unwrap();
    }
    log.execute_batch("COMMIT").unwrap();
    tell(&bus, "workflow_run", run(1, 2, "completed", Some("success")));
    assert_eq!(wait.line(), "octo/hello 3484a3f: success: w1 (run 10, attempt 2)");
    assert_eq!(wait.code(), 0);
}

#[test]
fn what_cannot_be_answered_says_what_is_missing() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let (code, out, said) = end(&bus, &["wait", "--sha", "3484a3f", "--repo", "octo/hello", "--timeout", "300ms"]);
    assert_eq!((code, &*out), (124, ""));
    assert!(said.contains("a first run of 3484a3f in octo/hello"), "{said}");
    tell(&bus, "workflow_run", run(1, 2, "in_progress", None));
    let (code, _, said) = end(&bus, &["wait", "--sha", "3484a3f", "--timeout", "300ms"]);
    assert!(code == 124 && said.contains("w1 (run 10, attempt 2): in_progress"), "{said}");
    let (code, _, said) = end(&bus, &["wait", "--sha", "3484a3f", "--repo", "me/hello", "--timeout", "300ms"]);
    assert!(code == 124 && said.contains("also seen in octo/hello"), "{said}");

    let alike = "3484a3fffffffffffffffffffffffffffffffff0";
    tell(&bus, "status", json!({"context": "x", "head_sha": alike, "status": "completed", "conclusion": "success"}));
    let (code, out, said) = end(&bus, &["wait", "--sha", "3484a3f"]);
    assert_eq!((code, &*out), (2, ""));
    assert!(said.contains(SHA) && said.contains(alike), "{said}");

    rusqlite::Connection::open(bus.database())
        .unwrap()
        .execute("UPDATE events SET received_at = 'x' WHERE event_type = 'workflow_run'", [])
        .unwrap();
    let (code, _, said) = end(&bus, &sha(&[]));
    assert!(code == 3 && said.contains("1 event(s)") && said.contains("cannot be read"), "{code} {said}");
}

#[test]
fn the_checkout_says_which_commit_and_where_it_is_looked_for() {
    let bus = Bus::new();
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=t", "-c", "user.email=t@example.com"]).args(arguments);
        command.current_dir(bus.root()).env("GIT_CONFIG_GLOBAL", "/dev/null").output()
    };
    if git(&["init", "-q"]).is_err() {
        return harness::skip("the_checkout_says_which_commit_and_where_it_is_looked_for", "git is not installed");
    }
    git(&["commit", "-q", "--allow-empty", "-m", "one"]).unwrap();
    git(&["remote", "add", "origin", "git@github.com:Octo/Hello.git"]).unwrap();
    let head = String::from_utf8(git(&["rev-parse", "HEAD"]).unwrap().stdout).unwrap().trim().to_owned();
    let status = |owner: &str, conclusion: &str| {
        let event = json!({"source": "github", "type": "status", "owner": owner, "repo": "hello", "fields":
            {"context": "x", "head_sha": head, "status": "completed", "conclusion": conclusion}});
        let mut child = bus.command(&["emit", "--batch"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(event.to_string().as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    };
    status("octo", "success");
    status("fork", "failure");
    for name in ["HEAD", &head[..7], &head] {
        assert_eq!(end(&bus, &["wait", "--sha", name, "--settle", "0s"]).0, 0, "{name}");
        assert_eq!(end(&bus, &["wait", "--sha", name, "--settle", "0s", "--repo", "*"]).0, 1, "{name}");
    }
}
