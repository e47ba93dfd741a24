//! Why a call on a descriptor of a file of shared memory failed.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::libc;

use super::access::{DENIED, WRITE_SEALS, seal_cause};
use super::memory::explain_mapping_limit;
use super::space::{explain_file_size, explain_full_directory};
use crate::error::Error;
use crate::model::{Access, Seal};
use crate::procfs;
use crate::query::System;
use crate::sys::{self, Opening};

pub(super) fn explain_resize(system: &System, error: Error, descriptor: i32, size: i64, errno: Errno) -> Error {
    let access = procfs::descriptor_access(system.proc(), system.caller_thread(), descriptor);
    let link = descriptor_link(system, descriptor);
    let space = || sys::file_system(sys::refer_through(&link).ok()?.as_fd()).ok()?;
    match errno {
        Errno::EBADF if access.is_none() => error.cause(why_bad(&link, descriptor)),
        Errno::EINVAL if size < 0 => error.cause("the size is negative"),
        Errno::EINVAL | Errno::EBADF if access != Some(Access::ReadWrite) => {
            error.cause(format!("descriptor {descriptor} is not open for writing"))
        }
        Errno::EINVAL | Errno::EFBIG => explain_file_size(system, error, size.unsigned_abs(), space(), errno),
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

pub(super) fn explain_map(
    system: &System,
    error: Error,
    descriptor: i32,
    size: u64,
    protection: i32,
    flags: i32,
    errno: Errno,
) -> Error {
    let writes = protection & libc::PROT_WRITE != 0 && flags & libc::MAP_TYPE != libc::MAP_PRIVATE;
    let access = procfs::descriptor_access(system.proc(), system.caller_thread(), descriptor);
    match errno {
        Errno::EBADF => error.cause(why_bad(&descriptor_link(system, descriptor), descriptor)),
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
            error.cause(denial(&descriptor_link(system, descriptor), seals, otherwise))
        }
        _ => explain_mapping_limit(system, error, sys::Address::Any, size, errno),
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
