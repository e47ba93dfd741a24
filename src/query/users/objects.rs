//! The processes that use POSIX objects: descriptors and mappings of their files.
//!
//! One scan answers for all files. It compares device and inode, so it finds users in every mount namespace and under
//! every name. Private mappings count too: they hold the file. Descriptors opened with O_PATH refer to a file without
//! holding its contents, and count only where it has no name and they keep its memory. The scan does not see files that
//! are in flight in a Unix socket or registered with an io_uring; only the write lease shows these.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use nix::errno::Errno;

use super::descriptors::{Table, can_hold_files, each_table};
use super::threads::{has_exited, mappings_of_process, namespace_of, read_maps};
use crate::model::{
    DELETED, Device, FileId, FileMapping, FileStat, FileType, FileUser, FileUsers, HiddenBy, How, Needs, Posix,
    SEGMENT_NAME,
};
use crate::procfs::{self, ProcError};
use crate::query::failure::QueryError;
use crate::query::host::System;
use crate::sys;

/// What a scan has found.
#[derive(Debug, Default)]
pub(crate) struct ObjectScan {
    users: HashMap<FileId, FileUsers>,
    /// Files without a name, with what is known of them.
    pub(crate) unlinked: HashMap<FileId, UnlinkedFile>,
    /// The tmpfs and hugetlbfs that are not on [`ObjectSearch::devices`].
    pub(crate) other_file_systems: HashMap<Device, OpenFileSystem>,
    hidden: Vec<HiddenBy>,
    /// The number of processes that the caller may not inspect.
    pub(crate) inaccessible: u64,
    /// The number of descriptors that can hold files that no process has open, if [`ObjectSearch::finds_file_systems`].
    pub(crate) in_flight: u64,
}

/// A file system of which processes have files open.
#[derive(Debug)]
pub(crate) struct OpenFileSystem {
    /// Refers to one of the files.
    pub(crate) file: OwnedFd,
    pub(crate) pids: Vec<i32>,
}

/// A file without a name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnlinkedFile {
    pub(crate) file_type: FileType,
    pub(crate) known: UnlinkedFacts,
}

/// What is known of a file without a name.
#[derive(Clone, Copy, Debug)]
pub(crate) enum UnlinkedFacts {
    Stat(FileStat),
    /// Only mapped, by a process whose map_files the caller may not read: the length of the mapping.
    Mapped(u64),
}

/// What to look for in the processes.
#[derive(Debug, Default)]
pub(crate) struct ObjectSearch {
    /// The devices of the files.
    pub(crate) devices: HashSet<Device>,
    /// Those of the devices on which the kernel keeps memfds and shared anonymous memory. It keeps segments there too,
    /// with inode numbers of their own; these are not looked for.
    pub(crate) internal: HashSet<Device>,
    /// Whether to look for files on other file systems in memory, which are mounted nowhere.
    pub(crate) finds_file_systems: bool,
    /// Devices that are not in memory. Only a server may know the space of these file systems, and it may not answer.
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

impl ObjectScan {
    /// Returns the number of files without a name on a device, and the allocated bytes of those whose attributes are known.
    pub(crate) fn count_unlinked(&self, device: Device) -> (u64, u64) {
        let files = self.unlinked.iter().filter(|(file, _)| file.device == device);
        files.fold((0, 0), |(count, bytes), (_, file)| match file.known {
            UnlinkedFacts::Stat(stat) => (count + 1, bytes + stat.allocated),
            UnlinkedFacts::Mapped(_) => (count + 1, bytes),
        })
    }

    /// Returns the users of the files below a directory.
    pub(crate) fn users_below(&self, directory: &Posix) -> Arc<FileUsers> {
        let mut all = FileUsers::default();
        for users in directory.contents.iter().filter_map(|file| self.users.get(file)) {
            all.list.extend(users.list.iter().cloned());
            all.mappings += users.mappings;
            all.descriptors += users.descriptors;
        }
        all.list.sort_by_key(|user| user.pid);
        if all.list.is_empty() {
            all.hidden.clone_from(&self.hidden);
            if directory.is_partial && !all.hidden.contains(&HiddenBy::Permission) {
                all.hidden.push(HiddenBy::Permission);
            }
        }
        Arc::new(all)
    }

