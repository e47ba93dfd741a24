//! Bytes into and out of an attached segment.

mod checksum;
mod dump;
mod extents;
mod integer;
mod range;
mod read;
mod source;
mod sparse;
mod transfer;
mod value;
mod workers;
mod write;

pub(crate) use checksum::ALGORITHM;
pub(crate) use dump::{copy_from_file, copy_to_file, sum_of_file};
pub(crate) use extents::extents;
pub(crate) use integer::{copy, load, store};
pub(crate) use range::Range;
pub(crate) use read::{Piece, each_bytes, each_piece, send, send_sparse};
pub(crate) use source::{Allocation, Part, Source};
pub(crate) use sparse::receive_sparse;
pub(crate) use value::{Decoder, ValueType, encode};
pub(crate) use write::{Received, copy_in, fill, receive};

pub(crate) use crate::sys::{open_nonblocking, stdin_is_closed};

/// Is told of so many bytes more that are done, holes included, as they are.
pub(crate) type Progress<'a> = &'a mut dyn FnMut(u64);
