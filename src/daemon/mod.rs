//! The services: sockets on one side, [`hub`](crate::hub), [`ingest`](crate::ingest) and [`store`](crate::store) on
//! the other.
//!
//! [`hub`] is the broadcast service: it hears the bell, reads the log and writes to subscribers. [`webhook`] is the
//! listener: it verifies, commits, rings and, once the row is durable, answers. Each runs on one thread of its own;
//! they share nothing but the log and the bell, so that they can be two processes as well as one.

pub mod arrivals;
pub mod bind;
pub mod boot;
mod compile;
pub mod connection;
pub mod doorbell;
pub mod hub;
mod judge;
mod names;
pub mod reload;
pub mod ringer;
pub mod signals;
pub mod watchdog;
pub mod webhook;

use std::io;

use crate::model::limits::ACCEPT_BACK_OFF;

/// Keeps a socket accepting through the errors of accept(2) that pass.
#[derive(Debug)]
pub(crate) struct Accepting {
    socket: &'static str,
    starved: bool,
}

impl Accepting {
    pub(crate) fn on(socket: &'static str) -> Accepting {
        Accepting { socket, starved: false }
    }

    /// A connection was taken.
    pub(crate) fn taken(&mut self) {
        self.starved = false;
    }

    /// None was. Returns when the next one can be tried, or the error if the socket itself is broken.
    pub(crate) async fn failed(&mut self, error: io::Error) -> io::Result<()> {
        use rustix::io::Errno;
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::CONNABORTED | Errno::INTR | Errno::AGAIN | Errno::PROTO | Errno::PERM) => Ok(()),
            Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                // Said once, not ten times a second for as long as it lasts.
                if !std::mem::replace(&mut self.starved, true) {
                    tracing::warn!(socket = self.socket, %error, "no connection can be taken for now");
                }
                tokio::time::sleep(ACCEPT_BACK_OFF).await;
                Ok(())
            }
            _ => Err(error),
        }
    }
}
