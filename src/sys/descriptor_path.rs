//! Paths that lead to the files of descriptors.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

/// Returns a path that leads to the file of a descriptor, even if its name has changed or is gone. Requires /proc.
pub(crate) fn descriptor_path(file: BorrowedFd<'_>) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

/// The errno of [`through_descriptor`] without a /proc of this pid namespace. ENOENT would mean that the file does not
/// exist. No call on a regular file or directory fails with it.
pub(crate) const NO_PROC: Errno = Errno::ENODEV;

/// Passes the [`descriptor_path`] of a file to a call. Fails with [`NO_PROC`] if that path does not exist.
pub(crate) fn through_descriptor<T>(
    file: BorrowedFd<'_>,
    call: impl FnOnce(&Path) -> Result<T, Errno>,
) -> Result<T, Errno> {
    let path = descriptor_path(file);
    call(&path).map_err(|errno| match errno {
        Errno::ENOENT if path.symlink_metadata().is_err() => NO_PROC,
        errno => errno,
    })
}
