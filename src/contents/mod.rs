//! Copies bytes into and out of objects: attached segments, and the files of POSIX objects.
//!
//! No reference or slice to shared memory exists anywhere: other processes write it at any time, so that would be
//! undefined behavior, and touching a missing huge page raises SIGBUS. The kernel copies instead. read(2), write(2),
//! sendfile(2) and vmsplice(2) take an address and a length that were checked against the size, and fail with EFAULT if
//! a page cannot be allocated. Bytes that are needed in this process's memory, such as for a hex dump, are copied by
//! process_vm_readv(2).

mod checksum;
mod dump;
mod extents;
mod range;
mod read;
mod source;
mod transfer;
mod value;
mod write;

pub(crate) use checksum::{ALGORITHM, Piece};
pub(crate) use dump::{checksum_of_file, copy_from_file, copy_to_file};
pub(crate) use extents::extents;
pub(crate) use range::Range;
pub(crate) use read::{copy, for_each_chunk, for_each_piece, load, send};
pub(crate) use source::{Allocation, Source};
pub(crate) use transfer::{Progress, Sink};
pub(crate) use value::{Decoder, ValueType, encode};
pub(crate) use write::{Received, copy_in, fill, receive, receive_sparse, store};

pub(crate) use crate::sys::{Opening, open_nonblocking, refer_through, stdin_is_closed};
