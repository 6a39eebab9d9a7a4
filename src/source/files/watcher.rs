//! What is known and what is to be looked at. A hint of the kernel says where to look; `scan.rs` looks at directories,
//! `settle.rs` at paths that have become quiet, and what differs from what was told last is told. So it does not matter
//! how many hints there were, in which order they came, or whether some are missing.
//!
//! The disk and the clock are handed in.

use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::closed::Closed;
use super::debounce::{Debounce, Hint, Moment};
use super::disk::Disk;
use super::rules::{Ignoring, Rules, is_ignore_file};
use super::tree::{DirId, Key, Known, Roots, Tree};
use crate::ingest::files::{Kind, Origin, State};
use crate::model::limits::MAX_FS_PENDING;
use crate::sys::watch::{Extent, Seen, What};

/// What was set.
#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) roots: Roots,
    pub(super) ignoring: Ignoring,
    /// What is never watched: the bus's own directories, whose every commit would be an event, whose commit …
    pub(super) excluded: Vec<PathBuf>,
    /// … and the same by device and number, whatever the path.
    pub(super) excluded_inodes: Vec<(u64, u64)>,
    pub(super) quiet: Duration,
    pub(super) at_most: Duration,
    /// When the source began, in nanoseconds since the epoch and later than every change before it: what is found to have
    /// changed since was not missed.
    pub(super) started: i128,
}

/// A change to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) kind: Kind,
    pub(super) path: PathBuf,
    pub(super) from: Option<PathBuf>,
    pub(super) is_directory: bool,
    pub(super) is_complete: bool,
    pub(super) origin: Origin,
    pub(super) state: Option<State>,
    /// Whether it has certainly not been told yet, also if this state of this path has been: what a directory that left
    /// and came back brings with it is as it was.
    pub(super) is_certain: bool,
}

/// What of a directory that nobody knew is news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    /// All of it.
    Ever,
    /// What has changed since then, in nanoseconds since the epoch.
    Time(i128),
    /// As it is for the named path that it belongs to.
    Start,
}

/// A directory to be looked through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scan {
    pub(super) directory: DirId,
    pub(super) since: Since,
    pub(super) origin: Origin,
    /// Whether also what is known below it.
    pub(super) is_deep: bool,
}

/// What keeps the watcher from seeing.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    /// The first directory for which there was no watch, and why.
    pub(super) unwatched: Option<(PathBuf, String)>,
    /// The first directory for which there was no room in memory.
    pub(super) unknown: Option<PathBuf>,
    /// Hints were lost, and not everything has been looked at again yet.
    pub(super) has_overflowed: bool,
    /// Directories that cannot be looked at, or not whole.
    pub(super) closed: BTreeMap<DirId, Closed>,
    /// What could not be read, to be named once.
    pub(super) unreadable: Vec<(PathBuf, String)>,
}

/// The one that watches.
#[derive(Debug)]
pub(super) struct Watcher<D> {
    pub(super) disk: D,
    pub(super) config: Config,
    /// When each of the named paths was seen last, for [`Since::Start`].
    pub(super) seen_until: Vec<i128>,
    pub(super) tree: Tree,
    pub(super) pending: Debounce<Key>,
    pub(super) scans: VecDeque<Scan>,
    /// Changes that are told without having been waited for.
    pub(super) ready: Vec<Change>,
    pub(super) troubles: Troubles,
    /// The rename whose other end has not come yet.
    left: Option<(u32, Key)>,
}

impl<D: Disk> Watcher<D> {
    /// Begins to watch. Of each named path, what has changed since the time beside it is told; the first look begins
    /// with [`step`](Self::step).
    pub(super) fn start(disk: D, config: Config, seen_until: Vec<i128>) -> Watcher<D> {
        let mut watcher = Watcher {
            disk,
            pending: Debounce::new(config.quiet, config.at_most),
            config,
            seen_until,
            tree: Tree::default(),
            scans: VecDeque::new(),
            ready: Vec::new(),
            troubles: Troubles::default(),
            left: None,
        };
        watcher.anchor(Since::Start, Origin::Recovered);
        watcher
    }

