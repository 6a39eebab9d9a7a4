//! The terminal of a process, and how a hub that a client started leaves that client's terminal and pipes.

use std::fs::OpenOptions;

/// Becomes the leader of a session of its own, which no terminal's hang-up reaches.
pub fn from_terminal() {
    // It fails for a process that leads its group already; then whoever started us has seen to it.
    let _ = rustix::process::setsid();
}

/// Lets go of the pipe on which readiness was announced.
pub fn from_output() {
    if let Ok(nothing) = OpenOptions::new().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&nothing);
    }
}

/// Whether a terminal controls this process; its hang-up then arrives as SIGHUP.
#[must_use]
pub fn has_terminal() -> bool {
    OpenOptions::new().read(true).open("/dev/tty").is_ok()
}
