//! Directories that cannot be read, or in which something cannot be looked at. Nothing in them is told, and nothing taken
//! for gone. They are looked at again when the kernel says that they have been opened, and now and then, because it does
//! not say so of everything.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use super::disk::Disk;
use super::tree::DirId;
use super::watcher::{Scan, Since, Watcher};
use crate::ingest::files::Origin;

/// Why a directory counts as closed.
#[derive(Clone, Debug)]
pub(super) struct Closed {
    pub(super) problem: String,
    /// Whether nothing in it can be looked at, instead of something.
    pub(super) is_whole: bool,
}

impl<D: Disk> Watcher<D> {
    /// A directory cannot be read, or what is at a path in it cannot be looked at. Returns whether that is new.
    pub(super) fn close(&mut self, directory: DirId, path: &Path, problem: &io::Error, is_whole: bool) -> bool {
        let problem = problem.to_string();
        let closed = Closed { problem: problem.clone(), is_whole };
        let is_new = self.troubles.closed.insert(directory, closed).is_none();
        // What only leads to a named path is not told in any case.
        if is_new && self.config.roots.cover(path) {
            self.troubles.unreadable.push((path.to_owned(), problem));
        }
        is_new
    }

    /// Looks again at the closed directories, or at those in one directory and itself. What has changed in them is told
    /// as what has changed while nobody watched.
    pub(super) fn look_at_closed(&mut self, within: Option<DirId>, origin: Origin) {
        self.troubles.closed.retain(|directory, _| self.tree.get(*directory).is_some());
        for directory in self.troubles.closed.keys().copied() {
            if within.is_none_or(|within| self.tree.is_within(directory, within)) {
                self.scans.push_back(Scan { directory, since: Since::Start, origin, is_deep: false });
            }
        }
    }

    /// Whether something is only seen by looking again.
    pub(super) fn is_blind(&self) -> bool {
        self.troubles.unwatched.is_some() || self.troubles.unknown.is_some() || !self.troubles.closed.is_empty()
    }

    /// Looks again at what is not seen otherwise.
    pub(super) fn look_again(&mut self) {
        if self.troubles.unwatched.is_some() || self.troubles.unknown.is_some() {
            self.look_everywhere();
        }
        self.look_at_closed(None, Origin::Rescan);
    }

    /// Why a named path is not seen, although it is there.
    pub(super) fn why_closed(&self, root: &Path) -> Option<String> {
        let whole = self.troubles.closed.iter().filter(|(_, closed)| closed.is_whole);
        let mut here = whole.filter(|(directory, _)| self.tree.path(**directory).is_some_and(|path| path == root));
        here.next().map(|(_, closed)| closed.problem.clone())
    }

    /// The entries of a directory that lead to named paths: they can be looked at also where nobody may list them.
    pub(super) fn named_in(&self, path: &Path) -> Vec<(OsString, bool)> {
        let below = self.config.roots.0.iter().filter_map(|root| root.strip_prefix(path).ok());
        below.filter_map(|rest| Some((rest.iter().next()?.to_owned(), true))).collect()
    }
}
