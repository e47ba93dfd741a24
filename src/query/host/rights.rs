//! What the caller may do with a segment, by the rules of `ipcperms` in linux/ipc/util.c.

use super::system::System;
use crate::model::Object;
use crate::procfs;

/// Lock memory. These numbers are those of linux/capability.h.
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

/// Returns whether the caller may inspect the processes of other users (CAP_SYS_PTRACE).
pub(crate) fn can_inspect_all(system: &System) -> bool {
    has_capability(system, CAP_SYS_PTRACE) == Some(true)
}

/// Returns whether the caller's capabilities let it map its own uid into a new user namespace.
pub(crate) fn can_create_user_namespace(system: &System) -> bool {
    system.uid() != 0 || has_capability(system, CAP_SETFCAP) != Some(false)
}

/// Returns whether the caller is the owner or the creator of a segment.
pub(crate) fn is_owner_or_creator(system: &System, segment: &Object) -> bool {
    [segment.uid, segment.sysv().cuid].contains(&system.uid())
}

/// Returns whether the caller may change or remove a segment; `None` if its capabilities are unknown.
pub(crate) fn may_control(system: &System, segment: &Object) -> Option<bool> {
    if is_owner_or_creator(system, segment) { Some(true) } else { has_capability(system, CAP_SYS_ADMIN) }
}
