//! The shared memory calls that a tracer shows, and the filter that reports them to it.

use nix::errno::Errno;
use nix::libc::{self, c_long, sock_filter};
use nix::sys::prctl::set_no_new_privs;

use super::SysError;
use super::filter::{
    ARCHITECTURE, AT_LEAST, COMPAT_ARCH, COMPAT_IPC, EQUALS, HAS_BIT, LOAD, MASK, NATIVE_ARCH, NUMBER, RETURN, X32_BIT,
    argument, install, op,
};
use crate::model::CallName;

/// The calls for segments, with their numbers.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const SYSV: &[(CallName, c_long)] = &[
    (CallName::Shmget, libc::SYS_shmget),
    (CallName::Shmat, libc::SYS_shmat),
    (CallName::Shmdt, libc::SYS_shmdt),
    (CallName::Shmctl, libc::SYS_shmctl),
];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const SYSV: &[(CallName, c_long)] = &[];

/// The calls on files.
const POSIX: &[(CallName, c_long)] = &[
    (CallName::Openat, libc::SYS_openat),
    (CallName::Openat2, libc::SYS_openat2),
    (CallName::Linkat, libc::SYS_linkat),
    (CallName::Unlinkat, libc::SYS_unlinkat),
    (CallName::Ftruncate, libc::SYS_ftruncate),
    (CallName::MemfdCreate, libc::SYS_memfd_create),
    (CallName::Mmap, libc::SYS_mmap),
    #[cfg(target_arch = "x86_64")]
    (CallName::Open, libc::SYS_open),
    #[cfg(target_arch = "x86_64")]
    (CallName::Creat, libc::SYS_creat),
    #[cfg(target_arch = "x86_64")]
    (CallName::Link, libc::SYS_link),
    #[cfg(target_arch = "x86_64")]
    (CallName::Unlink, libc::SYS_unlink),
];

/// The calls that install a seccomp filter, with the first argument.
const INSTALLERS: [(c_long, u32); 2] =
    [(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER), (libc::SYS_prctl, libc::PR_SET_SECCOMP.cast_unsigned())];

/// The first of the four numbers of shmget, shmat, shmdt and shmctl in 32-bit programs (asm/unistd_32.h).
const COMPAT_FIRST: u32 = if cfg!(target_arch = "aarch64") { 305 } else { 395 };
/// linux/ipc.h: the first argument of ipc(2) for SHMAT, followed by those for SHMDT, SHMGET and SHMCTL.
const IPC_CALL_SHMAT: u32 = 21;
/// The number of the calls in both ranges.
const COMPAT_COUNT: u32 = 4;

/// Returns the call that has a number of the native architecture.
pub(super) fn call_name(number: u64) -> Option<CallName> {
    let is_it = |(_, other): &&(CallName, c_long)| u64::try_from(*other) == Ok(number);
    SYSV.iter().chain(POSIX).find(is_it).map(|(name, _)| *name)
}

/// The number of calls by which [`report_calls`] probes the filter.
pub(crate) const PROBES: usize = 4;

/// Installs a filter that reports the calls of this process, and of those that it starts, to its tracer. Without a
/// tracer, these calls fail with ENOSYS. Then tries each call on segments once, with arguments with which it fails: the
/// reports show the tracer that the filter works, and that no filter of a sandbox decides first.
///
/// Without CAP_SYS_ADMIN this sets no_new_privs. This makes no difference to setuid programs: under an unprivileged
/// tracer they gain no privileges anyway.
pub(crate) fn report_calls(posix: bool) -> Result<(), SysError> {
    let mut program = filter(posix);
    let installed = match install(&mut program, 0) {
        Err(error) if error.errno == Errno::EACCES => {
            set_no_new_privs().map_err(|errno| SysError { errno, call: "prctl" })?;
            install(&mut program, 0)
        }
        installed => installed,
    };
    installed?;
    // SAFETY: the size 0 is invalid for a new segment.
    unsafe { libc::shmget(libc::IPC_PRIVATE, 0, libc::IPC_CREAT) };
    // SAFETY: -1 is not an id.
    unsafe { libc::shmat(-1, std::ptr::null(), 0) };
    // SAFETY: -1 is not an id, and this command takes no structure.
    unsafe { libc::shmctl(-1, libc::IPC_RMID, std::ptr::null_mut()) };
    // SAFETY: no segment is attached at this address.
    unsafe { libc::shmdt(std::ptr::null()) };
    Ok(())
}

