//! Thresholds of monitoring plugins, by their development guidelines ("Threshold and Ranges").

use super::{Measure, parse_size};

/// So many parts has one: thresholds are decimals, and compared exactly.
const ONE: i128 = 100_000_000;
/// The most decimals that a number may have.
const DECIMALS: usize = 6;
/// The largest percentage: beyond it, products with a limit of 64 bits could leave 128.
const MOST_PERCENT: u64 = 1_000_000_000;

/// One end of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// There is none on this side.
    Infinite,
    /// A value, in parts of [`ONE`].
    At(i128),
    /// A share of the limit, in millionths of a percent.
    Share(i128),
}

impl End {
    /// Gives the value in parts of [`ONE`]; `None` if there is no end. Without a limit no share is parsed.
    fn value(self, limit: Option<u64>) -> Option<i128> {
        match self {
            Self::Infinite => None,
            Self::At(value) => Some(value),
            // A millionth of a percent is a part of ONE: the product is exact.
            Self::Share(share) => Some(share * i128::from(limit.unwrap_or(0))),
        }
    }
}

/// A range outside of which there is an alert, or with `@` inside of which; its ends belong to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Threshold {
    /// Whether what lies inside is the alert (`@`).
    inside: bool,
    /// The lower end.
    start: End,
    /// The upper end.
    end: End,
    /// As it was typed.
    text: String,
}

impl Threshold {
    /// Reads a range `[@][START:][END]`: START is 0 unless given, `~` is minus infinity, and no END is infinity.
    ///
    /// A number may be a percentage of the limit (`80%`) where the measure has one, and a SIZE (`1G`) where it is of
    /// bytes.
    ///
    /// # Errors
    /// It is no range, or its start is behind its end.
    pub(crate) fn parse(text: &str, measure: Measure) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no range: write 80%, 100, 10:, 10:20, ~:20 or @10:20");
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
            (End::At(start), End::At(end)) | (End::Share(start), End::Share(end)) if start > end => {
                Err(format!("{text:?} is no range: its start is behind its end"))
            }
            // 0 is 0 of whatever limit.
            (End::At(0), End::Share(end)) if end < 0 => {
                Err(format!("{text:?} is no range: it ends below 0, where it starts"))
            }
            _ => Ok(Self { inside, start, end, text: text.to_owned() }),
        }
    }

    /// Tells whether a start that is a number lies behind an end that is a share, or the other way round.
    pub(crate) fn is_inverted(&self, limit: Option<u64>) -> bool {
        self.start.value(limit).zip(self.end.value(limit)).is_some_and(|(start, end)| start > end)
    }

    /// Tells whether a value is an alert.
    pub(crate) fn alerts(&self, value: u128, limit: Option<u64>) -> bool {
        let value = i128::try_from(value).ok().and_then(|value| value.checked_mul(ONE)).unwrap_or(i128::MAX);
        let is_in = self.start.value(limit).is_none_or(|start| value >= start)
            && self.end.value(limit).is_none_or(|end| value <= end);
        is_in == self.inside
    }

    /// Gives whole values among which is the first of each stretch in which all are alerts, or none.
    pub(crate) fn turns(&self, limit: Option<u64>) -> impl Iterator<Item = u128> {
        let ends = [self.start, self.end].into_iter().filter_map(move |end| end.value(limit));
        let whole = ends.filter_map(|end| u128::try_from(end.div_euclid(ONE)).ok());
        whole.flat_map(|value| [value, value + 1])
    }

    /// Gives the range as performance data have it: in the value's own unit, without percentages.
    pub(crate) fn absolute(&self, limit: Option<u64>) -> String {
        let at = if self.inside { "@" } else { "" };
        let end = self.end.value(limit).map(decimal).unwrap_or_default();
        match self.start.value(limit) {
            Some(0) if !end.is_empty() => format!("{at}{end}"),
            start => format!("{at}{}:{end}", start.map_or_else(|| "~".to_owned(), decimal)),
        }
    }

    /// Gives the range as it was typed.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

/// Reads one end of a range.
fn parse_end(text: &str, measure: Measure) -> Result<End, String> {
    if let Some(percentage) = text.strip_suffix('%') {
        if measure == Measure::OrphanBytes {
            return Err(format!("{text} of what: orphan-bytes has no limit; write a SIZE such as 1G"));
        }
        let (millionths, whole) = parse_decimal(percentage)?;
        if whole > MOST_PERCENT {
            return Err(format!("{text} is too large"));
        }
        return Ok(End::Share(millionths));
    }
    if measure == Measure::OrphanBytes && text.ends_with(|letter: char| letter.is_ascii_alphabetic()) {
        return parse_size(text).map(|size| End::At(i128::from(size) * ONE));
    }
    let (millionths, _) = parse_decimal(text)?;
    Ok(End::At(millionths * 100))
}

