//! Finds which parts of a segment or POSIX object are resident, swapped or holes.

use std::fs::File;
use std::os::fd::AsFd;

use super::range::Range;
use super::source::{Backend, Part, Source, resident, resident_and_certainty};
use crate::error::Error;
use crate::model::{Extent, Object, Residence};
use crate::query::System;
use crate::sys::{self, Errno};

/// Returns the extents of a segment or POSIX object, without touching its memory.
pub(crate) fn extents(system: &System, source: &Source, object: &Object) -> Result<Vec<Extent>, Error> {
    let whole = Range { offset: 0, end: source.size() };
    let mut extents = Vec::new();
    if source.is_huge(system) {
        // Neither lseek nor mincore shows huge pages that only other processes have touched. Their number is known.
        let residence = match source.resident().or(object.rss) {
            Some(0) => Residence::Untouched,
            Some(bytes) if bytes >= source.size() => Residence::Resident,
            _ => Residence::Unknown,
        };
        push(&mut extents, whole, residence);
        return Ok(extents);
    }
    match &source.backend {
        // Fails without write permission on the object, and before Linux 6.5.
        Backend::File(file, None) if !object.is_segment() && bisect(system, file, whole, &mut extents).is_ok() => {}
        Backend::File(_, attachment) => {
            extents.clear();
            let parts = source.parts(whole).collect::<Result<Vec<_>, _>>()?;
            let hole = residence_of_holes(&parts, object, system.page_size());
            for part in parts {
                match (part, attachment) {
                    (Part::Hole(range), _) => push(&mut extents, range, hole),
                    // Only for data, since mincore takes time for each page.
                    (Part::Data(data), Some(attachment)) => {
                        split(&mut extents, data, &resident(system, attachment, data)?, Residence::Swapped);
                    }
                    // mincore requires an attachment of this process. If nothing is swapped, data is resident.
                    (Part::Data(data), None) if object.swap == Some(0) => push(&mut extents, data, Residence::Resident),
                    (Part::Data(data), None) => push(&mut extents, data, Residence::Unknown),
                }
            }
        }
        Backend::Mapping(attachment, _) => {
            let (resident, others_are_holes) = resident_and_certainty(system, attachment, whole)?;
            let missing = if others_are_holes { Residence::Untouched } else { Residence::Unknown };
            split(&mut extents, whole, &resident, missing);
        }
    }
    Ok(extents)
}

/// Returns what the holes of a file are: lseek(2) also reports pages as holes that fallocate(2) has allocated.
fn residence_of_holes(parts: &[Part], object: &Object, page: u64) -> Residence {
    let data =
        parts.iter().map(|part| if let Part::Data(data) = part { data.length().next_multiple_of(page) } else { 0 });
    let data: u64 = data.sum();
    match object.as_posix() {
        Some(posix) if posix.allocated > data => Residence::Unknown,
        _ => Residence::Untouched,
    }
}

/// Adds the parts of a file, as cachestat(2) counts their pages: a part with pages in several states is halved.
fn bisect(system: &System, file: &File, range: Range, extents: &mut Vec<Extent>) -> Result<(), Errno> {
    let page = system.page_size();
    if range.length() == 0 {
        return Ok(());
    }
    let all = range.length().next_multiple_of(page);
    let residence = match sys::cache_state(file.as_fd(), range.offset, range.length(), page)? {
        (0, 0) => Residence::Untouched,
        (resident, _) if resident >= all => Residence::Resident,
        (0, swapped) if swapped >= all => Residence::Swapped,
        _ if all > page => {
            let middle = range.offset + (all / page / 2) * page;
            bisect(system, file, Range { end: middle, ..range }, extents)?;
            return bisect(system, file, Range { offset: middle, ..range }, extents);
        }
        // It was counted while it was swapped in or out.
        _ => Residence::Unknown,
    };
    push(extents, range, residence);
    Ok(())
}

/// Adds a range, and merges it with an adjacent one of the same residence.
fn push(extents: &mut Vec<Extent>, range: Range, residence: Residence) {
    match extents.last_mut() {
        _ if range.length() == 0 => {}
        Some(last) if last.residence == residence => last.length += range.length(),
        _ => extents.push(Extent { offset: range.offset, length: range.length(), residence }),
    }
}

/// Adds a range in which the given parts are resident, and the others have the residence `missing`.
fn split(extents: &mut Vec<Extent>, range: Range, resident: &[Range], missing: Residence) {
    let mut offset = range.offset;
    for part in resident {
        push(extents, Range { offset, end: part.offset }, missing);
        push(extents, *part, Residence::Resident);
        offset = part.end;
    }
    push(extents, Range { offset, end: range.end }, missing);
}
