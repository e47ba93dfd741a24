//! Extents: where the memory of a segment is.

/// Where memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// A range of a segment with the same residence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) residence: Residence,
}
