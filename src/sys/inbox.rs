//! Signals that are read instead of handled, for a process that passes them on (signalfd(2)).

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc::{self, c_int};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Signals that are not read: those that nobody can block, and those that stop a process, by which a terminal stops all of
/// the foreground.
const LEFT_ALONE: [c_int; 5] = [libc::SIGKILL, libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];

/// A signal that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// A child has ended, or several have.
    Child,
    /// Another process sent this one.
    Sent(c_int),
    /// The kernel sent it: as a terminal's keys make it, which all of the foreground has, or for something that we did.
    Kernel,
}

/// Signals that timers send, which an alarm(2) from before we were started may: for the command, as if it stood alone.
const TIMED: [c_int; 4] = [libc::SIGALRM, libc::SIGVTALRM, libc::SIGPROF, libc::SIGXCPU];

/// Signals, blocked while this exists and read in turn.
#[derive(Debug)]
pub(crate) struct Inbox {
    /// From which they are read.
    signals: SignalFd,
    /// What was blocked before.
    before: SigSet,
}

impl Inbox {
    /// Blocks what is to be read. Processes that are started inherit that.
    ///
    /// # Errors
    /// signalfd(2), for want of descriptors.
    pub(crate) fn open() -> Result<Self, Errno> {
        // Ignored, it would let children vanish unseen.
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // SAFETY: the default action runs no code of ours.
        unsafe { sigaction(Signal::SIGCHLD, &default) }?;
        let mut set = *SigSet::all().as_ref();
        for signal in LEFT_ALONE {
            // SAFETY: the set is a whole one.
            unsafe { libc::sigdelset(&raw mut set, signal) };
        }
        // SAFETY: the set was filled by the calls that are there for it.
        let set = unsafe { SigSet::from_sigset_t_unchecked(set) };
        let before = set.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self { signals, before })
    }

    /// Takes the next signal, if there is one.
    ///
    /// # Errors
    /// read(2), which has none to fail with.
    pub(crate) fn next(&self) -> Result<Option<Arrival>, Errno> {
        Ok(self.signals.read_signal()?.map(|signal| match c_int::try_from(signal.ssi_signo) {
            Ok(libc::SIGCHLD) | Err(_) => Arrival::Child,
            // What we have done ourselves, such as writing to a pipe that nobody reads.
            Ok(_) if signal.ssi_pid == std::process::id() => Arrival::Kernel,
            // What processes send has codes from 0 down.
            Ok(number) if signal.ssi_code <= 0 || TIMED.contains(&number) => Arrival::Sent(number),
            Ok(_) => Arrival::Kernel,
        }))
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        // What has come too late is forgotten; what comes from here on is as it was before.
        while let Ok(Some(_)) = self.next() {}
        // But that a file may not grow any more (RLIMIT_FSIZE) shall be an error of the call.
        self.before.add(Signal::SIGXFSZ);
        let _ = self.before.thread_set_mask();
    }
}

impl AsFd for Inbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }
}

/// Sends a signal to a child that has not been waited for, and whose pid therefore is nobody else's.
pub(crate) fn pass_on(child: i32, signal: c_int) {
    // SAFETY: kill(2) takes two integers. That the child has just ended is no failure of anybody's.
    unsafe { libc::kill(child, signal) };
}
