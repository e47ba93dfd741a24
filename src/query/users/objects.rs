//! The processes that use POSIX objects: descriptors and mappings of their files.
//!
//! One scan answers for all files. It compares device and inode, so it finds users in every mount namespace and under
//! every name. Private mappings count too: they hold the file. Descriptors opened with O_PATH refer to a file without
//! holding its contents, and count only where it has no name and they keep its memory. The scan does not see files that
//! are in flight in a Unix socket or registered with an io_uring; only the write lease shows these.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;

use super::descriptors::{Table, can_hold_files, each_table};
use super::found_files::{ObjectScan, OpenFileSystem, UnlinkedFacts, UnlinkedFile};
use super::scan::{PROCESSES_PER_THREAD, hidden_by_proc};
use super::threads::{mappings_of_process, namespace_of, read_maps};
use crate::model::{
    DELETED, Device, FileId, FileMapping, FileStat, FileType, FileUser, FileUsers, HiddenBy, How, Needs, SEGMENT_NAME,
};
use crate::procfs::{self, ProcError};
use crate::query::failure::QueryError;
use crate::query::host::System;
use crate::sys;

/// What to look for in the processes.
#[derive(Debug, Default)]
pub(crate) struct ObjectSearch {
    /// The devices of the files.
    pub(crate) devices: HashSet<Device>,
    /// Those of `devices` on which the kernel keeps memfds and shared anonymous memory. Segments are there too, but are
    /// not looked for: their inode numbers are their ids, which other files on the device can have as well.
    pub(crate) internal: HashSet<Device>,
    /// Whether to look for files on other file systems in memory, which are mounted nowhere.
    pub(crate) finds_file_systems: bool,
    /// Devices that are not in memory. The size of these file systems may be known only to a server, which may not
    /// respond.
    pub(crate) elsewhere: HashSet<Device>,
}

impl ObjectSearch {
    pub(crate) fn on(devices: impl IntoIterator<Item = Device>) -> Self {
        Self { devices: devices.into_iter().collect(), ..Self::default() }
    }

    /// Returns the type of a file by its device and the name that the kernel gives it in /proc; `None` for a segment.
    fn file_type(&self, device: Device, name: &[u8]) -> Option<FileType> {
        match name {
            _ if !self.internal.contains(&device) => Some(FileType::Shm),
            _ if name.starts_with(SEGMENT_NAME) => None,
            _ if name.starts_with(b"/memfd:") => Some(FileType::Memfd),
            _ => Some(FileType::Anonymous),
        }
    }
}

/// A way in which a process holds a file.
enum Hold {
    Descriptor {
        number: i32,
        /// The thread that shows it.
        thread: i32,
    },
    Mapping(FileMapping),
}

/// The files that a process holds.
type HeldFiles = (i32, Vec<(FileId, Hold)>);

/// Scans all processes but this one for the files of a search that `wanted` accepts.
pub(crate) fn scan_objects(
    system: &System,
    search: &ObjectSearch,
    needs: Needs,
    wanted: impl Fn(FileId) -> bool,
) -> Result<ObjectScan, QueryError> {
    if !system.has_proc() {
        return Ok(ObjectScan { hidden: vec![HiddenBy::NoProc], ..ObjectScan::default() });
    }
    let own = i32::try_from(std::process::id()).ok();
    let pids = procfs::pids(system.proc()).map_err(QueryError::Mappings)?;
    let pids: Vec<i32> = pids.filter(|pid| Some(*pid) != own).collect();
    let mut scan = ObjectScan::default();
    let proc = system.proc();
    let parts = sys::in_parallel(&pids, PROCESSES_PER_THREAD, |pids| scan_part(proc, pids, search));
    for (part, holds) in parts.into_iter().collect::<Result<Vec<_>, _>>().map_err(QueryError::Mappings)? {
        scan.add(part);
        for (pid, mut holds) in holds {
            holds.retain(|(file, _)| wanted(*file) || scan.unlinked.contains_key(file));
            if !holds.is_empty() {
                add_user(system, pid, holds, needs, &mut scan.users);
            }
        }
    }
    if system.inaccessible(scan.inaccessible) != Some(0) {
        scan.hidden.push(HiddenBy::Permission);
    }
    if !system.is_in_initial_pid_namespace() {
        scan.hidden.push(hidden_by_proc(system).unwrap_or(HiddenBy::PidNamespace));
    }
    Ok(scan)
}

/// Scans some processes. Returns what was found, without the users, and how each process holds files.
fn scan_part(proc: &Path, pids: &[i32], search: &ObjectSearch) -> Result<(ObjectScan, Vec<HeldFiles>), ProcError> {
    let (mut scan, mut held) = (ObjectScan::default(), Vec::new());
    let mut other_devices = search.elsewhere.clone();
    for pid in pids.iter().copied() {
        let mut holds = Vec::new();
        let mut is_inaccessible = false;
        for result in [
            add_descriptors(proc, pid, search, &mut other_devices, &mut holds, &mut scan),
            mappings(proc, pid, search, &mut holds, &mut scan.unlinked),
        ] {
            match result {
                Err(error) if error.is_denied() => is_inaccessible = true,
                Err(error) if error.has_exited() => {}
                result => result?,
            }
        }
        scan.inaccessible += u64::from(is_inaccessible);
        if !holds.is_empty() {
            held.push((pid, holds));
        }
    }
    Ok((scan, held))
}

