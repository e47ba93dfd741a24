//! Reads bytes from a segment or a POSIX object.
//!
//! Large output is not copied into this process's memory: sendfile(2) sends the file behind the segment to any output,
//! and for data in the mapping, vmsplice(2) moves pages into a pipe and write(2) copies them to a file. Where the
//! kernel or a sandbox refuses sendfile or vmsplice, bytes pass through a buffer, or through write(2).

use std::os::fd::{AsFd, BorrowedFd};

use super::checksum::{Piece, split_zeros};
use super::range::Range;
use super::source::{Backend, Part, Source};
use super::transfer::{Progress, failed, fault, interrupted};
use crate::error::{Error, Kind};
use crate::query::System;
use crate::sys::{self, Attachment, Errno, SparseFile, widen_pipe};

const PIECE: usize = 64 << 10;
static ZEROS: [u8; PIECE] = [0; PIECE];
/// Maximum number of bytes of one call, and of the pages that are mapped ahead.
const MAX_TRANSFER: usize = 8 << 20;

/// Reads the native 32-bit integer at offset 0 in one access.
pub(crate) fn load(attachment: &mut Attachment) -> Result<i32, Error> {
    let id = attachment.id();
    attachment.load_i32().map_err(|errno| failed(id, 0, "read", errno, "load"))
}

/// Copies a short range out of an attachment. If a page cannot be allocated, a copy fails with EFAULT, whereas a load
/// would raise SIGBUS.
pub(crate) fn copy(attachment: &Attachment, range: Range) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; range.at_most(usize::MAX)];
    let copied = attachment.copy_out(range.offset, &mut bytes);
    copied.map_err(|errno| fault(attachment, range.offset, "read", errno, "process_vm_readv"))?;
    Ok(bytes)
}

/// Calls `visit` with each piece of a range and its offset, until it returns false.
pub(crate) fn for_each_piece(
    source: &Source,
    range: Range,
    mut visit: impl FnMut(u64, Piece<'_>) -> Result<bool, Error>,
) -> Result<(), Error> {
    let mut buffer = vec![0; range.at_most(PIECE)];
    for part in source.parts(range) {
        interrupted()?;
        match part? {
            Part::Hole(hole) => {
                if !visit(hole.offset, Piece::Hole(hole.length()))? {
                    return Ok(());
                }
            }
            Part::Data(data) => {
                for (offset, length) in data.pieces(PIECE) {
                    interrupted()?;
                    source.copy_out(offset, &mut buffer[..length])?;
                    if !visit(offset, Piece::Bytes(&buffer[..length]))? {
                        return Ok(());
                    }
                }
            }
        }
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
            for (_, length) in (Range { offset, end: offset + length }).pieces(PIECE) {
                interrupted()?;
                if !visit(&ZEROS[..length])? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
    })
}

/// Writes a range to a descriptor, and returns the number of bytes written. A closed pipe (EPIPE) ends it early and is
/// not an error.
///
/// Holes are written as zeros and not allocated. With `sparse` they stay holes, at the current position of a file.
/// Fails then if the file has data after that position, which would show through the holes.
pub(crate) fn send(
    system: &System,
    source: &Source,
    range: Range,
    to: BorrowedFd<'_>,
    sparse: bool,
    progress: Progress<'_>,
) -> Result<u64, Error> {
    let file = sparse.then(|| SparseFile::begin(to)).transpose().map_err(cannot_be_sparse)?;
    widen_pipe(to);
    let mut sender =
        Sender { source, to, page: system.page_size(), direct: true, file, sent: 0, closed: false, progress };
    let mut buffer = vec![0; range.at_most(PIECE)];
    for part in source.parts(range) {
        match part? {
            Part::Hole(hole) => sender.hole(hole.length())?,
            // Which huge pages exist is unknown, so zeros become holes.
            Part::Data(data) if sparse && source.is_huge(system) => {
                for (offset, length) in data.pieces(PIECE) {
                    let bytes = &mut buffer[..length];
                    source.copy_out(offset, bytes)?;
                    split_zeros(offset, bytes).try_for_each(|(_, piece)| match piece {
                        Piece::Bytes(run) => sender.bytes(run),
                        Piece::Hole(length) => sender.hole(length),
                    })?;
                }
            }
            Part::Data(data) => sender.data(data)?,
        }
        if sender.closed {
            break;
        }
    }
    if let Some(file) = sender.file {
        file.end().map_err(cannot_be_sparse)?;
    }
    Ok(sender.sent)
}

fn cannot_be_sparse(errno: Errno) -> Error {
    let error = Error::new(Kind::Failed, "cannot write a sparse file to standard output").os(errno, "lseek");
    match errno {
        Errno::ESPIPE => error.cause("--sparse requires a file, not a pipe or a terminal"),
        Errno::EINVAL => error
            .cause("standard output is in append mode (>>), or the file system does not support files of this size"),
        Errno::EEXIST => error.cause("the file has data after the current position, which holes would not overwrite"),
        _ => error,
    }
}

/// Writes the bytes of a source to a descriptor.
struct Sender<'a> {
    source: &'a Source,
    to: BorrowedFd<'a>,
    page: u64,
    /// Whether sendfile or vmsplice may work.
    direct: bool,
    /// The file in which holes stay holes.
    file: Option<SparseFile<'a>>,
    sent: u64,
    /// Whether the pipe is closed (EPIPE).
    closed: bool,
    progress: Progress<'a>,
}

