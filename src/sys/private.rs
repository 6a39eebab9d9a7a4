//! Files and directories that are for this user alone.

use std::fs::{DirBuilder, Permissions, metadata, set_permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

/// What makes an existing directory one that others use too: everybody may write to it, or it is sticky, as `/tmp` is.
/// A group's right to write says nothing: with the umask of many desktops every new directory has it.
const SHARED: u32 = 0o1002;

/// Makes a directory, with its parents, where it is missing; takes everybody else's rights to look into it away. One
/// that others use is refused and left alone: it is not ours to close, and what lies in it may not be ours.
pub fn directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(read_only)?;
    let found = metadata(path)?;
    let owner = found.uid();
    if owner != rustix::process::geteuid().as_raw() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("it belongs to uid {owner}")));
    }
    if found.mode() & SHARED != 0 {
        let mode = found.mode() & 0o7777;
        let problem = format!(
            "others may write to it (mode {mode:o}): choose a directory that is for waitbus alone, or make it private \
             with chmod 0700"
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, problem));
    }
    take_rights(path, 0o700)
}

/// A service may write where its unit says and nowhere else, which looks like a broken disk.
fn read_only(error: io::Error) -> io::Error {
    if error.kind() != io::ErrorKind::ReadOnlyFilesystem {
        return error;
    }
    let remedy = "a systemd unit may write where its ReadWritePaths= says, if that was there when it started: after \
                  removing the usual directory, run `systemctl --user restart waitbus.socket`";
    io::Error::new(error.kind(), format!("{error}; {remedy}"))
}

/// Takes everybody else's rights on an existing file away.
pub fn file(path: &Path) -> io::Result<()> {
    take_rights(path, 0o600)
}

fn take_rights(path: &Path, mode: u32) -> io::Result<()> {
    if metadata(path)?.mode() & 0o077 == 0 { Ok(()) } else { set_permissions(path, Permissions::from_mode(mode)) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn mode(path: &Path) -> u32 {
        metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_directory_that_others_use_is_refused_and_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("shared");
        DirBuilder::new().create(&path).unwrap();
        for shared in [0o1777, 0o777, 0o1700, 0o702] {
            set_permissions(&path, Permissions::from_mode(shared)).unwrap();
            let error = directory(&path).unwrap_err().to_string();
            assert!(error.contains(&format!("{shared:o}")) && error.contains("chmod 0700"), "{error}");
            assert_eq!(mode(&path), shared);
        }
    }

    #[test]
    fn a_directory_that_others_may_look_into_is_narrowed() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a");
        directory(&path.join("b")).unwrap();
        assert_eq!((mode(&path), mode(&path.join("b"))), (0o700, 0o700));
        for readable in [0o775, 0o770, 0o755, 0o750, 0o711] {
            set_permissions(&path, Permissions::from_mode(readable)).unwrap();
            directory(&path).unwrap();
            assert_eq!(mode(&path), 0o700);
        }
    }

    #[test]
    fn a_link_stands_for_a_directory_of_ours_and_for_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let (real, link) = (parent.path().join("real"), parent.path().join("link"));
        symlink(&real, &link).unwrap();
        directory(&link).unwrap_err();
        std::fs::write(&real, "").unwrap();
        directory(&link).unwrap_err();
        std::fs::remove_file(&real).unwrap();
        DirBuilder::new().mode(0o755).create(&real).unwrap();
        directory(&link).unwrap();
        assert_eq!(mode(&real), 0o700);
    }
}
