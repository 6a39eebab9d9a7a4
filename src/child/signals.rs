//! The signals that somebody who runs commands beside itself hears, and passes on.

use std::io;
use std::task::Poll;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::sys::signals::is_ignored;

/// The signals, from now on; in a group of their own, the commands receive none of them by themselves.
#[derive(Debug)]
pub struct Signals(Vec<(i32, Signal)>);

impl Signals {
    /// Starts to hear. One that is ignored stays so. Must be called within a runtime.
    pub fn listen() -> io::Result<Signals> {
        let heard = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGTSTP];
        let listen = |number: i32| signal(SignalKind::from_raw(number)).map(|signal| (number, signal));
        heard.into_iter().filter(|&number| !is_ignored(number)).map(listen).collect::<io::Result<_>>().map(Signals)
    }

    /// Waits for the next one. May be cancelled at any time.
    pub async fn next(&mut self) -> i32 {
        std::future::poll_fn(|context| {
            for (number, signal) in &mut self.0 {
                if signal.poll_recv(context).is_ready() {
                    return Poll::Ready(*number);
                }
            }
            Poll::Pending
        })
        .await
    }
}
