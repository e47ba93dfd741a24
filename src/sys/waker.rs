//! A signal that interrupts a blocking system call of another thread of this process.
//!
//! The signal is SIGURG, which programs ignore unless they ask for it. A call that begins right after the signal blocks
//! nevertheless: the sender must repeat the signal until the other thread has reacted.

use nix::errno::Errno;
use nix::libc::{self, c_int};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// The thread that can be woken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waker(libc::pid_t);

/// Does nothing, so that the system call that the signal interrupts returns EINTR.
extern "C" fn wake(_: c_int) {}

impl Waker {
    /// The signal, which has no other use while a thread can be woken.
    pub(crate) const SIGNAL: Signal = Signal::SIGURG;

    /// Prepares the calling thread to be woken.
    pub(crate) fn of_this_thread() -> Result<Self, Errno> {
        let action = SigAction::new(SigHandler::Handler(wake), SaFlags::empty(), SigSet::empty());
        // SAFETY: `wake` does nothing.
        unsafe { sigaction(Self::SIGNAL, &action) }?;
        SigSet::from_iter([Self::SIGNAL]).thread_unblock()?;
        Ok(Self(nix::unistd::gettid().as_raw()))
    }

    /// Wakes the thread, which must not have ended.
    pub(crate) fn wake(self) {
        // SAFETY: the call takes integers.
        unsafe { libc::syscall(libc::SYS_tgkill, std::process::id(), self.0, Self::SIGNAL as c_int) };
    }
}
