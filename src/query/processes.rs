//! Looking into processes for mappings of segments.

use std::cell::OnceCell;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::num::NonZero;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::Builder;

use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::System;
use super::origin::Origin;
use crate::model::{Mapping, ShmId};
use crate::procfs::{self, ProcError};
use crate::sys;

/// The most threads that look.
const MOST_THREADS: usize = 4;
/// How many processes a thread takes on at once.
const BATCH: usize = 16;

/// A mapping of a segment, found in a process.
#[derive(Clone, Debug)]
pub(super) struct Hit {
    /// The process.
    pub(super) pid: i32,
    /// The thread that has the mapping: usually the leader, whose id is the pid, and another one if that has exited.
    task: i32,
    /// The IPC namespace that the thread is in now.
    pub(super) ns: Option<u64>,
    /// The mapping.
    pub(super) mapping: Mapping,
    /// Where it is from, once that was asked for.
    origin: OnceCell<Origin>,
}

impl Hit {
    /// Gives where it is from.
    pub(super) fn origin(&self, system: &System) -> &Origin {
        self.origin.get_or_init(|| Origin::of(system, self))
    }

    /// Asks a question about the memory or the namespace of the process: of the thread that has the mapping, or of
    /// another one if that has exited.
    ///
    /// # Errors
    /// Those of the question.
    pub(super) fn ask<T>(&self, system: &System, question: impl Fn(i32) -> io::Result<T>) -> io::Result<T> {
        ask_a_thread(system, self.pid, self.task, question)
    }

    /// Compares the memory of the process with that of another one; `None` if the kernel does not allow it.
    pub(super) fn compare_memory(&self, system: &System, other: &Self) -> Option<std::cmp::Ordering> {
        let compare = |one, other| sys::compare_memory(one, other).map_err(io::Error::from);
        self.ask(system, |one| other.ask(system, |other| compare(one, other))).ok()
    }
}

/// Asks a question of one thread of a process, and of the others if that has exited.
///
/// # Errors
/// Those of the question.
pub(super) fn ask_a_thread<T>(
    system: &System,
    pid: i32,
    first: i32,
    question: impl Fn(i32) -> io::Result<T>,
) -> io::Result<T> {
    question(first).or_else(|error| {
        let others = if has_exited(&error) { procfs::other_thread_ids(system.proc(), pid) } else { Vec::new() };
        others.into_iter().find_map(|thread| question(thread).ok()).ok_or(error)
    })
}

/// Returns whether an error means that a task has exited; its memory is released before its entry in /proc.
fn has_exited(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ESRCH as i32)
}

/// Which mappings count.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    /// The devices on which the kernel keeps segments.
    pub(super) devices: &'a [(u32, u32)],
    /// The ids, in order; every segment's mappings if `None`.
    pub(super) ids: Option<Vec<u64>>,
}

impl Wanted<'_> {
    /// Tells whether a file is one of them.
    fn is(&self, device: (u32, u32), inode: u64) -> bool {
        self.devices.contains(&device) && self.ids.as_ref().is_none_or(|ids| ids.binary_search(&inode).is_ok())
    }
}

/// What a look into one process came to.
#[derive(Debug)]
enum Look {
    /// It was looked into.
    Seen,
    /// It is not ours to look into.
    Closed,
    /// It is gone.
    Gone,
}

/// What was found in some processes.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The mappings, by inode, pid and address.
    pub(super) hits: Vec<Hit>,
    /// How many processes were not ours to look into.
    pub(super) closed: u64,
    /// Whether every process was looked into, and not only as many as were needed.
    pub(super) all: bool,
}

/// Gives the inode number that a segment's mappings have.
pub(super) fn inode_of(id: ShmId) -> u64 {
    u64::from(id.raw().cast_unsigned())
}

