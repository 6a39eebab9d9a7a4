//! One line for a person about an event, made from its fields and nothing else, so that it cannot say what the fields
//! do not.
//!
//! Any field may be absent; every part of a line is written so that the rest reads on without it.

use serde_json::Value;

use crate::model::event::Fields;
use crate::model::text::one_line;

/// `octo/hello: CI failed on main (run 42, attempt 2) a1b2c3d` and its like.
pub(super) fn summary(event: &str, owner: &str, repo: &str, fields: &Fields) -> String {
    let told = Told(fields);
    let what = match event {
        "workflow_run" => told.workflow_run(),
        "workflow_job" => told.workflow_job(),
        "check_run" => told.check_run(),
        "check_suite" => told.check_suite(),
        "status" => told.status(),
        "deployment_status" => told.deployment_status(),
        "push" => told.push(),
        "pull_request" => told.pull_request(),
        "pull_request_review" => told.pull_request_review(),
        "issue_comment" => told.issue_comment(),
        "release" => told.release(),
        _ => format!("{event}{}", lead(" ", &told.say("action"))),
    };
    let place = [owner, repo].into_iter().filter(|name| !name.is_empty()).collect::<Vec<_>>().join("/");
    one_line(&format!("{place}{}{what}", if place.is_empty() { "" } else { ": " }))
}

/// The fields, as words: what is absent is an empty text.
struct Told<'a>(&'a Fields);

impl Told<'_> {
    fn workflow_run(&self) -> String {
        let name = or(self.say("workflow_name"), "workflow");
        let how = match (self.say("conclusion").as_str(), self.say("status").as_str()) {
            ("success", _) => "succeeded".to_owned(),
            ("failure", _) => "failed".to_owned(),
            ("cancelled" | "skipped", _) => format!("was {}", self.outcome()),
            ("timed_out", _) => "timed out".to_owned(),
            ("startup_failure", _) => "failed to start".to_owned(),
            ("", "in_progress") => "is running".to_owned(),
            ("", "" | "completed") => self.outcome(),
            ("", _) => format!("is {}", self.outcome()),
            _ => format!("ended: {}", self.outcome()),
        };
        let run = inside(&[lead("run ", &self.say("run_number")), self.attempt()]);
        format!("{name} {how}{}{run}{}", lead(" on ", &self.say("head_branch")), self.sha())
    }

    fn workflow_job(&self) -> String {
        let run = inside(&[self.say("workflow_name"), lead("run ", &self.say("run_id")), self.attempt()]);
        format!("job{}: {}{run}", lead(" ", &self.say("job_name")), self.outcome())
    }

    fn check_run(&self) -> String {
        let on = lead(" on ", &self.say("head_branch"));
        format!("check{}: {}{on}{}", lead(" ", &self.say("check_name")), self.outcome(), self.sha())
    }

    fn check_suite(&self) -> String {
        let on = lead(" on ", &self.say("head_branch"));
        format!("checks{}: {}{on}{}", lead(" of ", &self.say("app")), self.outcome(), self.sha())
    }

    fn status(&self) -> String {
        format!("status{}: {}{}", lead(" ", &self.say("context")), self.say("state"), self.sha())
    }

    fn deployment_status(&self) -> String {
        let state = words(&self.say("state"));
        format!("deployment{}: {state}{}", lead(" to ", &self.say("environment")), self.sha())
    }

    fn push(&self) -> String {
        let (branch, tag, by) = (self.say("head_branch"), self.say("tag"), self.by());
        let commits = match self.say("commits").as_str() {
            "" => String::new(),
            "1" => "1 commit".to_owned(),
            count => format!("{count} commits"),
        };
        let thing = match (branch.as_str(), tag.as_str()) {
            ("", "") => or(self.say("ref"), "ref"),
            ("", tag) => format!("tag {tag}"),
            (branch, _) => format!("branch {branch}"),
        };
        if self.is("deleted") {
            format!("{thing} deleted{by}")
        } else if self.is("created") {
            format!("{thing} created{by}")
        } else if !tag.is_empty() {
            format!("{thing} moved{by}")
        } else {
            let push = if self.is("forced") { "forced push" } else { "push" };
            format!("{push}{}{}{by}", lead(" of ", &commits), lead(" to ", &branch))
        }
    }

    fn pull_request(&self) -> String {
        let how = match self.say("action").as_str() {
            "closed" if self.is("merged") => "merged".to_owned(),
            "synchronize" => "updated".to_owned(),
            action => words(action),
        };
        format!("pull request{}{}{}", self.number("pr_number"), lead(" ", &how), self.title())
    }

    fn pull_request_review(&self) -> String {
        let how = match self.say("action").as_str() {
            "submitted" => "reviewed".to_owned(),
            action => format!("review{}", lead(" ", &words(action))),
        };
        let state = inside(&[words(&self.say("review_state"))]);
        format!("pull request{} {how}{}{state}{}", self.number("pr_number"), self.by(), self.title())
    }

    fn issue_comment(&self) -> String {
        let how = match self.say("action").as_str() {
            "created" => String::new(),
            action => lead(" ", &words(action)),
        };
        let (kind, number) = match self.number("pr_number") {
            none if none.is_empty() => ("issue", self.number("issue_number")),
            number => ("pull request", number),
        };
        format!("comment{how}{} on {kind}{number}{}", self.by(), self.title())
    }

    fn release(&self) -> String {
        let (tag, name) = (self.say("tag"), self.say("name"));
        let kind = if self.is("prerelease") { "pre-release" } else { "release" };
        let title = if name == tag { String::new() } else { lead(": ", &name) };
        format!("{kind}{}{}{}{title}", lead(" ", &tag), lead(" ", &words(&self.say("action"))), self.by())
    }

    fn say(&self, field: &str) -> String {
        match self.0.get(field) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        }
    }

    fn is(&self, field: &str) -> bool {
        self.0.get(field) == Some(&Value::Bool(true))
    }

    /// How it ended, else how it stands, else what happened to it.
    fn outcome(&self) -> String {
        words(&or(self.say("conclusion"), &or(self.say("status"), &self.say("action"))))
    }

    fn attempt(&self) -> String {
        match self.say("run_attempt").as_str() {
            "1" => String::new(),
            again => lead("attempt ", again),
        }
    }

    fn sha(&self) -> String {
        lead(" ", &self.say("head_sha").chars().take(7).collect::<String>())
    }

    fn by(&self) -> String {
        lead(" by ", &self.say("actor"))
    }

    fn number(&self, field: &str) -> String {
        lead(" #", &self.say(field))
    }

    fn title(&self) -> String {
        lead(": ", &self.say("title"))
    }
}

/// GitHub's snake case, as a person would say it.
fn words(name: &str) -> String {
    name.replace('_', " ")
}

fn lead(before: &str, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{before}{text}") }
}

fn or(text: String, otherwise: &str) -> String {
    if text.is_empty() { otherwise.to_owned() } else { text }
}

fn inside(parts: &[String]) -> String {
    let parts: Vec<_> = parts.iter().filter(|part| !part.is_empty()).map(String::as_str).collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}
