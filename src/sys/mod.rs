//! The operating system, as thin as it can be: the only `unsafe` and the only `cfg(target_os)` of the program.
//!
//! What differs between platforms, or has to be done just so, has one small function or type here: sockets handed
//! over by a service manager, the bell that wakes the hub, the lock that makes it the only one, the look
//! whether somebody waits at a socket, a subscriber's socket, the file notification for readers without sockets, and what a process tells its
//! manager and its log.
#![allow(unsafe_code, reason = "the one module that may")]

pub mod activation;
pub mod answer;
pub mod bell;
pub mod clock;
pub mod descriptors;
pub mod detach;
pub mod knock;
pub mod limits;
pub mod lock;
pub mod logging;
pub mod manager;
pub mod memory;
pub mod peer;
pub mod place;
pub mod private;
pub mod ring;
pub mod signals;
pub mod terminal;
pub mod wake;
pub mod watch;
