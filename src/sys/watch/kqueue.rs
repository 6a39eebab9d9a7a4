//! kqueue(2), which watches descriptors: one for each directory, which tells that its entries have changed but not which,
//! and one for each file, which tells that it has been written but not when it is whole.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::ptr::null_mut;
use std::time::{Duration, SystemTime};

use rustix::event::kqueue::{Event, EventFilter, EventFlags, VnodeEvents, kevent, kqueue};
use rustix::fs::{Mode, OFlags, open};

use super::{Extent, Seen, What};

/// `O_EVTONLY` of fcntl.h: the descriptor does not keep a volume from being unmounted.
const EVENTS_ONLY: OFlags = OFlags::from_bits_retain(0x8000);
/// Events that are read at a time.
const BATCH: usize = 64;

/// The watches of one process over directories and files.
#[derive(Debug)]
pub struct DirectoryWatch {
    queue: OwnedFd,
    watched: RefCell<HashMap<i32, OwnedFd>>,
}

impl DirectoryWatch {
    /// Whether the files of a directory need watches of their own for their contents.
    pub const FILES_TOO: bool = true;

    /// None is watched yet.
    pub fn new() -> io::Result<DirectoryWatch> {
        let queue = kqueue()?;
        rustix::io::fcntl_setfd(&queue, rustix::io::FdFlags::CLOEXEC)?;
        Ok(DirectoryWatch { queue, watched: RefCell::default() })
    }

    /// Watches a directory or a file; `follow` says whether a symbolic link to one will do. Fails with EMFILE if there
    /// are no more descriptors.
    pub fn add(&self, path: &Path, _extent: Extent, follow: bool) -> io::Result<i32> {
        let link = if follow { OFlags::empty() } else { OFlags::NOFOLLOW };
        let file = open(path, OFlags::RDONLY | OFlags::CLOEXEC | EVENTS_ONLY | link, Mode::empty())?;
        let vnode = VnodeEvents::WRITE | VnodeEvents::EXTEND | lost();
        let filter = EventFilter::Vnode { vnode: file.as_raw_fd(), flags: vnode };
        let change = [Event::new(filter, EventFlags::ADD | EventFlags::CLEAR, null_mut())];
        let mut none: [Event; 0] = [];
        // SAFETY: the descriptor is open, and stays so for as long as it is in `watched`; closing it ends its events.
        unsafe { kevent(&self.queue, &change, &mut none[..], Some(Duration::ZERO))? };
        let watch = file.as_raw_fd();
        self.watched.borrow_mut().insert(watch, file);
        Ok(watch)
    }

    /// Ends a watch.
    pub fn remove(&self, watch: i32) {
        self.watched.borrow_mut().remove(&watch);
    }

    /// Appends what has been told since, up to a buffer of it, without waiting. Returns whether there was anything.
    pub fn read(&self, seen: &mut Vec<Seen>) -> io::Result<bool> {
        let mut events = Vec::with_capacity(BATCH);
        // SAFETY: nothing is changed, so no descriptor is handed over.
        unsafe {
            kevent(&self.queue, &[], rustix::buffer::spare_capacity(&mut events), Some(Duration::ZERO))?;
        }
        for event in &events {
            let EventFilter::Vnode { vnode, flags } = event.filter() else { continue };
            let what = if flags.intersects(lost()) { What::Lost } else { What::Changed };
            seen.push(Seen { watch: vnode, name: None, is_directory: false, what });
        }
        Ok(!events.is_empty())
    }
}

impl AsFd for DirectoryWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }
}

/// What is told of something that is not where it was any more.
fn lost() -> VnodeEvents {
    [VnodeEvents::DELETE, VnodeEvents::RENAME, VnodeEvents::REVOKE].into_iter().collect()
}

/// How many watches a process may have, and which setting says so.
#[must_use]
pub fn limit_of_watches() -> String {
    "each directory and each file takes a descriptor, of which a process may have 10,240; name fewer paths".to_owned()
}

/// The time that a file would have that was changed now.
#[must_use]
pub fn time_of_files() -> SystemTime {
    SystemTime::now()
}
