//! What identifies a shared memory object, and where that is unique.

use std::ffi::OsString;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Device, FileId, ObjectName};

/// The id of a segment (`shmid`), never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "i32")]
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

impl TryFrom<i32> for ShmId {
    type Error = String;

    fn try_from(id: i32) -> Result<Self, String> {
        Self::new(id).ok_or_else(|| format!("invalid id {id}"))
    }
}

impl fmt::Display for ShmId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The identity of an object in its [`Scope`]. Serialized as the field of a report: `"id":5`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Ident {
    Id(ShmId),
    /// A POSIX object or named semaphore.
    Name(ObjectName),
    /// A file without a name, or one that is named by its device and inode.
    #[serde(rename = "object")]
    File(FileId),
}

impl Ident {
    /// Returns the identity as a user types it: `5`, `/name` or `obj:0:27:4`.
    pub(crate) fn argument(&self) -> String {
        match self {
            Self::Id(id) => id.to_string(),
            Self::Name(name) => name.to_string(),
            Self::File(file) => format!("obj:{file}"),
        }
    }

    /// Returns the identity as an argument, byte for byte.
    pub(crate) fn typed(&self) -> OsString {
        match self {
            Self::Name(name) => name.argument(),
            Self::Id(_) | Self::File(_) => self.argument().into(),
        }
    }
}

impl From<ShmId> for Ident {
    fn from(id: ShmId) -> Self {
        Self::Id(id)
    }
}

impl fmt::Display for Ident {
    /// Writes the identity as messages name it: `segment 5`, `object /name`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(formatter, "segment {id}"),
            Self::Name(name) if name.is_semaphore() => write!(formatter, "semaphore {name}"),
            Self::Name(name) => write!(formatter, "object {name}"),
            Self::File(file) => write!(formatter, "object {file}"),
        }
    }
}

/// Where an [`Ident`] is unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(from = "u64")]
pub(crate) enum Scope {
    Ipc(u64),
    /// The tmpfs instance on this device.
    Tmpfs(Device),
}

impl Scope {
    /// Returns the number of the IPC namespace.
    pub(crate) const fn ipc_namespace(self) -> Option<u64> {
        match self {
            Self::Ipc(number) => Some(number),
            Self::Tmpfs(_) => None,
        }
    }
}

impl From<u64> for Scope {
    fn from(number: u64) -> Self {
        Self::Ipc(number)
    }
}
