//! System calls of an actor with any arguments.
#![expect(unsafe_code, reason = "actors make the system calls under test")]
#![expect(clippy::disallowed_methods, reason = "actors are processes of their own")]

use std::os::fd::IntoRawFd;

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
        CallRequest::MapAt { address } => map(address, 4096),
        CallRequest::MapReadOnly { ref path, size } => {
            let file = std::fs::File::open(path).unwrap().into_raw_fd();
            // SAFETY: the kernel chooses an unused address.
            let address =
                unsafe { libc::mmap(std::ptr::null_mut(), size, libc::PROT_WRITE, libc::MAP_SHARED, file, 0) };
            address.addr().cast_signed() as i64
        }
        CallRequest::ExhaustMappings => exhaust_mappings(),
    };
    Errno::result(result).map_or_else(|errno| format!("{errno:?}"), |result| result.to_string())
}

/// Calls the kernel as a 32-bit program does; without the kernel's support this process gets SIGSEGV.
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

/// Maps anonymous memory that cannot be accessed.
fn map(address: usize, size: usize) -> i64 {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let address = std::ptr::without_provenance_mut(address);
    // SAFETY: without MAP_FIXED the kernel replaces no mapping.
    unsafe { libc::mmap(address, size, libc::PROT_NONE, flags, -1, 0) }.addr().cast_signed() as i64
}

/// Changes the protection of every second page of a mapping, until there are too many mappings.
fn exhaust_mappings() -> i64 {
    let most = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap();
    let pages: usize = most.trim().parse::<usize>().unwrap() + 2;
    let start = usize::try_from(map(0, pages * 4096)).unwrap();
    let protect = |page: usize| {
        let address = std::ptr::without_provenance_mut(start + page * 4096);
        // SAFETY: nothing uses the mapping.
        unsafe { libc::mprotect(address, 4096, libc::PROT_READ) }
    };
    i64::from((1..pages).step_by(2).map(protect).find(|result| *result < 0).map_or(-1, |_| 0))
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
