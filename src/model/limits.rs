//! The kernel's limits on shared memory, and how much of them is used.

use serde::Deserialize;

/// Limits of one IPC namespace (`struct shminfo`, /proc/sys/kernel).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Limits {
    /// Most segments that may exist.
    pub(crate) shmmni: u64,
    /// Largest segment, in bytes.
    pub(crate) shmmax: u64,
    /// Most pages that all segments may have together.
    pub(crate) shmall: u64,
    /// Smallest segment, in bytes.
    pub(crate) shmmin: u64,
    /// Bytes in a page.
    pub(crate) page_size: u64,
    /// Whether segments die with their last attachment or their creator; `None` where /proc/sys does not tell.
    pub(crate) rmid_forced: Option<bool>,
}

/// Use of one IPC namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Segments that exist.
    pub(crate) segments: u64,
    /// Pages that they may take.
    pub(crate) pages: u64,
    /// Sum of their sizes in bytes; unreserved segments can together pass 64 bits.
    pub(crate) size: u128,
    /// Resident bytes.
    pub(crate) rss: u128,
    /// Swapped bytes.
    pub(crate) swap: u128,
}
