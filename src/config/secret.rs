//! The secrets: which there are, where they lie, and a type that cannot be printed by accident.
//!
//! Under a service manager that hands over credentials a secret is one of those (`$CREDENTIALS_DIRECTORY`) and nothing else,
//! so that what the unit says is what holds; without one it is a file that only its owner can read. Never an argument,
//! never a variable.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::directories::Directories;
use super::environment;
use crate::model::limits::{GENERATED_SECRET_BYTES, MAX_SECRET_BYTES};

/// A secret that waitbus knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Name of the credential, and of the file.
    pub name: &'static str,
    /// Which one it is, for whoever has to find it.
    pub which: &'static str,
    /// The unit of the service that is given it, and of no other.
    pub service: &'static str,
}

/// What GitHub signs its deliveries with.
pub const GITHUB_WEBHOOK: Known = Known {
    name: "github-webhook-secret",
    which: "the one that GitHub signs with",
    service: "waitbus-webhook.service",
};
/// What an Alertmanager shows with its deliveries.
pub const ALERTMANAGER_WEBHOOK: Known = Known {
    name: "alertmanager-webhook-secret",
    which: "the token or password that Alertmanager sends",
    service: "waitbus-webhook.service",
};
/// What the source `github` shows to GitHub when it asks.
pub const GITHUB_TOKEN: Known =
    Known { name: "github-token", which: "one that GitHub has made for you", service: "waitbus-source@github.service" };
/// All of them.
pub const KNOWN: [Known; 2] = [GITHUB_WEBHOOK, ALERTMANAGER_WEBHOOK];

impl Known {
    /// What to do when there is none.
    #[must_use]
    pub fn remedy(self) -> String {
        let Known { name, which, .. } = self;
        format!("{name} is not set: give {which} to `waitbus secret set {name}`")
    }
}

/// A secret. Its memory is wiped when it is dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// A secret from bytes; `None` if they are empty, because anybody can sign with an empty key.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Option<Secret> {
        let mut bytes = Zeroizing::new(bytes);
        // Editors and `echo` end a file with a line break that nobody typed into GitHub's form.
        while matches!(bytes.last(), Some(b'\n' | b'\r')) {
            bytes.pop();
        }
        (!bytes.is_empty()).then_some(Secret(bytes))
    }

    /// A new one, in letters and digits.
    pub fn generate() -> io::Result<Secret> {
        let mut random = Zeroizing::new([0; GENERATED_SECRET_BYTES]);
        File::open("/dev/urandom")?.read_exact(&mut *random)?;
        let mut text = Zeroizing::new(Vec::with_capacity(2 * GENERATED_SECRET_BYTES));
        for byte in random.iter() {
            // Writing to a vector cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Secret::new(std::mem::take(&mut *text)).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// The bytes, for signing and verifying only.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The secret is there but cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadSecret {
    /// Others can read the file.
    #[error("{} can be read by others (mode {mode:03o}): run `chmod 600` on it, and change the secret", path.display())]
    NotPrivate {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It cannot be read.
    #[error("the secret {} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is encrypted for the service, and this is not the service.
    #[error(
        "{name} is stored encrypted, and is given to {service} alone: for a process that is started by hand, store it \
         with `waitbus secret set {name} --plain`",
        name = .0.name, service = .0.service
    )]
    Encrypted(Known),
    /// It is too long to be one.
    #[error("the secret {} has more than {MAX_SECRET_BYTES} bytes", .0.display())]
    TooLong(PathBuf),
}

/// A secret, if it is set.
pub fn load(known: Known, directories: &Directories) -> Result<Option<Secret>, BadSecret> {
    match environment::get("CREDENTIALS_DIRECTORY").map(PathBuf::from) {
        // The manager has seen to its mode, and shows it to this service alone.
        Some(credentials) => read(&credentials.join(known.name), false),
        None => match read(&directories.credentials().join(known.name), true)? {
            None if directories.credentials().join(encrypted(known.name)).exists() => Err(BadSecret::Encrypted(known)),
            found => Ok(found),
        },
    }
}

/// Name of the file of a secret that is encrypted.
#[must_use]
pub fn encrypted(name: &str) -> String {
    format!("{name}.cred")
}

fn read(path: &Path, check_mode: bool) -> Result<Option<Secret>, BadSecret> {
    let unreadable = |source| BadSecret::Unreadable { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let mode = file.metadata().map_err(unreadable)?.mode() & 0o777;
    if check_mode && mode & 0o077 != 0 {
        return Err(BadSecret::NotPrivate { path: path.to_owned(), mode });
    }
    let mut bytes = Vec::new();
    let length = file.take(MAX_SECRET_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if length as u64 > MAX_SECRET_BYTES {
        return Err(BadSecret::TooLong(path.to_owned()));
    }
    Ok(Secret::new(bytes))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_line_break_at_the_end_is_not_part_of_it_and_nothing_is_no_secret() {
        assert_eq!(Secret::new(b"s3cret\r\n".to_vec()).unwrap().expose(), b"s3cret");
        assert_eq!(Secret::new(b" inner \n space ".to_vec()).unwrap().expose(), b" inner \n space ");
        assert!(Secret::new(b"\n\n".to_vec()).is_none());
        assert!(!format!("{:?}", Secret::new(b"s3cret".to_vec())).contains("s3cret"));
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(GITHUB_WEBHOOK.name);
        assert!(read(&path, true).unwrap().is_none());
        fs::write(&path, "s3cret").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let message = read(&path, true).unwrap_err().to_string();
        assert!(message.contains("mode 640") && message.contains("chmod 600"), "{message}");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read(&path, true).unwrap().unwrap().expose(), b"s3cret");
        fs::write(&path, vec![b'x'; 5_000]).unwrap();
        assert!(matches!(read(&path, true), Err(BadSecret::TooLong(_))));
    }
}
