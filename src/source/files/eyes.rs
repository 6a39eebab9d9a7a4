//! The thread that watches: it may wait for a slow disk, and nobody waits for it. It sleeps in the kernel until there is
//! a hint, a path is due, or it is told to stop.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Instant;

use serde_json::json;
use tokio::sync::mpsc;
use tracing::warn;

use super::debounce::Moment;
use super::disk::{Disk, RealDisk, since_epoch};
use super::watcher::{Change, Config, Watcher};
use crate::ingest::files::{self, draft};
use crate::model::event::Draft;
use crate::model::limits::{FS_BATCH, FS_LOOK_AGAIN};
use crate::sys::watch::{self, DirectoryWatch};

/// What the thread says.
#[derive(Debug)]
pub(super) enum Word {
    /// Events, and the position that is reached with them.
    Changes(Vec<Draft>, Option<String>),
    /// Why not everything is seen; nothing if it is.
    Health(Option<String>),
}

/// What the thread needs.
pub(super) struct Eyes {
    pub(super) watch: DirectoryWatch,
    pub(super) config: Config,
    /// Until when each named path has been told, in nanoseconds since the epoch.
    pub(super) seen_until: Vec<i128>,
    pub(super) words: mpsc::Sender<Word>,
    /// Closed at its other end when it is over.
    pub(super) stop: OwnedFd,
}

impl Eyes {
    /// Watches until it is told to stop. An error is one that cannot get better.
    pub(super) fn watch(self) -> std::io::Result<()> {
        let Eyes { watch, config, seen_until, words, stop } = self;
        let mut caught_up = seen_until.iter().copied().min().unwrap_or(config.started);
        let mut watcher = Watcher::start(RealDisk(watch), config, seen_until);
        let mut speaker = Speaker { words, health: None, has_looked: false };
        let mut seen = Vec::new();
        let mut looked = Instant::now();
        loop {
            let (mut is_busy, mut is_more) = (false, false);
            if !watcher.is_full() {
                let before = since_epoch(watch::time_of_files());
                is_more = watcher.disk.0.read(&mut seen)?;
                let now = Moment { at: Instant::now(), wall: caught_up };
                seen.drain(..).for_each(|seen| watcher.see(seen, now));
                is_busy |= watcher.step(now) | is_more;
                if !is_more && watcher.scans.is_empty() {
                    caught_up = before;
                }
            }
            let now = Moment { at: Instant::now(), wall: caught_up };
            // What has happened before may not be known yet, and would be told after what came later.
            let is_behind = !watcher.is_full() && (is_more || !watcher.scans.is_empty());
            let until = if is_behind { now.at.checked_sub(watcher.config.at_most).unwrap_or(now.at) } else { now.at };
            let changes = watcher.settle(Moment { at: until, ..now });
            is_busy |= !changes.is_empty();
            if speaker.speak(&mut watcher, &changes, caught_up).is_none() {
                return Ok(());
            }
            if is_busy {
                continue;
            }
            let again = watcher.is_blind().then(|| FS_LOOK_AGAIN.saturating_sub(looked.elapsed()));
            let due = watcher.pending.next().map(|due| due.saturating_duration_since(Instant::now()));
            let listen = !watcher.is_full();
            let time = again.into_iter().chain(due).min();
            if watch::wait(listen.then_some(&watcher.disk.0), &stop, time)? {
                return Ok(());
            }
            if watcher.is_blind() && looked.elapsed() >= FS_LOOK_AGAIN {
                watcher.look_again();
                looked = Instant::now();
            }
        }
    }
}

/// What the thread has said.
struct Speaker {
    words: mpsc::Sender<Word>,
    health: Option<String>,
    /// Whether everything has been looked at once.
    has_looked: bool,
}

impl Speaker {
    /// Says what is new. Nothing if nobody listens any more.
    fn speak(&mut self, watcher: &mut Watcher<RealDisk>, changes: &[Change], caught_up: i128) -> Option<()> {
        for (path, problem) in watcher.troubles.unreadable.drain(..) {
            warn!(path = %path.display(), problem, "it cannot be read, so nothing in it is told");
        }
        let has_looked = watcher.scans.is_empty();
        if has_looked || watcher.troubles.has_overflowed {
            let health = sentence(watcher);
            if health != self.health {
                self.words.blocking_send(Word::Health(health.clone())).ok()?;
                self.health = health;
            }
        }
        let is_first = has_looked && !self.has_looked;
        self.has_looked |= has_looked;
        if changes.is_empty() && !is_first {
            return Some(());
        }
        let drafts: Vec<Draft> = changes.iter().map(event).collect();
        let mut chunks = drafts.chunks(FS_BATCH).peekable();
        while let Some(chunk) = chunks.next() {
            // All that was told before may be forgotten only with the last of it.
            let position = (chunks.peek().is_none() && has_looked).then(|| position(watcher, caught_up));
            self.words.blocking_send(Word::Changes(chunk.to_vec(), position)).ok()?;
        }
        if changes.is_empty() {
            self.words.blocking_send(Word::Changes(Vec::new(), Some(position(watcher, caught_up)))).ok()?;
        }
        Some(())
    }
}

fn event(change: &Change) -> Draft {
    draft(&files::Change {
        kind: change.kind,
        path: change.path.as_os_str().as_bytes(),
        from: change.from.as_ref().map(|from| from.as_os_str().as_bytes()),
        is_directory: change.is_directory,
        is_complete: change.is_complete,
        origin: change.origin,
        state: change.state,
        is_certain: change.is_certain,
    })
}

/// Until when everything has been told, and of which paths.
fn position(watcher: &Watcher<RealDisk>, caught_up: i128) -> String {
    let until = watcher.pending.untold_since().map_or(caught_up, |since| since.min(caught_up));
    let paths: Vec<_> = watcher.config.roots.0.iter().map(|path| path.to_string_lossy()).collect();
    json!({"until": i64::try_from(until).unwrap_or(0), "paths": paths}).to_string()
}

/// Why not everything is seen.
fn sentence(watcher: &Watcher<RealDisk>) -> Option<String> {
    let troubles = &watcher.troubles;
    if troubles.has_overflowed {
        return Some("more has changed at once than the kernel remembers, so everything is looked at again".to_owned());
    }
    let every = FS_LOOK_AGAIN.as_secs();
    if let Some((path, problem)) = &troubles.unwatched {
        let (count, limit) = (watcher.tree.unwatched().count(), watch::limit_of_watches());
        let path = path.display();
        return Some(format!(
            "{count} directories are not watched but looked at every {every} s, the first of them {path}: {problem} ({limit})"
        ));
    }
    if let Some(path) = &troubles.unknown {
        let (path, count) = (path.display(), watcher.tree.len());
        return Some(format!(
            "{count} files and directories are watched, which is the bound, so {path} and others are not: name fewer paths, or ignore some"
        ));
    }
    let problem = |root: &PathBuf| {
        let closed = |problem| format!("{} cannot be read: {problem}; it is told when it can be", root.display());
        match watcher.disk.look(root, true) {
            Ok(None) => Some(format!("{} is not there; it is told when it is", root.display())),
            Ok(Some(_)) => watcher.why_closed(root).map(closed),
            Err(error) => Some(closed(error.to_string())),
        }
    };
    watcher.config.roots.0.iter().find_map(problem)
}
