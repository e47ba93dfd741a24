//! Signals as something to wait for, for commands that have something to clean up.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc::{self, c_int};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask};

/// The first signal that came; 0 before.
static CAUGHT: AtomicI32 = AtomicI32::new(0);
/// The pipe that the handler writes to, so that a signal between a look and a wait is not missed; -1 before.
static WAKER: AtomicI32 = AtomicI32::new(-1);

/// The signals that ask a program to end, and those that end one that does not expect them.
const ENDING: [Signal; 8] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGALRM,
    Signal::SIGXCPU,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// Stores the signal and wakes whoever waits.
extern "C" fn note(signal: c_int) {
    // Only the first counts: it is the one that `main` raises again.
    let _ = CAUGHT.compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst);
    let errno = Errno::last();
    // SAFETY: write(2) may be called in a handler; the byte lives through the call, and the descriptor stays open,
    // since `Watch` never closes it.
    let _ = unsafe { libc::write(WAKER.load(Ordering::SeqCst), [0_u8].as_ptr().cast(), 1) };
    errno.set();
}

/// Lets the call that brought the signal return.
extern "C" fn go_on(_: c_int) {}

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// A signal asked us to end.
    Signal(i32),
    /// The time was up.
    Time,
    /// The other descriptor is ready.
    Ready,
}

/// Handlers in place: signals that ask the program to end are noted from here on instead of ending it.
#[derive(Debug)]
pub(crate) struct Watch {
    /// The end of the pipe that becomes readable when a signal comes.
    reader: OwnedFd,
}

impl Watch {
    /// Puts the handlers in place, and lets through what our caller had blocked. A signal that our caller made us
    /// ignore stays ignored (nohup(1)), unless `always`.
    ///
    /// # Errors
    /// pipe2(2) or sigaction(2), which fail for want of descriptors alone.
    pub(crate) fn new(always: bool) -> Result<Self, Errno> {
        let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        WAKER.store(writer.as_raw_fd(), Ordering::SeqCst);
        // A handler may come at any time until the end, and so the descriptor it writes to is left open for good.
        std::mem::forget(writer);
        let noting = SigAction::new(SigHandler::Handler(note), SaFlags::empty(), SigSet::empty());
        for signal in ENDING {
            // SAFETY: `note` calls nothing but atomics and write(2), which handlers may.
            let before = unsafe { sigaction(signal, &noting) }?;
            if matches!(before.handler(), SigHandler::SigIgn) && !always {
                // SAFETY: this puts back what was there before.
                unsafe { sigaction(signal, &before) }?;
            }
        }
        // A file that may not grow any more (RLIMIT_FSIZE) shall be an error of the call, and leave time to clean up.
        let nothing = SigAction::new(SigHandler::Handler(go_on), SaFlags::SA_RESTART, SigSet::empty());
        // SAFETY: `go_on` does nothing.
        unsafe { sigaction(Signal::SIGXFSZ, &nothing) }?;
        sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&SigSet::from_iter(ENDING)), None)?;
        Ok(Self { reader })
    }

    /// Waits for a signal, for a time, and for a descriptor to become readable, whichever comes first.
    ///
    /// # Errors
    /// poll(2), which fails for want of memory alone.
    pub(crate) fn wait(&self, at_most: Option<Duration>, other: Option<BorrowedFd<'_>>) -> Result<Wake, Errno> {
        let deadline = at_most.map(|time| std::time::Instant::now() + time);
        loop {
            if let Some(signal) = caught() {
                return Ok(Wake::Signal(signal));
            }
            let timeout = match deadline {
                None => PollTimeout::NONE,
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(std::time::Instant::now());
                    if left.is_zero() {
                        return Ok(Wake::Time);
                    }
                    // Rounded up, so that the last millisecond is not spent in a spin.
                    PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
                }
            };
            let mut descriptors = vec![PollFd::new(self.reader.as_fd(), PollFlags::POLLIN)];
            descriptors.extend(other.map(|other| PollFd::new(other, PollFlags::POLLIN)));
            match poll(&mut descriptors, timeout) {
                Ok(_) if descriptors.get(1).is_some_and(|other| other.any() == Some(true)) => return Ok(Wake::Ready),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

/// Gives the signal that asked the program to end, if one has come since a [`Watch`] was made.
pub(crate) fn caught() -> Option<i32> {
    match CAUGHT.load(Ordering::SeqCst) {
        0 => None,
        signal => Some(signal),
    }
}

/// Ends this process by a signal, as if no handler had been there.
pub(crate) fn raise(signal: i32) {
    if let Ok(signal) = Signal::try_from(signal) {
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // SAFETY: the default action runs no code of ours.
        let _ = unsafe { sigaction(signal, &default) };
        let _ = sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&SigSet::from_iter([signal])), None);
        let _ = nix::sys::signal::raise(signal);
    }
}

/// Blocks all signals but those that cannot be, for good.
pub(crate) fn block_signals() {
    // It fails for no set of signals.
    let _ = SigSet::all().thread_block();
}
