//! Calls with a time limit.

use std::sync::mpsc::channel;
use std::thread::Builder;
use std::time::Duration;

use crate::error::Error;

/// Calls a function in a thread, and returns its result; `None` if it takes longer than `timeout`.
///
/// After a timeout the thread keeps running until the program exits.
/// Fails if no thread can be created (RLIMIT_NPROC).
pub(crate) fn with_timeout<T: Send + 'static>(
    timeout: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<Option<T>, Error> {
    let (answer, answered) = channel();
    // Sending fails if the caller no longer waits.
    let started = Builder::new().spawn(move || answer.send(work()));
    started.map_err(|error| Error::io("cannot start a thread", &error, "clone"))?;
    Ok(answered.recv_timeout(timeout).ok())
}
