//! The key of a transition: that a run, or a job, has come to where it is.
//!
//! GitHub gives every delivery an id of its own, which the API does not know. So the key is made of what both say:
//! repository, id, attempt, action, conclusion. Not of any time: `updated_at` of a run that has ended is moved by whatever
//! is done to it later. A re-run is another attempt, so its outcome is news, also if it is the same one. What a run
//! returns to within an attempt (it runs, waits for a consent, and runs) is not told again.

use super::is_event_name;
use crate::model::event::Fields;

/// The key of what these fields say; `None` if that is no transition. It has spaces, which the id of a delivery cannot
/// have, so nobody can take a key away from whom it belongs to.
pub(super) fn key(event: &str, owner: &str, repo: &str, fields: &Fields) -> Option<String> {
    let id = match event {
        "workflow_run" => "run_id",
        "workflow_job" => "job_id",
        _ => return None,
    };
    let number = |name| fields.get(name)?.as_i64();
    let word = |name| fields.get(name)?.as_str().filter(|word| is_event_name(word));
    let (id, attempt, action) = (number(id)?, number("run_attempt")?, word("action")?);
    let conclusion = match fields.get("conclusion") {
        None => String::new(),
        Some(_) => format!(" {}", word("conclusion")?),
    };
    Some(format!("{event} {owner}/{repo} {id}.{attempt} {action}{conclusion}"))
}
