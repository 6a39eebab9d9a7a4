//! One run of a source's program: in a process group of its own, which ends as a whole, with a pipe for what it prints and
//! one for what it says on standard error.

use std::ffi::OsStr;
use std::io::{self, PipeWriter};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use rustix::process::Signal;
use tokio::net::unix::pipe::Receiver;
use tokio::signal::unix::{self, SignalKind};
use tracing::{info, warn};

use super::super::throttle::Throttle;
use super::lines::{Line, Lines};
use crate::child::group::Group;
use crate::child::{Ended, NotStarted};
use crate::model::limits::{
    COMMAND_STDERR_BURST, COMMAND_STDERR_LINE_BYTES, COMMAND_STDERR_PER_SECOND, MAX_BATCH_LINE_BYTES,
    STDERR_TAIL_BYTES, STDERR_TAIL_LINES, STOP_TIMEOUT,
};
use crate::model::text::{last_lines, one_line};

/// A program that runs. Dropping it ends it, after its pipes have been closed: what still prints learns that nobody reads.
pub(super) struct Process {
    /// What it prints.
    pub(super) printed: Lines,
    /// What it says on standard error.
    pub(super) errors: Errors,
    pub(super) running: Running,
}

impl Process {
    /// Starts it. It reads nothing.
    pub(super) fn start(mut command: Command, source: &str) -> Result<Process, NotStarted> {
        // Before there is a child, so that its end cannot be missed.
        let died = unix::signal(SignalKind::child()).map_err(NotStarted::CannotExecute)?;
        let (printed, print) = pipe().map_err(NotStarted::CannotExecute)?;
        let (said, say) = pipe().map_err(NotStarted::CannotExecute)?;
        command.stdout(print).stderr(say);
        let running = Running { group: Some(Group::start(command)?), died };
        info!(source, "the program has been started");
        let errors = Errors::new(source, Lines::new(said, COMMAND_STDERR_LINE_BYTES));
        Ok(Process { printed: Lines::new(printed, MAX_BATCH_LINE_BYTES), errors, running })
    }
}

/// A pipe of which a program has the other end.
fn pipe() -> io::Result<(Receiver, PipeWriter)> {
    let (read, write) = io::pipe()?;
    Ok((Receiver::from_owned_fd(OwnedFd::from(read))?, write))
}

/// The program itself, and what it has started.
pub(super) struct Running {
    /// None once it has been reaped.
    group: Option<Group>,
    died: unix::Signal,
}

impl Running {
    /// Waits for the end of the program. May be cancelled at any time.
    pub(super) async fn ended(&mut self) -> io::Result<()> {
        while !self.group.as_ref().map_or(Ok(true), Group::has_ended)? {
            self.died.recv().await;
        }
        Ok(())
    }

    /// Takes note of how it has ended, and ends what it has left behind.
    pub(super) fn reap(&mut self) -> io::Result<Ended> {
        match self.group.take() {
            Some(group) => {
                group.signal(Signal::KILL);
                group.reap()
            }
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(group) = self.group.take()
            && let Err(problem) = group.end(STOP_TIMEOUT)
        {
            warn!(%problem, "how the program ended is not known");
        }
    }
}

/// What a program says on standard error: into the log, cleaned and as much as a person can read, and its end kept.
pub(super) struct Errors {
    source: String,
    lines: Lines,
    throttle: Throttle,
    left_out: u64,
    last: Vec<u8>,
}

impl Errors {
    fn new(source: &str, lines: Lines) -> Errors {
        let throttle = Throttle::new(COMMAND_STDERR_BURST, COMMAND_STDERR_PER_SECOND, Instant::now());
        Errors { source: source.to_owned(), lines, throttle, left_out: 0, last: Vec::new() }
    }

    /// Reads one line into the log. Returns whether there was one. Cancelling this loses nothing.
    pub(super) async fn log(&mut self) -> io::Result<bool> {
        let Some(line) = self.lines.next().await? else { return Ok(false) };
        self.take(&line);
        Ok(true)
    }

    fn take(&mut self, Line { bytes, .. }: &Line) {
        self.last.extend_from_slice(bytes);
        self.last.push(b'\n');
        self.last.drain(..self.last.len().saturating_sub(STDERR_TAIL_BYTES));
        if !self.throttle.try_take(Instant::now()) {
            self.left_out += 1;
            return;
        }
        self.tell_left_out();
        info!(source = self.source, stderr = one_line(&String::from_utf8_lossy(bytes)), "the program says");
    }

    fn tell_left_out(&mut self) {
        let lines = std::mem::take(&mut self.left_out);
        if lines > 0 {
            info!(source = self.source, lines, "the program has said more, which was left out");
        }
    }

    /// Its last lines.
    pub(super) fn tail(&mut self) -> String {
        self.tell_left_out();
        last_lines(&String::from_utf8_lossy(&self.last), STDERR_TAIL_LINES)
    }
}

/// The command, with what it is told and without what a service manager has told us alone.
pub(super) fn command(
    words: &[std::ffi::OsString],
    directory: Option<&PathBuf>,
    told: [(&str, Option<&OsStr>); 2],
    not_its_own: &[&str],
) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    if let Some(directory) = directory {
        command.current_dir(directory);
    }
    for name in not_its_own {
        command.env_remove(name);
    }
    for (name, value) in told {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}
