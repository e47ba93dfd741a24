//! What the kernel's Shmem (/proc/meminfo) consists of, except System V segments, whose namespaces must be entered.
//!
//! The space of a tmpfs includes files without a name and swapped pages. Files on the kernel's internal file system
//! (memfds and shared anonymous memory) and file systems that are mounted nowhere are found through the processes that
//! use them. hugetlbfs is not part of Shmem.

mod cgroups;
mod files;

use std::os::fd::{AsFd, BorrowedFd};

pub(crate) use cgroups::charged_to_control_groups;
use files::{Files, allocated, resident};

use super::failure::QueryError;
use super::host::{DEV_SHM, MountedFileSystem, MountedFileSystems, System, mounted_file_systems, segment_devices};
use super::users::{ObjectScan, ObjectSearch, scan_objects};
use crate::model::{
    Device, FileType, Holding, HugeMemory, Ident, Instance, InstanceUsage, Memory, Needs, Possible, Source, Unseen,
    path_text,
};
use crate::procfs;
use crate::sys;

/// Shared memory and what it belongs to.
#[derive(Debug, Default)]
pub(crate) struct ShmemSurvey {
    /// The kernel's own sum in bytes.
    pub(crate) shmem: u64,
    /// Everything that was found, each byte once.
    pub(crate) holdings: Vec<Holding>,
    /// The objects of /dev/shm of which `holdings` has only sums.
    pub(crate) parts: Vec<Holding>,
    pub(crate) instances: Vec<InstanceUsage>,
    pub(crate) huge: HugeMemory,
    /// Why there can be more shared memory.
    pub(crate) possible: Vec<Possible>,
}

/// Finds shared memory. With `each_file`, each file of a tmpfs is a holding of its own, with its users.
pub(crate) fn survey_shmem(system: &System, each_file: bool) -> Result<ShmemSurvey, QueryError> {
    let MountedFileSystems { list, mut hidden, elsewhere, inaccessible } = mounted_file_systems(system)?;
    let internal = segment_devices().map_err(QueryError::Devices)?;
    let ordinary = internal.first().copied().unwrap_or_default();
    let devices = internal.iter().copied().chain(list.iter().map(|mounted| mounted.device)).collect();
    let internal = internal.into_iter().collect();
    let search = ObjectSearch { devices, internal, finds_file_systems: true, elsewhere };
    let scan = scan_objects(system, &search, Needs::empty(), |_| each_file)?;
    let mut survey = ShmemSurvey::default();
    for mounted in &list {
        add_mounted(system, mounted, &scan, each_file, &mut survey);
    }
    for (device, file) in &scan.other_file_systems {
        hidden.remove(device);
        add_unmounted(system, *device, file.as_fd(), &mut survey);
    }
    for (file, found) in scan.unlinked.iter().filter(|(file, _)| search.internal.contains(&file.device)) {
        let memory = files::memory_of_unlinked(system, &scan, *file, found);
        let source = if found.file_type == FileType::Memfd { Source::Memfd } else { Source::Anonymous };
        if file.device == ordinary {
            survey.holdings.push(files::holding_of_unlinked(&scan, *file, found, source, memory, None));
        } else {
            survey.huge.memfd += memory.rss;
        }
    }
    let some = |reason, count: u64| (count > 0).then_some(Possible { reason, count: Some(count) });
    let outside = !system.is_in_initial_pid_namespace();
    let unknown = |reason| Possible { reason, count: None };
    survey.possible = [
        some(Unseen::InFlight, scan.in_flight),
        some(Unseen::Permission, scan.inaccessible.max(inaccessible)),
        outside.then_some(unknown(Unseen::PidNamespace)),
        some(Unseen::HiddenMount, hidden.len() as u64),
        Some(unknown(Unseen::Kernel)),
    ]
    .into_iter()
    .flatten()
    .collect();
    survey.shmem = procfs::shared_memory(system.proc()).unwrap_or_default();
    Ok(survey)
}

