//! Writes bytes to a segment.

use std::os::fd::BorrowedFd;

use super::transfer::{fault, interrupted, unreadable};
use super::{Progress, Range};
use crate::error::Error;
use crate::query::System;
use crate::sys::{Attachment, Errno, read, widen_pipe};

/// The size of the buffer from which a range is filled.
const FILL_BUFFER: usize = 64 << 10;
/// The most bytes of one read(2), and how far ahead pages are mapped.
const MAX_READ: usize = 8 << 20;
/// The size of a pipe, enlarged so that fewer calls empty it. It is the limit of an unprivileged user, pipe(7).
const PIPE_SIZE: i32 = 1 << 20;

/// Copies bytes to an offset of the segment.
///
/// # Errors
/// Fails at the first page that cannot be allocated. The bytes before that offset are written.
pub(crate) fn copy_in(attachment: &Attachment, offset: u64, bytes: &[u8]) -> Result<(), Error> {
    attachment
        .copy_in(offset, bytes)
        .map_err(|(done, errno)| fault(attachment, offset + done as u64, "write", errno, "process_vm_writev"))
}

/// Fills a range with one byte.
pub(crate) fn fill(attachment: &Attachment, range: Range, byte: u8, progress: Progress<'_>) -> Result<(), Error> {
    let size = usize::try_from(range.length()).map_or(FILL_BUFFER, |length| length.min(FILL_BUFFER));
    let bytes = vec![byte; size];
    for (offset, length) in range.pieces(size) {
        interrupted()?;
        copy_in(attachment, offset, &bytes[..length])?;
        progress(length as u64);
    }
    Ok(())
}

/// The result of reading input into a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// Bytes written to the segment.
    pub(crate) written: u64,
    /// Whether the input is longer than the range.
    pub(crate) more: bool,
}

/// Reads a descriptor into a range, directly into the mapping.
///
/// # Errors
/// Fails if a page cannot be allocated or the input cannot be read. The error says how many bytes were written.
pub(crate) fn receive(
    system: &System,
    attachment: &Attachment,
    range: Range,
    from: BorrowedFd<'_>,
    progress: Progress<'_>,
) -> Result<Received, Error> {
    widen_pipe(from, PIPE_SIZE);
    let page_size = usize::try_from(system.page_size()).unwrap_or(4096);
    let mut offset = range.offset;
    let mut mapped = offset;
    let written = |offset: u64| offset - range.offset;
    while offset < range.end {
        // If a read returned bytes, a signal did not make it fail with EINTR.
        interrupted()?;
        let length = usize::try_from(range.end - offset).map_or(MAX_READ, |left| left.min(MAX_READ));
        if offset >= mapped {
            // Map pages that exist in one call. For new pages that is slower than page faults during read(2).
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
                return Err(error.advice(format!("{} bytes were written before this offset", written(offset))));
            }
            Err(errno) => return Err(unreadable(written(offset), errno)),
        }
    }
    loop {
        match read(from, &mut [0]) {
            Ok(count) => return Ok(Received { written: written(offset), more: count > 0 }),
            Err(Errno::EINTR) => interrupted()?,
            Err(errno) => return Err(unreadable(written(offset), errno)),
        }
    }
}
