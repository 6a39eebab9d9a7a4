//! From paths that have become quiet to what is told of them: the difference between what they are and what was told.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::debounce::Pending;
use super::disk::{Disk, Identity, Look};
use super::rules::IGNORE_FILES;
use super::tree::{DirId, Key, Known, Told};
use super::watcher::{Change, Moment, Since, Watcher};
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
        let mut changes = std::mem::take(&mut self.ready);
        for item in &items {
            self.tell(item, &moves, &mut changes, now);
        }
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
                        self.troubles.unreadable.push((path, error.to_string()));
                        continue;
                    }
                };
                let is_bare = look.is_some_and(|look| look.is_bare);
                if is_bare && pending.is_made && now.at < pending.first + self.config.at_most {
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
            if let Some((known, told)) = self.known(&item.key).zip(self.tree.told_path(item.key.0)) {
                moves.gone.insert(known.identity, (item.key.clone(), told.join(&item.key.1)));
            }
        }
        let found = items.iter().filter_map(|item| item.look.filter(|look| !look.is_directory));
        let taken = found.filter_map(|look| moves.gone.get(&look.identity)).map(|(key, _)| key.clone());
        moves.taken = taken.collect();
        moves
    }

    fn known(&self, key: &Key) -> Option<Known> {
        self.tree.get(key.0)?.files.get(&key.1).copied()
    }

    fn tell(&mut self, item: &Item, moves: &Moves, changes: &mut Vec<Change>, now: Moment) {
        let before = changes.len();
        let origin = item.pending.origin;
        let directory = self.tree.get(item.key.0).and_then(|dir| dir.directories.get(&item.key.1)).copied();
        match item.look {
            Some(look) if look.is_directory => {
                if self.known(&item.key).is_some() {
                    self.forget(&item.key);
                    changes.push(change(Kind::Delete, item.path.clone(), false, origin));
                }
                self.visit(&item.key, &item.path, look, Since::Ever, origin, now);
                self.tell_directory(item, look, changes);
            }
            look => {
                if let Some(directory) = directory {
                    changes.extend(self.take_away(directory, &moves.taken, origin));
                }
                match look {
                    Some(look) => self.tell_file(item, look, moves, changes),
                    None => self.tell_gone(item, moves, changes),
                }
            }
        }
        let name = &item.key.1;
        if changes.len() > before && IGNORE_FILES.iter().any(|file| **file == **name) {
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
        let from = moves.gone.get(&look.identity).filter(|_| is_other).map(|(_, told)| told.clone());
        let kind = match (&from, before) {
            (Some(_), _) => Kind::Move,
            (None, None) => Kind::Create,
            (None, Some(_)) => Kind::Write,
        };
        changes.push(Change {
            from,
            is_complete: !item.pending.is_open,
            state: Some(look.state()),
            ..change(kind, item.path.clone(), false, item.pending.origin)
        });
    }

    fn tell_gone(&mut self, item: &Item, moves: &Moves, changes: &mut Vec<Change>) {
        let Some(told) = self.tree.told_path(item.key.0) else { return };
        if self.known(&item.key).is_none() {
            return;
        }
        self.forget(&item.key);
        if !moves.taken.contains(&item.key) {
            changes.push(change(Kind::Delete, told.join(&item.key.1), false, item.pending.origin));
        }
    }

    fn tell_directory(&mut self, item: &Item, look: Look, changes: &mut Vec<Change>) {
        let origin = item.pending.origin;
        let entry = self.tree.get(item.key.0).and_then(|dir| dir.directories.get(&item.key.1)).copied();
        let Some((id, dir)) = entry.and_then(|id| Some((id, self.tree.get_mut(id)?))) else { return };
        match std::mem::replace(&mut dir.told, Told::Here) {
            Told::Here => {}
            Told::No => {
                let state = Some(look.state());
                changes.push(Change { state, ..change(Kind::Create, item.path.clone(), true, origin) });
            }
            Told::At(from) if from == item.path => {}
            Told::At(from) => self.tell_moved(id, &from, &item.path, origin, changes),
        }
    }

    /// A directory and everything in it has another path now.
    fn tell_moved(&mut self, id: DirId, from: &Path, to: &Path, origin: Origin, changes: &mut Vec<Change>) {
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
            // One that was moved by itself, or that nobody was told of, is told by itself.
            if self.tree.get(id).is_some_and(|dir| dir.told == Told::Here) {
                self.tell_moved(id, &from.join(&name), &to.join(&name), origin, changes);
            }
        }
    }

    /// A directory is gone, and everything that was in it: it is forgotten, and what was told of it is returned as gone.
    pub(super) fn take_away(&mut self, id: DirId, moved: &HashSet<Key>, origin: Origin) -> Vec<Change> {
        let mut gone = Vec::new();
        for id in self.tree.subtree(id).into_iter().rev() {
            let told = self.tree.told_path(id);
            let watch = self.tree.own_watch(id);
            let Some((told, dir)) = told.zip(self.tree.get(id)) else { continue };
            let mut files: Vec<_> = dir.files.keys().filter(|name| !moved.contains(&(id, (*name).clone()))).collect();
            files.sort();
            gone.extend(files.into_iter().map(|name| change(Kind::Delete, told.join(name), false, origin)));
            if dir.told != Told::No {
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

fn change(kind: Kind, path: PathBuf, is_directory: bool, origin: Origin) -> Change {
    Change { kind, path, from: None, is_directory, is_complete: true, origin, state: None }
}
