//! Threads of other processes that the calling thread traces (ptrace(2)).
//!
//! Only the thread that traces a thread may wait for it and resume it. A traced thread can be killed at any moment,
//! even while it is stopped: every function here can then fail with ESRCH, and [`next_event`] reports the end.

use std::ffi::c_void;

use nix::errno::Errno;
use nix::libc::{self, c_int, c_long, siginfo_t};
use nix::sys::ptrace::{self, Options};
use nix::unistd::Pid;

use super::SysError;
use super::calls::{call_name, installs_filter, is_of_other_architecture};
use super::filter::NATIVE_ARCH;
use super::kernel::{
    PTRACE_EVENT_STOP, PTRACE_GET_SYSCALL_INFO, PTRACE_SYSCALL_INFO_ENTRY, PTRACE_SYSCALL_INFO_EXIT,
    PTRACE_SYSCALL_INFO_SECCOMP, PeekSiginfo, SYS_SECCOMP, SyscallInfo,
};
use crate::model::CallName;

/// What happened to a traced thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TraceEvent {
    Stopped(Stop),
    /// It has exited. For the leader of a process: the whole process, with its exit code, or 128 plus the signal.
    Ended(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The start or the end of a system call.
    Call,
    /// A filter has reported a system call, which has not begun.
    Reported,
    /// This signal is about to be delivered.
    Signal(c_int),
    /// A signal such as SIGSTOP has stopped the process.
    Group,
    /// It executes another program, and has had another thread id before unless it was the leader.
    Exec,
    /// A new thread or process, or a request of the tracer.
    Other,
}

/// How a stopped thread continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resume {
    /// Until a filter reports a call.
    Run,
    /// Until the next start or end of a system call.
    ToCall,
    /// Remains stopped until SIGCONT.
    Listen,
}

/// The system call of a stopped thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallState {
    /// At its start.
    Begins(CallName, [u64; 6]),
    /// At its end, with the result or the negative errno. Programs never see those from ERESTARTSYS on.
    Ended(Result<u64, i32>),
    /// At its end, but it was not made: a seccomp filter has raised SIGSYS (SECCOMP_RET_TRAP, SECCOMP_RET_KILL). The
    /// registers are those of the start, where the result would be the number of the call or its first argument.
    Trapped,
    /// The start of a call on segments that is not of the native architecture.
    OtherArchitecture,
    /// The start of a call that installs a seccomp filter.
    InstallsFilter,
    /// The start of any other call, or no call.
    Other,
}

/// Starts to trace a thread, which is not stopped. With `kill`, it is killed when this process ends.
/// Fails as ptrace(2): EPERM if it may not be traced or is traced already, ESRCH if it has exited.
pub(crate) fn seize(thread: i32, kill: bool) -> Result<(), SysError> {
    let mut options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_TRACESECCOMP;
    options.set(Options::PTRACE_O_EXITKILL, kill);
    ptrace::seize(Pid::from_raw(thread), options).map_err(|errno| SysError { errno, call: "ptrace PTRACE_SEIZE" })
}

/// Stops a traced thread.
pub(crate) fn interrupt(thread: i32) -> Result<(), Errno> {
    ptrace::interrupt(Pid::from_raw(thread))
}

/// Continues a stopped thread, to which a signal is delivered unless it is 0.
pub(crate) fn resume(thread: i32, how: Resume, signal: c_int) -> Result<(), Errno> {
    let request = match how {
        Resume::Run => libc::PTRACE_CONT,
        Resume::ToCall => libc::PTRACE_SYSCALL,
        Resume::Listen => libc::PTRACE_LISTEN,
    };
    let none: *mut c_void = std::ptr::null_mut();
    // SAFETY: these requests take a signal and ignore the pointer.
    let result = unsafe { libc::syscall(libc::SYS_ptrace, c_long::from(request), thread, none, c_long::from(signal)) };
    Errno::result(result).map(drop)
}

