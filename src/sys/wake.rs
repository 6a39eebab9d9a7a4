//! The kernel's word that a file has been touched, where sockets may not be used: a reader without them watches for
//! `<state>/wake`, which every writer touches after its commit, and the hub watches for `<state>/bell`, which a writer
//! touches that could not ring. And that a file has come which others make.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use notify::event::EventKind;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use rustix::fs::{Timespec, Timestamps, UTIME_NOW, futimens};
use tokio::sync::Notify;

/// A file that is touched to tell others that the log has grown.
#[derive(Debug)]
pub struct TouchFile(File);

impl TouchFile {
    /// Opens the file, which is made where it is missing.
    pub fn open(file: &Path) -> io::Result<TouchFile> {
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(file).map(TouchFile)
    }

    /// Tells those who watch. A failure is nobody's error: what was committed is in the log, and the next touch tells
    /// them again.
    pub fn touch(&self) {
        let now = || Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let _ = futimens(&self.0, &Timestamps { last_access: now(), last_modification: now() });
    }
}

/// A watch for touches of one file.
#[derive(Debug)]
pub struct WakeWatch {
    _watcher: RecommendedWatcher,
    touched: Arc<Notify>,
}

impl WakeWatch {
    /// Watches a file that may be made, or made anew, at any time: its directory is watched, at the price of being
    /// woken for its neighbours too. What is touched from now on is not missed.
    #[cfg(target_os = "linux")]
    pub fn of_any(file: &Path) -> notify::Result<WakeWatch> {
        let directory = file.parent().unwrap_or(Path::new("."));
        WakeWatch::start(directory, file.file_name().unwrap_or_default())
    }

    /// Watches a file, which is made where it is missing. kqueue tells of a directory only which names come and go, not
    /// that a file in it was touched. And `notify` would then open the neighbours one by one, the log among them, and
    /// close them again, which takes SQLite's locks away.
    #[cfg(not(target_os = "linux"))]
    pub fn of_any(file: &Path) -> notify::Result<WakeWatch> {
        // In a directory that may only be read it has to be there already, as it is once anybody has written.
        let made = TouchFile::open(file).map(drop);
        WakeWatch::of_this(file).or_else(|error| made.map_err(notify::Error::io).and(Err(error)))
    }

    /// Watches for a file of others that may come, be it a socket, as far as the directories on the way to it are there:
    /// the nearest one is watched, for the next name. What comes from now on is not missed. It is never made.
    pub fn of_coming(file: &Path) -> notify::Result<WakeWatch> {
        let mut wanted = file;
        while let Some(directory) = wanted.parent() {
            if directory.is_dir() {
                return WakeWatch::start(directory, wanted.file_name().unwrap_or_default());
            }
            wanted = directory;
        }
        Err(notify::Error::path_not_found().add_path(file.to_owned()))
    }

    /// Watches a file that is there and stays. Nothing else wakes this.
    pub fn of_this(file: &Path) -> notify::Result<WakeWatch> {
        WakeWatch::start(file, file.file_name().unwrap_or_default())
    }

    fn start(watched: &Path, wake_file: &OsStr) -> notify::Result<WakeWatch> {
        let touched = Arc::new(Notify::new());
        let (bell, wanted) = (Arc::clone(&touched), wake_file.to_owned());
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if may_be_a_touch(&event, &wanted) {
                bell.notify_one();
            }
        })?;
        watcher.watch(watched, RecursiveMode::NonRecursive)?;
        Ok(WakeWatch { _watcher: watcher, touched })
    }

    /// Waits for the next touch, and takes all that have come together.
    pub async fn touched(&self) {
        self.touched.notified().await;
    }
}

/// Whether the file may have been touched. An error, and an event that says "look again", mean that others may be
/// missing, so they count as one.
fn may_be_a_touch(event: &notify::Result<notify::Event>, wake_file: &OsStr) -> bool {
    let Ok(event) = event else { return true };
    let named = event.need_rescan() || event.paths.iter().any(|path| path.file_name() == Some(wake_file));
    named && !matches!(event.kind, EventKind::Access(_))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[tokio::test]
    async fn a_touch_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let watch = WakeWatch::of_any(&directory.path().join("wake")).unwrap();
        let wake = TouchFile::open(&directory.path().join("wake")).unwrap();
        wake.touch();
        watch.touched().await;
        wake.0.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        watch.touched().await;
    }

    #[tokio::test]
    async fn what_comes_is_seen_from_the_nearest_directory_on() {
        let root = tempfile::tempdir().unwrap();
        let socket = root.path().join("podman/podman.sock");
        let watch = WakeWatch::of_coming(&socket).unwrap();
        std::fs::create_dir(root.path().join("podman")).unwrap();
        watch.touched().await;
        let watch = WakeWatch::of_coming(&socket).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        watch.touched().await;
    }

    #[test]
    fn another_file_and_a_look_at_this_one_are_no_touch() {
        use notify::event::{AccessKind, Flag, ModifyKind};
        let event = |kind: EventKind, file: &str| Ok(notify::Event::new(kind).add_path(Path::new("/s").join(file)));
        let touch = |event| may_be_a_touch(&event, OsStr::new("wake"));
        assert!(touch(event(EventKind::Modify(ModifyKind::Any), "wake")));
        assert!(!touch(event(EventKind::Modify(ModifyKind::Any), "events.db-wal")));
        assert!(!touch(event(EventKind::Access(AccessKind::Any), "wake")));
        assert!(touch(Ok(notify::Event::new(EventKind::Other).set_flag(Flag::Rescan))));
        assert!(touch(Err(notify::Error::generic("queue overflow"))));
    }
}
