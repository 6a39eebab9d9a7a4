//! Looking through directories: at the start, when one has come, when hints were lost. A directory is watched before it
//! is looked through, so nothing is made in it unseen in between.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io;
use std::path::Path;

use super::debounce::{Hint, Moment};
use super::disk::{Content, Disk, Look};
use super::settle::change;
use super::tree::{Dir, DirId, Key, Known};
use super::watcher::{Scan, Since, Watcher};
use crate::ingest::files::{Kind, Origin};
use crate::model::limits::MAX_FS_KNOWN;

impl<D: Disk> Watcher<D> {
    /// Begins at the nearest directory above each named path that is there, so that one that is made, or made anew, is
    /// seen.
    pub(super) fn anchor(&mut self, since: Since, origin: Origin) {
        let mut tops = Vec::new();
        for root in &self.config.roots.0 {
            let above = root.ancestors().skip(usize::from(root.parent().is_some()));
            let found = above.into_iter().find_map(|path| {
                let look = self.disk.look(path, true).ok().flatten()?;
                look.is_directory.then(|| (path.to_owned(), look))
            });
            tops.extend(found);
        }
        tops.sort_by_key(|(path, _)| path.as_os_str().len());
        for (path, look) in tops {
            let known = self.tree.tops().into_iter().filter_map(|top| self.tree.path(top));
            if known.into_iter().any(|top| path.starts_with(top)) {
                continue;
            }
            let directory = self.tree.add(None, path.as_os_str(), look.identity);
            let rules = self.rules_of(&path, &super::rules::Rules::none());
            if let Some(dir) = self.tree.get_mut(directory) {
                (dir.is_told, dir.rules) = (true, rules);
            }
            self.watch(directory);
            self.scans.push_back(Scan { directory, since, origin, is_deep: true });
        }
    }

    /// Begins anew above what is not where it was.
    pub(super) fn reanchor(&mut self) {
        for top in self.tree.tops() {
            let Some(path) = self.tree.path(top) else { continue };
            // What cannot be seen has not gone for that.
            let Ok(look) = self.disk.look(&path, true) else { continue };
            let identity = look.map(|look| look.identity);
            let is_closed = self.troubles.closed.contains_key(&top);
            let is_over = |dir: &Dir| (dir.watch.is_none() && !is_closed) || identity != Some(dir.identity);
            if self.tree.get(top).is_some_and(is_over) {
                let gone = self.take_away(top, &HashSet::new(), Origin::Live);
                self.ready.extend(gone);
            }
        }
        self.anchor(Since::Ever, Origin::Live);
    }

