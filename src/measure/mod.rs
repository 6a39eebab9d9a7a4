//! How speed is measured: in an open loop, across real processes, with an interval for every percentile.
//!
//! A sample is due at a fixed time, whatever became of those before it, and its latency counts from then: a loop that
//! waits for each answer hides every stall. The process that receives notes on the machine's monotonic clock when it
//! had each sample, and tells all of them at the end, so that telling costs none of them anything. `waitbus bench` and
//! `benches/` measure with this alone, so their figures mean the same.
//!
//! [`bus`] measures a bus, [`floor`] what the same work costs without one. Both have processes of this program do what
//! they cannot do themselves: a *role*, which whoever measures knows how to start ([`Roles`]).

pub mod bus;
pub mod floor;
pub mod latencies;
pub mod private;
pub mod progress;
pub mod ratio;
pub mod receiver;
pub mod schedule;

use std::io;
use std::process::Command;

pub use latencies::{Estimate, Latencies};
pub use progress::Progress;
pub use receiver::{Receiver, Seen};
pub use schedule::{Pace, Schedule, warm_up};

use crate::client::BusError;
use crate::store::StoreError;

/// A process of this program that plays a role, by its name. Its arguments are added.
pub type Roles<'a> = &'a dyn Fn(&str) -> Command;

/// Why something could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum Unmeasured {
    /// It was asked to stop.
    #[error("it was stopped before it had measured anything")]
    Stopped,
    /// The bus cannot be used.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The log cannot be used.
    #[error(transparent)]
    Log(#[from] StoreError),
    /// Somebody has ended the hub, and what follows from that is no reason of its own.
    #[error("the hub that was measured has ended")]
    HubEnded,
    /// Something that it takes is not to be had.
    #[error("{what}: {problem}")]
    Failed {
        /// What was tried.
        what: &'static str,
        /// Why it did not work.
        problem: io::Error,
    },
}

/// Makes an [`Unmeasured::Failed`] of an error.
fn failed(what: &'static str) -> impl Fn(io::Error) -> Unmeasured {
    move |problem| Unmeasured::Failed { what, problem }
}
