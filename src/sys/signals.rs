//! Signals for commands that have something to clean up: they are recorded instead of ending the program.
//!
//! The handler stores the first signal and writes a byte to a pipe, which waits poll. It is installed without
//! SA_RESTART, so that a blocking call returns EINTR. Its caller then returns `Kind::Interrupted`, and drop guards
//! detach and remove on the way. `main` re-raises the signal with its default action, so a shell sees why the program
//! ended. No signal mask is set that a child would inherit.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc::{self, c_int};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal::{
    self, SIGABRT, SIGALRM, SIGCONT, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGPWR, SIGQUIT, SIGSTKFLT, SIGTERM, SIGTSTP,
    SIGUSR1, SIGUSR2, SIGVTALRM, SIGWINCH, SIGXCPU, SIGXFSZ,
};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, sigaction, sigprocmask};

/// The first signal received; 0 for none.
static CAUGHT: AtomicI32 = AtomicI32::new(0);
/// The pipe that the handler writes to, so that a signal between the check and poll(2) is not missed; -1 for none.
static WAKER: AtomicI32 = AtomicI32::new(-1);

/// Signals of the terminal since the last wait: bits of [`SUSPEND`] and [`REDRAW`].
static TERMINAL: AtomicI32 = AtomicI32::new(0);
const SUSPEND: i32 = 1;
const REDRAW: i32 = 2;

/// Signals that request termination, and others whose default action would end the program before it has cleaned up.
/// Signals of faults are not included: the instruction would fail again after the handler.
const TERMINATING: [Signal; 14] = [
    SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGABRT, SIGALRM, SIGIO, SIGPROF, SIGPWR, SIGSTKFLT, SIGUSR1, SIGUSR2, SIGVTALRM,
    SIGXCPU,
];

/// Stores the signal and writes to the pipe.
extern "C" fn record(signal: c_int) {
    // Only the first signal is kept: `main` re-raises it.
    let _ = CAUGHT.compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst);
    wake();
}

/// Stores a signal of the terminal and writes to the pipe.
extern "C" fn record_terminal(signal: c_int) {
    TERMINAL.fetch_or(if signal == libc::SIGTSTP { SUSPEND } else { REDRAW }, Ordering::SeqCst);
    wake();
}

/// Writes to the pipe; for a handler, which keeps errno.
fn wake() {
    let errno = Errno::last();
    // SAFETY: write(2) is async-signal-safe; the byte lives through the call, and the descriptor is never closed.
    let _ = unsafe { libc::write(WAKER.load(Ordering::SeqCst), [0_u8].as_ptr().cast(), 1) };
    errno.set();
}

/// Does nothing, so that the system call that caused the signal returns its error.
extern "C" fn ignore(_: c_int) {}

/// After this, a call that exceeds RLIMIT_FSIZE fails with EFBIG and does not end this process. Commands that this
/// process executes have the default action.
pub(crate) fn survive_file_size_limit() {
    let ignoring = SigAction::new(SigHandler::Handler(ignore), SaFlags::SA_RESTART, SigSet::empty());
    // The call fails only for invalid pointers.
    let _ = install(SIGXFSZ, &ignoring, true);
}

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitOutcome {
    /// SIGINT or SIGTERM, which are the normal way to end `attach` and the demo's processes.
    Terminate(i32),
    /// Another signal, such as SIGHUP.
    Signal(i32),
    /// The timeout expired.
    Timeout,
    /// The descriptor is readable.
    Ready,
    /// SIGTSTP: restore the terminal, then call [`Watch::stop`]. Only after [`Watch::add_terminal`], as the next one.
    Suspend,
    /// The program was continued, or the terminal has another size.
    Redraw,
}

/// Installed signal handlers.
#[derive(Debug)]
pub(crate) struct Watch {
    /// Readable once a signal has been received.
    reader: OwnedFd,
}

