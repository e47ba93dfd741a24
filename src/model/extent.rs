//! Where the parts of a segment live.

/// Where memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Residence {
    /// In memory.
    Resident,
    /// In swap.
    Swapped,
    /// Nowhere: it was never touched, and reads as zeros.
    Untouched,
    /// In swap or nowhere, or it cannot be told at all.
    Unknown,
}

impl Residence {
    /// Gives the word that reports have for it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Resident => "resident",
            Self::Swapped => "swapped",
            Self::Untouched => "untouched",
            Self::Unknown => "unknown",
        }
    }

    /// Gives the sign that stands for it in a picture.
    pub(crate) const fn sign(self) -> char {
        match self {
            Self::Resident => '#',
            Self::Swapped => 's',
            Self::Untouched => '.',
            Self::Unknown => '?',
        }
    }
}

/// A part of a segment that lives in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Its first byte.
    pub(crate) offset: u64,
    /// Its bytes.
    pub(crate) length: u64,
    /// Where it lives.
    pub(crate) residence: Residence,
}
