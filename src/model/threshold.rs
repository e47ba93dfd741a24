//! Thresholds as in the development guidelines for monitoring plugins ("Threshold and Ranges").
//!
//! Thresholds are fixed-point decimals and compared exactly: a percentage of a 64-bit limit has more digits than a
//! floating-point number.

use super::{Measure, parse_size};

/// The fixed-point representation of 1.
const ONE: i128 = 100_000_000;
/// The most digits after the decimal point.
const DECIMALS: usize = 6;
/// The largest percentage. Larger ones times a 64-bit limit could overflow 128 bits.
const MAX_PERCENT: u64 = 1_000_000_000;

/// One end of a range.
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
    /// The range as typed.
    text: String,
}

impl Threshold {
    /// Parses a range `[@][START:][END]`. START defaults to 0, `~` is minus infinity, and without END the range is
    /// unbounded.
    ///
    /// A number can be a percentage of the limit (`80%`) if the measure has a limit, and a SIZE (`1G`) if it is in bytes.
    pub(crate) fn parse(text: &str, measure: Measure) -> Result<Self, String> {
        let wrong = || "expected a range such as 80%, 100, 10:, 10:20, ~:20 or @10:20".to_owned();
        let (inside, range) = match text.strip_prefix('@') {
            Some(range) => (true, range),
            None => (false, text),
        };
        let (start, end) = match range.split_once(':') {
            Some(("", "")) => return Err(wrong()),
            Some((start, end)) => (start, end),
            None if range.is_empty() => return Err(wrong()),
            None => ("", range),
        };
        let start = match start {
            "" => End::At(0),
            "~" => End::Infinite,
            number => parse_end(number, measure)?,
        };
        let end = if end.is_empty() { End::Infinite } else { parse_end(end, measure)? };
        match (start, end) {
            (End::At(start), End::At(end)) | (End::Percent(start), End::Percent(end)) if start > end => {
                Err("the start of the range is greater than its end".to_owned())
            }
            (End::At(0), End::Percent(end)) if end < 0 => {
                Err("the start of the range, 0, is greater than its end".to_owned())
            }
            _ => Ok(Self { inside, start, end, text: text.to_owned() }),
        }
    }

    /// Returns whether the start is greater than the end, if one of them is a percentage of `limit`.
    pub(crate) fn is_inverted(&self, limit: Option<u64>) -> bool {
        self.start.value(limit).zip(self.end.value(limit)).is_some_and(|(start, end)| start > end)
    }

    pub(crate) fn alerts(&self, value: u128, limit: Option<u64>) -> bool {
        let value = i128::try_from(value).ok().and_then(|value| value.checked_mul(ONE)).unwrap_or(i128::MAX);
        let is_in = self.start.value(limit).is_none_or(|start| value >= start)
            && self.end.value(limit).is_none_or(|end| value <= end);
        is_in == self.inside
    }

    /// Returns integers that include the first value of each interval in which all values are alerts, or none is.
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

    /// Returns the range as typed.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

fn parse_end(text: &str, measure: Measure) -> Result<End, String> {
    if let Some(percentage) = text.strip_suffix('%') {
        if measure == Measure::OrphanBytes {
            return Err("orphan-bytes has no limit for a percentage: expected a SIZE such as 1G".to_owned());
        }
        let (millionths, whole) = parse_decimal(percentage)?;
        if whole > MAX_PERCENT {
            return Err(format!("{text} exceeds {MAX_PERCENT}%"));
        }
        return Ok(End::Percent(millionths));
    }
    if measure == Measure::OrphanBytes && text.ends_with(|letter: char| letter.is_ascii_alphabetic()) {
        return parse_size(text).map(|size| End::At(i128::from(size) * ONE));
    }
    let (millionths, _) = parse_decimal(text)?;
    Ok(End::At(millionths * 100))
}

/// Parses a decimal number. Returns it in millionths, and its integer part without the sign.
fn parse_decimal(text: &str) -> Result<(i128, u64), String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let not_a_number = || format!("{text:?} is not a number");
    if !is_number(whole) || !is_number(decimals) {
        return Err(not_a_number());
    }
    if decimals.len() > DECIMALS {
        return Err(format!("{text} has more than {DECIMALS} digits after the decimal point"));
    }
    if whole.len() > 1 && whole.starts_with('0') {
        return Err(format!("the leading zero of {text} is ambiguous: it could mean octal"));
    }
    let whole: u64 = whole.parse().map_err(|_| format!("{text} exceeds 64 bits"))?;
    let millionths: u32 = format!("{decimals:0<DECIMALS$}").parse().map_err(|_| not_a_number())?;
    Ok((sign * (i128::from(whole) * 1_000_000 + i128::from(millionths)), whole))
}

