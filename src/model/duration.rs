//! Durations as people type them, on the command line and in the configuration.

use std::time::Duration;

use jiff::{SignedDuration, Span, SpanRelativeTo};

use super::limits::MAX_DURATION_SECS;

/// `500ms`, `30s`, `10m`, `1h30m`, `30d`. A day has 24 hours.
pub fn parse(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text:?} is not a duration: write 500ms, 30s, 10m or 1h30m");
    // A bare number has no unit, and guessing one would make a wait a thousand times too long or too short.
    let span: Span = text.parse().map_err(|_| bad())?;
    let parsed: SignedDuration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| bad())?;
    let parsed = Duration::try_from(parsed).map_err(|_| bad())?;
    if parsed.as_secs() > MAX_DURATION_SECS { Err(format!("{text:?} is too long")) } else { Ok(parsed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        let milliseconds = |text: &str| parse(text).map(|duration| duration.as_millis());
        assert_eq!(milliseconds("500ms"), Ok(500));
        assert_eq!(milliseconds("30s"), Ok(30_000));
        assert_eq!(milliseconds("1h30m"), Ok(5_400_000));
        assert_eq!(milliseconds("30d"), Ok(30 * 86_400_000));
        assert_eq!(milliseconds("0s"), Ok(0));
        for bad in ["", "5", "-5s", "soon", "1 fortnight", "99999999h"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
