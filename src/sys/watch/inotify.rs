//! inotify(7).

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::inotify::{self, CreateFlags, Event, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use super::{Extent, Seen, What};

/// Bytes that are read at a time: some hundred events with usual names, and more than the longest of them.
const BUFFER_BYTES: usize = 32 * 1024;

/// The watches of one process over directories. Each costs the kernel about a kilobyte.
#[derive(Debug)]
pub struct DirectoryWatch(OwnedFd);

impl DirectoryWatch {
    /// Whether the files of a directory need watches of their own for their contents.
    pub const FILES_TOO: bool = false;

    /// None is watched yet. Fails with EMFILE if the user has too many of these (`fs.inotify.max_user_instances`).
    pub fn new() -> io::Result<DirectoryWatch> {
        Ok(DirectoryWatch(inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?))
    }

    /// Watches a directory; `follow` says whether a symbolic link to one will do. The same directory has the same watch,
    /// whatever the path, and what it tells only grows. Fails with ENOSPC if there are no more watches.
    pub fn add(&self, directory: &Path, extent: Extent, follow: bool) -> io::Result<i32> {
        let names = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::ATTRIB
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF;
        let contents = match extent {
            Extent::Names => WatchFlags::empty(),
            Extent::Contents => WatchFlags::MODIFY | WatchFlags::CLOSE_WRITE,
        };
        // EXCL_UNLINK: a file that is deleted and still written to is nobody's concern.
        let how = WatchFlags::ONLYDIR | WatchFlags::EXCL_UNLINK | WatchFlags::MASK_ADD;
        let link = if follow { WatchFlags::empty() } else { WatchFlags::DONT_FOLLOW };
        Ok(inotify::add_watch(&self.0, directory, names | contents | how | link)?)
    }

    /// Ends a watch. One that has ended by itself needs nothing.
    pub fn remove(&self, watch: i32) {
        let _ = inotify::remove_watch(&self.0, watch);
    }

    /// Appends what has been told since, up to a buffer of it, without waiting. Returns whether there was anything.
    pub fn read(&self, seen: &mut Vec<Seen>) -> io::Result<bool> {
        let mut buffer = vec![MaybeUninit::uninit(); BUFFER_BYTES];
        let mut reader = Reader::new(&self.0, &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => seen.extend(read(&event)),
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if reader.is_buffer_empty() {
                return Ok(true);
            }
        }
    }
}

impl AsFd for DirectoryWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn read(event: &Event<'_>) -> Option<Seen> {
    let flags = event.events();
    let kinds = [
        (ReadFlags::QUEUE_OVERFLOW, What::Overflow),
        (ReadFlags::IGNORED, What::Over),
        (ReadFlags::CREATE, What::Made),
        (ReadFlags::MODIFY, What::Written),
        (ReadFlags::CLOSE_WRITE, What::Closed),
        (ReadFlags::DELETE, What::Removed),
        (ReadFlags::MOVED_FROM, What::Left(event.cookie())),
        (ReadFlags::MOVED_TO, What::Came(event.cookie())),
        (ReadFlags::DELETE_SELF, What::Lost),
        (ReadFlags::MOVE_SELF, What::Lost),
        (ReadFlags::ATTRIB, What::Attributes),
    ];
    let (_, what) = kinds.into_iter().find(|(flag, _)| flags.contains(*flag))?;
    let is_directory = flags.contains(ReadFlags::ISDIR);
    let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()).to_owned());
    // What may be done with a file changes nothing in what is seen of it.
    let is_concern = what != What::Attributes || is_directory || name.is_none();
    is_concern.then_some(Seen { watch: event.wd(), name, is_directory, what })
}

/// How many watches a user may have, and which setting says so.
#[must_use]
pub fn limit_of_watches() -> String {
    let value = fs::read_to_string("/proc/sys/fs/inotify/max_user_watches").unwrap_or_default();
    let value = if value.trim().is_empty() { "unknown" } else { value.trim() };
    format!("fs.inotify.max_user_watches is {value}; raise it with `sysctl fs.inotify.max_user_watches=N`")
}

/// The time that a file would have that was changed now: the kernel takes it from a clock that goes in ticks, and so lies
/// behind the usual one.
#[must_use]
pub fn time_of_files() -> SystemTime {
    let now = clock_gettime(ClockId::RealtimeCoarse);
    let seconds = Duration::from_secs(u64::try_from(now.tv_sec).unwrap_or(0));
    SystemTime::UNIX_EPOCH + seconds + Duration::from_nanos(u64::try_from(now.tv_nsec).unwrap_or(0))
}
