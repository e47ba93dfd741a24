//! The background processes that hold a segment attached for us, found by what they are.

use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::System;
use crate::model::ShmId;
use crate::procfs;
use crate::sys;

/// The name that holders bear, and no other process of ours.
pub(crate) const HOLDER_NAME: &CStr = c"shmadm-hold";

/// A process that holds a segment for this user.
#[derive(Debug)]
pub(crate) struct Holder {
    /// Its pid.
    pub(crate) pid: i32,
    /// It, whatever becomes of the number.
    pub(crate) pidfd: OwnedFd,
}

/// Finds this user's holders of a segment: by name, user, IPC namespace and a mapping that really is the segment.
///
/// A process that cannot be looked into is none of ours.
pub(crate) fn holders(system: &System, id: ShmId) -> Vec<Holder> {
    let devices = segment_devices(system);
    let Ok(pids) = procfs::pids(system.proc()) else { return Vec::new() };
    pids.filter_map(|pid| {
        if procfs::name(system.proc(), pid)? != HOLDER_NAME.to_bytes() {
            return None;
        }
        // Held from here on: what is found out below is about the process that will be asked to end.
        let pidfd = sys::open_pidfd(pid).ok()?;
        is_holder(system, pid, id, &devices).then_some(Holder { pid, pidfd })
    })
    .collect()
}

/// Looks at one process.
fn is_holder(system: &System, pid: i32, id: ShmId, devices: &[(u32, u32)]) -> bool {
    let proc = system.proc();
    let named = procfs::name(proc, pid).is_some_and(|name| name == HOLDER_NAME.to_bytes());
    let owned = std::fs::metadata(proc.join(pid.to_string())).is_ok_and(|file| file.uid() == system.uid());
    let here = system.namespace().is_some() && procfs::namespace_of(proc, &pid.to_string()) == system.namespace();
    named
        && owned
        && here
        && procfs::mappings(proc, pid).is_ok_and(|mappings| {
            mappings.iter().any(|mapping| {
                u64::try_from(id.raw()) == Ok(mapping.inode)
                    && mapping.path.starts_with("/SYSV")
                    && devices.contains(&mapping.device)
            })
        })
}

/// Gives the devices on which the kernel keeps segments: its internal tmpfs, and one for each size of huge page.
///
/// The name of a mapping proves nothing, since anyone can have a file of that name; memfd files are on these devices.
fn segment_devices(system: &System) -> Vec<(u32, u32)> {
    let mut flags = vec![MFdFlags::MFD_CLOEXEC];
    flags.extend(super::limits::huge_page_sizes(system).into_iter().map(|size| {
        let logarithm = size.trailing_zeros() << nix::libc::MFD_HUGE_SHIFT;
        MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_HUGETLB | MFdFlags::from_bits_retain(logarithm)
    }));
    flags
        .into_iter()
        .filter_map(|flags| {
            let device = nix::sys::stat::fstat(memfd_create(c"shmadm", flags).ok()?).ok()?.st_dev;
            let part = |number: u64| u32::try_from(number).ok();
            Some((part(nix::sys::stat::major(device))?, part(nix::sys::stat::minor(device))?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_of_segments_is_known_without_a_segment() {
        let devices = segment_devices(&System::new());
        assert!(!devices.is_empty());
        assert!(devices.iter().all(|(major, _)| *major == 0), "{devices:?}: no block device backs them");
    }
}
