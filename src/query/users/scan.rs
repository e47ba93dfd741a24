//! Scans processes for mappings of segments.
//!
//! nattch counts mappings, so mappings are what is searched for. The scan opens /proc/PID/maps of each process and asks
//! PROCMAP_QUERY for shared file mappings only, which is one call for most processes. Where the kernel lacks it, the
//! scan reads the text of the same file. A mapping counts if its device is one on which the kernel keeps segments, its
//! inode number is a segment's id, and its name begins with `/SYSV`. The device excludes files that any user can give
//! such a name; the name excludes other files on that device, such as those of memfd_create(2).
//!
//! If the leader of a process has exited, another thread shows its memory. So a mapping is recorded with the thread
//! that showed it, and what is read later (the file behind the mapping, the memory to compare) comes from that thread,
//! or from another one if it has exited meanwhile.

use std::cell::OnceCell;
use std::io;
use std::path::Path;

use super::origin::Origin;
use super::threads::{mappings_of_process, namespace_of, read_maps, with_any_thread};
use crate::model::{Device, HiddenBy, Mapping, ShmId};
use crate::procfs::{self, ProcError};
use crate::query::host::{System, can_inspect_all};
use crate::sys;

#[derive(Clone, Debug)]
pub(super) struct SegmentMapping {
    pub(super) pid: i32,
    /// The thread that showed the mapping: the leader, whose id is the pid, or another thread if the leader has exited.
    task: i32,
    /// The IPC namespace that the thread is in now.
    pub(super) ns: Option<u64>,
    pub(super) vma: Mapping,
    origin: OnceCell<Origin>,
}

impl SegmentMapping {
    /// Returns the origin of the mapping; read once.
    pub(super) fn origin(&self, system: &System) -> &Origin {
        let read = |thread| Origin::of_file(system.proc(), thread, &self.vma);
        self.origin.get_or_init(|| self.with_thread(system, read).ok().flatten().unwrap_or(Origin::Namespace(self.ns)))
    }

    /// Reads something of the memory or the namespace of the process: from the thread that showed the mapping, or from
    /// another one if that has exited.
    pub(super) fn with_thread<T>(&self, system: &System, read: impl Fn(i32) -> io::Result<T>) -> io::Result<T> {
        with_any_thread(system, self.pid, self.task, read)
    }

    /// Compares the memory of the process with that of another one; `None` if the kernel does not allow it.
    pub(super) fn compare_memory(&self, system: &System, other: &Self) -> Option<std::cmp::Ordering> {
        let compare = |one, other| sys::compare_memory(one, other).map_err(io::Error::from);
        self.with_thread(system, |one| other.with_thread(system, |other| compare(one, other))).ok()
    }
}

#[derive(Debug)]
pub(super) struct MappingFilter<'a> {
    /// The devices on which the kernel keeps segments.
    pub(super) devices: &'a [Device],
    /// Inode numbers, sorted; `None` for the mappings of all segments.
    pub(super) inodes: Option<Vec<u64>>,
}

impl MappingFilter<'_> {
    fn matches(&self, device: Device, inode: u64) -> bool {
        self.devices.contains(&device) && self.inodes.as_ref().is_none_or(|inodes| inodes.binary_search(&inode).is_ok())
    }

    /// Reads the mappings of a process or thread; `None` if it has no memory.
    fn read(&self, proc: &Path, process: &str) -> Result<Option<Vec<Mapping>>, ProcError> {
        let is_wanted = |device, inode| self.matches(device, inode);
        read_maps(
            proc,
            process,
            |maps, found| sys::segment_mappings(maps, is_wanted, |mapping| found.push(mapping)),
            |path, maps, found| procfs::segment_mappings(path, maps, is_wanted, |mapping| found.push(mapping)),
        )
    }
}

/// The mappings found in a set of processes.
#[derive(Debug, Default)]
pub(super) struct ScanResult {
    /// Sorted by inode, pid and address.
    pub(super) mappings: Vec<SegmentMapping>,
    /// The processes that showed no memory: kernel threads, and those that have exited or are exiting.
    without_memory: Vec<i32>,
    /// The processes that the caller is not permitted to inspect.
    inaccessible: Vec<i32>,
    /// Whether /proc hides processes.
    hides_processes: bool,
    /// Whether every process was scanned, not only creators and last users.
    pub(super) complete: bool,
    /// Whether no mapping is missing: all processes were scanned, and no pid namespace and no missing CAP_SYS_PTRACE
    /// hides any.
    pub(super) exhaustive: bool,
}