/// Formats a fixed-point value exactly, without trailing zeros.
fn decimal(parts: i128) -> String {
    let sign = if parts < 0 { "-" } else { "" };
    let parts = parts.unsigned_abs();
    let one = ONE.unsigned_abs();
    let text = format!("{sign}{}.{:08}", parts / one, parts % one);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(text: &str) -> Threshold {
        Threshold::parse(text, Measure::Segments).unwrap()
    }

    #[test]
    fn ranges_follow_the_guidelines() {
        let none: &[u64] = &[];
        for (text, inside, outside) in [
            // The table in the guidelines.
            ("10", &[0_u64, 10][..], &[11_u64, 1000][..]),
            ("10:", &[10, 11, 1_000_000], &[0, 9]),
            ("~:10", &[0, 10], &[11]),
            ("10:20", &[10, 15, 20], &[0, 9, 21]),
            ("@10:20", &[0, 9, 21], &[10, 15, 20]),
            // Edge cases.
            ("0", &[0], &[1]),
            ("0:0", &[0], &[1]),
            ("@0", &[1], &[0]),
            ("@10:", &[9], &[10, 11]),
            ("~:", &[0, 7], none),
            ("@~:", none, &[0, 7]),
            (":5", &[0, 5], &[6]),
            ("1.5", &[1], &[2]),
            ("0.999999:1.5", &[1], &[0, 2]),
            ("-5:3", &[0, 3], &[4]),
            ("-5:-3", none, &[0, 4]),
            ("18446744073709551615", &[u64::MAX], none),
        ] {
            let range = range(text);
            assert!(inside.iter().all(|value| !range.alerts((*value).into(), None)), "{text}: {range:?}");
            assert!(outside.iter().all(|value| range.alerts((*value).into(), None)), "{text}: {range:?}");
        }
        assert!(range("18446744073709551615").alerts(1 << 64, None));
        assert!(range("18446744073709551615").alerts(u128::MAX, None));
    }

    #[test]
    fn percentages_of_the_limit_are_exact() {
        let limit = Some(4096);
        for (text, last_quiet, absolute) in [
            ("80%", 3276, "3276.8"),
            ("100%", 4096, "4096"),
            ("0%", 0, "0"),
            ("0.000001%", 0, "0.00004096"),
            ("33.333333%", 1365, "1365.33331968"),
            ("200%", 8192, "8192"),
        ] {
            let range = range(text);
            assert!(!range.alerts(last_quiet, limit), "{text}");
            assert!(range.alerts(last_quiet + 1, limit), "{text}");
            assert_eq!(range.absolute(limit), absolute);
        }
        // Values that are equal as floating-point numbers.
        let max = Some(u64::MAX);
        assert!(!range("100%").alerts(u64::MAX.into(), max));
        assert!(range("99.999999%").alerts(u64::MAX.into(), max));
        assert!(range("50%").alerts(1 << 63, max), "half of an odd number lies between two");
        assert!(!range("50%").alerts((1 << 63) - 1, max));
        assert_eq!(range("1000000000%").absolute(max), "184467440737095516150000000");
        assert!(range("@10%:20%").alerts(410, limit) && !range("@10%:20%").alerts(409, limit));
        assert!(!range("10:20%").is_inverted(limit) && range("1000:20%").is_inverted(limit));
        assert!(range("20%:10").is_inverted(limit) && !range("~:1%").is_inverted(limit));
    }

    #[test]
    fn ranges_of_bytes_accept_sizes() {
        let bytes = |text| Threshold::parse(text, Measure::OrphanBytes);
        for (text, absolute) in [("1G", "1073741824"), ("1K:2KB", "1024:2000"), ("@4096", "@4096"), ("1.5", "1.5")] {
            assert_eq!(bytes(text).unwrap().absolute(None), absolute);
        }
        assert!(bytes("1G").unwrap().alerts((1 << 30) + 1, None));
        for bad in ["80%", "1X", "1.5G", "-1G", "1G:80%"] {
            assert!(bytes(bad).is_err(), "{bad:?} was accepted as a range of bytes");
        }
    }

    #[test]
    fn performance_data_contain_the_shortest_form_of_a_range() {
        for text in ["10", "10:", "0:", "~:10", "~:", "@10:20", "-0.5:"] {
            assert_eq!((range(text).absolute(None).as_str(), range(text).text()), (text, text));
        }
        for (text, absolute) in [("0:10", "10"), (":10", "10"), ("@0:10", "@10"), ("-5:3.50", "-5:3.5")] {
            assert_eq!((range(text).absolute(None).as_str(), range(text).text()), (absolute, text));
        }
    }

    #[test]
    fn invalid_ranges_are_errors() {
        let bad = "|@|:|@:|a|10:a|1:2:3|20:10|@20:10|90%:80%|~|10:~|~:~|%|-%|-|1e3|+1| 1|1 |010|.5|5.|1.0000001|0x10|1,5|\
                   80 %|1000000001%|-1|-1%|18446744073709551616|@@1|1%%|nan|inf|१|1G";
        for bad in bad.split('|') {
            assert!(Threshold::parse(bad, Measure::Segments).is_err(), "{bad:?} was accepted as a range");
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
