//! Files that waitbus writes for others to read: what is wanted beside what is there, and the difference, written whole
//! or not at all.
//!
//! Every such file says in its head that waitbus has written it. One that does not is somebody else's: it is neither
//! overwritten nor removed, but named.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::sys::private;

/// What a file of ours has in one of its first lines.
pub const MARK: &str = "Written by `waitbus";
/// The mark is looked for in this many lines: a plist has two lines of its own before it can say anything.
const HEAD_LINES: usize = 5;
/// Permission bits of a file without secrets: what anybody may know, and only its owner may change.
const PLAIN: u32 = 0o644;

/// A file as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Where.
    pub path: PathBuf,
    /// All of it, with [`MARK`] in its head.
    pub text: String,
}

/// The difference between a file and what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which file.
    pub path: PathBuf,
    /// What is in it now, if it is there.
    pub before: Option<String>,
    /// What is to be in it, if it is to be there.
    pub after: Option<String>,
}

/// A file is not as it should be, and cannot be made so.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is somebody else's.
    #[error("{} is in the way: {what}; move it away and run this again", path.display())]
    InTheWay {
        /// Which file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// The file system refuses.
    #[error("{} cannot be {done}: {source}", path.display())]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// What was tried.
        done: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl FileError {
    fn io(path: &Path, done: &'static str) -> impl FnOnce(io::Error) -> FileError {
        move |source| FileError::Io { path: path.to_owned(), done, source }
    }
}

/// What has to change for the file to be as it is wanted, if anything.
pub fn difference(wanted: &Wanted) -> Result<Option<Change>, FileError> {
    let before = ours(&wanted.path)?;
    if before.as_ref() == Some(&wanted.text) {
        return Ok(None);
    }
    Ok(Some(Change { path: wanted.path.clone(), before, after: Some(wanted.text.clone()) }))
}

/// What has to change for there to be no file of ours, if anything. Somebody else's is left alone.
pub fn removal(path: &Path) -> Result<Option<Change>, FileError> {
    match ours(path) {
        Ok(before) => Ok(before.map(|text| Change { path: path.to_owned(), before: Some(text), after: None })),
        Err(FileError::InTheWay { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What is in a file of ours; `None` if there is none, and an error if it is somebody else's.
pub fn ours(path: &Path) -> Result<Option<String>, FileError> {
    let foreign = |what| Err(FileError::InTheWay { path: path.to_owned(), what });
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(FileError::io(path, "looked at")(error)),
        Ok(found) if found.is_symlink() => return foreign("it is a link, as a masked or linked unit has"),
        Ok(found) if !found.is_file() => return foreign("it is no file"),
        Ok(_) => {}
    }
    let bytes = fs::read(path).map_err(FileError::io(path, "read"))?;
    match String::from_utf8(bytes) {
        Ok(text) if text.lines().take(HEAD_LINES).any(|line| line.contains(MARK)) => Ok(Some(text)),
        _ => foreign("waitbus did not write it"),
    }
}

impl Change {
    /// Makes it.
    pub fn make(&self) -> Result<(), FileError> {
        match &self.after {
            Some(text) => {
                let parent = self.path.parent().unwrap_or(Path::new("/"));
                fs::create_dir_all(parent).map_err(FileError::io(parent, "made"))?;
                replace(&self.path, text.as_bytes(), PLAIN)
            }
            None => remove(&self.path),
        }
    }
}

/// Makes a directory, with its parents, where it is missing, and keeps everybody else out of it.
pub fn directory(path: &Path) -> Result<(), FileError> {
    private::directory(path).map_err(FileError::io(path, "made"))
}

/// Puts bytes where `path` says, with these permissions from the first byte on. Whoever looks sees the old file or the
/// new one, also after a power cut.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let failed = || FileError::io(path, "written");
    let parent = path.parent().unwrap_or(Path::new("/"));
    // It is made with 0600 and gets no wider than asked before it is whole.
    // Its name is in no message: nobody has heard of it, and it is gone by then.
    let made = NamedTempFile::with_prefix_in(".waitbus-", parent);
    let mut file = made.map_err(|error| failed()(error.kind().into()))?;
    file.as_file_mut().write_all(bytes).map_err(failed())?;
    file.as_file().set_permissions(Permissions::from_mode(mode)).map_err(failed())?;
    file.as_file().sync_all().map_err(failed())?;
    file.persist(path).map_err(|error| failed()(error.error))?;
    File::open(parent).and_then(|directory| directory.sync_all()).map_err(failed())
}

/// Removes a file or an empty directory, and the directories that held nothing else and exist for such files alone.
pub fn remove(path: &Path) -> Result<(), FileError> {
    let removed = if path.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => {
            Err(FileError::io(path, "removed")(error))
        }
        _ => {
            // A directory that others use is not empty, and stays.
            let above = path.ancestors().skip(1).take_while(|above| is_for_such_files(above));
            above.map_while(|empty| fs::remove_dir(empty).ok()).for_each(drop);
            Ok(())
        }
    }
}

/// A unit's drop-ins and what it wants, the places of a user's units, and that of secrets.
fn is_for_such_files(directory: &Path) -> bool {
    let extension = directory.extension().is_some_and(|extension| extension == "d" || extension == "wants");
    extension || directory.ends_with("systemd/user") || directory.ends_with("credentials")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(path: &Path, text: &str) -> Wanted {
        Wanted { path: path.to_owned(), text: format!("# {MARK} install`\n{text}") }
    }

    #[test]
    fn only_the_difference_is_written_and_the_second_time_there_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("systemd/user/a.socket");
        let first = wanted(&path, "one\n");
        let change = difference(&first).unwrap().unwrap();
        assert_eq!(change.before, None);
        change.make().unwrap();
        assert_eq!(difference(&first).unwrap(), None);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        let second = wanted(&path, "two\n");
        let change = difference(&second).unwrap().unwrap();
        assert_eq!(change.before.as_ref(), Some(&first.text));
        change.make().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), second.text);
        let names: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(names, [path], "nothing else is left");
    }

    #[test]
    fn a_file_that_somebody_else_wrote_is_neither_replaced_nor_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.service");
        let message = |path: &Path| difference(&wanted(path, "x")).unwrap_err().to_string();
        fs::write(&path, "[Service]\n").unwrap();
        assert!(message(&path).contains("waitbus did not write it"));
        assert_eq!(removal(&path).unwrap(), None);
        fs::write(&path, b"\xff").unwrap();
        assert!(message(&path).contains("waitbus did not write it"));
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        assert!(message(&path).contains("it is a link"));
        assert_eq!(removal(&path).unwrap(), None);
        assert!(message(directory.path()).contains("it is no file"));
    }

    #[test]
    fn what_is_removed_leaves_no_empty_directory_of_units_and_touches_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let units = directory.path().join("config/systemd/user");
        let drop_in = wanted(&units.join("a.service.d/b.conf"), "x");
        difference(&drop_in).unwrap().unwrap().make().unwrap();
        removal(&drop_in.path).unwrap().unwrap().make().unwrap();
        assert!(!units.exists() && directory.path().join("config").exists());
        remove(&drop_in.path).unwrap();
        difference(&drop_in).unwrap().unwrap().make().unwrap();
        fs::write(units.join("mine.service"), "").unwrap();
        removal(&drop_in.path).unwrap().unwrap().make().unwrap();
        assert!(units.join("mine.service").exists() && !units.join("a.service.d").exists());
    }

    #[test]
    fn a_secret_is_never_wider_than_it_is_meant_to_be() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        replace(&path, b"new", 0o600).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_cannot_be_written_is_named_by_its_place_and_not_by_a_temporary_file() {
        let directory = tempfile::tempdir().unwrap();
        let message = replace(&directory.path().join("missing/secret"), b"new", 0o600).unwrap_err().to_string();
        assert!(message.contains("missing/secret cannot be written: entity not found"), "{message}");
        assert!(!message.contains(".waitbus-"), "{message}");
    }
}