    /// Whether so much is to be looked at that nothing more should be asked for.
    pub(super) fn is_full(&self) -> bool {
        self.pending.len() >= MAX_FS_PENDING
    }

    /// Looks through one directory of those that have to be. Returns whether there was one.
    pub(super) fn step(&mut self, now: Moment) -> bool {
        let Some(scan) = self.scans.pop_front() else { return false };
        self.scan(scan, now);
        if self.scans.is_empty() {
            self.troubles.has_overflowed = false;
        }
        true
    }

    /// Looks everywhere again.
    pub(super) fn look_everywhere(&mut self) {
        (self.troubles.unwatched, self.troubles.unknown) = (None, None);
        for directory in self.tree.tops() {
            self.scans.push_back(Scan { directory, since: Since::Ever, origin: Origin::Rescan, is_deep: true });
        }
        self.reanchor();
    }

    /// The kernel has told something.
    pub(super) fn see(&mut self, seen: Seen, now: Moment) {
        if seen.what == What::Overflow {
            self.troubles.has_overflowed = true;
            self.look_everywhere();
            return;
        }
        let Some(directory) = self.tree.by_watch(seen.watch) else {
            if let Some(key) = self.tree.file_by_watch(seen.watch).cloned() {
                let hint = if seen.what == What::Lost { Hint::Whole } else { Hint::Changed };
                self.pending.hint(key, hint, Origin::Live, now);
            }
            return;
        };
        match seen.name {
            Some(name) => self.see_entry((directory, name), seen.what, seen.is_directory, now),
            None => self.see_directory(directory, seen.what, now),
        }
    }

    fn see_directory(&mut self, directory: DirId, what: What, now: Moment) {
        match what {
            What::Changed => {
                let (since, origin) = (Since::Ever, Origin::Live);
                self.scans.push_back(Scan { directory, since, origin, is_deep: false });
                return;
            }
            What::Attributes => return self.look_at_closed(Some(directory), Origin::Live),
            What::Over => self.tree.set_watch(directory, None),
            _ => {}
        }
        match self.tree.get(directory).map(|dir| (dir.parent, dir.name.clone())) {
            Some((Some(parent), name)) => self.pending.hint((parent, name), Hint::Look, Origin::Live, now),
            Some((None, _)) => self.reanchor(),
            None => {}
        }
    }

    fn see_entry(&mut self, key: Key, what: What, is_directory: bool, now: Moment) {
        if what == What::Attributes {
            let directory = self.tree.get(key.0).and_then(|dir| dir.directories.get(&key.1)).copied();
            if directory.is_some() {
                self.look_at_closed(directory, Origin::Live);
            }
            return;
        }
        let Some(path) = self.tree.path_of(&key) else { return };
        if !self.concerns(key.0, &path, is_directory) {
            return;
        }
        if !matches!(what, What::Made | What::Written) && is_ignore_file(&key.1) {
            self.reconsider(key.0, now);
        }
        let hint = match what {
            What::Made => Hint::Made,
            What::Written => Hint::Written,
            What::Changed => Hint::Changed,
            _ => Hint::Whole,
        };
        self.pending.hint(key.clone(), hint, Origin::Live, now);
        match what {
            What::Left(rename) => self.left = Some((rename, key)),
            What::Came(rename) => {
                if let Some((_, from)) = self.left.take_if(|(left, _)| *left == rename) {
                    self.pending.follow(&from, key.clone());
                }
                self.enter(&key, &path, is_directory, now);
            }
            What::Made => self.enter(&key, &path, is_directory, now),
            _ => {}
        }
    }

