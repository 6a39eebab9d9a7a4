//! The services: sockets on one side, [`hub`](crate::hub), [`ingest`](crate::ingest) and [`store`](crate::store) on
//! the other.
//!
//! [`hub`] is the broadcast service: it hears the bell, reads the log and writes to subscribers. [`webhook`] is the
//! listener: it verifies, commits, rings and, once the row is durable, answers. Each runs on one thread of its own;
//! they share nothing but the log and the bell, so that they can be two processes as well as one.

pub mod bind;
pub mod boot;
pub mod connection;
pub mod doorbell;
pub mod hub;
pub mod ringer;
pub mod signals;
pub mod webhook;

use std::io;
use std::time::Duration;

/// What to do about an error of `accept(2)`.
pub(crate) enum AcceptError {
    /// The connection is gone already; take the next one.
    Retry,
    /// Descriptors or memory have run out; take the next one a little later.
    BackOff,
    /// The socket itself is broken.
    Fatal(io::Error),
}

/// How long to wait when descriptors have run out: long enough to be no busy loop, short enough to be no outage.
pub(crate) const ACCEPT_BACK_OFF: Duration = Duration::from_millis(100);

/// Sorts the errors of accept(2) by what helps.
pub(crate) fn accept_error(error: io::Error) -> AcceptError {
    use rustix::io::Errno;
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::CONNABORTED | Errno::INTR | Errno::AGAIN | Errno::PROTO | Errno::PERM) => AcceptError::Retry,
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => AcceptError::BackOff,
        _ => AcceptError::Fatal(error),
    }
}
