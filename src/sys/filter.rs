//! Seccomp filters (seccomp(2)): programs that decide about each system call of a process and of those that it starts.

use nix::errno::Errno;
use nix::libc::{self, c_long, c_uint, c_ulong, sock_filter, sock_fprog};

use super::SysError;

/// Whether this architecture is supported. Some only have ipc(2).
pub(crate) const HAS_SHM_CALLS: bool = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));

/// linux/audit.h: AUDIT_ARCH of native system calls.
pub(super) const NATIVE_ARCH: u32 = if cfg!(target_arch = "aarch64") { 0xc000_00b7 } else { 0xc000_003e };
/// linux/audit.h: AUDIT_ARCH of 32-bit programs.
pub(super) const COMPAT_ARCH: u32 = if cfg!(target_arch = "aarch64") { 0x4000_0028 } else { 0x4000_0003 };
/// The number of ipc(2) in 32-bit programs of x86, where the first argument selects the call (linux/ipc.h).
pub(super) const COMPAT_IPC: u32 = if cfg!(target_arch = "x86_64") { 117 } else { u32::MAX };
/// asm/unistd.h, __X32_SYSCALL_BIT: set in the numbers of x32 system calls.
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// Loads the word at an offset of `struct seccomp_data`.
pub(super) const LOAD: c_uint = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
/// Skips the first number of instructions if the loaded word equals the operand, otherwise the second.
pub(super) const EQUALS: c_uint = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
/// The same, if the loaded word is at least the operand.
pub(super) const AT_LEAST: c_uint = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
/// The same, if the loaded word has a bit of the operand.
pub(super) const HAS_BIT: c_uint = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
/// Masks the loaded word.
pub(super) const MASK: c_uint = libc::BPF_ALU | libc::BPF_AND | libc::BPF_K;
/// Returns an action.
pub(super) const RETURN: c_uint = libc::BPF_RET | libc::BPF_K;
/// The offset of the system call's number in `struct seccomp_data`.
pub(super) const NUMBER: u32 = 0;
/// The offset of the architecture.
pub(super) const ARCHITECTURE: u32 = 4;

/// Returns the offset of the lower half of an argument, counted from 0.
pub(super) const fn argument(index: u32) -> u32 {
    16 + 8 * index
}

#[expect(clippy::cast_possible_truncation, reason = "opcodes have eight bits")]
pub(super) const fn op(code: c_uint, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: code as u16, jt, jf, k }
}

/// Installs a filter on this thread. The processes that it starts inherit it.
/// Fails as seccomp(2), with EACCES without CAP_SYS_ADMIN or no_new_privs.
pub(super) fn install(program: &mut [sock_filter], flags: c_ulong) -> Result<c_long, SysError> {
    let length = u16::try_from(program.len()).unwrap_or(u16::MAX);
    let program = sock_fprog { len: length, filter: program.as_mut_ptr() };
    // SAFETY: the pointer is to a program that lives through the call, and `len` is its length.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    Errno::result(result).map_err(|errno| SysError { errno, call: "seccomp" })
}
