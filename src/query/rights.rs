//! What the caller may do with a segment, by the rules of ipcperms in linux/ipc/util.c.

use super::System;
use crate::model::Segment;
use crate::procfs;

/// linux/capability.h: lock memory.
pub(super) const CAP_IPC_LOCK: u32 = 14;
/// linux/capability.h: override the checks on reading and writing.
pub(super) const CAP_IPC_OWNER: u32 = 15;
/// linux/capability.h: look into any process.
const CAP_SYS_PTRACE: u32 = 19;
/// linux/capability.h: have root's number in a user namespace mean root outside, since Linux 5.12.
const CAP_SETFCAP: u32 = 31;
/// linux/capability.h: override the check on changing and removing.
pub(super) const CAP_SYS_ADMIN: u32 = 21;

/// Tells whether this process has a capability, in its own user namespace; `None` if /proc does not tell.
pub(super) fn has_capability(system: &System, capability: u32) -> Option<bool> {
    let bits = u64::from_str_radix(&procfs::status_line(system.proc(), "CapEff")?, 16).ok()?;
    Some(bits >> capability & 1 == 1)
}

/// Tells whether the caller may look into other users' processes (CAP_SYS_PTRACE).
pub(crate) fn looks_into_all(system: &System) -> bool {
    has_capability(system, CAP_SYS_PTRACE) == Some(true)
}

/// Tells whether the caller may make a user namespace with himself in it, as far as capabilities count.
pub(crate) fn may_map_itself(system: &System) -> bool {
    system.uid() != 0 || has_capability(system, CAP_SETFCAP) != Some(false)
}

/// Tells whether the caller may change or remove a segment; `None` if it cannot be told.
pub(crate) fn may_control(system: &System, segment: &Segment) -> Option<bool> {
    let uid = system.uid();
    if uid == segment.uid || uid == segment.cuid {
        return Some(true);
    }
    has_capability(system, CAP_SYS_ADMIN)
}

/// Says which of a segment's permission bits are the caller's, for a message.
pub(super) fn granted(system: &System, segment: &Segment) -> String {
    let uid = system.uid();
    let (class, shift) = if uid == segment.uid || uid == segment.cuid {
        ("as its owner or creator", 6)
    } else if system.is_in_group(segment.gid) || system.is_in_group(segment.cgid) {
        ("as one of its group", 3)
    } else {
        ("as one of the others", 0)
    };
    let bits = (segment.mode.bits() >> shift) & 6;
    let rights =
        ["nothing", "nothing", "writing alone", "writing alone", "reading alone", "reading alone", "both", "both"];
    format!("{class} user {} gets {}", system.user(uid), rights[usize::from(bits)])
}
