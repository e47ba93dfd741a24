//! A part of a segment.

use crate::error::{Error, Kind};
use crate::model::{ShmId, Size};

/// Bytes of a segment, known to lie within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    /// The first byte.
    pub(crate) offset: u64,
    /// The byte behind the last.
    pub(crate) end: u64,
}

impl Range {
    /// Takes `length` bytes from `offset` on, or all that follow it.
    ///
    /// # Errors
    /// The range leaves the segment.
    pub(crate) fn within(id: ShmId, size: u64, offset: u64, length: Option<u64>) -> Result<Self, Error> {
        let outside = |message: String| {
            Err(Error::new(Kind::Failed, message)
                .target(id.to_string())
                .cause(format!("segment {id} has {}, offsets 0 to {}", Size(size), size.saturating_sub(1)))
                .hint(format!("`shmadm stat {id}` shows its size")))
        };
        if offset > size {
            return outside(format!("offset {offset} is outside of segment {id}"));
        }
        match length.map_or(Some(size), |length| offset.checked_add(length)) {
            Some(end) if end <= size => Ok(Self { offset, end }),
            _ => outside(format!(
                "{} from offset {offset} on reach outside of segment {id}",
                Size(length.unwrap_or_default())
            )),
        }
    }

    /// Gives the number of bytes.
    pub(crate) fn length(self) -> u64 {
        self.end - self.offset
    }

    /// Cuts the range into pieces of at most so many bytes, each with its offset.
    pub(super) fn pieces(self, most: usize) -> impl Iterator<Item = (u64, usize)> {
        let mut offset = self.offset;
        std::iter::from_fn(move || {
            let left = self.end - offset;
            let piece = usize::try_from(left).map_or(most, |left| left.min(most));
            let start = offset;
            offset += piece as u64;
            (piece > 0).then_some((start, piece))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_stay_within_the_segment_and_nothing_wraps() {
        let id = ShmId::new(5).unwrap();
        let range = |offset, length| Range::within(id, 100, offset, length).ok().map(|range| (range.offset, range.end));
        assert_eq!(range(0, None), Some((0, 100)));
        assert_eq!(range(100, None), Some((100, 100)));
        assert_eq!(range(100, Some(0)), Some((100, 100)));
        assert_eq!(range(10, Some(90)), Some((10, 100)));
        assert_eq!(range(101, None), None);
        assert_eq!(range(10, Some(91)), None);
        assert_eq!(range(10, Some(u64::MAX)), None);
        assert_eq!(range(u64::MAX, Some(0)), None);
    }

    #[test]
    fn pieces_cover_a_range_once() {
        let range = Range { offset: 3, end: 13 };
        assert_eq!(range.pieces(4).collect::<Vec<_>>(), [(3, 4), (7, 4), (11, 2)]);
        assert_eq!(Range { offset: 3, end: 3 }.pieces(4).count(), 0);
    }
}
