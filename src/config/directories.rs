//! The three directories and what is in them. PROTOCOL.md, "Paths", is the normative text.

use std::env;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::environment;
use crate::model::limits::MAX_SOCKET_PATH_BYTES;
use crate::sys::private;

/// Where this user's bus lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directories {
    /// Sockets and the hub's lock.
    pub runtime: PathBuf,
    /// The log and, without a service manager, the secrets.
    pub state: PathBuf,
    /// What a person configured.
    pub config: PathBuf,
}

/// A directory that cannot be used, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum BadDirectory {
    /// An override that depends on where one stands.
    #[error("{variable} is {}, but it must be an absolute path", path.display())]
    Relative {
        /// The variable.
        variable: &'static str,
        /// Its value.
        path: PathBuf,
    },
    /// There is no home directory to put it in.
    #[error("there is no home directory: set HOME, or {variable} to an absolute path")]
    NoHome {
        /// The variable that would help.
        variable: &'static str,
    },
    /// A socket could not be bound there.
    #[error(
        "{} has {length} bytes, but a socket path may have at most {MAX_SOCKET_PATH_BYTES}: set {} to a shorter directory",
        path.display(), environment::RUNTIME_DIR
    )]
    TooLong {
        /// The socket's path.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
    },
    /// It cannot be made, or is somebody else's.
    #[error("the directory {} cannot be used: {problem}", path.display())]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// Why.
        problem: String,
    },
}

impl Directories {
    /// The directories of this user, from the environment.
    pub fn from_environment() -> Result<Directories, BadDirectory> {
        Directories::resolve(&environment::get, env::home_dir(), rustix::process::geteuid().as_raw(), &|path| {
            path.is_dir()
        })
    }

    /// The directories that a process with these variables has.
    pub fn from_variables(get: &dyn Fn(&str) -> Option<OsString>) -> Result<Directories, BadDirectory> {
        let get = |name: &str| get(name).filter(|value| !value.is_empty());
        let home = get("HOME").map(PathBuf::from);
        Directories::resolve(&get, home, rustix::process::geteuid().as_raw(), &|path| path.is_dir())
    }

    fn resolve(
        get: &dyn Fn(&str) -> Option<OsString>,
        home: Option<PathBuf>,
        uid: u32,
        is_dir: &dyn Fn(&Path) -> bool,
    ) -> Result<Directories, BadDirectory> {
        Directories::resolve_on(cfg!(target_os = "macos"), get, home, uid, is_dir)
    }

