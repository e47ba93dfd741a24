//! What this process inherited of signals, so that a command of the user's can be started as if by our caller.
//!
//! By the kernel's own calls: those of the C library hide the two signals that it keeps for itself, which its way of
//! starting processes ignores.

use std::sync::atomic::{AtomicBool, Ordering};

use nix::libc::{self, c_int};

/// Whether SIGPIPE was ignored when this process was executed; the standard library ignores it before `main`.
static PIPE_WAS_IGNORED: AtomicBool = AtomicBool::new(false);

// SAFETY: the section holds pointers to functions that the loader calls in turn before the standard library is
// initialised; this one uses nothing of that.
#[used]
#[unsafe(link_section = ".init_array")]
static NOTE_AT_START: extern "C" fn() = note_pipe;

/// Notes how SIGPIPE was inherited.
extern "C" fn note_pipe() {
    PIPE_WAS_IGNORED.store(is_ignored(libc::SIGPIPE), Ordering::Relaxed);
}

/// The highest number of a signal.
const LAST_SIGNAL: c_int = 64;
/// The bytes in the kernel's set of signals.
const SET_BYTES: usize = size_of::<u64>();

/// The kernel's `struct sigaction` (asm-generic/signal.h), as far as it is the same everywhere: the handler comes first,
/// and zero is a value for all that follows.
#[repr(C)]
#[derive(Default)]
struct KernelAction {
    /// A function, SIG_DFL or SIG_IGN.
    handler: usize,
    /// Flags, a function of the C library's, and a set.
    rest: [u64; 4],
}

/// Which signals a process has blocked, and which it ignores; bit 0 is signal 1. Of dispositions these are all that
/// execve(2) hands on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SignalState {
    /// Blocked ones.
    pub(crate) blocked: u64,
    /// Ignored ones.
    pub(crate) ignored: u64,
}

impl SignalState {
    /// Gives what this process inherited; to be called before it changes any of it.
    pub(crate) fn inherited() -> Self {
        let mut state = Self::default();
        let (nothing, blocked): (*const u64, *mut u64) = (std::ptr::null(), &raw mut state.blocked);
        // SAFETY: the null set asks for the present one, which has the size that is said and a place of that size.
        unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, nothing, blocked, SET_BYTES) };
        for signal in 1..=LAST_SIGNAL {
            let ignored = match signal {
                libc::SIGPIPE => PIPE_WAS_IGNORED.load(Ordering::Relaxed),
                _ => is_ignored(signal),
            };
            state.ignored |= u64::from(ignored) << (signal - 1);
        }
        state
    }

    /// Puts this process into it, for what it executes next.
    pub(crate) fn apply(self) {
        for signal in 1..=LAST_SIGNAL {
            let ignored = self.ignored >> (signal - 1) & 1 == 1;
            let handler = if ignored { libc::SIG_IGN } else { libc::SIG_DFL };
            let action = KernelAction { handler, ..KernelAction::default() };
            let old: *mut KernelAction = std::ptr::null_mut();
            // SAFETY: neither action runs any code, and the pointer is to at least what the kernel reads; the call fails
            // for signals alone that cannot be changed.
            unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, &raw const action, old, SET_BYTES) };
        }
        let old: *mut u64 = std::ptr::null_mut();
        // SAFETY: the set has the size that is said, and the old one is not asked for.
        unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const self.blocked, old, SET_BYTES) };
    }
}

/// Tells whether a signal is ignored.
fn is_ignored(signal: c_int) -> bool {
    let mut action = KernelAction::default();
    let new: *const KernelAction = std::ptr::null();
    // SAFETY: the null action asks for the present one, and the pointer is to at least what the kernel writes.
    let result = unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, new, &raw mut action, SET_BYTES) };
    result == 0 && action.handler == libc::SIG_IGN
}
