//! How far the poller has come in each repository: what was told, and with what words GitHub said it. It is committed with
//! the events, so whoever starts again tells neither twice nor nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::http::Validators;
use crate::ingest::github::api::Reached;
use crate::model::event::Draft;
use crate::model::limits::{GITHUB_COMMITS, GITHUB_FOLLOWED_RUNS, MAX_REPOSITORIES};

/// A commit that runs are about, with what is the same in everything that is said of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Commit {
    pub(super) sha: String,
    pub(super) owner: String,
    pub(super) repo: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) branch: Option<String>,
}

impl Commit {
    /// The commit of a run.
    pub(super) fn of(run: &Draft) -> Option<Commit> {
        let text = |key| run.fields.get(key).and_then(Value::as_str).map(str::to_owned);
        let sha = text("head_sha")?;
        // It becomes a part of a path.
        let is_sha = sha.len() <= 64 && sha.bytes().all(|byte| byte.is_ascii_hexdigit());
        let Draft { owner, repo, .. } = run.clone();
        is_sha.then(|| Commit { sha, owner, repo, branch: text("head_branch") })
    }
}

/// One repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// The words of the first page of runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    modified: Option<String>,
    /// The newest run that was told, and the oldest one on the first page.
    #[serde(default)]
    pub(super) newest: i64,
    #[serde(default)]
    pub(super) oldest: i64,
    /// When it was asked, in nanoseconds since the epoch: what has changed since changed after that.
    #[serde(default)]
    pub(super) asked: i64,
    /// The runs of the first page, and those that go on or are owed.
    #[serde(default)]
    pub(super) runs: BTreeMap<i64, Reached>,
    /// Runs that have ended, and whose jobs have not been told.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) owed: BTreeSet<i64>,
    /// The commits of the newest runs, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) commits: Vec<Commit>,
}

impl Place {
    pub(super) fn validators(&self) -> Validators {
        Validators { etag: self.etag.clone(), modified: self.modified.clone() }
    }

    pub(super) fn set_validators(&mut self, Validators { etag, modified }: Validators) {
        (self.etag, self.modified) = (etag, modified);
    }

    /// Forgets runs that are neither of these, nor go on, nor are owed: of the latter two the newest are kept.
    pub(super) fn keep(&mut self, listed: &BTreeSet<i64>) {
        let followed: BTreeSet<i64> = self.open().chain(self.owed.iter().copied()).collect();
        let followed: BTreeSet<i64> = followed.into_iter().rev().take(GITHUB_FOLLOWED_RUNS).collect();
        self.runs.retain(|id, _| listed.contains(id) || followed.contains(id));
        self.owed.retain(|id| followed.contains(id));
    }

    /// Takes note of the commits of runs, the newest first.
    pub(super) fn learn_commits<'a>(&mut self, runs: impl Iterator<Item = &'a Draft>) {
        let known = std::mem::take(&mut self.commits);
        for commit in runs.filter_map(Commit::of).chain(known) {
            if self.commits.len() < GITHUB_COMMITS && self.commits.iter().all(|other| other.sha != commit.sha) {
                self.commits.push(commit);
            }
        }
    }

    /// The runs that go on, the newest first.
    pub(super) fn open(&self) -> impl Iterator<Item = i64> {
        self.runs.iter().rev().filter(|(_, reached)| reached.is_open()).map(|(id, _)| *id)
    }
}

/// All repositories, by their names in small letters.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Places {
    repositories: BTreeMap<String, Place>,
}

impl Places {
    /// What was committed last; nothing if that cannot be read.
    pub(super) fn read(position: Option<&str>) -> Places {
        position.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Place> {
        self.repositories.remove(&name.to_ascii_lowercase())
    }

    /// The position with these repositories, and with those that are not watched now, as long as there is room.
    pub(super) fn with<'a>(&self, watched: impl Iterator<Item = (String, &'a Place)>) -> String {
        let mut repositories: BTreeMap<String, &Place> =
            watched.map(|(name, place)| (name.to_ascii_lowercase(), place)).collect();
        let mut others: Vec<_> = self.repositories.iter().collect();
        others.sort_by_key(|(_, place)| std::cmp::Reverse(place.asked));
        for (name, place) in others.into_iter().take(MAX_REPOSITORIES.saturating_sub(repositories.len())) {
            repositories.entry(name.clone()).or_insert(place);
        }
        serde_json::json!({"repositories": repositories}).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::github::api::Stage;

    #[test]
    fn a_position_is_read_as_it_was_written_and_keeps_what_is_not_watched_now() {
        let mut place = Place { newest: 3, oldest: 1, asked: 7, owed: [2].into(), ..Place::default() };
        place.runs.insert(2, Reached { attempt: 1, stage: Stage::Completed, conclusion: Some("failure".into()) });
        place.runs.insert(3, Reached { attempt: 2, stage: Stage::InProgress, conclusion: None });
        place.set_validators(Validators { etag: Some("\"a\"".into()), modified: None });
        assert_eq!(place.open().collect::<Vec<_>>(), [3]);
        let first = Places::default().with([("Octo/Hello".to_owned(), &place)].into_iter());
        let mut read = Places::read(Some(&first));
        let second = read.with([("octo/other".to_owned(), &Place::default())].into_iter());
        assert_eq!(read.take("OCTO/hello"), Some(place.clone()));
        let mut read = Places::read(Some(&second));
        assert_eq!((read.take("octo/hello"), read.take("octo/other")), (Some(place), Some(Place::default())));
        for bad in [None, Some(""), Some("[]"), Some("{\"repositories\":1}")] {
            assert_eq!(Places::read(bad).take("octo/hello"), None);
        }
    }

    #[test]
    fn a_position_is_bounded() {
        let many: Vec<_> = (0..200).map(|n| (format!("o/{n}"), Place { asked: n, ..Place::default() })).collect();
        let all = Places { repositories: many.into_iter().collect() };
        let kept = Places::read(Some(&all.with([("o/x".to_owned(), &Place::default())].into_iter())));
        assert_eq!(kept.repositories.len(), MAX_REPOSITORIES);
        assert!(kept.repositories.contains_key("o/x") && kept.repositories.contains_key("o/199"));
        assert!(!kept.repositories.contains_key("o/0"), "who was not asked for longest");
    }
}
