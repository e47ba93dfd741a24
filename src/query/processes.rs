//! Looking into processes for mappings of segments.

use std::cell::OnceCell;
use std::fs::File;
use std::io::ErrorKind;
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
    /// The IPC namespace that it is in now.
    pub(super) ns: Option<u64>,
    /// The mapping.
    pub(super) mapping: Mapping,
    /// Where it is from, once that was asked for.
    origin: OnceCell<Origin>,
}

impl Hit {
    /// Makes a hit of a mapping.
    fn new(pid: i32, mapping: Mapping) -> Self {
        Self { pid, ns: None, mapping, origin: OnceCell::new() }
    }

    /// Gives where it is from.
    pub(super) fn origin(&self, system: &System) -> &Origin {
        self.origin.get_or_init(|| Origin::of(system, self))
    }
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
    let before = hits.len();
    let looked = look_at(proc, &pid.to_string(), pid, wanted, hits);
    if let Ok(false) = looked {
        // No memory: a kernel thread, or a process whose leader has ended while its threads go on.
        for thread in procfs::other_threads(proc, pid) {
            if matches!(look_at(proc, &thread, pid, wanted, hits), Ok(true)) {
                break;
            }
        }
    }
    if hits.len() > before {
        // A leader that has ended is in no namespace any more; its threads are.
        let of_a_thread = || procfs::other_threads(proc, pid).iter().find_map(|it| procfs::namespace_of(proc, it));
        let ns = procfs::namespace_of(proc, &pid.to_string()).or_else(of_a_thread);
        hits[before..].iter_mut().for_each(|hit| hit.ns = ns);
    }
    match looked {
        Ok(_) => Ok(Look::Seen),
        Err(ProcError::Read { ref error, .. }) if error.kind() == ErrorKind::PermissionDenied => Ok(Look::Closed),
        Err(ProcError::Read { ref error, .. }) if error.kind() == ErrorKind::NotFound => Ok(Look::Gone),
        Err(error) => Err(error),
    }
}

/// Looks at the memory of a process or thread; gives whether it has any.
fn look_at(proc: &Path, process: &str, pid: i32, wanted: &Wanted<'_>, hits: &mut Vec<Hit>) -> Result<bool, ProcError> {
    let path = proc.join(process).join("maps");
    let ended = |error: &std::io::Error| error.raw_os_error() == Some(Errno::ESRCH as i32);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if ended(&error) => return Ok(false),
        Err(error) => return Err(ProcError::read(&path, error)),
    };
    let is_wanted = |device, inode| wanted.is(device, inode);
    let before = hits.len();
    let mut note = |mapping| hits.push(Hit::new(pid, mapping));
    match sys::segment_mappings(file.as_fd(), is_wanted, &mut note) {
        Ok(()) => Ok(true),
        Err(Errno::ESRCH) => Ok(false),
        // Kernels before 6.11, and sandboxes, do not know the question: there is the text.
        Err(_) => {
            hits.truncate(before);
            let mut note = |mapping| hits.push(Hit::new(pid, mapping));
            match procfs::segment_mappings(&path, &file, is_wanted, &mut note) {
                Err(ProcError::Read { error, .. }) if ended(&error) => Ok(false),
                result => result,
            }
        }
    }
}

/// Tells whether a process of this IPC namespace has a segment attached.
///
/// # Errors
/// The process is gone, or closed to us.
pub(super) fn has_attached(system: &System, pid: i32, id: ShmId, devices: &[(u32, u32)]) -> Result<bool, ProcError> {
    let wanted = Wanted { devices, ids: Some(vec![inode_of(id)]) };
    let mut hits = Vec::new();
    look_at(system.proc(), &pid.to_string(), pid, &wanted, &mut hits)?;
    Ok(!hits.is_empty())
}

/// Finds our own mapping of a segment that begins at an address.
pub(super) fn own_mapping(system: &System, devices: &[(u32, u32)], address: u64) -> Option<Mapping> {
    let wanted = Wanted { devices, ids: None };
    let mut hits = Vec::new();
    look_at(system.proc(), "self", 0, &wanted, &mut hits).ok()?;
    hits.into_iter().map(|hit| hit.mapping).find(|mapping| mapping.start == address)
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
