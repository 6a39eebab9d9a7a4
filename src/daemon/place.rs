//! Where a hub serves, and from what: noticing that its socket or its log has been removed or replaced.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A file as it was when a hub began to use it: the socket that it has bound itself, or the log. A session that ends
/// takes its runtime directory away, and somebody who starts afresh moves the log; a hub that lives on would serve its
/// old subscribers from a place that no writer knows any more.
#[derive(Debug)]
pub struct Place {
    file: PathBuf,
    identity: (u64, u64),
}

impl Place {
    /// The place of a file that has just been bound or opened.
    pub fn of(file: &Path) -> io::Result<Place> {
        Ok(Place { file: file.to_owned(), identity: identity(file)? })
    }

    /// Whether another file is there by now, or none.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        identity(&self.file).ok() != Some(self.identity)
    }
}

fn identity(file: &Path) -> io::Result<(u64, u64)> {
    let found = std::fs::symlink_metadata(file)?;
    Ok((found.dev(), found.ino()))
}
