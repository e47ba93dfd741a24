//! A segment, as every source tells of it.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

use super::{Attachers, Key, Mode, Stamp, State};

/// The number by which the kernel knows a segment (`shmid`); never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(transparent)]
pub(crate) struct ShmId(i32);

impl ShmId {
    /// Takes an id as the kernel gives it; `None` if it is negative.
    pub(crate) const fn new(id: i32) -> Option<Self> {
        if id < 0 { None } else { Some(Self(id)) }
    }

    /// Gives the kernel's number.
    pub(crate) const fn raw(self) -> i32 {
        self.0
    }
}

impl fmt::Display for ShmId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A System V shared memory segment: `struct shmid_ds`, /proc/sysvipc/shm, and what is concluded from them.
///
/// The parts that [`Needs`](super::Needs) names are `None` until they were asked for.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Segment {
    /// Its id.
    pub(crate) id: ShmId,
    /// Its key; 0 for a private one, and from the moment it is marked for destruction.
    pub(crate) key: Key,
    /// Size in bytes, as asked for and not rounded to pages.
    pub(crate) size: u64,
    /// Permission bits.
    pub(crate) mode: Mode,
    /// Owner's user id.
    pub(crate) uid: u32,
    /// Owner's name.
    pub(crate) owner: Option<Arc<str>>,
    /// Owner's group id.
    pub(crate) gid: u32,
    /// Owner's group's name.
    pub(crate) group: Option<Arc<str>>,
    /// Creator's user id.
    pub(crate) cuid: u32,
    /// Creator's name.
    pub(crate) creator: Option<Arc<str>>,
    /// Creator's group id.
    pub(crate) cgid: u32,
    /// Creator's group's name.
    pub(crate) creator_group: Option<Arc<str>>,
    /// Process that created it; `None` if that lies outside this pid namespace.
    // A record says so with null: one that says nothing was written without it.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) cpid: Option<i32>,
    /// Process that attached or detached last; `None` if there was none or it lies outside.
    pub(crate) lpid: Option<i32>,
    /// Attachments, counted as mappings.
    pub(crate) nattch: u64,
    /// Last attach.
    pub(crate) atime: Option<Stamp>,
    /// Last detach.
    pub(crate) dtime: Option<Stamp>,
    /// Creation, or last change by IPC_SET.
    pub(crate) ctime: Option<Stamp>,
    /// Seconds since it was last attached, detached or changed; `None` while attached.
    pub(crate) idle_seconds: Option<u64>,
    /// Marked for destruction (SHM_DEST).
    pub(crate) dest: bool,
    /// Locked in memory (SHM_LOCKED).
    pub(crate) locked: bool,
    /// Resident bytes.
    pub(crate) rss: Option<u64>,
    /// Swapped bytes.
    pub(crate) swap: Option<u64>,
    /// The verdict.
    pub(crate) state: Option<State>,
    /// Number of its IPC namespace.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) ns: Option<u64>,
    /// Command line of the creator, while it lives.
    #[serde(skip)]
    pub(crate) creator_command: Option<Arc<str>>,
    /// Command line of the last user, while it lives.
    #[serde(skip)]
    pub(crate) last_command: Option<Arc<str>>,
    /// Who has it attached.
    #[serde(skip)]
    pub(crate) attachers: Option<Arc<Attachers>>,
    /// The container or unit to which its namespace belongs.
    #[serde(skip)]
    pub(crate) container: Option<Arc<str>>,
}

impl Segment {
    /// Gives a segment of root's with a size of one byte, of which nothing else is known, for tests to fill in.
    #[cfg(test)]
    pub(crate) fn bare() -> Self {
        let record = r#"{"id":0,"key":"0x00000000","size":1,"mode":"0600","uid":0,"owner":null,"gid":0,"group":null,
            "cuid":0,"creator":null,"cgid":0,"creator_group":null,"cpid":null,"lpid":null,"nattch":0,"atime":null,
            "dtime":null,"ctime":null,"idle_seconds":null,"dest":false,"locked":false,"rss":null,"swap":null,
            "state":null,"ns":null}"#;
        serde_json::from_str(record).unwrap()
    }

    /// Tells whether two records are of one and the same segment, unchanged in what removal depends on.
    pub(crate) fn is_still(&self, earlier: &Self) -> bool {
        let identity = |segment: &Self| (segment.id, segment.key, segment.cuid, segment.cgid, segment.cpid);
        identity(self) == identity(earlier) && self.ctime == earlier.ctime && self.size == earlier.size
    }

    /// Tells whether two records of a segment agree in what its owner decides; a change time has no more than seconds.
    pub(crate) fn is_kept_like(&self, earlier: &Self) -> bool {
        let kept = |segment: &Self| (segment.uid, segment.gid, segment.mode, segment.locked);
        kept(self) == kept(earlier)
    }
}

/// What an attachment may do with the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// SHM_RDONLY.
    ReadOnly,
    /// Reading and writing.
    ReadWrite,
}

impl Access {
    /// Gives the contract's word.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::ReadOnly => "ro",
            Self::ReadWrite => "rw",
        }
    }
}

/// An attachment as `attach` reports it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attached {
    /// The segment.
    pub(crate) id: ShmId,
    /// The process that holds it.
    pub(crate) pid: i32,
    /// Where it begins in that process.
    pub(crate) address: u64,
    /// The segment's size in bytes.
    pub(crate) size: u64,
    /// What it may do.
    pub(crate) access: Access,
}
