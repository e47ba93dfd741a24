//! The descriptors of processes, in the tables of all their threads.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use super::threads::has_exited;
use crate::model::{FileStat, InodeType};
use crate::procfs;
use crate::query::host::System;
use crate::sys;

/// Returns whether some descriptor of a process holds files that no process has open: a Unix socket with queued
/// descriptors, or an io_uring with registered files. Their fdinfo does not show which.
pub(crate) fn some_are_in_flight(system: &System) -> bool {
    let proc = system.proc();
    procfs::pids(proc).into_iter().flatten().any(|pid| {
        let mut found = false;
        // A process that cannot be inspected shows nothing.
        let _ = each_table(proc, pid, |Table { path, directory, numbers, .. }| {
            found = found
                || numbers.iter().any(|number| {
                    sys::stat_link_locally(directory.as_fd(), OsStr::new(number))
                        .is_ok_and(|stat| can_hold_files(&stat))
                        && procfs::holds_files(proc, path, number)
                });
        });
        found
    })
}

/// Returns whether a file is a socket or an anonymous inode, as an io_uring is.
pub(super) fn can_hold_files(stat: &FileStat) -> bool {
    matches!(stat.kind(), InodeType::Socket | InodeType::AnonymousInode)
}

/// A descriptor table of a process.
pub(super) struct Table {
    /// The thread that shows it.
    pub(super) thread: i32,
    /// The path of the thread below /proc.
    pub(super) path: String,
    /// Its directory `fd`.
    pub(super) directory: OwnedFd,
    pub(super) numbers: Vec<String>,
}

impl Table {
    fn read(proc: &Path, pid: i32, thread: i32) -> io::Result<Self> {
        let path = procfs::thread_path(pid, thread);
        let directory = sys::open_directory(&proc.join(&path).join("fd"))?;
        let mut numbers = Vec::new();
        sys::each_name(directory.as_fd(), |name| numbers.extend(std::str::from_utf8(name).map(str::to_owned)))?;
        Ok(Self { thread, path, directory, numbers })
    }
}

/// Passes each descriptor table of a process to `visit`. Its threads share one, unless a thread has called
/// unshare(CLONE_FILES). That of a leader that has exited is empty. Where the kernel does not compare the tables of
/// threads, each thread's is passed.
///
/// Fails if a table could not be read, after it has passed the others.
pub(super) fn each_table(proc: &Path, pid: i32, mut visit: impl FnMut(&Table)) -> io::Result<()> {
    let mut result = Ok(());
    // A thread for each table, in the kernel's order of the tables.
    let mut seen: Vec<i32> = Vec::new();
    for thread in std::iter::once(pid).chain(procfs::other_thread_ids(proc, pid)) {
        let compare = |other: &i32| sys::compare_descriptors(*other, thread).unwrap_or(Ordering::Less);
        let Err(index) = seen.binary_search_by(compare) else { continue };
        match Table::read(proc, pid, thread) {
            Ok(table) => {
                seen.insert(index, thread);
                visit(&table);
            }
            Err(error) if has_exited(&error) => {}
            Err(error) => result = result.and(Err(error)),
        }
    }
    result
}
