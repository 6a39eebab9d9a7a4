//! Whether somebody waits to be let in at a socket, without letting them in.

use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Whether the next accept of this listener would not wait. Asks the kernel at this moment, and never waits itself.
pub fn is_waiting(listener: &impl AsFd) -> bool {
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&at_once)).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn whoever_has_connected_waits_until_they_are_let_in() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("door.sock");
        let listener = UnixListener::bind(&path).unwrap();
        assert!(!is_waiting(&listener));
        let _knocks = UnixStream::connect(&path).unwrap();
        assert!(is_waiting(&listener) && is_waiting(&listener), "to look lets nobody in");
        listener.accept().unwrap();
        assert!(!is_waiting(&listener));
    }
}
