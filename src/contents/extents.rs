//! Finds which parts of a segment are resident, swapped or holes.

use super::source::resident;
use super::transfer::failed;
use super::{Part, Range, Source};
use crate::error::Error;
use crate::model::{Extent, Object, Residence};
use crate::query::{Swap, System};

/// Returns the extents of a segment, without touching its memory.
pub(crate) fn extents(system: &System, source: &Source, segment: &Object) -> Result<Vec<Extent>, Error> {
    let size = source.size();
    let mut map = Map { extents: Vec::new() };
    let all = |residence| vec![Extent { offset: 0, length: size, residence }];
    if source.is_huge(system) {
        // Neither lseek nor mincore shows huge pages that only other processes have touched. Their number is known.
        return Ok(match source.resident().or(segment.rss) {
            Some(0) => all(Residence::Untouched),
            Some(bytes) if bytes >= size => all(Residence::Resident),
            _ => all(Residence::Unknown),
        });
    }
    let before = Swap::now(system, segment.sysv().id);
    // Called only for data, since mincore takes time for each page.
    let resident = |offset, end| {
        let found = source.attachment().map(|attachment| resident(system, attachment, Range { offset, end }));
        found.transpose().map_err(|errno| failed(segment.sysv().id, offset, "inspect", errno, "mincore"))
    };
    let has_file = source.file().is_some();
    let missing = if has_file { Residence::Swapped } else { Residence::Untouched };
    let mut offset = 0;
    while offset < size {
        let part = if has_file { source.part(offset, size)? } else { Part::Data(size) };
        match part {
            Part::Hole(end) => map.push(offset, end, Residence::Untouched),
            Part::Data(end) => match resident(offset, end)? {
                Some(resident) => map.split(offset, end, &resident, missing),
                // Without an attachment of this process there is no mincore. If nothing is swapped, data is resident.
                None if segment.swap == Some(0) => map.push(offset, end, Residence::Resident),
                None => map.push(offset, end, Residence::Unknown),
            },
        }
        offset = part.end();
    }
    if !has_file && !before.rules_out(Swap::now(system, segment.sysv().id)) {
        // Pages that are not resident may be in swap.
        let absent = map.extents.iter_mut().filter(|extent| extent.residence == Residence::Untouched);
        absent.for_each(|extent| extent.residence = Residence::Unknown);
    }
    Ok(map.extents)
}

/// Collects extents, and merges adjacent ones with the same residence.
struct Map {
    extents: Vec<Extent>,
}

impl Map {
    fn push(&mut self, offset: u64, end: u64, residence: Residence) {
        if end <= offset {
            return;
        }
        match self.extents.last_mut() {
            Some(last) if last.residence == residence => last.length += end - offset,
            _ => self.extents.push(Extent { offset, length: end - offset, residence }),
        }
    }

    /// Adds a range in which the given parts are resident, and the others have the residence `missing`.
    fn split(&mut self, offset: u64, end: u64, resident: &[(u64, u64)], missing: Residence) {
        let mut offset = offset;
        let first = resident.partition_point(|(_, until)| *until <= offset);
        for (start, until) in &resident[first..] {
            if *start >= end {
                break;
            }
            self.push(offset, *start, missing);
            self.push((*start).max(offset), (*until).min(end), Residence::Resident);
            offset = (*until).min(end);
        }
        self.push(offset, end, missing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_parts_split_an_extent() {
        let mut map = Map { extents: Vec::new() };
        map.push(0, 10, Residence::Untouched);
        map.split(10, 50, &[(0, 12), (20, 30), (45, 90)], Residence::Swapped);
        map.push(50, 60, Residence::Resident);
        let found: Vec<_> = map.extents.iter().map(|part| (part.offset, part.length, part.residence)).collect();
        assert_eq!(
            found,
            [
                (0, 10, Residence::Untouched),
                (10, 2, Residence::Resident),
                (12, 8, Residence::Swapped),
                (20, 10, Residence::Resident),
                (30, 15, Residence::Swapped),
                (45, 15, Residence::Resident),
            ]
        );
    }
}
