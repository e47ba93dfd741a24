//! Limits of the IPC namespace, and of the sizes of segments and objects.

use super::failure::QueryError;
use super::host::{Resource, System, caller_limit, huge_page_pool, may_use_huge_pages};
use crate::model::Limits;
use crate::procfs;
use crate::sys::{self, CreateFlags, Errno};

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

/// Returns the errno with which no object of the caller can grow to a size.
pub(crate) fn size_errno(system: &System, size: u64) -> Option<Errno> {
    let exceeds_limit = || caller_limit(system, Resource::RLIMIT_FSIZE).is_some_and(|limit| size > limit);
    if i64::try_from(size).is_err() || exceeds_limit() {
        return Some(Errno::EFBIG);
    }
    let space = system.objects().and_then(|directory| directory.space()).ok()?;
    (space.is_huge && !size.is_multiple_of(space.page)).then_some(Errno::EINVAL)
}

/// Returns the errnos with which shmget(2) would fail for lack of memory or huge pages, in the order of the kernel's
/// checks. What /proc or the kernel does not show is taken to be sufficient.
pub(crate) fn memory_errnos(system: &System, size: u64, flags: CreateFlags) -> Vec<Errno> {
    let Some(page) = flags.huge else {
        if i64::try_from(size).is_err() {
            return vec![Errno::EINVAL];
        }
        // The heuristic mode refuses only what could never fit. The strict one depends on all processes.
        let is_heuristic = procfs::sysctl(system.proc(), "vm/overcommit_memory") == Some(0);
        let exceeds = || procfs::memory_total(system.proc()).is_some_and(|total| size > total);
        return if is_heuristic && !flags.no_reserve && exceeds() { vec![Errno::ENOMEM] } else { Vec::new() };
    };
    let page = page.or_else(|| system.huge_page_size());
    let Some((page, pool)) = page.and_then(|page| Some((page, huge_page_pool(page)?))) else {
        return vec![Errno::EINVAL];
    };
    let denied = (!may_use_huge_pages(system)).then_some(Errno::EPERM);
    let lacking = (!flags.no_reserve && size.div_ceil(page) > pool.available()).then_some(Errno::ENOMEM);
    denied.into_iter().chain(lacking).collect()
}

/// Returns whether `kernel.shm_rmid_forced` is on, so that segments are destroyed at the last detach; `None` if /proc
/// does not show it.
pub(crate) fn rmid_forced(system: &System) -> Option<bool> {
    procfs::sysctl(system.proc(), "kernel/shm_rmid_forced").map(|value| value != 0)
}
