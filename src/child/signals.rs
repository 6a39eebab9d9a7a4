//! The signals that somebody hears who waits, or who runs commands beside itself.

use std::io;
use std::task::Poll;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::sys::signals::is_ignored;

/// What ends a wait.
pub const ASK_TO_END: [i32; 3] = [SIGHUP, SIGINT, SIGTERM];

/// What is heard by somebody whose commands, in groups of their own, receive none of it by themselves.
pub const PASSED_ON: [i32; 7] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGTSTP];

/// Signals, from now on.
#[derive(Debug)]
pub struct Signals(Vec<(i32, Signal)>);

impl Signals {
    /// Starts to hear them. One that is ignored, as under `nohup`, stays so. Must be called within a runtime.
    pub fn listen(numbers: &[i32]) -> io::Result<Signals> {
        let listen = |number: i32| signal(SignalKind::from_raw(number)).map(|signal| (number, signal));
        let heard = numbers.iter().copied().filter(|&number| !is_ignored(number));
        heard.map(listen).collect::<io::Result<_>>().map(Signals)
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
