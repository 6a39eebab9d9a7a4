//! A bus that nobody else knows, for as long as something is measured on it.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::{Builder, TempDir};

use super::{Unmeasured, failed};
use crate::config::directories::Directories;
use crate::config::environment;
use crate::model::limits::MEASURE_IDLE_EXIT;

/// Two directories that are removed when this is dropped.
#[derive(Debug)]
pub struct Room {
    state: TempDir,
    sockets: TempDir,
}

impl Room {
    /// On the file system of that user's log; sockets have short paths, and cost the same on every file system.
    pub fn beside(user: &Directories) -> Result<Room, Unmeasured> {
        let state = beside(&user.state).map_err(failed("no directory can be made on the file system of the log"))?;
        let sockets = directory(&environment::temporary_directory());
        Ok(Room { state, sockets: sockets.map_err(failed("no temporary directory can be made"))? })
    }

    /// For logs.
    #[must_use]
    pub fn state(&self) -> &Path {
        self.state.path()
    }

    /// For sockets.
    #[must_use]
    pub fn sockets(&self) -> &Path {
        self.sockets.path()
    }

    /// Those of a bus in it.
    #[must_use]
    pub fn directories(&self) -> Directories {
        let (state, sockets) = (self.state(), self.sockets());
        Directories { runtime: sockets.join("run"), state: state.join("state"), config: sockets.join("config") }
    }
}

/// A hub of this program, killed when it is dropped.
#[derive(Debug)]
pub struct Hub(Child);

impl Hub {
    /// Starts the one of the bus in a room, and returns when it is ready.
    pub fn start(room: &Room) -> Result<Hub, Unmeasured> {
        start(room).map(Hub).map_err(failed("the hub does not start"))
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A new directory on the file system of a path that may not be there yet.
fn beside(path: &Path) -> io::Result<TempDir> {
    let there = path.ancestors().find(|path| path.is_dir());
    directory(there.ok_or(io::ErrorKind::NotFound)?)
}

fn directory(within: &Path) -> io::Result<TempDir> {
    Builder::new().prefix(".waitbus-bench-").tempdir_in(within)
}

/// It has a process group of its own: an interrupt at the terminal is ours to handle.
fn start(room: &Room) -> io::Result<Child> {
    let errors = room.sockets().join("hub.log");
    let mut command = Command::new(environment::program()?);
    for variable in environment::OF_ONE_SERVICE {
        command.env_remove(variable);
    }
    let mut hub = command
        .arg("hub")
        // Nobody might be left to kill it.
        .args(["--idle-exit", &format!("{}s", MEASURE_IDLE_EXIT.as_secs())])
        .envs(room.directories().variables())
        .env(environment::LOG, "warn")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(fs::File::create(&errors)?)
        .process_group(0)
        .spawn()?;
    let mut line = String::new();
    let read = hub.stdout.take().map(|stdout| BufReader::new(stdout).read_line(&mut line)).transpose();
    if read.is_ok_and(|read| read.unwrap_or(0) > 0) {
        return Ok(hub);
    }
    let _ = hub.kill();
    hub.wait()?;
    let said = fs::read_to_string(&errors)?;
    Err(io::Error::other(said.lines().last().unwrap_or("it ended without a word").to_owned()))
}
