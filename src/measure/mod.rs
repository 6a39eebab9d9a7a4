//! How speed is measured: in an open loop, across real processes, with an interval for every percentile.
//!
//! A sample is due at a fixed time, whatever became of those before it, and its latency counts from then: a loop that
//! waits for each answer hides every stall. The process that receives notes on the machine's monotonic clock when it
//! had each sample, and tells all of them at the end, so that telling costs none of them anything. `waitbus bench` and
//! `benches/` measure with this alone, so their figures mean the same.

pub mod latencies;
pub mod receiver;
pub mod schedule;

pub use latencies::{Estimate, Latencies};
pub use receiver::{Receiver, Seen};
pub use schedule::{Schedule, warm_up};
