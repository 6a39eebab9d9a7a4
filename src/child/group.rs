//! A command in a process group of its own, which is signalled and ended as a whole.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::{Ended, NotStarted};

/// The command that leads the group. Its entry in the table of processes is kept until [`Group::reap`], so the number of
/// the group is nobody else's until then.
#[derive(Debug)]
pub struct Group {
    child: Child,
    id: Pid,
}

impl Group {
    /// Starts a command as the leader of a new group. It reads nothing: the terminal is not that group's, and to read
    /// from it would stop the command.
    pub fn start(mut command: Command) -> Result<Group, NotStarted> {
        let child = command.process_group(0).stdin(Stdio::null()).spawn()?;
        let id = Pid::from_child(&child);
        Ok(Group { child, id })
    }

    /// Sends a signal to everything in the group.
    pub fn signal(&self, signal: Signal) {
        // Whatever was in it may have ended.
        let _ = kill_process_group(self.id, signal);
    }

    /// Asks everything in the group to end, and kills what has not when the command has, or after that time. Blocks until
    /// then.
    pub fn end(self, patience: Duration) -> io::Result<Ended> {
        self.signal(Signal::TERM);
        // What is stopped has to go on to end.
        self.signal(Signal::CONT);
        let (ended, end) = mpsc::channel();
        let id = self.id;
        // Looks without reaping, so that the number of the group stays the group's.
        let waiting = thread::Builder::new().name("ending".into()).spawn(move || {
            let _ = waitid(WaitId::Pid(id), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
            let _ = ended.send(());
        })?;
        let _ = end.recv_timeout(patience);
        self.signal(Signal::KILL);
        let _ = waiting.join();
        self.reap()
    }

    /// Whether the command has ended; others of its group may go on.
    pub fn has_ended(&self) -> io::Result<bool> {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(waitid(WaitId::Pid(self.id), look)?.is_some())
    }

    /// Takes note of how the command has ended; waits for that if it has not.
    pub fn reap(mut self) -> io::Result<Ended> {
        self.child.wait().map(Ended::from)
    }
}