    /// Looks through a directory.
    pub(super) fn scan(&mut self, scan: Scan, now: Moment) {
        let Some(path) = self.tree.path(scan.directory) else { return };
        let modified = match self.disk.look(&path, true) {
            Ok(Some(look)) => look.content.modified,
            _ => i128::MAX,
        };
        let was_closed = self.troubles.closed.get(&scan.directory).map(|closed| closed.is_whole);
        let scan = if was_closed == Some(true) { Scan { since: Since::Start, ..scan } } else { scan };
        if was_closed.is_some() && self.tree.get(scan.directory).is_some_and(|dir| dir.watch.is_none()) {
            self.watch(scan.directory);
        }
        let (entries, mut problem) = match self.disk.list(&path) {
            Ok(entries) => (entries, None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => (self.named_in(&path), Some((path.clone(), error))),
        };
        let is_listed = problem.is_none();
        let mut is_seen = false;
        let is_known =
            self.tree.get(scan.directory).is_some_and(|dir| !dir.files.is_empty() || !dir.directories.is_empty());
        let mut found = HashSet::new();
        for (name, is_directory) in entries {
            let at = path.join(&name);
            if !self.concerns(scan.directory, &at, is_directory) {
                continue;
            }
            let look = self.disk.look(&at, self.config.roots.lead_through(&at));
            if is_known && !matches!(look, Ok(None)) {
                found.insert(name.clone());
            }
            let look = match look {
                Ok(Some(look)) => look,
                Ok(None) => continue,
                Err(error) => {
                    problem.get_or_insert((at, error));
                    continue;
                }
            };
            is_seen = true;
            self.find((scan.directory, name), &at, look, modified, scan, now);
        }
        match problem {
            Some((at, error)) => drop(self.close(scan.directory, &at, &error, !(is_listed && is_seen))),
            // It may be listed by now, and was not when a watch was asked for.
            None if was_closed.is_some() => {
                let is_watched = self.tree.get(scan.directory).is_some_and(|dir| dir.watch.is_some());
                if is_watched || self.troubles.unwatched.is_some() {
                    self.troubles.closed.remove(&scan.directory);
                }
            }
            None => {}
        }
        if is_known
            && is_listed
            && let Some(dir) = self.tree.get(scan.directory)
        {
            let names = dir.files.keys().chain(dir.directories.keys());
            let missing: Vec<OsString> = names.filter(|name| !found.contains(*name)).cloned().collect();
            for name in missing {
                self.pending.hint((scan.directory, name), Hint::Look, scan.origin, now);
            }
        }
    }

    /// An entry is there.
    fn find(&mut self, key: Key, path: &Path, look: Look, directory_modified: i128, scan: Scan, now: Moment) {
        let Some(dir) = self.tree.get(key.0) else { return };
        let known = dir.files.get(&key.1).copied();
        if look.is_directory {
            if known.is_some() {
                self.pending.hint(key, Hint::Look, scan.origin, now);
                return;
            }
            let before = dir.directories.get(&key.1).copied();
            self.visit(&key, path, look, scan.since, scan.origin, now);
            let Some(directory) = before else { return };
            if scan.is_deep {
                self.scans.push_back(Scan { directory, ..scan });
            }
            // It could not be looked at when it was to be told.
            if !self.pending.is_waiting(&key) && self.tree.get(directory).is_some_and(|dir| !dir.is_told) {
                self.pending.hint(key, Hint::Look, scan.origin, now);
            }
            return;
        }
        let is_other = |known: Known| known.identity != look.identity || known.content != look.content;
        if dir.directories.contains_key(&key.1) || known.is_some_and(is_other) {
            self.pending.hint(key, Hint::Look, scan.origin, now);
        } else if known.is_none() {
            self.find_new(key, path, look, directory_modified, scan, now);
        }
    }

    /// A file is there that nobody knew.
    fn find_new(&mut self, key: Key, path: &Path, look: Look, directory_modified: i128, scan: Scan, now: Moment) {
        let Since::Time(since) = self.since(scan.since, path) else {
            self.pending.hint(key, Hint::Look, scan.origin, now);
            return;
        };
        // What waits to be told is news already, whatever rules have changed meanwhile.
        if matches!(scan.since, Since::Time(_)) && self.pending.is_waiting(&key) {
            return;
        }
        let is_written = look.content.modified >= since;
        let is_made = look.identity.born >= since;
        // Its name may have come with a rename, which changes nothing in the file but this time …
        let has_come = look.changed >= since && directory_modified >= since;
        let is_news = is_written || is_made || has_come;
        let is_old = look.identity.born != 0 && !is_made && is_written;
        if is_old || !is_news {
            // … and what was there before is known, if not as it is now.
            let content = if is_old { Content { modified: i128::MIN, ..look.content } } else { look.content };
            self.learn(&key, path, Known { identity: look.identity, content, watch: None });
        }
        if is_news {
            self.pending.hint(key, Hint::Found, self.origin(scan.origin, look), now);
        }
    }

    /// What has happened since the start was not missed, however it is found.
    fn origin(&self, origin: Origin, look: Look) -> Origin {
        let is_since = origin == Origin::Recovered && look.changed >= self.config.started;
        if is_since { Origin::Live } else { origin }
    }

    /// A directory is there: it is watched if it was not, and looked through if it was not known.
    pub(super) fn visit(&mut self, key: &Key, path: &Path, look: Look, since: Since, origin: Origin, now: Moment) {
        if self.config.excluded_inodes.contains(&(look.identity.device, look.identity.inode)) {
            return;
        }
        let Some(parent) = self.tree.get(key.0) else { return };
        if let Some(id) = parent.directories.get(&key.1).copied() {
            if self.tree.get(id).is_some_and(|dir| dir.identity != look.identity) {
                self.replace(id, look, origin, now);
            } else if self.tree.get(id).is_some_and(|dir| dir.watch.is_none()) {
                self.watch(id);
            }
            return;
        }
        if let Some(other) = self.tree.by_identity(look.identity) {
            let elsewhere = self.tree.path(other).and_then(|path| self.disk.look(&path, true).ok().flatten());
            if elsewhere.is_some_and(|elsewhere| elsewhere.identity == look.identity) {
                // A second way to the same directory, such as a bind mount: it is told by its first one.
                return;
            }
            if !self.tree.is_within(key.0, other) {
                self.relink(other, key, path, origin);
                self.pending.hint(key.clone(), Hint::Look, origin, now);
                self.reconsider(other, now);
                self.scans.push_back(Scan { directory: other, since: Since::Ever, origin, is_deep: true });
                return;
            }
        }
        if self.tree.len() >= MAX_FS_KNOWN {
            self.troubles.unknown.get_or_insert_with(|| path.to_owned());
            return;
        }
        let roots = &self.config.roots;
        let is_ignored = !roots.name(path)
            && roots.cover(path)
            && (parent.is_ignored || self.config.ignoring.covers(&parent.rules, path, true));
        let rules = self.rules_of(path, &parent.rules);
        let (is_news, may_be_told) = match self.since(since, path) {
            Since::Time(time) => (look.identity.born >= time, true),
            Since::Ever | Since::Start => (true, false),
        };
        let directory = self.tree.add(Some(key.0), &key.1, look.identity);
        if let Some(dir) = self.tree.get_mut(directory) {
            (dir.rules, dir.is_ignored) = (rules, is_ignored);
            (dir.is_told, dir.may_be_told) = (!is_news, may_be_told);
        }
        self.watch(directory);
        if is_news {
            self.pending.hint(key.clone(), Hint::Look, self.origin(origin, look), now);
        }
        self.scans.push_back(Scan { directory, since, origin, is_deep: true });
    }

    /// A directory has another path now, and everything in it. That is told at once: what happens under the new path is
    /// told of the new path, and what happens under the old one is about something else.
    fn relink(&mut self, directory: DirId, key: &Key, path: &Path, origin: Origin) {
        let Some(from) = self.tree.path(directory) else { return };
        let mut changes = Vec::new();
        if self.tree.get(key.0).is_some_and(|dir| dir.files.contains_key(&key.1)) {
            self.forget(key);
            changes.push(change(Kind::Delete, path.to_owned(), false, origin));
        }
        self.tree.relink(directory, key.0, &key.1);
        if self.tree.get(directory).is_some_and(|dir| dir.is_told) {
            self.tell_above(key.0, origin, &mut changes);
            self.tell_moved(directory, &from, path, origin, &mut changes);
        }
        self.ready.extend(changes);
    }

    /// Where a directory was there is another one now: whatever was in the old one is looked at.
    fn replace(&mut self, directory: DirId, look: Look, origin: Origin, now: Moment) {
        if let Some(watch) = self.tree.own_watch(directory) {
            self.disk.unwatch(watch);
        }
        self.tree.set_watch(directory, None);
        self.tree.identify(directory, look.identity);
        self.watch(directory);
        let Some(dir) = self.tree.get(directory) else { return };
        let names: Vec<OsString> = dir.files.keys().chain(dir.directories.keys()).cloned().collect();
        for name in names {
            self.pending.hint((directory, name), Hint::Look, origin, now);
        }
        self.scans.push_back(Scan { directory, since: Since::Ever, origin, is_deep: true });
    }

    /// What is ignored below a directory may have changed: what is ignored now is forgotten without a word, and what is
    /// not any more is known from now on. Only what has changed just before is news, as it may have come with the rules.
    pub(super) fn reconsider(&mut self, top: DirId, now: Moment) {
        for directory in self.tree.subtree(top) {
            let Some(path) = self.tree.path(directory) else { continue };
            let above = self.tree.get(directory).and_then(|dir| self.tree.get(dir.parent?));
            let rules = self.rules_of(&path, above.map_or(&super::rules::Rules::none(), |above| &above.rules));
            let Some(dir) = self.tree.get_mut(directory) else { continue };
            dir.rules = rules;
            let dir = self.tree.get(directory).into_iter();
            let entries = dir.flat_map(|dir| {
                dir.files
                    .keys()
                    .map(|name| (name, None))
                    .chain(dir.directories.iter().map(|(name, id)| (name, Some(*id))))
            });
            let is_over =
                |(name, id): &(&OsString, Option<DirId>)| !self.concerns(directory, &path.join(name), id.is_some());
            let over: Vec<_> = entries.filter(is_over).map(|(name, id)| (name.clone(), id)).collect();
            for (name, id) in over {
                match id {
                    Some(id) => drop(self.take_away(id, &HashSet::new(), Origin::Live)),
                    None => self.forget(&(directory, name)),
                }
            }
        }
        let recent = now.wall - nanoseconds(self.config.at_most);
        let since = Since::Time(recent);
        self.scans.push_back(Scan { directory: top, since, origin: Origin::Live, is_deep: true });
    }

    fn since(&self, since: Since, path: &Path) -> Since {
        if since != Since::Start {
            return since;
        }
        let roots = self.config.roots.0.iter().zip(&self.seen_until).filter(|(root, _)| path.starts_with(root));
        let nearest = roots.max_by_key(|(root, _)| root.as_os_str().len());
        nearest.map_or(Since::Ever, |(_, until)| Since::Time(*until))
    }

    /// A file is nothing to us any more.
    pub(super) fn forget(&mut self, key: &Key) {
        if let Some(watch) = self.tree.forget(key).and_then(|known| known.watch) {
            self.disk.unwatch(watch);
        }
    }
}

/// A time in nanoseconds.
pub(super) fn nanoseconds(time: std::time::Duration) -> i128 {
    i128::try_from(time.as_nanos()).unwrap_or(i128::MAX)
}
