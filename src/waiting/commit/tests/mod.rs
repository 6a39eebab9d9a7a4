//! Commits as their histories tell of them.

mod histories;
mod random;
mod time;

use serde_json::{Value, json};

use super::*;
use crate::model::event::tests::record;

const SHA: &str = "3484a3fb816e0859fd6e1cea078d76385ff50625";
const NEWER: &str = "f95f852bd8fca8fcc58a9a2d6c842781e32a215e";
const OLDER: &str = "6113728f27ae82c7b1a177c8d03f9e96e0adf246";
const SECOND: i64 = 1_000_000_000;

/// An event of GitHub's in `octo/hello`, of [`SHA`] unless its fields say otherwise.
#[derive(Clone, Debug)]
struct Said {
    kind: &'static str,
    fields: Value,
    repo: &'static str,
    at: i64,
}

impl Said {
    fn new(kind: &'static str, fields: Value) -> Said {
        let mut said = Said { kind, fields, repo: "hello", at: 0 };
        said.fields.as_object_mut().unwrap().entry("head_sha").or_insert(SHA.into());
        said
    }

    fn with(mut self, name: &str, value: impl Into<Value>) -> Said {
        self.fields[name] = value.into();
        self
    }

    /// In another repository of the same owner.
    fn in_repo(self, repo: &'static str) -> Said {
        Said { repo, ..self }
    }

    /// So many seconds after the epoch.
    fn at(self, seconds: i64) -> Said {
        Said { at: seconds * SECOND, ..self }
    }

    fn record(&self, seq: usize) -> Record {
        let mut record = record(i64::try_from(seq).unwrap(), "github", &self.fields);
        record.event.event_type = self.kind.into();
        record.event.repo = self.repo.into();
        record.event.received_at = self.at;
        record
    }
}

/// `success` and the like are conclusions, and what they conclude is completed; anything else is a status.
fn state(fields: Value, word: &str) -> Value {
    const CONCLUSIONS: [&str; 10] = [
        "success",
        "failure",
        "cancelled",
        "timed_out",
        "startup_failure",
        "skipped",
        "neutral",
        "action_required",
        "stale",
        "excellent",
    ];
    let mut fields = fields;
    if CONCLUSIONS.contains(&word) {
        fields["conclusion"] = word.into();
        fields["status"] = "completed".into();
    } else {
        fields["status"] = word.into();
    }
    fields
}

fn run(id: i64, attempt: i64, word: &str) -> Said {
    let fields = json!({"run_id": id, "run_attempt": attempt, "run_number": id * 10, "workflow_name": format!("w{id}"),
        "check_suite_id": id * 100, "url": format!("https://example.com/{id}")});
    Said::new("workflow_run", state(fields, word))
}

fn job(run: i64, name: &str, attempt: i64, word: &str) -> Said {
    let id = run * 1000 + attempt * 100 + i64::from(name.as_bytes()[0]);
    let fields = json!({"run_id": run, "run_attempt": attempt, "job_id": id, "job_name": name,
        "workflow_name": format!("w{run}")});
    Said::new("workflow_job", state(fields, word))
}

fn check(app: &str, name: &str, id: i64, word: &str) -> Said {
    let suite = if app == "github-actions" { id / 1000 * 100 } else { i64::from(app.as_bytes()[0]) };
    let fields = json!({"app": app, "check_name": name, "check_run_id": id, "check_suite_id": suite});
    Said::new("check_run", state(fields, word))
}

fn suite(app: &str, id: i64, word: &str) -> Said {
    Said::new("check_suite", state(json!({"app": app, "check_suite_id": id}), word))
}

/// As ingest tells it: `error` is a failure, `pending` no end.
fn status(context: &str, id: i64, word: &str) -> Said {
    let told = if word == "error" { "failure" } else { word };
    Said::new("status", state(json!({"context": context, "status_id": id, "state": word}), told))
}

fn push(branch: &str, before: &str, after: &str) -> Said {
    Said::new(
        "push",
        json!({"ref": format!("refs/heads/{branch}"), "head_branch": branch, "before": before, "head_sha": after}),
    )
}

fn deleted(branch: &str, before: &str) -> Said {
    let mut said = push(branch, before, "");
    said.fields["deleted"] = true.into();
    said.fields.as_object_mut().unwrap().remove("head_sha");
    said
}

fn asked() -> Asked {
    Asked::of(SHA.parse().unwrap())
}

fn wall(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// The question after this history, at so many seconds since the epoch.
fn past(asked: Asked, history: &[Said], seconds: u64) -> (Commit, Option<Ending>) {
    let mut past = Past::new(asked);
    for (seq, said) in history.iter().enumerate() {
        past.recall(&said.record(seq + 1));
    }
    past.end(Instant::now(), wall(seconds)).unwrap()
}

/// The verdict on a history long after it.
fn verdict(asked: Asked, history: &[Said]) -> Option<Verdict> {
    past(asked, history, 1_000_000).1.map(|ending| ending.verdict)
}

/// Its word, or `-`.
fn word(asked: Asked, history: &[Said]) -> String {
    verdict(asked, history).map_or("-".to_owned(), |verdict| verdict.word().to_owned())
}
