//! Processes large contents in pieces, in parallel if that is worthwhile.
//!
//! A piece has 256 KiB, so that it is still in the processor's cache when it is hashed and written. The calling thread
//! hands out pieces, collects the results in order and reports progress.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, ScopedJoinHandle, scope};
use std::time::Duration;

use super::Progress;
use super::checksum::BLOCK;
use super::transfer::interrupted;
use crate::error::Error;

/// The most bytes of a piece.
pub(super) const PIECE: usize = 64 * BLOCK;
/// The most parts of a piece.
const MAX_PARTS: usize = 64;
/// The size from which starting threads is worthwhile.
const MIN_PARALLEL_SIZE: u64 = 4 << 20;
/// The most threads. More would wait for memory and for locks in the kernel.
const MAX_THREADS: usize = 4;
/// The number of pieces handed out per thread, so that no thread waits for the next one.
const PIECES_PER_THREAD: usize = 4;
/// How often to check for signals and for threads that panicked.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Parts as pairs of offset and length, in ascending order.
type Piece = Vec<(u64, usize)>;

/// Splits data into pieces of whole blocks. `next` returns start and end of the first data at or after an offset.
pub(super) fn pieces(
    size: u64,
    mut next: impl FnMut(u64) -> Result<Option<(u64, u64)>, Error>,
) -> impl Iterator<Item = Result<Piece, Error>> {
    let block = BLOCK as u64;
    // The current data, and whether it is the last.
    let (mut offset, mut end, mut last) = (0, 0, false);
    std::iter::from_fn(move || {
        let (mut piece, mut capacity) = (Piece::new(), PIECE);
        while capacity > 0 && piece.len() < MAX_PARTS && !last {
            if offset >= end {
                match next(end) {
                    Err(error) => {
                        last = true;
                        return Some(Err(error));
                    }
                    Ok(Some((start, until))) if start < size => {
                        // Extend to whole blocks, but do not repeat the previous one.
                        offset = (start - start % block).max(end);
                        end = until.next_multiple_of(block).min(size);
                    }
                    Ok(_) => last = true,
                }
                continue;
            }
            let length = usize::try_from(end - offset).map_or(capacity, |left| left.min(capacity));
            piece.push((offset, length));
            offset += length as u64;
            capacity -= length.next_multiple_of(BLOCK);
        }
        Some(Ok(piece)).filter(|piece| piece.as_ref().is_ok_and(|piece| !piece.is_empty()))
    })
}

/// Calls `work` for each part of each piece, in several threads if `total` bytes are worthwhile. Each thread has a buffer of
/// the size of a piece. The results of the pieces are passed to `gather` in order.
///
/// # Errors
/// Returns the first error of `pieces` or `work`, or `Interrupted`. No piece is started after an error.
pub(super) fn parallel_ordered<T: Default + Send>(
    total: u64,
    mut pieces: impl Iterator<Item = Result<Piece, Error>>,
    work: impl Fn(&mut [u8], &mut T, u64, usize) -> Result<(), Error> + Sync,
    progress: Progress<'_>,
    mut gather: impl FnMut(T),
) -> Result<(), Error> {
    let mut reached = 0;
    let mut gather = |end: u64, result: T| {
        gather(result);
        progress(end - reached);
        reached = end;
    };
    // Returns the end of the piece, and its result.
    let process = |buffer: &mut [u8], piece: &Piece| {
        let (mut end, mut result) = (0, T::default());
        for (offset, length) in piece {
            interrupted()?;
            work(buffer, &mut result, *offset, *length)?;
            end = offset + *length as u64;
        }
        Ok((end, result))
    };
    let threads = match total {
        ..MIN_PARALLEL_SIZE => 1,
        _ => std::thread::available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS),
    };
    let stop = AtomicBool::new(false);
    let (hand_out, queue) = mpsc::channel::<(usize, Piece)>();
    let queue = Mutex::new(queue);
    let (done, results) = mpsc::channel();
    scope(|scope| {
        let start = |_| {
            let (queue, stop, process, done) = (&queue, &stop, &process, done.clone());
            // If no thread can be created (RLIMIT_NPROC), the calling thread does the work.
            Builder::new().spawn_scoped(scope, move || run_worker(queue, stop, process, &done)).ok()
        };
        let workers: Vec<_> = if threads > 1 { (0..threads).map_while(start).collect() } else { Vec::new() };
        if workers.is_empty() {
            let mut buffer = vec![0; PIECE];
            return pieces.try_for_each(|piece| {
                let (end, result) = process(&mut buffer, &piece?)?;
                gather(end, result);
                Ok(())
            });
        }
        // Moved into this closure: dropping it ends the workers.
        let hand_out = hand_out;
        let (mut out, mut gathered, mut waiting) = (0, 0, BTreeMap::new());
        let result = loop {
            while out - gathered < workers.len() * PIECES_PER_THREAD
                && let Some(piece) = pieces.next()
            {
                match piece {
                    Ok(piece) => drop(hand_out.send((out, piece))),
                    Err(error) => return stop_workers(&stop, Err(error)),
                }
                out += 1;
            }
            if gathered == out {
                break Ok(());
            }
            match receive_result(&results, &workers) {
                Ok((index, result)) => drop(waiting.insert(index, result)),
                Err(error) => break Err(error),
            }
            while let Some((end, result)) = waiting.remove(&gathered) {
                gather(end, result);
                gathered += 1;
            }
        };
        stop_workers(&stop, result)
    })
}