fn filter(posix: bool) -> Vec<sock_filter> {
    let report = op(RETURN, libc::SECCOMP_RET_TRACE, 0, 0);
    let allow = op(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0);
    let calls = SYSV.iter().chain(if posix { POSIX } else { &[] });
    let mut native = vec![op(LOAD, NUMBER, 0, 0), op(MASK, !X32_BIT, 0, 0)];
    for (name, number) in calls {
        let number = u32::try_from(*number).unwrap_or(u32::MAX);
        if *name == CallName::Mmap {
            let anonymous = libc::MAP_ANONYMOUS.cast_unsigned();
            native.extend([
                op(EQUALS, number, 0, 3),
                op(LOAD, argument(3), 0, 0),
                op(HAS_BIT, anonymous, 1, 0),
                report,
            ]);
            native.push(op(LOAD, NUMBER, 0, 0));
        } else {
            native.extend([op(EQUALS, number, 0, 1), report]);
        }
    }
    for (number, first) in INSTALLERS {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        native.extend([op(EQUALS, number, 0, 3), op(LOAD, argument(0), 0, 0), op(EQUALS, first, 0, 1), report]);
        native.push(op(LOAD, NUMBER, 0, 0));
    }
    native.push(allow);
    let skipped = u8::try_from(native.len()).unwrap_or(u8::MAX);
    let mut program = vec![op(LOAD, ARCHITECTURE, 0, 0), op(EQUALS, NATIVE_ARCH, 0, skipped)];
    program.append(&mut native);
    program.extend([op(EQUALS, COMPAT_ARCH, 1, 0), allow, op(LOAD, NUMBER, 0, 0)]);
    program.extend([op(AT_LEAST, COMPAT_FIRST, 0, 2), op(AT_LEAST, COMPAT_FIRST + COMPAT_COUNT, 1, 0), report]);
    program.extend([op(EQUALS, COMPAT_IPC, 1, 0), allow, op(LOAD, argument(0), 0, 0), op(MASK, 0xffff, 0, 0)]);
    program.extend([
        op(AT_LEAST, IPC_CALL_SHMAT, 0, 2),
        op(AT_LEAST, IPC_CALL_SHMAT + COMPAT_COUNT, 1, 0),
        report,
        allow,
    ]);
    program
}

/// Returns whether a call of the native architecture installs a seccomp filter.
pub(super) fn installs_filter(number: u64, first_argument: u64) -> bool {
    let is_it = |(call, first): &(c_long, u32)| {
        u64::try_from(*call) == Ok(number) && u64::from(*first) == first_argument & u64::from(u32::MAX)
    };
    INSTALLERS.iter().any(is_it)
}

/// Returns whether a system call of a 32-bit program or of an x32 program is one on segments.
pub(super) fn is_of_other_architecture(architecture: u32, number: u64, first_argument: u64) -> bool {
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    let is_in = |value: u32, first: u32| (first..first + COMPAT_COUNT).contains(&value);
    match architecture {
        NATIVE_ARCH => number & X32_BIT != 0 && call_name(u64::from(number & !X32_BIT)).is_some(),
        COMPAT_ARCH if number == COMPAT_IPC => {
            u32::try_from(first_argument & 0xffff).is_ok_and(|call| is_in(call, IPC_CALL_SHMAT))
        }
        COMPAT_ARCH => is_in(number, COMPAT_FIRST),
        _ => false,
    }
}
