//! The branches on which a commit is, or was, the newest: whether a newer push has taken its place.
//!
//! It is superseded when it was the tip of a branch and is the tip of none any more. A branch that was deleted is not
//! counted: nothing has taken the commit's place there.

use std::collections::BTreeMap;

use super::told::{Repository, text};
use crate::model::event::Event;
use crate::model::sha::Sha;

/// A branch that the commit was the tip of.
#[derive(Debug, Default)]
struct Tip {
    /// Its own push has been seen, so whatever is pushed to this branch is pushed after it …
    pushed: bool,
    /// … except what led to this one, if that is told late.
    before: Option<String>,
    /// The commit that has taken its place.
    moved_to: Option<String>,
}

/// Every branch that the commit was the tip of, as far as is known.
#[derive(Debug, Default)]
pub(super) struct Branches(BTreeMap<(Repository, String), Tip>);

impl Branches {
    /// Takes note of what an event says. Tells whether something changed.
    pub(super) fn hear(&mut self, event: &Event, sha: &Sha) -> bool {
        let word = |name| text(&event.fields, name);
        let Some(branch) = word("head_branch") else { return false };
        let head_repository = || word("head_repo").map(Repository::named);
        let is = |commit: Option<&str>| commit.is_some_and(|commit| sha.names(commit));
        match event.event_type.as_str() {
            "push" => {
                let deleted = event.fields.get("deleted").and_then(serde_json::Value::as_bool) == Some(true);
                let after = word("head_sha").filter(|_| !deleted);
                self.push((Repository::of(event), branch.to_owned()), word("before"), after, is)
            }
            "pull_request" if is(word("before")) && !is(word("head_sha")) => {
                let place = head_repository().unwrap_or_else(|| Repository::of(event));
                self.push((place, branch.to_owned()), word("before"), word("head_sha"), is)
            }
            // A fork may have a branch of the same name: only where the repository is told is the branch known.
            "workflow_run" | "pull_request" if is(word("head_sha")) => {
                let pushed_here = || (word("trigger") == Some("push")).then(|| Repository::of(event));
                let Some(place) = head_repository().or_else(pushed_here) else { return false };
                self.0.entry((place, branch.to_owned())).or_default();
                false
            }
            _ => false,
        }
    }

    fn push(
        &mut self,
        place: (Repository, String),
        before: Option<&str>,
        after: Option<&str>,
        is: impl Fn(Option<&str>) -> bool,
    ) -> bool {
        if is(after) {
            let tip = self.0.entry(place).or_default();
            *tip = Tip { pushed: true, before: before.map(str::to_owned), moved_to: None };
            return true;
        }
        let known = self.0.get(&place);
        let later = known.is_some_and(|tip| tip.pushed && after != tip.before.as_deref());
        if !is(before) && !later {
            return false;
        }
        match after {
            Some(after) => {
                let tip = self.0.entry(place).or_default();
                let news = tip.moved_to.is_none();
                tip.moved_to.get_or_insert_with(|| after.to_owned());
                news
            }
            None => self.0.remove(&place).is_some(),
        }
    }

    /// The commit that has taken its place, if one has.
    pub(super) fn superseded_by(&self) -> Option<&str> {
        let mut newer = self.0.values().map(|tip| tip.moved_to.as_deref());
        let first = newer.next()??;
        newer.all(|moved| moved.is_some()).then_some(first)
    }
}
