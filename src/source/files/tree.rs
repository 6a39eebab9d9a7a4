//! What has been told of each path: the directories that are watched, with the files in them. A directory that is renamed
//! keeps its place in memory, so everything that is known of what is in it goes with it.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::disk::{Content, Identity};
use super::rules::Rules;

/// A directory in memory. Never given anew.
pub(super) type DirId = u32;

/// A path: an entry of a directory.
pub(super) type Key = (DirId, OsString);

/// A file, as it was last told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) identity: Identity,
    pub(super) content: Content,
    /// Its own watch, where files need that.
    pub(super) watch: Option<i32>,
}

/// A directory that is watched, or would be.
#[derive(Debug)]
pub(super) struct Dir {
    /// The one that it is in, unless it is at the top.
    pub(super) parent: Option<DirId>,
    /// Its name, at the top its path.
    pub(super) name: OsString,
    pub(super) identity: Identity,
    pub(super) watch: Option<i32>,
    /// Whether anybody has been told of it.
    pub(super) is_told: bool,
    /// Whether it was told perhaps before it was in memory.
    pub(super) may_be_told: bool,
    pub(super) rules: Rules,
    /// Whether it is ignored, and here only because of something below it that was named.
    pub(super) is_ignored: bool,
    pub(super) files: HashMap<OsString, Known>,
    pub(super) directories: HashMap<OsString, DirId>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Tree {
    directories: HashMap<DirId, Dir>,
    by_watch: HashMap<i32, DirId>,
    by_identity: HashMap<Identity, DirId>,
    /// Watches of single files, where files need that.
    files_by_watch: HashMap<i32, Key>,
    files: usize,
    last: DirId,
}

impl Tree {
    pub(super) fn get(&self, id: DirId) -> Option<&Dir> {
        self.directories.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: DirId) -> Option<&mut Dir> {
        self.directories.get_mut(&id)
    }

    /// How many paths are in memory.
    pub(super) fn len(&self) -> usize {
        self.directories.len() + self.files
    }

    pub(super) fn tops(&self) -> Vec<DirId> {
        let tops = self.directories.iter().filter(|(_, dir)| dir.parent.is_none());
        tops.map(|(id, _)| *id).collect()
    }

    /// Directories that ought to be watched and are not.
    pub(super) fn unwatched(&self) -> impl Iterator<Item = DirId> {
        self.directories.iter().filter(|(_, dir)| dir.watch.is_none()).map(|(id, _)| *id)
    }

    pub(super) fn by_watch(&self, watch: i32) -> Option<DirId> {
        self.by_watch.get(&watch).copied()
    }

    pub(super) fn file_by_watch(&self, watch: i32) -> Option<&Key> {
        self.files_by_watch.get(&watch)
    }

    /// The watch of a directory, if it is not that of another one by now.
    pub(super) fn own_watch(&self, id: DirId) -> Option<i32> {
        self.get(id)?.watch.filter(|watch| self.by_watch(*watch) == Some(id))
    }

    /// A directory and all that are below it, the upper ones first.
    pub(super) fn subtree(&self, id: DirId) -> Vec<DirId> {
        let mut found = vec![id];
        let mut at = 0;
        while let Some(dir) = found.get(at).copied() {
            found.extend(self.get(dir).into_iter().flat_map(|dir| dir.directories.values()));
            at += 1;
        }
        found
    }

    pub(super) fn by_identity(&self, identity: Identity) -> Option<DirId> {
        self.by_identity.get(&identity).copied()
    }

    /// Where a directory is; none once it or one above it has been forgotten.
    pub(super) fn path(&self, id: DirId) -> Option<PathBuf> {
        let mut names = Vec::new();
        let mut next = Some(id);
        while let Some(id) = next {
            let dir = self.get(id)?;
            names.push(&dir.name);
            next = dir.parent;
        }
        Some(names.into_iter().rev().collect())
    }

    pub(super) fn path_of(&self, (directory, name): &Key) -> Option<PathBuf> {
        Some(self.path(*directory)?.join(name))
    }

    /// Whether a directory is this one or below it.
    pub(super) fn is_within(&self, id: DirId, above: DirId) -> bool {
        let mut next = Some(id);
        while let Some(id) = next {
            if id == above {
                return true;
            }
            next = self.get(id).and_then(|dir| dir.parent);
        }
        false
    }

