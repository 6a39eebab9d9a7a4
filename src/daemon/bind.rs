//! Binding our own sockets, where no service manager has done it.
//!
//! A socket file that is left over from a dead hub is replaced; one that somebody listens on never is, also when
//! they began to listen a moment ago. Nothing is unlinked at exit: the file may be somebody else's by then, and a
//! dead one refuses connections, which is all that a client needs to know.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::model::limits::{LISTEN_BACKLOG, SOCKET_LOOK, SOCKET_SETTLES};
use crate::sys::{private, ring};

/// A socket that cannot be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody listens there.
    #[error("somebody already listens on {}: if that is a service manager, let it start the service", .0.display())]
    Taken(PathBuf),
    /// The path is something else than a socket.
    #[error("{} is in the way and is no socket: move it away", .0.display())]
    NotASocket(PathBuf),
    /// Anything else.
    #[error("cannot listen on {}: {source}", path.display())]
    Failed {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The webhook address is reachable from outside.
    #[error(
        "{0} is not a loopback address: the webhook listener only takes local connections, for example from a tunnel or a forwarder"
    )]
    NotLoopback(SocketAddr),
    /// The webhook address cannot be bound.
    #[error("cannot listen on {address}: {source}; choose another address with --addr or WAITBUS_WEBHOOK_ADDR")]
    Address {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// Listens at `path`, for this user alone. The caller holds the hub's lock, so of hubs it is alone here; a service
/// manager may come at any time.
pub fn unix(path: &Path) -> Result<UnixListener, BindError> {
    let failed = |source| BindError::Failed { path: path.to_owned(), source };
    remove_stale(path, SOCKET_SETTLES)?;
    match UnixListener::bind(path) {
        Ok(listener) => {
            // The directory is 0700, so nobody else can connect before this.
            private::file(path).map_err(failed)?;
            queue(&listener).map_err(failed)?;
            listener.set_nonblocking(true).map_err(failed)?;
            Ok(listener)
        }
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(BindError::Taken(path.to_owned())),
        Err(error) => Err(failed(error)),
    }
}

/// Takes a dead socket out of the way. It is moved aside before it is removed, and moved back if what was moved is
/// not what was found dead: between the two looks a service manager may have bound its own. A socket that was bound
/// and is not listened on yet refuses like a dead one, so one that was made a moment ago is asked again until it is
/// older than `settles`.
fn remove_stale(path: &Path, settles: Duration) -> Result<(), BindError> {
    use std::os::unix::fs::FileTypeExt;
    let failed = |source| BindError::Failed { path: path.to_owned(), source };
    let found = loop {
        let found = match fs::symlink_metadata(path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        if !found.file_type().is_socket() {
            return Err(BindError::NotASocket(path.to_owned()));
        }
        if ring::is_answered(path).map_err(failed)? {
            return Err(BindError::Taken(path.to_owned()));
        }
        let age = found.modified().ok().and_then(|made| SystemTime::now().duration_since(made).ok());
        if age.is_none_or(|age| age > settles) {
            break found;
        }
        thread::sleep(SOCKET_LOOK);
    };
    let mut aside = path.to_owned().into_os_string();
    aside.push(format!(".{}", std::process::id()));
    match fs::rename(path, &aside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(failed)?,
    }
    let moved = fs::symlink_metadata(&aside).map_err(failed)?;
    // The time as well: the number of a file that is gone is soon used again.
    let identity = |file: &fs::Metadata| (file.dev(), file.ino(), file.mtime(), file.mtime_nsec());
    if identity(&moved) == identity(&found) {
        return fs::remove_file(&aside).map_err(failed);
    }
    // A hard link, unlike a rename, does not replace what may stand there by now.
    let restored = fs::hard_link(&aside, path);
    let _ = fs::remove_file(&aside);
    restored.map_err(failed)?;
    Err(BindError::Taken(path.to_owned()))
}

/// Listens on a loopback address.
pub fn loopback(address: SocketAddr) -> Result<TcpListener, BindError> {
    if !address.ip().is_loopback() {
        return Err(BindError::NotLoopback(address));
    }
    let failed = |source| BindError::Address { address, source };
    let listener = TcpListener::bind(address).map_err(failed)?;
    queue(&listener).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// Lets the kernel queue as many connections as we mean it to; the standard library asks for 128, and a client beyond
/// that waits for seconds. To listen again only changes the length of the queue.
fn queue(listener: &impl AsFd) -> io::Result<()> {
    Ok(rustix::net::listen(listener, LISTEN_BACKLOG)?)
}

/// Whether a passed socket is one that [`loopback`] would have bound.
pub fn check_loopback(listener: &TcpListener) -> Result<SocketAddr, BindError> {
    let unknown = SocketAddr::new(IpAddr::from([0, 0, 0, 0]), 0);
    let address = listener.local_addr().map_err(|source| BindError::Address { address: unknown, source })?;
    if address.ip().is_loopback() { Ok(address) } else { Err(BindError::NotLoopback(address)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_socket_is_replaced_and_a_live_one_never() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        drop(unix(&path).unwrap());
        assert!(path.exists(), "nothing is unlinked at exit");
        let live = unix(&path).unwrap();
        let inode = fs::symlink_metadata(&path).unwrap().ino();
        assert!(matches!(unix(&path), Err(BindError::Taken(_))));
        assert_eq!(fs::symlink_metadata(&path).unwrap().ino(), inode);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        drop(live);
    }

    #[test]
    fn a_socket_that_is_not_listened_on_yet_is_no_dead_one() {
        // A service manager binds and then listens. A hub that looked in between took the socket for a dead one and
        // put its own in its place; the manager's hub then served a socket that had no name any more.
        use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, listen, socket};
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        let managers = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        bind(&managers, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        let looking = thread::spawn({
            let path = path.clone();
            move || remove_stale(&path, Duration::MAX)
        });
        listen(&managers, 1).unwrap();
        assert!(matches!(looking.join().unwrap(), Err(BindError::Taken(_))));
        assert!(path.exists());
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        fs::write(&path, "mine").unwrap();
        assert!(matches!(unix(&path), Err(BindError::NotASocket(_))));
        assert_eq!(fs::read(&path).unwrap(), b"mine");
    }

    #[test]
    fn a_routable_address_is_refused_before_it_is_bound() {
        for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80"] {
            assert!(matches!(loopback(address.parse().unwrap()), Err(BindError::NotLoopback(_))), "{address}");
        }
        let routable = TcpListener::bind("0.0.0.0:0").unwrap();
        assert!(matches!(check_loopback(&routable), Err(BindError::NotLoopback(_))));
        check_loopback(&loopback("127.0.0.1:0".parse().unwrap()).unwrap()).unwrap();
    }
}
