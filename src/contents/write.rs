//! Writes bytes to an object.

use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

use super::checksum::{Piece, split_zeros};
use super::range::Range;
use super::source::{Part, Source};
use super::transfer::{Progress, Sink, failed, fault, interrupted};
use crate::error::{Error, Kind};
use crate::explain::{NO_WRITE, WRITE_SEALS, seal_cause};
use crate::query::System;
use crate::sys::{self, Attachment, Errno, widen_pipe};

const BUFFER: usize = 64 << 10;
/// The size of the buffer for files.
const FILE_BUFFER: usize = 1 << 20;
const MAX_READ: usize = 8 << 20;

/// Writes a native 32-bit integer at offset 0 in one access.
pub(crate) fn store(attachment: &mut Attachment, value: i32) -> Result<(), Error> {
    let id = attachment.id();
    attachment.store_i32(value).map_err(|errno| failed(id, 0, "write", errno, "store"))
}

/// Copies bytes to an offset.
/// Fails at the first page that cannot be allocated. The bytes before that offset are written.
pub(crate) fn copy_in<'a>(to: impl Into<Sink<'a>>, offset: u64, bytes: &[u8]) -> Result<(), Error> {
    match to.into() {
        Sink::Attachment(attachment) => attachment
            .copy_in(offset, bytes)
            .map_err(|(done, errno)| fault(attachment, offset + done as u64, "write", errno, "process_vm_writev")),
        Sink::File(file, ident) => {
            let mut done = 0;
            while done < bytes.len() {
                let at = offset + done as u64;
                match file.write_at(&bytes[done..], at) {
                    Ok(count) => done += count,
                    Err(error) if error.kind() == ErrorKind::Interrupted => interrupted()?,
                    Err(error) => {
                        let errno = sys::errno_of(&error);
                        let error = failed(ident.clone(), at, "write", errno, "pwrite");
                        let is_huge = || matches!(sys::file_system(file.as_fd()), Ok(Some(space)) if space.is_huge);
                        return Err(match errno {
                            Errno::EINVAL if is_huge() => error.cause(NO_WRITE),
                            Errno::EFBIG => error.with_full_cause(),
                            Errno::EPERM => match seal_cause(file.as_fd(), WRITE_SEALS) {
                                Some(cause) => error.cause(cause),
                                None => error,
                            },
                            _ => error,
                        });
                    }
                }
            }
            Ok(())
        }
    }
}

/// Fills a range with one byte.
pub(crate) fn fill<'a>(to: impl Into<Sink<'a>>, range: Range, byte: u8, progress: Progress<'_>) -> Result<(), Error> {
    let to = to.into();
    let bytes = vec![byte; range.at_most(BUFFER)];
    for (offset, length) in range.pieces(BUFFER) {
        interrupted()?;
        copy_in(to, offset, &bytes[..length])?;
        progress(length as u64);
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) written: u64,
    /// Whether the input is longer than the range.
    pub(crate) more: bool,
}

/// Reads a descriptor into a range.
/// Fails if a page cannot be allocated or the input cannot be read. The error says how many bytes were written.
pub(crate) fn receive(
    to: Sink<'_>,
    range: Range,
    from: BorrowedFd<'_>,
    progress: Progress<'_>,
) -> Result<Received, Error> {
    match to {
        Sink::Attachment(attachment) => receive_mapped(attachment, range, from, progress),
        Sink::File(..) => {
            let mut buffer = vec![0; FILE_BUFFER];
            let mut rest = range;
            while rest.length() > 0 {
                interrupted()?;
                let limit = rest.at_most(FILE_BUFFER);
                let count = read_full(from, &mut buffer[..limit], rest.offset - range.offset)?;
                if count == 0 {
                    return Ok(Received { written: rest.offset - range.offset, more: false });
                }
                copy_in(to, rest.offset, &buffer[..count])?;
                rest.offset += count as u64;
                progress(count as u64);
            }
            filled(range, from)
        }
    }
}

