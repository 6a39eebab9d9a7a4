//! Sockets that a service manager has opened for us: told apart by their names, and looked at before they are used.
//!
//! Which manager that is decides only how they come: systemd puts them where its variables say, launchd is asked for
//! each. What is done with them is the same.

#[cfg(any(target_os = "macos", test))]
mod launchd;
#[cfg(not(target_os = "macos"))]
mod systemd;

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;

use rustix::io::FdFlags;
use rustix::net::{AddressFamily, SocketType};

/// The name of the broadcast socket: `FileDescriptorName=` of a unit, the key below `Sockets` of an agent.
pub const BROADCAST: &str = "broadcast";
/// The name of the doorbell.
pub const DOORBELL: &str = "doorbell";
/// The name of the webhook listener's socket.
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
    /// launchd has the socket and does not hand it over.
    #[error("launchd does not hand over the socket {name:?}: {source}")]
    Launchd {
        /// Its name.
        name: &'static str,
        /// Why.
        source: io::Error,
    },
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
    #[error(
        "two passed sockets are named {0:?}: each .socket unit may have one ListenStream=, and each of an agent's Sockets one address (SockFamily)"
    )]
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
    /// Takes what was passed. Must run before any thread exists: under systemd it removes environment variables.
    pub fn take() -> Result<Passed, BadActivation> {
        #[cfg(target_os = "macos")]
        let sockets = launchd::sockets(launchd::activate)?;
        #[cfg(not(target_os = "macos"))]
        let sockets = systemd::sockets()?;
        Passed::named(sockets)
    }

    fn named(sockets: Vec<(String, OwnedFd)>) -> Result<Passed, BadActivation> {
        let mut passed = Passed::default();
        for (name, socket) in sockets {
            let twice = match &*name {
                BROADCAST => passed.broadcast.replace(unix(&name, socket)?).is_some(),
                DOORBELL => passed.doorbell.replace(unix(&name, socket)?).is_some(),
                WEBHOOK => passed.webhook.replace(tcp(&name, socket)?).is_some(),
                _ => return Err(BadActivation::UnknownName(name)),
            };
            if twice {
                return Err(BadActivation::Twice(name));
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

fn unix(name: &str, socket: OwnedFd) -> Result<UnixListener, BadActivation> {
    listening(name, socket, &[AddressFamily::UNIX], "AF_UNIX stream socket").map(UnixListener::from)
}

fn tcp(name: &str, socket: OwnedFd) -> Result<TcpListener, BadActivation> {
    listening(name, socket, &[AddressFamily::INET, AddressFamily::INET6], "TCP socket").map(TcpListener::from)
}

/// A socket of the right kind that listens, and does not block and is not inherited any more: both managers pass it
/// blocking.
fn listening(
    name: &str,
    socket: OwnedFd,
    families: &[AddressFamily],
    expected: &'static str,
) -> Result<OwnedFd, BadActivation> {
    let wrong = |problem: String| BadActivation::WrongKind { name: name.to_owned(), expected, problem };
    let kind = || -> io::Result<_> {
        let family = rustix::net::getsockname(&socket)?.address_family();
        Ok((family, rustix::net::sockopt::socket_type(&socket)?))
    };
    let (family, kind) = kind().map_err(|error| wrong(error.to_string()))?;
    if !families.contains(&family) || kind != SocketType::STREAM {
        return Err(wrong("it is of another kind".into()));
    }
    if !is_listening(&socket).map_err(|error| wrong(error.to_string()))? {
        return Err(wrong("it does not listen".into()));
    }
    let prepared =
        rustix::io::ioctl_fionbio(&socket, true).and_then(|()| rustix::io::fcntl_setfd(&socket, FdFlags::CLOEXEC));
    prepared.map_err(|error| wrong(error.to_string()))?;
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

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    fn at(path: &std::path::Path) -> OwnedFd {
        UnixListener::bind(path).unwrap().into()
    }

    #[test]
    fn a_passed_socket_is_taken_by_its_name_does_not_block_and_is_not_inherited() {
        let directory = tempfile::tempdir().unwrap();
        let (bell, broadcast) = (at(&directory.path().join("d")), at(&directory.path().join("b")));
        for socket in [&bell, &broadcast] {
            rustix::io::fcntl_setfd(socket, FdFlags::empty()).unwrap();
        }
        let sockets = vec![(DOORBELL.to_owned(), bell), (BROADCAST.to_owned(), broadcast)];
        let passed = Passed::named(sockets).unwrap();
        let (broadcast, doorbell) = (passed.broadcast.unwrap(), passed.doorbell.unwrap());
        assert!(passed.webhook.is_none());
        let path = |listener: &UnixListener| listener.local_addr().unwrap().as_pathname().unwrap().to_owned();
        assert_eq!((path(&broadcast), path(&doorbell)), (directory.path().join("b"), directory.path().join("d")));
        for socket in [&broadcast, &doorbell] {
            assert_eq!(rustix::io::fcntl_getfd(socket).unwrap(), FdFlags::CLOEXEC);
            assert_eq!(socket.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        }
    }

    #[test]
    fn another_kind_of_socket_is_refused_by_its_name() {
        let datagram = || OwnedFd::from(UnixDatagram::unbound().unwrap());
        let tcp = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
        for (name, socket) in [(BROADCAST, datagram()), (DOORBELL, tcp()), (WEBHOOK, datagram())] {
            let error = Passed::named(vec![(name.to_owned(), socket)]).unwrap_err();
            assert!(matches!(&error, BadActivation::WrongKind { name: named, .. } if named == name), "{error}");
        }
        let error = Passed::named(vec![("http".to_owned(), tcp())]).unwrap_err();
        assert!(matches!(&error, BadActivation::UnknownName(name) if name == "http"), "{error}");
    }
}
