//! Bytes out of a segment.

use std::os::fd::{AsFd, BorrowedFd};

use super::checksum::runs;
use super::transfer::{failed, fault, interrupted};
use super::{Part, Progress, Range, Source};
use crate::error::{Error, Kind};
use crate::query::System;
use crate::sys::{self, Attachment, Errno, SparseFile, splice, widen_pipe};

/// How much is copied into our memory at once.
const PIECE: usize = 64 << 10;
/// What stands for holes.
static ZEROS: [u8; PIECE] = [0; PIECE];
/// How much one call moves to a descriptor; also how far ahead pages are mapped.
const BULK: usize = 8 << 20;
/// The room that a pipe is given, so that fewer calls fill it (the limit of an unprivileged user, pipe(7)).
const PIPE_ROOM: i32 = 1 << 20;

/// A piece of contents.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Piece<'a> {
    /// Bytes that are there.
    Bytes(&'a [u8]),
    /// So many zeros, for which no memory was ever taken.
    Hole(u64),
}

/// Shows a range piece by piece, each of which `visit` sees with its offset, until it says no.
///
/// # Errors
/// A page cannot be had, or whatever `visit` says.
pub(crate) fn each_piece(
    source: &Source,
    range: Range,
    mut visit: impl FnMut(u64, Piece<'_>) -> Result<bool, Error>,
) -> Result<(), Error> {
    let room = usize::try_from(range.length()).map_or(PIECE, |length| length.min(PIECE));
    let mut buffer = vec![0; room];
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
                for (start, length) in (Range { offset, end }).pieces(room) {
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

/// Shows a range as bytes alone, in which a hole is zeros, until `visit` says no.
///
/// # Errors
/// As with [`each_piece`].
pub(crate) fn each_bytes(
    source: &Source,
    range: Range,
    mut visit: impl FnMut(&[u8]) -> Result<bool, Error>,
) -> Result<(), Error> {
    each_piece(source, range, |offset, piece| match piece {
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

/// The ways to get many bytes to a descriptor, the fastest first.
enum Way<'a> {
    /// From the segment's memory opened as a file, to a pipe, without a copy.
    Splice(BorrowedFd<'a>),
    /// From the mapping to a pipe, without a copy.
    Lend(&'a Attachment),
    /// From the mapping to anything.
    Write(&'a Attachment),
    /// Through our memory.
    Copy,
}

/// Sends a range to a descriptor, without a detour through our memory where that can be; gives how many bytes went.
///
/// A reader that has gone away ends it early, and is no failure. Holes are sent as zeros, and no memory is taken.
///
/// # Errors
/// A page cannot be had, or the descriptor takes no more.
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
        // A file gives zeros for its holes by itself.
        let whole = matches!(sender.way, Way::Splice(_));
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

/// Sends the data of a range to a file from where that stands on, and leaves holes in it as holes.
///
/// # Errors
/// As with [`send`], and where the file has bytes behind that place, which holes would leave standing.
pub(crate) fn send_sparse(
    system: &System,
    source: &Source,
    range: Range,
    to: BorrowedFd<'_>,
    progress: Progress<'_>,
) -> Result<(), Error> {
    let cannot = |errno| {
        let error = Error::new(Kind::Failed, "cannot leave holes in standard output").os(errno, "lseek");
        match errno {
            Errno::ESPIPE => error.cause("--sparse wants a file, which a pipe and a terminal are not"),
            Errno::EINVAL => error.cause("standard output only appends (>>), or no file there can be so large"),
            Errno::EEXIST => {
                error.cause("the file goes on behind that place, where holes would leave old bytes standing")
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
            // Which huge pages there are is not told: what is zeros is left out.
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

/// A descriptor that takes a source's bytes.
struct Sender<'a> {
    /// What is asked for the size of a page.
    system: &'a System,
    /// Where the bytes are.
    source: &'a Source,
    /// Where they go.
    to: BorrowedFd<'a>,
    /// How.
    way: Way<'a>,
    /// Up to where pages are mapped.
    mapped: u64,
    /// How many bytes have gone.
    sent: u64,
    /// Whether the reader has gone away.
    closed: bool,
    /// What is told of how far it has come.
    progress: Progress<'a>,
}

impl<'a> Sender<'a> {
    /// Chooses the fastest way that there may be.
    fn new(system: &'a System, source: &'a Source, to: BorrowedFd<'a>, progress: Progress<'a>) -> Self {
        let way = match (widen_pipe(to, PIPE_ROOM), source.file(), source.attachment()) {
            // Which huge pages there are the file does not tell, and through the mapping they would all be made.
            (_, Some(_), _) if source.is_huge(system) => Way::Copy,
            (true, Some(file), _) => Way::Splice(file.as_fd()),
            (true, None, Some(attachment)) => Way::Lend(attachment),
            (false, _, Some(attachment)) => Way::Write(attachment),
            (_, _, None) => Way::Copy,
        };
        Self { system, source, to, way, mapped: 0, sent: 0, closed: false, progress }
    }

    /// Gives the next way, where one is refused.
    fn next_way(&self) -> Way<'a> {
        match (&self.way, self.source.attachment()) {
            (Way::Splice(_), Some(attachment)) => Way::Lend(attachment),
            (Way::Lend(attachment), _) => Way::Write(attachment),
            _ => Way::Copy,
        }
    }

    /// Sends bytes that are there, at least one of them; gives the offset that was reached.
    fn data(&mut self, start: u64, end: u64) -> Result<u64, Error> {
        let mut offset = start;
        while offset < end && !self.closed {
            // A signal that came while bytes went has interrupted nothing.
            interrupted()?;
            let length = usize::try_from(end - offset).map_or(BULK, |left| left.min(BULK));
            let (result, call) = match &self.way {
                Way::Splice(file) => (splice(*file, offset, length, self.to), "splice"),
                Way::Lend(attachment) | Way::Write(attachment) => {
                    // Faults in one go are cheaper than page by page; what is asked for is read right after.
                    if offset >= self.mapped {
                        let page = self.system.page_size();
                        attachment.populate_read(offset - offset % page, length);
                        self.mapped = offset + length as u64;
                    }
                    match self.way {
                        Way::Lend(_) => (attachment.vmsplice(offset, length, self.to), "vmsplice"),
                        _ => (attachment.send(offset, length, self.to), "write"),
                    }
                }
                Way::Copy => {
                    let mut buffer = vec![0; length.min(PIECE)];
                    self.source.copy_out(offset, &mut buffer)?;
                    (sys::write(self.to, &buffer), "write")
                }
            };
            match result {
                Ok(count) if count > 0 => {
                    offset += count as u64;
                    self.went(count);
                }
                Ok(_) | Err(Errno::EPERM | Errno::EINVAL | Errno::ENOSYS | Errno::EBADF)
                    if !matches!(self.way, Way::Write(_) | Way::Copy) =>
                {
                    // The next way looks for holes by itself.
                    self.way = self.next_way();
                    return Ok(offset);
                }
                Err(Errno::EFAULT) => {
                    return Err(match self.source.attachment() {
                        Some(attachment) => fault(attachment, offset, "read", Errno::EFAULT, call),
                        None => failed(self.source.id(), offset, "read", Errno::EFAULT, call),
                    });
                }
                Ok(_) => return Err(failed(self.source.id(), offset, "read", Errno::EIO, call)),
                Err(errno) => self.refused(errno, call)?,
            }
        }
        Ok(offset)
    }

    /// Sends bytes of which those are skipped that are zeros.
    fn without_zeros(
        &mut self,
        start: u64,
        end: u64,
        mut skip: impl FnMut(u64) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut buffer = vec![0; PIECE];
        for (place, length) in (Range { offset: start, end }).pieces(PIECE) {
            let bytes = &mut buffer[..length];
            self.source.copy_out(place, bytes)?;
            let mut reached = place;
            for (offset, run) in runs(place, bytes) {
                skip(offset - reached)?;
                self.all(run)?;
                reached = offset + run.len() as u64;
            }
            let behind = place + length as u64 - reached;
            skip(behind)?;
            (self.progress)(length as u64);
        }
        Ok(())
    }

    /// Sends all of some bytes of our memory.
    fn all(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() && !self.closed {
            interrupted()?;
            match sys::write(self.to, bytes) {
                Ok(count) => {
                    self.sent += count as u64;
                    bytes = &bytes[count..];
                }
                Err(errno) => self.refused(errno, "write")?,
            }
        }
        Ok(())
    }

    /// Sends zeros for a hole; gives the offset that was reached.
    fn zeros(&mut self, start: u64, end: u64) -> Result<u64, Error> {
        let mut offset = start;
        while offset < end && !self.closed {
            interrupted()?;
            let length = usize::try_from(end - offset).map_or(PIECE, |left| left.min(PIECE));
            match sys::write(self.to, &ZEROS[..length]) {
                Ok(count) => {
                    offset += count as u64;
                    self.went(count);
                }
                Err(errno) => self.refused(errno, "write")?,
            }
        }
        Ok(offset)
    }

    /// Takes note of bytes that have gone.
    fn went(&mut self, count: usize) {
        self.sent += count as u64;
        (self.progress)(count as u64);
    }

    /// Takes note of a reader that has gone away, and of a signal.
    fn refused(&mut self, errno: Errno, call: &'static str) -> Result<(), Error> {
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