/// Adds what a mounted file system holds.
fn add_mounted(
    system: &System,
    mounted: &MountedFileSystem,
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
        _ if mounted.mount.as_os_str() == DEV_SHM => Source::DevShm,
        _ => Source::Tmpfs,
    };
    // An unlimited file system counts nothing, and only the files show which bytes are in swap.
    let is_counted = space.size > 0;
    let reads_files = each_file || !is_counted || source == Source::DevShm || system.swap_is_used();
    let files = if reads_files { Files::below(system, mounted) } else { Files::default() };
    let unlinked: Vec<_> = scan.unlinked.iter().filter(|(file, _)| file.device == device).collect();
    let found: u64 = unlinked.iter().map(|(_, found)| allocated(found)).sum();
    let named: u64 = files.list.iter().map(|file| file.allocated).sum();
    let used = if is_counted { space.used } else { named + found };
    if space.is_huge {
        survey.huge.files += used;
        return;
    }
    let nameless =
        (is_counted && reads_files && files.is_complete && mounted.is_whole).then(|| used.saturating_sub(named));
    survey.instances.push(InstanceUsage {
        dev: device,
        mount: Some(path_text(&mounted.mount)),
        mnt_ns: mounted.mnt_ns,
        container: mounted.container.clone(),
        size: space.size,
        used,
        inodes: space.inodes,
        inodes_used: space.inodes_used,
        unlinked: nameless.or((!is_counted).then_some(found)),
    });
    let container = mounted.container.clone();
    let part = |source, memory| Holding {
        container: container.clone(),
        ..Holding::new(source, Instance::FileSystem(device), memory)
    };
    let of_nameless = if source == Source::DevShm { Source::Unlinked } else { source };
    let before = survey.holdings.len();
    if each_file || source == Source::DevShm {
        let named = files.list.iter().map(|file| Holding {
            ident: file.name.clone().filter(|_| source == Source::DevShm).map(Ident::Name),
            uid: Some(file.uid),
            pids: files::pids(scan, file.id),
            product: file.product.clone(),
            ..part(source, file.memory)
        });
        let nameless = unlinked.iter().map(|(file, found)| {
            let memory = files::memory_of_unlinked(system, scan, **file, found);
            files::holding_of_unlinked(scan, **file, found, of_nameless, memory, container.clone())
        });
        let list = if each_file { &mut survey.holdings } else { &mut survey.parts };
        list.extend(named.chain(nameless));
    }
    if !each_file && source == Source::DevShm {
        let bytes = nameless.unwrap_or(found);
        let memory = unlinked.iter().map(|(file, found)| files::memory_of_unlinked(system, scan, **file, found));
        let mut memory = memory.fold(Memory::NONE, Memory::plus);
        // The sum of the files lacks those that are in flight or in use by processes that cannot be seen.
        memory.rss = resident(bytes, memory.swap);
        if bytes > 0 || memory.count > 0 {
            survey.holdings.push(part(of_nameless, memory));
        }
    }
    let known: u64 = survey.holdings[before..].iter().map(|holding| holding.memory.allocated()).sum();
    let swap = if each_file || !system.swap_is_used() { Some(0) } else { files.swap() };
    let rest = used.saturating_sub(known);
    let count = match source {
        Source::DevShm => files.list.len() as u64,
        _ => 1,
    };
    let memory = Memory { rss: resident(rest, swap), swap, size: space.size, count: if each_file { 0 } else { count } };
    survey.holdings.push(part(source, memory));
}

/// Adds a tmpfs that is mounted nowhere, or where no mount could be reached, by a descriptor of a process.
fn add_unmounted(system: &System, device: Device, file: BorrowedFd<'_>, survey: &mut ShmemSurvey) {
    let Ok(Some(space)) = sys::file_system(file) else { return };
    if space.is_huge {
        survey.huge.files += space.used;
        return;
    }
    let swap = if system.swap_is_used() { None } else { Some(0) };
    let memory = Memory { rss: space.used, swap, size: space.size, count: 1 };
    survey.holdings.push(Holding::new(Source::Detached, Instance::FileSystem(device), memory));
    survey.instances.push(InstanceUsage {
        dev: device,
        mount: None,
        mnt_ns: None,
        container: None,
        size: space.size,
        used: space.used,
        inodes: space.inodes,
        inodes_used: space.inodes_used,
        unlinked: None,
    });
}
