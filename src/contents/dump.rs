//! Copies contents to a file (dump) and from a file (restore).
//!
//! Both hash the bytes in the private buffer from which they are written: other processes can change the file and the
//! segment at any time, but not this copy. So the checksum is always that of the bytes that were written.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use super::checksum::{Checksum, Digests, runs};
use super::transfer::failed;
use super::workers::{parallel_ordered, pieces};
use super::write::copy_in;
use super::{Progress, Source};
use crate::error::Error;
use crate::query::System;
use crate::sys::{Attachment, Errno, next_data};

/// Copies contents to a new file, in which holes stay holes, and returns their checksum. `unwritten` converts an error of
/// the file.
pub(crate) fn copy_to_file(
    system: &System,
    source: &Source,
    file: &File,
    unwritten: impl Fn(io::Error) -> Error + Sync,
    progress: Progress<'_>,
) -> Result<String, Error> {
    let size = source.size();
    // Which huge pages exist is unknown, so zeros become holes.
    let huge = source.is_huge(system);
    let mut checksum = Checksum::default();
    let work = |buffer: &mut [u8], digests: &mut Digests, offset, length| {
        let bytes = &mut buffer[..length];
        source.copy_out(offset, bytes)?;
        digests.add(offset, bytes);
        match huge {
            true => runs(offset, bytes).try_for_each(|(offset, bytes)| file.write_all_at(bytes, offset)),
            false => file.write_all_at(bytes, offset),
        }
        .map_err(&unwritten)
    };
    let data = pieces(size, |offset| source.next_data(offset));
    parallel_ordered(size, data, work, progress, |digests| checksum.add(&digests))?;
    file.set_len(size).map_err(unwritten)?;
    Ok(checksum.end())
}

/// Returns the checksum of a file, and the number of bytes that are data. `unread` converts an error of the file.
pub(crate) fn checksum_of_file(
    file: &File,
    size: u64,
    unread: impl Fn(io::Error) -> Error + Sync,
    progress: Progress<'_>,
) -> Result<(String, u64), Error> {
    let mut checksum = Checksum::default();
    let work = |buffer: &mut [u8], (digests, data): &mut (Digests, u64), offset, length| {
        let bytes = &mut buffer[..length];
        file.read_exact_at(bytes, offset).map_err(&unread)?;
        digests.add(offset, bytes);
        *data += length as u64;
        Ok(())
    };
    let mut data = 0;
    parallel_ordered(size, data_of(file, size, &unread), work, progress, |(digests, length)| {
        checksum.add(&digests);
        data += length;
    })?;
    Ok((checksum.end(), data))
}

/// Copies the data of a file to a new segment of its size, and returns the checksum of the bytes that were written. Blocks
/// of zeros are only written if `zeros` is set. `unread` converts an error of the file.
pub(crate) fn copy_from_file(
    system: &System,
    attachment: &Attachment,
    file: &File,
    zeros: bool,
    unread: impl Fn(io::Error) -> Error + Sync,
    progress: Progress<'_>,
) -> Result<String, Error> {
    let size = attachment.size();
    // Writing to the file behind the attachment neither clears nor maps a page first.
    let backing = attachment.open_backing_to_write(system.page_size()).ok();
    let write = |bytes: &[u8], offset| match &backing {
        Some(backing) => backing.write_all_at(bytes, offset).map_err(|error| {
            let errno = error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
            failed(attachment.id(), offset, "write", errno, "pwrite")
        }),
        None => copy_in(attachment, offset, bytes),
    };
    let mut checksum = Checksum::default();
    let work = |buffer: &mut [u8], digests: &mut Digests, offset, length| {
        let bytes = &mut buffer[..length];
        file.read_exact_at(bytes, offset).map_err(&unread)?;
        digests.add(offset, bytes);
        match zeros {
            true => write(bytes, offset),
            false => runs(offset, bytes).try_for_each(|(offset, bytes)| write(bytes, offset)),
        }
    };
    let data = data_of(file, size, &unread);
    parallel_ordered(size, data, work, progress, |digests| checksum.add(&digests))?;
    Ok(checksum.end())
}

/// Splits the data of a file into pieces.
fn data_of(
    file: &File,
    size: u64,
    unread: impl Fn(io::Error) -> Error,
) -> impl Iterator<Item = Result<Vec<(u64, usize)>, Error>> {
    pieces(size, move |offset| {
        next_data(file.as_fd(), offset).map_err(|errno| unread(io::Error::from_raw_os_error(errno as i32)))
    })
}
