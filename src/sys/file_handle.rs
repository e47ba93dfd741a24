//! File handles (name_to_handle_at(2)), which distinguish segments that have the same inode number.
//!
//! A handle has a random part. Segments with huge pages have none, since hugetlbfs does not support handles.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc::{self, MAX_HANDLE_SZ};

/// `struct file_handle` of linux/exportfs.h, with a buffer of the largest size.
#[repr(C)]
struct FileHandle {
    header: libc::file_handle,
    bytes: [u8; MAX_HANDLE_SZ.cast_unsigned() as usize],
}

/// Returns the handle of a file; `None` if its file system has no handles.
pub(crate) fn file_handle(file: BorrowedFd<'_>) -> Option<Vec<u8>> {
    // SAFETY: every field is an integer, for which zero is valid.
    let mut handle: FileHandle = unsafe { std::mem::zeroed() };
    handle.header.handle_bytes = MAX_HANDLE_SZ.cast_unsigned();
    let (buffer, mut mount) = ((&raw mut handle).cast(), 0);
    // SAFETY: the path is a C string, `handle` has the capacity that `handle_bytes` says, and `mount` is writable.
    let result =
        unsafe { libc::name_to_handle_at(file.as_raw_fd(), c"".as_ptr(), buffer, &raw mut mount, libc::AT_EMPTY_PATH) };
    let length = usize::try_from(handle.header.handle_bytes).ok()?;
    if result < 0 { None } else { handle.bytes.get(..length).map(<[u8]>::to_vec) }
}
