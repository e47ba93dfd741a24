//! Notifications of shmget(2) calls before they are executed (seccomp_unotify(2)).
//!
//! The filter does not change what a program may do: each call is reported, and then continues unchanged. The filter
//! applies to one thread and every process that it starts. Installing it requires CAP_SYS_ADMIN in the current user
//! namespace. The alternative is no_new_privs, under which setuid programs would lose their privileges.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc::{self, c_int, c_ulong, seccomp_notif, seccomp_notif_resp};

use super::SysError;
use super::filter::{
    ARCHITECTURE, COMPAT_ARCH, COMPAT_IPC, EQUALS, LOAD, MASK, NATIVE_ARCH, NUMBER, RETURN, X32_BIT, argument, install,
    op,
};
use crate::model::Key;

/// The number of shmget in 32-bit programs (asm/unistd_32.h).
const COMPAT_SHMGET: u32 = if cfg!(target_arch = "aarch64") { 307 } else { 395 };
/// The number of shmget(2).
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[expect(clippy::cast_possible_truncation, reason = "system call numbers are small")]
const SHMGET: u32 = libc::SYS_shmget as u32;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const SHMGET: u32 = u32::MAX;
/// linux/ipc.h: SHMGET.
const IPC_CALL_SHMGET: u32 = 23;

/// A call of shmget that waits for a response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    /// The notification's id, for the response.
    pub(crate) id: u64,
    /// The calling thread in this pid namespace; 0 if it is not visible here.
    pub(crate) thread: i32,
    pub(crate) key: Key,
    /// In bytes.
    pub(crate) size: u64,
    /// Whether it can create a segment, instead of only looking one up.
    pub(crate) may_create: bool,
}

/// Receives the shmget calls of this thread and of every process that it starts from now on.
#[derive(Debug)]
pub(crate) struct Listener {
    descriptor: OwnedFd,
    /// Whether only fatal signals interrupt a call that has been received (Linux 5.19).
    pub(crate) waits_killable: bool,
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Installs the filter on this thread. The processes that it starts inherit it.
/// Fails as seccomp(2): EACCES without CAP_SYS_ADMIN, EBUSY if another process listens already, EINVAL or ENOSYS before
/// Linux 5.5.
pub(crate) fn listen() -> Result<Listener, SysError> {
    let mut program = [
        op(LOAD, ARCHITECTURE, 0, 0),
        op(EQUALS, NATIVE_ARCH, 1, 0),
        op(EQUALS, COMPAT_ARCH, 3, 10),
        op(LOAD, NUMBER, 0, 0),
        op(MASK, !X32_BIT, 0, 0),
        op(EQUALS, SHMGET, 6, 7),
        op(LOAD, NUMBER, 0, 0),
        op(EQUALS, COMPAT_SHMGET, 4, 0),
        op(EQUALS, COMPAT_IPC, 0, 4),
        op(LOAD, argument(0), 0, 0),
        // The upper half of ipc(2)'s first argument is a version.
        op(MASK, 0xffff, 0, 0),
        op(EQUALS, IPC_CALL_SHMGET, 0, 1),
        op(RETURN, libc::SECCOMP_RET_USER_NOTIF, 0, 0),
        op(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let mut install = |flags: c_ulong| install(&mut program, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | flags);
    // Without WAIT_KILLABLE_RECV, a signal makes a program repeat a call that has been received.
    let mut result = install(libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
    let waits_killable = !result.is_err_and(|error| error.errno == Errno::EINVAL);
    if !waits_killable {
        result = install(0);
    }
    let number = c_int::try_from(result?).map_err(|_| SysError { errno: Errno::EBADF, call: "seccomp" })?;
    // SAFETY: the kernel has just created this descriptor, and nothing else owns it.
    Ok(Listener { descriptor: unsafe { OwnedFd::from_raw_fd(number) }, waits_killable })
}

/// Receives a call; `None` if it was interrupted meanwhile.
pub(crate) fn receive(listener: &impl AsFd) -> Result<Option<Call>, Errno> {
    // SAFETY: every field is an integer, for which zero is valid. The kernel requires a zeroed structure.
    let mut notification: seccomp_notif = unsafe { std::mem::zeroed() };
    let descriptor = listener.as_fd().as_raw_fd();
    // SAFETY: SECCOMP_IOCTL_NOTIF_RECV writes a `seccomp_notif`, which the pointer is to.
    if unsafe { libc::ioctl(descriptor, libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut notification) } < 0 {
        return match Errno::last() {
            Errno::ENOENT | Errno::EINTR => Ok(None),
            errno => Err(errno),
        };
    }
    let through_ipc = notification.data.arch == COMPAT_ARCH && notification.data.nr.cast_unsigned() == COMPAT_IPC;
    let arguments = if through_ipc { &notification.data.args[1..] } else { &notification.data.args[..] };
    #[expect(clippy::cast_possible_truncation, reason = "the kernel uses the lower half as the key, too")]
    let key = Key::new(arguments[0] as u32);
    let may_create = key == Key::PRIVATE || arguments[2] & u64::from(libc::IPC_CREAT.cast_unsigned()) != 0;
    Ok(Some(Call { id: notification.id, thread: notification.pid.cast_signed(), key, size: arguments[1], may_create }))
}

/// Returns whether a call still waits; then its thread id has not been reused.
pub(crate) fn is_pending(listener: &impl AsFd, call: u64) -> Result<bool, Errno> {
    let ask = || {
        // SAFETY: SECCOMP_IOCTL_NOTIF_ID_VALID reads a 64-bit number, which the pointer is to.
        unsafe { libc::ioctl(listener.as_fd().as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const call) }
    };
    still_waits(ask)
}

/// Responds that a call continues unchanged. One that was interrupted needs no response.
pub(crate) fn respond_continue(listener: &impl AsFd, call: u64) -> Result<(), Errno> {
    #[expect(clippy::cast_possible_truncation, reason = "the flag is 1")]
    let response =
        seccomp_notif_resp { id: call, val: 0, error: 0, flags: libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32 };
    let respond = || {
        // SAFETY: SECCOMP_IOCTL_NOTIF_SEND reads a `seccomp_notif_resp`, which the pointer is to.
        unsafe { libc::ioctl(listener.as_fd().as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw const response) }
    };
    still_waits(respond).map(drop)
}

/// Repeats an ioctl about a received call while it is interrupted; returns whether the call still waited.
fn still_waits(ioctl: impl Fn() -> c_int) -> Result<bool, Errno> {
    loop {
        match Errno::result(ioctl()) {
            Ok(_) => return Ok(true),
            Err(Errno::EINTR) => {}
            // It was interrupted, its thread was killed, or it has its response.
            Err(Errno::ENOENT | Errno::EINPROGRESS) => return Ok(false),
            Err(errno) => return Err(errno),
        }
    }
}
