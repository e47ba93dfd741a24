//! Numbers as people read them.

use std::sync::OnceLock;

use jiff::tz::TimeZone;

use super::Cell;
use super::cell::joined;
use crate::model::Stamp;
use crate::render::escape;

/// How a table shows moments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum TimeStyle {
    /// How long ago.
    #[default]
    Relative,
    /// RFC 3339 in the local time zone.
    Iso,
    /// Seconds since 1970.
    Unix,
}

/// Gives a size as lsblk does: at most four characters, rounded: `4K`, `1.5G`, `128T`.
pub(crate) fn size(bytes: u128) -> String {
    const UNITS: [&str; 9] = ["B", "K", "M", "G", "T", "P", "E", "Z", "Y"];
    let mut unit = 0;
    let mut scale: u128 = 1;
    // 1000 of a unit and not 1024, so that no number has four digits.
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

/// Gives a duration by its two largest units: `5s`, `10m`, `1h30m`, `12d`.
pub(crate) fn idle(seconds: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];
    let first = UNITS.iter().position(|(_, unit)| seconds >= *unit).unwrap_or(3);
    let (name, unit) = UNITS[first];
    let (count, rest) = (seconds / unit, seconds % unit);
    match UNITS.get(first + 1) {
        Some((next, part)) if count < 10 && rest / part > 0 => format!("{count}{name}{}{next}", rest / part),
        _ => format!("{count}{name}"),
    }
}

/// Where the system keeps its time zone (localtime(5)).
const LOCAL_TIME: &str = "/etc/localtime";

/// Gives the local time zone.
///
/// Where TZ names none, it is in one file, and the library need not look through all the zones that there are.
fn local() -> &'static TimeZone {
    static LOCAL: OnceLock<TimeZone> = OnceLock::new();
    LOCAL.get_or_init(|| {
        let file = || TimeZone::tzif("local", &std::fs::read(LOCAL_TIME).ok()?).ok();
        if std::env::var_os("TZ").is_some() { None } else { file() }.unwrap_or_else(TimeZone::system)
    })
}

/// Gives a moment.
pub(crate) fn moment(stamp: Stamp, style: TimeStyle, now: Stamp) -> String {
    match style {
        TimeStyle::Unix => stamp.0.to_string(),
        TimeStyle::Iso => match stamp.timestamp() {
            Some(timestamp) => {
                timestamp.to_zoned_datetime(local().clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
            }
            None => stamp.to_string(),
        },
        TimeStyle::Relative => match u64::try_from(now.0.saturating_sub(stamp.0)) {
            Ok(seconds) => format!("{} ago", idle(seconds)),
            Err(_) => format!("in {}", idle(stamp.0.abs_diff(now.0))),
        },
    }
}

/// How values look in a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// Sizes in bytes, not in units.
    pub(crate) bytes: bool,
    /// Moments.
    pub(crate) time: TimeStyle,
    /// What "ago" counts from.
    pub(crate) now: Stamp,
}

/// Gives a value as a table shows it; what is unknown is a dash.
pub(super) fn text(cell: &Cell<'_>, look: Look) -> String {
    match cell {
        Cell::Null => "-".to_owned(),
        Cell::Text(text) | Cell::Account(Some(text), _) => escape(text).into_owned(),
        Cell::Word(word) => (*word).to_owned(),
        Cell::Account(None, number) => number.to_string(),
        Cell::Number(number) => number.to_string(),
        Cell::Bytes(bytes) if look.bytes => bytes.to_string(),
        Cell::Bytes(bytes) => size(*bytes),
        Cell::Seconds(seconds) => idle(*seconds),
        Cell::Share(share) => format!("{}.{:02}%", share / 100, share % 100),
        Cell::Time(stamp) => moment(*stamp, look.time, look.now),
        Cell::Flag(flag) => if *flag { "yes" } else { "no" }.to_owned(),
        Cell::Key(key) => key.to_string(),
        Cell::Mode(mode) => mode.to_string(),
        Cell::Address(address) => format!("{address:#x}"),
        Cell::Pids(pids) if pids.is_empty() => "-".to_owned(),
        Cell::Pids(pids) => joined(pids),
        Cell::Texts(texts) if texts.is_empty() => "-".to_owned(),
        Cell::Texts(texts) => escape(&texts.join("; ")).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_four_characters_at_most() {
        for (bytes, text) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1K"),
            (4096, "4K"),
            (1536, "1.5K"),
            (10 << 20, "10M"),
            (1023 << 10, "1M"),
            (16 << 40, "16T"),
            (u128::from(u64::MAX), "16E"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn durations_have_two_units_at_most() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (90, "1m30s"),
            (5400, "1h30m"),
            (36_060, "10h"),
            (86_400 * 400, "400d"),
        ] {
            assert_eq!(idle(seconds), text);
        }
    }

    #[test]
    fn moments_may_lie_ahead_of_a_clock_that_was_set_back() {
        assert_eq!(moment(Stamp(100), TimeStyle::Relative, Stamp(160)), "1m ago");
        assert_eq!(moment(Stamp(160), TimeStyle::Relative, Stamp(100)), "in 1m");
        assert_eq!(moment(Stamp(160), TimeStyle::Unix, Stamp(100)), "160");
    }

    #[test]
    fn the_local_zone_is_the_one_that_the_library_finds() {
        let stamp = Stamp(1_795_420_800);
        let found = stamp.timestamp().unwrap().to_zoned_datetime(TimeZone::system());
        assert_eq!(moment(stamp, TimeStyle::Iso, stamp), found.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string());
    }
}
