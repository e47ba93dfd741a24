//! The state of an object, and the outcome of its removal.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whether a segment is in use, or may still be used by its creator or its last user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// Attached.
    InUse,
    /// Marked for destruction and still attached.
    Dest,
    /// Not attached; its creator or its last user is running.
    Idle,
    /// Not attached; whether its creator or its last user is running cannot be determined.
    Unknown,
    /// Not attached; its creator and its last user have exited.
    Orphan,
}

impl State {
    /// Every state, in the order of the help.
    pub(crate) const ALL: [Self; 5] = [Self::InUse, Self::Dest, Self::Idle, Self::Unknown, Self::Orphan];

    /// Returns the name in arguments and output.
    pub(crate) const fn as_str(self) -> &'static str {
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
        formatter.pad(self.as_str())
    }
}

/// The outcome of a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    Destroyed,
    /// Marked for destruction: without a key, and destroyed at the last detach.
    Marked,
}

impl Outcome {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Destroyed => "destroyed",
            Self::Marked => "marked",
        }
    }
}