impl ScanResult {
    fn sort(&mut self) {
        self.mappings.sort_by_key(|mapping| (mapping.vma.inode, mapping.pid, mapping.vma.start));
    }

    /// Returns whether there are processes that the caller is not permitted to inspect, or that /proc hides.
    pub(super) fn some_inaccessible(&self) -> bool {
        self.hides_processes || !self.inaccessible.is_empty()
    }

    /// Returns the processes that are exiting and can have mappings that were not found: those in the segment's
    /// namespace, and those in `recorded`, its creator and last user.
    pub(super) fn exiting(&self, system: &System, namespace: Option<u64>, recorded: &[i32]) -> Vec<i32> {
        let is_here = |pid| recorded.contains(pid) || is_in_namespace(system, *pid, namespace);
        let here = self.without_memory.iter().filter(|pid| is_here(pid));
        let recorded = self.inaccessible.iter().filter(|pid| recorded.contains(pid));
        let mut pids: Vec<i32> =
            here.chain(recorded).copied().filter(|pid| system.is_exiting(*pid) == Some(true)).collect();
        pids.sort_unstable();
        pids
    }
}

/// Returns why /proc does not show the processes of this pid namespace; `None` if it shows them.
pub(super) fn hidden_by_proc(system: &System) -> Option<HiddenBy> {
    let reason = || if system.has_proc() { HiddenBy::ForeignProc } else { HiddenBy::NoProc };
    (!system.proc_shows_own_pids()).then(reason)
}

/// Returns whether a process, or one of its threads, is in an IPC namespace.
pub(super) fn is_in_namespace(system: &System, pid: i32, namespace: Option<u64>) -> bool {
    let threads = [pid.to_string()].into_iter().chain(procfs::other_threads(system.proc(), pid));
    let mut namespaces = threads.filter_map(|thread| procfs::namespace_of(system.proc(), &thread));
    namespace.is_some() && namespaces.any(|number| Some(number) == namespace)
}

/// Returns whether another accessible process of an IPC namespace may be in shmat or shmdt now. It can be preempted
/// between the changes to nattch, the times and its mappings, so they contradict each other for a while.
pub(super) fn some_busy(system: &System, namespace: Option<u64>) -> bool {
    let own = std::process::id().cast_signed();
    let mut pids = procfs::pids(system.proc()).into_iter().flatten().filter(|pid| *pid != own);
    pids.any(|pid| procfs::is_busy(system.proc(), pid) && is_in_namespace(system, pid, namespace))
}

pub(super) fn inode_of(id: ShmId) -> u64 {
    u64::from(id.raw().cast_unsigned())
}

/// The minimum number of processes that a thread reads: in about 0.05 s if each has 100 descriptors.
pub(super) const PROCESSES_PER_THREAD: usize = 250;

/// Scans processes, in several threads if there are many.
pub(super) fn scan(system: &System, pids: &[i32], filter: &MappingFilter<'_>) -> Result<ScanResult, ProcError> {
    let mut found = ScanResult { hides_processes: system.hides_processes(), ..ScanResult::default() };
    let proc = system.proc();
    let read = |pids: &[i32]| pids.iter().map(|pid| (*pid, mappings_of(proc, *pid, filter))).collect::<Vec<_>>();
    for (pid, mappings) in sys::in_parallel(pids, PROCESSES_PER_THREAD, read).into_iter().flatten() {
        match mappings {
            Ok(Some(mappings)) => found.mappings.extend(mappings),
            Ok(None) => found.without_memory.push(pid),
            Err(error) if error.is_denied() => found.inaccessible.push(pid),
            Err(error) if error.has_exited() => {}
            Err(error) => return Err(error),
        }
    }
    found.sort();
    Ok(found)
}

