//! The background processes that hold a segment attached for us, found by what they are.

use std::ffi::CStr;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::unistd::geteuid;

use super::processes::has_attached;
use super::{Attempt, System, explain};
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
    let blind = |cause: &str| {
        Error::new(Kind::Failed, format!("cannot look for holders of segment {id}"))
            .target(id.to_string())
            .cause(cause)
            .hint("`mount -t proc proc /proc` shows this pid namespace")
    };
    if !system.has_proc() {
        return Err(blind("there is no /proc"));
    }
    // Its numbers would be those of other processes here, and these would be asked to end.
    if !system.owns_proc() {
        return Err(blind("/proc numbers processes as another pid namespace does"));
    }
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
    let devices = system.segment_devices();
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
            Error::new(Kind::Failed, format!("cannot look for holders of segment {id}")).os(*errno, "memfd_create")
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
    let owned = std::fs::metadata(proc.join(pid.to_string())).is_ok_and(|file| file.uid() == geteuid().as_raw());
    let here = system.namespace().is_some() && procfs::namespace_of(proc, &pid.to_string()) == system.namespace();
    if !owned || !here {
        return Ok(false);
    }
    has_attached(system, pid, id, devices)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proc_of_other_pids_and_none_at_all_show_no_holders() {
        let root = tempfile::tempdir().unwrap();
        let look = || holders(&System::at(root.path().to_owned()), ShmId::new(0).unwrap()).map(|found| found.len());
        let says = |error: Error, cause: &str| error.cause.is_some_and(|found| found.contains(cause));
        assert!(says(look().unwrap_err(), "there is no /proc"));
        let link = root.path().join("self");
        for (pid, own) in [(std::process::id() + 1, false), (std::process::id(), true)] {
            std::fs::create_dir(root.path().join(pid.to_string())).unwrap();
            std::os::unix::fs::symlink(pid.to_string(), &link).unwrap();
            match look() {
                Ok(found) => assert_eq!((found, own), (0, true)),
                Err(error) => assert!(says(error, "another pid namespace") && !own),
            }
            std::fs::remove_file(&link).unwrap();
        }
    }
}
