//! Ringing the doorbell socket of another process, without ever waiting for it.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, connect, socket};

/// A connection to a doorbell, made when it is first rung and kept.
#[derive(Debug)]
pub struct Doorbell {
    path: PathBuf,
    connection: Option<OwnedFd>,
}

impl Doorbell {
    /// The doorbell at a path. Nothing is connected yet.
    #[must_use]
    pub fn at(path: &Path) -> Doorbell {
        Doorbell { path: path.to_owned(), connection: None }
    }

    /// Rings. An error means that nobody was told; it is never a reason to fail, because what was committed is in
    /// the log, and whoever listens next reads it.
    pub fn ring(&mut self) -> io::Result<()> {
        // A kept connection may be to a hub that is gone by now; a new one is made once.
        if let Some(connection) = &self.connection {
            match press(connection) {
                Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => self.connection = None,
                other => return Ok(other?),
            }
        }
        let socket = nonblocking_socket()?;
        match connect(&socket, &SocketAddrUnix::new(&*self.path)?) {
            Ok(()) => {}
            // A full backlog: others have rung, and the hub has not looked yet.
            Err(Errno::AGAIN | Errno::INPROGRESS) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        press(&socket)?;
        self.connection = Some(socket);
        Ok(())
    }
}

/// The runtime of Rust ignores SIGPIPE, so a hub that is gone is an error and not a signal.
fn press(connection: &OwnedFd) -> rustix::io::Result<()> {
    match rustix::io::write(connection, &[1]) {
        // A full buffer has been rung often enough.
        Ok(_) | Err(Errno::AGAIN) => Ok(()),
        Err(error) => Err(error),
    }
}

fn nonblocking_socket() -> io::Result<OwnedFd> {
    let socket = socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}
