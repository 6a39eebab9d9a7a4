//! A bus that nobody else knows, for as long as something is measured on it.
//!
//! Whoever is killed leaves directories behind. Each has a file that its process has locked, so the next one knows which
//! of them nobody needs any more, and removes those.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::{Builder, TempDir};

use super::bus::subscribe;
use super::{Unmeasured, failed};
use crate::client::BusError;
use crate::config::directories::Directories;
use crate::config::environment;
use crate::model::limits::MEASURE_IDLE_EXIT;

/// How the names of these directories begin.
const PREFIX: &str = ".waitbus-bench-";
/// The file in each of them that is locked while it is used.
const LOCK: &str = "lock";

/// Two directories that are removed when this is dropped.
#[derive(Debug)]
pub struct Room {
    state: TempDir,
    sockets: TempDir,
    _locks: [File; 2],
}

impl Room {
    /// On the file system of that user's log; sockets have short paths, and cost the same on every file system.
    pub fn beside(user: &Directories) -> Result<Room, Unmeasured> {
        let state = beside(&user.state).map_err(failed("no directory can be made on the file system of the log"))?;
        let sockets = directory(&environment::temporary_directory());
        let sockets = sockets.map_err(failed("no temporary directory can be made"))?;
        Ok(Room { state: state.0, sockets: sockets.0, _locks: [state.1, sockets.1] })
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
pub struct Hub {
    process: Child,
    socket: PathBuf,
    /// A subscriber for which no event is meant. While a floor is measured nobody else is there, and a hub without anybody
    /// leaves.
    _guest: UnixStream,
}

/// What it asks for: no event is without a name.
const NOTHING: &str = "{\"heartbeat\":false,\"match\":\"event_id=null\"}";

impl Hub {
    /// Starts the one of the bus in a room, and returns when it is ready.
    pub fn start(room: &Room) -> Result<Hub, Unmeasured> {
        let process = start(room).map_err(failed("the hub does not start"))?;
        let socket = room.directories().broadcast().map_err(BusError::from)?;
        let guest = subscribe(&socket, NOTHING).map_err(failed("the hub does not answer"))?;
        Ok(Hub { process, socket, _guest: guest })
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.process.id()
    }

    /// Whether it has ended: then nobody listens at its socket any more.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        use io::ErrorKind::{ConnectionRefused, NotFound};
        UnixStream::connect(&self.socket).is_err_and(|error| matches!(error.kind(), ConnectionRefused | NotFound))
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A new directory on the file system of a path that may not be there yet.
fn beside(path: &Path) -> io::Result<(TempDir, File)> {
    let there = path.ancestors().find(|path| path.is_dir());
    directory(there.ok_or(io::ErrorKind::NotFound)?)
}

/// A new directory, and its lock, where those are removed that nobody has locked any more.
fn directory(within: &Path) -> io::Result<(TempDir, File)> {
    let made = Builder::new().prefix(PREFIX).tempdir_in(within)?;
    let own = made.path().metadata()?.uid();
    for entry in fs::read_dir(within)?.filter_map(Result::ok) {
        let is_ours = || entry.metadata().is_ok_and(|entry| entry.is_dir() && entry.uid() == own);
        if entry.file_name().to_string_lossy().starts_with(PREFIX) && is_ours() && is_left_behind(&entry.path()) {
            // Another one may be at it, too.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    // Under its name it is locked from the beginning, so nobody finds it in between.
    let new = made.path().join("lock.new");
    let lock = File::create(&new)?;
    lock.lock()?;
    fs::rename(new, made.path().join(LOCK))?;
    Ok((made, lock))
}

fn is_left_behind(directory: &Path) -> bool {
    File::open(directory.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok())
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
        .stderr(File::create(&errors)?)
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
