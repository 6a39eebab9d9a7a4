//! Sockets that launchd has opened for an agent (`launch_activate_socket(3)`). launchd is asked for each of our names,
//! and says which there are. All but the call itself is compiled and tested on every platform.

use std::os::fd::OwnedFd;

use rustix::io::Errno;

use super::{BROADCAST, BadActivation, DOORBELL, WEBHOOK};

/// Takes the sockets of this agent; none if it is no agent. One name may have several sockets, for instance one for
/// each address of a host name.
pub(super) fn sockets(
    activate: impl Fn(&'static str) -> Result<Vec<OwnedFd>, Errno>,
) -> Result<Vec<(String, OwnedFd)>, BadActivation> {
    let mut passed = Vec::new();
    for name in [BROADCAST, DOORBELL, WEBHOOK] {
        match activate(name) {
            Ok(sockets) => passed.extend(sockets.into_iter().map(|socket| (name.to_owned(), socket))),
            // The agent has no such socket.
            Err(Errno::NOENT) => {}
            // Nobody but launchd's own children have any: a shell or a client has started us.
            Err(Errno::SRCH) => return Ok(Vec::new()),
            Err(error) => return Err(BadActivation::Launchd { name, source: error.into() }),
        }
    }
    Ok(passed)
}

/// Asks launchd for the sockets of one name, which are then this process's to close.
#[cfg(target_os = "macos")]
pub(super) fn activate(name: &'static str) -> Result<Vec<OwnedFd>, Errno> {
    use std::ffi::{CString, c_char, c_int, c_void};
    use std::os::fd::FromRawFd;
    use std::{ptr, slice};

    // `<launch.h>` and `<stdlib.h>`, both in libSystem, which every program is linked to.
    unsafe extern "C" {
        fn launch_activate_socket(name: *const c_char, descriptors: *mut *mut c_int, count: *mut usize) -> c_int;
        fn free(memory: *mut c_void);
    }
    let name = CString::new(name).map_err(|_| Errno::INVAL)?;
    let (mut descriptors, mut count) = (ptr::null_mut(), 0);
    // SAFETY: the name ends with a zero, and what is written is written to two places of the right types.
    let error = unsafe { launch_activate_socket(name.as_ptr(), &raw mut descriptors, &raw mut count) };
    if error != 0 {
        return Err(Errno::from_raw_os_error(error));
    }
    if descriptors.is_null() {
        return Ok(Vec::new());
    }
    // SAFETY: on success this is an array of that many open descriptors. They are handed over once; launchd answers a
    // second call with an error.
    let passed = unsafe { slice::from_raw_parts(descriptors, count) };
    let sockets = passed.iter().map(|&descriptor| unsafe { OwnedFd::from_raw_fd(descriptor) }).collect();
    // SAFETY: launchd has allocated the array for its caller to free, and nothing refers to it any more.
    unsafe { free(descriptors.cast()) };
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;
    use std::path::Path;

    use super::super::Passed;
    use super::*;

    fn unix(directory: &Path, name: &str) -> Vec<OwnedFd> {
        vec![UnixListener::bind(directory.join(name)).unwrap().into()]
    }

    fn tcp() -> OwnedFd {
        TcpListener::bind("127.0.0.1:0").unwrap().into()
    }

    #[test]
    fn an_agent_gets_the_sockets_that_it_has_and_no_others() {
        let directory = tempfile::tempdir().unwrap();
        let hub = sockets(|name| if name == WEBHOOK { Err(Errno::NOENT) } else { Ok(unix(directory.path(), name)) });
        let hub = Passed::named(hub.unwrap()).unwrap();
        assert!(hub.broadcast.is_some() && hub.doorbell.is_some() && hub.webhook.is_none());
        let listener = sockets(|name| if name == WEBHOOK { Ok(vec![tcp()]) } else { Err(Errno::NOENT) });
        let listener = Passed::named(listener.unwrap()).unwrap();
        assert!(listener.broadcast.is_none() && listener.doorbell.is_none() && listener.webhook.is_some());
    }

    #[test]
    fn a_process_that_launchd_has_not_started_binds_its_own() {
        let asked = RefCell::new(Vec::new());
        let answer = |name| {
            asked.borrow_mut().push(name);
            Err(Errno::SRCH)
        };
        assert!(!Passed::named(sockets(answer).unwrap()).unwrap().any());
        assert_eq!(*asked.borrow(), [BROADCAST], "once is enough");
    }

    #[test]
    fn a_name_with_two_sockets_is_refused_and_neither_is_left_unserved() {
        // `SockNodeName` of localhost without a `SockFamily` is one socket for IPv4 and one for IPv6.
        let both = sockets(|name| if name == WEBHOOK { Ok(vec![tcp(), tcp()]) } else { Err(Errno::NOENT) });
        let error = Passed::named(both.unwrap()).unwrap_err().to_string();
        assert!(error.contains("\"webhook\"") && error.contains("SockFamily"), "{error}");
    }

    #[test]
    fn a_socket_that_launchd_keeps_is_an_error_with_its_name() {
        let answer = |name| if name == DOORBELL { Err(Errno::ALREADY) } else { Err(Errno::NOENT) };
        let error = sockets(answer).unwrap_err().to_string();
        assert!(error.starts_with("launchd does not hand over the socket \"doorbell\": "), "{error}");
    }
}
