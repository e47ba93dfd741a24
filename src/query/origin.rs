//! Where a mapping is from: the file behind it, or else the namespace of its process.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::UNIX_EPOCH;

use super::System;
use super::processes::Hit;
use crate::model::Segment;
use crate::sys;

/// How many seconds may lie between the birth of a segment's file and the creation that the segment remembers, either way:
/// none, but for the turn of a second in between, and for clocks of which one runs ahead of the other by a tick.
const BIRTH_SLACK: u64 = 1;

/// What tells the file behind a mapping from others of its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The file itself, which privilege can see.
    File {
        /// Its handle, where its file system has one.
        handle: Option<Vec<u8>>,
        /// When it was born, in seconds and nanoseconds.
        birth: (i64, i64),
        /// Its bytes; of a segment of huge pages, rounded up.
        size: u64,
        /// Bytes in its pages.
        page: u64,
    },
    /// No more than the namespace that the process is in now.
    Home(Option<u64>),
}

impl Origin {
    /// Looks at the file behind a mapping, and else at the process.
    pub(super) fn of(system: &System, hit: &Hit) -> Self {
        let Hit { mapping, ns, .. } = hit;
        let file = hit.ask(system, |thread| {
            let path = system.proc().join(map_file(thread, mapping.start, mapping.end));
            Ok((std::fs::metadata(&path)?, sys::file_handle(&path)))
        });
        match file {
            Ok((file, handle)) if file.ino() == mapping.inode => {
                Self::File { handle, birth: birth_of(&file), size: file.size(), page: file.blksize() }
            }
            _ => Self::Home(*ns),
        }
    }

    /// Tells whether it can be the file of a segment: one as large.
    pub(super) fn fits(&self, segment: &Segment) -> bool {
        match self {
            Self::File { size, page, .. } => {
                *size == segment.size || segment.size.checked_next_multiple_of(*page) == Some(*size)
            }
            Self::Home(_) => true,
        }
    }

    /// Gives how many seconds lie between its birth and a segment's creation, if that was at once; a segment that was
    /// changed since has forgotten when that was.
    pub(super) fn made_with(&self, segment: &Segment) -> Option<u64> {
        match (self, segment.ctime) {
            (Self::File { birth, .. }, Some(ctime)) => {
                Some(ctime.0.abs_diff(birth.0)).filter(|seconds| *seconds <= BIRTH_SLACK)
            }
            _ => None,
        }
    }

    /// Tells whether it was born after the segment was last changed, which can be no file of it unless a clock was set.
    pub(super) fn younger_than(&self, segment: &Segment) -> bool {
        match (self, segment.ctime) {
            (Self::File { birth, .. }, Some(ctime)) => birth.0 > ctime.0.saturating_add(BIRTH_SLACK.cast_signed()),
            _ => false,
        }
    }
}

/// Returns the path, below the root of /proc, of the file behind a mapping of a thread. There is none below the
/// `task` directory of a process.
pub(super) fn map_file(thread: i32, start: u64, end: u64) -> String {
    format!("{thread}/map_files/{start:x}-{end:x}")
}

/// Gives the moment in which a file was made; hugetlbfs keeps that of its last change alone, which is the same here.
fn birth_of(file: &Metadata) -> (i64, i64) {
    match file.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()) {
        Some(since) => (since.as_secs().cast_signed(), i64::from(since.subsec_nanos())),
        None => (file.ctime(), file.ctime_nsec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Stamp;

    /// Makes a segment of a size that was made at a moment.
    fn segment(size: u64, ctime: i64) -> Segment {
        Segment { size, ctime: Some(Stamp(ctime)), ..Segment::bare() }
    }

    #[test]
    fn a_file_is_of_the_segment_that_was_made_with_it() {
        let file = Origin::File { handle: None, birth: (1000, 999_999_999), size: 8192, page: 4096 };
        for (ctime, with, younger) in [
            (998, None, true),
            (999, Some(1), false),
            (1000, Some(0), false),
            (1001, Some(1), false),
            (1002, None, false),
        ] {
            let made = segment(8192, ctime);
            assert_eq!((file.made_with(&made), file.younger_than(&made)), (with, younger), "{ctime}");
        }
        let home = Origin::Home(Some(1));
        assert_eq!((home.made_with(&segment(1, 1000)), home.younger_than(&segment(1, 0))), (None, false));
    }

    #[test]
    fn a_file_is_as_large_as_its_segment_and_one_of_huge_pages_is_rounded_up() {
        let of = |size, page| Origin::File { handle: None, birth: (0, 0), size, page };
        assert!(of(5000, 4096).fits(&segment(5000, 0)) && !of(5001, 4096).fits(&segment(5000, 0)));
        assert!(of(4 << 20, 2 << 20).fits(&segment((2 << 20) + 1, 0)));
        assert!(!of(4 << 20, 2 << 20).fits(&segment(2 << 20, 0)));
        assert!(Origin::Home(None).fits(&segment(5, 0)));
    }
}
