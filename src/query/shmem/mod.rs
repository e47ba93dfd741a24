//! What the kernel's Shmem (/proc/meminfo) consists of, except System V segments, whose namespaces must be entered.
//!
//! The space of a tmpfs includes files without a name and swapped pages. Files on the kernel's internal file system
//! (memfds and shared anonymous memory) and file systems that are mounted nowhere are found through the processes that
//! use them. hugetlbfs is not part of Shmem.

mod cgroups;
mod files;

use std::os::fd::AsFd;
use std::path::Path;

pub(crate) use cgroups::charged_to_control_groups;
use files::Files;

use super::failure::QueryError;
use super::host::{DEV_SHM, MountedFileSystem, MountedFileSystems, System, mounted_file_systems, segment_devices};
use super::users::{ObjectScan, ObjectSearch, OpenFileSystem, scan_objects};
use crate::model::{
    Device, FileId, FileType, Holding, HugeMemory, Ident, Instance, InstanceUsage, Memory, Needs, Possible, Source,
    Unseen, path_text,
};
use crate::procfs;
use crate::sys::{self, FileSystem};

/// Shared memory and what it belongs to.
#[derive(Debug, Default)]
pub(crate) struct ShmemSurvey {
    /// The kernel's own sum in bytes.
    pub(crate) shmem: u64,
    /// Everything that was found, each byte once.
    pub(crate) holdings: Vec<Holding>,
    /// What the sums of some file systems in `holdings` consist of: files, and what is in none that was found.
    pub(crate) parts: Vec<Holding>,
    pub(crate) instances: Vec<InstanceUsage>,
    pub(crate) huge: HugeMemory,
    /// Why there can be more shared memory.
    pub(crate) possible: Vec<Possible>,
}

/// Finds shared memory. With `each_file`, the files of each tmpfs are parts, with their users; otherwise only those of
/// /dev/shm.
pub(crate) fn survey_shmem(system: &System, each_file: bool) -> Result<ShmemSurvey, QueryError> {
    let MountedFileSystems { list, mut hidden, not_in_memory, inaccessible } = mounted_file_systems(system)?;
    let internal = segment_devices().map_err(QueryError::Devices)?;
    let ordinary = internal.first().copied().unwrap_or_default();
    let devices = internal.iter().copied().chain(list.iter().map(|mounted| mounted.device)).collect();
    let internal = internal.into_iter().collect();
    let search = ObjectSearch { devices, internal, finds_file_systems: true, elsewhere: not_in_memory };
    let scan = scan_objects(system, &search, Needs::empty(), |_| each_file)?;
    let mut survey = ShmemSurvey::default();
    let dev_shm = sys::refer_through(Path::new(DEV_SHM)).and_then(|directory| sys::stat_file(directory.as_fd()));
    let dev_shm = dev_shm.ok().map(|directory| directory.file);
    for mounted in &list {
        add_mounted(system, mounted, dev_shm, &scan, each_file, &mut survey);
    }
    for (device, found) in &scan.other_file_systems {
        hidden.remove(device);
        add_unmounted(system, *device, found, &mut survey);
    }
    for (file, found) in scan.unlinked.iter().filter(|(file, _)| search.internal.contains(&file.device)) {
        let source = if found.file_type == FileType::Memfd { Source::Memfd } else { Source::Anonymous };
        let holding = files::holding_of_unlinked(system, &scan, *file, found, source);
        if file.device == ordinary {
            survey.holdings.push(holding);
        } else {
            survey.huge.memfd += holding.memory.rss;
        }
    }
    let some = |reason, count: u64| (count > 0).then_some(Possible { reason, count: Some(count) });
    let outside = !system.is_in_initial_pid_namespace();
    let unknown = |reason| Possible { reason, count: None };
    survey.possible = [
        some(Unseen::InFlight, scan.in_flight),
        match system.inaccessible(scan.inaccessible.max(inaccessible)) {
            Some(count) => some(Unseen::Permission, count),
            None => Some(unknown(Unseen::Permission)),
        },
        outside.then_some(unknown(Unseen::PidNamespace)),
        some(Unseen::HiddenMount, hidden.len() as u64),
        Some(unknown(Unseen::Kernel)),
    ]
    .into_iter()
    .flatten()
    .collect();
    survey.shmem = procfs::meminfo(system.proc(), "Shmem:").ok_or(QueryError::NoMemorySum)?;
    Ok(survey)
}

