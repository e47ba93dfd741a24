//! Limits of the IPC namespace, and how much of them is used.

use super::{Attempt, System, explain, inventory};
use crate::error::Error;
use crate::model::{Limits, Needs, Usage};
use crate::procfs;
use crate::sys;

/// Reads the limits, from IPC_INFO or, where that is denied, from /proc/sys.
///
/// # Errors
/// Neither answers.
pub(crate) fn limits(system: &System) -> Result<Limits, Error> {
    let rmid_forced = procfs::sysctl(system.proc(), "kernel/shm_rmid_forced").map(|value| value != 0);
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
    from_proc().ok_or_else(|| explain(system, &Attempt::Limits, denied))
}

/// Sums up what all segments take. The sums go beyond 64 bits, as those of unreserved segments do.
///
/// # Errors
/// The segments cannot be listed.
pub(crate) fn usage(system: &System) -> Result<Usage, Error> {
    let counted = sys::usage().ok();
    // With resident bytes counted by the kernel, the cheaper listing will do for the sizes.
    let needs = if counted.is_some() { Needs::empty() } else { Needs::RESIDENT };
    let segments = inventory(system, needs)?;
    let page_size = u128::from(system.page_size());
    let sum = |part: fn(&crate::model::Segment) -> u64| segments.iter().map(|segment| u128::from(part(segment))).sum();
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

/// Tells whether `kernel.shm_rmid_forced` is on, so that segments die with their last attachment; `None` where /proc does
/// not tell.
pub(crate) fn rmid_forced(system: &System) -> Option<bool> {
    procfs::sysctl(system.proc(), "kernel/shm_rmid_forced").map(|value| value != 0)
}
