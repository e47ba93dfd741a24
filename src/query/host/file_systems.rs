//! The file systems in memory that processes have mounted, in every mount namespace.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::directory::DEV_SHM;
use super::namespaces::container_of;
use super::system::System;
use crate::model::Device;
use crate::procfs::{self, Mount};
use crate::query::failure::QueryError;
use crate::sys;

/// A mounted tmpfs, devtmpfs or hugetlbfs.
#[derive(Debug)]
pub(crate) struct MountedFileSystem {
    pub(crate) device: Device,
    /// Its mount point, in the mount namespace of the process where it was found.
    pub(crate) mount: PathBuf,
    pub(crate) mnt_ns: Option<u64>,
    /// The container or unit of that process; `None` in the caller's own mount namespace.
    pub(crate) container: Option<Arc<str>>,
    /// Whether it is mounted in the caller's own mount namespace.
    pub(crate) is_own: bool,
    pub(crate) is_devtmpfs: bool,
    /// Whether it is the /dev/shm of a process.
    pub(crate) has_objects: bool,
    /// Whether the mount shows all of the file system: other mounts cover no part of it.
    pub(crate) is_whole: bool,
    /// Refers to what is mounted: a directory, or a file.
    pub(crate) root: OwnedFd,
}

/// The file systems in memory that the caller can reach.
#[derive(Debug, Default)]
pub(crate) struct MountedFileSystems {
    /// Each once; those of the caller's own mount namespace come first.
    pub(crate) list: Vec<MountedFileSystem>,
    /// The devices of file systems that other mounts cover, or that the caller may not reach.
    pub(crate) hidden: HashSet<Device>,
    /// The devices of the other mounts, which are not in memory.
    pub(crate) not_in_memory: HashSet<Device>,
    /// The number of processes whose mount namespace the caller may not see.
    pub(crate) inaccessible: u64,
}

/// The types of file systems in memory.
const TYPES: [&str; 3] = ["tmpfs", "devtmpfs", "hugetlbfs"];

/// Finds the file systems in memory by the mounts of each mount namespace.
pub(crate) fn mounted_file_systems(system: &System) -> Result<MountedFileSystems, QueryError> {
    let proc = system.proc();
    let views = system.mount_views()?;
    let mut found = MountedFileSystems { inaccessible: views.inaccessible, ..MountedFileSystems::default() };
    let (mut seen, mut reached) = (HashSet::new(), HashSet::new());
    let own = ("thread-self".to_owned(), procfs::mount_namespace_of(proc, "thread-self"));
    let others = views.distinct.iter().map(|(pid, namespace)| (pid.to_string(), Some(*namespace)));
    for (index, (process, mnt_ns)) in std::iter::once(own).chain(others).enumerate() {
        // A process that exits meanwhile has no mounts.
        let Ok(mut mounts) = procfs::mounts(proc, &process) else { continue };
        let Ok(top) = sys::refer_through(&proc.join(&process).join("root")) else { continue };
        let is_own = index == 0;
        let mut container = None;
        mounts.sort_by_key(|mount| !mount.is_whole());
        for mount in &mounts {
            if !TYPES.contains(&mount.kind.as_str()) {
                found.not_in_memory.insert(mount.device);
                continue;
            }
            seen.insert(mount.device);
            let has_objects = mount.is_whole() && mount.point == Path::new(DEV_SHM);
            if reached.contains(&mount.device) {
                // Docker mounts that of a container elsewhere too.
                let known = found.list.iter_mut().find(|known| has_objects && known.device == mount.device);
                known.into_iter().for_each(|known| known.has_objects = true);
                continue;
            }
            let Some(root) = refer_to_mount(top.as_fd(), mount) else { continue };
            reached.insert(mount.device);
            let container = container.get_or_insert_with(|| container_of(proc, &process));
            found.list.push(MountedFileSystem {
                device: mount.device,
                is_whole: mount.is_whole() && !mount.is_covered(&mounts),
                is_devtmpfs: mount.kind == "devtmpfs",
                has_objects,
                mount: mount.point.clone(),
                mnt_ns,
                container: container.clone().filter(|_| !is_own),
                is_own,
                root,
            });
        }
    }
    found.hidden = &seen - &reached;
    Ok(found)
}

/// Refers to what is mounted, if no other mount covers it. The path can lead through directories of other users, so no
/// symbolic link is followed.
fn refer_to_mount(top: BorrowedFd<'_>, mount: &Mount) -> Option<OwnedFd> {
    let point = mount.point.strip_prefix("/").unwrap_or(&mount.point);
    let point = if point.as_os_str().is_empty() { Path::new(".") } else { point };
    let file = sys::refer_below(top, point).ok()?;
    (sys::stat_file(file.as_fd()).ok()?.file.device == mount.device).then_some(file)
}
