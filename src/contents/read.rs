//! Bytes out of a segment.

use std::os::fd::BorrowedFd;

use super::Range;
use super::transfer::{failed, interrupted};
use crate::error::Error;
use crate::query::{System, words};
use crate::sys::{Attachment, Errno, widen_pipe};

/// How much is copied into our memory at once.
const PIECE: usize = 64 << 10;
/// How much one call moves to a descriptor; also how far ahead pages are mapped.
const BULK: usize = 8 << 20;
/// The room that a pipe is given, so that fewer calls fill it (the limit of an unprivileged user, pipe(7)).
const PIPE_ROOM: i32 = 1 << 20;

/// Copies a short range into our memory.
///
/// # Errors
/// A page cannot be had.
pub(crate) fn read_bytes(attachment: &Attachment, range: Range) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    each_piece(attachment, range, |_, piece| {
        bytes.extend_from_slice(piece);
        Ok(true)
    })?;
    Ok(bytes)
}

/// Copies a range into our memory piece by piece, each of which `visit` sees with its offset, until it says no.
///
/// # Errors
/// A page cannot be had, or whatever `visit` says.
pub(crate) fn each_piece(
    attachment: &Attachment,
    range: Range,
    mut visit: impl FnMut(u64, &[u8]) -> Result<bool, Error>,
) -> Result<(), Error> {
    let room = usize::try_from(range.length()).map_or(PIECE, |length| length.min(PIECE));
    let mut buffer = vec![0; room];
    for (offset, length) in range.pieces(room) {
        interrupted()?;
        attachment
            .copy_out(offset, &mut buffer[..length])
            .map_err(|errno| failed(attachment.id(), offset, "read", errno, "write"))?;
        if !visit(offset, &buffer[..length])? {
            break;
        }
    }
    Ok(())
}

/// The ways to get many bytes to a descriptor, the fastest first.
enum Way {
    /// From the segment's memory opened as a file, to a pipe, without a copy.
    Splice(std::fs::File),
    /// From the mapping to a pipe, without a copy.
    Lend,
    /// From the mapping to anything.
    Write,
}

/// Sends a range to a descriptor, without a detour through our memory; gives how many bytes went.
///
/// A reader that has gone away ends it early, and is no failure.
///
/// # Errors
/// A page cannot be had, or the descriptor takes no more.
pub(crate) fn send(system: &System, attachment: &Attachment, range: Range, to: BorrowedFd<'_>) -> Result<u64, Error> {
    let mut way = match (widen_pipe(to, PIPE_ROOM), attachment.open_backing(system.page_size())) {
        (true, Ok(backing)) => Way::Splice(backing),
        (true, Err(_)) => Way::Lend,
        (false, _) => Way::Write,
    };
    let mut offset = range.offset;
    let mut mapped = offset;
    while offset < range.end {
        let length = usize::try_from(range.end - offset).map_or(BULK, |left| left.min(BULK));
        let (result, call) = match &way {
            Way::Splice(backing) => (attachment.splice(backing, offset, length, to), "splice"),
            Way::Lend | Way::Write => {
                // Faults in one go are cheaper than page by page; what is asked for is read right after.
                if offset >= mapped {
                    attachment.populate_read(offset - offset % system.page_size(), length);
                    mapped = offset + length as u64;
                }
                match way {
                    Way::Lend => (attachment.lend(offset, length, to), "vmsplice"),
                    _ => (attachment.send(offset, length, to), "write"),
                }
            }
        };
        match result {
            Ok(count) if count > 0 => offset += count as u64,
            Err(Errno::EPIPE) => break,
            Err(Errno::EINTR) => interrupted()?,
            Ok(_) | Err(Errno::EPERM | Errno::EINVAL | Errno::ENOSYS | Errno::EBADF) if !matches!(way, Way::Write) => {
                way = if matches!(way, Way::Splice(_)) { Way::Lend } else { Way::Write };
            }
            Err(Errno::EFAULT) => return Err(failed(attachment.id(), offset, "read", Errno::EFAULT, call)),
            Ok(_) => return Err(failed(attachment.id(), offset, "read", Errno::EIO, call)),
            Err(errno) => {
                let sent = offset - range.offset;
                let message = format!("cannot write to standard output after {sent} bytes");
                return Err(Error::new(crate::error::Kind::Failed, message).system(words(errno, call)));
            }
        }
    }
    Ok(offset - range.offset)
}
