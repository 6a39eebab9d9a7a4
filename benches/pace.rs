//! How many samples, what is thrown away before them, and several senders at one pace.

use std::thread;

use waitbus::measure::{self, Schedule};
use waitbus::sys::clock;

/// As many as a p99 takes. The variable `WAITBUS_BENCH_SAMPLES` has another number in its place, and everything else is
/// scaled with it: a run that is only tried.
pub const FOR_P99: u64 = 5_000;

/// Samples of a run that is only tried, at the least.
const FEWEST: u64 = 5;

/// Who sends what one sender could not send in time.
const SENDERS: u64 = 4;

/// So many, unless the run is only tried.
pub fn samples(full: u64) -> u64 {
    let asked = std::env::var("WAITBUS_BENCH_SAMPLES").map_or(FOR_P99, |text| text.parse().unwrap());
    (full * asked).div_ceil(FOR_P99).clamp(FEWEST.min(full), full)
}

/// How many come before them. A p99 takes many, because one slow beginning in a hundred is enough to be it; a median is
/// told with a tenth.
pub fn warm_up(samples: u64) -> u64 {
    if samples >= FOR_P99 { measure::warm_up(samples) } else { samples.div_ceil(10).max(FEWEST) }
}

/// Sends each number when it is due, from a few threads. What it takes is prepared before.
pub fn send<T>(schedule: &Schedule, total: u64, prepare: impl Fn(u64) -> T + Sync, send: impl Fn(T) + Sync) {
    thread::scope(|scope| {
        for sender in 0..SENDERS {
            let (prepare, send) = (&prepare, &send);
            scope.spawn(move || {
                clock::wake_exactly();
                for number in (sender..total).step_by(usize::try_from(SENDERS).unwrap_or(1)) {
                    let prepared = prepare(number);
                    schedule.wait_for(number);
                    send(prepared);
                }
            });
        }
    });
}
