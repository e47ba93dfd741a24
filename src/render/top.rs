//! What `top` shows: the largest segments and objects, and how Shmem changes.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use super::human::{change, size};
use super::{Cell, Column, UsageReport, shorten};
use crate::model::{Ident, Instance, Source, Stamp};

/// One round.
#[derive(Debug, Serialize)]
pub(crate) struct TopReport<'a> {
    pub(crate) round: u64,
    pub(crate) time: Stamp,
    /// The time from round to round, in seconds.
    pub(crate) every: f64,
    /// The duration of the scan in seconds.
    pub(crate) scan: f64,
    /// Bytes per second since the previous round.
    pub(crate) change: Option<i64>,
    #[serde(flatten)]
    pub(crate) usage: UsageReport<'a>,
    pub(crate) largest: &'a [LargeObject],
}

/// A segment or object.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LargeObject {
    /// Identifies it on this machine.
    #[serde(skip)]
    pub(crate) key: (Instance, Ident),
    /// As a user names it.
    pub(crate) target: String,
    /// The IPC namespace of a segment, or the mount namespace of an object that is not in the caller's /dev/shm.
    pub(crate) ns: Option<u64>,
    /// Whether the target names it: it is not one of another namespace.
    #[serde(skip)]
    pub(crate) is_here: bool,
    pub(crate) source: Source,
    pub(crate) uid: Option<u32>,
    pub(crate) owner: Option<Arc<str>>,
    pub(crate) container: Option<Arc<str>>,
    pub(crate) product: Option<Arc<str>>,
    pub(crate) size: u64,
    pub(crate) rss: u64,
    pub(crate) swap: Option<u64>,
    /// Bytes per second since the previous round.
    pub(crate) change: Option<i64>,
}

impl LargeObject {
    /// Returns the number of its namespace, unless that is the caller's.
    fn other_namespace(&self) -> Option<u64> {
        self.ns.filter(|_| !self.is_here)
    }
}

/// Returns the columns for some segments and objects.
pub(crate) fn largest_columns(objects: &[LargeObject]) -> Vec<&'static Column<LargeObject>> {
    let is_elsewhere = objects.iter().any(|object| object.other_namespace().is_some());
    LARGEST.iter().filter(|column| column.name != "NS" || is_elsewhere).collect()
}

static LARGEST: [Column<LargeObject>; 8] = [
    Column::left("NAME", |object: &LargeObject| Cell::Text(&object.target)).name_shortened_to(20),
    Column::right("NS", |object| Cell::of(object.other_namespace(), Cell::Number)),
    Column::right("RSS", |object| Cell::bytes(object.rss)),
    Column::right("CHANGE/S", |object| Cell::of(object.change, Cell::Change)),
    Column::right("SIZE", |object| Cell::bytes(object.size)),
    Column::account("OWNER", |object| Cell::of(object.uid, |uid| Cell::Account(object.owner.as_deref(), uid))),
    Column::left("TYPE", |object| {
        Cell::Word(match (object.source, &object.key.1) {
            (Source::Memfd | Source::Anonymous | Source::SysV, _) => object.source.as_str(),
            (_, Ident::File(_)) => Source::Unlinked.as_str(),
            _ => "object",
        })
    }),
    Column::left("PRODUCT", |object: &LargeObject| Cell::text(object.product.as_ref())).shortened_to(8),
];

/// The columns to omit, in this order, if the terminal is too narrow.
pub(crate) const LARGEST_DROP_ORDER: &[&str] = &["PRODUCT", "NS", "TYPE", "OWNER", "SIZE"];

/// Returns Shmem, its change and the accounted part in one line.
pub(crate) fn summary(shmem: u64, change_per_second: Option<i64>, accounted: u64) -> String {
    let changed = change_per_second.map(|bytes| format!(" {}/s", change(bytes))).unwrap_or_default();
    format!("Shmem {}{changed}, accounted for {}", size(shmem.into()), size(accounted.into()))
}

/// Returns how often rounds are, and why it is not as often as requested.
pub(crate) fn interval(every: Duration, actual: Duration, scan: Duration) -> String {
    let short = |time: Duration| match time.as_millis() {
        millis @ ..1000 => format!("{millis}ms"),
        millis if millis < 10_000 && millis % 1000 >= 10 => {
            format!("{}.{:02}", millis / 1000, millis % 1000 / 10).trim_end_matches('0').to_owned() + "s"
        }
        millis => format!("{}s", millis / 1000),
    };
    if actual <= every {
        return format!("every {}", short(every));
    }
    format!("every {} instead of {}: a scan takes {} ms", short(actual), short(every), scan.as_millis())
}

/// Returns a line of the last values, from their least to their greatest, at most `width` of them.
pub(crate) fn spark_line(values: impl ExactSizeIterator<Item = u64> + Clone, width: usize, unicode: bool) -> String {
    let marks: &[char] = if unicode {
        &['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█']
    } else {
        &['_', '.', '-', '=', '+', '*', '#']
    };
    let values = values.clone().skip(values.len().saturating_sub(width));
    let (least, greatest) = (values.clone().min().unwrap_or(0), values.clone().max().unwrap_or(0));
    let mark = |value: u64| {
        let steps = u128::from(value - least) * (marks.len() as u128 - 1);
        let step = steps.checked_div(u128::from(greatest - least)).unwrap_or(0);
        usize::try_from(step).map_or(marks[0], |step| marks[step])
    };
    values.map(mark).collect()
}

/// Returns the beginning of a line that is at most `width` columns wide.
pub(crate) fn clip(line: &str, width: usize) -> &str {
    if line.width() <= width { line } else { shorten::first(line, width) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_says_why_rounds_are_rarer() {
        let milliseconds = Duration::from_millis;
        let second = milliseconds(1000);
        assert_eq!(interval(second, second, milliseconds(7)), "every 1s");
        let slow = interval(second, milliseconds(3000), milliseconds(600));
        assert_eq!(slow, "every 3s instead of 1s: a scan takes 600 ms");
        assert_eq!(
            interval(milliseconds(0), milliseconds(1250), milliseconds(250)),
            "every 1.25s instead of 0ms: a scan takes 250 ms"
        );
    }

    #[test]
    fn a_line_of_values_shows_the_last_ones() {
        let line = |values: &[u64], unicode| spark_line(values.iter().copied(), 3, unicode);
        assert_eq!(line(&[9, 1, 2, 8], true), "▁▂█");
        assert_eq!(line(&[5, 5], true), "▁▁");
        assert_eq!(line(&[0, u64::MAX], false), "_#");
        assert_eq!(line(&[], false), "");
    }

    #[test]
    fn lines_are_clipped_between_characters() {
        assert_eq!(["abc", "日本", "日本"].map(|line| clip(line, 3)), ["abc", "日", "日"]);
        assert_eq!(clip("日本", 4), "日本");
    }
}
