//! The key of a transition: that a run, a job or a check has come to where it is, or that a commit was given a status.
//!
//! GitHub gives every delivery an id of its own, which the API does not know. So the key is made of what both say. Of a
//! run and a job: repository, id, attempt, action, conclusion, and no time, because `updated_at` of a run that has ended is
//! moved by whatever is done to it later. A re-run is another attempt, so its outcome is news, also if it is the same one.
//! What a run returns to within an attempt (it runs, waits for a consent, and runs) is not told again. A check has no
//! attempts, and an app may end it again, so there it is the time of its end that tells one end from another. A status is
//! given once.

use serde_json::Value;

use super::is_event_name;
use crate::model::event::Fields;
use crate::model::limits::MAX_NAME_BYTES;

/// The key of what a payload says, and its fields; `None` if that is no transition. It has spaces, which the id of a
/// delivery cannot have, so nobody can take a key away from whom it belongs to.
pub(super) fn key(event: &str, payload: &Value, owner: &str, repo: &str, fields: &Fields) -> Option<String> {
    let number = |name| fields.get(name)?.as_i64();
    let word = |name| fields.get(name)?.as_str().filter(|word| is_event_name(word));
    let conclusion = || match fields.get("conclusion") {
        None => Some(String::new()),
        Some(_) => Some(format!(" {}", word("conclusion")?)),
    };
    let what = match event {
        "workflow_run" | "workflow_job" => {
            let id = number(if event == "workflow_run" { "run_id" } else { "job_id" })?;
            format!("{id}.{} {}{}", number("run_attempt")?, word("action")?, conclusion()?)
        }
        "check_run" => {
            let id = number("check_run_id")?;
            match word("action")? {
                "created" => format!("{id} created"),
                "completed" => format!("{id} completed{} {}", conclusion()?, time(payload, "/check_run/completed_at")?),
                _ => return None,
            }
        }
        "status" => number("status_id")?.to_string(),
        _ => return None,
    };
    Some(format!("{event} {owner}/{repo} {what}"))
}

fn time<'a>(payload: &'a Value, pointer: &str) -> Option<&'a str> {
    let text = payload.pointer(pointer)?.as_str()?;
    (text.len() <= MAX_NAME_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic())).then_some(text)
}