/// Waits for the next event of a thread that the calling thread traces or has started as a child. Returns `None` if a
/// signal has interrupted the wait.
/// Fails with ECHILD once all have ended.
pub(crate) fn next_event() -> Result<Option<(i32, TraceEvent)>, Errno> {
    let mut status = 0;
    // SAFETY: the pointer is to an integer that lives through the call.
    match Errno::result(unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::__WNOTHREAD) }) {
        Ok(thread) => Ok(Some((thread, event(status)))),
        Err(Errno::EINTR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Decodes a status of waitpid(2).
fn event(status: c_int) -> TraceEvent {
    if libc::WIFEXITED(status) {
        return TraceEvent::Ended(u8::try_from(libc::WEXITSTATUS(status)).unwrap_or(u8::MAX));
    } else if libc::WIFSIGNALED(status) {
        return TraceEvent::Ended(u8::try_from(128 + libc::WTERMSIG(status)).unwrap_or(u8::MAX));
    }
    let signal = libc::WSTOPSIG(status);
    TraceEvent::Stopped(match status >> 16 {
        0 if signal == libc::SIGTRAP | 0x80 => Stop::Call,
        0 => Stop::Signal(signal),
        libc::PTRACE_EVENT_SECCOMP => Stop::Reported,
        libc::PTRACE_EVENT_EXEC => Stop::Exec,
        PTRACE_EVENT_STOP if signal != libc::SIGTRAP => Stop::Group,
        _ => Stop::Other,
    })
}

/// Returns the id that a thread had before it executed a program, at [`Stop::Exec`].
pub(crate) fn former_thread(thread: i32) -> Result<i32, Errno> {
    ptrace::getevent(Pid::from_raw(thread)).map(|former| i32::try_from(former).unwrap_or(thread))
}

/// Returns the system call of a stopped thread.
/// Fails with EIO before Linux 5.3.
pub(crate) fn call_state(thread: i32) -> Result<CallState, Errno> {
    let mut info = SyscallInfo::default();
    let size = size_of::<SyscallInfo>();
    // SAFETY: the kernel writes at most `size` bytes to the structure, in which every value is valid.
    let result = unsafe { libc::syscall(libc::SYS_ptrace, PTRACE_GET_SYSCALL_INFO, thread, size, &raw mut info) };
    Errno::result(result)?;
    let [number, arguments @ .., _] = info.data;
    Ok(match info.op {
        PTRACE_SYSCALL_INFO_ENTRY | PTRACE_SYSCALL_INFO_SECCOMP => match call_name(number) {
            Some(name) if info.arch == NATIVE_ARCH => CallState::Begins(name, arguments),
            _ if info.arch == NATIVE_ARCH && installs_filter(number, arguments[0]) => CallState::InstallsFilter,
            _ if is_of_other_architecture(info.arch, number, arguments[0]) => CallState::OtherArchitecture,
            _ => CallState::Other,
        },
        PTRACE_SYSCALL_INFO_EXIT if is_trapped(thread) => CallState::Trapped,
        PTRACE_SYSCALL_INFO_EXIT => {
            let is_error = info.data[1].to_ne_bytes()[0] != 0;
            let errno = i32::try_from(number.cast_signed().wrapping_neg()).unwrap_or(i32::MAX);
            CallState::Ended(if is_error { Err(errno) } else { Ok(number) })
        }
        _ => CallState::Other,
    })
}

/// Returns whether a seccomp filter has raised SIGSYS, which a stopped thread has not received yet.
fn is_trapped(thread: i32) -> bool {
    // SAFETY: every field is an integer or a pointer, for which zero is valid.
    let mut signals: [siginfo_t; 8] = unsafe { std::mem::zeroed() };
    let wanted = PeekSiginfo { off: 0, flags: 0, nr: 8 };
    let request = c_long::from(libc::PTRACE_PEEKSIGINFO);
    // SAFETY: the kernel reads `wanted`, and writes at most `nr` signals, for which the array has space.
    let count = unsafe { libc::syscall(libc::SYS_ptrace, request, thread, &raw const wanted, signals.as_mut_ptr()) };
    let signals = signals.iter().take(usize::try_from(count).unwrap_or(0));
    signals.into_iter().any(|signal| signal.si_signo == libc::SIGSYS && signal.si_code == SYS_SECCOMP)
}
