//! Finds which parts of a segment are resident, swapped or holes.

use super::range::Range;
use super::source::{Backend, Part, Source, resident};
use crate::error::Error;
use crate::model::{Extent, Object, Residence};
use crate::query::{Swap, System};
use crate::sys::Attachment;

/// Returns the extents of a segment, without touching its memory.
pub(crate) fn extents(system: &System, source: &Source, segment: &Object) -> Result<Vec<Extent>, Error> {
    let whole = Range { offset: 0, end: source.size() };
    let mut map = Map::default();
    if source.is_huge(system) {
        // Neither lseek nor mincore shows huge pages that only other processes have touched. Their number is known.
        map.push(
            whole,
            match source.resident().or(segment.rss) {
                Some(0) => Residence::Untouched,
                Some(bytes) if bytes >= source.size() => Residence::Resident,
                _ => Residence::Unknown,
            },
        );
        return Ok(map.extents);
    }
    let resident = |attachment: &Attachment, range| resident(system, attachment, range);
    match &source.backend {
        Backend::File(_, attachment) => {
            for part in source.parts(whole) {
                match (part?, attachment) {
                    (Part::Hole(hole), _) => map.push(hole, Residence::Untouched),
                    // Only for data, since mincore takes time for each page.
                    (Part::Data(data), Some(attachment)) => {
                        map.split(data, &resident(attachment, data)?, Residence::Swapped);
                    }
                    // Without an attachment of this process there is no mincore. If nothing is swapped, data is resident.
                    (Part::Data(data), None) if segment.swap == Some(0) => map.push(data, Residence::Resident),
                    (Part::Data(data), None) => map.push(data, Residence::Unknown),
                }
            }
        }
        Backend::Mapping(attachment, _) => {
            let before = Swap::now(system, segment.sysv().id);
            let resident = resident(attachment, whole)?;
            let may_be_swapped = !before.rules_out(Swap::now(system, segment.sysv().id));
            map.split(whole, &resident, if may_be_swapped { Residence::Unknown } else { Residence::Untouched });
        }
    }
    Ok(map.extents)
}

/// Collects extents, and merges adjacent ones with the same residence.
#[derive(Default)]
struct Map {
    extents: Vec<Extent>,
}

impl Map {
    fn push(&mut self, range: Range, residence: Residence) {
        match self.extents.last_mut() {
            _ if range.length() == 0 => {}
            Some(last) if last.residence == residence => last.length += range.length(),
            _ => self.extents.push(Extent { offset: range.offset, length: range.length(), residence }),
        }
    }

    /// Adds a range in which the given parts are resident, and the others have the residence `missing`.
    fn split(&mut self, range: Range, resident: &[Range], missing: Residence) {
        let mut offset = range.offset;
        for part in resident {
            self.push(Range { offset, end: part.offset }, missing);
            self.push(*part, Residence::Resident);
            offset = part.end;
        }
        self.push(Range { offset, end: range.end }, missing);
    }
}
