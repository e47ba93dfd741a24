//! The file systems that processes have at /dev/shm, in every mount namespace.
//!
//! Containers of a pod, and services with a mount namespace of their own, often share one: each is visited once, by its
//! device. One that no process has at /dev/shm is not found.

use std::collections::HashSet;
use std::path::Path;

use super::directory::{DEV_SHM, ObjectDirectory};
use super::namespaces::container_of;
use super::system::System;
use crate::model::Device;
use crate::query::failure::QueryError;
use crate::sys::Errno;

/// The file systems of POSIX objects that the caller can reach.
#[derive(Debug, Default)]
pub(crate) struct Instances {
    /// The caller's own comes first.
    pub(crate) directories: Vec<ObjectDirectory>,
    /// Why others could not be opened, each with a process that has it.
    pub(crate) failed: Vec<(i32, QueryError)>,
    /// The number of processes whose mount namespace the caller is not permitted to enter; `None` if /proc hides some.
    pub(crate) inaccessible: Option<u64>,
}

pub(crate) fn instances(system: &System) -> Result<Instances, QueryError> {
    let proc = system.proc();
    let views = system.mount_views()?;
    let mut found = Instances { inaccessible: system.inaccessible(views.inaccessible), ..Instances::default() };
    // Without a /dev/shm, the caller has no objects.
    found.directories.extend(system.open_objects(Path::new(DEV_SHM)).ok());
    let mut devices: HashSet<Device> = found.directories.iter().map(|directory| directory.device).collect();
    for (pid, _) in views.distinct.iter().copied() {
        match ObjectDirectory::of_process(proc, pid, Path::new(DEV_SHM)) {
            Ok(mut directory) if devices.insert(directory.device) => {
                directory.container = container_of(proc, &pid.to_string());
                found.directories.push(directory);
            }
            // Seen before, without a tmpfs at /dev/shm, or of a process that has exited.
            Ok(_)
            | Err(
                QueryError::NotSharedMemory(_)
                | QueryError::Directory(_, Errno::ENOENT | Errno::ENOTDIR | Errno::ESRCH),
            ) => {}
            Err(error) => found.failed.push((pid, error)),
        }
    }
    Ok(found)
}
