//! Ringing the doorbell of another process, without ever waiting for it: at its socket, or where that cannot be reached
//! by touching a file that the hub watches.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, connect, socket};

use super::wake::TouchFile;

/// A connection to a doorbell, made when it is first rung and kept.
#[derive(Debug)]
pub struct Doorbell {
    socket: Option<PathBuf>,
    bell_file: PathBuf,
    connection: Option<OwnedFd>,
}

impl Doorbell {
    /// The doorbell at a socket, if its path is known, and the file beside the log. Nothing is connected yet.
    #[must_use]
    pub fn at(socket: Option<PathBuf>, bell_file: PathBuf) -> Doorbell {
        Doorbell { socket, bell_file, connection: None }
    }

    /// Rings. That nobody was told is never a reason to fail, because what was committed is in the log, and whoever
    /// listens next reads it.
    pub fn ring(&mut self) {
        // Nobody is there, or this process may not use sockets, or has another runtime directory: a hub that serves
        // this log somewhere hears the touch.
        if self.press().is_err()
            && let Ok(file) = TouchFile::open(&self.bell_file)
        {
            file.touch();
        }
    }

    fn press(&mut self) -> io::Result<()> {
        // A kept connection may be to a hub that is gone by now; a new one is made once.
        if let Some(connection) = &self.connection {
            match send_byte(connection) {
                Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => self.connection = None,
                other => return Ok(other?),
            }
        }
        let path = self.socket.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let socket = nonblocking_socket()?;
        match connect(&socket, &SocketAddrUnix::new(&**path)?) {
            Ok(()) => {}
            // A full backlog: others have rung, and the hub has not looked yet.
            Err(Errno::AGAIN | Errno::INPROGRESS) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        send_byte(&socket)?;
        self.connection = Some(socket);
        Ok(())
    }
}

/// The runtime of Rust ignores SIGPIPE, so a hub that is gone is an error and not a signal.
fn send_byte(connection: &OwnedFd) -> rustix::io::Result<()> {
    match rustix::io::write(connection, &[1]) {
        // A full buffer has been rung often enough.
        Ok(_) | Err(Errno::AGAIN) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether somebody listens at a path, without waiting for them: a full backlog is somebody too.
pub fn is_answered(path: &Path) -> io::Result<bool> {
    match connect(nonblocking_socket()?, &SocketAddrUnix::new(path)?) {
        Ok(()) | Err(Errno::AGAIN | Errno::INPROGRESS) => Ok(true),
        Err(Errno::CONNREFUSED | Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn nonblocking_socket() -> io::Result<OwnedFd> {
    let socket = socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}
