//! What identifies a shared memory object, and where that is unique.

use std::fmt;

use serde::{Deserialize, Serialize};

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

/// The identity of an object in its [`Scope`]. Serialised as the field of a report: `"id":5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Ident {
    Id(ShmId),
}

impl Ident {
    /// Returns the identity as a user types it: `5`.
    pub(crate) fn argument(self) -> String {
        match self {
            Self::Id(id) => id.to_string(),
        }
    }
}

impl From<ShmId> for Ident {
    fn from(id: ShmId) -> Self {
        Self::Id(id)
    }
}

impl fmt::Display for Ident {
    /// Writes the identity as messages name it: `segment 5`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(formatter, "segment {id}"),
        }
    }
}

/// Where an [`Ident`] is unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(from = "u64")]
pub(crate) enum Scope {
    Ipc(u64),
}

impl Scope {
    pub(crate) const fn number(self) -> u64 {
        match self {
            Self::Ipc(number) => number,
        }
    }
}

impl From<u64> for Scope {
    fn from(number: u64) -> Self {
        Self::Ipc(number)
    }
}