/// Reads a decimal number; gives it in millionths, and its whole part without the sign.
fn parse_decimal(text: &str) -> Result<(i128, u64), String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(decimals) {
        return Err(format!("{text:?} is no number"));
    }
    if decimals.len() > DECIMALS {
        return Err(format!("{text} has more than {DECIMALS} decimals"));
    }
    if whole.len() > 1 && whole.starts_with('0') {
        return Err(format!("{text:?} has a leading zero, which could mean octal: leave it out"));
    }
    let whole: u64 = whole.parse().map_err(|_| format!("{text} is too large"))?;
    let millionths: u32 = format!("{decimals:0<DECIMALS$}").parse().map_err(|_| format!("{text:?} is no number"))?;
    Ok((sign * (i128::from(whole) * 1_000_000 + i128::from(millionths)), whole))
}

/// Writes a number of parts of [`ONE`] as a decimal, exactly and with no more digits than that takes.
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

    /// Reads a range of segments.
    fn range(text: &str) -> Threshold {
        Threshold::parse(text, Measure::Segments).unwrap()
    }

    #[test]
    fn ranges_are_those_of_the_guidelines() {
        let none: &[u64] = &[];
        for (text, inside, outside) in [
            // The guidelines' own table.
            ("10", &[0_u64, 10][..], &[11_u64, 1000][..]),
            ("10:", &[10, 11, 1_000_000], &[0, 9]),
            ("~:10", &[0, 10], &[11]),
            ("10:20", &[10, 15, 20], &[0, 9, 21]),
            ("@10:20", &[0, 9, 21], &[10, 15, 20]),
            // And its edges.
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
    fn percentages_are_of_the_limit_and_exact() {
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
        // What a floating point number could not tell apart.
        let most = Some(u64::MAX);
        assert!(!range("100%").alerts(u64::MAX.into(), most));
        assert!(range("99.999999%").alerts(u64::MAX.into(), most));
        assert!(range("50%").alerts(1 << 63, most), "half of an odd number lies between two");
        assert!(!range("50%").alerts((1 << 63) - 1, most));
        assert_eq!(range("1000000000%").absolute(most), "184467440737095516150000000");
        assert!(range("@10%:20%").alerts(410, limit) && !range("@10%:20%").alerts(409, limit));
        assert!(!range("10:20%").is_inverted(limit) && range("1000:20%").is_inverted(limit));
        assert!(range("20%:10").is_inverted(limit) && !range("~:1%").is_inverted(limit));
    }

    #[test]
    fn bytes_may_be_sizes() {
        let bytes = |text| Threshold::parse(text, Measure::OrphanBytes);
        for (text, absolute) in [("1G", "1073741824"), ("1K:2KB", "1024:2000"), ("@4096", "@4096"), ("1.5", "1.5")] {
            assert_eq!(bytes(text).unwrap().absolute(None), absolute);
        }
        assert!(bytes("1G").unwrap().alerts((1 << 30) + 1, None));
        for bad in ["80%", "1X", "1.5G", "-1G", "1G:80%"] {
            assert!(bytes(bad).is_err(), "{bad:?} was taken for a range of bytes");
        }
        assert!(Threshold::parse("1G", Measure::Segments).is_err());
    }

    #[test]
    fn performance_data_have_ranges_in_the_shortest_form() {
        for (text, absolute) in [
            ("10", "10"),
            ("0:10", "10"),
            (":10", "10"),
            ("10:", "10:"),
            ("0:", "0:"),
            ("~:10", "~:10"),
            ("~:", "~:"),
            ("@10:20", "@10:20"),
            ("@0:10", "@10"),
            ("-5:3.50", "-5:3.5"),
            ("-0.5:", "-0.5:"),
        ] {
            assert_eq!(range(text).absolute(None), absolute, "{text}");
            assert_eq!(range(text).text(), text);
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for bad in [
            "",
            "@",
            ":",
            "@:",
            "a",
            "10:a",
            "1:2:3",
            "20:10",
            "@20:10",
            "90%:80%",
            "~",
            "10:~",
            "~:~",
            "%",
            "-%",
            "-",
            "1e3",
            "+1",
            " 1",
            "1 ",
            "010",
            ".5",
            "5.",
            "1.0000001",
            "0x10",
            "1,5",
            "80 %",
            "1000000001%",
            "-1",
            "-1%",
            "18446744073709551616",
            "@@1",
            "1%%",
            "nan",
            "inf",
            "१",
        ] {
            assert!(Threshold::parse(bad, Measure::Segments).is_err(), "{bad:?} was taken for a range");
        }
    }

    proptest! {
        #[test]
        fn nothing_typed_makes_it_panic(text: String, value: u128, limit: Option<u64>) {
            for measure in Measure::ALL {
                if let Ok(range) = Threshold::parse(&text, measure) {
                    range.alerts(value, limit);
                }
            }
        }

        #[test]
        fn what_is_written_reads_the_same(start in 0..u64::MAX, more in 0..1_000_000_u64, inside: bool, value: u64) {
            let end = start.saturating_add(more);
            let text = format!("{}{start}:{end}", if inside { "@" } else { "" });
            let first = range(&text);
            let second = range(&first.absolute(None));
            prop_assert_eq!(first.alerts(value.into(), None), second.alerts(value.into(), None));
            prop_assert_eq!(first.alerts(value.into(), None), (start..=end).contains(&value) == inside);
        }
    }
}
