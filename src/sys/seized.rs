//! A seized thread of another process (ptrace(2)), whose pid cannot be reused.
//!
//! A process that exits can be reaped by its parent at any moment, which frees its pid. While one of its threads is
//! seized, the kernel keeps the process, running or zombie, until this process detaches. The thread is stopped only
//! on request, when it returns to user mode, and none of its calls fails for that.

use std::time::Duration;

use nix::errno::Errno;
use nix::libc::c_int;
use nix::sys::ptrace::{self, Options};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

/// The pause between two looks for a stop, which nearly always comes within microseconds.
const PAUSE: Duration = Duration::from_micros(20);

/// A seized thread. Dropping this detaches from it, as the kernel does if this process is killed.
#[derive(Debug)]
pub(crate) struct Seized(Pid);

impl Seized {
    /// Seizes a thread.
    /// Fails with ESRCH if it has exited, with EPERM if it is already traced, for example by a debugger, or without
    /// CAP_SYS_PTRACE.
    pub(crate) fn new(thread: i32) -> Result<Self, Errno> {
        let thread = Pid::from_raw(thread);
        ptrace::seize(thread, Options::empty()).map(|()| Self(thread))
    }

    /// Calls `proceed`, which allows the thread to finish its current system call, and stops the thread before it
    /// returns to user mode. Returns the call's result, an int; `None` if the thread exited instead. Fails if `proceed`
    /// does, after which the thread still waits.
    ///
    /// The thread must be waiting in a state in which the stop request does not interrupt its call.
    pub(crate) fn finish_call(&self, proceed: impl FnOnce() -> Result<(), Errno>) -> Result<Option<c_int>, Errno> {
        let interrupted = ptrace::interrupt(self.0);
        proceed()?;
        if interrupted.is_err() {
            return Ok(None);
        }
        self.wait();
        Ok(result_register(self.0))
    }

    /// Waits until it has stopped or exited, and leaves it unreaped.
    ///
    /// A blocking wait could last forever: if another thread executes a program, it takes the pid of the leader, and a
    /// seized leader vanishes without an event. A new wait finds that there is nothing to wait for.
    fn wait(&self) {
        let how = WaitPidFlag::WEXITED
            | WaitPidFlag::WSTOPPED
            | WaitPidFlag::WNOWAIT
            | WaitPidFlag::WNOHANG
            | WaitPidFlag::__WALL;
        while matches!(waitid(Id::Pid(self.0), how), Ok(WaitStatus::StillAlive) | Err(Errno::EINTR)) {
            std::thread::sleep(PAUSE);
        }
    }
}

/// Returns the result of a stopped thread's last system call; `None` if it has exited.
#[expect(clippy::cast_possible_truncation, reason = "the result is an int")]
fn result_register(thread: Pid) -> Option<c_int> {
    #[cfg(target_arch = "x86_64")]
    return ptrace::getregs(thread).ok().map(|registers| registers.rax as c_int);
    #[cfg(target_arch = "aarch64")]
    return ptrace::getregs(thread).ok().map(|registers| registers.regs[0] as c_int);
    // No calls are received on these architectures: see `HAS_SHM_CALLS`.
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return Some(thread).and(None);
}

impl Drop for Seized {
    fn drop(&mut self) {
        // It fails if the thread has exited.
        let _ = ptrace::detach(self.0, None);
    }
}