/// Reads a descriptor directly into the mapping.
fn receive_mapped(
    attachment: &Attachment,
    range: Range,
    from: BorrowedFd<'_>,
    progress: Progress<'_>,
) -> Result<Received, Error> {
    widen_pipe(from);
    let mut rest = range;
    while rest.length() > 0 {
        // If a read returned bytes, a signal did not make it fail with EINTR.
        interrupted()?;
        let written = rest.offset - range.offset;
        match attachment.receive(rest.offset, rest.at_most(MAX_READ), from) {
            Ok(0) => return Ok(Received { written, more: false }),
            Ok(count) => {
                rest.offset += count as u64;
                progress(count as u64);
            }
            Err(Errno::EINTR) => {}
            Err(Errno::EFAULT) => {
                let error = fault(attachment, rest.offset, "write", Errno::EFAULT, "read");
                return Err(error.also(&format!("{written} bytes were written before this offset")));
            }
            Err(errno) => return Err(unreadable(written, errno)),
        }
    }
    filled(range, from)
}

/// Reads a descriptor into a range, but does not write zeros to holes.
///
/// Reading the range returns the same bytes as if everything had been written. Holes of an input file are not read.
pub(crate) fn receive_sparse(
    system: &System,
    source: &Source,
    range: Range,
    from: BorrowedFd<'_>,
    progress: Progress<'_>,
) -> Result<Received, Error> {
    let page = system.page_size();
    let mut buffer = vec![0; BUFFER];
    let mut rest = range;
    while rest.length() > 0 {
        interrupted()?;
        let (offset, written) = (rest.offset, rest.offset - range.offset);
        if let Some(hole) = hole_ahead(from) {
            rest.offset = range.end.min(offset.saturating_add(hole));
            zero(source, Range { offset, end: rest.offset })?;
            sys::skip(from, rest.offset - offset).map_err(|errno| unreadable(written, errno))?;
        } else {
            // Begin the next buffer at a page, so that no block of zeros is in two pages.
            let end =
                if offset.is_multiple_of(page) { range.end } else { range.end.min(offset.next_multiple_of(page)) };
            let bytes = &mut buffer[..Range { offset, end }.at_most(BUFFER)];
            let count = read_full(from, bytes, written)?;
            if count == 0 {
                return Ok(Received { written, more: false });
            }
            put(source, offset, &bytes[..count])?;
            rest.offset += count as u64;
        }
        progress(rest.offset - offset);
    }
    filled(range, from)
}

/// Writes bytes, except blocks of zeros over holes.
fn put(source: &Source, offset: u64, bytes: &[u8]) -> Result<(), Error> {
    split_zeros(offset, bytes).try_for_each(|(offset, piece)| match piece {
        Piece::Bytes(run) => copy_in(source.sink(), offset, run),
        Piece::Hole(length) => zero(source, Range { offset, end: offset + length }),
    })
}

/// Writes zeros to the data of a range, and skips its holes.
fn zero(source: &Source, range: Range) -> Result<(), Error> {
    for part in source.parts(range) {
        if let Part::Data(data) = part? {
            fill(source.sink(), data, 0, &mut |_| ())?;
        }
    }
    Ok(())
}

/// Returns the length of the hole at the current position of an input; `None` if there is none, or if it is not a file.
fn hole_ahead(from: BorrowedFd<'_>) -> Option<u64> {
    let (position, size) = sys::position_and_size(from)?;
    let data = sys::next_data(from, position).ok()?.map_or(size, |(start, _)| start);
    // SEEK_DATA has moved the position.
    sys::seek_to(from, position).ok()?;
    data.checked_sub(position).filter(|hole| *hole > 0)
}

/// Reads until a buffer is full or the input ends, and returns the number of bytes.
fn read_full(from: BorrowedFd<'_>, bytes: &mut [u8], written: u64) -> Result<usize, Error> {
    let mut count = 0;
    while count < bytes.len() {
        match sys::read(from, &mut bytes[count..]) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(Errno::EINTR) => interrupted()?,
            Err(errno) => return Err(unreadable(written, errno)),
        }
    }
    Ok(count)
}

fn filled(range: Range, from: BorrowedFd<'_>) -> Result<Received, Error> {
    let written = range.length();
    Ok(Received { written, more: read_full(from, &mut [0], written)? > 0 })
}

fn unreadable(written: u64, errno: Errno) -> Error {
    Error::new(Kind::Failed, format!("cannot read the input ({written} bytes were written)")).os(errno, "read")
}
