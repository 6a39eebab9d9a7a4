//! From paths that have become quiet to what is told of them: the difference between what they are and what was told.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::debounce::{Hint, Moment, Pending};
use super::disk::{Disk, Identity, Look};
use super::rules::is_ignore_file;
use super::tree::{DirId, Key, Known};
use super::watcher::{Change, Scan, Since, Watcher};
use crate::ingest::files::{Kind, Origin};
use crate::model::limits::FS_BATCH;

/// A path that was due, and what it is.
struct Item {
    key: Key,
    pending: Pending<Key>,
    path: PathBuf,
    look: Option<Look>,
}

/// Renames among what is looked at together.
#[derive(Default)]
struct Moves {
    /// Files that are gone: which, and under which path they were told.
    gone: HashMap<Identity, (Key, PathBuf)>,
    /// Those of them that are found elsewhere.
    taken: HashSet<Key>,
}

impl<D: Disk> Watcher<D> {
    /// Looks at what is due, and returns what is to be told, in the order in which it happened last.
    pub(super) fn settle(&mut self, now: Moment) -> Vec<Change> {
        let items = self.due(now);
        let moves = self.moves(&items);
        let mut changes = Vec::new();
        for item in &items {
            self.tell(item, &moves, &mut changes, now);
        }
        changes.append(&mut self.ready);
        changes.retain(|change| self.config.roots.cover(&change.path));
        changes
    }

    fn due(&mut self, now: Moment) -> Vec<Item> {
        let mut items = Vec::new();
        while items.len() < FS_BATCH {
            let due = self.pending.due(now.at);
            if due.is_empty() {
                break;
            }
            for (key, pending) in due {
                let Some(path) = self.tree.path_of(&key) else { continue };
                let look = match self.disk.look(&path, self.config.roots.lead_through(&path)) {
                    Ok(look) => look,
                    Err(error) => {
                        let is_known = self.troubles.closed.contains_key(&key.0);
                        if !is_known && self.close(key.0, &path, &error, false) {
                            // What is the matter with the whole directory is found by looking at it.
                            let (directory, since, origin) = (key.0, Since::Start, pending.origin);
                            self.scans.push_back(Scan { directory, since, origin, is_deep: false });
                        }
                        continue;
                    }
                };
                if !self.concerns(key.0, &path, look.is_some_and(|look| look.is_directory)) {
                    continue;
                }
                let is_bare = look.is_some_and(|look| look.is_bare);
                if is_bare && pending.is_made && now.at < pending.first.at + self.config.at_most {
                    self.pending.hold(key, pending);
                } else {
                    items.push(Item { key, pending, path, look });
                }
            }
        }
        items
    }

    fn moves(&self, items: &[Item]) -> Moves {
        let mut moves = Moves::default();
        for item in items.iter().filter(|item| item.look.is_none()) {
            if let Some(known) = self.known(&item.key) {
                moves.gone.insert(known.identity, (item.key.clone(), item.path.clone()));
            }
        }
        for item in items {
            let look = item.look.filter(|look| !look.is_directory);
            let found = look.filter(|look| self.known(&item.key).is_none_or(|known| known.identity != look.identity));
            if let Some((key, _)) = found.and_then(|look| moves.gone.get(&look.identity)) {
                moves.taken.insert(key.clone());
            }
        }
        moves
    }

    fn known(&self, key: &Key) -> Option<Known> {
        self.tree.get(key.0)?.files.get(&key.1).copied()
    }

    fn tell(&mut self, item: &Item, moves: &Moves, changes: &mut Vec<Change>, now: Moment) {
        let origin = item.pending.origin;
        changes.append(&mut self.ready);
        if self.tree.path_of(&item.key).as_ref() != Some(&item.path) {
            // It was found elsewhere while others were told.
            let hint = match &item.pending {
                Pending { is_written: true, .. } => Hint::Changed,
                Pending { may_be_told: true, .. } => Hint::Found,
                _ => Hint::Look,
            };
            return self.pending.hint(item.key.clone(), hint, origin, now);
        }
        let before = changes.len();
        let directory = self.tree.get(item.key.0).and_then(|dir| dir.directories.get(&item.key.1)).copied();
        match item.look {
            Some(look) if look.is_directory => {
                self.visit(&item.key, &item.path, look, Since::Ever, origin, now);
                changes.append(&mut self.ready);
                self.tell_above(item.key.0, origin, changes);
                let entry = self.tree.get(item.key.0).and_then(|dir| dir.directories.get(&item.key.1)).copied();
                if let Some(directory) = entry {
                    self.tell_directory(directory, &item.path, look, origin, changes);
                }
            }
            look => {
                if let Some(directory) = directory {
                    changes.extend(self.take_away(directory, &moves.taken, origin));
                }
                match look {
                    Some(look) => {
                        self.tell_above(item.key.0, origin, changes);
                        self.tell_file(item, look, moves, changes);
                    }
                    None => self.tell_gone(item, moves, changes),
                }
            }
        }
        if changes.len() > before && is_ignore_file(&item.key.1) {
            self.reconsider(item.key.0, now);
        }
    }

