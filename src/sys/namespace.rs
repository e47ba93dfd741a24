//! IPC namespaces and the user namespaces that own them (setns(2), unshare(2), ioctl_nsfs(2)).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::thread::Builder;

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, setns, unshare};

use super::kernel::{NS_GET_NSTYPE, NS_GET_USERNS};
use super::{Subject, SysError};

/// Moves this thread to an IPC namespace.
///
/// # Errors
/// setns(2): EPERM without CAP_SYS_ADMIN here and in the user namespace that owns it, EINVAL if it is not an IPC
/// namespace.
pub(crate) fn enter_ipc(namespace: BorrowedFd<'_>) -> Result<(), SysError> {
    setns(namespace, CloneFlags::CLONE_NEWIPC).map_err(setns_failed)
}

/// Moves this process, which must be single-threaded, to a user namespace.
///
/// # Errors
/// setns(2): EPERM without CAP_SYS_ADMIN in it, EINVAL with several threads or if the process is in it already.
pub(crate) fn enter_user(namespace: BorrowedFd<'_>) -> Result<(), SysError> {
    setns(namespace, CloneFlags::CLONE_NEWUSER).map_err(setns_failed)
}

/// Moves this process, which must be single-threaded, to a new IPC namespace.
///
/// # Errors
/// unshare(2): EPERM without CAP_SYS_ADMIN, ENOSPC at the limit (user.max_ipc_namespaces).
pub(crate) fn unshare_ipc() -> Result<(), SysError> {
    unshare(CloneFlags::CLONE_NEWIPC).map_err(|errno| SysError { errno, call: "unshare", target: Subject::None })
}

/// Moves this process to a new user and a new IPC namespace, which requires no privilege. Until an id map is written,
/// its user and group are the overflow ids (65534).
///
/// # Errors
/// unshare(2): EPERM if a security module, a sandbox or a chroot(2) forbids it, ENOSPC at the limit
/// (user.max_user_namespaces), EUSERS if user namespaces are nested too deeply.
pub(crate) fn unshare_user_and_ipc() -> Result<(), SysError> {
    let both = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWIPC;
    unshare(both).map_err(|errno| SysError { errno, call: "unshare", target: Subject::None })
}

/// Moves this process to a new user namespace only.
///
/// # Errors
/// As [`unshare_user_and_ipc`].
pub(crate) fn unshare_user() -> Result<(), SysError> {
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|errno| SysError { errno, call: "unshare", target: Subject::None })
}

/// Opens the user namespace that owns a namespace (NS_GET_USERNS).
///
/// # Errors
/// ioctl(2): EPERM if it is neither the current user namespace nor a descendant.
pub(crate) fn owning_user_namespace(namespace: BorrowedFd<'_>) -> Result<OwnedFd, SysError> {
    // SAFETY: NS_GET_USERNS takes no argument.
    let descriptor = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_USERNS) };
    if descriptor < 0 {
        return Err(SysError::last("ioctl NS_GET_USERNS", Subject::None));
    }
    // SAFETY: the kernel has just created this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Returns whether a file is an IPC namespace (NS_GET_NSTYPE).
pub(crate) fn is_ipc_namespace(file: BorrowedFd<'_>) -> bool {
    // SAFETY: NS_GET_NSTYPE takes no argument, and fails for other files.
    let kind = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) };
    kind == libc::CLONE_NEWIPC
}

/// Calls a function in another IPC namespace, in a thread that exits afterwards.
///
/// # Errors
/// As [`enter_ipc`]; EAGAIN if no thread can be created.
pub(crate) fn in_ipc_namespace<T: Send>(namespace: &impl AsFd, work: impl FnOnce() -> T + Send) -> Result<T, SysError> {
    let namespace = namespace.as_fd();
    std::thread::scope(|scope| {
        let worker = Builder::new().spawn_scoped(scope, move || enter_ipc(namespace).map(|()| work()));
        match worker.map_err(|_| setns_failed(Errno::EAGAIN))?.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn setns_failed(errno: Errno) -> SysError {
    SysError { errno, call: "setns", target: Subject::None }
}
