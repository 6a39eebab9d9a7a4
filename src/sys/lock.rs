//! One hub per runtime directory: a lock on a file, which the kernel takes back when its holder dies.
//!
//! It is a POSIX record lock, because for those the kernel names the holder: a hub that a service manager has
//! activated can ask it to hand over, without trusting a number in a file. The price is that closing *any*
//! descriptor of the file gives the lock up, so the file is opened once, here, and nowhere else.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::process::{Flock, FlockOffsetType, FlockType, Pid, Signal, fcntl_getlk};

/// What asks a hub to hand over its role.
const HAND_OVER: Signal = Signal::USR1;

/// Lowest number of the lock's descriptor on Linux: above those of the sockets, below every usual limit.
const HIGH: i32 = 200;

/// How often a take-over looks who has the lock: a hub that a client starts may take it from under the one that was
/// asked, and has to be asked as well. A hub hands over in milliseconds, so this is rarely used up even once.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The lock file, held or not.
#[derive(Debug)]
pub struct HubLock(File);

/// Who has the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// It is free, or this process has it.
    Nobody,
    /// Another process has it. The kernel does not name one that lives outside our PID namespace.
    Somebody(Option<u32>),
}

/// The lock is held by somebody else.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The file cannot be opened or locked.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The holder did not leave in time.
    #[error("process {} did not hand over in time", .0.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string()))]
    Held(Option<u32>),
}

impl HubLock {
    /// Opens the file, which is made where it is missing.
    pub fn open(path: &Path) -> io::Result<HubLock> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        high(&file).map(HubLock)
    }

    /// Opens the file where there is one, only to ask who has the lock; for that it need not be writable.
    pub fn open_existing(path: &Path) -> io::Result<Option<HubLock>> {
        match File::open(path) {
            Ok(file) => Ok(Some(HubLock(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes the lock if nobody has it.
    pub fn try_take(&self) -> io::Result<bool> {
        match fcntl_lock(&self.0, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Who has the lock.
    pub fn held_by(&self) -> io::Result<Holder> {
        let whole =
            Flock { start: 0, length: 0, pid: None, typ: FlockType::WriteLock, offset_type: FlockOffsetType::Set };
        let number = |pid: Pid| u32::try_from(pid.as_raw_nonzero().get()).ok();
        Ok(fcntl_getlk(&self.0, &whole)?.map_or(Holder::Nobody, |lock| Holder::Somebody(lock.pid.and_then(number))))
    }

    /// The process that has the lock, as far as it is known.
    pub fn holder(&self) -> io::Result<Option<u32>> {
        Ok(match self.held_by()? {
            Holder::Nobody => None,
            Holder::Somebody(pid) => pid,
        })
    }

    /// Asks whoever has the lock to hand over, and whoever takes it instead of us, and takes it when they have.
    pub fn take_over(&self, timeout: Duration) -> Result<(), LockError> {
        if self.try_take()? {
            return Ok(());
        }
        let mut asked = self.ask_to_leave(None)?;
        // The kernel queues us; a second thread waits there, because `fcntl` knows no timeout.
        let file = high(&self.0)?;
        let (taken, outcome) = mpsc::channel();
        thread::spawn(move || taken.send(fcntl_lock(&file, FlockOperation::LockExclusive).map(|()| file)));
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match outcome.recv_timeout(left.min(LOOK_EVERY)) {
                Ok(locked) => {
                    // Closing the clone would give the lock up again.
                    std::mem::forget(locked.map_err(io::Error::from)?);
                    return Ok(());
                }
                Err(mpsc::RecvTimeoutError::Timeout) if left > LOOK_EVERY => asked = self.ask_to_leave(asked)?,
                Err(_) => return Err(LockError::Held(self.holder()?)),
            }
        }
    }

    /// Asks the holder to hand over, unless it is the one that has been `asked`; returns whom it has asked last. One
    /// that has no number here cannot be asked.
    fn ask_to_leave(&self, asked: Option<u32>) -> io::Result<Option<u32>> {
        let holder = self.holder()?;
        match holder.filter(|_| holder != asked).and_then(|holder| Pid::from_raw(i32::try_from(holder).ok()?)) {
            Some(pid) => self.ask(pid).map(|()| holder),
            None => Ok(asked),
        }
    }

    #[cfg(target_os = "linux")]
    fn ask(&self, holder: Pid) -> io::Result<()> {
        use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};
        let gone = |error: rustix::io::Errno| if error == rustix::io::Errno::SRCH { Ok(()) } else { Err(error.into()) };
        let process = match pidfd_open(holder, PidfdFlags::empty()) {
            Ok(process) => process,
            Err(error) => return gone(error),
        };
        // If it still has the lock, the descriptor names the process that we mean and not a later one.
        if self.holder()?.is_some_and(|now| i32::try_from(now) == Ok(holder.as_raw_nonzero().get())) {
            pidfd_send_signal(process, HAND_OVER).or_else(gone)?;
        }
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    #[allow(clippy::unused_self, reason = "there is no descriptor for a process to compare with")]
    fn ask(&self, holder: Pid) -> io::Result<()> {
        match rustix::process::kill_process(holder, HAND_OVER) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// The right to start a hub for a runtime directory, which one client at a time has until it drops this. The lock is on
/// the directory itself, so that nothing is left behind.
#[derive(Debug)]
pub struct StartingLock(#[expect(dead_code, reason = "the lock is held as long as it is open")] File);

impl StartingLock {
    /// Takes it; `None` if another client has it.
    pub fn try_take(runtime: &Path) -> io::Result<Option<StartingLock>> {
        let directory = File::open(runtime)?;
        match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(StartingLock(directory))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Another descriptor of the lock file, with a high number. Linux closes the descriptors of a process that dies in
/// ascending order, and the first of this file gives the lock up. That has to be last: whoever takes it next must not
/// find the dead hub's sockets still listening. macOS closes them in descending order, so there any number below those
/// of the sockets will do, which are opened later.
fn high(file: &File) -> io::Result<File> {
    if cfg!(target_os = "macos") {
        return file.try_clone();
    }
    match rustix::io::fcntl_dupfd_cloexec(file, HIGH) {
        Ok(high) => Ok(high.into()),
        // The process may not have so many; then a successor may have to try twice.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::MFILE) => file.try_clone(),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_that_does_not_leave_is_named_by_its_number() {
        assert_eq!(LockError::Held(Some(4711)).to_string(), "process 4711 did not hand over in time");
        assert_eq!(LockError::Held(None).to_string(), "process unknown did not hand over in time");
    }

    #[test]
    fn one_client_at_a_time_may_start_a_hub_and_the_next_when_it_is_done() {
        let directory = tempfile::tempdir().unwrap();
        let first = StartingLock::try_take(directory.path()).unwrap();
        assert!(first.is_some() && StartingLock::try_take(directory.path()).unwrap().is_none());
        drop(first);
        assert!(StartingLock::try_take(directory.path()).unwrap().is_some());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn asking_for_the_holder_makes_no_lock_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("missing/hub.lock");
        assert!(HubLock::open_existing(&path).unwrap().is_none());
        assert!(HubLock::open_existing(&directory.path().join("hub.lock")).unwrap().is_none());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
