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
use std::time::Duration;

use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::process::{Flock, FlockOffsetType, FlockType, Pid, Signal, fcntl_getlk};

/// What asks a hub to hand over its role.
const HAND_OVER: Signal = Signal::USR1;

/// Lowest number of the lock's descriptor: above those of the sockets, below every usual limit.
const HIGH: i32 = 200;

/// The lock file, held or not.
#[derive(Debug)]
pub struct HubLock(File);

/// The lock is held by somebody else.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The file cannot be opened or locked.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The holder did not leave in time.
    #[error("process {0:?} did not hand over in time")]
    Held(Option<u32>),
}

impl HubLock {
    /// Opens the file, which is made where it is missing.
    pub fn open(path: &Path) -> io::Result<HubLock> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        // A process that dies closes its descriptors in ascending order. The lock has to go last: whoever takes it
        // next must not find the dead hub's sockets still listening.
        match rustix::io::fcntl_dupfd_cloexec(&file, HIGH) {
            Ok(high) => Ok(HubLock(high.into())),
            // The process may not have so many; then a successor may have to try twice.
            Err(rustix::io::Errno::INVAL) => Ok(HubLock(file)),
            Err(error) => Err(error.into()),
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

    /// The process that has the lock.
    pub fn holder(&self) -> io::Result<Option<u32>> {
        Ok(self.holder_pid()?.and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok()))
    }

    /// Asks whoever has the lock to hand over, and takes it when they have.
    pub fn take_over(&self, timeout: Duration) -> Result<(), LockError> {
        if self.try_take()? {
            return Ok(());
        }
        self.ask_to_leave()?;
        // The kernel queues us; a second thread waits there, because `fcntl` knows no timeout.
        let file = self.0.try_clone()?;
        let (taken, outcome) = mpsc::channel();
        thread::spawn(move || taken.send(fcntl_lock(&file, FlockOperation::LockExclusive).map(|()| file)));
        match outcome.recv_timeout(timeout) {
            Ok(locked) => {
                // Closing the clone would give the lock up again.
                std::mem::forget(locked.map_err(io::Error::from)?);
                Ok(())
            }
            Err(_) => Err(LockError::Held(self.holder()?)),
        }
    }

    fn holder_pid(&self) -> io::Result<Option<Pid>> {
        let whole =
            Flock { start: 0, length: 0, pid: None, typ: FlockType::WriteLock, offset_type: FlockOffsetType::Set };
        Ok(fcntl_getlk(&self.0, &whole)?.and_then(|lock| lock.pid))
    }

    #[cfg(target_os = "linux")]
    fn ask_to_leave(&self) -> io::Result<()> {
        use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};
        let Some(holder) = self.holder_pid()? else { return Ok(()) };
        let gone = |error: rustix::io::Errno| if error == rustix::io::Errno::SRCH { Ok(()) } else { Err(error.into()) };
        let process = match pidfd_open(holder, PidfdFlags::empty()) {
            Ok(process) => process,
            Err(error) => return gone(error),
        };
        // If it still has the lock, the descriptor names the process that we mean and not a later one.
        if self.holder_pid()? == Some(holder) {
            pidfd_send_signal(process, HAND_OVER).or_else(gone)?;
        }
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    fn ask_to_leave(&self) -> io::Result<()> {
        match self.holder_pid()?.map(|holder| rustix::process::kill_process(holder, HAND_OVER)) {
            None | Some(Ok(()) | Err(rustix::io::Errno::SRCH)) => Ok(()),
            Some(Err(error)) => Err(error.into()),
        }
    }
}
