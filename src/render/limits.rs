//! The report of `limits`.

use std::io::{self, Write};

use super::{Align, Cell, Column, JsonObject};
use crate::model::{Limits, Usage};

/// A limit and its usage.
pub(crate) struct LimitRow {
    resource: &'static str,
    description: &'static str,
    limit: Cell<'static>,
    used: Cell<'static>,
    share: Cell<'static>,
}

pub(crate) static LIMITS: &[Column<LimitRow>] = &[
    Column::plain("RESOURCE", "resource", Align::Left, "name", |row| Cell::Word(row.resource)),
    Column::plain("DESCRIPTION", "description", Align::Left, "description", |row| Cell::Word(row.description)),
    Column::plain("LIMIT", "limit", Align::Right, "the limit", |row| row.limit.clone()),
    Column::plain("USED", "used", Align::Right, "usage", |row| row.used.clone()),
    Column::plain("USE%", "use_percent", Align::Right, "usage in percent of the limit", |row| row.share.clone()),
];

pub(crate) fn limit_rows(limits: &Limits, usage: &Usage) -> Vec<LimitRow> {
    /// Returns hundredths of a percent; 128 bits keep the product exact.
    fn share(used: u64, limit: u64) -> Cell<'static> {
        let hundredths = (u128::from(used) * 10_000).checked_div(u128::from(limit));
        hundredths.and_then(|share| u64::try_from(share).ok()).map_or(Cell::Null, Cell::Share)
    }
    let row = |resource, description, limit, used, share| LimitRow { resource, description, limit, used, share };
    vec![
        row(
            "SHMMNI",
            "segments",
            Cell::Number(limits.shmmni),
            Cell::Number(usage.segments),
            share(usage.segments, limits.shmmni),
        ),
        row(
            "SHMALL",
            "pages in all segments",
            Cell::Number(limits.shmall),
            Cell::Number(usage.pages),
            share(usage.pages, limits.shmall),
        ),
        row("SHMMAX", "maximum size of a segment", Cell::bytes(limits.shmmax), Cell::Null, Cell::Null),
        row("SHMMIN", "minimum size of a segment", Cell::bytes(limits.shmmin), Cell::Null, Cell::Null),
        row("SIZE", "size of all segments", Cell::Null, Cell::Bytes(usage.size), Cell::Null),
        row("RSS", "resident memory of all segments", Cell::Null, Cell::Bytes(usage.rss), Cell::Null),
        row("SWAP", "swapped memory of all segments", Cell::Null, Cell::Bytes(usage.swap), Cell::Null),
        row("PAGE_SIZE", "page size in bytes", Cell::bytes(limits.page_size), Cell::Null, Cell::Null),
        row(
            "RMID_FORCED",
            "unattached segments are destroyed",
            limits.rmid_forced.map_or(Cell::Null, Cell::Flag),
            Cell::Null,
            Cell::Null,
        ),
    ]
}

/// Writes limits and usage as JSON.
pub(crate) fn write_limits_json(out: &mut impl Write, limits: &Limits, usage: &Usage) -> io::Result<()> {
    let mut object = JsonObject::schema(out)?;
    let mut inner = JsonObject::open(object.field("limits")?)?;
    inner.number("shmmni", limits.shmmni)?;
    inner.number("shmmax", limits.shmmax)?;
    inner.number("shmall", limits.shmall)?;
    inner.number("shmmin", limits.shmmin)?;
    inner.number("page_size", limits.page_size)?;
    inner.flag("rmid_forced", limits.rmid_forced)?;
    inner.close()?;
    let mut inner = JsonObject::open(object.field("usage")?)?;
    inner.number("segments", usage.segments)?;
    inner.number("pages", usage.pages)?;
    for (key, bytes) in [("size", usage.size), ("rss", usage.rss), ("swap", usage.swap)] {
        write!(inner.field(key)?, "{bytes}")?;
    }
    inner.close()?;
    object.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_limits_are_exact() {
        let limits = Limits {
            shmmni: 4096,
            shmmax: 18_446_744_073_692_774_399,
            shmall: 18_446_744_073_692_774_399,
            shmmin: 1,
            page_size: 4096,
            rmid_forced: None,
        };
        let usage = Usage { segments: 3, pages: 18_446_744_073_692_774_398, size: 1 << 70, rss: 0, swap: 0 };
        let mut out = Vec::new();
        write_limits_json(&mut out, &limits, &usage).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("\"shmmax\":18446744073692774399,"), "{text}");
        assert!(text.contains("\"pages\":18446744073692774398,\"size\":1180591620717411303424,"), "{text}");
        assert!(text.contains("\"rmid_forced\":null"), "{text}");
        let rows = limit_rows(&limits, &usage);
        assert!(matches!(rows[1].share, Cell::Share(9999)), "{:?}", rows[1].share);
    }
}