    /// What has come is a directory perhaps, and then it is watched at once: what is made in it from now on is told by
    /// its watch, and what was made before is found in it.
    fn enter(&mut self, key: &Key, path: &Path, is_directory: bool, now: Moment) {
        let is_named = self.config.roots.lead_through(path);
        if !(is_directory || is_named) {
            return;
        }
        match self.disk.look(path, is_named) {
            Ok(Some(look)) if look.is_directory => {
                let known = self.tree.get(key.0).and_then(|dir| dir.directories.get(&key.1)).copied();
                let (since, origin) = (Since::Ever, Origin::Live);
                self.visit(key, path, look, since, origin, now);
                // It may have been somewhere else meanwhile, where nobody looked.
                if let Some(directory) = known {
                    self.scans.push_back(Scan { directory, since, origin, is_deep: true });
                }
            }
            Ok(Some(_)) if is_named => self.watch(key.0),
            _ => {}
        }
    }

    /// Whether an entry of a directory is any of our business.
    pub(super) fn concerns(&self, directory: DirId, path: &Path, is_directory: bool) -> bool {
        let roots = &self.config.roots;
        if self.config.excluded.iter().any(|excluded| path.starts_with(excluded)) {
            return false;
        }
        if roots.lead_through(path) {
            return true;
        }
        let Some(dir) = self.tree.get(directory).filter(|dir| !dir.is_ignored && roots.cover(path)) else {
            return false;
        };
        !self.config.ignoring.covers(&dir.rules, path, is_directory)
    }

    /// Watches a directory that is in memory.
    pub(super) fn watch(&mut self, directory: DirId) {
        let Some(path) = self.tree.path(directory) else { return };
        let roots = &self.config.roots;
        let is_file = |root: &&PathBuf| {
            let look = self.disk.look(root, true);
            root.parent() == Some(&*path) && !look.is_ok_and(|look| look.is_some_and(|look| look.is_directory))
        };
        let is_whole = roots.cover(&path) || roots.0.iter().any(|root| is_file(&root));
        let extent = if is_whole { Extent::Contents } else { Extent::Names };
        let follow = roots.lead_through(&path);
        match self.disk.watch(&path, extent, follow) {
            Ok(watch) => self.tree.set_watch(directory, Some(watch)),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                self.close(directory, &path, &error, true);
            }
            Err(error) => self.cannot_watch(path, &error),
        }
    }

    /// A file is this now, and watched where files need that.
    pub(super) fn learn(&mut self, key: &Key, path: &Path, mut known: Known) {
        if D::FILES_TOO {
            match self.disk.watch(path, Extent::Contents, self.config.roots.name(path)) {
                Ok(watch) => known.watch = Some(watch),
                Err(error) => self.cannot_watch(path.to_owned(), &error),
            }
        }
        if let Some(watch) = self.tree.learn(key, known).and_then(|before| before.watch) {
            self.disk.unwatch(watch);
        }
    }

    fn cannot_watch(&mut self, path: PathBuf, error: &std::io::Error) {
        match error.kind() {
            // It will be told where it was.
            ErrorKind::NotFound | ErrorKind::NotADirectory => {}
            ErrorKind::PermissionDenied => self.troubles.unreadable.push((path, error.to_string())),
            _ => {
                self.troubles.unwatched.get_or_insert_with(|| (path, error.to_string()));
            }
        }
    }

    /// The rules of a directory that is in memory.
    pub(super) fn rules_of(&self, path: &Path, above: &Rules) -> Rules {
        let (roots, disk) = (&self.config.roots, &self.disk);
        if !self.config.ignoring.as_trees_say || !(roots.cover(path)) {
            return Rules::none();
        }
        if !roots.name(path) {
            return Rules::of(disk, path, above);
        }
        let is_repository = |at: &Path| disk.look(&at.join(".git"), true).is_ok_and(|look| look.is_some());
        let mut ways: Vec<&Path> = path.ancestors().collect();
        let top = ways.iter().position(|at| is_repository(at)).unwrap_or(0);
        ways.truncate(top + 1);
        ways.iter().rev().fold(Rules::none(), |above, at| Rules::of(disk, at, &above))
    }
}
