//! Calls with a time limit.

use std::sync::mpsc::channel;
use std::thread::Builder;
use std::time::Duration;

/// Calls a function in a thread, and returns its result; `None` if it takes longer than `timeout`.
///
/// After a timeout the thread keeps running until the program exits. If no thread can be created, the function runs
/// in this thread, without a time limit.
pub(crate) fn with_timeout<T: Send + 'static>(
    timeout: Duration,
    work: impl FnOnce() -> T + Clone + Send + 'static,
) -> Option<T> {
    let (answer, answered) = channel();
    let copy = work.clone();
    // Sending fails if the caller no longer waits.
    match Builder::new().spawn(move || answer.send(copy())) {
        Ok(_) => answered.recv_timeout(timeout).ok(),
        Err(_) => Some(work()),
    }
}
