//! Extents: where the memory of an object is.

use serde::Serialize;

/// Where memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Residence {
    Resident,
    Swapped,
    /// A hole: never allocated, reads as zeros.
    Untouched,
    /// Not resident, or not known at all.
    Unknown,
}

impl Residence {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Resident => "resident",
            Self::Swapped => "swapped",
            Self::Untouched => "untouched",
            Self::Unknown => "unknown",
        }
    }

    /// Returns the character in the picture of `map`.
    pub(crate) const fn symbol(self) -> char {
        match self {
            Self::Resident => '#',
            Self::Swapped => 's',
            Self::Untouched => '.',
            Self::Unknown => '?',
        }
    }
}

/// A range with the same residence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Extent {
    pub(crate) offset: u64,
    pub(crate) length: u64,
    #[serde(rename = "state")]
    pub(crate) residence: Residence,
}
