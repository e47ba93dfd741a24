//! Thresholds as in the development guidelines for monitoring plugins ("Threshold and Ranges").
//!
//! Thresholds are fixed-point decimals and compared exactly: a percentage of a 64-bit limit has more digits than a
//! floating-point number.

use super::number::{parse_decimal, parse_digits};
use super::{Measure, parse_size};

/// The fixed-point representation of 1.
const ONE: i128 = 100_000_000;
/// Maximum number of digits after the decimal point.
const DECIMALS: usize = 6;
/// The largest percentage, in millionths. Larger ones times a 64-bit limit could overflow 128 bits.
const MAX_PERCENT: i128 = 1_000_000_000 * MILLION;
const MILLION: i128 = 1_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Infinite,
    /// A fixed-point value, in units of 1/[`ONE`].
    At(i128),
    /// A percentage of the limit, in millionths of a percent.
    Percent(i128),
}

impl End {
    /// Returns the fixed-point value, or `None` if the range is unbounded on this side. Percentages are only parsed for
    /// measures with a limit.
    fn value(self, limit: Option<u64>) -> Option<i128> {
        match self {
            Self::Infinite => None,
            Self::At(value) => Some(value),
            // A millionth of a percent is 1/ONE, so the product is exact.
            Self::Percent(percent) => Some(percent * i128::from(limit.unwrap_or(0))),
        }
    }
}

/// A range. A value outside it, or with `@` inside it, is an alert. Both ends are part of the range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Threshold {
    /// Whether values inside the range are alerts (`@`).
    inside: bool,
    start: End,
    end: End,
    text: String,
}

impl Threshold {
    /// Parses a range `[@][START:][END]`. START defaults to 0, `~` is minus infinity, and without END the range is
    /// unbounded.
    ///
    /// A number can be a percentage of the limit (`80%`) if the measure has a limit, and a SIZE (`1G`) if it is in
    /// bytes.
    pub(crate) fn parse(text: &str, measure: Measure) -> Result<Self, String> {
        let range = text.strip_prefix('@').unwrap_or(text);
        let (start, end) = range.split_once(':').unwrap_or(("", range));
        if start.is_empty() && end.is_empty() {
            return Err("expected a range such as 80%, 100, 10:, 10:20, ~:20 or @10:20".to_owned());
        }
        let start = match start {
            "" => End::At(0),
            "~" => End::Infinite,
            number => parse_end(number, measure)?,
        };
        let end = if end.is_empty() { End::Infinite } else { parse_end(end, measure)? };
        let threshold = Self { inside: text.starts_with('@'), start, end, text: text.to_owned() };
        // Both ends are linear in the limit: inverted for the smallest and for the largest one, they always are.
        if [1, u64::MAX].into_iter().all(|limit| threshold.is_inverted(Some(limit))) {
            return Err("the start of the range is greater than its end".to_owned());
        }
        Ok(threshold)
    }

    /// Returns whether the start is greater than the end with this limit.
    pub(crate) fn is_inverted(&self, limit: Option<u64>) -> bool {
        self.start.value(limit).zip(self.end.value(limit)).is_some_and(|(start, end)| start > end)
    }

    pub(crate) fn alerts(&self, value: u128, limit: Option<u64>) -> bool {
        let value = i128::try_from(value).ok().and_then(|value| value.checked_mul(ONE)).unwrap_or(i128::MAX);
        let is_in = self.start.value(limit).is_none_or(|start| value >= start)
            && self.end.value(limit).is_none_or(|end| value <= end);
        is_in == self.inside
    }

    /// Returns integers that include the first value of each interval whose values are all alerts or all not alerts.
    pub(crate) fn change_points(&self, limit: Option<u64>) -> impl Iterator<Item = u128> {
        let ends = [self.start, self.end].into_iter().filter_map(move |end| end.value(limit));
        let whole = ends.filter_map(|end| u128::try_from(end.div_euclid(ONE)).ok());
        whole.flat_map(|value| [value, value + 1])
    }

