//! When each sample is due.

use std::thread;
use std::time::Duration;

use crate::model::limits::{MEASURE_LEAD, MEASURE_WARM_UP};
use crate::sys::clock;

/// How often, and how many samples count.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Samples a second, at least one.
    pub rate: u64,
    /// Those that count.
    pub samples: u64,
}

impl Pace {
    /// How many come before those.
    #[must_use]
    pub fn warm_up(self) -> u64 {
        warm_up(self.samples)
    }

    /// All of them.
    #[must_use]
    pub fn total(self) -> u64 {
        self.samples + self.warm_up()
    }
}

/// A steady pace on the clock that all processes share.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// When the first sample is due, in nanoseconds ([`clock::monotonic`]).
    pub start: u64,
    /// Samples a second, at least one.
    pub rate: u64,
}

impl Schedule {
    /// Begins a moment from now. From here on this thread is woken when it asked to be.
    #[must_use]
    pub fn begin(rate: u64) -> Schedule {
        clock::wake_exactly();
        Schedule { start: clock::monotonic() + nanoseconds(MEASURE_LEAD), rate }
    }

    /// When a sample is due, in nanoseconds.
    #[must_use]
    pub fn due(&self, number: u64) -> u64 {
        self.start + number * 1_000_000_000 / self.rate
    }

    /// Sleeps until a sample is due; returns at once for one that is late.
    pub fn wait_for(&self, number: u64) {
        thread::sleep(Duration::from_nanos(self.due(number).saturating_sub(clock::monotonic())));
    }
}

/// How many samples come before those that count: caches, branch predictors and clocks settle meanwhile.
#[must_use]
pub fn warm_up(samples: u64) -> u64 {
    MEASURE_WARM_UP.max(samples.div_ceil(10))
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_due_at_its_time_whatever_became_of_those_before() {
        let schedule = Schedule { start: 1_000, rate: 300 };
        assert_eq!([0, 3, 300].map(|number| schedule.due(number)), [1_000, 10_001_000, 1_000_001_000]);
    }

    #[test]
    fn a_sample_that_is_late_is_not_waited_for() {
        let schedule = Schedule { start: 0, rate: 1 };
        schedule.wait_for(0);
        assert!(schedule.due(0) < clock::monotonic());
    }
}