    /// Adds a directory of which nothing is known yet.
    pub(super) fn add(&mut self, parent: Option<DirId>, name: &OsStr, identity: Identity) -> DirId {
        self.last += 1;
        let id = self.last;
        let (files, directories, rules) = (HashMap::new(), HashMap::new(), Rules::none());
        let (name, is_told) = (name.to_owned(), false);
        if let Some(parent) = parent.and_then(|parent| self.get_mut(parent)) {
            parent.directories.insert(name.clone(), id);
        }
        let (watch, is_ignored, may_be_told) = (None, false, false);
        let dir = Dir { parent, name, identity, watch, is_told, may_be_told, rules, is_ignored, files, directories };
        self.directories.insert(id, dir);
        self.by_identity.insert(identity, id);
        id
    }

    /// The path of a directory is another directory now.
    pub(super) fn identify(&mut self, id: DirId, identity: Identity) {
        let Some(dir) = self.directories.get_mut(&id) else { return };
        if self.by_identity.get(&dir.identity) == Some(&id) {
            self.by_identity.remove(&dir.identity);
        }
        dir.identity = identity;
        self.by_identity.insert(identity, id);
    }

    /// A directory is watched, or not any more.
    pub(super) fn set_watch(&mut self, id: DirId, watch: Option<i32>) {
        let Some(dir) = self.directories.get_mut(&id) else { return };
        let before = std::mem::replace(&mut dir.watch, watch);
        if let Some(before) = before.filter(|before| self.by_watch.get(before) == Some(&id)) {
            self.by_watch.remove(&before);
        }
        if let Some(watch) = watch {
            self.by_watch.insert(watch, id);
        }
    }

    /// Moves a directory to where it is now.
    pub(super) fn relink(&mut self, id: DirId, parent: DirId, name: &OsStr) {
        let Some(dir) = self.directories.get_mut(&id) else { return };
        let (old_parent, old_name) = (dir.parent.replace(parent), std::mem::replace(&mut dir.name, name.to_owned()));
        if let Some(old) = old_parent.and_then(|old| self.get_mut(old))
            && old.directories.get(&old_name) == Some(&id)
        {
            old.directories.remove(&old_name);
        }
        if let Some(parent) = self.get_mut(parent) {
            parent.directories.insert(name.to_owned(), id);
        }
    }

    /// A file is this now. Returns what it was.
    pub(super) fn learn(&mut self, key: &Key, known: Known) -> Option<Known> {
        let before = self.directories.get_mut(&key.0)?.files.insert(key.1.clone(), known);
        self.files += usize::from(before.is_none());
        if let Some(watch) = known.watch {
            self.files_by_watch.insert(watch, key.clone());
        }
        before
    }

    /// A file is nothing any more. Returns what it was.
    pub(super) fn forget(&mut self, key: &Key) -> Option<Known> {
        let before = self.directories.get_mut(&key.0)?.files.remove(&key.1)?;
        self.files -= 1;
        if let Some(watch) = before.watch {
            self.files_by_watch.remove(&watch);
        }
        Some(before)
    }

    /// Takes a directory out that has nothing below it in memory any more.
    pub(super) fn remove(&mut self, id: DirId) -> Option<Dir> {
        let dir = self.directories.remove(&id)?;
        self.files -= dir.files.len();
        if let Some(watch) = dir.watch.filter(|watch| self.by_watch.get(watch) == Some(&id)) {
            self.by_watch.remove(&watch);
        }
        for known in dir.files.values() {
            known.watch.map(|watch| self.files_by_watch.remove(&watch));
        }
        if self.by_identity.get(&dir.identity) == Some(&id) {
            self.by_identity.remove(&dir.identity);
        }
        if let Some(parent) = dir.parent.and_then(|parent| self.get_mut(parent))
            && parent.directories.get(&dir.name) == Some(&id)
        {
            parent.directories.remove(&dir.name);
        }
        Some(dir)
    }
}

/// The paths that were named.
#[derive(Clone, Debug)]
pub(super) struct Roots(pub(super) Vec<PathBuf>);

impl Roots {
    /// Whether a path is one that was named or below one.
    pub(super) fn cover(&self, path: &Path) -> bool {
        self.0.iter().any(|root| path.starts_with(root))
    }

    /// Whether a path was named, or leads to one that was.
    pub(super) fn lead_through(&self, path: &Path) -> bool {
        self.0.iter().any(|root| root.starts_with(path))
    }

    /// Whether a path was named.
    pub(super) fn name(&self, path: &Path) -> bool {
        self.0.iter().any(|root| root == path)
    }
}