    fn resolve_on(
        mac: bool,
        get: &dyn Fn(&str) -> Option<OsString>,
        home: Option<PathBuf>,
        uid: u32,
        is_dir: &dyn Fn(&Path) -> bool,
    ) -> Result<Directories, BadDirectory> {
        let home = home.filter(|home| home.is_absolute());
        let fixed = |variable: &'static str| match get(variable).map(PathBuf::from) {
            Some(path) if path.is_absolute() => Ok(Some(path)),
            Some(path) => Err(BadDirectory::Relative { variable, path }),
            None => Ok(None),
        };
        // The XDG specification says to ignore a relative value.
        let xdg = |variable: &str| get(variable).map(PathBuf::from).filter(|path| path.is_absolute());
        let below_home = |variable: &'static str, path: &str| {
            home.as_ref().map(|home| home.join(path)).ok_or(BadDirectory::NoHome { variable })
        };
        let state = match (fixed(environment::STATE_DIR)?, xdg("XDG_STATE_HOME")) {
            (Some(path), _) => path,
            (None, _) if mac => below_home(environment::STATE_DIR, "Library/Application Support/waitbus")?,
            (None, Some(base)) => base.join("waitbus"),
            (None, None) => below_home(environment::STATE_DIR, ".local/state/waitbus")?,
        };
        let config = match (fixed(environment::CONFIG_DIR)?, xdg("XDG_CONFIG_HOME")) {
            (Some(path), _) => path,
            (None, Some(base)) => base.join("waitbus"),
            (None, None) => below_home(environment::CONFIG_DIR, ".config/waitbus")?,
        };
        let session = PathBuf::from(format!("/run/user/{uid}"));
        let runtime = match (fixed(environment::RUNTIME_DIR)?, xdg("XDG_RUNTIME_DIR")) {
            (Some(path), _) => path,
            // Not below TMPDIR: macOS empties that at boot, launchd makes no directories, and so an agent's sockets
            // could not be bound at the next login.
            _ if mac => state.join("run"),
            (None, Some(base)) => base.join("waitbus"),
            (None, None) if is_dir(&session) => session.join("waitbus"),
            (None, None) => state.join("run"),
        };
        Ok(Directories { runtime, state, config })
    }

    /// The socket on which events are broadcast.
    pub fn broadcast(&self) -> Result<PathBuf, BadDirectory> {
        socket_path(self.runtime.join("broadcast.sock"))
    }

    /// The socket at which writers ring.
    pub fn doorbell(&self) -> Result<PathBuf, BadDirectory> {
        socket_path(self.runtime.join("doorbell.sock"))
    }

    /// The file whose lock makes a process the only one that is this source on this log.
    #[must_use]
    pub fn source_lock(&self, source: &str) -> PathBuf {
        self.state.join(format!("source-{source}.lock"))
    }

    /// The file whose lock makes a hub the only one.
    #[must_use]
    pub fn hub_lock(&self) -> PathBuf {
        self.runtime.join("hub.lock")
    }

    /// Where a hub that a client or launchd started writes its log lines.
    #[must_use]
    pub fn hub_log(&self) -> PathBuf {
        self.state.join("hub.log")
    }

    /// Where a listener that launchd started writes its log lines.
    #[must_use]
    pub fn listen_log(&self) -> PathBuf {
        self.state.join("listen.log")
    }

    /// What a person set for the services.
    #[must_use]
    pub fn settings(&self) -> PathBuf {
        self.config.join("waitbus.toml")
    }

    /// Where the helpers answer that decrypt secrets. The units close it to both services.
    #[must_use]
    pub fn helpers(&self) -> PathBuf {
        self.runtime.join("secrets")
    }

    /// Where secrets lie without a service manager.
    #[must_use]
    pub fn credentials(&self) -> PathBuf {
        self.state.join("credentials")
    }

    /// The variables that give another process these same directories.
    #[must_use]
    pub fn variables(&self) -> [(&'static str, &Path); 3] {
        [
            (environment::RUNTIME_DIR, &*self.runtime),
            (environment::STATE_DIR, &*self.state),
            (environment::CONFIG_DIR, &*self.config),
        ]
    }

    /// The directory in which a session's service manager would be found.
    #[must_use]
    pub fn session_runtime() -> Option<PathBuf> {
        environment::get("XDG_RUNTIME_DIR").map(PathBuf::from)
    }

    /// The session's runtime directory, also for a process that was not told: one that `su` or a timer started.
    #[must_use]
    pub fn session() -> Option<PathBuf> {
        let usual = PathBuf::from(format!("/run/user/{}", rustix::process::geteuid().as_raw()));
        Directories::session_runtime().or_else(|| usual.is_dir().then_some(usual))
    }

    /// Where a user manager with these variables may look for the units of its user, the likeliest first. Its variables
    /// may have changed since it looked where that is, and ours may be others.
    #[must_use]
    pub fn unit_directories(manager: &dyn Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
        let bases = [manager("XDG_CONFIG_HOME"), environment::get("XDG_CONFIG_HOME")].into_iter().flatten();
        let homes = [manager("HOME").map(PathBuf::from), env::home_dir()].into_iter().flatten();
        let bases = bases.map(PathBuf::from).chain(homes.map(|home| home.join(".config")));
        bases.filter(|base| base.is_absolute()).map(|base| base.join("systemd/user")).collect()
    }

    /// Where launchd looks for the agents of this user.
    #[must_use]
    pub fn agents() -> Option<PathBuf> {
        env::home_dir().filter(|home| home.is_absolute()).map(|home| home.join("Library/LaunchAgents"))
    }

    /// Makes the runtime directory where it is missing and takes everybody else's rights on it away.
    pub fn prepare_runtime(&self) -> Result<(), BadDirectory> {
        private::directory(&self.runtime)
            .map_err(|error| BadDirectory::Unusable { path: self.runtime.clone(), problem: error.to_string() })
    }
}

