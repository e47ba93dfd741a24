//! The report of `map`: which parts of a segment are resident, swapped or untouched.

use std::io::{self, Write};

use super::human::size;
use super::{Align, Cell, Column, JsonObject};
use crate::model::{Extent, Residence};

/// The columns of `map`; CSV and TSV print all of them.
pub(crate) static EXTENTS: &[Column<Extent>] = &[
    Column::plain("OFFSET", "offset", Align::Right, "first byte", |extent| Cell::bytes(extent.offset)),
    Column::plain("LENGTH", "length", Align::Right, "bytes", |extent| Cell::bytes(extent.length)),
    Column::plain("STATE", "state", Align::Left, "resident, swapped, untouched or unknown", |extent| {
        Cell::Word(extent.residence.as_str())
    }),
];

/// The order of the totals.
const RESIDENCES: [Residence; 4] = [Residence::Resident, Residence::Swapped, Residence::Untouched, Residence::Unknown];

/// Returns the number of bytes in one state.
fn total(extents: &[Extent], residence: Residence) -> u64 {
    extents.iter().filter(|extent| extent.residence == residence).map(|extent| extent.length).sum()
}

/// Draws a strip of `width` characters, each for an equal part of the segment; `+` means a part in several states.
pub(crate) fn strip(extents: &[Extent], size: u64, width: u64) -> String {
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

/// Writes the map as text. `rss` is the number of resident bytes, which can be known even if their offsets are not.
pub(crate) fn write_map(
    out: &mut impl Write,
    extents: &[Extent],
    bytes: u64,
    rss: Option<u64>,
    page: u64,
    width: u64,
) -> io::Result<()> {
    let unknown = total(extents, Residence::Unknown);
    writeln!(out, "[{}]", strip(extents, bytes, width.saturating_sub(2).max(1)))?;
    for residence in RESIDENCES {
        let total = total(extents, residence);
        // If some extents are unknown, a total of 0 is not known to be 0.
        if total > 0 || (unknown == 0 && matches!(residence, Residence::Resident | Residence::Untouched)) {
            let pages = total.div_ceil(page);
            let text =
                format!("{} {:<9} {:>5}  {pages} pages", residence.symbol(), residence.as_str(), size(total.into()));
            let known = rss.filter(|_| residence == Residence::Unknown);
            let known = known.map(|rss| format!(", {} of it resident", size(rss.into()))).unwrap_or_default();
            writeln!(out, "{text} of {}{known}", size(page.into()))?;
        }
    }
    Ok(())
}

pub(crate) fn write_map_json(
    out: &mut impl Write,
    id: i32,
    size: u64,
    rss: Option<u64>,
    page: u64,
    extents: &[Extent],
) -> io::Result<()> {
    let columns: Vec<_> = EXTENTS.iter().collect();
    let mut object = JsonObject::schema(out)?;
    object.number("id", id)?;
    object.number("size", size)?;
    object.number("page_size", page)?;
    for residence in RESIDENCES {
        object.number(residence.as_str(), total(extents, residence))?;
    }
    object.optional("rss", rss)?;
    object.list("extents", extents, |out, extent| {
        let mut object = JsonObject::open(out)?;
        object.row(&columns, extent)?;
        object.close()
    })?;
    object.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(offset: u64, length: u64, residence: Residence) -> Extent {
        Extent { offset, length, residence }
    }

    #[test]
    fn each_character_covers_an_equal_part() {
        let extents = [
            extent(0, 100, Residence::Resident),
            extent(100, 250, Residence::Untouched),
            extent(350, 50, Residence::Swapped),
        ];
        assert_eq!(strip(&extents, 400, 4), "#..+");
        assert_eq!(strip(&extents, 400, 8), "##.....s");
        assert_eq!(strip(&extents, 400, 1), "+");
        // More characters than bytes, and a size above 2^63.
        assert_eq!(strip(&[extent(0, 2, Residence::Resident)], 2, 4), "####");
        assert_eq!(strip(&[extent(0, u64::MAX, Residence::Unknown)], u64::MAX, 3), "???");
    }
}
