//! What GitHub's REST API says of workflow runs, their jobs, and the checks and statuses of their commits, as the events that a webhook would have brought.
//!
//! An item of a list is put into the envelope that a delivery has, and from there on the tables are the same. An item that
//! is odd is left out; a body that is no list is an error, because something else has answered than the API.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::told;
use crate::model::event::{Draft, ingest_method};

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It is there, and nothing of it runs: the `requested` of a delivery, whatever it waits for.
    Requested,
    /// It runs.
    InProgress,
    /// It has ended.
    Completed,
}

/// What a run has come to, of which each is told once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// Counted from 1.
    pub attempt: i64,
    /// How far.
    pub stage: Stage,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conclusion: Option<String>,
}

impl Reached {
    /// Whether it goes on.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.stage != Stage::Completed
    }

    /// Whether it ended well.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.conclusion.as_deref() == Some("success")
    }

    /// Whether this is news to who knows the other. A run that waits for a consent is listed as if it had not begun,
    /// which no delivery says; an answer of an older attempt is a late one.
    #[must_use]
    pub fn is_news_after(&self, known: &Reached) -> bool {
        let goes_back = self.stage == Stage::Requested && known.stage == Stage::InProgress;
        self.attempt > known.attempt || (self.attempt == known.attempt && self != known && !goes_back)
    }
}

/// A run, as it is listed.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Its number, which grows with the time at which it was made.
    pub id: i64,
    /// What it has come to.
    pub reached: Reached,
    /// It has ended and does not say how, as a run does for a moment: it is known, and not told before it does.
    pub is_unsaid: bool,
    /// When it last changed by GitHub's clock, in nanoseconds since the epoch: not before it came to that.
    pub changed: Option<i64>,
    /// The event that says so.
    pub draft: Draft,
}

/// Something that belongs to a run or a commit, as it is listed.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// When it came to where it is, by GitHub's clock, in nanoseconds since the epoch.
    pub changed: Option<i64>,
    /// Whether it goes on.
    pub is_open: bool,
    /// The event that says so.
    pub draft: Draft,
}

