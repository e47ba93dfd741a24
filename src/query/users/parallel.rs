//! Reading many processes in several threads.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::thread::{self, Builder};

/// Fewer processes are read by one thread, in about 0.1 s if each has 100 descriptors.
const FEW_PROCESSES: usize = 500;

/// Maximum number of threads, so that a large machine remains usable.
const MAX_THREADS: usize = 8;

/// Calls `read` for parts of a list of processes, in several threads if there are many. Returns the results in order.
pub(super) fn in_parallel<T: Send>(pids: &[i32], read: impl Fn(&[i32]) -> T + Sync) -> Vec<T> {
    let threads = match pids.len() {
        ..FEW_PROCESSES => 1,
        _ => thread::available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS),
    };
    let (own, others) = pids.split_at(pids.len().div_ceil(threads));
    thread::scope(|scope| {
        let read = &read;
        let start = |pids| (pids, Builder::new().spawn_scoped(scope, move || read(pids)).ok());
        let others: Vec<_> = others.chunks(own.len().max(1)).map(start).collect();
        let mut results = vec![read(own)];
        // If no thread can be created (RLIMIT_NPROC), this one does the work.
        let result = |(pids, thread): (&[i32], Option<thread::ScopedJoinHandle<'_, T>>)| match thread {
            Some(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            None => read(pids),
        };
        results.extend(others.into_iter().map(result));
        results
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_process_is_read_once_and_in_order() {
        for count in [0, 1, 2, 499, 500, 501, 1003] {
            let pids: Vec<i32> = (1..=count).collect();
            let results = in_parallel(&pids, |pids| (thread::current().id(), pids.to_vec()));
            let read: Vec<i32> = results.iter().flat_map(|(_, pids)| pids.clone()).collect();
            assert_eq!(read, pids);
            let threads = if count < 500 { 1 } else { thread::available_parallelism().unwrap().get().min(8) };
            assert_eq!(results.len(), threads);
            assert_eq!(results[0].0, thread::current().id());
        }
    }
}
