//! The verdict on a commit, from what GitHub sends to the exit code.

use std::time::SystemTime;

use tokio::runtime::Builder;
use waitbus::client::commit::{Recalled, recall};
use waitbus::config::directories::Directories;
use waitbus::ingest::github::{Accepted, Delivery, accept};
use waitbus::model::filter::RepoFilter;
use waitbus::store::{LogPaths, Writer};
use waitbus::waiting::commit::Asked;

use crate::harness::{Bus, payload};

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
    runtime.block_on(recall(&directories(bus), asked)).unwrap()
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
