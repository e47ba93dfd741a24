//! Processes by descriptor, which no reuse of a pid can deceive; and what a process says of itself.

use std::cmp::Ordering;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{self, c_int, c_long};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::kernel::KCMP_VM;
use super::{On, SysError};

/// Opens a descriptor of a process (pidfd_open(2), Linux 5.3).
///
/// # Errors
/// ESRCH if there is no such process; EINVAL or ENOENT if the number is a thread's; ENOSYS or EPERM in sandboxes.
pub(crate) fn open_pidfd(pid: i32) -> Result<OwnedFd, SysError> {
    // SAFETY: pidfd_open takes two integers.
    let descriptor: c_long = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    match i32::try_from(descriptor) {
        // SAFETY: the kernel has just made this descriptor for us, and nobody else knows of it.
        Ok(descriptor) if descriptor >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(SysError::last("pidfd_open", On::Pid(pid))),
    }
}

/// Waits until a process has ended, at most so long; gives whether it has.
///
/// # Errors
/// poll(2), EINTR included.
pub(crate) fn wait_ended(pidfd: &OwnedFd, at_most: Duration) -> Result<bool, Errno> {
    let timeout = PollTimeout::try_from(at_most).unwrap_or(PollTimeout::MAX);
    let mut descriptors = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    poll(&mut descriptors, timeout).map(|ready| ready > 0)
}

/// Asks a process to end (SIGTERM through pidfd_send_signal(2)).
///
/// # Errors
/// ESRCH if it has ended, EPERM without the right.
pub(crate) fn ask_to_end(pidfd: &OwnedFd, pid: i32) -> Result<(), SysError> {
    let sent = send(pidfd, libc::SIGTERM);
    sent.map_err(|errno| SysError { errno, call: "pidfd_send_signal", target: On::Pid(pid) })
}

/// Tells whether a process still has its number: it lives, or nobody has asked yet how it ended.
pub(crate) fn is_unreaped(pidfd: &OwnedFd) -> bool {
    send(pidfd, 0) != Err(Errno::ESRCH)
}

/// Sends a signal (pidfd_send_signal(2)); 0 is none, and asks alone whether it could be sent.
fn send(pidfd: &OwnedFd, signal: c_int) -> Result<(), Errno> {
    let nothing: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: a null siginfo asks for the one that kill(2) would send; the other arguments are integers.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, nothing, 0) };
    Errno::result(result).map(drop)
}

/// Returns the pid of a child that has exited and has not been waited for, and leaves it so. `None` if there is none.
pub(crate) fn exited_child() -> Option<i32> {
    // SAFETY: every field is an integer or a pointer, for which zero is a value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let how = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: the pointer is to a whole record.
    let result = unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, how) };
    // SAFETY: waitid fills the pid, or leaves it 0 if no child has exited.
    let pid = unsafe { info.si_pid() };
    (result == 0 && pid != 0).then_some(pid)
}

/// Compares the memories of two tasks (kcmp(2), KCMP_VM) in an order of the kernel's own: `Equal` if they share one, as
/// with CLONE_VM. All tasks that have exited, and so have no memory, compare as equal.
///
/// # Errors
/// ESRCH if a task does not exist; EPERM without the right to inspect both; ENOSYS in sandboxes.
pub(crate) fn compare_memory(one: i32, other: i32) -> Result<Ordering, Errno> {
    // SAFETY: kcmp with KCMP_VM takes only integers.
    let result: c_long = unsafe { libc::syscall(libc::SYS_kcmp, one, other, KCMP_VM, 0, 0) };
    match Errno::result(result)? {
        0 => Ok(Ordering::Equal),
        1 => Ok(Ordering::Less),
        2 => Ok(Ordering::Greater),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

/// Names this process, at most fifteen bytes of it (PR_SET_NAME).
pub(crate) fn set_name(name: &std::ffi::CStr) {
    // A name is a courtesy to whoever reads it; the call fails for no name that it was given a pointer to.
    let _ = nix::sys::prctl::set_name(name);
}

/// Closes every descriptor above standard error that a caller left open in us.
///
/// To be called before this process has opened any of its own.
pub(crate) fn close_inherited() {
    // SAFETY: nothing in this process owns a descriptor above 2 yet, as the caller promises, so that none is
    // closed under an owner. A kernel without the call leaves them open, which harms nobody but the caller.
    let _ = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
}

/// Takes a descriptor that this process was started with, by its number; `None` if it is not open, or a standard stream.
///
/// To be called once for a number, before this process has opened any of its own.
pub(crate) fn take_descriptor(number: i32) -> Option<OwnedFd> {
    // SAFETY: the request takes no pointer, and a descriptor that is not open is an error.
    let open = number > 2 && unsafe { libc::fcntl(number, libc::F_GETFD) } >= 0;
    // SAFETY: it is open, and by the caller's promise nothing in this process owns it.
    open.then(|| unsafe { OwnedFd::from_raw_fd(number) })
}

/// Lends standard input and standard output, for a process of ours that was given other things in their place.
pub(crate) fn standard_input_and_output() -> (BorrowedFd<'static>, BorrowedFd<'static>) {
    // SAFETY: this process was started with both open, and nobody in it closes them.
    let input = unsafe { BorrowedFd::borrow_raw(libc::STDIN_FILENO) };
    // SAFETY: as above.
    let output = unsafe { BorrowedFd::borrow_raw(libc::STDOUT_FILENO) };
    (input, output)
}

/// Writes an answer to the pipe that is our standard output, and lets go of it; gives whether both went well.
pub(crate) fn answer_and_let_go(answer: &[u8]) -> bool {
    // SAFETY: the pointer and the length are of one live slice; nobody closes standard output in between.
    let written = unsafe { libc::write(libc::STDOUT_FILENO, answer.as_ptr().cast(), answer.len()) };
    let null = std::fs::File::options().write(true).open("/dev/null");
    usize::try_from(written) == Ok(answer.len()) && null.is_ok_and(|null| nix::unistd::dup2_stdout(null).is_ok())
}