impl Watch {
    /// Installs the handlers, and unblocks the signals, which the caller may have blocked. A signal that was ignored
    /// at execve(2) stays ignored (nohup(1)), unless `always` is set.
    pub(crate) fn new(always: bool) -> Result<Self, Errno> {
        let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        WAKER.store(writer.as_raw_fd(), Ordering::SeqCst);
        // The handler can run until the end of the process, so the descriptor must never be closed.
        std::mem::forget(writer);
        let recording = SigAction::new(SigHandler::Handler(record), SaFlags::empty(), SigSet::empty());
        for signal in TERMINATING {
            install(signal, &recording, !always)?;
        }
        sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&SigSet::from_iter(TERMINATING)), None)?;
        Ok(Self { reader })
    }

    /// Also records SIGTSTP, SIGCONT and SIGWINCH, each of which ends a wait. Other system calls are restarted.
    pub(crate) fn add_terminal(&self) -> Result<(), Errno> {
        let recording = SigAction::new(SigHandler::Handler(record_terminal), SaFlags::SA_RESTART, SigSet::empty());
        [SIGTSTP, SIGCONT, SIGWINCH].into_iter().try_for_each(|signal| install(signal, &recording, signal == SIGTSTP))
    }

    /// Stops this process as SIGTSTP does, until it is continued.
    pub(crate) fn stop(&self) -> Result<(), Errno> {
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // SAFETY: the default action runs no code of this program.
        let before = unsafe { sigaction(SIGTSTP, &default) }?;
        let stopped = nix::sys::signal::raise(SIGTSTP);
        // SAFETY: this restores the previous disposition.
        unsafe { sigaction(SIGTSTP, &before) }?;
        stopped
    }

    /// Returns what signals of the terminal require, once.
    fn terminal_outcome(&self) -> Option<WaitOutcome> {
        let recorded = TERMINAL.swap(0, Ordering::SeqCst);
        if recorded == 0 {
            return None;
        }
        // The pipe is non-blocking. A signal that requests termination is found without its byte.
        while matches!(nix::unistd::read(&self.reader, &mut [0; 64]), Ok(1..)) {}
        Some(if recorded & SUSPEND == 0 { WaitOutcome::Redraw } else { WaitOutcome::Suspend })
    }

    /// Waits for a signal, a timeout, or a descriptor to become readable, whichever comes first.
    pub(crate) fn wait(&self, timeout: Option<Duration>, other: Option<BorrowedFd<'_>>) -> Result<WaitOutcome, Errno> {
        let start = Instant::now();
        loop {
            match caught() {
                Some(signal @ (libc::SIGINT | libc::SIGTERM)) => return Ok(WaitOutcome::Terminate(signal)),
                Some(signal) => return Ok(WaitOutcome::Signal(signal)),
                None => {}
            }
            if let Some(outcome) = self.terminal_outcome() {
                return Ok(outcome);
            }
            let left = timeout.map(|timeout| timeout.saturating_sub(start.elapsed()));
            if left == Some(Duration::ZERO) {
                return Ok(WaitOutcome::Timeout);
            }
            let mut descriptors = vec![PollFd::new(self.reader.as_fd(), PollFlags::POLLIN)];
            descriptors.extend(other.map(|other| PollFd::new(other, PollFlags::POLLIN)));
            match poll(&mut descriptors, left.map_or(PollTimeout::NONE, poll_timeout)) {
                Ok(_) if descriptors.get(1).is_some_and(|other| other.any() == Some(true)) => {
                    return Ok(WaitOutcome::Ready);
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

/// Installs one of the handlers of this module; with `respects_ignored`, not for a signal that is ignored.
fn install(signal: Signal, action: &SigAction, respects_ignored: bool) -> Result<(), Errno> {
    // SAFETY: the handlers only use atomics and write(2), which are async-signal-safe.
    let before = unsafe { sigaction(signal, action) }?;
    if respects_ignored && matches!(before.handler(), SigHandler::SigIgn) {
        // SAFETY: this restores the previous disposition.
        unsafe { sigaction(signal, &before) }?;
    }
    Ok(())
}

/// Returns a timeout for poll(2), rounded up: the last fraction of a millisecond would be a busy loop.
pub(crate) fn poll_timeout(left: Duration) -> PollTimeout {
    PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
}

/// Returns the first signal received since a [`Watch`] was created.
pub(crate) fn caught() -> Option<i32> {
    Some(CAUGHT.load(Ordering::SeqCst)).filter(|signal| *signal != 0)
}

/// Raises a signal with its default action, which ends this process.
pub(crate) fn raise(signal: i32) {
    if let Ok(signal) = Signal::try_from(signal) {
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // SAFETY: the default action runs no code of this program.
        let _ = unsafe { sigaction(signal, &default) };
        let _ = sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&SigSet::from_iter([signal])), None);
        let _ = nix::sys::signal::raise(signal);
    }
}

/// Calls `work` with all signals blocked except SIGKILL and SIGSTOP; they are delivered afterwards.
pub(crate) fn without_signals<T>(work: impl FnOnce() -> T) -> T {
    // Both calls fail only for invalid pointers.
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK);
    let result = work();
    let _ = before.map(|before| before.thread_set_mask());
    result
}

/// Blocks all signals except SIGKILL and SIGSTOP, permanently.
pub(crate) fn block_signals() {
    // The call fails only for invalid pointers.
    let _ = SigSet::all().thread_block();
}
