//! The record of a segment, regardless of its source.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

use super::{Attachers, Key, Mode, Stamp, State};

/// The id of a segment (`shmid`), never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(transparent)]
pub(crate) struct ShmId(i32);

impl ShmId {
    /// Returns `None` for a negative number.
    pub(crate) const fn new(id: i32) -> Option<Self> {
        if id < 0 { None } else { Some(Self(id)) }
    }

    pub(crate) const fn raw(self) -> i32 {
        self.0
    }
}

impl fmt::Display for ShmId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A System V shared memory segment: the fields of `struct shmid_ds` or /proc/sysvipc/shm, and what is derived from them.
///
/// The fields that [`Needs`](super::Needs) names are `None` unless they were requested.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Segment {
    pub(crate) id: ShmId,
    /// 0 for a private segment and after it was marked for destruction.
    pub(crate) key: Key,
    /// Size in bytes as requested, not rounded up to pages.
    pub(crate) size: u64,
    pub(crate) mode: Mode,
    pub(crate) uid: u32,
    pub(crate) owner: Option<Arc<str>>,
    pub(crate) gid: u32,
    pub(crate) group: Option<Arc<str>>,
    pub(crate) cuid: u32,
    pub(crate) creator: Option<Arc<str>>,
    pub(crate) cgid: u32,
    pub(crate) creator_group: Option<Arc<str>>,
    /// Process that created it; `None` if it is outside this pid namespace.
    // Unknown is null. deserialize_with makes a missing field an error: it was not asked for.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) cpid: Option<i32>,
    /// Process that attached or detached last; `None` if there was none or it is outside this pid namespace.
    pub(crate) lpid: Option<i32>,
    /// Attachments, counted as mappings: one process can have several.
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
    pub(crate) state: Option<State>,
    /// Number of its IPC namespace.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) ns: Option<u64>,
    /// Command line of the creator, while it is running.
    #[serde(skip)]
    pub(crate) creator_command: Option<Arc<str>>,
    /// Command line of the last user, while it is running.
    #[serde(skip)]
    pub(crate) last_command: Option<Arc<str>>,
    #[serde(skip)]
    pub(crate) attachers: Option<Arc<Attachers>>,
    /// The container or unit to which its namespace belongs.
    #[serde(skip)]
    pub(crate) container: Option<Arc<str>>,
}

impl Segment {
    /// Returns a segment of root with a size of one byte. Everything else is unknown.
    #[cfg(test)]
    pub(crate) fn bare() -> Self {
        let record = r#"{"id":0,"key":"0x00000000","size":1,"mode":"0600","uid":0,"owner":null,"gid":0,"group":null,
            "cuid":0,"creator":null,"cgid":0,"creator_group":null,"cpid":null,"lpid":null,"nattch":0,"atime":null,
            "dtime":null,"ctime":null,"idle_seconds":null,"dest":false,"locked":false,"rss":null,"swap":null,
            "state":null,"ns":null}"#;
        serde_json::from_str(record).unwrap()
    }

    /// Returns whether two records belong to the same segment, and its key and change time are the same.
    pub(crate) fn is_same_segment(&self, earlier: &Self) -> bool {
        let identity = |segment: &Self| (segment.id, segment.key, segment.cuid, segment.cgid, segment.cpid);
        identity(self) == identity(earlier) && self.ctime == earlier.ctime && self.size == earlier.size
    }

    /// Returns whether owner, group, mode and lock are the same. The change time has a resolution of one second, so it does
    /// not show every change.
    pub(crate) fn has_same_attributes(&self, earlier: &Self) -> bool {
        let attributes = |segment: &Self| (segment.uid, segment.gid, segment.mode, segment.locked);
        attributes(self) == attributes(earlier)
    }
}

/// The access of an attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// SHM_RDONLY.
    ReadOnly,
    ReadWrite,
}

impl Access {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "ro",
            Self::ReadWrite => "rw",
        }
    }
}

/// An attachment as `attach` reports it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attached {
    pub(crate) id: ShmId,
    /// The attached process.
    pub(crate) pid: i32,
    /// The address in that process.
    pub(crate) address: u64,
    /// The segment's size in bytes.
    pub(crate) size: u64,
    pub(crate) access: Access,
}
