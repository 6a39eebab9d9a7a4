//! What becomes of a signal in this process, where a wrapper has to leave it as it was or to pass it on: whether it is
//! ignored, and how to be stopped or ended by it as somebody else was.

use std::mem::zeroed;
use std::ptr::{null, null_mut};

use rustix::process::{Resource, getrlimit, setrlimit};

/// Whether this process ignores a signal, because whoever started it did: `nohup`, or a shell for a command in the
/// background. Asked before a handler is set, which would end that for the commands that we start, too.
#[must_use]
pub fn is_ignored(signal: i32) -> bool {
    // SAFETY: nothing is changed; the kernel fills in a structure of plain numbers, for which zeros are a value.
    unsafe {
        let mut now: libc::sigaction = zeroed();
        libc::sigaction(signal, null(), &raw mut now) == 0 && now.sa_sigaction == libc::SIG_IGN
    }
}

/// Stops this process the way the signal does by default, whatever handler it has, and returns when it is continued.
/// For a signal that stops.
pub fn stop_by(signal: i32) {
    // SAFETY: the structures are plain numbers; the handler that was there is put back as the kernel gave it out.
    unsafe {
        let (mut default, mut before): (libc::sigaction, libc::sigaction) = (zeroed(), zeroed());
        default.sa_sigaction = libc::SIG_DFL;
        // SIGSTOP has no handler, so this fails for it, and nothing has to be put back.
        let replaced = libc::sigaction(signal, &raw const default, &raw mut before) == 0;
        libc::raise(signal);
        if replaced {
            libc::sigaction(signal, &raw const before, null_mut());
        }
    }
}

/// Ends this process by a signal, so that whoever waits for it sees what it would have seen of the command itself.
/// Returns if that signal does not end a process.
pub fn end_by(signal: i32) {
    // The command has left its core; ours would be in its place and say nothing about it.
    let limit = getrlimit(Resource::Core);
    let _ = setrlimit(Resource::Core, rustix::process::Rlimit { current: Some(0), ..limit });
    let _ = signal_hook::low_level::emulate_default_handler(signal);
}
