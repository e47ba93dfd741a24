//! Calls of shmget(2) that are told to us before they are made (seccomp_unotify(2)).
//!
//! The filter changes nothing about what a program may do: each call is reported, and then goes on as it is. Filtered is
//! one thread and all that it starts; the right to do so is CAP_SYS_ADMIN in the own user namespace, without which the
//! kernel wants no_new_privs, by which setuid programs would lose their privilege.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc::{self, c_int, c_long, c_uint, c_ulong, seccomp_notif, seccomp_notif_resp, sock_filter, sock_fprog};

use super::{On, SysError};
use crate::model::Key;

/// linux/audit.h: what the architecture of a call is called.
const NATIVE: u32 = if cfg!(target_arch = "aarch64") { 0xc000_00b7 } else { 0xc000_003e };
/// linux/audit.h: the architecture of 32-bit programs on this one.
const COMPAT: u32 = if cfg!(target_arch = "aarch64") { 0x4000_0028 } else { 0x4000_0003 };
/// The number of shmget in 32-bit programs (asm/unistd_32.h).
const COMPAT_SHMGET: u32 = if cfg!(target_arch = "aarch64") { 307 } else { 395 };
/// The number of shmget(2); some machines have ipc(2) alone, and there nothing is listened to.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[expect(clippy::cast_possible_truncation, reason = "numbers of calls are small")]
const SHMGET: u32 = libc::SYS_shmget as u32;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const SHMGET: u32 = u32::MAX;
/// The number of ipc(2) in 32-bit programs of x86, of whose first argument 23 means shmget (linux/ipc.h).
const COMPAT_IPC: u32 = 117;
/// linux/ipc.h: SHMGET.
const IPC_CALL_SHMGET: u32 = 23;
/// asm/unistd_x32.h: the bit by which calls of the x32 interface can be told.
const X32_BIT: u32 = 0x4000_0000;

/// Where `struct seccomp_data` has the number of the call.
const NUMBER: u32 = 0;
/// Where it has the architecture.
const ARCHITECTURE: u32 = 4;
/// Where it has the lower half of the first argument.
const FIRST_ARGUMENT: u32 = 16;

/// Tells whether this program knows how calls look on this machine.
pub(crate) const CAN_LISTEN: bool = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));

/// A call of shmget that waits to be let go on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    /// By which it is let go on.
    pub(crate) id: u64,
    /// The thread that makes it, as our pid namespace numbers it; 0 if it is outside.
    pub(crate) thread: i32,
    /// The key that it asks for.
    pub(crate) key: Key,
    /// The size in bytes.
    pub(crate) size: u64,
    /// Whether it may create a segment, and not only find one.
    pub(crate) may_create: bool,
}

/// Loads what is at an offset of `struct seccomp_data`.
const fn load(offset: u32) -> sock_filter {
    step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0)
}

/// Goes on `yes` steps further if what was loaded equals a number, else `no`.
const fn equals(number: u32, yes: u8, no: u8) -> sock_filter {
    step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, number, yes, no)
}

/// Keeps some bits of what was loaded.
const fn mask(bits: u32) -> sock_filter {
    step(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, bits, 0, 0)
}

/// Ends with a verdict.
const fn verdict(verdict: c_uint) -> sock_filter {
    step(libc::BPF_RET | libc::BPF_K, verdict, 0, 0)
}

/// Makes a step of the filter.
#[expect(clippy::cast_possible_truncation, reason = "the codes have eight bits")]
const fn step(code: c_uint, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: code as u16, jt, jf, k }
}

