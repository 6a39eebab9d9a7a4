//! One repository: what is to be asked of it next, and what an answer means. No I/O, and the clock is an argument.
//!
//! A look at a repository is a round of questions: the first page of its runs, further pages until one that is known,
//! runs that have left the first page while they go on, then the jobs of the runs that go on or have just ended, and the
//! checks and statuses of their commits. The runs are told when all of them are known, so a round that is broken off is
//! begun anew and loses nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::http::{Base, Reply, Request, Validators};
use super::place::{Commit, Place};
use super::round::{List, Moment, Part, Purpose, Round, Step, Told, Topic, dated, missed};
use crate::ingest::github::api::{self, BadAnswer, Reached, Run};
use crate::model::event::Draft;
use crate::model::limits::{
    GITHUB_FOLLOWED_RUNS, GITHUB_ITEMS_PER_PAGE, GITHUB_LIST_PAGES, GITHUB_REDIRECTS, GITHUB_RUN_PAGES,
    GITHUB_RUNS_PER_PAGE, GITHUB_RUNS_WITH_JOBS,
};

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
    lists: BTreeMap<Topic, List>,
    /// GitHub does not show checks and statuses.
    without_checks: bool,
}

impl Watch {
    pub(super) fn new(owner: &str, repo: &str, place: Option<Place>) -> Watch {
        Watch {
            owner: owner.to_owned(),
            repo: repo.to_owned(),
            place,
            root: format!("/repos/{owner}/{repo}"),
            round: None,
            lists: BTreeMap::new(),
            without_checks: false,
        }
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
            || self.lists.values().any(|list| list.is_open)
    }

    /// Begins a look.
    pub(super) fn begin(&mut self, purpose: Purpose) {
        let steps = VecDeque::from([Step::Runs { next: None, page: 1 }]);
        self.round = Some(Round { purpose, steps, ..Round::default() });
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
        let root = &self.root;
        let (path, known) = match round.steps.front()? {
            Step::Runs { next: Some(path), .. } | Step::Beside { next: Some(path), .. } => {
                (path.clone(), Validators::default())
            }
            Step::Runs { next: None, .. } => {
                let known = self.place.as_ref().map(Place::validators).unwrap_or_default();
                (format!("{root}/actions/runs?per_page={GITHUB_RUNS_PER_PAGE}"), known)
            }
            Step::Run(id) => (format!("{root}/actions/runs/{id}"), Validators::default()),
            Step::Beside { topic, next: None, .. } => {
                let known = self.lists.get(topic).map(|list| list.known.clone()).unwrap_or_default();
                (format!("{root}/{}?per_page={GITHUB_ITEMS_PER_PAGE}", self.path_of(topic)), known)
            }
        };
        Some(Request { path: round.redirected.clone().unwrap_or(path), known })
    }

