//! One repository: what is to be asked of it next, and what an answer means. No I/O, and the clock is an argument.
//!
//! A look at a repository is a round of questions: the first page of its runs, further pages until one that is known,
//! runs that have left the first page while they go on, and then the jobs of the runs that go on or have just ended. The
//! runs are told when all of them are known, so a round that is broken off is begun anew and loses nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::json;
use tokio::time::Instant;

use super::http::{Base, Reply, Request, Validators};
use super::place::Place;
use crate::ingest::github::SOURCE;
use crate::ingest::github::api::{self, BadAnswer, Job, Run};
use crate::model::event::{Draft, HAPPENED_AT, ingest_method};
use crate::model::limits::{
    GITHUB_JOB_PAGES, GITHUB_JOBS_PER_PAGE, GITHUB_LATE, GITHUB_FOLLOWED_RUNS, GITHUB_REDIRECTS, GITHUB_RUN_PAGES,
    GITHUB_RUNS_PER_PAGE, GITHUB_RUNS_WITH_JOBS,
};

/// One moment on our clocks, and how far GitHub's is behind the one that dates events.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) now: Instant,
    /// Nanoseconds since the epoch.
    pub(super) wall: i64,
    /// What has to be added to GitHub's dates, in nanoseconds.
    pub(super) skew: i64,
}

impl Moment {
    /// A date of GitHub's as our clock would have had it.
    fn ours(self, date: i64) -> i64 {
        date.saturating_add(self.skew)
    }
}

/// A question of a round.
#[derive(Clone, Debug)]
enum Step {
    /// A page of runs; the first has no address of its own.
    Runs { next: Option<String>, page: usize },
    /// One run.
    Run(i64),
    /// A page of the jobs of a run.
    Jobs { run: i64, next: Option<String>, page: usize },
}

/// The parts of a look, in their order. Each asks what it has to when the one before is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    /// The list of runs.
    #[default]
    List,
    /// Runs that the list does not tell of.
    Alone,
    /// The jobs, once the runs have been told.
    Jobs,
}

/// A look that has begun.
#[derive(Debug, Default)]
struct Round {
    part: Part,
    with_jobs: bool,
    steps: VecDeque<Step>,
    /// Where the step that is being asked has been redirected to, and how often.
    redirected: Option<String>,
    redirects: usize,
    found: BTreeMap<i64, Run>,
    /// The words and the runs of the first page, if it is another one than before.
    first: Option<(Validators, BTreeSet<i64>)>,
    /// There are more pages than may be asked for.
    missed: bool,
    /// A run is not there any more.
    forgot: bool,
}

/// The jobs of a run that goes on.
#[derive(Debug)]
struct Jobs {
    /// The event of the run, for what its jobs have in common with it.
    of: Draft,
    known: Validators,
    /// Keys of what was told.
    told: BTreeSet<String>,
}

/// What an answer has brought.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// In the order in which they happened.
    pub(super) drafts: Vec<Draft>,
    /// Whether the place is another one.
    pub(super) moved: bool,
}

/// A repository that is watched.
#[derive(Debug)]
pub(super) struct Watch {
    owner: String,
    repo: String,
    /// None before the first look.
    pub(super) place: Option<Place>,
    /// Where it is asked: its name, or what GitHub has redirected that to.
    root: String,
    round: Option<Round>,
    jobs: BTreeMap<i64, Jobs>,
}

impl Watch {
    pub(super) fn new(owner: &str, repo: &str, place: Option<Place>) -> Watch {
        let root = format!("/repos/{owner}/{repo}");
        Watch { owner: owner.to_owned(), repo: repo.to_owned(), place, root, round: None, jobs: BTreeMap::new() }
    }

    pub(super) fn owner(&self) -> &str {
        &self.owner
    }

