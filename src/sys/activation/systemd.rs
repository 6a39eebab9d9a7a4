//! Sockets that systemd has put at the descriptors from 3 on (`sd_listen_fds(3)`), with their names in a variable. The
//! names tell them apart, because their order changes across reloads and boots.

use std::env;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use super::BadActivation;

/// Takes what was passed to this process, and clears the variables that say so, because they do not concern our
/// children. Must run before any thread exists.
pub(super) fn sockets() -> Result<Vec<(String, OwnedFd)>, BadActivation> {
    // Variables that a parent left us were meant for it; `sd-notify` then counts no sockets.
    let passed: Vec<RawFd> = sd_notify::listen_fds()?.collect();
    let names: Vec<String> = match env::var_os("LISTEN_FDNAMES") {
        _ if passed.is_empty() => Vec::new(),
        Some(list) => list.to_string_lossy().split(':').map(str::to_owned).collect(),
        None => vec!["unknown".to_owned(); passed.len()],
    };
    for variable in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"] {
        // SAFETY: no other thread exists yet, so nobody reads the environment at the same time.
        unsafe { env::remove_var(variable) };
    }
    if names.len() != passed.len() {
        return Err(BadActivation::Count { fds: passed.len(), names: names.len(), list: names.join(", ") });
    }
    // SAFETY: the variables name this process, so the descriptors are its own; that they are open was seen when they
    // were made close-on-exec, and without the variables nobody takes them a second time.
    Ok(names.into_iter().zip(passed).map(|(name, fd)| (name, unsafe { OwnedFd::from_raw_fd(fd) })).collect())
}
