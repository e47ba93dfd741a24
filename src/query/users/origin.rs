//! The origin of a mapping: the file that it maps, or the IPC namespace of its process.
//!
//! Segments of different IPC namespaces can have the same id, and with it the same inode number. With privilege, the
//! file itself is visible in /proc/PID/map_files: its handle distinguishes it from other files (a part of it is
//! random), and its size and birth time show which segment it is. A segment's ctime is its creation time unless the
//! segment was changed. Without privilege, the IPC namespace that the process is in now is the best guess.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

use crate::model::{Mapping, Object};
use crate::sys;

/// Maximum number of seconds between the birth of a segment's file and the segment's creation time, either way. Both
/// are taken at once, but the second can change in between, and the coarse clock of file times lags by up to a tick.
const BIRTH_SLACK: u64 = 1;

/// What distinguishes the file of a mapping from others with the same inode number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The file, if privilege shows it.
    File {
        /// `None` on hugetlbfs, which has no handles.
        handle: Option<Vec<u8>>,
        /// In seconds and nanoseconds.
        birth: (i64, i64),
        /// In bytes; rounded up to whole huge pages.
        size: u64,
        page: u64,
    },
    /// The IPC namespace that the process is in now.
    Namespace(Option<u64>),
}

impl Origin {
    /// Reads the file that a thread maps; `None` if another file was mapped there meanwhile.
    pub(super) fn of_file(proc: &Path, thread: i32, vma: &Mapping) -> io::Result<Option<Self>> {
        // Opened once, since to look up such a path takes longer than both calls on the descriptor.
        let file = File::from(sys::refer_through(&proc.join(map_file(thread, vma.start, vma.end)))?);
        let metadata = file.metadata()?;
        Ok((metadata.ino() == vma.inode).then(|| Self::File {
            handle: sys::file_handle(file.as_fd()),
            birth: birth_of(&metadata),
            size: metadata.size(),
            page: metadata.blksize(),
        }))
    }

    pub(super) fn size_matches(&self, segment: &Object) -> bool {
        match self {
            Self::File { size, page, .. } => {
                *size == segment.size || segment.size.checked_next_multiple_of(*page) == Some(*size)
            }
            Self::Namespace(_) => true,
        }
    }

    /// Returns the seconds between the file's birth and the segment's ctime, if they are few enough to be one event.
    /// IPC_SET overwrites the creation time.
    pub(super) fn birth_distance(&self, segment: &Object) -> Option<u64> {
        match (self, segment.ctime) {
            (Self::File { birth, .. }, Some(ctime)) => {
                Some(ctime.0.abs_diff(birth.0)).filter(|seconds| *seconds <= BIRTH_SLACK)
            }
            _ => None,
        }
    }

    /// Returns whether the file was born after the segment's last change. Such a file is another segment's, unless the
    /// clock was set.
    pub(super) fn born_after_change(&self, segment: &Object) -> bool {
        match (self, segment.ctime) {
            (Self::File { birth, .. }, Some(ctime)) => birth.0 > ctime.0.saturating_add(BIRTH_SLACK.cast_signed()),
            _ => false,
        }
    }
}

/// Returns the path, below /proc, of the file that a thread maps. The `task` directories have no `map_files`.
pub(super) fn map_file(thread: i32, start: u64, end: u64) -> String {
    format!("{thread}/map_files/{start:x}-{end:x}")
}

/// Returns the time at which a file was created. hugetlbfs has only the time of the last change, which is the same
/// here.
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

    fn segment(size: u64, ctime: i64) -> Object {
        Object { size, ctime: Some(Stamp(ctime)), ..Object::default() }
    }

    #[test]
    fn a_file_belongs_to_a_segment_created_at_the_same_time() {
        let file = Origin::File { handle: None, birth: (1000, 999_999_999), size: 8192, page: 4096 };
        let judge = |ctime| {
            let created = segment(8192, ctime);
            (file.birth_distance(&created), file.born_after_change(&created))
        };
        let expected = [(None, true), (Some(1), false), (Some(0), false), (Some(1), false), (None, false)];
        assert_eq!([998, 999, 1000, 1001, 1002].map(judge), expected);
    }

    #[test]
    fn a_file_has_the_size_of_its_segment_rounded_up_to_huge_pages() {
        let of = |size, page| Origin::File { handle: None, birth: (0, 0), size, page };
        assert!(of(5000, 4096).size_matches(&segment(5000, 0)) && !of(5001, 4096).size_matches(&segment(5000, 0)));
        assert!(of(4 << 20, 2 << 20).size_matches(&segment((2 << 20) + 1, 0)));
        assert!(!of(4 << 20, 2 << 20).size_matches(&segment(2 << 20, 0)));
        assert!(Origin::Namespace(None).size_matches(&segment(5, 0)));
    }
}