/// Looks into processes until all are seen, or as many mappings were found in the namespace `home` as are needed.
///
/// # Errors
/// We cannot look, for want of descriptors.
pub(super) fn look_into(
    system: &System,
    pids: &[i32],
    wanted: &Wanted<'_>,
    home: Option<u64>,
    needed: u64,
) -> Result<Found, ProcError> {
    let (next, found, failed) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let proc = system.proc();
    let work = || {
        let mut mine = Found::default();
        while found.load(Ordering::Relaxed) < needed && !failed.load(Ordering::Relaxed) {
            let start = next.fetch_add(BATCH, Ordering::Relaxed);
            let Some(batch) = pids.get(start..) else { break };
            for pid in batch.iter().take(BATCH) {
                let before = mine.hits.len();
                match look(proc, *pid, wanted, &mut mine.hits) {
                    Ok(Look::Seen | Look::Gone) => {}
                    Ok(Look::Closed) => mine.closed += 1,
                    Err(error) => {
                        failed.store(true, Ordering::Relaxed);
                        return Err(error);
                    }
                }
                let at_home = mine.hits[before..].iter().filter(|hit| hit.ns == home).count();
                found.fetch_add(at_home as u64, Ordering::Relaxed);
            }
        }
        Ok(mine)
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS);
    let threads = threads.min(pids.len() / (4 * BATCH));
    let mut all = std::thread::scope(|scope| {
        // Where the user may have no more threads, this one does it all.
        let others: Vec<_> = (1..threads).map_while(|_| Builder::new().spawn_scoped(scope, work).ok()).collect();
        let mut all = work()?;
        for other in others {
            match other.join() {
                Ok(found) => {
                    let found = found?;
                    all.hits.extend(found.hits);
                    all.closed += found.closed;
                }
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(all)
    })?;
    all.hits.sort_by_key(|hit| (hit.mapping.inode, hit.pid, hit.mapping.start));
    all.all = found.load(Ordering::Relaxed) < needed;
    Ok(all)
}

/// Looks into one process.
fn look(proc: &Path, pid: i32, wanted: &Wanted<'_>, hits: &mut Vec<Hit>) -> Result<Look, ProcError> {
    let mut mappings = Vec::new();
    let (mut task, mut path) = (pid, pid.to_string());
    let mut looked = look_at(proc, &path, wanted, &mut mappings);
    if let Ok(false) = looked {
        // No memory: a kernel thread, or a process whose leader has exited while other threads run.
        for thread in procfs::other_thread_ids(proc, pid) {
            (task, path) = (thread, procfs::thread_path(pid, thread));
            looked = look_at(proc, &path, wanted, &mut mappings);
            match &looked {
                Ok(false) => {}
                Err(ProcError::Read { error, .. }) if has_exited(error) => {}
                Ok(true) | Err(_) => break,
            }
        }
    }
    if !mappings.is_empty() {
        let of_another = || procfs::other_threads(proc, pid).iter().find_map(|it| procfs::namespace_of(proc, it));
        let ns = procfs::namespace_of(proc, &path).or_else(of_another);
        hits.extend(mappings.into_iter().map(|mapping| Hit { pid, task, ns, mapping, origin: OnceCell::new() }));
    }
    match looked {
        Ok(_) => Ok(Look::Seen),
        Err(ProcError::Read { ref error, .. }) if error.kind() == ErrorKind::PermissionDenied => Ok(Look::Closed),
        Err(ProcError::Read { ref error, .. }) if error.kind() == ErrorKind::NotFound => Ok(Look::Gone),
        Err(error) => Err(error),
    }
}

/// Finds the mappings of a process or thread; returns whether it has any memory.
fn look_at(proc: &Path, process: &str, wanted: &Wanted<'_>, mappings: &mut Vec<Mapping>) -> Result<bool, ProcError> {
    let path = proc.join(process).join("maps");
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.raw_os_error() == Some(Errno::ESRCH as i32) => return Ok(false),
        Err(error) => return Err(ProcError::read(&path, error)),
    };
    let is_wanted = |device, inode| wanted.is(device, inode);
    let looked = match sys::segment_mappings(file.as_fd(), is_wanted, |mapping| mappings.push(mapping)) {
        Ok(()) => Ok(true),
        Err(Errno::ESRCH) => Ok(false),
        // Kernels before 6.11, and sandboxes, do not know the question: there is the text.
        Err(_) => {
            mappings.clear();
            match procfs::segment_mappings(&path, &file, is_wanted, |mapping| mappings.push(mapping)) {
                Err(ProcError::Read { error, .. }) if has_exited(&error) => Ok(false),
                result => result,
            }
        }
    };
    if !matches!(looked, Ok(true)) {
        // Part of the mappings; another thread shows all of them.
        mappings.clear();
    }
    looked
}

/// Returns whether a process of this IPC namespace has a segment attached, as far as its leader shows.
///
/// # Errors
/// The process has exited, or the caller may not look into it.
pub(super) fn has_attached(system: &System, pid: i32, id: ShmId, devices: &[(u32, u32)]) -> Result<bool, ProcError> {
    let wanted = Wanted { devices, ids: Some(vec![inode_of(id)]) };
    let mut mappings = Vec::new();
    look_at(system.proc(), &pid.to_string(), &wanted, &mut mappings)?;
    Ok(!mappings.is_empty())
}

/// Finds our own mapping of a segment that begins at an address.
pub(super) fn own_mapping(system: &System, devices: &[(u32, u32)], address: u64) -> Option<Mapping> {
    let wanted = Wanted { devices, ids: None };
    let mut mappings = Vec::new();
    look_at(system.proc(), "self", &wanted, &mut mappings).ok()?;
    mappings.into_iter().find(|mapping| mapping.start == address)
}

/// Gives the devices on which the kernel keeps segments: its internal tmpfs, and one for each size of huge page.
///
/// The name of a mapping proves nothing, since anyone can have a file of that name; memfd files are on these devices.
///
/// # Errors
/// memfd_create(2), for want of descriptors.
pub(super) fn segment_devices() -> Result<Vec<(u32, u32)>, Errno> {
    // The one that is always there: without it nothing can be told.
    memfd_create(c"shmadm", MFdFlags::MFD_CLOEXEC)?;
    let sizes = super::huge::huge_page_sizes().into_iter().map(Some);
    Ok(std::iter::once(None).chain(sizes).filter_map(device_of_pages).collect())
}

/// Gives the bytes of the huge pages whose segments lie on a device.
pub(super) fn huge_page_on(device: (u32, u32)) -> Option<u64> {
    super::huge::huge_page_sizes().into_iter().find(|size| device_of_pages(Some(*size)) == Some(device))
}

/// Gives the device on which segments of huge pages of some size lie, or those of ordinary pages.
fn device_of_pages(huge: Option<u64>) -> Option<(u32, u32)> {
    let size = huge.map_or(MFdFlags::empty(), |size| {
        MFdFlags::MFD_HUGETLB | MFdFlags::from_bits_retain(size.trailing_zeros() << nix::libc::MFD_HUGE_SHIFT)
    });
    let file = memfd_create(c"shmadm", MFdFlags::MFD_CLOEXEC | size).ok()?;
    let device = nix::sys::stat::fstat(file).ok()?.st_dev;
    let part = |number: u64| u32::try_from(number).ok();
    Some((part(nix::sys::stat::major(device))?, part(nix::sys::stat::minor(device))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_of_segments_is_known_without_a_segment() {
        let devices = segment_devices().unwrap();
        assert!(!devices.is_empty());
        assert!(devices.iter().all(|(major, _)| *major == 0), "{devices:?}: no block device backs them");
    }

    #[test]
    fn the_text_is_read_where_the_question_is_not_known_and_threads_stand_in_for_a_leader_without_memory() {
        let root = tempfile::tempdir().unwrap();
        let maps = |process: &str, text: &str| {
            std::fs::create_dir_all(root.path().join(process)).unwrap();
            std::fs::write(root.path().join(process).join("maps"), text).unwrap();
        };
        let line = "7f0000000000-7f0000001000 rw-s 00000000 00:01 5      /SYSV000004d2 (deleted)\n";
        maps("7", line);
        maps("8", "");
        maps("8/task/8", "");
        maps("8/task/9", line);
        maps("10", "00400000-00401000 r-xp 00000000 00:00 0 \n");
        let wanted = Wanted { devices: &[(0, 1)], ids: Some(vec![5]) };
        let system = System::at(root.path().to_owned());
        let found = look_into(&system, &[7, 8, 10, 11], &wanted, None, 99).unwrap();
        assert_eq!(found.hits.iter().map(|hit| hit.pid).collect::<Vec<_>>(), [7, 8]);
        assert_eq!(found.closed, 0);
        let other = Wanted { devices: &[(0, 1)], ids: Some(vec![4, 6]) };
        assert!(look_into(&system, &[7, 8], &other, None, 99).unwrap().hits.is_empty());
        let elsewhere = Wanted { devices: &[(0, 2)], ids: None };
        assert!(look_into(&system, &[7, 8], &elsewhere, None, 99).unwrap().hits.is_empty());
    }
}
