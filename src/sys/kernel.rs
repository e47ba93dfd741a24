//! Constants and structures of the kernel headers that the libc crate lacks.

use nix::libc::{Ioctl, c_int, c_long, c_ulong};

/// linux/shm.h: IPC_STAT by index.
pub(crate) const SHM_STAT: c_int = 13;
/// linux/shm.h: usage of the namespace.
pub(crate) const SHM_INFO: c_int = 14;
/// linux/shm.h: IPC_STAT by index without a permission check, since 4.17.
pub(crate) const SHM_STAT_ANY: c_int = 15;
/// linux/ipc.h: limits of the namespace.
pub(crate) const IPC_INFO: c_int = 3;
/// linux/shm.h: the position of log2 of the huge page size in the flags of shmget.
pub(crate) const SHM_HUGE_SHIFT: u32 = 26;

/// `struct shminfo64` of asm-generic/shmbuf.h, which IPC_INFO fills.
#[repr(C)]
#[derive(Default)]
pub(crate) struct ShmInfo64 {
    /// In bytes.
    pub(crate) shmmax: c_ulong,
    /// In bytes.
    pub(crate) shmmin: c_ulong,
    pub(crate) shmmni: c_ulong,
    /// Not used by the kernel.
    shmseg: c_ulong,
    /// In pages.
    pub(crate) shmall: c_ulong,
    unused: [c_ulong; 4],
}

impl ShmInfo64 {
    /// Returns the fields with their names.
    pub(super) fn fields(&self) -> [(&'static str, u64); 5] {
        let Self { shmmax, shmmin, shmmni, shmseg, shmall, .. } = *self;
        [("shmmax", shmmax), ("shmmin", shmmin), ("shmmni", shmmni), ("shmseg", shmseg), ("shmall", shmall)]
    }
}

/// `struct shm_info` of linux/shm.h, which SHM_INFO fills.
#[repr(C)]
#[derive(Default)]
pub(super) struct ShmUse {
    pub(super) used_ids: c_int,
    /// In pages, as are the following.
    pub(super) shm_tot: c_ulong,
    pub(super) shm_rss: c_ulong,
    pub(super) shm_swp: c_ulong,
    /// Not used by the kernel.
    swap_attempts: c_ulong,
    /// Not used by the kernel.
    swap_successes: c_ulong,
}

impl ShmUse {
    /// Returns the fields with their names.
    pub(super) fn fields(&self) -> [(&'static str, u64); 6] {
        [
            ("used_ids", u64::from(self.used_ids.cast_unsigned())),
            ("shm_tot", self.shm_tot),
            ("shm_rss", self.shm_rss),
            ("shm_swp", self.shm_swp),
            ("swap_attempts", self.swap_attempts),
            ("swap_successes", self.swap_successes),
        ]
    }
}

/// linux/fs.h: `_IOWR('f', 17, struct procmap_query)`, on /proc/PID/maps, since 6.11.
pub(super) const PROCMAP_QUERY: Ioctl = nix::request_code_readwrite!(b'f', 17, size_of::<ProcmapQuery>());
/// linux/fs.h, flag of queries and answers: shared mapping.
pub(super) const PROCMAP_QUERY_VMA_SHARED: u64 = 0x08;
/// linux/fs.h, flag of answers: writable mapping.
pub(super) const PROCMAP_QUERY_VMA_WRITABLE: u64 = 0x02;
/// linux/fs.h, flag of queries: the mapping at the address, or else the next one.
pub(super) const PROCMAP_QUERY_COVERING_OR_NEXT_VMA: u64 = 0x10;
/// linux/fs.h, flag of queries: only file mappings.
pub(super) const PROCMAP_QUERY_FILE_BACKED_VMA: u64 = 0x20;

/// `struct procmap_query` of linux/fs.h.
#[repr(C)]
#[derive(Default)]
pub(super) struct ProcmapQuery {
    pub(super) size: u64,
    pub(super) query_flags: u64,
    pub(super) query_addr: u64,
    pub(super) vma_start: u64,
    pub(super) vma_end: u64,
    pub(super) vma_flags: u64,
    pub(super) vma_page_size: u64,
    pub(super) vma_offset: u64,
    pub(super) inode: u64,
    pub(super) dev_major: u32,
    pub(super) dev_minor: u32,
    /// Size of the buffer for the name; in the answer, the length including the final NUL. 0 for no name.
    pub(super) vma_name_size: u32,
    /// Size of the buffer for the build id; 0 for none.
    pub(super) build_id_size: u32,
    pub(super) vma_name_addr: u64,
    pub(super) build_id_addr: u64,
}

/// linux/kcmp.h: compare address spaces.
pub(super) const KCMP_VM: c_int = 1;
/// The same: compare descriptor tables.
pub(super) const KCMP_FILES: c_int = 2;

/// cachestat(2), since 6.5.
pub(super) const SYS_CACHESTAT: c_long = 451;

/// `struct cachestat_range` of linux/mman.h; length 0 means up to the end.
#[repr(C)]
pub(super) struct CachestatRange {
    pub(super) off: u64,
    pub(super) len: u64,
}

/// `struct cachestat` of linux/mman.h, in pages.
#[repr(C)]
#[derive(Default)]
pub(super) struct Cachestat {
    pub(super) nr_cache: u64,
    nr_dirty: u64,
    nr_writeback: u64,
    /// Swapped pages.
    pub(super) nr_evicted: u64,
    nr_recently_evicted: u64,
}

/// linux/ptrace.h: information about a system call, since 5.3.
pub(super) const PTRACE_GET_SYSCALL_INFO: c_long = 0x420e;

/// `struct __ptrace_peeksiginfo_args` of linux/ptrace.h.
#[repr(C)]
pub(super) struct PeekSiginfo {
    /// The position in the queue of the first signal.
    pub(super) off: u64,
    /// 0 for the queue of the thread.
    pub(super) flags: u32,
    /// Maximum number of signals to copy.
    pub(super) nr: i32,
}

/// asm-generic/siginfo.h: a seccomp filter has raised SIGSYS.
pub(super) const SYS_SECCOMP: c_int = 1;

/// linux/ptrace.h: the event of a group stop, or of a stop that the tracer has requested.
pub(super) const PTRACE_EVENT_STOP: c_int = 128;
/// linux/ptrace.h: the stop is at the start of a call.
pub(super) const PTRACE_SYSCALL_INFO_ENTRY: u8 = 1;
/// linux/ptrace.h: the stop is at the end of a call.
pub(super) const PTRACE_SYSCALL_INFO_EXIT: u8 = 2;
/// linux/ptrace.h: the stop is before the start of a call, because a filter has reported it.
pub(super) const PTRACE_SYSCALL_INFO_SECCOMP: u8 = 3;

/// `struct ptrace_syscall_info` of linux/ptrace.h.
#[repr(C)]
#[derive(Default)]
pub(super) struct SyscallInfo {
    pub(super) op: u8,
    reserved: u8,
    flags: u16,
    pub(super) arch: u32,
    instruction_pointer: u64,
    stack_pointer: u64,
    /// At the start the number and six arguments; at the end the result, and a byte that is 1 for an errno.
    pub(super) data: [u64; 8],
}
