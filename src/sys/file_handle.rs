//! File handles (name_to_handle_at(2)), which distinguish segments that have the same inode number.
//!
//! A handle has a random part. Segments with huge pages have none, since hugetlbfs does not support handles.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::libc::{self, MAX_HANDLE_SZ};

/// `struct file_handle` of linux/exportfs.h, with a buffer of the largest size.
#[repr(C)]
struct FileHandle {
    header: libc::file_handle,
    bytes: [u8; MAX_HANDLE_SZ.cast_unsigned() as usize],
}

/// Returns the handle of a file, following symbolic links. `None` if its file system has no handles, or if the link
/// may not be followed.
pub(crate) fn file_handle(path: &Path) -> Option<Vec<u8>> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    // SAFETY: every field is an integer, for which zero is valid.
    let mut handle: FileHandle = unsafe { std::mem::zeroed() };
    handle.header.handle_bytes = MAX_HANDLE_SZ.cast_unsigned();
    let (buffer, mut mount) = ((&raw mut handle).cast(), 0);
    // SAFETY: the path is a live C string, `handle` has the capacity that `handle_bytes` says, and `mount` is writable.
    let result = unsafe {
        libc::name_to_handle_at(libc::AT_FDCWD, path.as_ptr(), buffer, &raw mut mount, libc::AT_SYMLINK_FOLLOW)
    };
    let length = usize::try_from(handle.header.handle_bytes).ok()?;
    if result < 0 { None } else { handle.bytes.get(..length).map(<[u8]>::to_vec) }
}
