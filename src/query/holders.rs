//! The background processes that hold a segment attached for us, found by what they are.

use std::ffi::CStr;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::{Attempt, System, explain, words};
use crate::error::{Error, Kind};
use crate::model::ShmId;
use crate::procfs::{self, ProcError};
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
/// A process that is gone or closed to us is none of ours.
///
/// # Errors
/// We cannot look, for want of descriptors or of /proc; it is not known then whether there are holders.
pub(crate) fn holders(system: &System, id: ShmId) -> Result<Vec<Holder>, Error> {
    let failed = |error: ProcError| match error {
        ProcError::Read { error, .. } => Error::io(format!("cannot look for holders of segment {id}"), &error, "open"),
        ProcError::Format { .. } => {
            Error::new(Kind::Failed, format!("cannot look for holders of segment {id}: {error}"))
        }
    };
    let named = |pid| match procfs::name(system.proc(), pid) {
        Ok(name) => Ok(name == HOLDER_NAME.to_bytes()),
        Err(error) => none_of_ours(error),
    };
    let devices = segment_devices(system);
    let mut found = Vec::new();
    for pid in procfs::pids(system.proc()).map_err(failed)? {
        if !named(pid).map_err(failed)? {
            continue;
        }
        // Held from here on: what is found out below is about the process that will be asked to end.
        let pidfd = match sys::open_pidfd(pid) {
            Ok(pidfd) => pidfd,
            Err(error) if error.errno == Errno::ESRCH => continue,
            Err(error) => return Err(explain(system, &Attempt::Detach(id), error)),
        };
        let devices = devices.as_ref().map_err(|errno| {
            Error::new(Kind::Failed, format!("cannot look for holders of segment {id}"))
                .system(words(*errno, "memfd_create"))
        })?;
        if named(pid).map_err(failed)? && is_holder(system, pid, id, devices).or_else(none_of_ours).map_err(failed)? {
            found.push(Holder { pid, pidfd });
        }
    }
    Ok(found)
}

/// Takes a process that is gone or closed to us for none of ours.
fn none_of_ours(error: ProcError) -> Result<bool, ProcError> {
    match error {
        ProcError::Read { ref error, .. } if error.raw_os_error() == Some(Errno::ESRCH as i32) => Ok(false),
        ProcError::Read { ref error, .. }
            if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) =>
        {
            Ok(false)
        }
        error => Err(error),
    }
}

/// Looks at one process.
fn is_holder(system: &System, pid: i32, id: ShmId, devices: &[(u32, u32)]) -> Result<bool, ProcError> {
    let proc = system.proc();
    let owned = std::fs::metadata(proc.join(pid.to_string())).is_ok_and(|file| file.uid() == system.uid());
    let here = system.namespace().is_some() && procfs::namespace_of(proc, &pid.to_string()) == system.namespace();
    if !owned || !here {
        return Ok(false);
    }
    Ok(procfs::mappings(proc, pid)?.iter().any(|mapping| {
        u64::try_from(id.raw()) == Ok(mapping.inode)
            && mapping.path.starts_with("/SYSV")
            && devices.contains(&mapping.device)
    }))
}

/// Gives the devices on which the kernel keeps segments: its internal tmpfs, and one for each size of huge page.
///
/// The name of a mapping proves nothing, since anyone can have a file of that name; memfd files are on these devices.
fn segment_devices(system: &System) -> Result<Vec<(u32, u32)>, Errno> {
    // The one that is always there: without it nothing can be told.
    memfd_create(c"shmadm", MFdFlags::MFD_CLOEXEC)?;
    let mut flags = vec![MFdFlags::MFD_CLOEXEC];
    flags.extend(super::limits::huge_page_sizes(system).into_iter().map(|size| {
        let logarithm = size.trailing_zeros() << nix::libc::MFD_HUGE_SHIFT;
        MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_HUGETLB | MFdFlags::from_bits_retain(logarithm)
    }));
    let devices = flags
        .into_iter()
        .filter_map(|flags| {
            let device = nix::sys::stat::fstat(memfd_create(c"shmadm", flags).ok()?).ok()?.st_dev;
            let part = |number: u64| u32::try_from(number).ok();
            Some((part(nix::sys::stat::major(device))?, part(nix::sys::stat::minor(device))?))
        })
        .collect();
    Ok(devices)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_of_segments_is_known_without_a_segment() {
        let devices = segment_devices(&System::new()).unwrap();
        assert!(!devices.is_empty());
        assert!(devices.iter().all(|(major, _)| *major == 0), "{devices:?}: no block device backs them");
    }
}