/// What has answered is not the API.
#[derive(Debug, thiserror::Error)]
pub enum BadAnswer {
    /// Half of it, or something else.
    #[error("it is not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    /// JSON of another shape.
    #[error("it has no {0}")]
    Without(&'static str),
}

/// A page of `GET /repos/{owner}/{repo}/actions/runs`.
pub fn runs(body: &[u8]) -> Result<Vec<Run>, BadAnswer> {
    let items = list(body, "workflow_runs")?;
    Ok(items.into_iter().filter_map(run).collect())
}

/// `GET /repos/{owner}/{repo}/actions/runs/{run_id}`.
pub fn single_run(body: &[u8]) -> Result<Run, BadAnswer> {
    run(serde_json::from_slice(body)?).ok_or(BadAnswer::Without("run with an id, an attempt and a status"))
}

/// A page of `GET /repos/{owner}/{repo}/actions/runs/{run_id}/attempts/{attempt}/jobs`, of the run of which this is the
/// event.
pub fn jobs(body: &[u8], of: &Draft) -> Result<Vec<Item>, BadAnswer> {
    let items = list(body, "jobs")?;
    Ok(items.into_iter().filter_map(|item| job(&item, of)).collect())
}

/// A page of `GET /repos/{owner}/{repo}/commits/{sha}/check-runs`, of a commit that this event of a run is about. The
/// checks that GitHub makes of the jobs of runs are left out.
pub fn checks(body: &[u8], of: &Draft) -> Result<Vec<Item>, BadAnswer> {
    let items = list(body, "check_runs")?;
    let is_job = |item: &Value| item.pointer("/app/slug").and_then(Value::as_str) == Some("github-actions");
    Ok(items.into_iter().filter(|item| !is_job(item)).filter_map(|item| check(item, of)).collect())
}

/// `GET /repos/{owner}/{repo}/commits/{sha}/statuses`, likewise: the newest of each context.
pub fn statuses(body: &[u8], of: &Draft) -> Result<Vec<Item>, BadAnswer> {
    let items: Vec<Value> = serde_json::from_slice(body)?;
    let mut contexts = BTreeSet::new();
    // The newest come first.
    let newest = items.into_iter().filter(|item| {
        let context = item.get("context").and_then(Value::as_str).unwrap_or_default();
        contexts.insert(context.to_owned())
    });
    Ok(newest.filter_map(|item| status(item, of)).collect())
}

fn list(body: &[u8], name: &'static str) -> Result<Vec<Value>, BadAnswer> {
    match serde_json::from_slice::<Map<String, Value>>(body)?.remove(name) {
        Some(Value::Array(items)) => Ok(items),
        _ => Err(BadAnswer::Without(name)),
    }
}

fn run(mut item: Value) -> Option<Run> {
    let conclusion = item.get("conclusion").and_then(Value::as_str).map(str::to_owned);
    let status = item.get("status")?.as_str()?;
    let is_unsaid = (status == "completed") != conclusion.is_some();
    let (stage, action) = match status {
        // It goes on, as far as anybody can be told.
        _ if is_unsaid => (Stage::InProgress, "in_progress"),
        "completed" => (Stage::Completed, "completed"),
        "in_progress" => (Stage::InProgress, "in_progress"),
        _ => (Stage::Requested, "requested"),
    };
    let (id, attempt) = (item.get("id")?.as_i64()?, item.get("run_attempt").map_or(Some(1), Value::as_i64)?);
    let conclusion = conclusion.filter(|_| !is_unsaid);
    let changed = time(&item, "updated_at");
    let sender = ["triggering_actor", "actor"].into_iter().find_map(|key| item.get(key).filter(|who| who.is_object()));
    let (sender, repository) = (sender.cloned(), item.as_object_mut()?.remove("repository"));
    let payload = json!({"action": action, "workflow_run": item, "repository": repository, "sender": sender});
    let draft = draft("workflow_run", &payload)?;
    Some(Run { id, reached: Reached { attempt, stage, conclusion }, is_unsaid, changed, draft })
}

fn repository(of: &Draft) -> Value {
    let (owner, repo) = (&of.owner, &of.repo);
    json!({"name": repo, "full_name": format!("{owner}/{repo}"), "owner": {"login": owner}})
}

fn job(item: &Value, of: &Draft) -> Option<Item> {
    let status = item.get("status")?.as_str()?.to_owned();
    let changed = match &*status {
        "completed" => time(item, "completed_at"),
        "in_progress" => time(item, "started_at"),
        _ => time(item, "created_at"),
    };
    let payload = json!({
        "action": status,
        "workflow_job": item,
        "repository": repository(of),
        "sender": {"login": of.fields.get("actor")},
    });
    Some(Item { changed, is_open: status != "completed", draft: draft("workflow_job", &payload)? })
}

fn check(mut item: Value, of: &Draft) -> Option<Item> {
    let is_open = item.get("status")?.as_str()? != "completed";
    let changed = time(&item, if is_open { "started_at" } else { "completed_at" });
    // A delivery has it, and the list does not.
    if let (Some(Value::Object(suite)), Some(branch)) = (item.get_mut("check_suite"), of.fields.get("head_branch")) {
        suite.entry("head_branch").or_insert_with(|| branch.clone());
    }
    let action = if is_open { "created" } else { "completed" };
    let payload = json!({"action": action, "check_run": item, "repository": repository(of)});
    Some(Item { changed, is_open, draft: draft("check_run", &payload)? })
}

fn status(mut item: Value, of: &Draft) -> Option<Item> {
    let is_open = item.get("state")?.as_str()? == "pending";
    let changed = time(&item, "created_at");
    let status = item.as_object_mut()?;
    status.insert("sha".to_owned(), of.fields.get("head_sha")?.clone());
    status.insert("repository".to_owned(), repository(of));
    if let Some(creator) = status.get("creator").filter(|creator| creator.is_object()).cloned() {
        status.insert("sender".to_owned(), creator);
    }
    Some(Item { changed, is_open, draft: draft("status", &item)? })
}

/// The event of a payload as a delivery would have it; `None` for what is no transition.
fn draft(event: &str, payload: &Value) -> Option<Draft> {
    let draft = Draft { payload: Some(payload.to_string()), ..told(event, payload, ingest_method::SOURCE) };
    (draft.delivery_id.is_some() && draft.check().is_ok()).then_some(draft)
}

fn time(item: &Value, key: &str) -> Option<i64> {
    let time: Timestamp = item.get(key)?.as_str()?.parse().ok()?;
    i64::try_from(time.as_nanosecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::super::{Accepted, Delivery, accept};
    use super::*;

    const RUN: &str = include_str!("../../../tests/payloads/github/workflow_run.completed.payload.json");
    const JOB: &str =
        include_str!("../../../tests/payloads/github/workflow_job.completed.failure.with-organization.payload.json");

    const CHECK: &str = include_str!("../../../tests/payloads/github/check_run.completed.payload.json");
    const STATUS: &str = include_str!("../../../tests/payloads/github/status.payload.json");

    /// What a delivery tells.
    fn delivered(event: &str, payload: &Value) -> Draft {
        let body = payload.to_string();
        let delivery = Delivery { event, id: "d1", content_type: None, body: body.as_bytes() };
        match accept(&delivery).unwrap() {
            Accepted::Event(draft) => *draft,
            Accepted::Ping => panic!("a ping"),
        }
    }

    /// The run of a delivery as a list has it: with its repository, and the name of its workflow.
    fn listed(payload: &Value) -> Value {
        let mut run = payload["workflow_run"].clone();
        run["repository"] = payload["repository"].clone();
        run["name"] = payload["workflow"]["name"].clone();
        run["triggering_actor"] = payload["sender"].clone();
        run
    }

    fn page(runs: &[Value]) -> Vec<u8> {
        json!({"total_count": runs.len(), "workflow_runs": runs}).to_string().into_bytes()
    }

    #[track_caller]
    fn same(listed: &Draft, delivered: &Draft) {
        assert_eq!(listed.check(), Ok(()));
        let parts = |draft: &Draft| {
            let Draft { source, event_type, owner, repo, delivery_id, summary, fields, .. } = draft.clone();
            (source, event_type, owner, repo, delivery_id, summary, fields)
        };
        assert_eq!(parts(listed), parts(delivered));
        assert_eq!((listed.ingest_method, delivered.ingest_method), ("source", "webhook"));
    }

    #[test]
    fn a_listed_run_is_the_event_that_its_delivery_is() {
        let mut payload: Value = serde_json::from_str(RUN).unwrap();
        for (status, conclusion, action, attempt) in [
            ("queued", None, "requested", 1),
            ("in_progress", None, "in_progress", 1),
            ("completed", Some("success"), "completed", 1),
            ("completed", Some("success"), "completed", 2),
            ("completed", Some("startup_failure"), "completed", 3),
        ] {
            payload["action"] = action.into();
            payload["workflow_run"]["status"] = status.into();
            payload["workflow_run"]["conclusion"] = conclusion.into();
            payload["workflow_run"]["run_attempt"] = attempt.into();
            let mut listed = listed(&payload);
            // What moves after the end.
            listed["updated_at"] = "2026-01-01T00:00:00Z".into();
            let runs = runs(&page(&[listed])).unwrap();
            same(&runs[0].draft, &delivered("workflow_run", &payload));
            assert_eq!(runs[0].reached.attempt, attempt);
            assert_eq!(runs[0].changed, Some(1_767_225_600_000_000_000));
        }
    }

    #[test]
    fn a_listed_job_is_the_event_that_its_delivery_is() {
        let payload: Value = serde_json::from_str(JOB).unwrap();
        let of = Draft {
            owner: payload["repository"]["owner"]["login"].as_str().unwrap().to_owned(),
            repo: payload["repository"]["name"].as_str().unwrap().to_owned(),
            fields: json!({"actor": payload["sender"]["login"]}).as_object().cloned().unwrap(),
            ..Draft::default()
        };
        let body = json!({"total_count": 1, "jobs": [payload["workflow_job"]]}).to_string();
        let jobs = jobs(body.as_bytes(), &of).unwrap();
        same(&jobs[0].draft, &delivered("workflow_job", &payload));
        assert_eq!(jobs[0].draft.fields["job_name"], "linters");
    }

    #[test]
    fn a_listed_check_and_a_listed_status_are_the_events_that_their_deliveries_are() {
        let payload: Value = serde_json::from_str(CHECK).unwrap();
        let check = &payload["check_run"];
        let of = Draft {
            owner: payload["repository"]["owner"]["login"].as_str().unwrap().to_owned(),
            repo: payload["repository"]["name"].as_str().unwrap().to_owned(),
            fields: json!({"head_branch": check["check_suite"]["head_branch"]}).as_object().cloned().unwrap(),
            ..Draft::default()
        };
        let mut listed = check.clone();
        listed["check_suite"] = json!({"id": check["check_suite"]["id"]});
        let mut job = listed.clone();
        job["app"]["slug"] = "github-actions".into();
        let found = checks(json!({"check_runs": [listed, job]}).to_string().as_bytes(), &of).unwrap();
        assert_eq!(found.len(), 1, "a check of Actions is a job");
        let mut delivered = delivered("check_run", &payload);
        // The list does not say who asked for it.
        delivered.fields.remove("actor");
        same(&found[0].draft, &delivered);
        assert!(!found[0].is_open);

        let payload: Value = serde_json::from_str(STATUS).unwrap();
        let mut listed = json!({"creator": payload["sender"], "created_at": payload["created_at"]});
        for key in ["id", "state", "description", "target_url", "context"] {
            listed[key] = payload[key].clone();
        }
        let of = Draft {
            owner: payload["repository"]["owner"]["login"].as_str().unwrap().to_owned(),
            repo: payload["repository"]["name"].as_str().unwrap().to_owned(),
            fields: json!({"head_sha": payload["sha"]}).as_object().cloned().unwrap(),
            ..Draft::default()
        };
        let mut older = listed.clone();
        (older["id"], older["state"]) = (1.into(), "pending".into());
        let found = statuses(json!([listed, older]).to_string().as_bytes(), &of).unwrap();
        assert_eq!(found.len(), 1, "the newest of its context");
        let mut delivered = self::delivered("status", &payload);
        // Nor where the commit is shown.
        delivered.fields.remove("url");
        same(&found[0].draft, &delivered);
    }

    #[test]
    fn an_end_of_a_check_has_a_key_and_another_end_has_another() {
        let mut payload: Value = serde_json::from_str(CHECK).unwrap();
        let key = |payload: &Value| delivered("check_run", payload).delivery_id.unwrap();
        let first = key(&payload);
        payload["check_run"]["completed_at"] = "2030-01-01T00:00:00Z".into();
        assert_ne!(key(&payload), first, "an app may end it again, as it ended before");
        payload["check_run"]["completed_at"] = "a b".into();
        assert_eq!(key(&payload), "d1");
        payload["action"] = "requested_action".into();
        assert_eq!(key(&payload), "d1", "a button may be pressed twice");
    }

    #[test]
    fn a_transition_has_one_key_whoever_tells_it_and_nothing_else_has_one() {
        let payload: Value = serde_json::from_str(RUN).unwrap();
        let key = |payload: &Value| delivered("workflow_run", payload).delivery_id.unwrap();
        assert_eq!(key(&payload), "workflow_run octo-org/octo-repo 289782451.1 completed success");
        let with = |key: &str, value: Value| {
            let mut other = payload.clone();
            other["workflow_run"][key] = value;
            other
        };
        assert_eq!(key(&with("updated_at", "2026-01-01T00:00:00Z".into())), key(&payload));
        assert_ne!(key(&with("run_attempt", 2.into())), key(&payload), "a re-run with the same outcome is news");
        assert_ne!(key(&with("conclusion", "failure".into())), key(&payload));
        // What makes no key leaves GitHub's own.
        for odd in [with("id", "x".into()), with("run_attempt", Value::Null), with("conclusion", "x y".into())] {
            assert_eq!(key(&odd), "d1");
        }
        assert_eq!(key(&with("conclusion", "x".repeat(3_000).into())), "d1");
        assert_eq!(delivered("push", &payload).delivery_id.as_deref(), Some("d1"));
    }

    #[test]
    fn what_is_odd_is_left_out_and_what_is_no_list_is_an_error() {
        let good = listed(&serde_json::from_str(RUN).unwrap());
        let with = |key: &str, value: Value| {
            let mut other = good.clone();
            other[key] = value;
            other
        };
        let odd = [
            Value::Null,
            json!([]),
            json!({"id": 1}),
            with("id", Value::Null),
            with("status", 1.into()),
            with("run_attempt", "1".into()),
        ];
        assert_eq!(runs(&page(&odd)).unwrap(), []);
        assert_eq!(runs(&page(&[odd.as_slice(), std::slice::from_ref(&good)].concat())).unwrap().len(), 1);
        let whole = page(&[good]);
        for bad in [&b""[..], b"[]", b"{}", b"<html>", br#"{"workflow_runs":{}}"#, &whole[..whole.len() / 2]] {
            runs(bad).unwrap_err();
            jobs(bad, &Draft::default()).unwrap_err();
            checks(bad, &Draft::default()).unwrap_err();
            single_run(bad).unwrap_err();
        }
    }

    /// It was left out, and what is left out beside a newer run is never told.
    #[test]
    fn a_run_that_has_ended_and_does_not_say_how_goes_on_and_is_not_told() {
        let mut run = listed(&serde_json::from_str(RUN).unwrap());
        run["conclusion"] = Value::Null;
        let [ended] = &runs(&page(&[run.clone()])).unwrap()[..] else { panic!("one run") };
        assert!(ended.is_unsaid && ended.reached.is_open(), "{ended:?}");
        assert_eq!(single_run(run.to_string().as_bytes()).unwrap(), *ended);
        (run["status"], run["conclusion"]) = ("queued".into(), "success".into());
        let [odd] = &runs(&page(&[run])).unwrap()[..] else { panic!("one run") };
        assert!(odd.is_unsaid && odd.reached == ended.reached, "{odd:?}");
    }

    #[test]
    fn news_is_what_a_delivery_would_be_sent_for() {
        let reached = |attempt, stage, conclusion: Option<&str>| Reached {
            attempt,
            stage,
            conclusion: conclusion.map(str::to_owned),
        };
        let (requested, runs) = (reached(1, Stage::Requested, None), reached(1, Stage::InProgress, None));
        let (fails, consent) =
            (reached(1, Stage::Completed, Some("failure")), reached(1, Stage::Completed, Some("action_required")));
        for (new, known, news) in [
            (&runs, &requested, true),
            (&fails, &requested, true),
            (&fails, &runs, true),
            (&runs, &consent, true),
            (&reached(2, Stage::Completed, Some("failure")), &fails, true),
            (&reached(2, Stage::Requested, None), &fails, true),
            (&requested, &runs, false),
            (&runs, &runs, false),
            (&fails, &reached(2, Stage::Requested, None), false),
        ] {
            assert_eq!(new.is_news_after(known), news, "{new:?} after {known:?}");
        }
    }
}
