//! Files and directories that change.
//!
//! [`watcher`] knows what was told and what has to be looked at again; [`scan`] and [`settle`] look, [`debounce`] says
//! when, [`rules`] what not to look at, [`closed`] what cannot be looked at. They share [`tree`], and ask the disk through
//! [`disk`]. [`eyes`] drives them on a thread of its own; what it says is handed to the outlet here.

mod closed;
mod debounce;
mod disk;
mod eyes;
mod rules;
mod scan;
mod settle;
#[cfg(test)]
mod tests;
mod tree;
mod watcher;

use std::path::{Component, Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use ignore::gitignore::GitignoreBuilder;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::sleep;

use self::disk::since_epoch;
use self::eyes::{Eyes, Word};
use self::rules::Ignoring;
use self::tree::Roots;
use self::watcher::Config;
use super::{Broken, Outlet};
use crate::config::section::Section;
use crate::config::settings::BadSettings;
use crate::model::limits::{FS_AT_MOST, FS_LOOK_AGAIN, FS_QUIET, MAX_FS_PATHS};
use crate::sys::watch::{self, DirectoryWatch};

/// What it was told.
#[derive(Clone, Debug)]
pub struct Setup {
    paths: Vec<PathBuf>,
    ignore: Vec<String>,
    with_ignored: bool,
    quiet: Duration,
    at_most: Duration,
    /// When it was by the clock of files: what changes from then on is news.
    began: SystemTime,
    /// When it was by the usual clock, which is never behind that of files: what changed until then may have been
    /// missed.
    missed_until: SystemTime,
}

/// Paths that cannot be watched, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadPaths(String);

impl Setup {
    /// What the configuration says. Without `paths` there is nothing to watch until [`Setup::of_paths`] says it, and
    /// [`Setup::check`] says so.
    pub fn of(section: &Section) -> Result<Setup, BadSettings> {
        section.only(&["paths", "ignore", "ignored", "quiet", "at_most"])?;
        let setup = Setup {
            paths: Vec::new(),
            ignore: section.texts("ignore")?.into_iter().map(str::to_owned).collect(),
            with_ignored: section.flag("ignored")?.unwrap_or(false),
            quiet: section.duration("quiet")?.unwrap_or(FS_QUIET),
            at_most: section.duration("at_most")?.unwrap_or(FS_AT_MOST),
            began: watch::time_of_files(),
            missed_until: SystemTime::now(),
        };
        if setup.at_most < setup.quiet {
            return Err(section.bad("at_most", "it may not be less than quiet"));
        }
        ignoring(&setup.ignore, false).map_err(|problem| section.bad("ignore", problem))?;
        let paths: Vec<PathBuf> = section.texts("paths")?.into_iter().map(PathBuf::from).collect();
        if paths.is_empty() {
            return Ok(setup);
        }
        setup.of_paths(&paths).map_err(|problem| section.bad("paths", problem))
    }

    /// The same for these paths, which have to be absolute.
    pub fn of_paths(mut self, paths: &[PathBuf]) -> Result<Setup, BadPaths> {
        if paths.len() > MAX_FS_PATHS {
            return Err(BadPaths(format!("{} paths, but at most {MAX_FS_PATHS} are watched", paths.len())));
        }
        for path in paths {
            let is_plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
            if !(path.is_absolute() && path.components().all(is_plain)) {
                return Err(BadPaths(format!("{} is not an absolute path without `..`", path.display())));
            }
        }
        // Without what a path can be written with besides, such as a slash at its end.
        self.paths = paths.iter().map(|path| path.components().collect()).collect();
        Ok(self)
    }

    /// Whether there is something to watch.
    pub fn check(&self) -> Result<(), BadPaths> {
        if !self.paths.is_empty() {
            return Ok(());
        }
        let how =
            "name paths: `waitbus source fs PATH…`, or paths = [\"/home/you/project\"] in [source.fs] of waitbus.toml";
        Err(BadPaths(format!("there is nothing to watch; {how}")))
    }

    /// The same, whatever trees say is to be ignored.
    #[must_use]
    pub fn with_ignored(mut self) -> Setup {
        self.with_ignored = true;
        self
    }
}

/// Works until it is cancelled or cannot go on.
pub async fn run(setup: Setup, outlet: Outlet) -> Broken {
    let began = since_epoch(setup.began);
    let Ok(ignoring) = ignoring(&setup.ignore, !setup.with_ignored) else {
        return Broken("its patterns to ignore make no sense".to_owned());
    };
    let seen_until = setup.paths.iter().map(|path| seen_until(outlet.position(), path).unwrap_or(began)).collect();
    let own = [&*outlet.directories().state, &*outlet.directories().runtime];
    let config = Config {
        roots: Roots(setup.paths),
        ignoring,
        excluded: own.iter().map(|path| path.to_path_buf()).collect(),
        excluded_inodes: own.iter().filter_map(|path| disk::inode(path)).collect(),
        quiet: setup.quiet,
        at_most: setup.at_most,
        started: since_epoch(setup.missed_until),
    };
    let watch = loop {
        match DirectoryWatch::new() {
            Ok(watch) => break watch,
            Err(problem) => {
                outlet.silent(format!("the kernel gives no file notification: {problem} (fs.inotify.max_user_instances bounds them for each user)"));
                sleep(FS_LOOK_AGAIN).await;
            }
        }
    };
    // Dropping `_told` tells the thread to stop.
    let (stop, _told) = match watch::stop() {
        Ok(ends) => ends,
        Err(problem) => return Broken(format!("no pipe could be opened: {problem}")),
    };
    let (words, mut said) = mpsc::channel(1);
    let eyes = Eyes { watch, config, seen_until, words, stop };
    let watching = thread::spawn(move || eyes.watch());
    while let Some(word) = said.recv().await {
        match word {
            Word::Changes(drafts, position) => drop(outlet.publish(drafts, position).await),
            Word::Health(Some(reason)) => outlet.silent(reason),
            Word::Health(None) => outlet.seeing(),
        }
    }
    match watching.join() {
        Ok(Ok(())) => Broken("it has stopped watching".to_owned()),
        Ok(Err(problem)) => Broken(format!("the file notification failed: {problem}")),
        Err(_) => Broken("its thread has panicked, which is a mistake of waitbus".to_owned()),
    }
}

/// Until when a path had been told, as an earlier process wrote it down.
fn seen_until(position: Option<&str>, path: &Path) -> Option<i128> {
    let position: Value = serde_json::from_str(position?).ok()?;
    let paths = position["paths"].as_array()?;
    let path = path.to_string_lossy();
    paths.iter().any(|known| *known == *path).then_some(())?;
    position["until"].as_i64().map(i128::from)
}

fn ignoring(patterns: &[String], as_trees_say: bool) -> Result<Ignoring, ignore::Error> {
    let mut builder = GitignoreBuilder::new("/");
    for pattern in patterns {
        builder.add_line(None, pattern)?;
    }
    Ok(Ignoring { first: builder.build()?, as_trees_say })
}
