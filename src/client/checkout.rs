//! What git says of a working directory: the repositories that it comes from, the branch, the commit.
//!
//! git itself is asked, because only it knows its configuration, and only what it answers from its files: nothing is
//! fetched, refreshed or locked, no hook and no monitor is run, and an answer that is long in coming, or long, is none.
//! Where there is no git, no repository or nothing to say, there is nothing to be said; that is no error.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use super::forge::Forge;
use crate::model::limits::{GIT_OUTPUT_BYTES, GIT_TIMEOUT};
use crate::model::sha::Sha;
use crate::sys::answer::answer;

/// A working directory that git knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkout {
    /// Where it comes from: the remote that the branch follows, else `origin`, else the only one there is.
    pub origin: Option<Forge>,
    /// Every repository that it exchanges commits with, that one first.
    pub remotes: Vec<Forge>,
    /// The branch, unless the head is detached.
    pub branch: Option<String>,
    /// The commit, in full, unless there is none yet.
    pub commit: Option<Sha>,
}

impl Checkout {
    /// Asks git about a directory.
    #[must_use]
    pub fn of(directory: &Path) -> Option<Checkout> {
        let git = Git::in_directory(directory);
        git.ask(["rev-parse", "--git-dir"])?;
        let branch = git.ask(["symbolic-ref", "--quiet", "--short", "HEAD"]);
        let followed = branch.as_ref().and_then(|branch| {
            git.ask(["for-each-ref", "--format=%(upstream:remotename)", &format!("refs/heads/{branch}")])
        });
        let remotes = remotes(&git.ask(["remote", "-v"]).unwrap_or_default());
        let named = |name: &str| remotes.iter().find(|(remote, _)| remote == name).map(|(_, forge)| forge);
        let only = || remotes.first().filter(|(first, _)| remotes.iter().all(|(name, _)| name == first));
        let origin = followed.as_deref().and_then(named).or_else(|| named("origin"));
        let origin = origin.or_else(|| only().map(|(_, forge)| forge)).cloned();
        let mut all: Vec<Forge> = origin.iter().cloned().collect();
        for (_, forge) in remotes {
            if !all.contains(&forge) {
                all.push(forge);
            }
        }
        Some(Checkout { origin, remotes: all, branch, commit: git.commit("HEAD") })
    }

    /// The commit that git knows by a name, such as `HEAD`, a branch, or the beginning of its own name.
    #[must_use]
    pub fn resolve(directory: &Path, name: &str) -> Option<Sha> {
        Git::in_directory(directory).commit(name)
    }
}

/// Names and addresses, of which only those are of use that lead to a forge.
fn remotes(listed: &str) -> Vec<(String, Forge)> {
    let remote = |line: &str| {
        let (name, rest) = line.split_once('\t')?;
        let (address, _direction) = rest.rsplit_once(' ')?;
        Some((name.to_owned(), Forge::at(address)?))
    };
    listed.lines().filter_map(remote).collect()
}

/// git, asked in one directory, and no longer than it may take.
struct Git<'a> {
    directory: &'a Path,
    until: Instant,
}

impl<'a> Git<'a> {
    fn in_directory(directory: &'a Path) -> Git<'a> {
        Git { directory, until: Instant::now() + GIT_TIMEOUT }
    }

    fn commit(&self, name: &str) -> Option<Sha> {
        let commit = format!("{name}^{{commit}}");
        self.ask(["rev-parse", "--verify", "--quiet", "--end-of-options", &commit])?.parse().ok()
    }

    /// What it answers, without the end of the line; `None` for an error and for nothing.
    fn ask<const N: usize>(&self, arguments: [&str; N]) -> Option<String> {
        let left = self.until.saturating_duration_since(Instant::now());
        let answer = answer(self.command(arguments), left, GIT_OUTPUT_BYTES)?;
        let text = String::from_utf8(answer).ok()?;
        Some(text.trim_end().to_owned()).filter(|text| !text.is_empty())
    }

    fn command<const N: usize>(&self, arguments: [&str; N]) -> Command {
        let mut command = Command::new("git");
        command
            .args(["--no-pager", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"])
            .args(arguments.map(OsStr::new))
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("LC_ALL", "C")
            .current_dir(self.directory);
        command
    }
}
