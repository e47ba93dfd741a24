//! Limits of the IPC namespace and their usage.

use super::failure::QueryError;
use super::host::System;
use super::inventory::inventory;
use crate::model::{Limits, Needs, Usage};
use crate::procfs;
use crate::sys;

/// Reads the limits from IPC_INFO, or from /proc/sys if that is denied.
pub(crate) fn limits(system: &System) -> Result<Limits, QueryError> {
    let rmid_forced = rmid_forced(system);
    let page_size = system.page_size();
    let denied = match sys::info() {
        Ok(info) => {
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

/// Sums up all segments. The sums can exceed 64 bits, since SHM_NORESERVE segments can be of any size.
pub(crate) fn usage(system: &System) -> Result<Usage, QueryError> {
    let counted = sys::usage().ok();
    // If the kernel counts resident bytes, the cheaper listing is enough for the sizes.
    let needs = if counted.is_some() { Needs::empty() } else { Needs::RESIDENT };
    let segments = inventory(system, needs)?;
    let page_size = u128::from(system.page_size());
    let sum = |part: fn(&crate::model::Object) -> u64| segments.iter().map(|segment| u128::from(part(segment))).sum();
    let size: u128 = sum(|segment| segment.size);
    Ok(match counted {
        Some((used, pages, rss, swap)) => {
            Usage { segments: used, pages, size, rss: u128::from(rss) * page_size, swap: u128::from(swap) * page_size }
        }
        None => Usage {
            segments: segments.len() as u64,
            pages: segments.iter().map(|segment| segment.size.div_ceil(system.page_size())).sum(),
            size,
            rss: sum(|segment| segment.rss.unwrap_or(0)),
            swap: sum(|segment| segment.swap.unwrap_or(0)),
        },
    })
}

/// Returns whether `kernel.shm_rmid_forced` is on, so that segments are destroyed at the last detach; `None` if /proc
/// does not show it.
pub(crate) fn rmid_forced(system: &System) -> Option<bool> {
    procfs::sysctl(system.proc(), "kernel/shm_rmid_forced").map(|value| value != 0)
}
