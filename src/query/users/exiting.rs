//! Waits for processes that are exiting, since what they have attached is about to be detached.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::model::{Object, State};
use crate::query::host::{ProcessStatus, System, wait_for_exits};

/// Waits, for at most `timeout`, until the exiting processes among those that use the objects have exited. Returns whether
/// any process has exited since the objects, with their attachers, were read, so that they must be read again.
pub(crate) fn wait_for_exiting_users<'a>(
    system: &System,
    objects: impl IntoIterator<Item = &'a Object>,
    timeout: Duration,
) -> bool {
    let mut pids = BTreeSet::new();
    let mut has_changed = false;
    for object in objects {
        let attachers = object.attachers.iter();
        pids.extend(attachers.clone().flat_map(|attachers| &attachers.list).map(|attacher| attacher.pid));
        pids.extend(attachers.flat_map(|attachers| &attachers.hidden).flat_map(|hidden| &hidden.pids).flatten());
        match object.state {
            Some(State::Idle) => {
                pids.extend(object.sysv().processes().filter(|pid| system.process_status(*pid).is_running()));
            }
            // The search for its attachers has read its record again.
            Some(State::InUse | State::Dest) => has_changed |= object.sysv().nattch == 0,
            _ => {}
        }
    }
    let mut exiting = Vec::new();
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
