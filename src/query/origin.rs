//! Where a mapping is from: the file behind it, or else the namespace of its process.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::UNIX_EPOCH;

use super::System;
use super::processes::Hit;
use crate::model::Segment;
use crate::sys;

/// How many seconds may lie between the birth of a segment's file and the creation that the segment remembers: none, but
/// for the turn of a second in between.
const BIRTH_SLACK: i64 = 1;

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
        let name = format!("{}/map_files/{:x}-{:x}", hit.pid, hit.mapping.start, hit.mapping.end);
        let path = system.proc().join(name);
        match std::fs::metadata(&path) {
            Ok(file) if file.ino() == hit.mapping.inode => Self::File {
                handle: sys::file_handle(&path),
                birth: birth_of(&file),
                size: file.size(),
                page: file.blksize(),
            },
            _ => Self::Home(hit.ns),
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

    /// Gives how many seconds after its birth a segment was made, if that was at once; a segment that was changed since
    /// has forgotten when that was.
    pub(super) fn made_after(&self, segment: &Segment) -> Option<i64> {
        match (self, segment.ctime) {
            (Self::File { birth, .. }, Some(ctime)) => {
                ctime.0.checked_sub(birth.0).filter(|seconds| (0..=BIRTH_SLACK).contains(seconds))
            }
            _ => None,
        }
    }

    /// Tells whether it was born after the segment was last changed, which can be no file of it unless a clock was set.
    pub(super) fn younger_than(&self, segment: &Segment) -> bool {
        match (self, segment.ctime) {
            (Self::File { birth, .. }, Some(ctime)) => birth.0 > ctime.0,
            _ => false,
        }
    }
}

/// Gives the moment in which a file was made; hugetlbfs keeps that of its last change alone, which is the same here.
fn birth_of(file: &Metadata) -> (i64, i64) {
    match file.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()) {
        Some(since) => (since.as_secs().cast_signed(), i64::from(since.subsec_nanos())),
        None => (file.ctime(), file.ctime_nsec()),
    }
}
