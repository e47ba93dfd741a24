//! Limits of the IPC namespace.

use super::failure::QueryError;
use super::host::System;
use crate::model::Limits;
use crate::procfs;
use crate::sys;

/// Reads the limits from IPC_INFO, or from /proc/sys if that is denied.
pub(crate) fn limits(system: &System) -> Result<Limits, QueryError> {
    let rmid_forced = rmid_forced(system);
    let page_size = system.page_size();
    let denied = match sys::info() {
        Ok((info, _)) => {
            return Ok(Limits {
                shmmni: info.shmmni,
                shmmax: info.shmmax,
                shmall: info.shmall,
                shmmin: info.shmmin,
                page_size,
                rmid_forced,
            });
        }
        Err(denied) => denied,
    };
    let number = |name| procfs::sysctl(system.proc(), name);
    let from_proc = || {
        Some(Limits {
            shmmni: number("kernel/shmmni")?,
            shmmax: number("kernel/shmmax")?,
            shmall: number("kernel/shmall")?,
            // The kernel's SHMMIN is a constant.
            shmmin: 1,
            page_size,
            rmid_forced,
        })
    };
    from_proc().ok_or(QueryError::Limits(denied))
}

/// Returns whether `kernel.shm_rmid_forced` is on, so that segments are destroyed at the last detach; `None` if /proc
/// does not show it.
pub(crate) fn rmid_forced(system: &System) -> Option<bool> {
    procfs::sysctl(system.proc(), "kernel/shm_rmid_forced").map(|value| value != 0)
}
