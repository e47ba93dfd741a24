//! Finds holders, the background processes that keep a segment attached or a POSIX object mapped.
//!
//! A state file could be stale. A holder is a process named [`HOLDER_NAME`] of the same user in the same IPC namespace,
//! with a mapping whose device is one on which the kernel keeps segments and whose inode is the segment's id, or that
//! is of the object's file. The name of the mapping proves nothing, since any user can have a file of that name.

use std::collections::HashSet;
use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::unistd::geteuid;

use super::objects::has_mapped;
use super::scan::has_attached;
use crate::model::{Device, Object, ObjectKind, ShmId};
use crate::procfs::{self, ProcError};
use crate::query::host::{System, segment_devices};
use crate::sys::{self, SysError};

/// The name of holder processes, which no other process of this program has.
pub(crate) const HOLDER_NAME: &CStr = c"shmadm-hold";

#[derive(Debug)]
pub(crate) struct Holder {
    pub(crate) pid: i32,
    /// Opened before the process was identified, so that a signal cannot reach a process that reused the pid.
    pub(crate) pidfd: OwnedFd,
}

/// Why it is unknown whether there are holders.
#[derive(Debug)]
pub(crate) enum HoldersError {
    NoProc,
    ForeignProc,
    /// The processes cannot be read.
    Processes(ProcError),
    /// A process cannot be opened, or the devices of segments are not known.
    Call(SysError),
}

/// Returns this user's holders of a segment or POSIX object. Processes that have exited or deny access are skipped.
pub(crate) fn holders(system: &System, object: &Object) -> Result<Vec<Holder>, HoldersError> {
    if !system.has_proc() {
        return Err(HoldersError::NoProc);
    }
    // Its pids would be those of other processes here, which would then be signalled.
    if !system.proc_shows_own_pids() {
        return Err(HoldersError::ForeignProc);
    }
    let named = |pid| match procfs::name(system.proc(), pid) {
        Ok(name) => Ok(name == HOLDER_NAME.to_bytes()),
        Err(error) => false_if_inaccessible(error),
    };
    let devices = segment_devices();
    let is_holder = |pid| -> Result<bool, HoldersError> {
        match &object.kind {
            ObjectKind::SysV(segment) => {
                let devices = devices.as_ref().map_err(|error| HoldersError::Call(*error))?;
                Ok(is_holder(system, pid, segment.id, devices).or_else(false_if_inaccessible)?)
            }
            ObjectKind::Posix(posix) => Ok(is_own(system, pid) && has_mapped(system, pid, posix.file())),
        }
    };
    let mut found = Vec::new();
    for pid in procfs::pids(system.proc())? {
        if !named(pid)? {
            continue;
        }
        // Opened before the checks below, so that they are about the process that will be signalled.
        let pidfd = match sys::open_pidfd(pid) {
            Ok(pidfd) => pidfd,
            Err(error) if error.errno == Errno::ESRCH => continue,
            Err(error) => return Err(HoldersError::Call(error)),
        };
        if named(pid)? && is_holder(pid)? {
            found.push(Holder { pid, pidfd });
        }
    }
    Ok(found)
}

/// Retains only the objects that holders of this user keep attached. The arguments of the holders name them, so no
/// other object is inspected.
pub(crate) fn retain_held(system: &System, objects: &mut Vec<Object>) {
    let Ok(pids) = procfs::pids(system.proc()) else { return objects.clear() };
    let named = |pid| {
        let is_holder = procfs::name(system.proc(), pid).is_ok_and(|name| name == HOLDER_NAME.to_bytes());
        let command = system.command(pid).filter(|_| is_holder)?;
        let held = |argument: &str| Some(argument.strip_prefix("id=").or(argument.strip_prefix("object="))?.to_owned());
        command.split(' ').find_map(held)
    };
    let named: HashSet<String> = pids.into_iter().filter_map(named).collect();
    objects.retain(|object| {
        named.contains(&object.ident().argument()) && holders(system, object).is_ok_and(|holders| !holders.is_empty())
    });
}

impl From<ProcError> for HoldersError {
    fn from(error: ProcError) -> Self {
        Self::Processes(error)
    }
}

/// Replaces the errors of a process that has exited or denies access.
fn false_if_inaccessible(error: ProcError) -> Result<bool, ProcError> {
    if error.has_exited() || error.is_denied() { Ok(false) } else { Err(error) }
}

fn is_own(system: &System, pid: i32) -> bool {
    std::fs::metadata(system.proc().join(pid.to_string())).is_ok_and(|file| file.uid() == geteuid().as_raw())
}

fn is_holder(system: &System, pid: i32, id: ShmId, devices: &[Device]) -> Result<bool, ProcError> {
    let proc = system.proc();
    let here = system.namespace().is_some() && procfs::namespace_of(proc, &pid.to_string()) == system.namespace();
    if !is_own(system, pid) || !here {
        return Ok(false);
    }
    has_attached(system, pid, id, devices)
}
