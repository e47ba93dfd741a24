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
    let (mut pids, mut some_are_hidden) = (BTreeSet::new(), false);
    for object in objects {
        let attachers = object.attachers.iter();
        pids.extend(attachers.clone().flat_map(|attachers| attachers.pids()));
        pids.extend(attachers.flat_map(|attachers| &attachers.hidden).flat_map(|hidden| &hidden.pids).flatten());
        pids.extend(object.file_users().into_iter().flat_map(|users| users.pids()));
        some_are_hidden |= object.file_users().is_some_and(|users| users.hidden.contains(&HiddenBy::Exiting));
        if let (Some(State::Idle), ObjectKind::SysV(segment)) = (object.state, &object.kind) {
            pids.extend(segment.processes().filter(|pid| system.process_status(*pid).is_running()));
        }
    }
    if some_are_hidden {
        pids.extend(exiting_processes(system));
    }
    let mut exiting = Vec::new();
    let mut has_changed = false;
    for pid in pids {
        match system.process_status_now(pid) {
            ProcessStatus::Exited => has_changed = true,
            _ if system.is_exiting(pid) == Some(true) => exiting.push(pid),
            _ => {}
        }
    }
    has_changed |= !exiting.is_empty();
    wait_for_exits(exiting, timeout);
    has_changed
}
