//! The commands that run beside us, from their start to their end or to the end of our patience with them.

use std::io;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tokio::signal::unix::{self, SignalKind};
use tokio::time::{Instant, sleep_until};

use super::group::Group;
use super::{Ended, NotStarted};

/// Commands in groups of their own. Each keeps something of the caller's until it has ended.
#[derive(Debug)]
pub struct Jobs<T> {
    running: Vec<Job<T>>,
    died: unix::Signal,
}

#[derive(Debug)]
struct Job<T> {
    group: Group,
    kept: T,
    stopping: Stopping,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopping {
    /// Nobody has asked it to end.
    No,
    /// It has been asked, and is killed if it has not ended by then.
    Until(Instant),
    /// It has been killed.
    Killed,
}

/// A job that has ended.
#[derive(Debug)]
pub struct Finished<T> {
    /// How.
    pub ended: Ended,
    /// Whether that is what we wanted.
    pub was_stopped: bool,
    /// What it has kept.
    pub kept: T,
}

impl<T> Jobs<T> {
    /// No jobs yet. Must be called within a runtime.
    pub fn new() -> io::Result<Jobs<T>> {
        Ok(Jobs { running: Vec::new(), died: unix::signal(SignalKind::child())? })
    }

    /// How many are running.
    #[must_use]
    pub fn count(&self) -> usize {
        self.running.len()
    }

    /// Whether each of them has been asked to end.
    #[must_use]
    pub fn are_stopping(&self) -> bool {
        self.running.iter().all(|job| job.stopping != Stopping::No)
    }

    /// Starts one more.
    pub fn start(&mut self, command: Command, kept: T) -> Result<(), NotStarted> {
        let group = Group::start(command)?;
        self.running.push(Job { group, kept, stopping: Stopping::No });
        Ok(())
    }

    /// Passes a signal on to all of them.
    pub fn signal(&self, signal: Signal) {
        for job in &self.running {
            job.group.signal(signal);
        }
    }

    /// Asks all of them to end by a signal, and kills what has not ended after that time. Who has been asked before is
    /// asked again and has no more time than it had.
    pub fn stop(&mut self, signal: Signal, patience: Duration) {
        let deadline = Instant::now() + patience;
        for job in &mut self.running {
            job.group.signal(signal);
            // One that is stopped has to go on to end.
            job.group.signal(Signal::CONT);
            if job.stopping == Stopping::No {
                job.stopping = Stopping::Until(deadline);
            }
        }
    }

    /// Kills all of them.
    pub fn kill(&mut self) {
        for job in &mut self.running {
            job.group.signal(Signal::KILL);
            job.stopping = Stopping::Killed;
        }
    }

    /// Waits for the next one to end. Without jobs it waits for ever. May be cancelled at any time.
    pub async fn finished(&mut self) -> io::Result<Finished<T>> {
        loop {
            for number in 0..self.running.len() {
                if self.running[number].group.has_ended()? {
                    return self.take(number);
                }
            }
            let deadline = self.running.iter().filter_map(|job| job.stopping.deadline()).min();
            tokio::select! {
                _ = self.died.recv() => {}
                () = until(deadline) => self.kill_the_late(),
            }
        }
    }

    fn take(&mut self, number: usize) -> io::Result<Finished<T>> {
        let job = self.running.remove(number);
        let was_stopped = job.stopping != Stopping::No;
        if was_stopped {
            // What the command has left in its group was to end with it, and whoever comes next needs what it holds.
            job.group.signal(Signal::KILL);
        }
        Ok(Finished { ended: job.group.reap()?, was_stopped, kept: job.kept })
    }

    fn kill_the_late(&mut self) {
        let now = Instant::now();
        for job in &mut self.running {
            if job.stopping.deadline().is_some_and(|deadline| deadline <= now) {
                job.group.signal(Signal::KILL);
                job.stopping = Stopping::Killed;
            }
        }
    }
}

impl Stopping {
    fn deadline(self) -> Option<Instant> {
        match self {
            Stopping::Until(deadline) => Some(deadline),
            Stopping::No | Stopping::Killed => None,
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
