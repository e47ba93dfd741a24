//! Calls with a time limit.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread::Builder;
use std::time::Duration;

/// Calls a function in a thread, and returns its result; `None` if it takes longer than `timeout`.
///
/// After a timeout the thread keeps running until the program exits. If no thread can be created, the function runs
/// in this thread, without a time limit.
pub(crate) fn with_timeout<T: Send + 'static>(
    timeout: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (answer, answered) = channel();
    // Where no thread can be created, the closure for it is dropped, but not the work.
    let work = Arc::new(Mutex::new(Some(work)));
    let take = |work: &Mutex<Option<_>>| work.lock().ok()?.take();
    let shared = Arc::clone(&work);
    // Sending fails if the caller no longer waits.
    match Builder::new().spawn(move || take(&shared).map(|work| answer.send(work()))) {
        Ok(_) => answered.recv_timeout(timeout).ok(),
        Err(_) => take(&work).map(|work| work()),
    }
}
