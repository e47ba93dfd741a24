//! The picture of where a segment lives.

use std::io::{self, Write};

use super::human::size;
use super::{Align, Cell, Column, Object};
use crate::model::{Extent, Residence};

/// The columns of extents; CSV and TSV have all of them.
pub(crate) static EXTENTS: &[Column<Extent>] = &[
    Column::plain("OFFSET", "offset", Align::Right, "first byte", |extent| Cell::bytes(extent.offset)),
    Column::plain("LENGTH", "length", Align::Right, "bytes", |extent| Cell::bytes(extent.length)),
    Column::plain("STATE", "state", Align::Left, "resident, swapped, untouched or unknown", |extent| {
        Cell::Word(extent.residence.word())
    }),
];

/// Every place where memory can be, in the order in which totals are told.
const PLACES: [Residence; 4] = [Residence::Resident, Residence::Swapped, Residence::Untouched, Residence::Unknown];

/// Sums up what lives in one place.
fn total(extents: &[Extent], place: Residence) -> u64 {
    extents.iter().filter(|extent| extent.residence == place).map(|extent| extent.length).sum()
}

/// Draws a strip of so many signs, each for an equal part of the segment; `+` where a part lives in several places.
pub(crate) fn strip(extents: &[Extent], size: u64, width: u64) -> String {
    let edge =
        |number: u64| u64::try_from(u128::from(size) * u128::from(number) / u128::from(width.max(1))).unwrap_or(size);
    let mut signs = String::new();
    let mut index = 0;
    for number in 0..width {
        let (start, end) = (edge(number), edge(number + 1).max(edge(number) + 1));
        while extents.get(index).is_some_and(|extent| extent.offset + extent.length <= start) {
            index += 1;
        }
        let mut sign = None;
        for extent in extents[index.min(extents.len())..].iter().take_while(|extent| extent.offset < end) {
            sign = match sign {
                None => Some(extent.residence.sign()),
                Some(known) if known == extent.residence.sign() => sign,
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

/// Writes the picture for people; `rss` is how many bytes are in memory, wherever, if that is known.
///
/// # Errors
/// The writer's.
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
    for place in PLACES {
        let total = total(extents, place);
        // Of what is not known, none is not known either.
        if total > 0 || (unknown == 0 && matches!(place, Residence::Resident | Residence::Untouched)) {
            let pages = total.div_ceil(page);
            let text = format!("{} {:<9} {:>5}  {pages} pages", place.sign(), place.word(), size(total.into()));
            let known = rss.filter(|_| place == Residence::Unknown);
            let known = known.map(|rss| format!(", {} of it in memory", size(rss.into()))).unwrap_or_default();
            writeln!(out, "{text} of {}{known}", size(page.into()))?;
        }
    }
    Ok(())
}

/// Writes totals and extents as JSON.
///
/// # Errors
/// The writer's.
pub(crate) fn write_map_json(
    out: &mut impl Write,
    id: i32,
    size: u64,
    rss: Option<u64>,
    page: u64,
    extents: &[Extent],
) -> io::Result<()> {
    let columns: Vec<_> = EXTENTS.iter().collect();
    let mut object = Object::schema(out)?;
    object.number("id", id)?;
    object.number("size", size)?;
    object.number("page_size", page)?;
    for place in PLACES {
        object.number(place.word(), total(extents, place))?;
    }
    object.optional("rss", rss)?;
    object.list("extents", extents, |out, extent| {
        let mut object = Object::open(out)?;
        object.row(&columns, extent)?;
        object.close()
    })?;
    object.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes an extent.
    fn extent(offset: u64, length: u64, residence: Residence) -> Extent {
        Extent { offset, length, residence }
    }

    #[test]
    fn each_sign_stands_for_an_equal_part() {
        let extents = [
            extent(0, 100, Residence::Resident),
            extent(100, 250, Residence::Untouched),
            extent(350, 50, Residence::Swapped),
        ];
        assert_eq!(strip(&extents, 400, 4), "#..+");
        assert_eq!(strip(&extents, 400, 8), "##.....s");
        assert_eq!(strip(&extents, 400, 1), "+");
        // More signs than bytes, and more bytes than half of 64 bits.
        assert_eq!(strip(&[extent(0, 2, Residence::Resident)], 2, 4), "####");
        assert_eq!(strip(&[extent(0, u64::MAX, Residence::Unknown)], u64::MAX, 3), "???");
    }
}
