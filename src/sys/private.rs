//! Files and directories that are for this user alone.

use std::fs::{DirBuilder, Permissions, metadata, set_permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

/// Makes a directory, with its parents, where it is missing; takes everybody else's rights on it away.
pub fn directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let owner = metadata(path)?.uid();
    if owner != rustix::process::geteuid().as_raw() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("it belongs to uid {owner}")));
    }
    take_rights(path, 0o700)
}

/// Takes everybody else's rights on an existing file away.
pub fn file(path: &Path) -> io::Result<()> {
    take_rights(path, 0o600)
}

fn take_rights(path: &Path, mode: u32) -> io::Result<()> {
    if metadata(path)?.mode() & 0o077 == 0 { Ok(()) } else { set_permissions(path, Permissions::from_mode(mode)) }
}
