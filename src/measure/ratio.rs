//! Figures as people read them, and how many times one is another.

use std::fmt;

use super::latencies::Estimate;

/// How many times one figure is another, with the ends that follow from the ends of both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// The lower end.
    pub low: f64,
    /// The quotient of the two.
    pub at: f64,
    /// The upper end.
    pub high: f64,
}

impl Ratio {
    /// The first over the second.
    #[must_use]
    pub fn of(one: Estimate, other: Estimate) -> Ratio {
        let over = |one: u64, other: u64| float(one) / float(other.max(1));
        Ratio { low: over(one.low, other.high), at: over(one.at, other.at), high: over(one.high, other.low) }
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |ratio: f64| if ratio < 9.95 { format!("{ratio:.1}") } else { grouped(ratio) };
        write!(f, "{} [{}, {}]", shown(self.at), shown(self.low), shown(self.high))
    }
}

/// A percentile with its interval, in the unit that suits it.
#[must_use]
pub fn interval(Estimate { low, at, high }: Estimate) -> String {
    let (divisor, unit) = unit(float(at));
    let shown = |nanoseconds: u64| digits(float(nanoseconds) / divisor);
    format!("{} [{}, {}] {unit}", shown(at), shown(low), shown(high))
}

/// A time of so many nanoseconds.
#[must_use]
pub fn time(nanoseconds: f64) -> String {
    let (divisor, unit) = unit(nanoseconds);
    format!("{} {unit}", digits(nanoseconds / divisor))
}

fn unit(nanoseconds: f64) -> (f64, &'static str) {
    match nanoseconds {
        ..1e6 => (1e3, "µs"),
        ..1e9 => (1e6, "ms"),
        _ => (1e9, "s"),
    }
}

/// Three digits, and no zeros that say nothing.
fn digits(value: f64) -> String {
    let places = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    let text = format!("{value:.places$}");
    if places == 0 { grouped(value) } else { text.trim_end_matches('0').trim_end_matches('.').to_owned() }
}

/// A number as a table has it: `18,500`, `1.28`.
#[must_use]
pub fn number(value: f64) -> String {
    if value.abs() < 99.95 { digits(value) } else { grouped(value) }
}

fn grouped(value: f64) -> String {
    let plain = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in plain.chars().enumerate() {
        if index > 0 && (plain.len() - index).is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The same number of nanoseconds, or of samples, to calculate with.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "nothing takes 2^52 ns")]
pub fn float(nanoseconds: u64) -> f64 {
    nanoseconds as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_and_the_unit_that_suits_them() {
        assert_eq!(interval(Estimate { low: 251_400, at: 267_000, high: 1_280_000 }), "267 [251, 1,280] µs");
        assert_eq!(
            [950.0, 12_340.0, 1e6, 34_500_000.0, 1.5e9].map(time),
            ["0.95 µs", "12.3 µs", "1 ms", "34.5 ms", "1.5 s"]
        );
        assert_eq!([1.284, 11.0, 18_500.0, 1_234_567.0].map(number), ["1.28", "11", "18,500", "1,234,567"]);
    }

    #[test]
    fn a_ratio_is_as_unsure_as_both_of_its_sides() {
        let ratio = Ratio::of(Estimate { low: 90, at: 100, high: 120 }, Estimate { low: 40, at: 50, high: 60 });
        assert_eq!(ratio, Ratio { low: 1.5, at: 2.0, high: 3.0 });
        assert_eq!(ratio.to_string(), "2.0 [1.5, 3.0]");
    }
}
