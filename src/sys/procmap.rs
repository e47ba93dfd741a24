//! The mappings of a process by ioctl (PROCMAP_QUERY, Linux 6.11), without reading the text of /proc/PID/maps.

use std::collections::HashSet;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc;

use super::kernel::{
    PROCMAP_QUERY, PROCMAP_QUERY_COVERING_OR_NEXT_VMA, PROCMAP_QUERY_FILE_BACKED_VMA, PROCMAP_QUERY_VMA_SHARED,
    PROCMAP_QUERY_VMA_WRITABLE, ProcmapQuery,
};
use crate::model::{Access, Device, FileId, FileMapping, Mapping, SEGMENT_NAME};

/// Size of the buffer for names; those of segments (`/SYSV000004d2 (deleted)`) are shorter.
const NAME_SIZE: usize = 64;

/// Calls `visit` for each mapping of a segment in a process whose /proc/PID/maps is `maps`.
///
/// A mapping counts if its name begins with `/SYSV` and `wanted` accepts its device and inode. Fails as ioctl(2):
/// ENOTTY on kernels before 6.11 and in some sandboxes, ESRCH if the process has released its memory.
pub(crate) fn segment_mappings(
    maps: BorrowedFd<'_>,
    wanted: impl Fn(Device, u64) -> bool,
    mut visit: impl FnMut(Mapping),
) -> Result<(), Errno> {
    let mut address = 0;
    loop {
        let mut name = [0_u8; NAME_SIZE];
        let found = match query(maps, PROCMAP_QUERY_VMA_SHARED, address, Some(&mut name)) {
            // The name is longer than any segment's.
            Err(Errno::ENAMETOOLONG) => query(maps, PROCMAP_QUERY_VMA_SHARED, address, None),
            found => found,
        };
        let Some(found) = found? else { return Ok(()) };
        address = found.vma_end;
        let device = Device(found.dev_major, found.dev_minor);
        if name.starts_with(SEGMENT_NAME) && wanted(device, found.inode) {
            visit(Mapping {
                start: found.vma_start,
                end: found.vma_end,
                device,
                inode: found.inode,
                access: access(&found),
                key: Mapping::key_in(&name),
            });
        }
    }
}

/// Calls `visit` for each mapping, shared or private, of a file on one of these devices, with its name.
///
/// Fails like [`segment_mappings`].
pub(crate) fn file_mappings(
    maps: BorrowedFd<'_>,
    devices: &HashSet<Device>,
    mut visit: impl FnMut(FileMapping, &[u8]),
) -> Result<(), Errno> {
    let mut address = 0;
    let mut name = [0_u8; 4096];
    while let Some(found) = query(maps, 0, address, None)? {
        address = found.vma_end;
        let device = Device(found.dev_major, found.dev_minor);
        if !devices.contains(&device) {
            continue;
        }
        let length = match query(maps, 0, found.vma_start, Some(&mut name)) {
            Ok(Some(again)) if again.vma_start == found.vma_start => {
                usize::try_from(again.vma_name_size).unwrap_or_default().saturating_sub(1)
            }
            _ => 0,
        };
        let mapping = FileMapping {
            file: FileId { device, inode: found.inode },
            start: found.vma_start,
            end: found.vma_end,
            access: access(&found),
            private: found.vma_flags & PROCMAP_QUERY_VMA_SHARED == 0,
        };
        visit(mapping, name.get(..length).unwrap_or_default());
    }
    Ok(())
}

fn access(mapping: &ProcmapQuery) -> Access {
    if mapping.vma_flags & PROCMAP_QUERY_VMA_WRITABLE == 0 { Access::ReadOnly } else { Access::ReadWrite }
}

/// Queries the first file mapping with these flags at or after an address, with its name if there is a buffer. `None`
/// if there is no such mapping.
fn query(
    maps: BorrowedFd<'_>,
    flags: u64,
    address: u64,
    name: Option<&mut [u8]>,
) -> Result<Option<ProcmapQuery>, Errno> {
    let mut query = ProcmapQuery {
        size: size_of::<ProcmapQuery>() as u64,
        query_flags: PROCMAP_QUERY_COVERING_OR_NEXT_VMA | PROCMAP_QUERY_FILE_BACKED_VMA | flags,
        query_addr: address,
        ..ProcmapQuery::default()
    };
    if let Some(name) = name {
        query.vma_name_size = u32::try_from(name.len()).unwrap_or_default();
        query.vma_name_addr = name.as_mut_ptr().expose_provenance() as u64;
    }
    // SAFETY: the kernel reads and writes `size` bytes, which is the complete live structure. The name's address is
    // null or that of a live buffer, of which the kernel writes at most `vma_name_size`.
    let result = unsafe { libc::ioctl(maps.as_raw_fd(), PROCMAP_QUERY, &raw mut query) };
    match Errno::result(result) {
        Ok(_) => Ok(Some(query)),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}