/// Adds what a mounted file system holds; `dev_shm` is the caller's /dev/shm. Its files are parts if it is the /dev/shm
/// of a process, or with `each_file`.
fn add_mounted(
    system: &System,
    mounted: &MountedFileSystem,
    dev_shm: Option<FileId>,
    scan: &ObjectScan,
    each_file: bool,
    survey: &mut ShmemSurvey,
) {
    let device = mounted.device;
    // It may have been unmounted, or the devtmpfs is a ramfs, which is not part of Shmem.
    let Ok(Some(space)) = sys::file_system(mounted.root.as_fd()) else { return };
    let source = match mounted {
        _ if mounted.is_devtmpfs => Source::Devtmpfs,
        _ if !mounted.is_own => Source::Container,
        // The mount that was found can be another one of the same file system.
        _ if dev_shm.is_some_and(|directory| directory.device == device) => Source::DevShm,
        _ => Source::Tmpfs,
    };
    // An unlimited file system counts nothing, and only the files show which bytes are in swap.
    let is_counted = space.used.is_some();
    let is_dev_shm = || sys::stat_file(mounted.root.as_fd()).is_ok_and(|root| Some(root.file) == dev_shm);
    let has_objects = mounted.has_objects || is_dev_shm();
    let has_parts = each_file || has_objects || source == Source::DevShm;
    let reads_files = has_parts || !is_counted || system.swap_is_used();
    let files = if reads_files { Files::below(system, mounted, has_objects) } else { Files::default() };
    let of_unnamed = if source == Source::DevShm { Source::Unlinked } else { source };
    let unnamed = scan.unlinked.iter().filter(|(file, _)| file.device == device);
    let unnamed = unnamed.map(|(file, found)| {
        let container = mounted.container.clone();
        let holding = files::holding_of_unlinked(system, scan, *file, found, of_unnamed);
        let ident = holding.ident.clone().filter(|_| has_objects || source == Source::DevShm);
        Holding { ident, container, ..holding }
    });
    let unnamed: Vec<Holding> = unnamed.collect();
    let sum = |memory: &mut dyn Iterator<Item = Memory>| memory.fold(Memory::NONE, Memory::plus);
    let named = sum(&mut files.list.iter().map(|file| file.memory));
    let found = sum(&mut unnamed.iter().map(|holding| holding.memory));
    let known = named.allocated() + found.allocated();
    let used = space.used.unwrap_or(known);
    if space.is_huge {
        survey.huge.files += used;
        return;
    }
    // Files that are in flight or in use by processes that cannot be seen, if all others were read.
    let others = used.saturating_sub(known);
    let others = Memory {
        rss: others,
        swap: (others == 0 || !system.swap_is_used()).then_some(0),
        size: 0,
        count: (others == 0).then_some(0),
    };
    let shows_unlinked = is_counted && reads_files && files.is_complete && mounted.is_whole;
    let unlinked = if shows_unlinked { used.saturating_sub(named.allocated()) } else { found.allocated() };
    survey.instances.push(InstanceUsage {
        used: Some(used),
        unlinked: (shows_unlinked || !is_counted).then_some(unlinked),
        ..instance(device, &space, Some(mounted))
    });
    let holding = |source, memory| Holding {
        container: mounted.container.clone(),
        ..Holding::new(source, Instance::FileSystem(device), memory)
    };
    let (of_named, of_unnamed) = if shows_unlinked { (named, found.plus(others)) } else { (named.plus(others), found) };
    if source == Source::DevShm {
        if unlinked > 0 || of_unnamed.count != Some(0) {
            survey.holdings.push(holding(Source::Unlinked, of_unnamed.with_allocated(unlinked)));
        }
        let memory = of_named.with_allocated(used.saturating_sub(unlinked));
        survey.holdings.push(holding(source, Memory { size: space.size, ..memory }));
    } else {
        let memory = of_named.plus(of_unnamed).with_allocated(used).of_one();
        survey.holdings.push(holding(source, Memory { size: space.size, ..memory }));
    }
    if has_parts {
        let named = files.list.into_iter().map(|file| Holding {
            ident: file.name.map(Ident::Name),
            uid: Some(file.uid),
            pids: files::pids(scan, file.id),
            product: file.product,
            ..holding(source, file.memory)
        });
        survey.parts.extend(named.chain(unnamed).chain([holding(source, others)]));
    }
}

/// Adds a tmpfs that is mounted nowhere, or where no mount could be reached, by a descriptor of a process.
fn add_unmounted(system: &System, device: Device, found: &OpenFileSystem, survey: &mut ShmemSurvey) {
    let Ok(Some(space)) = sys::file_system(found.file.as_fd()) else { return };
    if space.is_huge {
        survey.huge.files += space.used.unwrap_or(0);
        return;
    }
    let swap = if system.swap_is_used() { None } else { Some(0) };
    // Without a limit, nothing shows what is used, and it is not accounted for.
    let memory = Memory { rss: space.used.unwrap_or(0), swap, size: space.size, ..Memory::NONE }.of_one();
    let pids = found.pids.clone();
    survey.holdings.push(Holding { pids, ..Holding::new(Source::Detached, Instance::FileSystem(device), memory) });
    survey.instances.push(instance(device, &space, None));
}

/// Returns how much of a file system is used, without its files.
fn instance(device: Device, space: &FileSystem, mounted: Option<&MountedFileSystem>) -> InstanceUsage {
    InstanceUsage {
        dev: device,
        mount: mounted.map(|mounted| path_text(&mounted.mount)),
        mnt_ns: mounted.and_then(|mounted| mounted.mnt_ns),
        container: mounted.and_then(|mounted| mounted.container.clone()),
        size: space.size,
        used: space.used,
        inodes: space.inodes,
        inodes_used: space.inodes_used,
        unlinked: None,
    }
}
