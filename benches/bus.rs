//! A private bus with the built program in every role, and the process that receives from it.

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use waitbus::config::directories::Directories;
pub use waitbus::measure::bus::draft;
use waitbus::measure::{Receiver, bus};

pub struct Bus {
    pub root: tempfile::TempDir,
}

impl Bus {
    pub fn new() -> Bus {
        Bus { root: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub fn directories(&self) -> Directories {
        Directories { runtime: self.path("run"), state: self.path("state"), config: self.path("config") }
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_waitbus"));
        command.args(arguments).envs(self.directories().variables()).env("WAITBUS_LOG", "warn").stdin(Stdio::null());
        command
    }

    /// Starts a service; returns it and the line with which it said that it is ready.
    pub fn start(&self, arguments: &[&str]) -> (Service, String) {
        let mut child = self.command(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (Service(child), line.trim().to_owned())
    }

    /// A process that receives so many events, with the number of each in the field `n`.
    pub fn receiver(&self, count: u64) -> Receiver {
        let socket = self.path("run/broadcast.sock");
        Receiver::start(role("receive").arg(socket).arg(count.to_string())).unwrap()
    }

    pub fn subscribe(&self) -> UnixStream {
        subscribe(&self.path("run/broadcast.sock"), "{\"heartbeat\":false}")
    }
}

/// A service that is killed when this is dropped.
pub struct Service(pub Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// This program, as something else than the one that measures.
pub fn role(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(name);
    command
}

pub fn subscribe(socket: &std::path::Path, frame: &str) -> UnixStream {
    bus::subscribe(socket, frame).unwrap()
}

pub fn read_frame(stream: &mut UnixStream, body: &mut Vec<u8>) {
    bus::read_frame(stream, body).unwrap();
}

/// The role `receive SOCKET COUNT`: a client of PROTOCOL.md that notes each event.
pub fn receive(arguments: &[String]) {
    let [socket, count] = arguments else { panic!("receive SOCKET COUNT") };
    bus::receive(socket.as_ref(), "{\"heartbeat\":false}", count.parse().unwrap(), 1, &mut std::io::stdout()).unwrap();
}