fn socket_path(path: PathBuf) -> Result<PathBuf, BadDirectory> {
    let length = path.as_os_str().as_bytes().len();
    if length > MAX_SOCKET_PATH_BYTES { Err(BadDirectory::TooLong { path, length }) } else { Ok(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve_on(
        mac: bool,
        variables: &[(&str, &str)],
        home: Option<&str>,
        session: bool,
    ) -> Result<[String; 3], BadDirectory> {
        let get = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
        let found = Directories::resolve_on(mac, &get, home.map(PathBuf::from), 1000, &|_| session)?;
        Ok([found.runtime, found.state, found.config].map(|path| path.display().to_string()))
    }

    fn resolve(variables: &[(&str, &str)], home: Option<&str>, session: bool) -> Result<[String; 3], BadDirectory> {
        resolve_on(false, variables, home, session)
    }

    #[test]
    fn on_macos_all_lives_where_a_restart_leaves_it() {
        // TMPDIR is emptied at boot. Sockets there were never bound again: launchd makes no directories.
        let library = "/Users/dev/Library/Application Support/waitbus";
        let variables = [("TMPDIR", "/var/folders/x/T"), ("XDG_RUNTIME_DIR", "/x/r"), ("XDG_STATE_HOME", "/x/s")];
        assert_eq!(
            resolve_on(true, &variables, Some("/Users/dev"), true).unwrap(),
            [&format!("{library}/run"), library, "/Users/dev/.config/waitbus"]
        );
        let fixed = [("WAITBUS_RUNTIME_DIR", "/r"), ("WAITBUS_STATE_DIR", "/s")];
        assert_eq!(resolve_on(true, &fixed, Some("/Users/dev"), true).unwrap()[..2], ["/r", "/s"]);
    }

    #[test]
    fn overrides_come_first_then_the_session_then_the_home() {
        let home = Some("/home/dev");
        assert_eq!(
            resolve(
                &[("WAITBUS_RUNTIME_DIR", "/r"), ("WAITBUS_STATE_DIR", "/s"), ("WAITBUS_CONFIG_DIR", "/c")],
                None,
                true
            )
            .unwrap(),
            ["/r", "/s", "/c"]
        );
        assert_eq!(
            resolve(
                &[("XDG_RUNTIME_DIR", "/x/r"), ("XDG_STATE_HOME", "/x/s"), ("XDG_CONFIG_HOME", "/x/c")],
                None,
                true
            )
            .unwrap(),
            ["/x/r/waitbus", "/x/s/waitbus", "/x/c/waitbus"]
        );
        let defaults = ["/run/user/1000/waitbus", "/home/dev/.local/state/waitbus", "/home/dev/.config/waitbus"];
        assert_eq!(resolve(&[("XDG_STATE_HOME", "relative")], home, true).unwrap(), defaults);
        assert_eq!(resolve(&[], home, false).unwrap()[0], "/home/dev/.local/state/waitbus/run", "no login session");
    }

    #[test]
    fn a_relative_override_and_a_missing_home_name_the_variable_to_set() {
        let message = resolve(&[("WAITBUS_STATE_DIR", "state")], Some("/home/dev"), true).unwrap_err().to_string();
        assert!(message.contains("WAITBUS_STATE_DIR") && message.contains("absolute"), "{message}");
        let message = resolve(&[], None, true).unwrap_err().to_string();
        assert!(message.contains("WAITBUS_STATE_DIR"), "{message}");
    }

    #[test]
    fn a_socket_path_that_the_kernel_would_cut_is_refused_with_the_limit() {
        let directories = |length: usize| Directories {
            runtime: PathBuf::from(format!("/{}", "x".repeat(length - "//broadcast.sock".len()))),
            state: "/s".into(),
            config: "/c".into(),
        };
        assert!(directories(MAX_SOCKET_PATH_BYTES).broadcast().is_ok());
        let message = directories(MAX_SOCKET_PATH_BYTES + 1).broadcast().unwrap_err().to_string();
        assert!(
            message.contains("WAITBUS_RUNTIME_DIR") && message.contains(&MAX_SOCKET_PATH_BYTES.to_string()),
            "{message}"
        );
    }
}
