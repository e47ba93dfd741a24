//! Work on many items in several threads.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::thread::{self, Builder};

/// Maximum number of threads, so that a large machine remains usable.
const MAX_THREADS: usize = 8;

/// Calls `work` for parts of a list, in several threads if each gets at least `least` items. Returns the results in
/// order.
pub(crate) fn in_parallel<I: Sync, T: Send>(items: &[I], least: usize, work: impl Fn(&[I]) -> T + Sync) -> Vec<T> {
    let available = || thread::available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS);
    let threads = match items.len() / least {
        ..=1 => 1,
        parts => parts.min(available()),
    };
    let (own, others) = items.split_at(items.len().div_ceil(threads));
    thread::scope(|scope| {
        let work = &work;
        let start = |part| (part, Builder::new().spawn_scoped(scope, move || work(part)).ok());
        let others: Vec<_> = others.chunks(own.len().max(1)).map(start).collect();
        let mut results = vec![work(own)];
        // If no thread can be created (RLIMIT_NPROC), this one does the work.
        let result = |(part, thread): (&[I], Option<thread::ScopedJoinHandle<'_, T>>)| match thread {
            Some(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            None => work(part),
        };
        results.extend(others.into_iter().map(result));
        results
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_passed_once_and_in_order() {
        let available = thread::available_parallelism().unwrap().get().min(MAX_THREADS);
        for count in [0, 1, 2, 199, 200, 201, 1003] {
            let items: Vec<i32> = (1..=count).collect();
            let results = in_parallel(&items, 100, |part| (thread::current().id(), part.to_vec()));
            let passed: Vec<i32> = results.iter().flat_map(|(_, part)| part.clone()).collect();
            assert_eq!(passed, items);
            let threads = if count < 200 { 1 } else { available.min(items.len() / 100) };
            assert_eq!(results.len(), threads);
            assert_eq!(results[0].0, thread::current().id());
        }
    }
}
