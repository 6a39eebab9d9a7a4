//! What one event of GitHub's says of a commit, read from its typed fields.

use std::cmp::Ordering;

use crate::model::event::{Event, Fields};
use crate::model::verdict::Verdict;

/// The `source` of the events that say something of a commit.
pub const SOURCE: &str = "github";
/// The app whose checks are the jobs of workflow runs.
const ACTIONS: &str = "github-actions";
/// The word for something that has ended and does not say how.
const NO_CONCLUSION: &str = "no conclusion";

/// A repository. GitHub's names ignore case, and so do comparisons.
#[derive(Clone, Debug)]
pub(super) struct Repository {
    folded: String,
    name: String,
}

impl Ord for Repository {
    fn cmp(&self, other: &Repository) -> Ordering {
        self.folded.cmp(&other.folded)
    }
}

impl PartialOrd for Repository {
    fn partial_cmp(&self, other: &Repository) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Repository {
    fn eq(&self, other: &Repository) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Repository {}

impl Repository {
    /// By its full name.
    pub(super) fn named(full: &str) -> Repository {
        Repository { folded: full.to_ascii_lowercase(), name: full.to_owned() }
    }

    /// Where the event belongs.
    pub(super) fn of(event: &Event) -> Repository {
        Repository::named(&format!("{}/{}", event.owner, event.repo))
    }

    /// For people.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// How far something has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It goes on; GitHub's word for how.
    Open(String),
    /// It has ended.
    Ended(Verdict),
}

impl State {
    fn of(fields: &Fields) -> State {
        let (status, conclusion) = (text(fields, "status"), text(fields, "conclusion"));
        match (status, conclusion) {
            (Some("completed") | None, Some(conclusion)) => State::Ended(Verdict::of(conclusion)),
            (Some("completed"), None) => State::Ended(Verdict::Neither(NO_CONCLUSION.to_owned())),
            (Some(status), _) => State::Open(status.to_owned()),
            (None, None) => State::Open(text(fields, "action").unwrap_or("seen").to_owned()),
        }
    }

    /// The verdict, if there is one.
    pub(super) fn verdict(&self) -> Option<&Verdict> {
        match self {
            State::Open(_) => None,
            State::Ended(verdict) => Some(verdict),
        }
    }

    /// GitHub's word for where it is.
    pub(super) fn word(&self) -> &str {
        match self {
            State::Open(status) => status,
            State::Ended(verdict) => verdict.word(),
        }
    }
}

/// What is judged, within one repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// A run of a workflow, with its jobs.
    Run(i64),
    /// A check of an app, by its name. Those of GitHub Actions are told apart by their suite, which is their run.
    Check(String, Option<i64>, String),
    /// All checks of an app, where it does not tell of them one by one.
    Suite(i64),
    /// A commit status.
    Status(String),
}

/// What an event says of something that is judged.
#[derive(Debug)]
pub(super) struct Told<'a> {
    pub(super) key: Key,
    pub(super) name: &'a str,
    pub(super) url: Option<&'a str>,
    pub(super) number: Option<i64>,
    pub(super) suite: Option<i64>,
    /// What counts is the highest: of a run the attempt, of checks and statuses the id. A repetition gets a new one.
    pub(super) generation: i64,
    pub(super) state: State,
    /// The job of the run that it says it of; `None` when it is the thing itself.
    pub(super) job: Option<(&'a str, i64)>,
}

impl<'a> Told<'a> {
    /// `None` for an event that says nothing about how a commit fares.
    pub(super) fn by(event: &'a Event) -> Option<Told<'a>> {
        let fields = &event.fields;
        let state = State::of(fields);
        let (word, number) = (|name| text(fields, name), |name| whole(fields, name));
        let attempt = || number("run_attempt").unwrap_or(1);
        let (suite, ended) = (number("check_suite_id"), state.verdict().is_some());
        let told = |key, name, generation| {
            let job = None;
            Told { key, name, url: word("url"), number: number("run_number"), suite, generation, state, job }
        };
        match event.event_type.as_str() {
            "workflow_run" => {
                Some(told(Key::Run(number("run_id")?), word("workflow_name").unwrap_or("workflow"), attempt()))
            }
            "workflow_job" => {
                let job = (word("job_name").unwrap_or("job"), number("job_id").unwrap_or(0));
                let name = word("workflow_name").unwrap_or("workflow");
                Some(Told { job: Some(job), ..told(Key::Run(number("run_id")?), name, attempt()) })
            }
            "check_run" => {
                let (app, name) = (word("app").unwrap_or_default(), word("check_name").unwrap_or("check"));
                let key = Key::Check(app.to_owned(), suite.filter(|_| app == ACTIONS), name.to_owned());
                Some(told(key, name, number("check_run_id").unwrap_or(0)))
            }
            // A suite that is not completed says nothing: GitHub opens one for every app that could check something,
            // and most of them never do.
            "check_suite" if ended => Some(told(Key::Suite(suite?), word("app").unwrap_or("checks"), 0)),
            "status" => {
                let context = word("context").unwrap_or("status");
                Some(told(Key::Status(context.to_owned()), context, number("status_id").unwrap_or(0)))
            }
            _ => None,
        }
    }
}

/// A field that is a text.
pub(super) fn text<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    fields.get(name)?.as_str()
}

/// A field that is a whole number.
fn whole(fields: &Fields, name: &str) -> Option<i64> {
    fields.get(name)?.as_i64()
}
