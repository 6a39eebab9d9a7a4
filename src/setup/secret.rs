//! The secrets of the sources, each at the best place that this machine has for it, and at no other.
//!
//! The ladder, best first. Which rung there is, is tried and not guessed:
//!
//! 1. encrypted with `systemd-creds`, decrypted by the user manager for the one service that needs it;
//! 2. encrypted in the same way, decrypted by a helper unit that the service's manager asks through a socket;
//! 3. a file that only its owner can read. A listener without a manager reads it by itself.
//!
//! Whoever reads the disk or a backup learns nothing from the first two. A process of the same user can learn the secret
//! on all of them: that is the boundary of SECURITY.md.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::files::{self, FileError, Wanted};
use super::systemd::credential::{self, Helper};
use super::systemd::manager::{Manager, UnitState};
use super::{Plan, SetupError, Step};
use crate::config::directories::Directories;
use crate::config::secret::{KNOWN, Known, Secret, encrypted};
use crate::sys::private;

/// Permission bits of everything here.
const SECRET: u32 = 0o600;

/// A place for a secret, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rung {
    /// Encrypted; the manager decrypts.
    Manager,
    /// Encrypted; a helper decrypts.
    Helper,
    /// A private file.
    File,
}

impl Rung {
    /// Its name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Rung::Manager => "manager",
            Rung::Helper => "helper",
            Rung::File => "file",
        }
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rung::Manager => "encrypted with systemd-creds, decrypted by the user manager",
            Rung::Helper => "encrypted with systemd-creds, decrypted by a helper unit",
            Rung::File => "in a file that only you can read",
        })
    }
}

/// A secret that is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Where.
    pub rung: Rung,
    /// The file that holds it, encrypted or not.
    pub path: PathBuf,
    /// Since when.
    pub since: SystemTime,
}

/// What the service that needs it has. Credentials are fixed when a service starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InUse {
    /// The manager does not run the service, or there is no manager.
    NotRunning,
    /// The stored one.
    Current,
    /// One that was stored before.
    Older,
    /// None.
    Without,
}

/// Where the secrets of a user are kept, and by whom they are handed over.
#[derive(Debug)]
pub struct Keeper {
    directories: Directories,
    manager: Option<Manager>,
}

