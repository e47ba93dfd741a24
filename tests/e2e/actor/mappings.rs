//! Files and memory that an actor maps.
#![expect(unsafe_code, reason = "actors make the system calls under test")]

use std::io::Write;
use std::os::fd::AsRawFd;

use nix::libc;
use nix::mount::{MntFlags, umount2};

use crate::support::mount_tmpfs;

/// Maps a page of a file, shared.
pub(super) fn map(file: i32) -> String {
    // SAFETY: the kernel chooses an unused address.
    let address = unsafe {
        libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED, file, 0)
    };
    format!("{address:p}")
}

/// Creates a memfd and allocates all of its pages. The processes of other tests do not inherit it.
pub(crate) fn filled_memfd(size: usize) -> std::fs::File {
    let file = nix::sys::memfd::memfd_create(c"actor", nix::sys::memfd::MFdFlags::MFD_CLOEXEC).unwrap();
    let mut file = std::fs::File::from(file);
    file.write_all(&vec![1; size]).unwrap();
    file
}

/// Maps a file, or anonymous memory if it is -1, and touches every page.
pub(super) fn map_populated(size: usize, file: i32) -> String {
    let flags = libc::MAP_SHARED | libc::MAP_POPULATE | if file < 0 { libc::MAP_ANONYMOUS } else { 0 };
    // SAFETY: the kernel chooses an unused address.
    let address = unsafe { libc::mmap(std::ptr::null_mut(), size, libc::PROT_WRITE, flags, file, 0) };
    format!("{address:p}")
}

/// Maps a file whose path is `/NAME`, on a private file system; returns its inode number.
pub(super) fn forge(name: &str) -> u64 {
    mount_tmpfs(None);
    let path = format!("/mnt/{name}");
    std::fs::write(&path, [0; 4096]).unwrap();
    let file = std::fs::File::options().read(true).write(true).open(&path).unwrap();
    map(file.as_raw_fd());
    // The path of a file on a detached mount starts at the mount.
    umount2("/mnt", MntFlags::MNT_DETACH).unwrap();
    std::os::unix::fs::MetadataExt::ino(&file.metadata().unwrap())
}
