//! What the caller may do with a segment, by the rules of `ipcperms` in linux/ipc/util.c.

use std::fs::File;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};

use super::system::System;
use crate::model::{Object, ObjectKind};
use crate::{procfs, sys};

/// Give files to other users and groups. These numbers are those of linux/capability.h.
pub(crate) const CAP_CHOWN: u32 = 0;
/// Bypass the permission bits of files.
pub(crate) const CAP_DAC_OVERRIDE: u32 = 1;
/// Change and remove the files of other users.
pub(crate) const CAP_FOWNER: u32 = 3;
/// Lock memory.
pub(crate) const CAP_IPC_LOCK: u32 = 14;
/// Bypass the permission bits of segments.
pub(crate) const CAP_IPC_OWNER: u32 = 15;
/// Inspect the processes of other users.
const CAP_SYS_PTRACE: u32 = 19;
/// Change and remove the segments of other users.
pub(crate) const CAP_SYS_ADMIN: u32 = 21;
/// Map uid 0 of the parent into a new user namespace (required since Linux 5.12).
const CAP_SETFCAP: u32 = 31;

/// Returns whether this process has a capability in its own user namespace; `None` if /proc does not show it.
pub(crate) fn has_capability(system: &System, capability: u32) -> Option<bool> {
    let bits = u64::from_str_radix(&procfs::status_line(system.proc(), "CapEff")?, 16).ok()?;
    Some(bits >> capability & 1 == 1)
}

/// What a capability of the caller allows in its IPC namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Capability {
    Effective,
    /// The caller has it, but the user namespace that owns the IPC namespace is neither its own nor a descendant.
    Ineffective,
    Missing,
    /// /proc does not show it.
    Unknown,
}

pub(crate) fn capability(system: &System, number: u32) -> Capability {
    match has_capability(system, number) {
        None => Capability::Unknown,
        Some(false) => Capability::Missing,
        Some(true) => {
            match File::open(system.proc().join("self/ns/ipc")).map(|file| sys::owning_user_namespace(file.as_fd())) {
                Ok(Ok(_)) => Capability::Effective,
                Ok(Err(error)) if error.errno == Errno::EPERM => Capability::Ineffective,
                Ok(Err(_)) | Err(_) => Capability::Unknown,
            }
        }
    }
}

/// Returns how many bytes the caller may lock (RLIMIT_MEMLOCK).
pub(crate) fn lockable() -> u64 {
    getrlimit(Resource::RLIMIT_MEMLOCK).map_or(u64::MAX, |(soft, _)| soft)
}

/// Returns whether the caller may inspect the processes of other users (CAP_SYS_PTRACE).
pub(crate) fn can_inspect_all(system: &System) -> bool {
    has_capability(system, CAP_SYS_PTRACE) == Some(true)
}

/// Returns whether the caller's capabilities let it map its own uid into a new user namespace.
pub(crate) fn can_create_user_namespace(system: &System) -> bool {
    system.uid() != 0 || has_capability(system, CAP_SETFCAP) != Some(false)
}

/// Returns whether the caller is the owner of an object, or the creator of a segment.
pub(crate) fn is_owner_or_creator(system: &System, object: &Object) -> bool {
    let creator = match &object.kind {
        ObjectKind::SysV(sysv) => sysv.cuid,
        ObjectKind::Posix(_) => object.uid,
    };
    system.is_caller(object.uid) || system.is_caller(creator)
}

/// Returns where the bits that apply to the caller begin in an object's mode: 6 (owner or creator), 3 (group) or 0.
pub(crate) fn mode_shift(system: &System, object: &Object) -> u32 {
    let creator_group = match &object.kind {
        ObjectKind::SysV(sysv) => sysv.cgid,
        ObjectKind::Posix(_) => object.gid,
    };
    if is_owner_or_creator(system, object) {
        6
    } else if system.is_in_group(object.gid) || system.is_in_group(creator_group) {
        3
    } else {
        0
    }
}

/// Returns whether the caller may change or remove a segment; `None` if its capabilities are unknown.
pub(crate) fn may_control(system: &System, segment: &Object) -> Option<bool> {
    match capability(system, CAP_SYS_ADMIN) {
        _ if is_owner_or_creator(system, segment) => Some(true),
        Capability::Effective => Some(true),
        // An owner without a mapping may be the caller.
        Capability::Missing | Capability::Ineffective if !system.is_unmapped_caller() => Some(false),
        _ => None,
    }
}
