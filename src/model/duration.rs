//! Durations as users type them.

use std::time::Duration;

use jiff::{SignedDuration, Span, SpanRelativeTo};

/// The units of a duration in ascending order.
const UNITS: [&str; 6] = ["ms", "s", "m", "h", "d", "w"];

/// Parses a DURATION such as `250ms`, `10m` or `1h30m`. A day has 24 hours. Units must be in descending order.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || "expected numbers with units (ms, s, m, h, d, w), such as 10m or 1h30m".to_owned();
    // jiff also accepts other forms ("2 years ago", "PT1H"), so check the syntax here.
    if text.is_empty() {
        return Err(wrong());
    }
    let mut rest = text;
    let mut shorter = UNITS.as_slice();
    while !rest.is_empty() {
        let digits = rest
            .find(|letter: char| !letter.is_ascii_digit())
            .ok_or_else(|| format!("{rest} has no unit (ms, s, m, h, d, w)"))?;
        let after = &rest[digits..];
        let letters = after.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(after.len());
        let unit = shorter.iter().position(|unit| *unit == &after[..letters]);
        shorter = &shorter[..unit.filter(|_| digits > 0).ok_or_else(wrong)?];
        rest = &after[letters..];
    }
    // The syntax is valid, so any failure is an overflow.
    let long = || "the duration is too long".to_owned();
    let span: Span = text.parse().map_err(|_| long())?;
    let duration: SignedDuration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| long())?;
    Duration::try_from(duration).map_err(|_| long())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, milliseconds) in [
            ("250ms", 250),
            ("0s", 0),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("7d", 604_800_000),
            ("2w", 1_209_600_000),
            ("1w1d1h1m1s1ms", 694_861_001),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for bad in ["", "10", "-10s", "1y", "1mo", "10us", "1.5h", "10 m", "PT1H", "1h ago", "30m1h", "1h1h", "s"] {
            let error = parse_duration(bad).unwrap_err();
            assert!(error.contains("(ms, s, m, h, d, w)"), "{bad:?}: {error}");
        }
        for long in ["30000000w", "99999999999999999999s", "1000000w9999999d"] {
            assert_eq!(parse_duration(long), Err("the duration is too long".to_owned()));
        }
    }
}
