//! Signals that are read from a descriptor (signalfd(2)), for a process that forwards them to a child.
//!
//! A handler does not learn who sent a signal. signalfd does: signals from the kernel (Ctrl-C reaches the whole
//! foreground process group) are not forwarded, since the child has received them as well.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc::{self, c_int};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Signals that are not read: they let a terminal stop the whole foreground process group.
const NOT_BLOCKED: [Signal; 3] = [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignalOrigin {
    /// At least one child has exited (SIGCHLD).
    Child,
    /// Another process sent this signal.
    Process(c_int),
    /// The kernel sent it: to the whole foreground process group (Ctrl-C), or because of something that this process
    /// did.
    Kernel(c_int),
}

/// Signals of timers. A timer can have been set before this program was executed (alarm(2)), and is then meant for
/// the command.
const TIMER_SIGNALS: [c_int; 4] = [libc::SIGALRM, libc::SIGVTALRM, libc::SIGPROF, libc::SIGXCPU];

/// A queue of signals, which are blocked while this exists.
#[derive(Debug)]
pub(crate) struct SignalQueue {
    signals: SignalFd,
    /// The signal mask from before.
    before: SigSet,
}

impl SignalQueue {
    /// Blocks all signals that can be read. Processes that are started inherit this mask.
    pub(crate) fn open() -> Result<Self, Errno> {
        Self::without(&[])
    }

    /// As [`SignalQueue::open`], without some signals.
    pub(crate) fn without(omitted: &[Signal]) -> Result<Self, Errno> {
        // If SIGCHLD is ignored, the kernel reaps children by itself, and their exit status is lost.
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // SAFETY: the default action runs no code of this program.
        unsafe { sigaction(Signal::SIGCHLD, &default) }?;
        let mut set = SigSet::all();
        NOT_BLOCKED.iter().chain(omitted).for_each(|signal| set.remove(*signal));
        let before = set.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self { signals, before })
    }

    /// Returns the next signal, `None` if none is pending.
    pub(crate) fn next(&self) -> Result<Option<SignalOrigin>, Errno> {
        Ok(self.signals.read_signal()?.map(|signal| match c_int::try_from(signal.ssi_signo) {
            Ok(libc::SIGCHLD) | Err(_) => SignalOrigin::Child,
            // Caused by this process itself, such as SIGPIPE.
            Ok(number) if signal.ssi_pid == std::process::id() => SignalOrigin::Kernel(number),
            // Signals that processes send have codes of 0 and below.
            Ok(number) if signal.ssi_code <= 0 || TIMER_SIGNALS.contains(&number) => SignalOrigin::Process(number),
            Ok(number) => SignalOrigin::Kernel(number),
        }))
    }
}

impl Drop for SignalQueue {
    fn drop(&mut self) {
        // Discard signals that are still pending; later ones have their previous effect.
        while let Ok(Some(_)) = self.next() {}
        let _ = self.before.thread_set_mask();
    }
}

impl AsFd for SignalQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }
}

/// Sends a signal to a child that has not been reaped, so its pid has not been reused.
pub(crate) fn forward_signal(child: i32, signal: c_int) {
    // SAFETY: kill(2) takes two integers. A child that has just exited is not an error.
    unsafe { libc::kill(child, signal) };
}