    /// Returns the users of a file that were found.
    pub(crate) fn users_found(&self, file: FileId) -> Option<&FileUsers> {
        self.users.get(&file)
    }

    /// Returns the users of a file.
    pub(crate) fn users(&self, file: FileId) -> Arc<FileUsers> {
        let mut users = self.users.get(&file).cloned().unwrap_or_default();
        if users.list.is_empty() {
            users.hidden.clone_from(&self.hidden);
        }
        Arc::new(users)
    }
}

/// A place where a process holds a file.
enum Place {
    Descriptor {
        number: i32,
        /// The thread that shows it.
        thread: i32,
    },
    Mapping(FileMapping),
}

/// Scans all processes but this one for the files of a search that `wanted` accepts.
pub(crate) fn scan_objects(
    system: &System,
    search: &ObjectSearch,
    needs: Needs,
    wanted: impl Fn(FileId) -> bool,
) -> Result<ObjectScan, QueryError> {
    let mut scan = ObjectScan::default();
    let own = i32::try_from(std::process::id()).ok();
    let mut other_devices = search.elsewhere.clone();
    for pid in procfs::pids(system.proc()).map_err(QueryError::Mappings)?.filter(|pid| Some(*pid) != own) {
        let mut places = Vec::new();
        let mut is_inaccessible = false;
        for result in [
            add_descriptors(system.proc(), pid, search, &mut other_devices, &mut places, &mut scan),
            mappings(system.proc(), pid, search, &mut places, &mut scan.unlinked),
        ] {
            match result {
                Err(ProcError::Read { error, .. }) if error.kind() == ErrorKind::PermissionDenied => {
                    is_inaccessible = true;
                }
                Err(ProcError::Read { error, .. }) if has_exited(&error) => {}
                Err(error) => return Err(QueryError::Mappings(error)),
                Ok(()) => {}
            }
        }
        scan.inaccessible += u64::from(is_inaccessible);
        places.retain(|(file, _)| wanted(*file) || scan.unlinked.contains_key(file));
        if !places.is_empty() {
            add_user(system, pid, places, needs, &mut scan.users);
        }
    }
    if scan.inaccessible > 0 || system.hides_processes() {
        scan.hidden.push(HiddenBy::Permission);
    }
    if !system.is_in_initial_pid_namespace() {
        scan.hidden.push(HiddenBy::PidNamespace);
    }
    Ok(scan)
}

/// Adds the descriptors of a process. `other_devices` are those that are not searched for and were seen before.
fn add_descriptors(
    proc: &Path,
    pid: i32,
    search: &ObjectSearch,
    other_devices: &mut HashSet<Device>,
    places: &mut Vec<(FileId, Place)>,
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
                let place = |number| (stat.file, Place::Descriptor { number, thread: *thread });
                places.extend(number.parse().map(place));
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
    places: &mut Vec<(FileId, Place)>,
    unlinked: &mut HashMap<FileId, UnlinkedFile>,
) -> Result<(), ProcError> {
    let found = mappings_of_process(proc, pid, |process| read_mappings(proc, process, search))?;
    let Some((thread, found)) = found else { return Ok(()) };
    let mut map_files: Option<io::Result<OwnedFd>> = None;
    for (mapping, file_type, deleted) in found {
        places.push((mapping.file, Place::Mapping(mapping)));
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

/// Adds a process to the users of the files that it holds. The access of descriptors, and whether the process is exiting,
/// are read only if `needs` has ATTACHERS.
fn add_user(
    system: &System,
    pid: i32,
    mut places: Vec<(FileId, Place)>,
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
    // Keeps the order of the places of each file.
    places.sort_by_key(|(file, _)| *file);
    for places in places.chunk_by(|(one, _), (next, _)| one == next) {
        let is_open = places.iter().any(|(_, place)| matches!(place, Place::Descriptor { .. }));
        let is_mapped = places.iter().any(|(_, place)| matches!(place, Place::Mapping(_)));
        let entry = users.entry(places[0].0).or_default();
        for (_, place) in places {
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
            match place {
                Place::Descriptor { number, thread } => {
                    entry.descriptors += 1;
                    one.fd = Some(*number);
                    if needs.contains(Needs::ATTACHERS) {
                        one.access = procfs::descriptor_access(proc, &procfs::thread_path(pid, *thread), *number);
                    }
                }
                Place::Mapping(mapping) => {
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
