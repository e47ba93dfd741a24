//! Work on the pieces of something large, side by side where there are processors for it.

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

/// The most bytes of a piece: what is read of one is still in the processor's cache when it is hashed and written.
pub(super) const PIECE: usize = 64 * BLOCK;
/// The most parts of a piece.
const PARTS: usize = 64;
/// The bytes from which on threads pay for being started.
const WORTH: u64 = 4 << 20;
/// The most threads: beyond that they wait for memory, and for each other in the kernel.
const MOST_THREADS: usize = 4;
/// How many pieces may be out for each thread, so that none waits for the next one.
const AHEAD: usize = 4;
/// How often it is looked whether threads have ended behind our back.
const TICK: Duration = Duration::from_millis(200);

/// Some parts of what there is, each with its offset and length, in their order.
type Piece = Vec<(u64, usize)>;

/// Cuts the data of something into pieces of whole blocks; `next` gives the data that begins at an offset or behind it,
/// by its offset and the one behind it.
pub(super) fn pieces(
    size: u64,
    mut next: impl FnMut(u64) -> Result<Option<(u64, u64)>, Error>,
) -> impl Iterator<Item = Result<Piece, Error>> {
    let block = BLOCK as u64;
    // The data that is being cut, and whether there is none behind it.
    let (mut offset, mut end, mut last) = (0, 0, false);
    std::iter::from_fn(move || {
        let (mut piece, mut room) = (Piece::new(), PIECE);
        while room > 0 && piece.len() < PARTS && !last {
            if offset >= end {
                match next(end) {
                    Err(error) => {
                        last = true;
                        return Some(Err(error));
                    }
                    Ok(Some((start, until))) if start < size => {
                        // Whole blocks, whatever part of one is there; none of them twice.
                        offset = (start - start % block).max(end);
                        end = until.next_multiple_of(block).min(size);
                    }
                    Ok(_) => last = true,
                }
                continue;
            }
            let length = usize::try_from(end - offset).map_or(room, |left| left.min(room));
            piece.push((offset, length));
            offset += length as u64;
            room -= length.next_multiple_of(BLOCK);
        }
        Some(Ok(piece)).filter(|piece| piece.as_ref().is_ok_and(|piece| !piece.is_empty()))
    })
}

/// Does `work` on each part of each piece, in several threads if `total` is worth it, each with a buffer of its own that
/// holds a piece; has `gather` see what came of each piece in their order, and tells `progress` how far that reaches.
///
/// # Errors
/// That of a piece, of `work`, or a signal that has asked us to end; no piece is begun after one.
pub(super) fn side_by_side<T: Default + Send>(
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
    // Gives where the piece ends, and what came of it.
    let all_of = |buffer: &mut [u8], piece: &Piece| {
        let (mut end, mut result) = (0, T::default());
        for (offset, length) in piece {
            interrupted()?;
            work(buffer, &mut result, *offset, *length)?;
            end = offset + *length as u64;
        }
        Ok((end, result))
    };
    let threads = match total {
        ..WORTH => 1,
        _ => std::thread::available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS),
    };
    let stop = AtomicBool::new(false);
    let (hand_out, queue) = mpsc::channel::<(usize, Piece)>();
    let queue = Mutex::new(queue);
    let (done, results) = mpsc::channel();
    scope(|scope| {
        let start = |_| {
            let (queue, stop, all_of, done) = (&queue, &stop, &all_of, done.clone());
            // Where the user may have no more threads, this one does it.
            Builder::new().spawn_scoped(scope, move || serve(queue, stop, all_of, &done)).ok()
        };
        let workers: Vec<_> = if threads > 1 { (0..threads).map_while(start).collect() } else { Vec::new() };
        if workers.is_empty() {
            let mut buffer = vec![0; PIECE];
            return pieces.try_for_each(|piece| {
                let (end, result) = all_of(&mut buffer, &piece?)?;
                gather(end, result);
                Ok(())
            });
        }
        // Dropped at the end of this, which ends the workers.
        let hand_out = hand_out;
        let (mut out, mut gathered, mut waiting) = (0, 0, BTreeMap::new());
        let result = loop {
            while out - gathered < workers.len() * AHEAD
                && let Some(piece) = pieces.next()
            {
                match piece {
                    Ok(piece) => drop(hand_out.send((out, piece))),
                    Err(error) => return stopped(&stop, Err(error)),
                }
                out += 1;
            }
            if gathered == out {
                break Ok(());
            }
            match answer(&results, &workers) {
                Ok((index, result)) => drop(waiting.insert(index, result)),
                Err(error) => break Err(error),
            }
            while let Some((end, result)) = waiting.remove(&gathered) {
                gather(end, result);
                gathered += 1;
            }
        };
        stopped(&stop, result)
    })
}

