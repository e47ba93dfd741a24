//! Readable sizes, durations and times, as tables show them.

use std::borrow::Cow;

use jiff::tz::TimeZone;

use super::{Cell, TableStyle, escape};
use crate::model::{Ident, Stamp};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum TimeStyle {
    /// Time since then, such as `3m ago`.
    #[default]
    Relative,
    /// RFC 3339 in the local time zone.
    Iso,
    /// Seconds since 1970.
    Unix,
}

/// Formats a size as lsblk does: rounded, at most four characters: `4K`, `1.5G`, `128T`.
pub(crate) fn size(bytes: u128) -> String {
    const UNITS: [&str; 9] = ["B", "K", "M", "G", "T", "P", "E", "Z", "Y"];
    let mut unit = 0;
    let mut scale: u128 = 1;
    // The limit is 1000 of a unit, not 1024, so no number has four digits.
    while bytes >= scale * 1000 && unit + 1 < UNITS.len() {
        scale *= 1024;
        unit += 1;
    }
    let tenths = (bytes * 10 + scale / 2) / scale;
    match UNITS[unit] {
        unit if tenths < 100 && !tenths.is_multiple_of(10) => format!("{}.{}{unit}", tenths / 10, tenths % 10),
        unit => format!("{}{unit}", (bytes + scale / 2) / scale),
    }
}

/// Formats a number of bytes per second like [`size`], with its sign; `0` if nothing changes.
pub(super) fn change(bytes: i64) -> String {
    let sign = match bytes {
        0 => return "0".to_owned(),
        1.. => '+',
        _ => '-',
    };
    format!("{sign}{}", size(bytes.unsigned_abs().into()))
}

/// Formats a duration in its one or two largest units: `5s`, `10m`, `1h30m`, `12d`.
pub(crate) fn duration(seconds: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];
    let first = UNITS.iter().position(|(_, unit)| seconds >= *unit).unwrap_or(3);
    let (name, unit) = UNITS[first];
    let (count, rest) = (seconds / unit, seconds % unit);
    match UNITS.get(first + 1) {
        Some((next, part)) if count < 10 && rest / part > 0 => format!("{count}{name}{}{next}", rest / part),
        _ => format!("{count}{name}"),
    }
}

pub(crate) fn time(stamp: Stamp, style: TimeStyle, now: Stamp) -> String {
    match style {
        TimeStyle::Unix => stamp.0.to_string(),
        TimeStyle::Iso => match stamp.timestamp() {
            Some(timestamp) => {
                timestamp.to_zoned_datetime(TimeZone::system()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
            }
            None => stamp.to_string(),
        },
        TimeStyle::Relative => match u64::try_from(now.0.saturating_sub(stamp.0)) {
            Ok(seconds) => format!("{} ago", duration(seconds)),
            Err(_) => format!("in {}", duration(stamp.0.abs_diff(now.0))),
        },
    }
}

/// Formats a cell for a table; null is `-`.
pub(super) fn text<'a>(cell: &Cell<'a>, style: &TableStyle<'_>) -> Cow<'a, str> {
    let text = match cell {
        Cell::Null => return "-".into(),
        Cell::Pids(pids) if pids.is_empty() => return "-".into(),
        Cell::Texts(texts) if texts.is_empty() => return "-".into(),
        Cell::Word(word) => return (*word).into(),
        Cell::Text(text) | Cell::Account(Some(text), _) => return escape(text),
        Cell::Flag(flag) => return yes_or_no(*flag).into(),
        Cell::Texts(_) => escape(&cell.to_string()).into_owned(),
        Cell::Account(None, number) => number.to_string(),
        Cell::Nameless(file) => Ident::File(*file).argument(),
        Cell::Bytes(bytes) if !style.bytes => size(*bytes),
        Cell::Change(bytes) if !style.bytes => change(*bytes),
        Cell::Seconds(seconds) => duration(*seconds),
        Cell::Share(_) => format!("{cell}%"),
        Cell::Time(stamp) => time(*stamp, style.time, style.now),
        _ => cell.to_string(),
    };
    text.into()
}

pub(super) fn yes_or_no(flag: bool) -> &'static str {
    if flag { "yes" } else { "no" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_at_most_four_characters() {
        let exabytes = u128::from(u64::MAX);
        for (bytes, text) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1K"),
            (1536, "1.5K"),
            (10 << 20, "10M"),
            (1023 << 10, "1M"),
            (exabytes, "16E"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn changes_have_a_sign() {
        assert_eq!([0, 1536, -(10 << 20)].map(change), ["0", "+1.5K", "-10M"]);
    }

    #[test]
    fn durations_have_at_most_two_units() {
        for (seconds, text) in
            [(0, "0s"), (59, "59s"), (60, "1m"), (90, "1m30s"), (36_060, "10h"), (86_400 * 400, "400d")]
        {
            assert_eq!(duration(seconds), text);
        }
        assert_eq!(time(Stamp(100), TimeStyle::Relative, Stamp(160)), "1m ago");
        assert_eq!(time(Stamp(160), TimeStyle::Relative, Stamp(100)), "in 1m");
    }
}
