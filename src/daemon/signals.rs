//! The signals that a service hears.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::reload::Reload;
use crate::sys::detach;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// SIGTERM, SIGINT, or a terminal that is gone: finish what is under way, and leave.
    Stop,
    /// SIGUSR1: another hub has been activated; leave the role to it.
    HandOver,
}

/// The signals, from now on.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hand_over: Signal,
    hang_up: Signal,
    reload: Option<Reload>,
}

impl Signals {
    /// Starts to listen; from now on none of them ends the process by itself. SIGHUP means `reload`, unless a terminal
    /// controls this process and may hang up.
    pub fn listen(reload: Reload) -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hand_over: signal(SignalKind::user_defined1())?,
            hang_up: signal(SignalKind::hangup())?,
            reload: (!detach::has_terminal()).then_some(reload),
        })
    }

    /// Waits for the next one that asks the service for something; a reload is done on the way.
    pub async fn next(&mut self) -> Asked {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return Asked::Stop,
                _ = self.interrupt.recv() => return Asked::Stop,
                _ = self.hand_over.recv() => return Asked::HandOver,
                _ = self.hang_up.recv() => match &self.reload {
                    Some(reload) => reload.now(),
                    None => return Asked::Stop,
                },
            }
        }
    }
}