    pub(super) fn repo(&self) -> &str {
        &self.repo
    }

    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.owner, self.repo)
    }

    /// Where it is asked.
    pub(super) fn root(&self) -> &str {
        &self.root
    }

    /// Whether something goes on there.
    pub(super) fn is_busy(&self) -> bool {
        self.place.as_ref().is_some_and(|place| place.open().next().is_some())
    }

    /// Begins a look, at the jobs as well if somebody waits.
    pub(super) fn begin(&mut self, with_jobs: bool) {
        let steps = VecDeque::from([Step::Runs { next: None, page: 1 }]);
        self.round = Some(Round { with_jobs, steps, ..Round::default() });
    }

    /// Whether a look is under way.
    pub(super) fn is_looking(&self) -> bool {
        self.round.is_some()
    }

    /// Breaks it off.
    pub(super) fn stop(&mut self) {
        self.round = None;
    }

    /// What is to be asked next; `None` when the look is over.
    pub(super) fn request(&self) -> Option<Request> {
        let round = self.round.as_ref()?;
        let step = round.steps.front()?;
        let root = &self.root;
        let (path, known) = match step {
            Step::Runs { next: Some(path), .. } | Step::Jobs { next: Some(path), .. } => {
                (path.clone(), Validators::default())
            }
            Step::Runs { next: None, .. } => {
                let known = self.place.as_ref().map(Place::validators).unwrap_or_default();
                (format!("{root}/actions/runs?per_page={GITHUB_RUNS_PER_PAGE}"), known)
            }
            Step::Run(id) => (format!("{root}/actions/runs/{id}"), Validators::default()),
            Step::Jobs { run, next: None, .. } => {
                let attempt = self.place.as_ref().and_then(|place| place.runs.get(run)).map_or(1, |run| run.attempt);
                let known = self.jobs.get(run).map(|jobs| jobs.known.clone()).unwrap_or_default();
                let path =
                    format!("{root}/actions/runs/{run}/attempts/{attempt}/jobs?per_page={GITHUB_JOBS_PER_PAGE}");
                (path, known)
            }
        };
        Some(Request { path: round.redirected.clone().unwrap_or(path), known })
    }

    /// GitHub has moved what was asked for. Tells whether that may be followed.
    pub(super) fn redirected(&mut self, location: Option<&str>, base: &Base) -> bool {
        let path = location.and_then(|location| base.path(location));
        let (Some(path), Some(round)) = (path, &mut self.round) else { return false };
        round.redirects += 1;
        if round.redirects > GITHUB_REDIRECTS {
            return false;
        }
        // A repository that was renamed is asked by its number from now on.
        if let Some((root, _)) = path.split_once("/actions/runs") {
            root.clone_into(&mut self.root);
        }
        round.redirected = Some(path);
        true
    }

    /// What GitHub has answered: an answer, that nothing has changed, or that there is no such thing.
    pub(super) fn answered(&mut self, reply: &Reply, base: &Base, moment: Moment) -> Result<Told, BadAnswer> {
        let Some(round) = &mut self.round else { return Ok(Told::default()) };
        (round.redirected, round.redirects) = (None, 0);
        let Some(step) = round.steps.pop_front() else { return Ok(Told::default()) };
        let next = reply.next.as_deref().and_then(|next| base.path(next));
        let drafts = match step {
            Step::Jobs { run, page, .. } => self.page_of_jobs(reply, run, next, page, moment)?,
            Step::Run(id) if reply.status == 404 => {
                self.forget(id);
                Vec::new()
            }
            Step::Run(_) => {
                let run = api::single_run(&reply.body)?;
                round.found.insert(run.id, run);
                Vec::new()
            }
            Step::Runs { .. } if reply.status == 304 => Vec::new(),
            Step::Runs { page, .. } => {
                self.page_of_runs(reply, next, page)?;
                Vec::new()
            }
        };
        let mut told = self.advance(moment);
        told.moved |= !drafts.is_empty();
        told.drafts.splice(0..0, drafts);
        Ok(told)
    }

    /// Whether a step may be told that there is no such thing: the repository is there, and a run of it is not any more.
    pub(super) fn may_be_missing(&self) -> bool {
        let step = self.round.as_ref().and_then(|round| round.steps.front());
        matches!(step, Some(Step::Run(_) | Step::Jobs { .. }))
    }

    /// Begins the next part where one is over.
    fn advance(&mut self, moment: Moment) -> Told {
        let mut told = Told::default();
        while let Some(round) = &mut self.round
            && round.steps.is_empty()
        {
            match round.part {
                Part::List => {
                    round.part = Part::Alone;
                    let alone = self.alone();
                    if let Some(round) = &mut self.round {
                        round.steps = alone.into_iter().map(Step::Run).collect();
                    }
                }
                Part::Alone => {
                    round.part = Part::Jobs;
                    told = self.tell_runs(moment);
                    let jobs = self.runs_with_jobs();
                    if let Some(round) = &mut self.round {
                        round.steps = jobs.into_iter().map(|run| Step::Jobs { run, next: None, page: 1 }).collect();
                    }
                }
                Part::Jobs => self.round = None,
            }
        }
        told
    }

    fn page_of_runs(&mut self, reply: &Reply, next: Option<String>, page: usize) -> Result<(), BadAnswer> {
        let Some(round) = &mut self.round else { return Ok(()) };
        let runs = api::runs(&reply.body)?;
        // At the first look nothing is missing; later everything is known that is not newer than the newest.
        let newest = self.place.as_ref().map_or(i64::MAX, |place| place.newest);
        let is_known = runs.iter().any(|run| run.id <= newest);
        if page == 1 {
            round.first = Some((reply.validators.clone(), runs.iter().map(|run| run.id).collect()));
        }
        for run in runs {
            round.found.entry(run.id).or_insert(run);
        }
        match next {
            Some(_) if is_known => {}
            Some(_) if page >= GITHUB_RUN_PAGES => round.missed = true,
            Some(next) => round.steps.push_front(Step::Runs { next: Some(next), page: page + 1 }),
            None => {}
        }
        Ok(())
    }

    /// Runs that go on or are owed, and of which the list has said nothing: they have left its first page, or nobody knows
    /// any more since a restart what their jobs have in common with them.
    fn alone(&self) -> Vec<i64> {
        let (Some(place), Some(round)) = (&self.place, &self.round) else { return Vec::new() };
        let oldest = round.first.as_ref().map_or(place.oldest, |(_, ids)| ids.first().copied().unwrap_or(0));
        let is_alone = |id: &i64| (*id < oldest || !self.jobs.contains_key(id)) && !round.found.contains_key(id);
        let followed: BTreeSet<i64> = place.open().chain(place.owed.iter().copied()).collect();
        followed.into_iter().rev().filter(is_alone).take(GITHUB_FOLLOWED_RUNS).collect()
    }

    fn forget(&mut self, id: i64) {
        if let (Some(place), Some(round)) = (&mut self.place, &mut self.round) {
            place.runs.remove(&id);
            place.owed.remove(&id);
            round.forgot = true;
        }
    }

    fn tell_runs(&mut self, moment: Moment) -> Told {
        let Some(round) = &mut self.round else { return Told::default() };
        let is_first_look = self.place.is_none();
        let place = self.place.get_or_insert_default();
        let newest = place.newest;
        let mut found: Vec<Run> = std::mem::take(&mut round.found).into_values().collect();
        let lowest = found.iter().map(|run| run.id).min().unwrap_or(newest);
        found.sort_by_key(|run| (run.changed, run.id));
        let mut drafts = Vec::new();
        if round.missed {
            drafts.push(missed(&self.owner, &self.repo, newest, lowest));
        }
        for Run { id, reached, changed, draft } in found {
            place.newest = place.newest.max(id);
            let known = place.runs.get(&id);
            let is_news = match known {
                Some(known) => reached.is_news_after(known),
                None => is_first_look || id > newest || reached.is_open(),
            };
            let is_open = reached.is_open();
            if is_open || is_news || place.owed.contains(&id) {
                let jobs = self.jobs.entry(id).or_insert_with(|| Jobs::of(&draft));
                jobs.of.fields.clone_from(&draft.fields);
            }
            if !is_news {
                continue;
            }
            // Of what has passed while nobody looked, the jobs are of interest where something has failed.
            if !is_open && (known.is_some() || (!is_first_look && !reached.is_success())) {
                place.owed.insert(id);
            }
            // What was known to be otherwise when it was last asked for has changed since.
            let since = known.map_or(i64::MIN, |_| place.asked);
            drafts.push(dated(draft, changed.map(|time| moment.ours(time).max(since)), moment));
            place.runs.insert(id, reached);
        }
        let moved = !drafts.is_empty() || round.first.is_some() || round.forgot;
        place.asked = moment.wall;
        if let Some((validators, ids)) = round.first.take() {
            place.oldest = ids.first().copied().unwrap_or(0);
            place.set_validators(validators);
            place.keep(&ids);
        }
        self.jobs.retain(|id, _| place.owed.contains(id) || place.runs.get(id).is_some_and(api::Reached::is_open));
        Told { drafts, moved }
    }

    /// Runs whose jobs are to be asked for, the newest first.
    fn runs_with_jobs(&self) -> Vec<i64> {
        let with_jobs = self.round.as_ref().is_some_and(|round| round.with_jobs);
        self.jobs.keys().rev().copied().filter(|_| with_jobs).take(GITHUB_RUNS_WITH_JOBS).collect()
    }

    fn page_of_jobs(
        &mut self,
        reply: &Reply,
        run: i64,
        next: Option<String>,
        page: usize,
        moment: Moment,
    ) -> Result<Vec<Draft>, BadAnswer> {
        let mut drafts = Vec::new();
        if let Some(jobs) = self.jobs.get_mut(&run)
            && reply.status == 200
        {
            let mut found = api::jobs(&reply.body, &jobs.of)?;
            found.sort_by_key(|job| job.changed);
            // The words of the first page say nothing about the others.
            jobs.known = if page == 1 && next.is_none() { reply.validators.clone() } else { Validators::default() };
            for Job { changed, draft } in found {
                if draft.delivery_id.as_ref().is_some_and(|key| jobs.told.insert(key.clone())) {
                    drafts.push(dated(draft, changed.map(|time| moment.ours(time)), moment));
                }
            }
            if let (Some(next), Some(round), true) = (next, &mut self.round, page < GITHUB_JOB_PAGES) {
                round.steps.push_front(Step::Jobs { run, next: Some(next), page: page + 1 });
                return Ok(drafts);
            }
        }
        if let (Some(place), Some(round)) = (&mut self.place, &mut self.round)
            && place.owed.remove(&run)
        {
            round.forgot = true;
        }
        Ok(drafts)
    }
}

impl Jobs {
    fn of(run: &Draft) -> Jobs {
        let of = Draft { payload: None, ..run.clone() };
        Jobs { of, known: Validators::default(), told: BTreeSet::new() }
    }
}

/// The event, with the time at which it happened on our clock if that is some time ago.
fn dated(mut draft: Draft, happened: Option<i64>, moment: Moment) -> Draft {
    let late = i64::try_from(GITHUB_LATE.as_nanos()).unwrap_or(i64::MAX);
    if let Some(happened) = happened
        && moment.wall.saturating_sub(happened) > late
    {
        draft.fields.insert(HAPPENED_AT.to_owned(), happened.into());
    }
    draft
}

/// The event that says that some runs are not told.
fn missed(owner: &str, repo: &str, newest: i64, lowest: i64) -> Draft {
    let name = format!("{owner}/{repo}");
    let fields = json!({"after_run": newest, "before_run": lowest});
    Draft {
        source: SOURCE.to_owned(),
        event_type: "runs_missed".to_owned(),
        delivery_id: Some(format!("runs_missed {name} {newest} {lowest}")),
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