/// Is a worker: takes one piece after the other and tells what came of it, until there are no more, or all shall stop.
fn serve<T>(
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

/// Has workers begin nothing more, and hands on a result.
fn stopped(stop: &AtomicBool, result: Result<(), Error>) -> Result<(), Error> {
    stop.store(true, Ordering::Relaxed);
    result
}

/// Waits for what a worker has to say.
fn answer<T>(results: &Receiver<Result<T, Error>>, workers: &[ScopedJoinHandle<'_, ()>]) -> Result<T, Error> {
    loop {
        match results.recv_timeout(TICK) {
            Ok(result) => return result,
            // Workers do not end before they are told to, unless they panic, and then the scope does.
            Err(RecvTimeoutError::Timeout) if !workers.iter().any(ScopedJoinHandle::is_finished) => interrupted()?,
            Err(_) => return Err(Error::new(crate::error::Kind::Failed, "a thread has ended before its work")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    /// Cuts extents.
    fn cut(size: u64, extents: &[(u64, u64)]) -> Vec<Piece> {
        let next = |offset: u64| {
            let found = extents.iter().find(|(_, end)| *end > offset);
            Ok(found.map(|(start, end)| ((*start).max(offset), *end)))
        };
        pieces(size, next).map(Result::unwrap).collect()
    }

    #[test]
    fn pieces_are_whole_blocks_and_none_comes_twice() {
        assert_eq!(cut(0, &[]), Vec::<Piece>::new());
        assert_eq!(cut(1, &[(0, 1)]), [vec![(0, 1)]]);
        assert_eq!(cut(20_000, &[(5000, 5001), (6000, 6001), (19_000, 20_000)]), [vec![(4096, 4096), (16_384, 3616)]]);
        let large = 2 * PIECE as u64 + 5;
        assert_eq!(cut(large, &[(0, large)]), [vec![(0, PIECE)], vec![(PIECE as u64, PIECE)], vec![(large - 5, 5)]]);
        let many: Vec<(u64, u64)> = (0..1000).map(|index| (index * 8192, index * 8192 + 4096)).collect();
        let found = cut(1 << 30, &many);
        assert!(found.iter().all(|piece| piece.len() <= PARTS));
        let parts: Vec<(u64, usize)> = found.into_iter().flatten().collect();
        assert_eq!(parts, many.iter().map(|(start, _)| (*start, 4096)).collect::<Vec<_>>());
    }

    #[test]
    fn all_is_done_and_gathered_in_order_in_one_thread_or_several() {
        for total in [0, u64::MAX] {
            let (mut reached, mut sums) = (vec![0], Vec::new());
            let pieces = (0..1000_u64).map(|index| Ok(vec![(index * 10, 10)]));
            let work = |_: &mut [u8], sum: &mut u64, offset: u64, length: usize| {
                *sum += offset + length as u64;
                Ok(())
            };
            let mut progress = |bytes| reached.push(reached[reached.len() - 1] + bytes);
            side_by_side(total, pieces, work, &mut progress, |sum| sums.push(sum)).unwrap();
            let expected = (1..=1000).map(|index| index * 10).collect::<Vec<_>>();
            assert_eq!((&reached[1..], sums), (expected.as_slice(), expected.clone()));
        }
    }

    #[test]
    fn an_error_ends_it_whoever_has_it() {
        let wrong = || Error::new(Kind::Failed, "wrong");
        for total in [0, u64::MAX] {
            for of_piece in [true, false] {
                let pieces =
                    (0..).map(|index| if of_piece && index == 50 { Err(wrong()) } else { Ok(vec![(index, 1)]) });
                let work = |_: &mut [u8], _: &mut (), offset: u64, _| if offset == 77 { Err(wrong()) } else { Ok(()) };
                let mut gathered = 0;
                let result = side_by_side(total, pieces, work, &mut |_| (), |()| gathered += 1);
                assert_eq!(result.unwrap_err().message, "wrong");
                assert!(gathered <= 77);
            }
        }
    }
}
