//! Waits for processes that are exiting, since what they have attached is about to be detached.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::model::{HiddenBy, Object, ObjectKind, State};
use crate::procfs;
use crate::query::host::{ProcessStatus, System, wait_for_exits};

/// Returns the processes that are exiting. One that has released its memory map can still have files mapped, which
/// nothing shows.
pub(crate) fn exiting_processes(system: &System) -> Vec<i32> {
    let pids = procfs::pids(system.proc()).into_iter().flatten();
    pids.filter(|pid| system.is_exiting(*pid) == Some(true)).collect()
}

/// Waits, for at most `timeout`, until the exiting processes among those that use the objects have exited. Returns
/// whether any process has exited since the objects, with their users, were read, so they must be read again.
pub(crate) fn wait_for_exiting_users<'a>(
    system: &System,
    objects: impl IntoIterator<Item = &'a Object>,
    timeout: Duration,
) -> bool {
    let (mut pids, mut were_exiting, mut some_are_hidden) = (BTreeSet::new(), BTreeSet::new(), false);
    for object in objects {
        if let Some(attachers) = &object.attachers {
            pids.extend(attachers.pids());
            were_exiting.extend(attachers.list.iter().filter(|user| user.exiting).map(|user| user.pid));
            for hidden in &attachers.hidden {
                let known = if hidden.reason == HiddenBy::Exiting { &mut were_exiting } else { &mut pids };
                known.extend(hidden.pids.iter().flatten());
            }
        }
        if let Some(users) = object.file_users() {
            pids.extend(users.pids());
            were_exiting.extend(users.list.iter().filter(|user| user.exiting).map(|user| user.pid));
            some_are_hidden |= users.hidden.contains(&HiddenBy::Exiting);
        }
        if let (Some(State::Idle), ObjectKind::SysV(segment)) = (object.state, &object.kind) {
            pids.extend(segment.processes().filter(|pid| system.process_status(*pid).is_running()));
        }
    }
    if some_are_hidden {
        were_exiting.extend(exiting_processes(system));
    }
    let mut exiting = Vec::new();
    let mut has_changed = false;
    for pid in pids.union(&were_exiting) {
        match system.is_exiting(*pid) {
            Some(true) => exiting.push(*pid),
            // It has exited since.
            _ if were_exiting.contains(pid) => has_changed = true,
            // Asked afterwards, since it may just have exited.
            _ => has_changed |= system.process_status_now(*pid) == ProcessStatus::Exited,
        }
    }
    has_changed |= !exiting.is_empty();
    wait_for_exits(exiting, timeout);
    has_changed
}
