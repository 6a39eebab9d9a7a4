//! The kernel's word that something in a directory has changed. What it says is a hint where to look, never a fact to be
//! told: by the time it is read, the disk may be another.
//!
//! One directory is watched at a time, and never what is below it, so whoever watches decides what is not worth a watch.

#[cfg(target_os = "linux")]
mod inotify;
#[cfg(not(target_os = "linux"))]
mod kqueue;

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

#[cfg(target_os = "linux")]
pub use inotify::{DirectoryWatch, limit_of_watches, time_of_files};
#[cfg(not(target_os = "linux"))]
pub use kqueue::{DirectoryWatch, limit_of_watches, time_of_files};

/// What one watch has told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The watch, as [`DirectoryWatch::add`] named it. Means nothing with [`What::Overflow`].
    pub watch: i32,
    /// The entry of the directory; none if it is about what is watched itself.
    pub name: Option<OsString>,
    /// Whether the entry is a directory, as far as the kernel says.
    pub is_directory: bool,
    /// What has happened.
    pub what: What,
}

/// What may have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// An entry has been made.
    Made,
    /// A file has been written, by somebody who still has it open.
    Written,
    /// Somebody who could write to a file has closed it.
    Closed,
    /// An entry has been removed.
    Removed,
    /// An entry has left, by a rename with this number.
    Left(u32),
    /// An entry has come, by a rename with this number.
    Came(u32),
    /// Something has changed, and the kernel does not say more.
    Changed,
    /// A directory has other rights, perhaps.
    Attributes,
    /// What is watched has been removed or renamed itself.
    Lost,
    /// The watch is over: what was watched is gone, or was unmounted.
    Over,
    /// More has happened than the kernel keeps: look everywhere.
    Overflow,
}

/// How much a watch tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Which entries come and go.
    Names,
    /// That, and which are written.
    Contents,
}

/// Waits until the watch, if there is one, has something to tell, `stop` is closed at its other end, or the time is over;
/// without a time for as long as it takes. Returns whether to stop.
pub fn wait(watch: Option<&DirectoryWatch>, stop: &OwnedFd, time: Option<Duration>) -> io::Result<bool> {
    let time = time.map(|time| Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    });
    let mut ends = vec![PollFd::new(stop, PollFlags::IN)];
    ends.extend(watch.map(|watch| PollFd::new(watch, PollFlags::IN)));
    match poll(&mut ends, time.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(!ends[0].revents().is_empty()),
        Err(error) => Err(error.into()),
    }
}

/// The two ends of what tells a watcher to stop: it waits for the first, and is told when the second is dropped.
pub fn stop() -> io::Result<(OwnedFd, OwnedFd)> {
    let (heard, told) = rustix::pipe::pipe()?;
    for end in [heard.as_fd(), told.as_fd()] {
        rustix::io::fcntl_setfd(end, rustix::io::FdFlags::CLOEXEC)?;
    }
    Ok((heard, told))
}
