//! The signal dispositions and standard streams that this process inherited, so that it can start a command as its
//! caller would have.
//!
//! Otherwise, a command run by `leakcheck` would inherit three changes: SIGPIPE is ignored (by the Rust standard
//! library, before `main`), the signals that the supervisor reads are blocked, and closed streams are replaced with
//! /dev/null. This uses the kernel's calls directly: the C library hides the two signals that it reserves, and ignores
//! them in processes that it starts.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use nix::libc;

/// The standard streams that were closed at execve(2), one bit each. The standard library opens /dev/null in their
/// place before `main`.
static CLOSED_STREAMS: AtomicU8 = AtomicU8::new(0);
/// Whether SIGPIPE was ignored at execve(2). The standard library ignores it before `main`.
static PIPE_WAS_IGNORED: AtomicBool = AtomicBool::new(false);

// SAFETY: the loader calls the functions of this section one after the other before the standard library is
// initialized; this one does not use the standard library's runtime.
#[used]
#[unsafe(link_section = ".init_array")]
static RECORD_AT_START: extern "C" fn() = record;

/// Records whether SIGPIPE is ignored and which standard streams are closed.
extern "C" fn record() {
    let mut action = KernelAction::default();
    let new: *const KernelAction = std::ptr::null();
    // SAFETY: with a null action the call only writes the current one, and `action` is at least as large.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, libc::SIGPIPE, new, &raw mut action, SET_BYTES) };
    PIPE_WAS_IGNORED.store(action.handler == libc::SIG_IGN, Ordering::Relaxed);
    for descriptor in 0..=2 {
        // SAFETY: F_GETFD takes no pointer, and a closed descriptor is an error.
        if unsafe { libc::fcntl(descriptor, libc::F_GETFD) } < 0 {
            CLOSED_STREAMS.fetch_or(1 << descriptor, Ordering::Relaxed);
        }
    }
}

pub(crate) fn stdin_is_closed() -> bool {
    CLOSED_STREAMS.load(Ordering::Relaxed) & 1 != 0
}

pub(crate) fn stdout_is_closed() -> bool {
    CLOSED_STREAMS.load(Ordering::Relaxed) & 2 != 0
}

/// The size of the kernel's signal set.
const SET_BYTES: usize = size_of::<u64>();

/// The beginning of the kernel's `struct sigaction` (asm-generic/signal.h). On every architecture the handler comes
/// first, and zero is valid for the rest.
#[repr(C)]
#[derive(Default)]
struct KernelAction {
    handler: usize,
    /// Flags, the restorer and the mask, in an order that depends on the architecture.
    rest: [u64; 4],
}

/// State that execve(2) preserves and that this program changes: blocked and ignored signals (bit 0 is signal 1), and
/// closed standard streams (bit 0 is standard input).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inherited {
    pub(crate) blocked: u64,
    pub(crate) ignored: u64,
    pub(crate) closed: u64,
}

impl Inherited {
    /// Returns what this process inherited, given the sets of /proc/self/status, before any of it is changed.
    pub(crate) fn new(blocked: u64, ignored: u64) -> Self {
        let pipe = 1 << (libc::SIGPIPE - 1);
        let pipe_was_ignored = PIPE_WAS_IGNORED.load(Ordering::Relaxed);
        let ignored = if pipe_was_ignored { ignored | pipe } else { ignored & !pipe };
        Self { blocked, ignored, closed: CLOSED_STREAMS.load(Ordering::Relaxed).into() }
    }

    /// Restores this state, for the program that this process executes next.
    pub(crate) fn apply(self) {
        for descriptor in (0..=2).filter(|descriptor| self.closed >> descriptor & 1 == 1) {
            // Closed by execve(2), not now: an error message may have to be printed before.
            // SAFETY: F_SETFD takes an integer.
            unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
        for signal in 1..=64 {
            let ignored = self.ignored >> (signal - 1) & 1 == 1;
            let handler = if ignored { libc::SIG_IGN } else { libc::SIG_DFL };
            let action = KernelAction { handler, ..KernelAction::default() };
            let old: *mut KernelAction = std::ptr::null_mut();
            // SAFETY: neither action runs code, and the pointer is to at least as much as the kernel reads. The call
            // fails only for signals that cannot be changed.
            unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, &raw const action, old, SET_BYTES) };
        }
        let old: *mut u64 = std::ptr::null_mut();
        // SAFETY: the set has SET_BYTES bytes, and with a null pointer the old one is not returned.
        unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const self.blocked, old, SET_BYTES) };
    }
}
