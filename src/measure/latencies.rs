//! What was measured, and how sure it is.

use hdrhistogram::Histogram;

use crate::model::limits::MEASURE_LONGEST;

/// Latencies in nanoseconds, each exact to three digits.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

/// A percentile with the Wilson 95 % interval of its rank, in nanoseconds: of a hundred runs as long as this one, 95
/// have the percentile between the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// The lower end.
    pub low: u64,
    /// The percentile of these samples.
    pub at: u64,
    /// The upper end.
    pub high: u64,
}

impl Default for Latencies {
    fn default() -> Latencies {
        #[expect(clippy::expect_used, reason = "the bounds are constants that the histogram takes")]
        let histogram = Histogram::new_with_bounds(1, MEASURE_LONGEST, 3).expect("constant bounds");
        Latencies(histogram)
    }
}

impl Latencies {
    /// Adds one. What is longer than [`MEASURE_LONGEST`] counts as that.
    pub fn record(&mut self, nanoseconds: u64) {
        self.0.saturating_record(nanoseconds);
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The latency that `quantile` (0 to 1) of the samples do not exceed.
    #[must_use]
    pub fn at(&self, quantile: f64) -> Estimate {
        let (low, high) = wilson(quantile, self.0.len());
        let value = |quantile| self.0.value_at_quantile(quantile);
        Estimate { low: value(low), at: value(quantile), high: value(high) }
    }

    /// The highest quantile that so many samples can tell: ten of them have to lie beyond it.
    #[must_use]
    pub fn furthest(&self) -> f64 {
        [(0.99, 100), (0.9, 10)]
            .into_iter()
            .find(|(_, one_in)| self.len() / one_in >= 10)
            .map_or(0.5, |(furthest, _)| furthest)
    }

    /// Each latency that occurred with how often it did, in ascending order.
    pub fn counts(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter_recorded().map(|value| (value.value_iterated_to(), value.count_at_value()))
    }

    /// What [`Latencies::counts`] told.
    #[must_use]
    pub fn from_counts(counts: impl IntoIterator<Item = (u64, u64)>) -> Latencies {
        let mut latencies = Latencies::default();
        for (nanoseconds, times) in counts {
            latencies.0.saturating_record_n(nanoseconds, times);
        }
        latencies
    }
}

/// Wilson's score interval at 95 %: between which quantiles of so many samples the true one lies.
fn wilson(quantile: f64, samples: u64) -> (f64, f64) {
    const Z: f64 = 1.959_964;
    let n = count(samples.max(1));
    let (centre, spread) =
        (quantile + Z * Z / (2.0 * n), Z * (quantile * (1.0 - quantile) / n + Z * Z / (4.0 * n * n)).sqrt());
    let scale = 1.0 + Z * Z / n;
    (((centre - spread) / scale).max(0.0), ((centre + spread) / scale).min(1.0))
}

#[expect(clippy::cast_precision_loss, reason = "nobody waits for 2^52 samples")]
fn count(samples: u64) -> f64 {
    samples as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_lies_within_its_interval_and_near_the_truth() {
        let mut latencies = Latencies::default();
        (1..=5_000).for_each(|n| latencies.record(n * 1_000));
        for (quantile, truth) in [(0.5, 2_500_000.0), (0.9, 4_500_000.0), (0.99, 4_950_000.0)] {
            let Estimate { low, at, high } = latencies.at(quantile);
            assert!(low <= at && at <= high);
            assert!((count(at) / truth - 1.0).abs() < 0.001, "{at}");
        }
    }

    #[test]
    fn the_interval_is_the_one_of_the_textbook() {
        // Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263 is 0.2553 to 0.3662 by Wilson's method.
        let (low, high) = wilson(81.0 / 263.0, 263);
        assert!((low - 0.2553).abs() < 0.000_1 && (high - 0.3662).abs() < 0.000_1, "{low} {high}");
    }

    #[test]
    fn what_few_samples_cannot_tell_is_not_told() {
        let of = |samples: u64| {
            let mut latencies = Latencies::default();
            (0..samples).for_each(|n| latencies.record(n + 1));
            latencies.furthest()
        };
        assert_eq!([5, 100, 999, 1_000].map(|samples| of(samples).to_string()), ["0.5", "0.9", "0.9", "0.99"]);
    }

    #[test]
    fn what_was_written_down_is_what_was_measured() {
        let mut latencies = Latencies::default();
        (0..10_000_u64).for_each(|n| latencies.record(n * n % 7_919 * 1_000 + 1));
        let again = Latencies::from_counts(latencies.counts());
        assert!(latencies.counts().eq(again.counts()));
    }

    #[test]
    fn what_takes_too_long_counts_as_the_longest() {
        let mut latencies = Latencies::default();
        latencies.record(u64::MAX);
        assert!(latencies.at(0.5).at >= MEASURE_LONGEST);
    }
}