    fn path_of(&self, topic: &Topic) -> String {
        match topic {
            Topic::Jobs(run) => {
                let attempt = self.place.as_ref().and_then(|place| place.runs.get(run)).map_or(1, |run| run.attempt);
                format!("actions/runs/{run}/attempts/{attempt}/jobs")
            }
            Topic::Checks(sha) => format!("commits/{sha}/check-runs"),
            Topic::Statuses(sha) => format!("commits/{sha}/statuses"),
        }
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

    /// Whether a refusal is about one run or list, and says nothing of the repository.
    pub(super) fn may_lack_it(&self, status: u16) -> bool {
        match self.round.as_ref().and_then(|round| round.steps.front()) {
            Some(Step::Run(_) | Step::Beside { topic: Topic::Jobs(_), .. }) => status == 404,
            Some(Step::Beside { .. }) => matches!(status, 403 | 404 | 422),
            Some(Step::Runs { .. }) | None => false,
        }
    }

    /// GitHub does not show the checks and statuses. Tells whether that is new.
    pub(super) fn lacks_checks(&mut self) -> bool {
        let is_checks = matches!(
            self.round.as_ref().and_then(|round| round.steps.front()),
            Some(Step::Beside { topic: Topic::Checks(_) | Topic::Statuses(_), .. })
        );
        is_checks && !std::mem::replace(&mut self.without_checks, true)
    }

    /// What GitHub has answered: an answer, that nothing has changed, or that there is no such thing.
    pub(super) fn answered(&mut self, reply: &Reply, base: &Base, moment: Moment) -> Result<Told, BadAnswer> {
        let Some(round) = &mut self.round else { return Ok(Told::default()) };
        (round.redirected, round.redirects) = (None, 0);
        let Some(step) = round.steps.pop_front() else { return Ok(Told::default()) };
        let next = reply.next.as_deref().and_then(|next| base.path(next));
        let mut drafts = Vec::new();
        match step {
            Step::Beside { topic, page, .. } => drafts = self.page_beside(reply, topic, next, page, moment)?,
            Step::Run(id) if reply.status == 404 => self.forget(id),
            Step::Run(_) => {
                let run = api::single_run(&reply.body)?;
                round.found.insert(run.id, run);
            }
            Step::Runs { .. } if reply.status == 304 => {}
            Step::Runs { page, .. } => self.page_of_runs(reply, next, page)?,
        }
        let mut told = self.advance(moment);
        told.moved |= !drafts.is_empty();
        told.drafts.splice(0..0, drafts);
        Ok(told)
    }

    /// Begins the next part where one is over.
    fn advance(&mut self, moment: Moment) -> Told {
        let mut told = Told::default();
        while let Some(part) = self.round.as_ref().filter(|round| round.steps.is_empty()).map(|round| round.part) {
            let (next, steps) = match part {
                Part::List => (Part::Alone, self.alone()),
                Part::Alone => {
                    told = self.tell_runs(moment);
                    (Part::Beside, self.beside())
                }
                Part::Beside => {
                    told.moved |= self.round.take().is_some_and(|round| round.moved);
                    break;
                }
            };
            if let Some(round) = &mut self.round {
                (round.part, round.steps) = (next, steps);
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
    fn alone(&self) -> VecDeque<Step> {
        let (Some(place), Some(round)) = (&self.place, &self.round) else { return VecDeque::new() };
        let oldest = round.first.as_ref().map_or(place.oldest, |(_, ids)| ids.first().copied().unwrap_or(0));
        let is_alone =
            |id: &i64| (*id < oldest || !self.lists.contains_key(&Topic::Jobs(*id))) && !round.found.contains_key(id);
        let followed: BTreeSet<i64> = place.open().chain(place.owed.iter().copied()).collect();
        followed.into_iter().rev().filter(is_alone).take(GITHUB_FOLLOWED_RUNS).map(Step::Run).collect()
    }

    fn forget(&mut self, id: i64) {
        if let (Some(place), Some(round)) = (&mut self.place, &mut self.round) {
            place.runs.remove(&id);
            place.owed.remove(&id);
            round.moved = true;
        }
    }

    fn tell_runs(&mut self, moment: Moment) -> Told {
        let Some(round) = &mut self.round else { return Told::default() };
        let is_first_look = self.place.is_none();
        let place = self.place.get_or_insert_default();
        let newest = place.newest;
        let mut found: Vec<Run> = std::mem::take(&mut round.found).into_values().collect();
        let lowest = found.iter().map(|run| run.id).min().unwrap_or(newest);
        place.learn_commits(found.iter().rev().map(|run| &run.draft));
        found.sort_by_key(|run| (run.changed, run.id));
        let mut drafts = Vec::new();
        if round.missed {
            drafts.push(missed(&self.owner, &self.repo, newest, lowest));
        }
        for Run { id, reached, changed, is_unsaid, draft } in found {
            place.newest = place.newest.max(id);
            let (known, is_open) = (place.runs.get(&id), reached.is_open());
            let is_news = match known {
                Some(known) => reached.is_news_after(known),
                None => is_first_look || id > newest || is_open,
            };
            if is_open || is_news || place.owed.contains(&id) {
                let jobs = self.lists.entry(Topic::Jobs(id)).or_insert_with(|| List::of(&draft));
                jobs.of.fields.clone_from(&draft.fields);
            }
            if is_unsaid {
                // It goes on, as far as anybody can be told, so its end is news.
                if known.is_none_or(|known| reached.attempt > known.attempt) {
                    place.runs.insert(id, reached);
                }
                continue;
            }
            if !is_news {
                continue;
            }
            round.told.extend(Commit::of(&draft).map(|commit| commit.sha));
            // Of what has passed while nobody looked, the jobs are of interest where something has failed.
            if !is_open && (known.is_some() || (!is_first_look && !reached.is_success())) {
                place.owed.insert(id);
                self.lists.entry(Topic::Jobs(id)).and_modify(|jobs| jobs.tries = 0);
            }
            // What was known to be otherwise when it was last asked for has changed since.
            let since = known.map_or(i64::MIN, |_| place.asked);
            drafts.push(dated(draft, changed.map(|time| moment.ours(time).max(since)), moment));
            place.runs.insert(id, reached);
        }
        let moved = !drafts.is_empty() || round.first.is_some() || std::mem::take(&mut round.moved);
        place.asked = moment.wall;
        if let Some((validators, ids)) = round.first.take() {
            place.oldest = ids.first().copied().unwrap_or(0);
            place.set_validators(validators);
            place.keep(&ids);
        }
        let goes_on = |id: &i64| place.owed.contains(id) || place.runs.get(id).is_some_and(Reached::is_open);
        self.lists.retain(|topic, _| match topic {
            Topic::Jobs(id) => goes_on(id),
            Topic::Checks(sha) | Topic::Statuses(sha) => place.commits.iter().any(|commit| commit.sha == *sha),
        });
        Told { drafts, moved }
    }

    /// The jobs of the newest runs that go on or are owed, and the checks and statuses of the commits where something goes
    /// on or has just happened.
    fn beside(&mut self) -> VecDeque<Step> {
        let (Some(place), Some(round)) = (&self.place, &self.round) else { return VecDeque::new() };
        let jobs = self
            .lists
            .iter()
            .rev()
            .filter_map(|(topic, list)| Some((topic, list)).filter(|_| matches!(topic, Topic::Jobs(_))));
        let mut busy: BTreeSet<String> = jobs.clone().filter_map(|(_, list)| Some(Commit::of(&list.of)?.sha)).collect();
        busy.extend(round.told.iter().cloned());
        let wants_jobs = |_: &Topic| round.purpose.jobs;
        let mut topics: Vec<Topic> =
            jobs.map(|(topic, _)| topic.clone()).filter(wants_jobs).take(GITHUB_RUNS_WITH_JOBS).collect();
        let mut about = Vec::new();
        for commit in place.commits.iter().filter(|_| round.purpose.checks && !self.without_checks) {
            let both = [Topic::Checks(commit.sha.clone()), Topic::Statuses(commit.sha.clone())];
            let is_open = both.iter().any(|topic| self.lists.get(topic).is_some_and(|list| list.is_open));
            if round.purpose.commits || is_open || busy.contains(&commit.sha) {
                about.extend(both.map(|topic| (topic, commit.draft())));
            }
        }
        for (topic, of) in about {
            self.lists.entry(topic.clone()).or_insert_with(|| List::of(&of));
            topics.push(topic);
        }
        topics.into_iter().map(Step::first).collect()
    }

    fn page_beside(
        &mut self,
        reply: &Reply,
        topic: Topic,
        next: Option<String>,
        page: usize,
        moment: Moment,
    ) -> Result<Vec<Draft>, BadAnswer> {
        let mut drafts = Vec::new();
        let Some(round) = &mut self.round else { return Ok(drafts) };
        if let Some(list) = self.lists.get_mut(&topic)
            && reply.status == 200
        {
            drafts = list.hear(&topic, &reply.body, page == 1, moment)?;
            // Further statuses are older ones.
            let next = next.filter(|_| page < GITHUB_LIST_PAGES && !matches!(topic, Topic::Statuses(_)));
            // The words of the first page say nothing about the others.
            list.known = if page == 1 && next.is_none() { reply.validators.clone() } else { Validators::default() };
            if next.is_some() {
                round.steps.push_front(Step::Beside { topic, next, page: page + 1 });
                return Ok(drafts);
            }
        }
        if let (Topic::Jobs(run), Some(place)) = (&topic, &mut self.place)
            && place.owed.contains(run)
            && !self.lists.get_mut(&topic).is_some_and(|list| list.lags(reply.status))
        {
            round.moved |= place.owed.remove(run);
        }
        if self.without_checks {
            round
                .steps
                .retain(|step| !matches!(step, Step::Beside { topic: Topic::Checks(_) | Topic::Statuses(_), .. }));
        }
        Ok(drafts)
    }
}

impl Commit {
    /// What the items of its lists have in common with it.
    fn draft(&self) -> Draft {
        let fields = [("head_sha", Some(&self.sha)), ("head_branch", self.branch.as_ref())];
        let fields = fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?.clone().into())));
        Draft { owner: self.owner.clone(), repo: self.repo.clone(), fields: fields.collect(), ..Draft::default() }
    }
}
