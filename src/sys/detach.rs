//! How a hub that a client started leaves that client's terminal and pipes.

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
