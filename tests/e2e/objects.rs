//! POSIX shared memory objects: files in /dev/shm. Each test has its own.

mod aside;
mod attach;
pub(crate) mod churn;
mod contents;
mod create;
mod descriptors;
mod diff;
mod directories;
mod dump;
pub(crate) mod elsewhere;
pub(crate) mod family;
mod hostile;
mod kinds;
pub(crate) mod list;
mod makers;
mod monitor;
mod no_lease;
mod no_proc;
mod once;
mod opened;
mod prune;
mod rm;
mod seals;
mod unknown;
mod users;

use std::fs;
use std::os::unix::fs::MetadataExt;

use nix::sys::stat::{Mode, SFlag, mknod};
use nix::unistd::truncate;

/// Creates an object of a size, without allocating it, and returns its path.
pub(crate) fn create(name: &str, size: u64) -> String {
    let path = format!("/dev/shm/{name}");
    // Without opening it: other tests fork at any time, and their children would have it open until they call execve.
    mknod(path.as_str(), SFlag::S_IFREG, Mode::S_IRUSR | Mode::S_IWUSR, 0).unwrap();
    truncate(path.as_str(), size.try_into().unwrap()).unwrap();
    path
}

/// Returns the names of all objects, sorted.
pub(crate) fn names() -> Vec<String> {
    crate::fixtures::file_names("/dev/shm".as_ref())
}

/// Returns the argument that names a file by device and inode.
pub(crate) fn file_id(path: &str) -> String {
    let file = fs::symlink_metadata(path).unwrap();
    let (major, minor) = (nix::sys::stat::major(file.dev()), nix::sys::stat::minor(file.dev()));
    format!("obj:{major}:{minor}:{}", file.ino())
}
