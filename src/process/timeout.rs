//! Calls with a time limit.

use std::sync::mpsc::{RecvTimeoutError, channel};
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
    let Ok(thread) = Builder::new().spawn(move || drop(answer.send(copy()))) else { return Some(work()) };
    match answered.recv_timeout(timeout) {
        Ok(result) => Some(result),
        Err(RecvTimeoutError::Timeout) => None,
        Err(RecvTimeoutError::Disconnected) => {
            thread.join().map_or_else(|panic| std::panic::resume_unwind(panic), |()| None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_a_result_or_none_after_the_timeout() {
        assert_eq!(with_timeout(Duration::from_secs(3600), || 7), Some(7));
        assert_eq!(
            with_timeout::<()>(Duration::from_millis(1), || loop {
                std::thread::park()
            }),
            None
        );
    }

    #[test]
    fn a_panic_is_propagated() {
        let result = std::panic::catch_unwind(|| with_timeout(Duration::from_secs(3600), || panic!("expected")));
        assert!(result.is_err());
    }
}
