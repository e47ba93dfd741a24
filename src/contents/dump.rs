//! Copies contents to a file (dump) and from a file (restore).
//!
//! Both hash the bytes in the private buffer from which they are written: other processes can change the file and the
//! segment at any time, but not this copy. So the checksum is always that of the bytes that were written. Several
//! threads share the work, which hashing dominates.

use std::fs::File;
use std::io;
use std::num::NonZero;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::checksum::{BLOCK, entries, runs};
use super::range::Range;
use super::source::Source;
use super::transfer::{Progress, Sink, interrupted};
use super::write::copy_in;
use crate::error::Error;
use crate::query::System;
use crate::sys::next_data;

/// Maximum number of bytes of a piece, so that it is still in the processor's cache when it is hashed and written.
const PIECE: usize = 64 * BLOCK;
/// The pieces that threads share before their results are collected and progress is reported.
const BATCH: usize = 128;
const MIN_SHARE: usize = 8;
/// Maximum number of threads. More would wait for memory and for locks in the kernel.
const MAX_THREADS: usize = 4;

/// Copies contents to a new file, in which holes stay holes, and returns their checksum. `unwritten` converts an error
/// of the file.
pub(crate) fn copy_to_file(
    system: &System,
    source: &Source,
    file: &File,
    unwritten: impl Fn(io::Error) -> Error + Sync,
    progress: Progress<'_>,
) -> Result<String, Error> {
    // Which huge pages exist is unknown, so zeros become holes.
    let huge = source.is_huge(system);
    let copy = |offset, bytes: &mut [u8]| {
        source.copy_out(offset, bytes)?;
        match huge {
            true => runs(offset, bytes).try_for_each(|(offset, bytes)| file.write_all_at(bytes, offset)),
            false => file.write_all_at(bytes, offset),
        }
        .map_err(&unwritten)
    };
    let checksum = process(pieces(source.size(), |offset| source.next_data(offset)), copy, progress)?;
    file.set_len(source.size()).map_err(unwritten)?;
    Ok(checksum)
}

/// Returns the checksum of a file, and the number of bytes that are data. `unread` converts an error of the file.
pub(crate) fn checksum_of_file(
    file: &File,
    size: u64,
    unread: impl Fn(io::Error) -> Error + Sync,
    progress: Progress<'_>,
) -> Result<(String, u64), Error> {
    let mut data = 0;
    let pieces = pieces_of_file(file, size, &unread).inspect(|piece| {
        data += piece.as_ref().map_or(0, |(_, length)| *length as u64);
    });
    let checksum = process(pieces, |offset, bytes| file.read_exact_at(bytes, offset).map_err(&unread), progress)?;
    Ok((checksum, data))
}

/// Copies the data of a file to a new segment or object of its size, and returns the checksum of the bytes that were
/// written. Blocks of zeros are only written if `zeros` is set. `unread` converts an error of the file.
pub(crate) fn copy_from_file(
    to: Sink<'_>,
    file: &File,
    size: u64,
    zeros: bool,
    unread: impl Fn(io::Error) -> Error + Sync,
    progress: Progress<'_>,
) -> Result<String, Error> {
    let copy = |offset, bytes: &mut [u8]| {
        file.read_exact_at(bytes, offset).map_err(&unread)?;
        match zeros {
            true => copy_in(to, offset, bytes),
            false => runs(offset, bytes).try_for_each(|(offset, bytes)| copy_in(to, offset, bytes)),
        }
    };
    process(pieces_of_file(file, size, &unread), copy, progress)
}

fn pieces_of_file(
    file: &File,
    size: u64,
    unread: impl Fn(io::Error) -> Error,
) -> impl Iterator<Item = Result<(u64, usize), Error>> {
    pieces(size, move |offset| next_data(file.as_fd(), offset).map_err(|errno| unread(errno.into())))
}

