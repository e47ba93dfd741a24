//! What the kernel's headers define and the libc crate lacks.

use nix::libc::{c_int, c_ulong};

/// linux/shm.h: `shmctl` by index, for what the caller may read.
pub(super) const SHM_STAT: c_int = 13;
/// linux/shm.h: use of the namespace.
pub(super) const SHM_INFO: c_int = 14;
/// linux/shm.h: `shmctl` by index without the check for permission, since 4.17.
pub(super) const SHM_STAT_ANY: c_int = 15;
/// linux/ipc.h: limits of the namespace.
pub(super) const IPC_INFO: c_int = 3;
/// linux/shm.h, in the mode: marked for destruction.
pub(super) const SHM_DEST: u32 = 0o1000;
/// linux/shm.h, in the mode: locked in memory.
pub(super) const SHM_LOCKED: u32 = 0o2000;
/// linux/shm.h: where shmget's flags hold the logarithm of the huge page size.
pub(super) const SHM_HUGE_SHIFT: u32 = 26;

/// `struct shminfo64` of asm-generic/shmbuf.h, which IPC_INFO fills.
#[repr(C)]
#[derive(Default)]
pub(super) struct ShmInfo64 {
    /// Largest segment in bytes.
    pub(super) shmmax: c_ulong,
    /// Smallest segment in bytes.
    pub(super) shmmin: c_ulong,
    /// Most segments.
    pub(super) shmmni: c_ulong,
    /// Not used by the kernel.
    pub(super) shmseg: c_ulong,
    /// Most pages.
    pub(super) shmall: c_ulong,
    /// Room that the kernel keeps.
    pub(super) unused: [c_ulong; 4],
}

/// `struct shm_info` of linux/shm.h, which SHM_INFO fills.
#[repr(C)]
#[derive(Default)]
pub(super) struct ShmUse {
    /// Segments.
    pub(super) used_ids: c_int,
    /// Pages of all segments.
    pub(super) shm_tot: c_ulong,
    /// Resident pages.
    pub(super) shm_rss: c_ulong,
    /// Swapped pages.
    pub(super) shm_swp: c_ulong,
    /// Not used by the kernel.
    pub(super) swap_attempts: c_ulong,
    /// Not used by the kernel.
    pub(super) swap_successes: c_ulong,
}
