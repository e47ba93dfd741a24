//! Reads bytes from a segment.
//!
//! Large output uses the first method that works: splice(2) from the file behind the segment, vmsplice(2) if the output is
//! a pipe, and otherwise write(2) from the mapping. If the kernel or a sandbox refuses one, the next is tried. The
//! segment as a whole is never copied into this process's memory.

use std::os::fd::{AsFd, BorrowedFd};

use super::checksum::runs;
use super::transfer::{failed, fault, interrupted};
use super::{Part, Progress, Range, Source};
use crate::error::{Error, Kind};
use crate::query::System;
use crate::sys::{self, Attachment, Errno, SparseFile, splice, widen_pipe};

/// The size of the buffer.
const PIECE: usize = 64 << 10;
/// The bytes written for holes.
static ZEROS: [u8; PIECE] = [0; PIECE];
/// The most bytes of one call, and how far ahead pages are mapped.
const MAX_TRANSFER: usize = 8 << 20;
/// The size of a pipe, enlarged so that fewer calls fill it. It is the limit of an unprivileged user, pipe(7).
const PIPE_SIZE: i32 = 1 << 20;

/// A piece of contents.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Piece<'a> {
    Bytes(&'a [u8]),
    /// The length of a hole, which reads as zeros.
    Hole(u64),
}

