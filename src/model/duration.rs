//! Durations as people type them, on the command line and in the configuration.

use std::time::Duration;

use jiff::{SignedDuration, Span, SpanRelativeTo};

/// Longest duration that makes sense here, in seconds; a longer one is a typing error, and sums would overflow.
const LONGEST: u64 = 100 * 366 * 24 * 3_600;

/// `500ms`, `30s`, `10m`, `1h30m`, `30d`. A day has 24 hours.
pub fn parse(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text:?} is not a duration: write 500ms, 30s, 10m or 1h30m");
    // A bare number has no unit, and guessing one would make a wait a thousand times too long or too short.
    let span: Span = text.parse().map_err(|_| bad())?;
    let parsed: SignedDuration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| bad())?;
    let parsed = Duration::try_from(parsed).map_err(|_| bad())?;
    if parsed.as_secs() > LONGEST { Err(format!("{text:?} is too long")) } else { Ok(parsed) }
}
