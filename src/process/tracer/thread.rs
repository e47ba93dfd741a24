//! The tracing thread, and the signals that this process receives meanwhile.
//!
//! The tracing thread blocks in waitpid(2): a poll before each wait would take longer than the stops of a call. The
//! signals are read by the thread that has started it, which hands them over and wakes the tracing thread.

use std::os::fd::AsFd;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use super::engine::cannot_trace;
use crate::error::Error;
use crate::sys::{SignalOrigin, SignalQueue, Waker};

/// The pause before the thread is woken again if it has not taken its signals.
const PAUSE: Duration = Duration::from_millis(1);

/// Signals that the tracing thread has not taken yet.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    signals: Mutex<Vec<SignalOrigin>>,
    /// Set once the tracing thread can be woken.
    waker: OnceLock<Waker>,
}

impl Inbox {
    /// Removes and returns all signals.
    pub(super) fn take(&self) -> Vec<SignalOrigin> {
        std::mem::take(&mut *self.signals.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_empty(&self) -> bool {
        self.signals.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn push(&self, signal: SignalOrigin) {
        self.signals.lock().unwrap_or_else(PoisonError::into_inner).push(signal);
    }
}

/// Calls `work` in a thread of its own, and hands the signals over to it that other processes send meanwhile.
pub(super) fn in_thread<T: Send>(work: impl FnOnce(&Inbox) -> Result<T, Error> + Send) -> Result<T, Error> {
    let failed = |call| move |errno: Errno| cannot_trace(errno, call);
    let io = |error: std::io::Error, call| Error::io("cannot trace", &error, call);
    // SIGCHLD is neither read nor handled: the tracing thread waits for its children anyway.
    let signals = SignalQueue::without(&[Signal::SIGCHLD, Waker::SIGNAL]).map_err(failed("signalfd"))?;
    let (ended, end) = std::io::pipe().map_err(|error| io(error, "pipe2"))?;
    let inbox = Inbox::default();
    std::thread::scope(|scope| {
        let inbox = &inbox;
        let run = move || {
            // Closed when the thread ends.
            let _end = end;
            let waker = Waker::of_this_thread().map_err(failed("sigaction"))?;
            inbox.waker.get_or_init(|| waker);
            work(inbox)
        };
        let thread = Builder::new().spawn_scoped(scope, run).map_err(|error| io(error, "clone"))?;
        loop {
            let mut descriptors = [signals.as_fd(), ended.as_fd()].map(|file| PollFd::new(file, PollFlags::POLLIN));
            if let Err(errno) = poll(&mut descriptors, PollTimeout::NONE)
                && errno != Errno::EINTR
            {
                return Err(cannot_trace(errno, "poll"));
            } else if descriptors[1].any() == Some(true) {
                return thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            }
            while let Some(signal) = signals.next().map_err(failed("read"))? {
                inbox.push(signal);
            }
            while !inbox.is_empty() && !thread.is_finished() {
                if let Some(waker) = inbox.waker.get() {
                    waker.wake();
                }
                std::thread::sleep(PAUSE);
            }
        }
    })
}
