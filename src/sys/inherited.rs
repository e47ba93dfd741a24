//! What this process inherited of signals and streams, so that a command of the user's can be started as if by our caller.
//!
//! By the kernel's own calls: those of the C library hide the two signals that it keeps for itself, which its way of
//! starting processes ignores.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use nix::libc::{self, c_int};

/// Which of the three standard streams were closed when this process was executed, a bit each; the standard library opens
/// /dev/null in their place before `main`.
static CLOSED_STREAMS: AtomicU8 = AtomicU8::new(0);
/// Whether SIGPIPE was ignored when this process was executed; the standard library ignores it before `main`.
static PIPE_WAS_IGNORED: AtomicBool = AtomicBool::new(false);

// SAFETY: the section holds pointers to functions that the loader calls in turn before the standard library is
// initialised; this one uses nothing of that.
#[used]
#[unsafe(link_section = ".init_array")]
static NOTE_AT_START: extern "C" fn() = note;

/// Notes how SIGPIPE and the standard streams were inherited.
extern "C" fn note() {
    PIPE_WAS_IGNORED.store(is_ignored(libc::SIGPIPE), Ordering::Relaxed);
    for descriptor in 0..=2 {
        // SAFETY: the request takes no pointer, and a descriptor that is not open is an error.
        if unsafe { libc::fcntl(descriptor, libc::F_GETFD) } < 0 {
            CLOSED_STREAMS.fetch_or(1 << descriptor, Ordering::Relaxed);
        }
    }
}

/// Tells whether this process was executed without a standard input.
pub(crate) fn stdin_is_closed() -> bool {
    CLOSED_STREAMS.load(Ordering::Relaxed) & 1 != 0
}

/// Tells whether this process was executed without a standard output.
pub(crate) fn stdout_is_closed() -> bool {
    CLOSED_STREAMS.load(Ordering::Relaxed) & 2 != 0
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

/// What execve(2) hands on and a program changes before its command is executed: which signals are blocked and which
/// ignored (bit 0 is signal 1), and which standard streams are closed (bit 0 is standard input).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inherited {
    /// Blocked signals.
    pub(crate) blocked: u64,
    /// Ignored signals.
    pub(crate) ignored: u64,
    /// Closed streams.
    pub(crate) closed: u64,
}

impl Inherited {
    /// Gives what this process inherited; to be called before it changes any of it.
    pub(crate) fn read() -> Self {
        let mut state = Self { closed: CLOSED_STREAMS.load(Ordering::Relaxed).into(), ..Self::default() };
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
        for descriptor in (0..=2).filter(|descriptor| self.closed >> descriptor & 1 == 1) {
            // Not closed yet: until the command is executed, an error may be to be told.
            // SAFETY: the request takes an integer.
            unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
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
