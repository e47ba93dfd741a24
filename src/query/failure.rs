//! Why facts could not be read. `explain` words these for the user.

use crate::model::ShmId;
use crate::procfs::ProcError;
use crate::sys::SysError;

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
}