    fn tell_file(&mut self, item: &Item, look: Look, moves: &Moves, changes: &mut Vec<Change>) {
        let before = self.known(&item.key);
        let is_other = before.is_none_or(|before| before.identity != look.identity);
        let is_written = item.pending.is_written || before.is_some_and(|before| before.content != look.content);
        if !(is_other || is_written) {
            return;
        }
        self.learn(&item.key, &item.path, Known { identity: look.identity, content: look.content, watch: None });
        let gone = moves.gone.get(&look.identity).filter(|(key, _)| is_other && moves.taken.contains(key));
        let from = gone.map(|(key, told)| {
            // Its directory may have been told to be elsewhere meanwhile.
            let from = self.tree.path_of(key).unwrap_or_else(|| told.clone());
            self.forget(key);
            from
        });
        let kind = match (&from, before) {
            (Some(_), _) => Kind::Move,
            (None, None) => Kind::Create,
            (None, Some(_)) => Kind::Write,
        };
        changes.push(Change {
            from,
            is_complete: !item.pending.is_open,
            state: Some(look.state()),
            // The state of what was known as this file may have been told already, before its last hint was read.
            is_certain: is_other && !item.pending.may_be_told,
            ..change(kind, item.path.clone(), false, item.pending.origin)
        });
    }

    fn tell_gone(&mut self, item: &Item, moves: &Moves, changes: &mut Vec<Change>) {
        if self.known(&item.key).is_none() {
            return;
        }
        self.forget(&item.key);
        if !moves.taken.contains(&item.key) {
            changes.push(change(Kind::Delete, item.path.clone(), false, item.pending.origin));
        }
    }

    /// What is in a directory is told after the directory itself.
    pub(super) fn tell_above(&mut self, directory: DirId, origin: Origin, changes: &mut Vec<Change>) {
        let mut untold = Vec::new();
        let mut next = Some(directory);
        while let Some((id, dir)) = next.and_then(|id| Some((id, self.tree.get(id)?))) {
            if !dir.is_told {
                untold.push(id);
            }
            next = dir.parent;
        }
        for id in untold.into_iter().rev() {
            let Some(path) = self.tree.path(id) else { continue };
            if let Ok(Some(look)) = self.disk.look(&path, self.config.roots.lead_through(&path)) {
                self.tell_directory(id, &path, look, origin, changes);
            }
        }
    }

    fn tell_directory(&mut self, id: DirId, path: &Path, look: Look, origin: Origin, changes: &mut Vec<Change>) {
        let Some(dir) = self.tree.get_mut(id).filter(|dir| !dir.is_told) else { return };
        dir.is_told = true;
        let is_certain = !dir.may_be_told;
        if let Some(key) = dir.parent.map(|parent| (parent, dir.name.clone()))
            && self.known(&key).is_some()
        {
            self.forget(&key);
            changes.push(change(Kind::Delete, path.to_owned(), false, origin));
        }
        let state = Some(look.state());
        changes.push(Change { state, is_certain, ..change(Kind::Create, path.to_owned(), true, origin) });
    }

    /// A directory and everything in it has another path now.
    pub(super) fn tell_moved(&mut self, id: DirId, from: &Path, to: &Path, origin: Origin, changes: &mut Vec<Change>) {
        let moved = |from: PathBuf, to: PathBuf, is_directory: bool| Change {
            from: Some(from),
            ..change(Kind::Move, to, is_directory, origin)
        };
        changes.push(moved(from.to_owned(), to.to_owned(), true));
        let Some(dir) = self.tree.get(id) else { return };
        let mut files: Vec<_> = dir.files.keys().collect();
        files.sort();
        changes.extend(files.into_iter().map(|name| moved(from.join(name), to.join(name), false)));
        let mut directories: Vec<_> = dir.directories.iter().map(|(name, id)| (name.clone(), *id)).collect();
        directories.sort();
        for (name, id) in directories {
            if self.tree.get(id).is_some_and(|dir| dir.is_told) {
                self.tell_moved(id, &from.join(&name), &to.join(&name), origin, changes);
            }
        }
    }

    /// A directory is gone, and everything that was in it: it is forgotten, and what was told of it is returned as gone.
    pub(super) fn take_away(&mut self, id: DirId, moved: &HashSet<Key>, origin: Origin) -> Vec<Change> {
        let mut gone = Vec::new();
        for id in self.tree.subtree(id).into_iter().rev() {
            let told = self.tree.path(id);
            let watch = self.tree.own_watch(id);
            let Some((told, dir)) = told.zip(self.tree.get(id)) else { continue };
            let mut files: Vec<_> = dir.files.keys().filter(|name| !moved.contains(&(id, (*name).clone()))).collect();
            files.sort();
            gone.extend(files.into_iter().map(|name| change(Kind::Delete, told.join(name), false, origin)));
            if dir.is_told {
                gone.push(change(Kind::Delete, told, true, origin));
            }
            let watches = dir.files.values().filter_map(|known| known.watch).chain(watch);
            for watch in watches {
                self.disk.unwatch(watch);
            }
        }
        for id in self.tree.subtree(id).into_iter().rev() {
            self.tree.remove(id);
        }
        gone
    }
}

/// A change of which there is no more to say.
pub(super) fn change(kind: Kind, path: PathBuf, is_directory: bool, origin: Origin) -> Change {
    Change { kind, path, from: None, is_directory, is_complete: true, origin, state: None, is_certain: false }
}
