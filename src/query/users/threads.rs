//! Reads facts of a process from another of its threads if its leader has exited.
//!
//! A thread-group leader that has exited while other threads run is a zombie: its `maps` and `fd` are empty, and it has
//! no `map_files` and no namespaces.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;

use crate::procfs::{self, ProcError};
use crate::query::host::System;

/// Returns whether an error means that a task has exited; its memory is released before its entry in /proc.
pub(super) fn has_exited(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ESRCH as i32)
}

impl ProcError {
    /// Returns whether the file belongs to a process or thread that has exited.
    pub(super) fn has_exited(&self) -> bool {
        matches!(self, Self::Read { error, .. } if has_exited(error))
    }

    /// Returns whether the caller is not permitted to read the file.
    pub(super) fn is_denied(&self) -> bool {
        matches!(self, Self::Read { error, .. } if error.kind() == ErrorKind::PermissionDenied)
    }
}

/// Reads something from a thread of a process, or from the other threads if that one has exited.
pub(super) fn with_any_thread<T>(
    system: &System,
    pid: i32,
    first: i32,
    read: impl Fn(i32) -> io::Result<T>,
) -> io::Result<T> {
    read(first).or_else(|error| {
        let others = if has_exited(&error) { procfs::other_thread_ids(system.proc(), pid) } else { Vec::new() };
        others.into_iter().find_map(|thread| read(thread).ok()).ok_or(error)
    })
}

/// Reads the number of a namespace of a process from its leader, or from another thread; `read` takes a path below
/// /proc.
pub(super) fn namespace_of(proc: &Path, pid: i32, read: impl Fn(&Path, &str) -> Option<u64>) -> Option<u64> {
    let of_other_thread = || procfs::other_threads(proc, pid).iter().find_map(|thread| read(proc, thread));
    read(proc, &pid.to_string()).or_else(of_other_thread)
}

/// Reads the mappings of a process from its leader, or from another thread. Returns the thread with the mappings;
/// `None` if the process has no memory: it is a kernel thread, or has exited.
///
/// `read` takes the path of a thread below /proc.
pub(super) fn mappings_of_process<T>(
    proc: &Path,
    pid: i32,
    read: impl Fn(&str) -> Result<Option<Vec<T>>, ProcError>,
) -> Result<Option<(i32, Vec<T>)>, ProcError> {
    if let Some(found) = read(&pid.to_string())? {
        return Ok(Some((pid, found)));
    }
    for thread in procfs::other_thread_ids(proc, pid) {
        match read(&procfs::thread_path(pid, thread)) {
            Ok(Some(found)) => return Ok(Some((thread, found))),
            Ok(None) => {}
            Err(error) if error.has_exited() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Reads the mappings of a process or thread by `query`, which calls PROCMAP_QUERY, or by `parse`, which reads the
/// text, where the kernel lacks it. `None` without a memory map.
pub(super) fn read_maps<T>(
    proc: &Path,
    process: &str,
    query: impl FnOnce(BorrowedFd<'_>, &mut Vec<T>) -> Result<(), Errno>,
    parse: impl FnOnce(&Path, &File, &mut Vec<T>) -> Result<bool, ProcError>,
) -> Result<Option<Vec<T>>, ProcError> {
    let path = proc.join(process).join("maps");
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.raw_os_error() == Some(Errno::ESRCH as i32) => return Ok(None),
        Err(error) => return Err(ProcError::read(&path, error)),
    };
    let mut found = Vec::new();
    match query(file.as_fd(), &mut found) {
        Ok(()) => return Ok(Some(found)),
        Err(Errno::ESRCH) => return Ok(None),
        // Kernels before 6.11 and some sandboxes lack it.
        Err(_) => found.clear(),
    }
    match parse(&path, &file, &mut found) {
        Ok(has_memory) => Ok(has_memory.then_some(found)),
        // It has exited meanwhile: what was read is incomplete.
        Err(error) if error.has_exited() => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::directory;

    #[test]
    fn mappings_of_a_failed_read_are_discarded() {
        let root = directory(&[("7/maps", ""), ("7/task/7/maps", ""), ("7/task/8/maps", "")]);
        let has_exited = || ProcError::read(Path::new("maps"), Errno::ESRCH.into());
        let read = |process: &str| {
            let query = |_: BorrowedFd<'_>, found: &mut Vec<&str>| {
                found.push("query");
                Err(Errno::ENOTTY)
            };
            let parse = |_: &Path, _: &File, found: &mut Vec<&str>| {
                found.push("text");
                if process == "7" { Err(has_exited()) } else { Ok(true) }
            };
            read_maps(root.path(), process, query, parse)
        };
        assert_eq!(mappings_of_process(root.path(), 7, read).unwrap(), Some((8, vec!["text"])));
    }
}