/// Scans all processes.
pub(super) fn scan_all(system: &System, filter: &MappingFilter<'_>) -> Result<ScanResult, ProcError> {
    let pids: Vec<i32> = procfs::pids(system.proc())?.collect();
    let found = scan(system, &pids, filter)?;
    let all_visible = !found.some_inaccessible() || can_inspect_all(system);
    let exhaustive = all_visible && system.is_in_initial_pid_namespace();
    Ok(ScanResult { complete: true, exhaustive, ..found })
}

/// Scans exactly these processes. Also returns those that cannot be inspected, with the reason.
pub(super) fn scan_only(
    system: &System,
    pids: impl IntoIterator<Item = i32>,
    filter: &MappingFilter<'_>,
) -> (ScanResult, Vec<(i32, ProcError)>) {
    let (mut found, mut failed) = (ScanResult::default(), Vec::new());
    for pid in pids {
        match mappings_of(system.proc(), pid, filter) {
            Ok(mappings) => found.mappings.extend(mappings.into_iter().flatten()),
            Err(error) => failed.push((pid, error)),
        }
    }
    found.sort();
    (found, failed)
}

/// Returns the mappings of a process; `None` if it has no memory.
fn mappings_of(proc: &Path, pid: i32, filter: &MappingFilter<'_>) -> Result<Option<Vec<SegmentMapping>>, ProcError> {
    let Some((task, areas)) = mappings_of_process(proc, pid, |process| filter.read(proc, process))? else {
        return Ok(None);
    };
    let ns = if areas.is_empty() { None } else { namespace_of(proc, pid, procfs::namespace_of) };
    let mapping = |vma| SegmentMapping { pid, task, ns, vma, origin: OnceCell::new() };
    Ok(Some(areas.into_iter().map(mapping).collect()))
}

/// Returns whether a process of this IPC namespace has a segment attached, judged by the mappings of its leader.
pub(super) fn has_attached(system: &System, pid: i32, id: ShmId, devices: &[Device]) -> Result<bool, ProcError> {
    let filter = MappingFilter { devices, inodes: Some(vec![inode_of(id)]) };
    let mappings = filter.read(system.proc(), &pid.to_string())?;
    Ok(mappings.is_some_and(|mappings| !mappings.is_empty()))
}

/// Returns this process's mapping of a segment at an address.
pub(super) fn own_mapping(system: &System, devices: &[Device], address: u64) -> Option<Mapping> {
    let filter = MappingFilter { devices, inodes: None };
    let mappings = filter.read(system.proc(), "self").ok()??;
    mappings.into_iter().find(|mapping| mapping.start == address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_is_read_without_procmap_query_and_from_threads_if_the_leader_has_exited() {
        let root = tempfile::tempdir().unwrap();
        let maps = |process: &str, text: &str| {
            std::fs::create_dir_all(root.path().join(process)).unwrap();
            std::fs::write(root.path().join(process).join("maps"), text).unwrap();
        };
        let line = "7f0000000000-7f0000001000 rw-s 00000000 00:01 5      /SYSV000004d2 (deleted)\n";
        maps("1", "");
        maps("7", line);
        maps("8", "");
        maps("8/task/8", "");
        maps("8/task/9", line);
        maps("10", "00400000-00401000 r-xp 00000000 00:00 0 \n");
        let filter = MappingFilter { devices: &[Device(0, 1)], inodes: Some(vec![5]) };
        let system = System::at(root.path().to_owned());
        let found = scan(&system, &[7, 8, 10, 11], &filter).unwrap();
        assert_eq!(found.mappings.iter().map(|mapping| mapping.pid).collect::<Vec<_>>(), [7, 8]);
        assert!(!found.some_inaccessible());
        let other = MappingFilter { devices: &[Device(0, 1)], inodes: Some(vec![4, 6]) };
        assert!(scan(&system, &[7, 8], &other).unwrap().mappings.is_empty());
        let elsewhere = MappingFilter { devices: &[Device(0, 2)], inodes: None };
        assert!(scan(&system, &[7, 8], &elsewhere).unwrap().mappings.is_empty());
    }

    #[test]
    fn without_process_1_other_processes_are_hidden() {
        let root = tempfile::tempdir().unwrap();
        let system = System::at(root.path().to_owned());
        let filter = MappingFilter { devices: &[], inodes: None };
        assert!(scan(&system, &[], &filter).unwrap().some_inaccessible());
    }
}
