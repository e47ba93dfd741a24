//! Writes input to a segment, in which zeros do not allocate holes.

use std::os::fd::BorrowedFd;

use super::transfer::{failed, interrupted, unreadable};
use super::{Part, Progress, Range, Received, Source, copy_in};
use crate::error::Error;
use crate::query::System;
use crate::sys::{self, Errno};

/// The size of the buffer.
const PIECE: usize = 256 << 10;

/// Reads a descriptor into a range, but does not write zeros to holes.
///
/// The segment reads the same as if everything had been written. Holes of an input file are not read.
pub(crate) fn receive_sparse(
    system: &System,
    source: &Source,
    range: Range,
    from: BorrowedFd<'_>,
    progress: Progress<'_>,
) -> Result<Received, Error> {
    let page = usize::try_from(system.page_size()).unwrap_or(4096);
    let mut buffer = vec![0; PIECE];
    let mut offset = range.offset;
    let written = |offset: u64| offset - range.offset;
    while offset < range.end {
        if let Some(hole) = hole_ahead(from).filter(|hole| *hole > 0) {
            let end = range.end.min(offset.saturating_add(hole));
            zero(source, offset, end)?;
            sys::skip(from, end - offset).map_err(|errno| unreadable(written(offset), errno))?;
            progress(end - offset);
            offset = end;
            continue;
        }
        // End at a page boundary of the segment, so that whole pages of zeros are recognised.
        let left = usize::try_from(range.end - offset).map_or(PIECE, |left| left.min(PIECE));
        let max = left.min(PIECE - usize::try_from(offset % system.page_size()).unwrap_or(0));
        let mut filled = 0;
        while filled < max {
            match sys::read(from, &mut buffer[filled..max]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(Errno::EINTR) => interrupted()?,
                Err(errno) => return Err(unreadable(written(offset), errno)),
            }
        }
        if filled == 0 {
            return Ok(Received { written: written(offset), more: false });
        }
        put(source, offset, &buffer[..filled], page)?;
        offset += filled as u64;
        progress(filled as u64);
    }
    loop {
        match sys::read(from, &mut [0]) {
            Ok(count) => return Ok(Received { written: written(offset), more: count > 0 }),
            Err(Errno::EINTR) => interrupted()?,
            Err(errno) => return Err(unreadable(written(offset), errno)),
        }
    }
}

/// Returns the length of the hole at the current position of an input, or `None` if it is not a file or at its end.
fn hole_ahead(from: BorrowedFd<'_>) -> Option<u64> {
    let (position, size) = sys::position_and_size(from)?;
    let data = sys::next_data(from, position).ok()?.map_or(size, |(start, _)| start);
    // SEEK_DATA has moved the position.
    sys::seek_to(from, position).ok()?;
    Some(data.saturating_sub(position)).filter(|_| position < size)
}

/// Writes bytes, except pages of zeros over holes.
fn put(source: &Source, offset: u64, bytes: &[u8], page: usize) -> Result<(), Error> {
    let mut start = 0;
    while start < bytes.len() {
        interrupted()?;
        let zeros = is_zero(bytes, offset, start, page);
        let mut end = page_end(bytes, offset, start, page);
        while end < bytes.len() && is_zero(bytes, offset, end, page) == zeros {
            end = page_end(bytes, offset, end, page);
        }
        let position = offset + start as u64;
        if zeros {
            zero(source, position, offset + end as u64)?;
        } else {
            copy(source, position, &bytes[start..end])?;
        }
        start = end;
    }
    Ok(())
}

/// Returns the index in `bytes` at which the page that contains index `start` ends.
fn page_end(bytes: &[u8], offset: u64, start: usize, page: usize) -> usize {
    let into = usize::try_from((offset + start as u64) % page as u64).unwrap_or(0);
    bytes.len().min(start + page - into)
}

/// Returns whether the rest of that page is zeros.
fn is_zero(bytes: &[u8], offset: u64, start: usize, page: usize) -> bool {
    bytes[start..page_end(bytes, offset, start, page)].iter().all(|byte| *byte == 0)
}

/// Writes zeros to the data of a range, and skips its holes.
fn zero(source: &Source, start: u64, end: u64) -> Result<(), Error> {
    let zeros = vec![0; PIECE];
    let mut offset = start;
    while offset < end {
        interrupted()?;
        let part = source.part(offset, end)?;
        if let Part::Data(until) = part {
            for (start, length) in (Range { offset, end: until }).pieces(PIECE) {
                copy(source, start, &zeros[..length])?;
            }
        }
        offset = part.end();
    }
    Ok(())
}

fn copy(source: &Source, offset: u64, bytes: &[u8]) -> Result<(), Error> {
    match source.attachment() {
        Some(attachment) => copy_in(attachment, offset, bytes),
        None => Err(failed(source.id(), offset, "write", Errno::EFAULT, "read")),
    }
}
