//! What the watcher asks of the disk. The tests have another one.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

use crate::ingest::files::State;
use crate::model::limits::MAX_IGNORE_FILE_BYTES;
use crate::sys::watch::{DirectoryWatch, Extent};

/// What a path is at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) is_directory: bool,
    pub(super) identity: Identity,
    pub(super) content: Content,
    /// Nanoseconds since the epoch.
    pub(super) changed: i128,
    /// Whether it is a file that somebody may have made a moment ago and is about to fill.
    pub(super) is_bare: bool,
}

/// What makes two looks see the same file. A number alone does not: it is given anew as soon as its file is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    pub(super) device: u64,
    pub(super) inode: u64,
    /// Nanoseconds since the epoch; zero where the file system does not say.
    pub(super) born: i128,
}

/// What differs when a file has been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) bytes: u64,
    /// Nanoseconds since the epoch.
    pub(super) modified: i128,
}

impl Look {
    pub(super) fn state(&self) -> State {
        State { inode: self.identity.inode, changed: self.changed }
    }
}

/// The disk, and the kernel's word about it.
pub(super) trait Disk {
    /// Whether files need a watch of their own for their contents.
    const FILES_TOO: bool;
    /// What a path is; none if it is not there.
    fn look(&self, path: &Path, follow: bool) -> io::Result<Option<Look>>;
    /// The names in a directory, and which of them are directories themselves.
    fn list(&self, directory: &Path) -> io::Result<Vec<(OsString, bool)>>;
    /// The beginning of a small text; empty if it cannot be had.
    fn text(&self, file: &Path) -> String;
    /// Watches a directory, or a file where files need that.
    fn watch(&mut self, path: &Path, extent: Extent, follow: bool) -> io::Result<i32>;
    /// Ends a watch.
    fn unwatch(&mut self, watch: i32);
}

/// The real one.
#[derive(Debug)]
pub(super) struct RealDisk(pub(super) DirectoryWatch);

impl Disk for RealDisk {
    const FILES_TOO: bool = DirectoryWatch::FILES_TOO;

    fn look(&self, path: &Path, follow: bool) -> io::Result<Option<Look>> {
        let found = if follow { fs::metadata(path) } else { fs::symlink_metadata(path) };
        match found {
            Ok(metadata) => Ok(Some(look(&metadata))),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<(OsString, bool)>> {
        let entry = |entry: io::Result<fs::DirEntry>| {
            let entry = entry?;
            Ok((entry.file_name(), entry.file_type().is_ok_and(|kind| kind.is_dir())))
        };
        fs::read_dir(directory)?.map(entry).collect()
    }

    fn text(&self, file: &Path) -> String {
        let mut bytes = Vec::new();
        let is_file = fs::metadata(file).is_ok_and(|metadata| metadata.is_file());
        if let Some(file) = is_file.then(|| File::open(file).ok()).flatten() {
            let _ = file.take(MAX_IGNORE_FILE_BYTES).read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn watch(&mut self, path: &Path, extent: Extent, follow: bool) -> io::Result<i32> {
        self.0.add(path, extent, follow)
    }

    fn unwatch(&mut self, watch: i32) {
        self.0.remove(watch);
    }
}

/// The device and the number of what is at a path.
pub(super) fn inode(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

fn look(metadata: &Metadata) -> Look {
    let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
    Look {
        is_directory: metadata.is_dir(),
        identity: Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
            born: metadata.created().map_or(0, since_epoch),
        },
        content: Content { bytes: metadata.len(), modified: nanoseconds(metadata.mtime(), metadata.mtime_nsec()) },
        changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        is_bare: metadata.is_file() && metadata.len() == 0 && metadata.nlink() == 1,
    }
}

/// Nanoseconds since the epoch, which may lie after it.
pub(super) fn since_epoch(time: SystemTime) -> i128 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => i128::try_from(after.as_nanos()).unwrap_or(i128::MAX),
        Err(before) => -i128::try_from(before.duration().as_nanos()).unwrap_or(i128::MAX),
    }
}