/// Splits data into pieces of whole blocks, as pairs of offset and length. `next_data` returns start and end of the
/// first data at or after an offset.
fn pieces(
    size: u64,
    mut next_data: impl FnMut(u64) -> Result<Option<(u64, u64)>, Error>,
) -> impl Iterator<Item = Result<(u64, usize), Error>> {
    let block = BLOCK as u64;
    // The rest of the current data.
    let mut rest = Range { offset: 0, end: 0 };
    std::iter::from_fn(move || {
        if rest.length() == 0 {
            match next_data(rest.end) {
                Ok(Some((start, end))) if start < size => {
                    rest = Range { offset: start - start % block, end: end.next_multiple_of(block).min(size) };
                }
                Ok(_) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
        let (offset, length) = (rest.offset, rest.at_most(PIECE));
        rest.offset += length as u64;
        Some(Ok((offset, length)))
    })
}

/// Calls `copy`, which fills a buffer, for each piece, and returns the checksum of all.
fn process(
    mut pieces: impl Iterator<Item = Result<(u64, usize), Error>>,
    copy: impl Fn(u64, &mut [u8]) -> Result<(), Error> + Sync,
    progress: Progress<'_>,
) -> Result<String, Error> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS);
    let (mut checksum, mut reached) = (blake3::Hasher::new(), 0);
    loop {
        let batch = pieces.by_ref().take(BATCH).collect::<Result<Vec<_>, Error>>()?;
        let Some((offset, length)) = batch.last() else { return Ok(checksum.finalize().to_hex().to_string()) };
        let next = AtomicUsize::new(0);
        let take = || {
            let index = next.fetch_add(1, Ordering::Relaxed);
            batch.get(index).map(|(offset, length)| (index, *offset, *length))
        };
        let work = || {
            let (mut buffer, mut results) = (vec![0; PIECE], Vec::new());
            while let Some((index, offset, length)) = take() {
                let bytes = &mut buffer[..length];
                // After an error, no thread takes another piece.
                let copied = interrupted().and_then(|()| copy(offset, bytes));
                copied.inspect_err(|_| next.store(batch.len(), Ordering::Relaxed))?;
                results.push((index, entries(offset, bytes)));
            }
            Ok::<_, Error>(results)
        };
        let mut results = thread::scope(|scope| {
            let threads = threads.min(batch.len() / MIN_SHARE);
            // If no thread can be created (RLIMIT_NPROC), this one does the work.
            let start = |_| thread::Builder::new().spawn_scoped(scope, work).ok();
            let others: Vec<_> = (1..threads).filter_map(start).collect();
            let mut results = work()?;
            for other in others {
                results.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic))?);
            }
            Ok::<_, Error>(results)
        })?;
        results.sort_unstable_by_key(|(index, _)| *index);
        for (_, entries) in &results {
            checksum.update(entries);
        }
        let end = offset + *length as u64;
        progress(end - reached);
        reached = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(size: u64, extents: &[(u64, u64)]) -> Vec<(u64, usize)> {
        let next = |offset: u64| {
            let found = extents.iter().find(|(_, end)| *end > offset);
            Ok(found.map(|(start, end)| ((*start).max(offset), *end)))
        };
        pieces(size, next).map(Result::unwrap).collect()
    }

    #[test]
    fn pieces_are_whole_blocks_without_repetition() {
        assert_eq!(split(0, &[]), []);
        assert_eq!(split(1, &[(0, 1)]), [(0, 1)]);
        assert_eq!(split(20_000, &[(5000, 5001), (6000, 6001), (19_000, 20_000)]), [(4096, 4096), (16_384, 3616)]);
        let large = 2 * PIECE as u64 + 5;
        assert_eq!(split(large, &[(0, large)]), [(0, PIECE), (PIECE as u64, PIECE), (large - 5, 5)]);
    }

    #[test]
    fn the_checksum_does_not_depend_on_pieces_and_threads() {
        let copy = |offset: u64, bytes: &mut [u8]| {
            let blocks = (offset / BLOCK as u64..).zip(bytes.chunks_mut(BLOCK));
            blocks.for_each(|(index, block)| block.fill(index.to_le_bytes()[0]));
            Ok(())
        };
        let size = 5 * PIECE as u64;
        let checksum = |length: usize| {
            let (pieces, mut reached) = ((0..size).step_by(length).map(|offset| Ok((offset, length))), 0);
            let checksum = process(pieces, copy, &mut |bytes| reached += bytes).unwrap();
            assert_eq!(reached, size);
            checksum
        };
        assert_eq!(checksum(PIECE), checksum(BLOCK), "one thread, or several in several batches");
    }
}
