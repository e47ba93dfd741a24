//! What the kernel's headers define and the libc crate lacks.

use nix::libc::{Ioctl, c_int, c_ulong};

/// linux/shm.h: `shmctl` by index, for what the caller may read.
pub(super) const SHM_STAT: c_int = 13;
/// linux/shm.h: use of the namespace.
pub(super) const SHM_INFO: c_int = 14;
/// linux/shm.h: `shmctl` by index without the check for permission, since 4.17.
pub(super) const SHM_STAT_ANY: c_int = 15;
/// linux/ipc.h: limits of the namespace.
pub(super) const IPC_INFO: c_int = 3;
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

/// linux/fs.h: `_IOWR('f', 17, struct procmap_query)`, on /proc/PID/maps, since 6.11.
pub(super) const PROCMAP_QUERY: Ioctl = nix::request_code_readwrite!(b'f', 17, size_of::<ProcmapQuery>());
/// linux/fs.h, a flag: shared mappings alone when asked, whether it is one when answered.
pub(super) const PROCMAP_QUERY_VMA_SHARED: u64 = 0x08;
/// linux/fs.h, a flag of the answer: it may be written.
pub(super) const PROCMAP_QUERY_VMA_WRITABLE: u64 = 0x02;
/// linux/fs.h, a flag of the question: the mapping at the address, or else the next one.
pub(super) const PROCMAP_QUERY_COVERING_OR_NEXT_VMA: u64 = 0x10;
/// linux/fs.h, a flag of the question: mappings of files alone.
pub(super) const PROCMAP_QUERY_FILE_BACKED_VMA: u64 = 0x20;

/// `struct procmap_query` of linux/fs.h.
#[repr(C)]
#[derive(Default)]
pub(super) struct ProcmapQuery {
    /// Bytes of this structure.
    pub(super) size: u64,
    /// What is asked for.
    pub(super) query_flags: u64,
    /// From where on.
    pub(super) query_addr: u64,
    /// First address.
    pub(super) vma_start: u64,
    /// Address behind the last.
    pub(super) vma_end: u64,
    /// What it may be used for.
    pub(super) vma_flags: u64,
    /// Bytes in its pages.
    pub(super) vma_page_size: u64,
    /// Where in the file it begins.
    pub(super) vma_offset: u64,
    /// Inode number of the file.
    pub(super) inode: u64,
    /// Device of the file, major.
    pub(super) dev_major: u32,
    /// Device of the file, minor.
    pub(super) dev_minor: u32,
    /// Room for the name, and then its length with the zero behind it; 0 for no name.
    pub(super) vma_name_size: u32,
    /// Room for the build id; 0 for none.
    pub(super) build_id_size: u32,
    /// Where the name goes.
    pub(super) vma_name_addr: u64,
    /// Where the build id goes.
    pub(super) build_id_addr: u64,
}

/// linux/kcmp.h: whether two processes share their memory.
pub(super) const KCMP_VM: c_int = 1;
/// linux/nsfs.h: `_IO(0xb7, 1)`, the user namespace that owns a namespace.
pub(super) const NS_GET_USERNS: Ioctl = nix::request_code_none!(0xb7, 1);
/// linux/nsfs.h: `_IO(0xb7, 3)`, the CLONE_ flag of a namespace's kind.
pub(super) const NS_GET_NSTYPE: Ioctl = nix::request_code_none!(0xb7, 3);

/// The most bytes of a file handle (linux/exportfs.h, MAX_HANDLE_SZ).
pub(super) const MAX_HANDLE_SIZE: usize = 128;

/// `struct file_handle` of linux/exportfs.h with room behind it.
#[repr(C)]
pub(super) struct FileHandle {
    /// Room, and then length, of the handle.
    pub(super) handle_bytes: u32,
    /// Kind of the handle.
    pub(super) handle_type: c_int,
    /// The handle.
    pub(super) f_handle: [u8; MAX_HANDLE_SIZE],
}
