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
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    type Work<T> = Box<dyn FnOnce() -> T + Send>;
    let work: Work<T> = Box::new(work);
    let (sender, receiver) = channel::<Work<T>>();
    let (answer, answered) = channel();
    let worker = move || {
        if let Ok(work) = receiver.recv() {
            // Fails if the caller no longer waits.
            let _ = answer.send(work());
        }
    };
    let Ok(thread) = Builder::new().spawn(worker) else { return Some(work()) };
    // The work is sent only now, because a failed spawn would have dropped it.
    let _ = sender.send(work);
    match answered.recv_timeout(timeout) {
        Ok(result) => Some(result),
        Err(RecvTimeoutError::Timeout) => None,
        Err(RecvTimeoutError::Disconnected) => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_a_result_or_none_after_the_timeout() {
        assert_eq!(with_timeout(Duration::from_secs(3600), || 7), Some(7));
        let (_never, wait) = channel::<()>();
        assert_eq!(with_timeout(Duration::from_millis(1), move || wait.recv().is_ok()), None);
    }

    #[test]
    fn a_panic_is_propagated() {
        let result = std::panic::catch_unwind(|| with_timeout(Duration::from_secs(3600), || panic!("expected")));
        assert!(result.is_err());
    }
}
