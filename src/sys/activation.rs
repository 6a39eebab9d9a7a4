//! Sockets that a service manager has opened for us (`sd_listen_fds(3)`).
//!
//! They are told apart by name only: the order in which systemd passes them changes across reloads and boots. Must
//! run in `main` before any thread exists, because it removes environment variables.

use std::collections::BTreeSet;
use std::env;
use std::io;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;

use listenfd::ListenFd;
use rustix::net::AddressFamily;

/// `FileDescriptorName=` of the broadcast socket.
pub const BROADCAST: &str = "broadcast";
/// `FileDescriptorName=` of the doorbell socket.
pub const DOORBELL: &str = "doorbell";
/// `FileDescriptorName=` of the webhook socket.
pub const WEBHOOK: &str = "webhook";

/// The sockets that were passed; each is there or not.
#[derive(Debug, Default)]
pub struct Passed {
    /// The broadcast socket.
    pub broadcast: Option<UnixListener>,
    /// The doorbell.
    pub doorbell: Option<UnixListener>,
    /// The webhook listener's socket.
    pub webhook: Option<TcpListener>,
}

/// What was passed cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadActivation {
    /// The environment variables contradict each other or cannot be read.
    #[error("the service manager passed sockets that cannot be read: {0}")]
    Environment(#[from] io::Error),
    /// There are more or fewer names than sockets.
    #[error("the service manager passed {fds} sockets but {names} names in LISTEN_FDNAMES ({list})")]
    Count {
        /// Sockets.
        fds: usize,
        /// Names.
        names: usize,
        /// The names themselves.
        list: String,
    },
    /// A name that is none of ours.
    #[error("a passed socket is named {0:?}: set FileDescriptorName= to broadcast, doorbell or webhook")]
    UnknownName(String),
    /// The same name twice.
    #[error("two passed sockets are named {0:?}: each .socket unit may have one ListenStream=")]
    Twice(String),
    /// The socket is of the wrong kind.
    #[error("the passed socket {name:?} is no listening {expected}: {problem}")]
    WrongKind {
        /// Its name.
        name: String,
        /// What it should be.
        expected: &'static str,
        /// What is wrong.
        problem: String,
    },
}

impl Passed {
    /// Takes what was passed, and clears the variables that say so, because they do not concern our children.
    pub fn take() -> Result<Passed, BadActivation> {
        // Variables that a parent left us were meant for it; `sd-notify` then counts no sockets.
        let count = sd_notify::listen_fds()?.len();
        let names: Vec<String> = match env::var_os("LISTEN_FDNAMES") {
            _ if count == 0 => Vec::new(),
            Some(list) => list.to_string_lossy().split(':').map(str::to_owned).collect(),
            None => vec!["unknown".to_owned(); count],
        };
        let mut fds = ListenFd::from_env();
        for variable in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_FDS_FIRST_FD", "LISTEN_PIDFDID"] {
            // SAFETY: no other thread exists yet, so nobody reads the environment at the same time.
            unsafe { env::remove_var(variable) };
        }
        if names.len() != fds.len() {
            return Err(BadActivation::Count { fds: fds.len(), names: names.len(), list: names.join(", ") });
        }
        let mut seen = BTreeSet::new();
        let mut passed = Passed::default();
        for (index, name) in names.iter().enumerate() {
            if !seen.insert(name) {
                return Err(BadActivation::Twice(name.clone()));
            }
            match &**name {
                BROADCAST => passed.broadcast = Some(unix(&mut fds, index, name)?),
                DOORBELL => passed.doorbell = Some(unix(&mut fds, index, name)?),
                WEBHOOK => passed.webhook = Some(tcp(&mut fds, index, name)?),
                _ => return Err(BadActivation::UnknownName(name.clone())),
            }
        }
        Ok(passed)
    }

    /// Whether any socket was passed.
    #[must_use]
    pub fn any(&self) -> bool {
        self.broadcast.is_some() || self.doorbell.is_some() || self.webhook.is_some()
    }
}

fn unix(fds: &mut ListenFd, index: usize, name: &str) -> Result<UnixListener, BadActivation> {
    let expected = "AF_UNIX stream socket";
    listening(fds.take_unix_listener(index), name, expected)
}

fn tcp(fds: &mut ListenFd, index: usize, name: &str) -> Result<TcpListener, BadActivation> {
    let expected = "TCP socket";
    let ipv6 = i32::from(AddressFamily::INET6.as_raw());
    // SOCK_STREAM is 1 on Linux and on macOS; the listenfd crate takes only IPv4 by itself.
    let taken = fds.take_tcp_listener(index).or_else(|_| fds.take_custom(index, ipv6, 1, "tcp socket"));
    listening(taken, name, expected)
}

/// `listenfd` checks the family and the type. It does not check that the socket listens, and leaves it blocking, as
/// systemd passes it.
fn listening<T: AsFd>(taken: io::Result<Option<T>>, name: &str, expected: &'static str) -> Result<T, BadActivation> {
    let wrong = |problem: String| BadActivation::WrongKind { name: name.to_owned(), expected, problem };
    let socket = taken.map_err(|error| wrong(error.to_string()))?.ok_or_else(|| wrong("it is missing".into()))?;
    if !is_listening(&socket).map_err(|error| wrong(error.to_string()))? {
        return Err(wrong("it does not listen".into()));
    }
    rustix::io::ioctl_fionbio(&socket, true).map_err(|error| wrong(error.to_string()))?;
    Ok(socket)
}

#[cfg(not(target_os = "macos"))]
fn is_listening(socket: &impl AsFd) -> io::Result<bool> {
    Ok(rustix::net::sockopt::socket_acceptconn(socket)?)
}

/// macOS declares the option and does not implement it.
#[cfg(target_os = "macos")]
#[expect(clippy::unnecessary_wraps, reason = "it can fail where it is implemented")]
fn is_listening(_socket: &impl AsFd) -> io::Result<bool> {
    Ok(true)
}