/// Receives the calls of shmget that this thread, and every process that it starts from now on, is about to make.
#[derive(Debug)]
pub(crate) struct Listener {
    descriptor: OwnedFd,
    /// Whether a received call waits in a way that only fatal signals interrupt (Linux 5.19).
    pub(crate) waits_killable: bool,
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Installs the filter on this thread; the processes that it starts from now on inherit it.
///
/// # Errors
/// seccomp(2): EACCES without CAP_SYS_ADMIN, EBUSY if another process listens already, EINVAL or ENOSYS before Linux 5.5.
pub(crate) fn listen() -> Result<Listener, SysError> {
    let mut program = [
        load(ARCHITECTURE),
        equals(NATIVE, 1, 0),
        equals(COMPAT, 3, 10),
        load(NUMBER),
        mask(!X32_BIT),
        equals(SHMGET, 6, 7),
        load(NUMBER),
        equals(COMPAT_SHMGET, 4, 0),
        equals(if cfg!(target_arch = "x86_64") { COMPAT_IPC } else { u32::MAX }, 0, 4),
        load(FIRST_ARGUMENT),
        // Above is a version.
        mask(0xffff),
        equals(IPC_CALL_SHMGET, 0, 1),
        verdict(libc::SECCOMP_RET_USER_NOTIF),
        verdict(libc::SECCOMP_RET_ALLOW),
    ];
    let length = u16::try_from(program.len()).unwrap_or(u16::MAX);
    let program = sock_fprog { len: length, filter: program.as_mut_ptr() };
    let install = |flags: c_ulong| {
        // SAFETY: the pointer is to a program that lives through the call, with its length beside it.
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) }
    };
    // Without it, a signal makes a program repeat a call that has been received.
    let mut waits_killable = true;
    let mut result: c_long =
        install(libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
    if result < 0 && Errno::last() == Errno::EINVAL {
        waits_killable = false;
        result = install(libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
    }
    match c_int::try_from(result) {
        Ok(descriptor) if descriptor >= 0 => {
            // SAFETY: the kernel has just created this descriptor for us, and nothing else owns it.
            let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
            Ok(Listener { descriptor, waits_killable })
        }
        _ => Err(SysError::last("seccomp", On::Nothing)),
    }
}

/// Takes a call that waits; `None` if it was given up meanwhile.
///
/// # Errors
/// ioctl(2), if it is no listener.
pub(crate) fn receive(listener: &impl AsFd) -> Result<Option<Call>, Errno> {
    // SAFETY: every field is an integer, for which zero is a value; the kernel wants it to be zero.
    let mut told: seccomp_notif = unsafe { std::mem::zeroed() };
    let descriptor = listener.as_fd().as_raw_fd();
    // SAFETY: the request fills a record of this type, which the pointer is to.
    if unsafe { libc::ioctl(descriptor, libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut told) } < 0 {
        return match Errno::last() {
            Errno::ENOENT | Errno::EINTR => Ok(None),
            errno => Err(errno),
        };
    }
    let through_ipc = told.data.arch == COMPAT && told.data.nr.cast_unsigned() == COMPAT_IPC;
    let arguments = if through_ipc { &told.data.args[1..] } else { &told.data.args[..] };
    #[expect(clippy::cast_possible_truncation, reason = "the kernel takes the lower half for the key as well")]
    let key = Key::new(arguments[0] as u32);
    let may_create = key == Key::PRIVATE || arguments[2] & u64::from(libc::IPC_CREAT.cast_unsigned()) != 0;
    Ok(Some(Call { id: told.id, thread: told.pid.cast_signed(), key, size: arguments[1], may_create }))
}

/// Tells whether a call still waits, and its thread is the one that made it.
pub(crate) fn still_waits(listener: &impl AsFd, call: u64) -> bool {
    // SAFETY: the request reads a number of 64 bits, which the pointer is to.
    unsafe { libc::ioctl(listener.as_fd().as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const call) == 0 }
}

/// Lets a call go on as it is; one that was given up meanwhile needs no answer.
pub(crate) fn let_go_on(listener: &impl AsFd, call: u64) {
    #[expect(clippy::cast_possible_truncation, reason = "the flag is 1")]
    let answer =
        seccomp_notif_resp { id: call, val: 0, error: 0, flags: libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32 };
    // SAFETY: the request reads a record of this type, which the pointer is to.
    unsafe { libc::ioctl(listener.as_fd().as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw const answer) };
}