/// Calls `visit` with each piece of a range and its offset, until it returns false.
pub(crate) fn for_each_piece(
    source: &Source,
    range: Range,
    mut visit: impl FnMut(u64, Piece<'_>) -> Result<bool, Error>,
) -> Result<(), Error> {
    let size = usize::try_from(range.length()).map_or(PIECE, |length| length.min(PIECE));
    let mut buffer = vec![0; size];
    let mut offset = range.offset;
    while offset < range.end {
        interrupted()?;
        let part = source.part(offset, range.end)?;
        match part {
            Part::Hole(end) => {
                if !visit(offset, Piece::Hole(end - offset))? {
                    return Ok(());
                }
            }
            Part::Data(end) => {
                for (start, length) in (Range { offset, end }).pieces(size) {
                    interrupted()?;
                    source.copy_out(start, &mut buffer[..length])?;
                    if !visit(start, Piece::Bytes(&buffer[..length]))? {
                        return Ok(());
                    }
                }
            }
        }
        offset = part.end();
    }
    Ok(())
}

/// Like [`for_each_piece`], but passes zeros for holes.
pub(crate) fn for_each_chunk(
    source: &Source,
    range: Range,
    mut visit: impl FnMut(&[u8]) -> Result<bool, Error>,
) -> Result<(), Error> {
    for_each_piece(source, range, |offset, piece| match piece {
        Piece::Bytes(bytes) => visit(bytes),
        Piece::Hole(length) => {
            let hole = Range { offset, end: offset + length };
            for (_, length) in hole.pieces(PIECE) {
                interrupted()?;
                if !visit(&ZEROS[..length])? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
    })
}

/// The methods to write bytes to a descriptor, fastest first.
enum Transfer<'a> {
    /// From the file behind the segment to a pipe, without a copy.
    Splice(BorrowedFd<'a>),
    /// From the mapping to a pipe, without a copy.
    Vmsplice(&'a Attachment),
    /// From the mapping to any file.
    Write(&'a Attachment),
    /// Through a buffer.
    Copy,
}

/// Writes a range to a descriptor, and returns the number of bytes written.
///
/// A closed pipe (EPIPE) ends it early and is not an error. Holes are written as zeros and not allocated.
pub(crate) fn send(
    system: &System,
    source: &Source,
    range: Range,
    to: BorrowedFd<'_>,
    progress: Progress<'_>,
) -> Result<u64, Error> {
    let mut sender = Sender::new(system, source, to, progress);
    let mut offset = range.offset;
    while offset < range.end {
        // A file returns zeros for its holes.
        let whole = matches!(sender.transfer, Transfer::Splice(_));
        let part = if whole { Part::Data(range.end) } else { source.part(offset, range.end)? };
        let reached = match part {
            Part::Data(end) => sender.data(offset, end)?,
            Part::Hole(end) => sender.zeros(offset, end)?,
        };
        if sender.closed {
            return Ok(reached - range.offset);
        }
        offset = reached;
    }
    Ok(range.length())
}

/// Writes a range to a file at its current position, and leaves holes as holes.
///
/// # Errors
/// Fails if the file has data after that position, which would show through the holes.
pub(crate) fn send_sparse(
    system: &System,
    source: &Source,
    range: Range,
    to: BorrowedFd<'_>,
    progress: Progress<'_>,
) -> Result<(), Error> {
    let cannot = |errno| {
        let error = Error::new(Kind::Failed, "cannot write a sparse file to standard output").os(errno, "lseek");
        match errno {
            Errno::ESPIPE => error.cause("--sparse requires a file, not a pipe or a terminal"),
            Errno::EINVAL => {
                error.cause("standard output is in append mode (>>), or the file system has no files of this size")
            }
            Errno::EEXIST => {
                error.cause("the file has data after the current position, which holes would not overwrite")
            }
            _ => error,
        }
    };
    let mut file = SparseFile::begin(to).map_err(cannot)?;
    let huge = source.is_huge(system);
    let mut sender = Sender::new(system, source, to, progress);
    let mut offset = range.offset;
    while offset < range.end {
        let part = source.part(offset, range.end)?;
        let reached = match part {
            // Which huge pages exist is unknown, so zeros become holes.
            Part::Data(end) if huge => {
                sender.without_zeros(offset, end, |bytes| file.skip(bytes).map_err(cannot))?;
                end
            }
            Part::Data(end) => sender.data(offset, end)?,
            Part::Hole(end) => {
                file.skip(end - offset).map_err(cannot)?;
                (sender.progress)(end - offset);
                end
            }
        };
        offset = reached;
    }
    file.end().map_err(cannot)
}

/// Writes the bytes of a source to a descriptor.
struct Sender<'a> {
    system: &'a System,
    source: &'a Source,
    to: BorrowedFd<'a>,
    transfer: Transfer<'a>,
    /// The offset up to which pages are mapped.
    mapped: u64,
    sent: u64,
    /// Whether the pipe is closed (EPIPE).
    closed: bool,
    progress: Progress<'a>,
}

impl<'a> Sender<'a> {
    /// Chooses the fastest method that may work.
    fn new(system: &'a System, source: &'a Source, to: BorrowedFd<'a>, progress: Progress<'a>) -> Self {
        let transfer = match (widen_pipe(to, PIPE_SIZE), source.file(), source.attachment()) {
            // Which huge pages exist is unknown, and reading them through the mapping would allocate all.
            (_, Some(_), _) if source.is_huge(system) => Transfer::Copy,
            (true, Some(file), _) => Transfer::Splice(file.as_fd()),
            (true, None, Some(attachment)) => Transfer::Vmsplice(attachment),
            (false, _, Some(attachment)) => Transfer::Write(attachment),
            (_, _, None) => Transfer::Copy,
        };
        Self { system, source, to, transfer, mapped: 0, sent: 0, closed: false, progress }
    }

    /// Returns the method to try after the current one was refused.
    fn next_transfer(&self) -> Transfer<'a> {
        match (&self.transfer, self.source.attachment()) {
            (Transfer::Splice(_), Some(attachment)) => Transfer::Vmsplice(attachment),
            (Transfer::Vmsplice(attachment), _) => Transfer::Write(attachment),
            _ => Transfer::Copy,
        }
    }

    /// Writes data, and returns the offset that was reached.
    fn data(&mut self, start: u64, end: u64) -> Result<u64, Error> {
        let mut offset = start;
        while offset < end && !self.closed {
            // If a call has written bytes, a signal did not make it fail with EINTR.
            interrupted()?;
            let length = usize::try_from(end - offset).map_or(MAX_TRANSFER, |left| left.min(MAX_TRANSFER));
            let (result, call) = match &self.transfer {
                Transfer::Splice(file) => (splice(*file, offset, length, self.to), "splice"),
                Transfer::Vmsplice(attachment) | Transfer::Write(attachment) => {
                    // Mapping pages in one call is faster than one fault per page.
                    if offset >= self.mapped {
                        let page = self.system.page_size();
                        attachment.populate_read(offset - offset % page, length);
                        self.mapped = offset + length as u64;
                    }
                    match self.transfer {
                        Transfer::Vmsplice(_) => (attachment.vmsplice(offset, length, self.to), "vmsplice"),
                        _ => (attachment.send(offset, length, self.to), "write"),
                    }
                }
                Transfer::Copy => {
                    let mut buffer = vec![0; length.min(PIECE)];
                    self.source.copy_out(offset, &mut buffer)?;
                    (sys::write(self.to, &buffer), "write")
                }
            };
            match result {
                Ok(count) if count > 0 => {
                    offset += count as u64;
                    self.record(count);
                }
                Ok(_) | Err(Errno::EPERM | Errno::EINVAL | Errno::ENOSYS | Errno::EBADF)
                    if !matches!(self.transfer, Transfer::Write(_) | Transfer::Copy) =>
                {
                    // Return, since the next method needs holes and data separated.
                    self.transfer = self.next_transfer();
                    return Ok(offset);
                }
                Err(Errno::EFAULT) => {
                    return Err(match self.source.attachment() {
                        Some(attachment) => fault(attachment, offset, "read", Errno::EFAULT, call),
                        None => failed(self.source.id(), offset, "read", Errno::EFAULT, call),
                    });
                }
                Ok(_) => return Err(failed(self.source.id(), offset, "read", Errno::EIO, call)),
                Err(errno) => self.handle_error(errno, call)?,
            }
        }
        Ok(offset)
    }

    /// Writes data, except blocks of zeros, which are skipped in the output.
    fn without_zeros(
        &mut self,
        start: u64,
        end: u64,
        mut skip: impl FnMut(u64) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut buffer = vec![0; PIECE];
        for (start, length) in (Range { offset: start, end }).pieces(PIECE) {
            let bytes = &mut buffer[..length];
            self.source.copy_out(start, bytes)?;
            let mut reached = start;
            for (offset, run) in runs(start, bytes) {
                skip(offset - reached)?;
                self.write_all(run)?;
                reached = offset + run.len() as u64;
            }
            skip(start + length as u64 - reached)?;
            (self.progress)(length as u64);
        }
        Ok(())
    }

    /// Writes all bytes of a buffer.
    fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() && !self.closed {
            interrupted()?;
            match sys::write(self.to, bytes) {
                Ok(count) => {
                    self.sent += count as u64;
                    bytes = &bytes[count..];
                }
                Err(errno) => self.handle_error(errno, "write")?,
            }
        }
        Ok(())
    }

    /// Writes zeros for a hole, and returns the offset that was reached.
    fn zeros(&mut self, start: u64, end: u64) -> Result<u64, Error> {
        let mut offset = start;
        while offset < end && !self.closed {
            interrupted()?;
            let length = usize::try_from(end - offset).map_or(PIECE, |left| left.min(PIECE));
            match sys::write(self.to, &ZEROS[..length]) {
                Ok(count) => {
                    offset += count as u64;
                    self.record(count);
                }
                Err(errno) => self.handle_error(errno, "write")?,
            }
        }
        Ok(offset)
    }

    /// Records bytes that were written.
    fn record(&mut self, count: usize) {
        self.sent += count as u64;
        (self.progress)(count as u64);
    }

    /// Handles an error of a write: EPIPE closes the sender, EINTR is checked for a signal.
    fn handle_error(&mut self, errno: Errno, call: &'static str) -> Result<(), Error> {
        match errno {
            Errno::EPIPE => self.closed = true,
            Errno::EINTR => interrupted()?,
            errno => {
                let message = format!("cannot write to standard output after {} bytes", self.sent);
                return Err(Error::new(Kind::Failed, message).os(errno, call));
            }
        }
        Ok(())
    }
}