impl Sender<'_> {
    /// Leaves a hole, or writes zeros.
    fn hole(&mut self, length: u64) -> Result<(), Error> {
        match &self.file {
            Some(file) => {
                file.skip(length).map_err(cannot_be_sparse)?;
                self.sent += length;
                (self.progress)(length);
                Ok(())
            }
            None => {
                let mut pieces = Range { offset: 0, end: length }.pieces(PIECE);
                // A hole can have exbibytes.
                while !self.closed
                    && let Some((_, piece)) = pieces.next()
                {
                    self.bytes(&ZEROS[..piece])?;
                }
                Ok(())
            }
        }
    }

    fn data(&mut self, data: Range) -> Result<(), Error> {
        for (mut offset, length) in data.pieces(MAX_TRANSFER) {
            let end = offset + length as u64;
            if self.closed {
                break;
            }
            if let Backend::Mapping(attachment, _) = &self.source.backend {
                // Mapping pages in one call is faster than one fault per page.
                attachment.populate_read(offset - offset % self.page, length);
            }
            while offset < end && !self.closed {
                offset += self.transfer(Range { offset, end })?;
            }
        }
        Ok(())
    }

    /// Writes data with one system call, and returns the number of bytes, which can be 0.
    fn transfer(&mut self, data: Range) -> Result<u64, Error> {
        let (offset, length) = (data.offset, data.at_most(MAX_TRANSFER));
        let (result, call) = match &self.source.backend {
            Backend::File(file, _) if self.direct => {
                (sys::send_file(file.as_fd(), offset, length, self.to), "sendfile")
            }
            Backend::File(..) => {
                let mut buffer = vec![0; data.at_most(PIECE)];
                self.source.copy_out(offset, &mut buffer)?;
                (sys::write(self.to, &buffer), "write")
            }
            Backend::Mapping(attachment, _) if self.direct => {
                (attachment.vmsplice(offset, length, self.to), "vmsplice")
            }
            Backend::Mapping(attachment, _) => (attachment.send(offset, length, self.to), "write"),
        };
        match result {
            // vmsplice writes only to pipes, sendfile to no file in append mode and from no huge pages.
            Ok(0) | Err(Errno::EPERM | Errno::EINVAL | Errno::ENOSYS | Errno::EBADF) if self.direct => {
                self.direct = false;
                Ok(0)
            }
            Ok(0) => Err(self.source.failed(offset, "read", Errno::EIO, call)),
            Err(Errno::EFAULT) => Err(self.source.failed(offset, "read", Errno::EFAULT, call)),
            result => self.record(result, call),
        }
    }

    fn bytes(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() && !self.closed {
            let count = self.record(sys::write(self.to, bytes), "write")?;
            bytes = &bytes[usize::try_from(count).unwrap_or(0)..];
        }
        Ok(())
    }

    /// Records the result of a write, and returns the number of bytes. EPIPE and EINTR are not errors.
    fn record(&mut self, result: Result<usize, Errno>, call: &'static str) -> Result<u64, Error> {
        match result {
            Ok(count) => {
                self.sent += count as u64;
                (self.progress)(count as u64);
            }
            Err(Errno::EPIPE) => self.closed = true,
            Err(Errno::EINTR) => {}
            Err(errno) => {
                let message = format!("cannot write to standard output after {} bytes", self.sent);
                return Err(Error::new(Kind::Failed, message).os(errno, call).with_full_cause());
            }
        }
        // If a call has written bytes, a signal did not make it fail with EINTR.
        interrupted()?;
        Ok(result.unwrap_or(0) as u64)
    }
}
