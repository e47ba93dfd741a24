//! Limits of the IPC namespace.

use super::failure::QueryError;
use super::host::System;
use crate::model::Limits;
use crate::procfs;
use crate::sys;

/// Reads the limits from IPC_INFO, or from /proc/sys if that is denied.
pub(crate) fn limits(system: &System) -> Result<Limits, QueryError> {
    let number = |name| procfs::sysctl(system.proc(), name);
    // SHMMIN is a constant of the kernel.
    let from_proc = || Some((number("kernel/shmmni")?, number("kernel/shmmax")?, number("kernel/shmall")?, 1));
    let (shmmni, shmmax, shmall, shmmin) = match sys::info() {
        Ok((info, _)) => (info.shmmni, info.shmmax, info.shmall, info.shmmin),
        Err(denied) => from_proc().ok_or(QueryError::Limits(denied))?,
    };
    let (page_size, rmid_forced) = (system.page_size(), rmid_forced(system));
    Ok(Limits { shmmni, shmmax, shmall, shmmin, page_size, rmid_forced })
}

/// Returns whether `kernel.shm_rmid_forced` is on, so that segments are destroyed at the last detach; `None` if /proc
/// does not show it.
pub(crate) fn rmid_forced(system: &System) -> Option<bool> {
    procfs::sysctl(system.proc(), "kernel/shm_rmid_forced").map(|value| value != 0)
}
