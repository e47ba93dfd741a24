//! Processes, mostly by pidfd, which is immune to pid reuse; and what this process was started with.

use std::cmp::Ordering;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{self, c_int, c_long};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::SysError;
use super::kernel::{KCMP_FILES, KCMP_VM};
use super::object::errno;

/// Opens a pidfd (pidfd_open(2), Linux 5.3).
/// Fails with ESRCH if there is no such process, EINVAL or ENOENT if the number is a thread's, ENOSYS or EPERM in
/// sandboxes.
pub(crate) fn open_pidfd(pid: i32) -> Result<OwnedFd, SysError> {
    let failed = |errno| SysError { errno, call: "pidfd_open" };
    let process = Pid::from_raw(pid.max(0)).ok_or_else(|| failed(Errno::ESRCH))?;
    pidfd_open(process, PidfdFlags::empty()).map_err(|error| failed(errno(error)))
}

/// Waits until a process has exited or the timeout expires. Returns whether it has exited.
/// Fails as poll(2), including EINTR.
pub(crate) fn wait_for_exit(pidfd: &OwnedFd, timeout: Duration) -> Result<bool, Errno> {
    let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
    let mut descriptors = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    poll(&mut descriptors, timeout).map(|ready| ready > 0)
}

/// Sends SIGTERM (pidfd_send_signal(2)).
pub(crate) fn terminate(pidfd: &OwnedFd) -> Result<(), SysError> {
    let sent = send(pidfd, libc::SIGTERM);
    sent.map_err(|errno| SysError { errno, call: "pidfd_send_signal" })
}

/// Returns whether a process still has its pid: it is running or has not been reaped.
pub(crate) fn is_unreaped(pidfd: &OwnedFd) -> bool {
    send(pidfd, 0) != Err(Errno::ESRCH)
}

/// Sends a signal (pidfd_send_signal(2)); 0 only checks whether it could be sent.
fn send(pidfd: &OwnedFd, signal: c_int) -> Result<(), Errno> {
    let no_info: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: with a null siginfo the kernel fills in the one of kill(2); the other arguments are integers.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, no_info, 0) };
    Errno::result(result).map(drop)
}

/// The calling thread runs before all of normal priority while this exists (SCHED_FIFO).
#[derive(Debug)]
pub(crate) struct FirstPriority(());

impl FirstPriority {
    /// Raises the priority; `None` without the right to, or if it is not the normal one. Threads and processes that are
    /// started meanwhile have the normal one.
    pub(crate) fn take() -> Option<Self> {
        // SAFETY: the call takes integers.
        let policy = unsafe { libc::syscall(libc::SYS_sched_getscheduler, 0) };
        (policy == c_long::from(libc::SCHED_OTHER) && set_policy(libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, 1))
            .then_some(Self(()))
    }
}

impl Drop for FirstPriority {
    fn drop(&mut self) {
        set_policy(libc::SCHED_OTHER, 0);
    }
}

/// Sets the scheduling policy of the calling thread (sched_setscheduler(2), which musl lacks); returns whether it did.
fn set_policy(policy: c_int, priority: c_int) -> bool {
    // SAFETY: `struct sched_param` consists of the priority, which the pointer is to.
    unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, policy, &raw const priority) == 0 }
}

/// Returns the pid of a child that has exited but has not been reaped, and does not reap it.
/// Fails with ECHILD without children.
pub(crate) fn exited_child() -> Result<Option<i32>, Errno> {
    // SAFETY: every field is an integer or a pointer, for which zero is valid.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let how = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: the pointer is to a complete `siginfo_t`.
    Errno::result(unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, how) })?;
    // SAFETY: waitid fills the pid, or leaves it 0 if no child has exited.
    let pid = unsafe { info.si_pid() };
    Ok((pid != 0).then_some(pid))
}

/// Compares the address spaces of two tasks (kcmp(2), KCMP_VM) in an arbitrary but fixed order: `Equal` if they share
/// one, as with CLONE_VM. Tasks that have exited have none, and compare as equal.
/// Fails with ESRCH if a task does not exist, EPERM without permission to inspect both, ENOSYS in sandboxes.
pub(crate) fn compare_memory(one: i32, other: i32) -> Result<Ordering, Errno> {
    compare(one, other, KCMP_VM)
}

/// Compares the descriptor tables of two tasks (KCMP_FILES) like [`compare_memory`]: `Equal` if they share one, as with
/// CLONE_FILES.
pub(crate) fn compare_descriptors(one: i32, other: i32) -> Result<Ordering, Errno> {
    compare(one, other, KCMP_FILES)
}

fn compare(one: i32, other: i32, what: c_int) -> Result<Ordering, Errno> {
    // SAFETY: kcmp with KCMP_VM or KCMP_FILES takes only integers.
    let result: c_long = unsafe { libc::syscall(libc::SYS_kcmp, one, other, what, 0, 0) };
    match Errno::result(result)? {
        0 => Ok(Ordering::Equal),
        1 => Ok(Ordering::Less),
        2 => Ok(Ordering::Greater),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

/// Closes all inherited descriptors above standard error. Must be called before this process opens any of its own.
pub(crate) fn close_inherited() {
    // SAFETY: as the caller guarantees, nothing in this process owns a descriptor above 2 yet. Kernels without the
    // call leave the descriptors open, which does no harm to this process.
    let _ = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
}

/// Takes ownership of an inherited descriptor. `None` if it is not open, or is a standard stream. Must be called at
/// most once per number, before this process opens any of its own.
pub(crate) fn take_descriptor(number: i32) -> Option<OwnedFd> {
    // SAFETY: F_GETFD takes no pointer, and a closed descriptor is an error.
    let open = number > 2 && unsafe { libc::fcntl(number, libc::F_GETFD) } >= 0;
    // SAFETY: it is open, and as the caller guarantees nothing in this process owns it.
    open.then(|| unsafe { OwnedFd::from_raw_fd(number) })
}

/// Borrows standard input and standard output, for helper processes that were started with pipes in their place.
pub(crate) fn standard_input_and_output() -> (BorrowedFd<'static>, BorrowedFd<'static>) {
    // SAFETY: this process was started with both open, and never closes them.
    let input = unsafe { BorrowedFd::borrow_raw(libc::STDIN_FILENO) };
    // SAFETY: as above.
    let output = unsafe { BorrowedFd::borrow_raw(libc::STDOUT_FILENO) };
    (input, output)
}

/// Replaces standard input with /dev/null, writes an answer to standard output, and replaces that too, which closes the
/// pipe. Returns whether all succeeded.
pub(crate) fn answer_and_close(answer: &[u8]) -> bool {
    let (_, output) = standard_input_and_output();
    let Ok(null) = std::fs::File::options().read(true).write(true).open("/dev/null") else { return false };
    nix::unistd::dup2_stdin(&null).is_ok()
        && nix::unistd::write(output, answer) == Ok(answer.len())
        && nix::unistd::dup2_stdout(&null).is_ok()
}
