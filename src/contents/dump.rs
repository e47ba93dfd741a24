//! Contents to a file, and from a file into a segment.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use super::checksum::{Checksum, Digests, runs};
use super::transfer::failed;
use super::workers::{pieces, side_by_side};
use super::write::copy_in;
use super::{Progress, Source};
use crate::error::Error;
use crate::query::System;
use crate::sys::{Attachment, Errno, next_data};

/// Copies contents to a new file, in which holes stay holes; gives their checksum.
///
/// # Errors
/// A page cannot be had, the file takes no more (`unwritten` tells of it), or a signal has asked us to end.
pub(crate) fn copy_to_file(
    system: &System,
    source: &Source,
    file: &File,
    unwritten: impl Fn(io::Error) -> Error + Sync,
    progress: Progress<'_>,
) -> Result<String, Error> {
    let size = source.size();
    // Of huge pages nothing tells which there are: what is zeros becomes a hole.
    let huge = source.is_huge(system);
    let mut checksum = Checksum::default();
    let work = |buffer: &mut [u8], digests: &mut Digests, place, length| {
        let bytes = &mut buffer[..length];
        source.copy_out(place, bytes)?;
        digests.add(place, bytes);
        match huge {
            true => runs(place, bytes).try_for_each(|(place, bytes)| file.write_all_at(bytes, place)),
            false => file.write_all_at(bytes, place),
        }
        .map_err(&unwritten)
    };
    let data = pieces(size, |offset| source.next_data(offset));
    side_by_side(size, data, work, progress, |digests| checksum.add(&digests))?;
    file.set_len(size).map_err(unwritten)?;
    Ok(checksum.end())
}

/// Gives the checksum of a file, and how many bytes of it are data and no holes.
///
/// # Errors
/// The file cannot be read (`unread` tells of it), or a signal has asked us to end.
pub(crate) fn sum_of_file(
    file: &File,
    size: u64,
    unread: impl Fn(io::Error) -> Error + Sync,
    progress: Progress<'_>,
) -> Result<(String, u64), Error> {
    let mut checksum = Checksum::default();
    let work = |buffer: &mut [u8], (digests, data): &mut (Digests, u64), place, length| {
        let bytes = &mut buffer[..length];
        file.read_exact_at(bytes, place).map_err(&unread)?;
        digests.add(place, bytes);
        *data += length as u64;
        Ok(())
    };
    let mut data = 0;
    side_by_side(size, data_of(file, size, &unread), work, progress, |(digests, length)| {
        checksum.add(&digests);
        data += length;
    })?;
    Ok((checksum.end(), data))
}

/// Copies a file into a segment of its size, of which nothing was touched: all of its data, or without zeros. Returns the
/// checksum of what was written, whatever happens to the file meanwhile.
///
/// # Errors
/// A page cannot be had, the file cannot be read (`unread` tells of it), or a signal has asked us to end.
pub(crate) fn copy_from_file(
    system: &System,
    attachment: &Attachment,
    file: &File,
    zeros: bool,
    unread: impl Fn(io::Error) -> Error + Sync,
    progress: Progress<'_>,
) -> Result<String, Error> {
    let size = attachment.size();
    // Through the file behind it a page need not be cleared before it is written, nor mapped.
    let backing = attachment.open_backing_to_write(system.page_size()).ok();
    let put = |bytes: &[u8], place| match &backing {
        Some(backing) => backing.write_all_at(bytes, place).map_err(|error| {
            let errno = error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
            failed(attachment.id(), place, "write", errno, "pwrite")
        }),
        None => copy_in(attachment, place, bytes),
    };
    let mut checksum = Checksum::default();
    let work = |buffer: &mut [u8], digests: &mut Digests, place, length| {
        // Other processes can change the file and the segment at any time, but not this copy.
        let bytes = &mut buffer[..length];
        file.read_exact_at(bytes, place).map_err(&unread)?;
        digests.add(place, bytes);
        match zeros {
            true => put(bytes, place),
            false => runs(place, bytes).try_for_each(|(place, bytes)| put(bytes, place)),
        }
    };
    let data = data_of(file, size, &unread);
    side_by_side(size, data, work, progress, |digests| checksum.add(&digests))?;
    Ok(checksum.end())
}

/// Cuts the data of a file into pieces.
fn data_of(
    file: &File,
    size: u64,
    unread: impl Fn(io::Error) -> Error,
) -> impl Iterator<Item = Result<Vec<(u64, usize)>, Error>> {
    pieces(size, move |offset| {
        next_data(file.as_fd(), offset).map_err(|errno| unread(io::Error::from_raw_os_error(errno as i32)))
    })
}
