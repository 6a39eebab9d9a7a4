//! Where a hub serves: noticing that its socket has been removed or replaced.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The socket that a hub has bound itself, as it was then. A session that ends takes its runtime directory away, and a
/// hub that lives on would serve its old subscribers from a place that no writer knows any more.
#[derive(Debug)]
pub struct Place {
    socket: PathBuf,
    identity: (u64, u64),
}

impl Place {
    /// The place at which a socket has just been bound.
    pub fn of(socket: &Path) -> io::Result<Place> {
        Ok(Place { socket: socket.to_owned(), identity: identity(socket)? })
    }

    /// Whether another file is there by now, or none.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        identity(&self.socket).ok() != Some(self.identity)
    }
}

fn identity(socket: &Path) -> io::Result<(u64, u64)> {
    let found = std::fs::symlink_metadata(socket)?;
    Ok((found.dev(), found.ino()))
}
