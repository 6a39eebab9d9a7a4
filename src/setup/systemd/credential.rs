//! How a service is given a secret that is stored encrypted: what its drop-in says, the helper that decrypts where the
//! manager cannot, and trying which of the two this machine has.
//!
//! | systemd | `systemd-creds --user` | `LoadCredentialEncrypted=` in a user unit |
//! |---|---|---|
//! | up to 255 | unknown option | the unit fails (243) |
//! | 256, 257 | works | the unit fails (243) |
//! | from 258 | works | works |
//!
//! That is what was found on booted machines; what is decided here is tried each time with a text that is no secret.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::manager::Manager;
use super::text;
use crate::config::directories::Directories;
use crate::config::secret::Known;
use crate::model::limits::{CREDENTIAL_TIMEOUT, MAX_SECRET_BYTES};
use crate::setup::SetupError;
use crate::setup::files::{MARK, Wanted};
use crate::setup::request::{Refused, Request};

/// What is encrypted to try whether that works.
const PROBE: &[u8] = b"waitbus tries whether this machine can keep a secret";

/// Encrypts for this user on this machine.
pub fn encrypt(name: &str, secret: &[u8]) -> Result<Vec<u8>, Refused> {
    Request::new("systemd-creds", ["--user", "encrypt", &format!("--name={name}"), "-", "-"]).run_with(secret)
}

/// Whether systemd encrypts for this user, and gives back what it was given.
#[must_use]
pub fn can_encrypt() -> bool {
    let decrypt = Request::new("systemd-creds", ["--user", "decrypt", "--name=waitbus-probe", "-", "-"]);
    let back = encrypt("waitbus-probe", PROBE).and_then(|encrypted| decrypt.run_with(&encrypted));
    back.is_ok_and(|back| back == PROBE)
}

/// Whether the user manager decrypts for its services.
#[must_use]
pub fn manager_decrypts(manager: &Manager) -> bool {
    let tried = || -> Option<Vec<u8>> {
        let encrypted = encrypt("waitbus-probe", PROBE).ok()?;
        let mut file = NamedTempFile::with_prefix_in("waitbus-probe-", manager.session()).ok()?;
        file.write_all(&encrypted).ok()?;
        let load = format!("--property=LoadCredentialEncrypted=waitbus-probe:{}", file.path().display());
        let show = ["sh", "-c", "cat \"$CREDENTIALS_DIRECTORY/waitbus-probe\""];
        let run = ["--user", "--wait", "--pipe", "--quiet", "--collect", &load, "--"];
        manager.tool("systemd-run", &[&run[..], &show].concat()).run().ok()
    };
    tried().is_some_and(|back| back == PROBE)
}

/// The drop-in of a service whose manager decrypts. A credential of the same name takes the place of the unit's; nothing
/// is emptied first, because that would take the service's other secrets away.
pub fn drop_in(name: &str, encrypted: &Path) -> Result<String, SetupError> {
    let path = setting(encrypted)?;
    Ok(format!("# {MARK} secret`, which writes it anew.\n\n[Service]\nLoadCredentialEncrypted={name}:{path}\n"))
}

/// The helper: a socket, what answers there, and a drop-in that has the service ask.
#[derive(Clone, Debug)]
pub struct Helper {
    /// The unit of the socket.
    pub socket: String,
    /// The unit that is started for each connection.
    pub service: String,
    /// Where the socket is.
    place: PathBuf,
}

impl Helper {
    /// The helper for a secret.
    #[must_use]
    pub fn of(name: &str, directories: &Directories) -> Helper {
        Helper {
            socket: format!("waitbus-secret-{name}.socket"),
            service: format!("waitbus-secret-{name}@.service"),
            place: directories.helpers().join(format!("{name}.sock")),
        }
    }

    /// Its unit files, in a directory of units.
    pub fn units(&self, directory: &Path, known: Known, encrypted: &Path) -> Result<[Wanted; 2], SetupError> {
        let Known { name, service, .. } = known;
        let head = format!("# {MARK} secret`, which writes it anew.\n\n");
        let path = encrypted.to_str().ok_or_else(|| SetupError::Unwritable(encrypted.to_owned()))?;
        let socket = format!(
            "{head}[Unit]\nDescription=waitbus: {name}, for the service that needs it\nPartOf={service}\n\n\
             [Socket]\nListenStream={}\nAccept=yes\nMaxConnections=4\nSocketMode=0600\nDirectoryMode=0700\n\
             RemoveOnStop=yes\n",
            setting(&self.place)?
        );
        // The arguments are the name and the place. What is decrypted goes to the connection and nowhere else.
        let service = format!(
            "{head}[Unit]\nDescription=waitbus: decrypts {name}\nCollectMode=inactive-or-failed\n\n\
             [Service]\nExecStart=systemd-creds --user decrypt --name={name} {} -\nStandardOutput=socket\n\
             StandardError=journal\nRuntimeMaxSec={}s\nLimitCORE=0\nNoNewPrivileges=yes\n\
             RestrictAddressFamilies=AF_UNIX\n",
            text::argument(path),
            CREDENTIAL_TIMEOUT.as_secs(),
        );
        let unit = |name: &str, text| Wanted { path: directory.join(name), text };
        Ok([unit(&self.socket, socket), unit(&self.service, service)])
    }

    /// The drop-in of the service that is given the secret. Should nobody answer, it starts without one.
    pub fn drop_in(&self, name: &str) -> Result<String, SetupError> {
        let (socket, place) = (&self.socket, setting(&self.place)?);
        Ok(format!(
            "# {MARK} secret`, which writes it anew.\n\n[Unit]\nWants={socket}\nAfter={socket}\n\n\
             [Service]\nLoadCredential={name}:{place}\n"
        ))
    }

    /// Asks it, as the manager will.
    pub fn ask(&self) -> std::io::Result<zeroize::Zeroizing<Vec<u8>>> {
        let stream = UnixStream::connect(&self.place)?;
        stream.set_read_timeout(Some(CREDENTIAL_TIMEOUT))?;
        let mut said = zeroize::Zeroizing::new(Vec::new());
        stream.take(MAX_SECRET_BYTES + 1).read_to_end(&mut said)?;
        Ok(said)
    }
}

fn setting(path: &Path) -> Result<String, SetupError> {
    path.to_str().and_then(text::credential).ok_or_else(|| SetupError::Unwritable(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drop_in_leaves_the_other_secrets_of_its_service_and_keeps_odd_paths() {
        let text = drop_in("name", Path::new("/a/100%/x.cred")).unwrap();
        assert!(text.ends_with("\n\n[Service]\nLoadCredentialEncrypted=name:/a/100%%/x.cred\n"), "{text}");
        let directories = Directories { runtime: "/run/100%".into(), state: "".into(), config: "".into() };
        let (helper, known) =
            (Helper::of("name", &directories), Known { name: "name", which: "", service: "some.service" });
        let [socket, service] = helper.units(Path::new("/u"), known, Path::new("/a $b/x.cred")).unwrap();
        assert!(service.text.contains("decrypt --name=name \"/a $$b/x.cred\" -\n"), "{}", service.text);
        assert!(socket.text.contains("ListenStream=/run/100%%/secrets/name.sock\n"), "{}", socket.text);
        assert!(
            helper
                .drop_in("name")
                .unwrap()
                .ends_with("\n\n[Service]\nLoadCredential=name:/run/100%%/secrets/name.sock\n")
        );
        assert_eq!(service.path, Path::new("/u/waitbus-secret-name@.service"));
    }
}
