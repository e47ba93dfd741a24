//! IPC namespaces, and the user namespaces that own them (setns(2), ioctl_ns(2)).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::thread::Builder;

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, setns, unshare};

use super::kernel::{NS_GET_NSTYPE, NS_GET_USERNS};
use super::{On, SysError};

/// Enters an IPC namespace with this thread alone.
///
/// # Errors
/// setns(2): EPERM without CAP_SYS_ADMIN here or in the user namespace that owns it, EINVAL if it is none.
pub(crate) fn enter_ipc(namespace: BorrowedFd<'_>) -> Result<(), SysError> {
    setns(namespace, CloneFlags::CLONE_NEWIPC).map_err(failed)
}

/// Enters a user namespace with this process, which must have one thread.
///
/// # Errors
/// setns(2): EPERM without CAP_SYS_ADMIN in it, EINVAL with several threads, or if we are in it already.
pub(crate) fn enter_user(namespace: BorrowedFd<'_>) -> Result<(), SysError> {
    setns(namespace, CloneFlags::CLONE_NEWUSER).map_err(failed)
}

/// Leaves the IPC namespace for a new and empty one, with this process, which must have one thread.
///
/// # Errors
/// unshare(2): EPERM without CAP_SYS_ADMIN, ENOSPC if there are as many as there may be (user.max_ipc_namespaces).
pub(crate) fn leave_ipc() -> Result<(), SysError> {
    unshare(CloneFlags::CLONE_NEWIPC).map_err(|errno| SysError { errno, call: "unshare", target: On::Nothing })
}

/// Leaves the user namespace too, which takes no privilege; this process is nobody in the new one before it has a map.
///
/// # Errors
/// unshare(2): EPERM where a security module, a sandbox or a chroot(2) forbids it, ENOSPC if there are as many as there
/// may be (user.max_user_namespaces), EUSERS if they are nested too deep.
pub(crate) fn leave_user_and_ipc() -> Result<(), SysError> {
    let both = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWIPC;
    unshare(both).map_err(|errno| SysError { errno, call: "unshare", target: On::Nothing })
}

/// Leaves the user namespace alone, likewise.
///
/// # Errors
/// As those of [`leave_user_and_ipc`].
pub(crate) fn leave_user() -> Result<(), SysError> {
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|errno| SysError { errno, call: "unshare", target: On::Nothing })
}

/// Opens the user namespace that owns a namespace (NS_GET_USERNS).
///
/// # Errors
/// ioctl(2): EPERM if it is neither ours nor below it.
pub(crate) fn owner_of(namespace: BorrowedFd<'_>) -> Result<OwnedFd, SysError> {
    // SAFETY: this request takes no argument.
    let descriptor = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_USERNS) };
    if descriptor < 0 {
        return Err(SysError::last("ioctl NS_GET_USERNS", On::Nothing));
    }
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Tells whether a file is an IPC namespace (NS_GET_NSTYPE).
pub(crate) fn is_ipc(file: BorrowedFd<'_>) -> bool {
    // SAFETY: this request takes no argument, and what is no namespace does not know it.
    let kind = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) };
    kind == libc::CLONE_NEWIPC
}

/// Does some work in another IPC namespace, in a thread that ends with it.
///
/// # Errors
/// The namespace cannot be entered, as with [`enter_ipc`]; EAGAIN if there is no thread to be had.
pub(crate) fn in_ipc_namespace<T: Send>(namespace: &impl AsFd, work: impl FnOnce() -> T + Send) -> Result<T, SysError> {
    let namespace = namespace.as_fd();
    std::thread::scope(|scope| {
        let worker = Builder::new().spawn_scoped(scope, move || enter_ipc(namespace).map(|()| work()));
        match worker.map_err(|_| failed(Errno::EAGAIN))?.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Makes the error of a namespace that cannot be entered.
fn failed(errno: Errno) -> SysError {
    SysError { errno, call: "setns", target: On::Nothing }
}
