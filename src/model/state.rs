//! The verdict on a segment.

use std::fmt;

use serde::Deserialize;

/// What a segment is good for, by who holds it and who might come back for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// Attached.
    InUse,
    /// Marked for destruction and still attached.
    Dest,
    /// Not attached; its creator or its last user lives.
    Idle,
    /// Not attached, and at least one of the two cannot be judged.
    Unknown,
    /// Not attached; creator and last user are gone.
    Orphan,
}

impl State {
    /// Every state, in the order in which help lists them.
    pub(crate) const ALL: [Self; 5] = [Self::InUse, Self::Dest, Self::Idle, Self::Unknown, Self::Orphan];

    /// Gives the word that users type and read.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::InUse => "in-use",
            Self::Dest => "dest",
            Self::Idle => "idle",
            Self::Unknown => "unknown",
            Self::Orphan => "orphan",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.word())
    }
}
