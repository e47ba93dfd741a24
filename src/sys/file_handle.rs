//! File handles (name_to_handle_at(2)), which distinguish segments that have the same inode number.
//!
//! A handle has a random part. Segments with huge pages have none, since hugetlbfs does not support handles.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::libc;

use super::kernel::{FileHandle, MAX_HANDLE_SIZE};

/// Returns the handle of a file, following symbolic links. `None` if its file system has no handles, or if the link
/// may not be followed.
pub(crate) fn file_handle(path: &Path) -> Option<Vec<u8>> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    let mut handle = FileHandle { handle_bytes: 0, handle_type: 0, f_handle: [0; MAX_HANDLE_SIZE] };
    handle.handle_bytes = u32::try_from(MAX_HANDLE_SIZE).ok()?;
    let mut mount = 0;
    // SAFETY: the path is a live C string, `handle` has the capacity that `handle_bytes` says, and `mount` is writable.
    let result = unsafe {
        libc::name_to_handle_at(
            libc::AT_FDCWD,
            path.as_ptr(),
            (&raw mut handle).cast(),
            &raw mut mount,
            libc::AT_SYMLINK_FOLLOW,
        )
    };
    let length = usize::try_from(handle.handle_bytes).ok()?;
    if result < 0 { None } else { handle.f_handle.get(..length).map(<[u8]>::to_vec) }
}
