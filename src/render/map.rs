//! The report of `map`: which parts of an object are resident, swapped or untouched.

use std::io::{self, Write};

use serde::Serialize;

use super::human::size;
use super::{Cell, Column};
use crate::model::{Extent, Ident, Residence, counted};

#[derive(Debug, Serialize)]
pub(crate) struct MapReport {
    #[serde(flatten)]
    id: Ident,
    size: u64,
    page_size: u64,
    resident: u64,
    swapped: u64,
    untouched: u64,
    unknown: u64,
    /// The number of resident bytes, which can be known even if their offsets are not.
    rss: Option<u64>,
    pub(crate) extents: Vec<Extent>,
}

impl MapReport {
    pub(crate) fn new(id: Ident, size: u64, page_size: u64, rss: Option<u64>, extents: Vec<Extent>) -> Self {
        let [resident, swapped, untouched, unknown] = Residence::ALL.map(|residence| {
            extents.iter().filter(|extent| extent.residence == residence).map(|extent| extent.length).sum()
        });
        Self { id, size, page_size, resident, swapped, untouched, unknown, rss, extents }
    }
}

/// The columns of `map`; CSV and TSV print all of them.
pub(crate) static EXTENTS: &[Column<Extent>] = &[
    Column::right("OFFSET", |extent| Cell::bytes(extent.offset)),
    Column::right("LENGTH", |extent| Cell::bytes(extent.length)),
    Column::left("STATE", |extent| Cell::Word(extent.residence.as_str())),
];

/// Draws a strip of `width` characters, each for an equal part of the object; `+` means a part in several states.
fn strip(extents: &[Extent], size: u64, width: u64) -> String {
    let edge =
        |index: u64| u64::try_from(u128::from(size) * u128::from(index) / u128::from(width.max(1))).unwrap_or(size);
    let mut signs = String::new();
    let mut first = 0;
    for column in 0..width {
        let (start, end) = (edge(column), edge(column + 1).max(edge(column) + 1));
        while extents.get(first).is_some_and(|extent| extent.offset + extent.length <= start) {
            first += 1;
        }
        let mut sign = None;
        for extent in extents[first.min(extents.len())..].iter().take_while(|extent| extent.offset < end) {
            sign = match sign {
                None => Some(extent.residence.symbol()),
                Some(known) if known == extent.residence.symbol() => sign,
                Some(_) => Some('+'),
            };
            if sign == Some('+') {
                break;
            }
        }
        signs.push(sign.unwrap_or(' '));
    }
    signs
}

/// Writes the map as text, with a picture of `width` characters.
pub(crate) fn write_map(out: &mut impl Write, report: &MapReport, width: u64) -> io::Result<()> {
    let MapReport { resident, swapped, untouched, unknown, .. } = *report;
    writeln!(out, "[{}]", strip(&report.extents, report.size, width.saturating_sub(2).max(1)))?;
    for (residence, total) in Residence::ALL.into_iter().zip([resident, swapped, untouched, unknown]) {
        // If some extents are unknown, a total of 0 is not known to be 0.
        if total > 0 || (unknown == 0 && matches!(residence, Residence::Resident | Residence::Untouched)) {
            let (symbol, name, bytes) = (residence.symbol(), residence.as_str(), size(total.into()));
            let (pages, page) = (counted(total.div_ceil(report.page_size), "page"), size(report.page_size.into()));
            let rss = report.rss.filter(|_| residence == Residence::Unknown);
            let rss = rss.map(|rss| rss.saturating_sub(resident.next_multiple_of(report.page_size)));
            let rss = rss.map(|rss| format!(", {} of it resident", size(rss.into()))).unwrap_or_default();
            writeln!(out, "{symbol} {name:<9} {bytes:>5}  {pages} of {page}{rss}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_character_covers_an_equal_part() {
        let extent = |offset, length, residence| Extent { offset, length, residence };
        let untouched = extent(100, 250, Residence::Untouched);
        let extents = [extent(0, 100, Residence::Resident), untouched, extent(350, 50, Residence::Swapped)];
        assert_eq!(strip(&extents, 400, 4), "#..+");
        assert_eq!(strip(&extents, 400, 8), "##.....s");
        // More characters than bytes, and a size above 2^63.
        assert_eq!(strip(&[extent(0, 2, Residence::Resident)], 2, 4), "####");
        assert_eq!(strip(&[extent(0, u64::MAX, Residence::Unknown)], u64::MAX, 3), "???");
    }
}
