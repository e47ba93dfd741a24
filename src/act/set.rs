//! Changing what can be changed of a segment.

use crate::error::{Error, Kind};
use crate::model::{Mode, Segment};
use crate::query::{Attempt, System, explain};
use crate::sys;

/// What shall be changed; what is `None` stays.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Change {
    /// Owner's user id.
    pub(crate) owner: Option<u32>,
    /// Owner's group id.
    pub(crate) group: Option<u32>,
    /// Permission bits.
    pub(crate) mode: Option<Mode>,
    /// Lock in memory, or unlock.
    pub(crate) lock: Option<bool>,
}

/// Changes a segment: the lock first, which fails most easily, and back again should the rest fail.
///
/// # Errors
/// shmctl's, explained; nothing is changed then.
pub(crate) fn set(system: &System, segment: &Segment, change: Change) -> Result<(), Error> {
    let id = segment.id;
    let (owner, group) = (change.owner.unwrap_or(segment.uid), change.group.unwrap_or(segment.gid));
    let unmapped = |what, number| {
        Error::new(Kind::Failed, format!("cannot change segment {id}: {what} {number} has no number there"))
            .target(id.to_string())
            .cause("the user namespace that owns this IPC namespace maps it to nothing (/proc/PID/uid_map, gid_map)")
    };
    let owner = system.kernel_uid(owner).ok_or_else(|| unmapped("user", owner))?;
    let group = system.kernel_gid(group).ok_or_else(|| unmapped("group", group))?;
    let switch = |lock: bool| if lock { sys::lock(id) } else { sys::unlock(id) };
    if let Some(lock) = change.lock {
        switch(lock).map_err(|error| explain(system, &Attempt::Lock(id), error))?;
    }
    if change.owner.is_none() && change.group.is_none() && change.mode.is_none() {
        return Ok(());
    }
    sys::set(id, owner, group, change.mode.unwrap_or(segment.mode)).map_err(|error| {
        if change.lock.is_some_and(|lock| lock != segment.locked) {
            // The first error is the one to tell.
            let _ = switch(segment.locked);
        }
        explain(system, &Attempt::Set(id), error)
    })
}
