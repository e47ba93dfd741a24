//! The kernel's limits on shared memory, and their usage.

use serde::{Deserialize, Serialize};

use super::{Device, named};

/// Limits of one IPC namespace (`struct shminfo`, /proc/sys/kernel).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Limits {
    pub(crate) shmmni: u64,
    /// The largest size of a segment in bytes.
    pub(crate) shmmax: u64,
    /// The largest number of pages of all segments.
    pub(crate) shmall: u64,
    pub(crate) shmmin: u64,
    pub(crate) page_size: u64,
    /// `kernel.shm_rmid_forced`: segments are destroyed at the last detach or when the creator exits. `None` if
    /// /proc/sys cannot be read.
    pub(crate) rmid_forced: Option<bool>,
}

named! {
    /// Which files of a tmpfs get huge pages (its mount option `huge`).
    pub(crate) enum HugePages {
        Never = "never",
        Always = "always",
        WithinSize = "within_size",
        Advise = "advise",
    }
}

/// The file system of POSIX objects and what is used of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct PosixUsage {
    pub(crate) mount: String,
    pub(crate) dev: Device,
    /// In bytes; 0 means unlimited.
    pub(crate) size: u64,
    /// `None` if the size is unlimited: then the kernel counts nothing.
    pub(crate) used: Option<u64>,
    /// 0 means unlimited.
    pub(crate) inodes: u64,
    /// `None` if their number is unlimited.
    pub(crate) inodes_used: Option<u64>,
    /// The bytes of objects without a name; `None` if unknown.
    pub(crate) unlinked: Option<u64>,
    /// Their number; `None` unless those that were found hold all of these bytes.
    #[serde(skip)]
    pub(crate) unlinked_files: Option<u64>,
    /// Whether it is a hugetlbfs.
    pub(crate) huge: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Usage {
    pub(crate) segments: u64,
    /// Pages, as the kernel counts them against shmall.
    pub(crate) pages: u64,
    /// Sizes in bytes. With SHM_NORESERVE, their sum can exceed 64 bits.
    pub(crate) size: u128,
    pub(crate) rss: u128,
    pub(crate) swap: u128,
}
