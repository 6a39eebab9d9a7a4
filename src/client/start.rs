//! Starting a hub for a client that found none: detached from the terminal, without any of the client's descriptors,
//! with the same directories, and gone again when nobody has needed it for a while.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use super::BusError;
use crate::config::directories::Directories;
use crate::config::environment;
use crate::model::limits::{IDLE_EXIT, REAPER_STACK_BYTES, SERVICE_LOG_BYTES, START_TIMEOUT};
use crate::store::StoreError;
use crate::sys::lock::{Holder, HubLock, StartingLock};
use crate::sys::{descriptors, manager, private};

/// Why there is no hub of ours.
pub(super) enum NotStarted {
    /// What the hub said. It may also mean that another client was faster, or is at it, so the caller looks once more.
    ForNow(io::Error),
    /// No hub could be started here.
    AtAll(BusError),
}

impl From<io::Error> for NotStarted {
    fn from(error: io::Error) -> NotStarted {
        NotStarted::ForNow(error)
    }
}

/// Starts a hub and waits until it is ready.
pub(super) async fn hub(directories: &Directories) -> Result<(), NotStarted> {
    let directories = directories.clone();
    let started = tokio::task::spawn_blocking(move || start(&directories));
    let late = || Err(io::Error::new(io::ErrorKind::TimedOut, "it is not ready yet").into());
    tokio::time::timeout(START_TIMEOUT, started).await.map_or_else(|_| late(), |done| done.map_err(io::Error::other)?)
}

fn start(directories: &Directories) -> Result<(), NotStarted> {
    // Those who lose a hub lose it at the same moment, and a hundred that are started at once hold up the one that
    // serves. Where the directory cannot be locked, each of them tries.
    directories.prepare_runtime().map_err(io::Error::other)?;
    let ours = StartingLock::try_take(&directories.runtime);
    if matches!(ours, Ok(None)) || is_held(directories) {
        return Err(io::Error::other("it is being started").into());
    }
    let program = environment::program()?;
    let idle = format!("{}s", IDLE_EXIT.as_secs());
    let arguments = ["hub", "--idle-exit", &idle];
    descriptors::keep_to_ourselves();
    if by_user_manager(&program, &arguments, directories) {
        return Ok(());
    }
    by_itself(&program, &arguments, directories)
}

/// Whether somebody has the hub's lock: it is about to serve, or to leave, or has lost its socket.
pub(super) fn is_held(directories: &Directories) -> bool {
    let lock = HubLock::open_existing(&directories.hub_lock()).ok().flatten();
    lock.is_some_and(|lock| lock.held_by().is_ok_and(|holder| holder != Holder::Nobody))
}

/// Has the session's service manager run it, where there is one; tells whether it does.
fn by_user_manager(program: &Path, arguments: &[&str], directories: &Directories) -> bool {
    if !Directories::session_runtime().is_some_and(|session| manager::has_user_manager(&session)) {
        return false;
    }
    let mut command = Command::new("systemd-run");
    // `notify` makes systemd-run return when the hub is ready.
    command.args([
        "--user",
        "--quiet",
        "--collect",
        "--service-type=notify",
        "--description=waitbus hub, started on demand",
    ]);
    for (name, path) in directories.variables() {
        command.arg(format!("--setenv={name}={}", path.display()));
    }
    let outcome = command.arg("--").arg(program).args(arguments).stdin(Stdio::null()).output();
    outcome.is_ok_and(|output| output.status.success())
}

/// Runs it as a process of its own.
fn by_itself(program: &Path, arguments: &[&str], directories: &Directories) -> Result<(), NotStarted> {
    private::directory(&directories.state).map_err(|error| {
        let (path, problem) = (directories.state.clone(), error.to_string());
        NotStarted::AtAll(StoreError::Directory { path, problem }.into())
    })?;
    let log = directories.hub_log();
    let (errors, before) = open_log(&log)?;
    let mut command = Command::new(program);
    for variable in environment::OF_ONE_SERVICE {
        command.env_remove(variable);
    }
    let mut child = command
        .args(arguments)
        .arg("--detach")
        .envs(directories.variables())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors)
        .spawn()?;
    let mut line = String::new();
    // It prints one line when it is ready, and nothing when it cannot become so.
    let read = child.stdout.take().map(|stdout| BufReader::new(stdout).read_line(&mut line)).transpose()?;
    if read.unwrap_or(0) > 0 {
        // It is still our child. If we live longer, somebody has to take note of its end, and sleeps until then;
        // without a thread for that, a dead entry in the table of processes is all that it costs.
        let reaper = thread::Builder::new().name("reaper".into()).stack_size(REAPER_STACK_BYTES);
        let _ = reaper.spawn(move || child.wait());
        return Ok(());
    }
    child.wait()?;
    Err(io::Error::other(last_words(&log, before)).into())
}

/// Opens the log for the lines of one more hub, and tells where they will begin. Others may be writing to it.
fn open_log(path: &Path) -> io::Result<(File, u64)> {
    let log = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    if log.metadata()?.len() > SERVICE_LOG_BYTES {
        log.set_len(0)?;
    }
    let before = log.metadata()?.len();
    Ok((log, before))
}

/// The last line that has been written since the log had this length.
fn last_words(log: &Path, before: u64) -> String {
    let mut said = Vec::new();
    // What cannot be read has not been said.
    let _ = File::open(log).and_then(|mut log| {
        log.seek(SeekFrom::Start(before))?;
        log.read_to_end(&mut said)
    });
    let said = String::from_utf8_lossy(&said);
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it ended without a word");
    last.trim_start_matches("waitbus: ").to_owned()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn hubs_that_are_started_at_once_write_into_one_log_without_holes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hub.log");
        let (mut first, start) = open_log(&path).unwrap();
        assert_eq!(start, 0);
        first.write_all(b"one\n").unwrap();
        let (mut second, start) = open_log(&path).unwrap();
        assert_eq!(start, 4);
        second.write_all(b"two\n").unwrap();
        first.write_all(b"three\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\nthree\n");
        first.set_len(SERVICE_LOG_BYTES).unwrap();
        assert_eq!(open_log(&path).unwrap().1, SERVICE_LOG_BYTES, "the bound itself is within it");
        first.set_len(SERVICE_LOG_BYTES + 1).unwrap();
        assert_eq!(open_log(&path).unwrap().1, 0);
        second.write_all(b"four\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "four\n");
    }

    #[test]
    fn what_an_earlier_hub_said_is_not_the_reason_why_this_one_ended() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hub.log");
        std::fs::write(&path, "waitbus: an old story\n").unwrap();
        let (mut log, before) = open_log(&path).unwrap();
        assert_eq!(last_words(&path, before), "it ended without a word");
        log.write_all(b"first\nwaitbus: the reason\n\n").unwrap();
        assert_eq!(last_words(&path, before), "the reason");
        assert_eq!(last_words(&directory.path().join("missing"), 0), "it ended without a word");
    }
}
