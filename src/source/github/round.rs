//! One look at a repository: the questions that it consists of, and what they bring.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::json;
use tokio::time::Instant;

use super::http::Validators;
use crate::ingest::github::SOURCE;
use crate::ingest::github::api::{self, BadAnswer, Item, Run};
use crate::model::event::{Draft, HAPPENED_AT, ingest_method};
use crate::model::limits::{GITHUB_ENDED_TRIES, GITHUB_LATE};

/// One moment on our clocks, and what has to be added to GitHub's dates to have ours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) now: Instant,
    /// Nanoseconds since the epoch.
    pub(super) wall: i64,
    /// Nanoseconds.
    pub(super) skew: i64,
}

impl Moment {
    /// A date of GitHub's as our clock would have had it.
    pub(super) fn ours(self, date: i64) -> i64 {
        date.saturating_add(self.skew)
    }
}

/// What a look is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Purpose {
    /// Somebody waits, so jobs are of interest as well.
    pub(super) jobs: bool,
    /// And so are the checks and statuses of commits.
    pub(super) checks: bool,
    /// Also of the newest commits of which no run goes on: nobody has looked for a while, or something has changed not
    /// long ago, and other services speak after the last run.
    pub(super) commits: bool,
}

/// What there is a list of beside the runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Topic {
    /// The jobs of a run.
    Jobs(i64),
    /// The checks of a commit.
    Checks(String),
    /// The statuses of a commit.
    Statuses(String),
}

/// A question.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A page of runs; the first has no address of its own.
    Runs { next: Option<String>, page: usize },
    /// One run.
    Run(i64),
    /// A page of a list beside.
    Beside { topic: Topic, next: Option<String>, page: usize },
}

impl Step {
    /// The first page of a list beside.
    pub(super) fn first(topic: Topic) -> Step {
        Step::Beside { topic, next: None, page: 1 }
    }
}

/// The parts of a look, in their order. Each asks what it has to when the one before is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Part {
    /// The list of runs.
    #[default]
    List,
    /// Runs that the list does not tell of.
    Alone,
    /// The lists beside, once the runs have been told.
    Beside,
}

/// A look that has begun.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) part: Part,
    pub(super) purpose: Purpose,
    pub(super) steps: VecDeque<Step>,
    /// Where the step that is being asked has been redirected to, and how often.
    pub(super) redirected: Option<String>,
    pub(super) redirects: usize,
    pub(super) found: BTreeMap<i64, Run>,
    /// The words and the runs of the first page, if it is another one than before.
    pub(super) first: Option<(Validators, BTreeSet<i64>)>,
    /// There are more pages than may be asked for.
    pub(super) missed: bool,
    /// The place is another one, although nothing was told.
    pub(super) moved: bool,
    /// Commits of runs that were told.
    pub(super) told: BTreeSet<String>,
}

/// What an answer has brought.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// In the order in which they happened.
    pub(super) drafts: Vec<Draft>,
    /// Whether the place is another one.
    pub(super) moved: bool,
}

/// What is known of a list beside.
#[derive(Debug)]
pub(super) struct List {
    /// The event of a run, for what the items have in common with it.
    pub(super) of: Draft,
    pub(super) known: Validators,
    /// Whether one of the items goes on.
    pub(super) is_open: bool,
    /// How often it was asked for although its run has ended.
    pub(super) tries: u32,
    /// Keys of what was told.
    told: BTreeSet<String>,
}

impl List {
    pub(super) fn of(run: &Draft) -> List {
        let of = Draft { payload: None, ..run.clone() };
        List { of, known: Validators::default(), is_open: false, tries: 0, told: BTreeSet::new() }
    }

    /// Whether it is behind its run, which has ended: what is listed as going on has to end as well, and is asked for
    /// again a few times.
    pub(super) fn lags(&mut self, status: u16) -> bool {
        self.tries += 1;
        self.is_open && matches!(status, 200 | 304) && self.tries < GITHUB_ENDED_TRIES
    }

    /// The items of a page that were not told.
    pub(super) fn hear(
        &mut self,
        topic: &Topic,
        body: &[u8],
        is_first: bool,
        moment: Moment,
    ) -> Result<Vec<Draft>, BadAnswer> {
        let mut found = match topic {
            Topic::Jobs(_) => api::jobs(body, &self.of),
            Topic::Checks(_) => api::checks(body, &self.of),
            Topic::Statuses(_) => api::statuses(body, &self.of),
        }?;
        found.sort_by_key(|item| item.changed);
        self.is_open &= !is_first;
        let mut drafts = Vec::new();
        for Item { changed, is_open, draft } in found {
            self.is_open |= is_open;
            if draft.delivery_id.as_ref().is_some_and(|key| self.told.insert(key.clone())) {
                drafts.push(dated(draft, changed.map(|time| moment.ours(time)), moment));
            }
        }
        Ok(drafts)
    }
}

/// The event, with the time at which it happened on our clock if that is some time ago.
pub(super) fn dated(mut draft: Draft, happened: Option<i64>, moment: Moment) -> Draft {
    let late = i64::try_from(GITHUB_LATE.as_nanos()).unwrap_or(i64::MAX);
    if let Some(happened) = happened
        && moment.wall.saturating_sub(happened) > late
    {
        draft.fields.insert(HAPPENED_AT.to_owned(), happened.into());
    }
    draft
}

/// The event that says that some runs are not told.
pub(super) fn missed(owner: &str, repo: &str, newest: i64, lowest: i64) -> Draft {
    let name = format!("{owner}/{repo}");
    let fields = json!({"after_run": newest, "before_run": lowest});
    Draft {
        source: SOURCE.to_owned(),
        event_type: "runs_missed".to_owned(),
        delivery_id: Some(format!("runs_missed {name} {newest} {lowest}")),
        is_certain: false,
        ingest_method: ingest_method::SOURCE,
        summary: format!(
            "{name}: there were too many runs since waitbus last looked; those between {newest} and {lowest} are not told"
        ),
        owner: owner.to_owned(),
        repo: repo.to_owned(),
        fields: fields.as_object().cloned().unwrap_or_default(),
        payload: None,
    }
}
