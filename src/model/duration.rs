//! Durations as users type them.

use std::time::Duration;

use super::enumerate;

/// The units of a duration in descending order, with their milliseconds.
const UNITS: [(&str, u64); 6] =
    [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Parses a DURATION such as `250ms`, `10m` or `1h30m`; `0` needs no unit. A day has 24 hours. Units must be in
/// descending order.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || "expected numbers with units (ms, s, m, h, d, w), such as 10m or 1h30m".to_owned();
    let mut units = UNITS.iter();
    let (mut rest, mut milliseconds) = (text, Some(0_u64));
    if rest.is_empty() {
        return Err(wrong());
    }
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    while !rest.is_empty() {
        let Some(digits) = rest.find(|letter: char| !letter.is_ascii_digit()) else {
            return Err(missing_unit(text, units.as_slice()).unwrap_or_else(wrong));
        };
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(after.len());
        let unit = units.find(|(name, _)| digits > 0 && *name == &after[..letters]).ok_or_else(wrong)?.1;
        let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
        milliseconds = milliseconds.zip(part).and_then(|(sum, part)| sum.checked_add(part));
        rest = &after[letters..];
    }
    milliseconds.map(Duration::from_millis).ok_or_else(|| "the duration is too long".to_owned())
}

/// Returns the error for a duration that ends without a unit, if one of these units could follow.
fn missing_unit(text: &str, units: &[(&str, u64)]) -> Option<String> {
    let durations: Vec<String> = units.iter().rev().map(|(unit, _)| format!("{text}{unit}")).collect();
    (!durations.is_empty()).then(|| format!("missing unit: use {}", enumerate(&durations, "or")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_in_descending_order() {
        for (text, milliseconds) in
            [("250ms", 250), ("0s", 0), ("0", 0), ("1h30m", 5_400_000), ("1w1d1h1m1s1ms", 694_861_001)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for bad in ["", "-10s", "1y", "1mo", "10us", "1.5h", "10 m", "PT1H", "1h ago", "30m1h", "1h1h", "s", "1ms5"] {
            let error = parse_duration(bad).unwrap_err();
            assert!(error.contains("(ms, s, m, h, d, w)"), "{bad:?}: {error}");
        }
        for long in ["99999999999999999999s", "30500000000w9999999d"] {
            assert_eq!(parse_duration(long), Err("the duration is too long".to_owned()));
        }
    }
}