/// Adds the descriptors of a process. `other_devices` are those that are not searched for and were seen before.
fn add_descriptors(
    proc: &Path,
    pid: i32,
    search: &ObjectSearch,
    other_devices: &mut HashSet<Device>,
    holds: &mut Vec<(FileId, Hold)>,
    scan: &mut ObjectScan,
) -> Result<(), ProcError> {
    let mut denied = Ok(());
    // A table that was copied or read twice has the same files under the same numbers.
    let mut seen: HashSet<(FileId, String)> = HashSet::new();
    let listed = each_table(proc, pid, |Table { thread, path, directory, numbers }| {
        let directory = directory.as_fd();
        for number in numbers {
            let stat = match sys::stat_link_locally(directory, OsStr::new(number)) {
                Ok(stat) => stat,
                Err(errno @ (Errno::EACCES | Errno::EPERM)) => {
                    denied = Err(io::Error::from(errno));
                    continue;
                }
                // It was closed meanwhile.
                Err(_) => continue,
            };
            let device = stat.file.device;
            let mut is_new = || seen.insert((stat.file, number.clone()));
            if !search.devices.contains(&device) {
                if search.finds_file_systems && other_devices.insert(device) {
                    let file = sys::refer_through(&proc.join(path).join("fd").join(number)).ok();
                    let file = file.filter(|file| matches!(sys::file_system(file.as_fd()), Ok(Some(_))));
                    scan.other_file_systems
                        .extend(file.map(|file| (device, OpenFileSystem { file, pids: Vec::new() })));
                }
                if let Some(found) = scan.other_file_systems.get_mut(&device)
                    && found.pids.last() != Some(&pid)
                {
                    found.pids.push(pid);
                }
                let is_holder = search.finds_file_systems && can_hold_files(&stat);
                scan.in_flight += u64::from(is_holder && procfs::holds_files(proc, path, number) && is_new());
                continue;
            }
            let Ok(stat) = sys::stat_link(directory, OsStr::new(number)) else { continue };
            if !stat.is_regular()
                || stat.file.device != device
                || (stat.links > 0 && sys::is_path_descriptor(directory, OsStr::new(number)))
            {
                continue;
            }
            let name = || sys::link_target(directory, OsStr::new(number)).unwrap_or_default();
            let name = if search.internal.contains(&device) { name() } else { OsString::new() };
            let Some(file_type) = search.file_type(device, name.as_bytes()) else { continue };
            if stat.links == 0 {
                scan.unlinked.insert(stat.file, UnlinkedFile { file_type, known: UnlinkedFacts::Stat(stat) });
            }
            if is_new() {
                let hold = |number| (stat.file, Hold::Descriptor { number, thread: *thread });
                holds.extend(number.parse().map(hold));
            }
        }
    });
    listed.and(denied).map_err(|error| ProcError::read(&proc.join(format!("{pid}/fd")), error))
}

/// Adds the mappings of a process.
fn mappings(
    proc: &Path,
    pid: i32,
    search: &ObjectSearch,
    holds: &mut Vec<(FileId, Hold)>,
    unlinked: &mut HashMap<FileId, UnlinkedFile>,
) -> Result<(), ProcError> {
    let found = mappings_of_process(proc, pid, |process| read_mappings(proc, process, search))?;
    let Some((thread, found)) = found else { return Ok(()) };
    let mut map_files: Option<io::Result<OwnedFd>> = None;
    for (mapping, file_type, deleted) in found {
        holds.push((mapping.file, Hold::Mapping(mapping)));
        if !deleted || unlinked.contains_key(&mapping.file) {
            continue;
        }
        let directory =
            map_files.get_or_insert_with(|| Ok(sys::open_directory(&proc.join(format!("{thread}/map_files")))?));
        let stat = directory.as_ref().ok().and_then(|directory| stat_mapping(directory.as_fd(), &mapping));
        let known = match stat {
            // The file exists: its name just ends like that of a deleted one.
            Some(stat) if stat.links > 0 || stat.file != mapping.file => continue,
            Some(stat) => UnlinkedFacts::Stat(stat),
            None => UnlinkedFacts::Mapped(mapping.end - mapping.start),
        };
        unlinked.insert(mapping.file, UnlinkedFile { file_type, known });
    }
    Ok(())
}

fn stat_mapping(map_files: BorrowedFd<'_>, mapping: &FileMapping) -> Option<FileStat> {
    sys::stat_link(map_files, OsStr::new(&format!("{:x}-{:x}", mapping.start, mapping.end))).ok()
}

