//! System calls of an actor with any arguments.
#![expect(unsafe_code, reason = "actors make the system calls under test")]
#![expect(clippy::disallowed_methods, reason = "actors are processes of their own")]

use nix::errno::Errno;
use nix::libc;

use super::CallRequest;

/// Executes a request and returns the answer.
pub(super) fn answer(request: &CallRequest) -> String {
    let result = match *request {
        // SAFETY: tests make calls that fail, or that use no memory of this process.
        CallRequest::Raw { number, first, second, third } => unsafe { libc::syscall(number, first, second, third) },
        CallRequest::Compat { number, first, second, third } => compat(number, [first, second, third]),
        CallRequest::Control { id, command } => control(id, command).into(),
    };
    Errno::result(result).map_or_else(|errno| format!("{errno:?}"), |result| result.to_string())
}

/// Makes a call as a 32-bit program does; without the kernel's support this process gets SIGSEGV.
#[cfg(target_arch = "x86_64")]
fn compat(number: u32, [first, second, third]: [u32; 3]) -> i64 {
    let mut result = i64::from(number);
    // SAFETY: tests make calls that use no memory. The kernel preserves all registers but the result; the compiler
    // reserves rbx, which is restored.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {first}", "int 0x80", "xchg rbx, {first}",
            first = inout(reg) u64::from(first) => _,
            inout("rax") result, in("rcx") u64::from(second), in("rdx") u64::from(third),
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    };
    result
}

#[cfg(not(target_arch = "x86_64"))]
fn compat(_: u32, _: [u32; 3]) -> i64 {
    -1
}

/// Calls shmctl(2) with a buffer, for IPC_SET with the present record.
fn control(id: i32, command: i32) -> i32 {
    // Larger than each structure that a command fills.
    let mut buffer = [0_u64; 32];
    let mut call = |command| {
        // SAFETY: the buffer is as large as what the command reads or writes.
        unsafe { libc::shmctl(id, command, buffer.as_mut_ptr().cast()) }
    };
    if command == libc::IPC_SET {
        call(libc::IPC_STAT);
    }
    call(command)
}
