//! Bytes into a segment.

use std::os::fd::BorrowedFd;

use super::transfer::{fault, interrupted, unreadable};
use super::{Progress, Range};
use crate::error::Error;
use crate::query::System;
use crate::sys::{Attachment, Errno, is_at_end, widen_pipe};

/// How much of a repeated byte is kept to copy from.
const PIECE: usize = 64 << 10;
/// How much one call takes from a descriptor; also how far ahead pages are mapped.
const BULK: usize = 8 << 20;
/// The room that a pipe is given, so that fewer calls empty it (the limit of an unprivileged user, pipe(7)).
const PIPE_ROOM: i32 = 1 << 20;

/// Copies bytes into a range that has their length.
///
/// # Errors
/// A page cannot be had; the message says where, and what lies before that is written.
pub(crate) fn copy_in(attachment: &Attachment, offset: u64, bytes: &[u8]) -> Result<(), Error> {
    attachment
        .copy_in(offset, bytes)
        .map_err(|(done, errno)| fault(attachment, offset + done as u64, "write", errno, "read"))
}

/// Fills a range with one byte.
///
/// # Errors
/// A page cannot be had, or a signal has asked us to end.
pub(crate) fn fill(attachment: &Attachment, range: Range, byte: u8, progress: Progress<'_>) -> Result<(), Error> {
    let room = usize::try_from(range.length()).map_or(PIECE, |length| length.min(PIECE));
    let bytes = vec![byte; room];
    for (offset, length) in range.pieces(room) {
        interrupted()?;
        copy_in(attachment, offset, &bytes[..length])?;
        progress(length as u64);
    }
    Ok(())
}

/// What came from a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// Bytes written to the segment.
    pub(crate) written: u64,
    /// Whether there was more than the range could take.
    pub(crate) more: bool,
}

/// Reads a descriptor to its end into a range, without a detour through our memory.
///
/// # Errors
/// A page cannot be had, or the descriptor cannot be read; the message says how many bytes were written.
pub(crate) fn receive(
    system: &System,
    attachment: &Attachment,
    range: Range,
    from: BorrowedFd<'_>,
    progress: Progress<'_>,
) -> Result<Received, Error> {
    widen_pipe(from, PIPE_ROOM);
    let page_size = usize::try_from(system.page_size()).unwrap_or(4096);
    let mut offset = range.offset;
    let mut mapped = offset;
    let written = |offset: u64| offset - range.offset;
    while offset < range.end {
        // A signal that came while bytes came has interrupted nothing.
        interrupted()?;
        let length = usize::try_from(range.end - offset).map_or(BULK, |left| left.min(BULK));
        if offset >= mapped {
            // Mapping ahead pays for pages that are there, and costs for those that would be made by it.
            let start = offset - offset % system.page_size();
            if attachment.is_resident(start, length, page_size) {
                attachment.populate_write(start, length);
            }
            mapped = offset + length as u64;
        }
        match attachment.receive(offset, length, from) {
            Ok(0) => return Ok(Received { written: written(offset), more: false }),
            Ok(count) => {
                offset += count as u64;
                progress(count as u64);
            }
            Err(Errno::EINTR) => interrupted()?,
            Err(Errno::EFAULT) => {
                let error = fault(attachment, offset, "write", Errno::EFAULT, "read");
                return Err(error.hint(format!("{} bytes were written before it", written(offset))));
            }
            Err(errno) => return Err(unreadable(written(offset), errno)),
        }
    }
    loop {
        match is_at_end(from) {
            Ok(at_end) => return Ok(Received { written: written(offset), more: !at_end }),
            Err(Errno::EINTR) => interrupted()?,
            Err(errno) => return Err(unreadable(written(offset), errno)),
        }
    }
}