/// Processes pieces from the queue until it is closed or `stop` is set.
fn run_worker<T>(
    queue: &Mutex<Receiver<(usize, Piece)>>,
    stop: &AtomicBool,
    work: impl Fn(&mut [u8], &Piece) -> Result<T, Error>,
    done: &Sender<Result<(usize, T), Error>>,
) {
    let mut buffer = vec![0; PIECE];
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
    while let Ok((index, piece)) = next() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let result = work(&mut buffer, &piece).map(|result| (index, result));
        if done.send(result).is_err() {
            return;
        }
    }
}

/// Keeps workers from starting another piece, and returns `result`.
fn stop_workers(stop: &AtomicBool, result: Result<(), Error>) -> Result<(), Error> {
    stop.store(true, Ordering::Relaxed);
    result
}

/// Waits for the next result of a worker.
fn receive_result<T>(results: &Receiver<Result<T, Error>>, workers: &[ScopedJoinHandle<'_, ()>]) -> Result<T, Error> {
    loop {
        match results.recv_timeout(POLL_INTERVAL) {
            Ok(result) => return result,
            // Workers run until the queue is closed, unless they panic. Then the scope panics too.
            Err(RecvTimeoutError::Timeout) if !workers.iter().any(ScopedJoinHandle::is_finished) => interrupted()?,
            Err(_) => return Err(Error::new(crate::error::Kind::Failed, "a worker thread ended unexpectedly")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn split(size: u64, extents: &[(u64, u64)]) -> Vec<Piece> {
        let next = |offset: u64| {
            let found = extents.iter().find(|(_, end)| *end > offset);
            Ok(found.map(|(start, end)| ((*start).max(offset), *end)))
        };
        pieces(size, next).map(Result::unwrap).collect()
    }

    #[test]
    fn pieces_are_whole_blocks_without_repetition() {
        assert_eq!(split(0, &[]), Vec::<Piece>::new());
        assert_eq!(split(1, &[(0, 1)]), [vec![(0, 1)]]);
        assert_eq!(
            split(20_000, &[(5000, 5001), (6000, 6001), (19_000, 20_000)]),
            [vec![(4096, 4096), (16_384, 3616)]]
        );
        let large = 2 * PIECE as u64 + 5;
        assert_eq!(split(large, &[(0, large)]), [vec![(0, PIECE)], vec![(PIECE as u64, PIECE)], vec![(large - 5, 5)]]);
        let many: Vec<(u64, u64)> = (0..1000).map(|index| (index * 8192, index * 8192 + 4096)).collect();
        let found = split(1 << 30, &many);
        assert!(found.iter().all(|piece| piece.len() <= MAX_PARTS));
        let parts: Vec<(u64, usize)> = found.into_iter().flatten().collect();
        assert_eq!(parts, many.iter().map(|(start, _)| (*start, 4096)).collect::<Vec<_>>());
    }

    #[test]
    fn results_are_gathered_in_order_with_any_number_of_threads() {
        for total in [0, u64::MAX] {
            let (mut reached, mut sums) = (vec![0], Vec::new());
            let pieces = (0..1000_u64).map(|index| Ok(vec![(index * 10, 10)]));
            let work = |_: &mut [u8], sum: &mut u64, offset: u64, length: usize| {
                *sum += offset + length as u64;
                Ok(())
            };
            let mut progress = |bytes| reached.push(reached[reached.len() - 1] + bytes);
            parallel_ordered(total, pieces, work, &mut progress, |sum| sums.push(sum)).unwrap();
            let expected = (1..=1000).map(|index| index * 10).collect::<Vec<_>>();
            assert_eq!((&reached[1..], sums), (expected.as_slice(), expected.clone()));
        }
    }

    #[test]
    fn an_error_of_a_piece_or_of_the_work_is_returned() {
        let wrong = || Error::new(Kind::Failed, "wrong");
        for total in [0, u64::MAX] {
            for of_piece in [true, false] {
                let pieces =
                    (0..).map(|index| if of_piece && index == 50 { Err(wrong()) } else { Ok(vec![(index, 1)]) });
                let work = |_: &mut [u8], _: &mut (), offset: u64, _| if offset == 77 { Err(wrong()) } else { Ok(()) };
                let mut gathered = 0;
                let result = parallel_ordered(total, pieces, work, &mut |_| (), |()| gathered += 1);
                assert_eq!(result.unwrap_err().message, "wrong");
                assert!(gathered <= 77);
            }
        }
    }
}
