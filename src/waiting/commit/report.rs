//! What there is to say of a commit: the answer, for a person and for a program, and what is still missing.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::told::{Key, Repository};
use super::units::Unit;
use super::{Commit, Ending, SUPERSEDED, Seen, Standing};
use crate::model::filter::RepoFilter;
use crate::model::limits::NAMED_RUNS;
use crate::model::text::one_line;
use crate::model::verdict::Verdict;
use crate::waiting::Shown;

impl Commit {
    /// What is known by now: the report as an answer has it, with a verdict only if it is one, and the jobs and runs
    /// that have failed by name.
    #[must_use]
    pub fn so_far(&self) -> Map<String, Value> {
        let verdict = match self.seen.standing(i64::MIN) {
            Standing::Answered(verdict) => Some(verdict),
            Standing::Open(_) => None,
        };
        let failed = self.seen.units.judged().filter_map(|(_, _, unit)| unit.failure());
        let failing: BTreeSet<_> = failed.flat_map(|failure| self.seen.culprits(&failure)).collect();
        let mut report = self.seen.json(verdict.as_ref());
        report.insert("failing".into(), failing.into_iter().collect());
        report
    }
}

impl Seen {
    pub(super) fn ending(&self, verdict: Verdict) -> Ending {
        let shown = Shown { line: self.line(&verdict), json: self.json(Some(&verdict)) };
        Ending { verdict, shown: vec![shown] }
    }

    /// What is still missing, by its name.
    pub(super) fn outstanding(&self) -> Vec<String> {
        let open = self.units.judged().filter(|(_, _, unit)| unit.verdict().is_none());
        let mut missing: Vec<_> =
            open.map(|(_, key, unit)| one_line(&format!("{}: {}", title(key, unit), unit.word()))).collect();
        if missing.is_empty() && self.units.judged().next().is_none() {
            let place = if self.asked.repos.is_empty() { String::new() } else { format!(" in {}", self.asked_for()) };
            missing.push(format!("a first run of {}{place}", self.asked.sha));
        } else if missing.is_empty() {
            missing.push(format!("{} s without news of {}", self.asked.settle.as_secs_f64(), self.asked.sha));
        }
        missing
    }

    /// The commit in full, as far as it is known.
    fn commit(&self) -> &str {
        self.commits.first().map_or(self.asked.sha.as_str(), String::as_str)
    }

    fn asked_for(&self) -> String {
        self.asked.repos.iter().map(RepoFilter::to_string).collect::<Vec<_>>().join(", ")
    }

    fn repositories(&self) -> BTreeSet<&Repository> {
        self.units.judged().map(|(repository, _, _)| repository).collect()
    }

    fn line(&self, verdict: &Verdict) -> String {
        let names: Vec<_> = self.repositories().into_iter().map(Repository::name).collect();
        let place = if names.is_empty() { self.asked_for() } else { names.join(", ") };
        let place = if place.is_empty() { place } else { format!("{place} ") };
        let why = match verdict.word() {
            super::AMBIGUOUS => self.commits.iter().cloned().collect(),
            SUPERSEDED => self.branches.superseded_by().map(|by| format!("by {}", short(by))).into_iter().collect(),
            _ => self.culprits(verdict),
        };
        let more = if why.len() > NAMED_RUNS { format!(" and {} more", why.len() - NAMED_RUNS) } else { String::new() };
        let why = why[..why.len().min(NAMED_RUNS)].join(", ");
        let why = if why.is_empty() { why } else { format!(": {why}{more}") };
        one_line(&format!("{place}{}: {}{why}", short(self.commit()), verdict.word()))
    }

    /// Those that have the verdict, with the jobs that have it.
    fn culprits(&self, verdict: &Verdict) -> Vec<String> {
        let concerned = self
            .units
            .judged()
            .filter(|(_, _, unit)| unit.verdict().or_else(|| unit.failure()).as_ref() == Some(verdict));
        let named = concerned.flat_map(|(_, key, unit)| {
            let jobs =
                unit.jobs().filter(|(_, job)| job.state.verdict() == Some(verdict) && *verdict != Verdict::Success);
            let jobs: Vec<_> = jobs.map(|(name, _)| format!("{} / {name}{}", unit.name, which(key, unit))).collect();
            if jobs.is_empty() { vec![title(key, unit)] } else { jobs }
        });
        named.collect()
    }

    fn json(&self, verdict: Option<&Verdict>) -> Map<String, Value> {
        let repositories = self.repositories();
        let repo = match (repositories.len(), repositories.first(), self.asked.repos.as_slice()) {
            (1, Some(repository), _) => json!(repository.name()),
            (0, _, [asked @ RepoFilter::Repo(..)]) => json!(asked.to_string()),
            _ => Value::Null,
        };
        let runs = self.units.judged().map(|(repository, key, unit)| run(repository, key, unit));
        let mut report = Map::new();
        report.insert("sha".into(), self.commit().into());
        report.insert("repo".into(), repo);
        report.insert("verdict".into(), verdict.map(Verdict::word).into());
        report.insert("runs".into(), runs.collect());
        if verdict.is_some_and(|verdict| verdict.word() == SUPERSEDED) {
            report.insert("superseded_by".into(), self.branches.superseded_by().into());
        }
        report
    }
}

fn run(repository: &Repository, key: &Key, unit: &Unit) -> Value {
    let kind = match key {
        Key::Run(_) => "workflow_run",
        Key::Check(..) => "check_run",
        Key::Suite(_) => "check_suite",
        Key::Status(_) => "status",
    };
    let (status, conclusion) = match unit.verdict() {
        Some(verdict) => ("completed".to_owned(), json!(verdict.word())),
        None => (unit.word(), Value::Null),
    };
    let jobs: Vec<_> =
        unit.jobs().map(|(name, job)| json!({"name": name, "state": job.state.word(), "url": job.url})).collect();
    let mut run = json!({
        "kind": kind, "repo": repository.name(), "name": unit.name, "status": status, "conclusion": conclusion,
        "url": unit.url,
    });
    if let Key::Run(id) = key {
        run["run_id"] = json!(id);
        run["run_number"] = json!(unit.number);
        run["attempt"] = json!(unit.generation);
        run["jobs"] = json!(jobs);
    }
    run
}

/// `ci (run 163, attempt 2)`.
fn title(key: &Key, unit: &Unit) -> String {
    format!("{}{}", unit.name, which(key, unit))
}

fn which(key: &Key, unit: &Unit) -> String {
    let attempt = matches!(key, Key::Run(_)).then_some(unit.generation).filter(|attempt| *attempt > 1);
    match (unit.number, attempt) {
        (Some(number), Some(attempt)) => format!(" (run {number}, attempt {attempt})"),
        (Some(number), None) => format!(" (run {number})"),
        (None, Some(attempt)) => format!(" (attempt {attempt})"),
        (None, None) => String::new(),
    }
}

fn short(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}