    /// Returns the range for performance data: in the unit of the value, without percentages.
    pub(crate) fn absolute(&self, limit: Option<u64>) -> String {
        let at = if self.inside { "@" } else { "" };
        let end = self.end.value(limit).map(decimal).unwrap_or_default();
        match self.start.value(limit) {
            Some(0) if !end.is_empty() => format!("{at}{end}"),
            start => format!("{at}{}:{end}", start.map_or_else(|| "~".to_owned(), decimal)),
        }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

fn parse_end(text: &str, measure: Measure) -> Result<End, String> {
    let is_size = measure.is_size();
    match text.strip_suffix('%') {
        Some(_) if !measure.has_limit() => {
            let expected = if is_size { "SIZE such as 1G" } else { "number" };
            Err(format!("{} has no limit, so no percentage is possible: expected a {expected}", measure.as_str()))
        }
        Some(percentage) => match parse_millionths(percentage)? {
            millionths if millionths > MAX_PERCENT => Err(format!("{text} exceeds {}%", MAX_PERCENT / MILLION)),
            millionths => Ok(End::Percent(millionths)),
        },
        None if is_size && text.ends_with(|letter: char| letter.is_ascii_alphabetic()) => {
            parse_size(text).map(|size| End::At(i128::from(size) * ONE))
        }
        None => Ok(End::At(parse_millionths(text)? * (ONE / MILLION))),
    }
}

/// Parses a decimal number, and returns it in millionths.
fn parse_millionths(text: &str) -> Result<i128, String> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, "0"));
    let whole = parse_decimal(whole).map_err(|reason| format!("invalid number {text:?}: {reason}"))?;
    if !(1..=DECIMALS).contains(&decimals.len()) {
        return Err(format!("invalid number {text:?}: expected 1 to {DECIMALS} digits after the decimal point"));
    }
    let millionths = parse_digits(&format!("{decimals:0<DECIMALS$}"), 10, "expected a decimal number")?;
    let number = i128::from(whole) * MILLION + i128::from(millionths);
    Ok(if digits.len() < text.len() { -number } else { number })
}

/// Formats a fixed-point value exactly, without trailing zeros.
fn decimal(parts: i128) -> String {
    let sign = if parts < 0 { "-" } else { "" };
    let (parts, one) = (parts.unsigned_abs(), ONE.unsigned_abs());
    let text = format!("{sign}{}.{:08}", parts / one, parts % one);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ends_are_exact_and_part_of_the_range() {
        const MAX: u64 = u64::MAX;
        for (text, limit, absolute, quiet, alerting) in [
            ("10", 1, "10", &[0, 10][..], &[11, u128::MAX][..]),
            ("10:", 1, "10:", &[10, 1 << 70], &[0, 9]),
            (":10", 1, "10", &[0, 10], &[11]),
            ("~:10", 1, "~:10", &[0, 10], &[11]),
            ("@10:20", 1, "@10:20", &[0, 9, 21], &[10, 15, 20]),
            ("@~:", 1, "@~:", &[], &[0, 7]),
            ("0.999999:1.50", 1, "0.999999:1.5", &[1], &[0, 2]),
            ("-5:-0.5", 1, "-5:-0.5", &[], &[0, 4]),
            ("18446744073709551615", 1, "18446744073709551615", &[MAX as u128], &[1 << 64]),
            ("80%", 4096, "3276.8", &[0, 3276], &[3277]),
            ("0.000001%", 4096, "0.00004096", &[0], &[1]),
            ("@10%:20%", 4096, "@409.6:819.2", &[409, 820], &[410, 819]),
            // As floating-point numbers, these would be equal.
            ("100%", MAX, "18446744073709551615", &[MAX as u128], &[1 << 64]),
            ("99.999999%", MAX, "18446743889242110877.90448385", &[0], &[MAX as u128]),
            ("1000000000%", MAX, "184467440737095516150000000", &[1 << 80], &[1 << 90]),
        ] {
            let (range, limit) = (Threshold::parse(text, Measure::Segments).unwrap(), Some(limit));
            assert!(!quiet.iter().any(|value| range.alerts(*value, limit)), "{text}: {range:?}");
            assert!(alerting.iter().all(|value| range.alerts(*value, limit)), "{text}: {range:?}");
            assert_eq!(range.absolute(limit), absolute);
        }
        let bytes = Threshold::parse("1K:2KB", Measure::OrphanBytes).unwrap();
        assert_eq!(bytes.absolute(None), "1024:2000");
    }

    #[test]
    fn invalid_ranges_are_errors() {
        let bad = "|@|:|@:|a|10:a|1:2:3|20:10|@20:10|90%:80%|~|10:~|~:~|%|-%|-|1e3|+1| 1|1 |010|.5|5.|1.0000001|0x10|1,5|\
                   80 %|1000000001%|-1|-1%|18446744073709551616|@@1|1%%|nan|inf|१|1G";
        for bad in bad.split('|') {
            assert!(Threshold::parse(bad, Measure::Segments).is_err(), "{bad:?} was accepted as a range");
        }
        for bad in ["80%", "1X", "1.5G", "-1G", "1G:80%"] {
            assert!(Threshold::parse(bad, Measure::OrphanBytes).is_err(), "{bad:?} was accepted as a range of bytes");
        }
    }

    proptest! {
        #[test]
        fn no_input_causes_a_panic(text: String, value: u128, limit: Option<u64>) {
            for measure in Measure::ALL {
                if let Ok(range) = Threshold::parse(&text, measure) {
                    range.alerts(value, limit);
                }
            }
        }
    }
}
