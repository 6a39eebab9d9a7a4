//! Where a file was: noticing that it has been removed or replaced.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A file that somebody relies on, as it was when they began: the socket that a hub has bound itself, and the log of a
/// hub, of a source or of a listener. A session that ends takes its runtime directory away, and whoever removes the log
/// has the next writer make another one: a hub that lives on would serve from what no writer knows any more, and they
/// would write what no hub reads.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    identity: (u64, u64),
}

impl Place {
    /// The file that is there now.
    pub fn of(path: &Path) -> io::Result<Place> {
        Ok(Place { path: path.to_owned(), identity: identity(path)? })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether another file is there by now, or none.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        identity(&self.path).ok() != Some(self.identity)
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = std::fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}
