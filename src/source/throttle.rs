//! A bound on how much a source may say: a bucket of tokens, without a clock of its own.

use std::time::{Duration, Instant};

/// So much at once, and so much a second beyond it.
#[derive(Debug)]
pub(super) struct Throttle {
    burst: f64,
    per_second: f64,
    /// Below zero it is a debt that has to be waited for.
    left: f64,
    at: Instant,
}

impl Throttle {
    pub(super) fn new(burst: u32, per_second: u32, now: Instant) -> Throttle {
        Throttle { burst: burst.into(), per_second: per_second.into(), left: burst.into(), at: now }
    }

    /// Takes for something that has been said, and returns how long to wait before more is.
    pub(super) fn take(&mut self, count: usize, now: Instant) -> Duration {
        self.refill(now);
        self.left -= f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        self.until(0.0)
    }

    /// Takes one if there is one.
    pub(super) fn try_take(&mut self, now: Instant) -> bool {
        self.refill(now);
        let there = self.left >= 1.0;
        self.left -= f64::from(u8::from(there));
        there
    }

    /// How long nothing more must be said for half of the burst to be allowed again: then it is over.
    pub(super) fn until_calm(&mut self, now: Instant) -> Duration {
        self.refill(now);
        self.until(self.burst / 2.0)
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + passed * self.per_second).min(self.burst);
        self.at = self.at.max(now);
    }

    fn until(&self, level: f64) -> Duration {
        Duration::from_secs_f64(((level - self.left) / self.per_second).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_what_is_beyond_it_is_paid_for_with_time() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut throttle = Throttle::new(100, 10, start);
        assert_eq!(throttle.take(100, start), Duration::ZERO);
        assert_eq!(throttle.take(20, start), Duration::from_secs(2));
        assert_eq!(throttle.take(0, at(2)), Duration::ZERO, "paid");
        assert_eq!(throttle.until_calm(at(2)), Duration::from_secs(5));
        assert_eq!(throttle.until_calm(at(7)), Duration::ZERO);
        assert_eq!(throttle.take(100, at(1_000)), Duration::ZERO, "no more than a burst is saved");
        assert_eq!(throttle.take(1, at(1_000)), Duration::from_millis(100));
        // A clock that stands still, or a moment that was taken before the last one, is no gift.
        assert_eq!(throttle.take(0, at(900)), Duration::from_millis(100));
        assert!(!throttle.try_take(at(1_000)) && throttle.try_take(at(1_001)));
    }
}
