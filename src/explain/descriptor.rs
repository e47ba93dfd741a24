//! Why a call of a traced process on a descriptor failed (ftruncate, mmap), or memfd_create, which takes no path.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::libc;

use super::access::{DENIED, WRITE_SEALS, seal_cause};
use super::address::describe_overlap;
use super::attempt::FileAttempt;
use super::memory::explain_mapping_limit;
use super::space::{explain_file_size, explain_full_directory};
use crate::error::Error;
use crate::model::{Access, Seal};
use crate::procfs;
use crate::query::System;
use crate::sys::{self, Address, FileSystem, Opening};

/// The longest name of a memfd: the longest name of a file, less `memfd:`.
const LONGEST_MEMFD: usize = 249;
const MEMFD_FLAGS: u32 =
    libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING | libc::MFD_HUGETLB | libc::MFD_NOEXEC_SEAL | libc::MFD_EXEC;

pub(super) fn explain_resize(system: &System, error: Error, descriptor: i32, size: i64, errno: Errno) -> Error {
    let access = procfs::descriptor_access(system.proc(), system.caller_thread(), descriptor);
    let link = descriptor_link(system, descriptor);
    match errno {
        Errno::EBADF if access.is_none() => error.cause(why_bad(&link, descriptor)),
        Errno::EINVAL if size < 0 => error.cause("the size is negative"),
        Errno::EINVAL | Errno::EBADF if access != Some(Access::ReadWrite) => {
            error.cause(format!("descriptor {descriptor} is not open for writing"))
        }
        Errno::EINVAL | Errno::EFBIG => explain_file_size(system, error, size.unsigned_abs(), space_of(&link), errno),
        Errno::EPERM => {
            let shrinks = sys::refer_through(&link).and_then(|file| sys::stat_file(file.as_fd()));
            let shrinks = shrinks.is_ok_and(|stat| size.unsigned_abs() < stat.size);
            let seal = if shrinks { Seal::Shrink } else { Seal::Grow };
            error.cause(denial(&link, &[seal], DENIED))
        }
        Errno::ENOSPC => match sys::refer_through(&link) {
            Ok(file) => explain_full_directory(system, error, file.as_fd(), "the file system"),
            Err(_) => error,
        },
        _ => error,
    }
}

/// Adds why a memfd could not be created, in the order in which the kernel checks its arguments.
pub(super) fn explain_memfd(error: Error, name_length: usize, flags: u32, errno: Errno) -> Error {
    let huge_sizes = if flags & libc::MFD_HUGETLB == 0 { 0 } else { libc::MFD_HUGE_MASK << libc::MFD_HUGE_SHIFT };
    match (errno, flags & !MEMFD_FLAGS & !huge_sizes) {
        (Errno::EINVAL, 0) if name_length > LONGEST_MEMFD => {
            error.cause(format!("the name has {name_length} bytes; the maximum is {LONGEST_MEMFD}"))
        }
        (Errno::EINVAL, unknown) if unknown != 0 => {
            error.cause(format!("the kernel has no flag {unknown:#x} of memfd_create"))
        }
        _ => error,
    }
}

pub(super) fn explain_map(system: &System, error: Error, attempt: &FileAttempt, errno: Errno) -> Error {
    let FileAttempt::Map { descriptor, address, size, protection, flags } = *attempt else { return error };
    let link = descriptor_link(system, descriptor);
    let writes = protection & libc::PROT_WRITE != 0 && flags & libc::MAP_TYPE != libc::MAP_PRIVATE;
    let access = procfs::descriptor_access(system.proc(), system.caller_thread(), descriptor);
    match errno {
        Errno::EBADF => error.cause(why_bad(&link, descriptor)),
        Errno::EINVAL if flags & libc::MAP_HUGETLB != 0 && space_of(&link).is_none_or(|space| !space.is_huge) => {
            error.cause("MAP_HUGETLB requires a file on hugetlbfs")
        }
        Errno::EINVAL if size == 0 => error.cause("the length is 0, and an empty range cannot be mapped"),
        Errno::EINVAL if flags & libc::MAP_TYPE == 0 => {
            error.cause("the flags contain neither MAP_SHARED nor MAP_PRIVATE")
        }
        Errno::EACCES if writes && access == Some(Access::ReadOnly) => {
            error.cause(format!("descriptor {descriptor} is open for reading only, and PROT_WRITE requires O_RDWR"))
        }
        Errno::EACCES => {
            error.cause(format!("descriptor {descriptor} is not open for reading, which every mapping requires"))
        }
        Errno::EPERM => {
            let seals: &[Seal] = if writes { WRITE_SEALS } else { &[] };
            let executes = protection & libc::PROT_EXEC != 0;
            let otherwise = if executes { "the file system is mounted with noexec" } else { DENIED };
            error.cause(denial(&link, seals, otherwise))
        }
        Errno::EEXIST => match describe_overlap(system, address, size) {
            Some(cause) => error.cause(cause),
            None => error,
        },
        Errno::EOPNOTSUPP if flags & libc::MAP_SYNC != 0 => {
            error.cause("MAP_SYNC requires a file in persistent memory (DAX)")
        }
        _ => {
            let is_fixed = flags & (libc::MAP_FIXED | libc::MAP_FIXED_NOREPLACE) != 0;
            let address = if is_fixed { Address::Exact(address) } else { Address::Any };
            explain_mapping_limit(system, error, address, size, errno)
        }
    }
}

/// Returns why a descriptor cannot be used (EBADF).
fn why_bad(link: &Path, descriptor: i32) -> String {
    match sys::is_path_descriptor(AT_FDCWD, link.as_os_str()) {
        true => format!("descriptor {descriptor} was opened with O_PATH, which allows neither reading nor writing"),
        false => format!("{descriptor} is not an open descriptor"),
    }
}

/// Returns the link that leads to the file of a descriptor of the caller.
fn descriptor_link(system: &System, descriptor: i32) -> PathBuf {
    system.proc().join(system.caller_thread()).join(format!("fd/{descriptor}"))
}

fn space_of(link: &Path) -> Option<FileSystem> {
    sys::file_system(sys::refer_through(link).ok()?.as_fd()).ok()?
}

/// Returns why EPERM: a seal of the file, or `otherwise` if it has none of those that forbid the call. `link` leads to
/// the file.
fn denial(link: &Path, forbidding: &[Seal], otherwise: &str) -> String {
    let file = sys::refer_through(link).and_then(|file| {
        // Only a regular file has seals, and opening another one can have effects.
        let is_regular = sys::stat_file(file.as_fd())?.is_regular();
        is_regular.then(|| sys::open_referred(file.as_fd(), Opening::InspectNow)).transpose()
    });
    match file {
        Ok(file) => file.and_then(|file| seal_cause(file.as_fd(), forbidding)).unwrap_or_else(|| otherwise.to_owned()),
        Err(_) => format!("a seal of the file forbids it, or {otherwise}"),
    }
}
