//! Why facts could not be read. `explain` words these for the user.

use std::path::PathBuf;

use crate::model::{ObjectName, ShmId};
use crate::procfs::ProcError;
use crate::sys::{Errno, SysError};

#[derive(Debug)]
pub(crate) enum QueryError {
    /// shmctl and /proc/sysvipc/shm both refuse to list segments.
    List(SysError),
    /// /proc/sysvipc/shm cannot be read to its end.
    Table(ProcError),
    /// shmctl and /proc/sysvipc/shm both refuse to show a segment.
    Stat(ShmId, SysError),
    /// shmctl and /proc/sys both refuse to show the limits.
    Limits(SysError),
    /// The mappings of processes cannot be read.
    Mappings(ProcError),
    /// memfd_create(2), which shows the devices of segments, failed.
    Devices(SysError),
    /// The IPC namespaces of processes cannot be read.
    Namespaces(ProcError),
    /// /proc/meminfo does not show how much shared memory the machine has.
    NoMemorySum,
    /// The directory of POSIX objects cannot be opened or listed.
    Directory(PathBuf, Errno),
    /// The directory of POSIX objects of another process, or one above it, is a symbolic link; `target` is what it
    /// leads to there, if that has objects.
    Link { path: PathBuf, target: Option<PathBuf> },
    /// It is not known which directory has the POSIX objects of the IPC namespace that was entered.
    NoObjectDirectory,
    /// The directory of POSIX objects is neither on tmpfs nor on hugetlbfs.
    NotSharedMemory(PathBuf),
    /// The attributes of an object cannot be read.
    File(ObjectName, Errno),
    /// The name is that of another kind of file, such as a symbolic link.
    NotAnObject(ObjectName, &'static str),
}

impl QueryError {
    /// Returns whether the directory of POSIX objects does not exist, and with it any object.
    pub(crate) fn is_without_directory(&self) -> bool {
        matches!(self, Self::Directory(_, Errno::ENOENT))
    }

    /// Returns whether the objects are not known because their directory cannot be listed, or does not exist.
    pub(crate) fn is_without_objects(&self) -> bool {
        matches!(self, Self::Directory(..) | Self::Link { .. } | Self::NotSharedMemory(_) | Self::NoObjectDirectory)
    }
}
