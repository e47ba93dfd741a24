//! Files below a directory that other users may change meanwhile.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use crate::model::{Device, FileStat};
use crate::sys::{self, Errno, Opening};

/// How deep directories are searched.
const MAX_DEPTH: u32 = 32;

/// Calls `visit` for every file below a directory on the same file system, with its directory, name, depth and
/// attributes. Returns whether everything could be read. Files that have vanished are not an error.
pub(in crate::query) fn walk(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    device: Device,
    visit: &mut dyn FnMut(BorrowedFd<'_>, &OsStr, u32, &FileStat),
) -> bool {
    walk_at(parent, name, device, 0, visit)
}

fn walk_at(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    device: Device,
    depth: u32,
    visit: &mut dyn FnMut(BorrowedFd<'_>, &OsStr, u32, &FileStat),
) -> bool {
    let directory = match sys::open_subdirectory(parent, name) {
        Ok(directory) => directory,
        Err(errno) => return errno == Errno::ENOENT,
    };
    let directory = directory.as_fd();
    let mut names = Vec::new();
    let mut is_complete = sys::each_name(directory, |name| names.push(name.to_owned())).is_ok();
    for name in names {
        let name = OsStr::from_bytes(&name);
        match sys::stat_entry(directory, name) {
            Ok(stat) if stat.file.device != device => {}
            Ok(stat) if stat.is_directory() => {
                is_complete &= depth < MAX_DEPTH && walk_at(directory, name, device, depth + 1, visit);
            }
            Ok(stat) => visit(directory, name, depth, &stat),
            Err(errno) => is_complete &= errno == Errno::ENOENT,
        }
    }
    is_complete
}

/// Opens a file that was listed. Fails if another user has replaced it: opening a FIFO would wait, and opening a device
/// can have side effects.
pub(in crate::query) fn open_listed(
    directory: BorrowedFd<'_>,
    name: &OsStr,
    listed: &FileStat,
    how: Opening,
) -> Result<OwnedFd, Errno> {
    let file = sys::refer_to(directory, name)?;
    let stat = sys::stat_file(file.as_fd())?;
    if stat.file != listed.file || !stat.is_regular() {
        return Err(Errno::ENOENT);
    }
    sys::open_referred(file.as_fd(), how)
}
