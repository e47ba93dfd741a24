//! Contents to a file, and from a file into a segment.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use super::checksum::{BLOCK, Checksum, blocks};
use super::transfer::interrupted;
use super::{Part, Range, Source, copy_in};
use crate::error::Error;
use crate::sys::{Attachment, next_data};

/// How much is moved at once; a multiple of a block.
const PIECE: usize = 256 * BLOCK;

/// Copies contents to a new file, in which holes stay holes; gives their checksum.
///
/// # Errors
/// A page cannot be had, the file takes no more (`failed` tells of it), or a signal has asked us to end.
pub(crate) fn copy_to_file(source: &Source, file: &File, failed: impl Fn(io::Error) -> Error) -> Result<String, Error> {
    let size = source.size();
    let mut checksum = Checksum::default();
    let mut buffer = vec![0; PIECE];
    let mut offset = 0;
    while offset < size {
        let end = match source.part(offset, size)? {
            Part::Hole(end) => end,
            // Whole blocks, whatever part of one is there.
            Part::Data(end) => {
                let until = end.next_multiple_of(BLOCK as u64).min(size);
                for (place, length) in (Range { offset, end: until }).pieces(PIECE) {
                    interrupted()?;
                    source.copy_out(place, &mut buffer[..length])?;
                    checksum.add(place, &buffer[..length]);
                    file.write_all_at(&buffer[..length], place).map_err(&failed)?;
                }
                until
            }
        };
        offset = end;
    }
    file.set_len(size).map_err(failed)?;
    Ok(checksum.end())
}

/// Gives the checksum of a file, and how many bytes of it are data and no holes.
///
/// # Errors
/// The file cannot be read (`failed` tells of it), or a signal has asked us to end.
pub(crate) fn sum_of_file(file: &File, size: u64, failed: impl Fn(io::Error) -> Error) -> Result<(String, u64), Error> {
    let mut checksum = Checksum::default();
    let mut data = 0;
    each_data(file, size, failed, |offset, bytes| {
        data += bytes.len() as u64;
        checksum.add(offset, bytes);
        Ok(())
    })?;
    Ok((checksum.end(), data))
}

/// Copies a file into a segment of its size, of which nothing was touched: all of its data, or without zeros.
///
/// # Errors
/// A page cannot be had, the file cannot be read (`failed` tells of it), or a signal has asked us to end.
pub(crate) fn copy_from_file(
    attachment: &Attachment,
    file: &File,
    zeros: bool,
    failed: impl Fn(io::Error) -> Error,
) -> Result<(), Error> {
    each_data(file, attachment.size(), failed, |offset, bytes| {
        if zeros {
            return copy_in(attachment, offset, bytes);
        }
        blocks(offset, bytes).try_for_each(|(place, block)| copy_in(attachment, place, block))
    })
}

/// Shows the data of a file piece by piece, holes aside, each piece a multiple of a block but for the last.
///
/// # Errors
/// The file cannot be read (`failed` tells of it), a signal has asked us to end, or whatever `visit` says.
fn each_data(
    file: &File,
    size: u64,
    failed: impl Fn(io::Error) -> Error,
    mut visit: impl FnMut(u64, &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut buffer = vec![0; PIECE];
    let mut offset = 0;
    while offset < size {
        let next =
            next_data(file.as_fd(), offset).map_err(|errno| failed(io::Error::from_raw_os_error(errno as i32)))?;
        let Some((start, end)) = next else { break };
        let start = start.max(offset) / BLOCK as u64 * BLOCK as u64;
        let end = end.next_multiple_of(BLOCK as u64).min(size);
        for (place, length) in (Range { offset: start, end }).pieces(PIECE) {
            interrupted()?;
            file.read_exact_at(&mut buffer[..length], place).map_err(&failed)?;
            visit(place, &buffer[..length])?;
        }
        offset = end;
    }
    Ok(())
}