/// A mapping, the type of its file, and whether the name of the file is marked as deleted.
type Found = (FileMapping, FileType, bool);

/// Reads the file mappings of a process or thread that a search is for; `None` if it has no memory.
fn read_mappings(proc: &Path, process: &str, search: &ObjectSearch) -> Result<Option<Vec<Found>>, ProcError> {
    let add = |found: &mut Vec<_>, mapping: FileMapping, name: &[u8]| {
        let file_type = search.file_type(mapping.file.device, name);
        found.extend(file_type.map(|file_type| (mapping, file_type, name.ends_with(DELETED))));
    };
    read_maps(
        proc,
        process,
        |maps, found| sys::file_mappings(maps, &search.devices, |mapping, name| add(found, mapping, name)),
        |path, maps, found| {
            procfs::file_mappings(path, maps, &search.devices, |mapping, name| add(found, mapping, name))
        },
    )
}

/// Returns whether a process has a file mapped; `false` if it has exited or denies access.
pub(super) fn has_mapped(system: &System, pid: i32, file: FileId) -> bool {
    let read = read_mappings(system.proc(), &pid.to_string(), &ObjectSearch::on([file.device]));
    read.ok().flatten().is_some_and(|found| found.iter().any(|(mapping, ..)| mapping.file == file))
}

/// Adds a process to the users of the files that it holds. The access of descriptors, and whether the process is
/// exiting, are read only if `needs` has ATTACHERS.
fn add_user(
    system: &System,
    pid: i32,
    mut holds: Vec<(FileId, Hold)>,
    needs: Needs,
    users: &mut HashMap<FileId, FileUsers>,
) {
    let proc = system.proc();
    let uid = system.effective_uid(pid);
    let user = uid.and_then(|uid| system.user_name(uid));
    let command = system.command(pid);
    let ns = namespace_of(proc, pid, procfs::namespace_of);
    let mnt_ns = namespace_of(proc, pid, procfs::mount_namespace_of);
    let exiting = needs.contains(Needs::ATTACHERS) && system.is_exiting(pid) == Some(true);
    // Keeps the order of the holds of each file.
    holds.sort_by_key(|(file, _)| *file);
    for holds in holds.chunk_by(|(one, _), (next, _)| one == next) {
        let is_open = holds.iter().any(|(_, hold)| matches!(hold, Hold::Descriptor { .. }));
        let is_mapped = holds.iter().any(|(_, hold)| matches!(hold, Hold::Mapping(_)));
        let entry = users.entry(holds[0].0).or_default();
        for (_, hold) in holds {
            let mut one = FileUser {
                pid,
                uid,
                user: user.clone(),
                command: command.clone(),
                how: if is_open && is_mapped { How::Both } else { How::Open },
                fd: None,
                address: None,
                size: None,
                access: None,
                ns,
                mnt_ns,
                exiting,
            };
            match hold {
                Hold::Descriptor { number, thread } => {
                    entry.descriptors += 1;
                    one.fd = Some(*number);
                    if needs.contains(Needs::ATTACHERS) {
                        one.access = procfs::descriptor_access(proc, &procfs::thread_path(pid, *thread), *number);
                    }
                }
                Hold::Mapping(mapping) => {
                    entry.mappings += 1;
                    if !is_open {
                        one.how = if mapping.private { How::Private } else { How::Mapped };
                    }
                    (one.address, one.size) = (Some(mapping.start), Some(mapping.end - mapping.start));
                    one.access = Some(mapping.access);
                }
            }
            entry.list.push(one);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_several_threads_have_found_is_put_together() {
        let root = tempfile::tempdir().unwrap();
        symlink("1", root.path().join("self")).unwrap();
        let file = root.path().join("file");
        std::fs::write(&file, "").unwrap();
        let id = sys::stat_file(sys::refer_through(&file).unwrap().as_fd()).unwrap().file;
        for pid in 1..=600 {
            let process = root.path().join(pid.to_string());
            let descriptors = process.join(format!("task/{pid}/fd"));
            std::fs::create_dir_all(&descriptors).unwrap();
            symlink(&file, descriptors.join("3")).unwrap();
            let Device(major, minor) = id.device;
            let line = format!("7f0000000000-7f0000001000 rw-s 00000000 {major:02x}:{minor:02x} {pid} /x (deleted)\n");
            std::fs::write(process.join("maps"), line).unwrap();
        }
        let search = ObjectSearch::on([id.device]);
        let scan = scan_objects(&System::at(root.path().to_owned()), &search, Needs::empty(), |_| true).unwrap();
        let mut users: Vec<_> = scan.users(id).list.iter().map(|user| user.pid).collect();
        users.sort_unstable();
        assert_eq!(users, Vec::from_iter(1..=600));
        // The file that each maps has no name.
        assert_eq!(scan.unlinked.len(), 600);
        let mapped = |pid: u64| scan.users(FileId { device: id.device, inode: pid }).list[0].pid;
        assert_eq!([1, 300, 600].map(mapped), [1, 300, 600]);
    }
}
