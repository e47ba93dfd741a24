//! Bytes into and out of an attached segment.

mod integer;
mod range;
mod read;
mod transfer;
mod value;
mod write;

pub(crate) use integer::{load, store};
pub(crate) use range::Range;
pub(crate) use read::{each_piece, read_bytes, send};
pub(crate) use value::{ValueType, decode, encode};
pub(crate) use write::{Received, copy_in, fill, receive};
