//! Work that must not take longer than somebody is ready to wait.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::Builder;
use std::time::Duration;

/// Does some work in a thread of its own and waits for it; `None` if it has not come to its end in time.
///
/// What is still at work then ends with the program. Where the user may have no more threads it is done in this one,
/// however long it takes.
pub(crate) fn in_time<T: Send + 'static>(most: Duration, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    type Work<T> = Box<dyn FnOnce() -> T + Send>;
    let work: Work<T> = Box::new(work);
    let (give, take) = channel::<Work<T>>();
    let (answer, answered) = channel();
    let worker = move || {
        if let Ok(work) = take.recv() {
            // Who no longer waits takes no answer.
            let _ = answer.send(work());
        }
    };
    let Ok(thread) = Builder::new().spawn(worker) else { return Some(work()) };
    // A thread that has not begun yet takes it later.
    let _ = give.send(work);
    match answered.recv_timeout(most) {
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
    fn what_ends_is_answered_and_what_does_not_is_given_up() {
        assert_eq!(in_time(Duration::from_secs(3600), || 7), Some(7));
        let (_never, wait) = channel::<()>();
        assert_eq!(in_time(Duration::from_millis(1), move || wait.recv().is_ok()), None);
    }

    #[test]
    fn a_panic_is_passed_on() {
        let result = std::panic::catch_unwind(|| in_time(Duration::from_secs(3600), || panic!("as it should")));
        assert!(result.is_err());
    }
}
