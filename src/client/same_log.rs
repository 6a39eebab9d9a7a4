//! Whether the hub reads the log that this process writes. Two logs are two buses: whoever waits at the one for what is
//! emitted into the other waits for ever.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::BusError;
use crate::config::directories::Directories;
use crate::store::LogPaths;

/// Compares the log that the hub at `socket` says it reads. A note for a person where that cannot be told: the hub of
/// another file system, as of a container's host, names a place that is not here.
pub(super) fn check(directories: &Directories, socket: &Path, hub: &str) -> Result<Option<String>, BusError> {
    let ours = LogPaths::new(&directories.state).database();
    if hub.is_empty() || hub == ours.display().to_string() {
        return Ok(None);
    }
    let file = |path: &Path| fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    match (file(Path::new(hub)), file(&ours)) {
        // By another name, as through a link.
        (Some(theirs), Some(ours)) if theirs == ours => Ok(None),
        (None, _) => Ok(Some(format!(
            "the hub reads {hub}, which cannot be seen from here; what is emitted here goes into {}",
            ours.display()
        ))),
        _ => Err(BusError::OtherLog { path: socket.to_owned(), hub: hub.to_owned(), ours }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_the_same_by_their_file_and_not_by_their_name() {
        let root = tempfile::tempdir().unwrap();
        let of = |name: &str| {
            let state = root.path().join(name);
            fs::create_dir_all(&state).unwrap();
            Directories { runtime: "/run/x".into(), state, config: "/c".into() }
        };
        let (one, other) = (of("one"), of("other"));
        let log = LogPaths::new(&one.state).database();
        let asked =
            |directories: &Directories| check(directories, Path::new("/run/x/broadcast.sock"), log.to_str().unwrap());
        assert!(asked(&other).unwrap().unwrap().contains("cannot be seen from here"), "it is not there");
        fs::write(&log, "").unwrap();
        assert_eq!(asked(&one).unwrap(), None);
        assert!(asked(&other).unwrap_err().to_string().contains("WAITBUS_STATE_DIR"));
        fs::write(LogPaths::new(&other.state).database(), "").unwrap();
        assert!(asked(&other).is_err());
        std::os::unix::fs::symlink(&one.state, root.path().join("link")).unwrap();
        let linked = Directories { state: root.path().join("link"), ..one.clone() };
        assert_eq!(asked(&linked).unwrap(), None);
        assert_eq!(check(&one, Path::new("/s"), "").unwrap(), None, "an older hub does not say");
    }
}
