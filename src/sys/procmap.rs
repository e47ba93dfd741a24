//! The mappings of a process, asked of the kernel one by one (PROCMAP_QUERY, Linux 6.11).

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc;

use super::kernel::{
    PROCMAP_QUERY, PROCMAP_QUERY_COVERING_OR_NEXT_VMA, PROCMAP_QUERY_FILE_BACKED_VMA, PROCMAP_QUERY_VMA_SHARED,
    PROCMAP_QUERY_VMA_WRITABLE, ProcmapQuery,
};
use crate::model::{Access, Mapping, SEGMENT_NAME};

/// Room for the name of a segment's mapping, `/SYSV000004d2 (deleted)`, and a little more.
const NAME: usize = 64;

/// Shows the mappings of segments among those of a process, of which `/proc/PID/maps` has been opened.
///
/// `wanted` is asked for each shared file mapping by device and inode, before the kernel spells its name.
///
/// # Errors
/// ioctl(2): ENOTTY on kernels before 6.11 and in some sandboxes, ESRCH if the process has no memory any more.
pub(crate) fn segment_mappings(
    maps: BorrowedFd<'_>,
    wanted: impl Fn((u32, u32), u64) -> bool,
    mut show: impl FnMut(Mapping),
) -> Result<(), Errno> {
    let mut address = 0;
    loop {
        let found = match query(maps, address, None) {
            Ok(found) => found,
            Err(Errno::ENOENT) => return Ok(()),
            Err(errno) => return Err(errno),
        };
        address = found.vma_end;
        let device = (found.dev_major, found.dev_minor);
        if !wanted(device, found.inode) {
            continue;
        }
        let mut name = [0_u8; NAME];
        match query(maps, found.vma_start, Some(&mut name)) {
            // The same mapping still, and not one that took its place meanwhile.
            Ok(again) if again.vma_start == found.vma_start && again.inode == found.inode => {
                let length = usize::try_from(again.vma_name_size).unwrap_or(0).saturating_sub(1).min(NAME);
                let access = if again.vma_flags & PROCMAP_QUERY_VMA_WRITABLE == 0 {
                    Access::ReadOnly
                } else {
                    Access::ReadWrite
                };
                if name.starts_with(SEGMENT_NAME) {
                    show(Mapping {
                        start: again.vma_start,
                        end: again.vma_end,
                        device,
                        inode: again.inode,
                        access,
                        key: Mapping::key_in(&name[..length]),
                    });
                }
            }
            // The name is longer than any segment's, or the mapping is gone.
            Ok(_) | Err(Errno::ENAMETOOLONG | Errno::ENOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Asks for the first shared file mapping at or above an address, and for its name where there is room for it.
fn query(maps: BorrowedFd<'_>, address: u64, name: Option<&mut [u8; NAME]>) -> Result<ProcmapQuery, Errno> {
    let mut query = ProcmapQuery {
        size: size_of::<ProcmapQuery>() as u64,
        query_flags: PROCMAP_QUERY_COVERING_OR_NEXT_VMA | PROCMAP_QUERY_FILE_BACKED_VMA | PROCMAP_QUERY_VMA_SHARED,
        query_addr: address,
        ..ProcmapQuery::default()
    };
    if let Some(name) = name {
        query.vma_name_size = 64;
        query.vma_name_addr = name.as_mut_ptr().expose_provenance() as u64;
    }
    // SAFETY: the kernel reads and writes `size` bytes, all of the live structure; the name's address is null, or
    // that of a live buffer of NAME = 64 bytes, of which it writes at most `vma_name_size`.
    let result = unsafe { libc::ioctl(maps.as_raw_fd(), PROCMAP_QUERY, &raw mut query) };
    Errno::result(result).map(|_| query)
}
