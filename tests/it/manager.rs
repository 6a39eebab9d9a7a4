//! A service manager of a few lines: it binds the sockets, keeps them, passes them by name, and hears what the service
//! says about itself.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::Stdio;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use crate::harness::{Bus, PATIENCE, Process};

/// Takes the descriptors from standard input and puts them where the protocol has them, from 3 on. `LISTEN_PID` has to
/// be the process itself, so somebody has to stand between us and the program.
const LAUNCH: &str = "
import fcntl, os, socket, sys
passed = []
if sys.argv[1] != '0':
    _, received, _, _ = socket.recv_fds(socket.socket(fileno=0), 1, 16)
    passed = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for fd in received]
for place, fd in enumerate(passed, 3):
    os.dup2(fd, place)
os.dup2(os.open('/dev/null', os.O_RDWR), 0)
if os.getpid() != os.getpgrp():
    os.setsid()
os.environ['LISTEN_PID'] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
";

/// Starts the program with sockets whose names are `names` (`LISTEN_FDNAMES`), and variables of the manager's choice.
pub fn activate(
    bus: &Bus,
    arguments: &[&str],
    names: &str,
    sockets: &[BorrowedFd<'_>],
    variables: &[(&str, &str)],
) -> Process {
    let count = sockets.len().to_string();
    let mut command = bus.wrapped(&["/usr/bin/python3", "-c", LAUNCH, &count], arguments);
    if !sockets.is_empty() {
        command.env("LISTEN_FDS", &count).env("LISTEN_FDNAMES", names);
    }
    command.envs(variables.iter().copied());
    let (ours, theirs) = UnixStream::pair().unwrap();
    command.stdin(Stdio::from(OwnedFd::from(theirs)));
    let process = Process::start(command);
    if !sockets.is_empty() {
        let mut space = [MaybeUninit::uninit(); 256];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(sockets)));
        sendmsg(&ours, &[IoSlice::new(b"x")], &mut control, SendFlags::empty()).unwrap();
    }
    process
}

/// The sockets of the units, bound at the documented paths as systemd does it: whatever is there is unlinked.
pub struct Sockets {
    pub broadcast: UnixListener,
    pub doorbell: UnixListener,
    pub webhook: TcpListener,
}

impl Sockets {
    pub fn bind(bus: &Bus) -> Sockets {
        std::fs::create_dir_all(bus.runtime()).unwrap();
        Sockets {
            broadcast: bind(&bus.broadcast()),
            doorbell: bind(&bus.doorbell()),
            webhook: TcpListener::bind("127.0.0.1:0").unwrap(),
        }
    }

    pub fn named(&self, name: &str) -> BorrowedFd<'_> {
        match name {
            "broadcast" => self.broadcast.as_fd(),
            "doorbell" => self.doorbell.as_fd(),
            _ => self.webhook.as_fd(),
        }
    }

    /// Starts a service with the sockets of these names, in this order.
    pub fn start(&self, bus: &Bus, arguments: &[&str], names: &[&str]) -> Process {
        let sockets: Vec<_> = names.iter().map(|name| self.named(name)).collect();
        activate(bus, arguments, &names.join(":"), &sockets, &[])
    }

    /// Starts the hub.
    pub fn hub(&self, bus: &Bus) -> Process {
        self.start(bus, &["hub"], &["broadcast", "doorbell"])
    }
}

/// Binds a socket over whatever is at `path`. Somebody else may bind there between the two steps; then again.
pub fn bind(path: &Path) -> UnixListener {
    loop {
        let _ = std::fs::remove_file(path);
        match UnixListener::bind(path) {
            Ok(listener) => return listener,
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse, "{error}"),
        }
    }
}

/// Waits until somebody knocks, without letting them in.
pub fn knocked(listener: &impl AsFd) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut polled = [PollFd::new(listener, PollFlags::IN)];
    let patience = Timespec { tv_sec: i64::try_from(PATIENCE.as_secs()).unwrap(), tv_nsec: 0 };
    assert_eq!(poll(&mut polled, Some(&patience)).unwrap(), 1, "nobody came");
}

/// What the service says about itself (`sd_notify`).
pub struct Ear(UnixDatagram);

impl Ear {
    pub fn at(path: &Path) -> Ear {
        Ear::new(UnixDatagram::bind(path).unwrap())
    }

    /// In the abstract namespace, as container managers have it.
    pub fn without_a_path(name: &str) -> Ear {
        use std::os::linux::net::SocketAddrExt;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
        Ear::new(UnixDatagram::bind_addr(&address).unwrap())
    }

    fn new(socket: UnixDatagram) -> Ear {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Ear(socket)
    }

    /// The lines of the next message.
    #[track_caller]
    pub fn hears(&self) -> Vec<String> {
        let mut message = [0; 4096];
        // A socket with a timeout is interrupted by any signal, such as the end of another test's process.
        let length = loop {
            match self.0.recv(&mut message) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                length => break length.expect("the service says something"),
            }
        };
        String::from_utf8(message[..length].to_vec()).unwrap().lines().map(str::to_owned).collect()
    }

    /// Waits for a message with this line, and returns every line up to it.
    #[track_caller]
    pub fn hears_of(&self, line: &str) -> Vec<String> {
        let mut said = Vec::new();
        while !said.iter().any(|heard| heard == line) {
            said.extend(self.hears());
        }
        said
    }

    /// The messages that are here already.
    pub fn has_heard(&self) -> Vec<Vec<String>> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let here = || poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&at_once)).unwrap() == 1;
        std::iter::from_fn(|| here().then(|| self.hears())).collect()
    }
}