impl Keeper {
    /// Without a service manager there are files alone.
    pub fn open(directories: &Directories) -> Result<Keeper, SetupError> {
        let manager = match Manager::find() {
            Ok(manager) => Some(manager),
            Err(SetupError::NoManager { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(Keeper { directories: directories.clone(), manager })
    }

    /// The best rung that this machine has.
    #[must_use]
    pub fn best(&self) -> Rung {
        match &self.manager {
            Some(manager) if credential::can_encrypt() => {
                if credential::manager_decrypts(manager) {
                    Rung::Manager
                } else {
                    Rung::Helper
                }
            }
            _ => Rung::File,
        }
    }

    /// Stores a secret at this rung and nowhere else. Returns the rung at which it is in the end: where the helper's
    /// answer is not the secret, it goes into a file.
    pub fn store(&self, known: Known, secret: &Secret, rung: Rung) -> Result<Rung, SetupError> {
        let (plain, encrypted) = (self.plain(known), self.encrypted(known));
        // A manager that is not here now would hand over the old one when it is.
        if self.manager.is_none() && encrypted.exists() {
            Manager::find()?;
        }
        let directory = self.directories.credentials();
        let unusable = |source| FileError::Io { path: directory.clone(), done: "used", source };
        private::directory(&directory).map_err(unusable)?;
        if rung == Rung::File {
            files::replace(&plain, secret.expose(), SECRET)?;
            self.hand_over(known, rung)?;
            files::remove(&encrypted)?;
            return Ok(rung);
        }
        files::replace(&encrypted, &credential::encrypt(known.name, secret.expose())?, SECRET)?;
        self.hand_over(known, rung)?;
        if rung == Rung::Helper && !self.helper_answers(known, secret)? {
            return self.store(known, secret, Rung::File);
        }
        files::remove(&plain)?;
        Ok(rung)
    }

    /// Has the manager hand the secret over from this rung.
    fn hand_over(&self, known: Known, rung: Rung) -> Result<(), SetupError> {
        let Some(manager) = &self.manager else { return Ok(()) };
        let helper = Helper::of(known.name, &self.directories);
        let directory = &manager.unit_directory;
        let drop_in = |text| Wanted { path: drop_in_path(directory, known), text };
        let encrypted = self.encrypted(known);
        let wanted = match rung {
            Rung::Manager => vec![drop_in(credential::drop_in(known.name, &encrypted)?)],
            Rung::Helper => {
                let units = helper.units(directory, known, &encrypted)?;
                units.into_iter().chain([drop_in(helper.drop_in(known.name)?)]).collect()
            }
            Rung::File => Vec::new(),
        };
        let mut changes = Vec::new();
        for path in places(directory, known, &helper) {
            changes.extend(match wanted.iter().find(|wanted| wanted.path == path) {
                Some(wanted) => files::difference(wanted)?,
                None => files::removal(&path)?,
            });
        }
        if rung != Rung::Helper && manager.show(&[&helper.socket])?.iter().any(UnitState::is_active) {
            manager.request(&["stop", &helper.socket]).run()?;
        }
        for change in &changes {
            change.make()?;
        }
        if !changes.is_empty() {
            manager.request(&["daemon-reload"]).run()?;
        }
        Ok(())
    }

    /// Whether the helper says what it is there to say.
    fn helper_answers(&self, known: Known, secret: &Secret) -> Result<bool, SetupError> {
        let Some(manager) = &self.manager else { return Ok(false) };
        let helper = Helper::of(known.name, &self.directories);
        manager.request(&["start", &helper.socket]).run()?;
        Ok(helper.ask().is_ok_and(|said| said.as_slice() == secret.expose()))
    }

    /// What is stored under a name.
    pub fn stored(&self, known: Known) -> Result<Option<Stored>, SetupError> {
        let modified = |path: &PathBuf| match fs::metadata(path).and_then(|found| Ok((found.len(), found.modified()?)))
        {
            // Anybody can sign with an empty one, so it is none, and no restart would change that.
            Ok((0, _)) => Ok(None),
            Ok((_, time)) => Ok(Some(time)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(FileError::Io { path: path.clone(), done: "looked at", source }),
        };
        let (plain, encrypted) = (self.plain(known), self.encrypted(known));
        if let Some(since) = modified(&encrypted)? {
            let drop_in = self
                .manager
                .as_ref()
                .map(|manager| files::ours(&drop_in_path(&manager.unit_directory, known)))
                .transpose()?;
            let by_manager = drop_in.flatten().is_none_or(|text| text.contains("LoadCredentialEncrypted="));
            let rung = if by_manager { Rung::Manager } else { Rung::Helper };
            return Ok(Some(Stored { rung, path: encrypted, since }));
        }
        Ok(modified(&plain)?.map(|since| Stored { rung: Rung::File, path: plain, since }))
    }

    /// What the service has that needs the secret.
    pub fn in_use(&self, known: Known, stored: Option<&Stored>) -> Result<InUse, SetupError> {
        let Some(manager) = &self.manager else { return Ok(InUse::NotRunning) };
        if !manager.show(&[known.service])?.iter().any(UnitState::is_active) {
            return Ok(InUse::NotRunning);
        }
        let handed = fs::metadata(manager.credentials_of(known.service).join(known.name));
        // One byte is the line break that stands for none, because systemd takes no empty default.
        Ok(match (handed, stored) {
            (Ok(handed), _) if handed.len() <= 1 => InUse::Without,
            (Ok(handed), Some(stored)) if handed.modified().is_ok_and(|handed| handed > stored.since) => InUse::Current,
            (Ok(_), _) => InUse::Older,
            (Err(_), _) => InUse::Without,
        })
    }

    /// Restarts the service that needs it, if it runs; tells whether there was somebody to ask.
    pub fn restart(&self, known: Known) -> Result<bool, SetupError> {
        let Some(manager) = &self.manager else { return Ok(false) };
        manager.request(&["try-restart", known.service]).run()?;
        Ok(true)
    }

    fn plain(&self, known: Known) -> PathBuf {
        self.directories.credentials().join(known.name)
    }

    fn encrypted(&self, known: Known) -> PathBuf {
        self.directories.credentials().join(encrypted(known.name))
    }
}

/// Stops the helpers that run.
pub fn stop_helpers(directories: &Directories, manager: &Manager) -> Result<Plan, SetupError> {
    let mut plan = Plan::new();
    for known in KNOWN {
        let helper = Helper::of(known.name, directories);
        if manager.show(&[&helper.socket])?.iter().any(UnitState::is_active) {
            plan.push(Step::Ask(manager.request(&["stop", &helper.socket])));
        }
    }
    Ok(plan)
}

/// The removal of what hands secrets over, from a directory of units.
pub fn hand_over_files(directories: &Directories, unit_directory: &Path) -> Result<Plan, SetupError> {
    let mut plan = Plan::new();
    for known in KNOWN {
        for path in places(unit_directory, known, &Helper::of(known.name, directories)) {
            plan.extend(files::removal(&path)?.map(Step::Change));
        }
    }
    Ok(plan)
}

/// The removal of the secrets themselves, and of their directory if nobody else has put anything there.
#[must_use]
pub fn stored_files(directories: &Directories) -> Plan {
    let keeper = Keeper { directories: directories.clone(), manager: None };
    let ours: Vec<_> = KNOWN.into_iter().flat_map(|known| [keeper.plain(known), keeper.encrypted(known)]).collect();
    let Ok(entries) = fs::read_dir(directories.credentials()) else { return Plan::new() };
    let (secrets, others): (Vec<_>, Vec<_>) =
        entries.flatten().map(|entry| entry.path()).partition(|path| ours.contains(path));
    let empty = others.is_empty().then_some(Step::Remove(directories.credentials()));
    secrets.into_iter().map(Step::Remove).chain(empty).collect()
}

/// All files through which a secret may be handed over.
fn places(unit_directory: &Path, known: Known, helper: &Helper) -> [PathBuf; 3] {
    let unit = |name: &str| unit_directory.join(name);
    [drop_in_path(unit_directory, known), unit(&helper.socket), unit(&helper.service)]
}

fn drop_in_path(unit_directory: &Path, known: Known) -> PathBuf {
    unit_directory.join(format!("{}.d", known.service)).join(format!("waitbus-{}.conf", known.name))
}
