//! Extents: where the memory of an object is.

use serde::Serialize;

use super::named;

named! {
    pub(crate) enum Residence {
        Resident = "resident",
        Swapped = "swapped",
        /// A hole: never allocated, reads as zeros.
        Untouched = "untouched",
        /// Not resident, or not known at all.
        Unknown = "unknown",
    }
}

impl Residence {
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Extent {
    pub(crate) offset: u64,
    pub(crate) length: u64,
    #[serde(rename = "state")]
    pub(crate) residence: Residence,
}
