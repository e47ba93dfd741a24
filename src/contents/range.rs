//! A range of bytes within an object.

use crate::error::{Error, Kind};
use crate::model::{Ident, Size};

/// A range that was checked against the size of its object. `end` is exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) offset: u64,
    pub(crate) end: u64,
}

impl Range {
    /// Returns the range of `length` bytes at `offset`, or up to the end of the object.
    /// Fails if the range exceeds the object.
    pub(crate) fn within(ident: impl Into<Ident>, size: u64, offset: u64, length: Option<u64>) -> Result<Self, Error> {
        let exceeds = |what: String| {
            let ident = ident.into();
            let message = format!("{what} exceeds {ident} ({})", Size(size));
            Err(Error::new(Kind::Failed, message).target(ident.argument()))
        };
        if offset > size {
            return exceeds(format!("offset {offset}"));
        }
        // In 128 bits, so that the sum cannot wrap.
        let end = length.map_or(u128::from(size), |length| u128::from(offset) + u128::from(length));
        match u64::try_from(end) {
            Ok(end) if end <= size => Ok(Self { offset, end }),
            _ => exceeds(format!("range {offset}..{end}")),
        }
    }

    pub(crate) fn length(self) -> u64 {
        self.end - self.offset
    }

    /// Returns the length, or `max` if it is less.
    pub(super) fn at_most(self, max: usize) -> usize {
        usize::try_from(self.length()).map_or(max, |length| length.min(max))
    }

    /// Splits the range into pieces of at most `max` bytes, as pairs of offset and length.
    pub(super) fn pieces(self, max: usize) -> impl Iterator<Item = (u64, usize)> {
        let mut rest = self;
        std::iter::from_fn(move || {
            let (offset, length) = (rest.offset, rest.at_most(max));
            rest.offset += length as u64;
            (length > 0).then_some((offset, length))
        })
    }
}
