//! IPC namespaces and the user namespaces that own them (setns(2), unshare(2), ioctl_nsfs(2)).

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::thread::Builder;

use nix::errno::Errno;
use nix::libc::{self, NS_GET_NSTYPE, NS_GET_PARENT, NS_GET_USERNS};
use nix::sched::{CloneFlags, setns};

use super::SysError;
use super::object::errno;

/// Moves this thread to an IPC namespace, or this process, which must be single-threaded, to a user namespace.
/// Fails as setns(2): EPERM without CAP_SYS_ADMIN (for an IPC namespace: here and in the user namespace that owns it),
/// EINVAL if it is not such a namespace, or the user namespace that the process is in already.
pub(crate) fn enter(namespace: BorrowedFd<'_>, kind: CloneFlags) -> Result<(), SysError> {
    setns(namespace, kind).map_err(|errno| SysError { errno, call: "setns" })
}

/// Moves this process, which must be single-threaded, to new namespaces. A new user namespace requires no privilege;
/// until its id maps are written, user and group are the overflow ids (65534).
/// Fails as unshare(2): EPERM without CAP_SYS_ADMIN, or if a security module, a sandbox or a chroot(2) forbids a user
/// namespace; ENOSPC at the limit (user.max_ipc_namespaces, user.max_user_namespaces); EUSERS if user namespaces are
/// nested too deeply.
pub(crate) fn unshare(kinds: CloneFlags) -> Result<(), SysError> {
    nix::sched::unshare(kinds).map_err(|errno| SysError { errno, call: "unshare" })
}

/// Mounts an empty tmpfs on a directory, in a mount namespace whose mounts are no longer shared with another one.
/// Fails as mount(2): EPERM without CAP_SYS_ADMIN in the user namespace that owns the mount namespace.
pub(crate) fn mount_private_tmpfs(directory: &str, size: u64, inodes: u64, mode: u32) -> Result<(), SysError> {
    use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
    let failed = |error| SysError { errno: errno(error), call: "mount" };
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC).map_err(failed)?;
    let options = CString::new(format!("size={size},nr_inodes={inodes},mode={mode:o}")).unwrap_or_default();
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", directory, "tmpfs", flags, &*options).map_err(failed)
}

/// Opens the user namespace that owns a namespace (NS_GET_USERNS).
/// Fails as ioctl(2): EPERM if it is neither the current user namespace nor a descendant.
pub(crate) fn owning_user_namespace(namespace: BorrowedFd<'_>) -> Result<OwnedFd, SysError> {
    open_related(namespace, NS_GET_USERNS, "ioctl NS_GET_USERNS")
}

/// Opens the parent of a user namespace (NS_GET_PARENT).
/// Fails as ioctl(2): EPERM if it is neither the current user namespace nor a descendant.
pub(crate) fn parent_user_namespace(namespace: BorrowedFd<'_>) -> Result<OwnedFd, SysError> {
    open_related(namespace, NS_GET_PARENT, "ioctl NS_GET_PARENT")
}

/// Opens another namespace by NS_GET_USERNS or NS_GET_PARENT.
fn open_related(namespace: BorrowedFd<'_>, request: libc::Ioctl, call: &'static str) -> Result<OwnedFd, SysError> {
    // SAFETY: the requests take no argument.
    let descriptor = SysError::check(unsafe { libc::ioctl(namespace.as_raw_fd(), request) }, call)?;
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
pub(crate) fn in_ipc_namespace<T: Send>(namespace: &impl AsFd, work: impl FnOnce() -> T + Send) -> Result<T, SysError> {
    let namespace = namespace.as_fd();
    in_thread(move || enter(namespace, CloneFlags::CLONE_NEWIPC).map(|()| work()))?
}

/// Calls a function in a thread that exits afterwards, so that it can enter IPC namespaces and stay there.
/// Fails as clone(2): EAGAIN at the limit of threads.
pub(crate) fn in_thread<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, SysError> {
    std::thread::scope(|scope| {
        let worker = Builder::new().spawn_scoped(scope, work);
        let worker = worker.map_err(|_| SysError { errno: Errno::EAGAIN, call: "clone" })?;
        Ok(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}
