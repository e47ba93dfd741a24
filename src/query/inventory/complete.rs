//! Adds the fields that only some reports need.

use super::resident::resident;
use crate::model::{Needs, Object, ObjectKind, SysV};
use crate::query::host::{self, IdMaps, System, to_caller};
use crate::query::state::{commands, state, state_now};

/// Adds what is needed, converts ids to the caller's user namespace, and corrects what the kernel miscounts.
pub(in crate::query) fn complete(system: &System, object: &mut Object, needs: Needs) {
    let IdMaps { users, groups } = &system.ids;
    object.uid = to_caller(users, object.uid);
    object.gid = to_caller(groups, object.gid);
    if needs.contains(Needs::NAMES) {
        object.owner = system.user_name(object.uid);
        object.group = system.group_name(object.gid);
    }
    object.idle_seconds = idle_seconds(system, object);
    if needs.contains(Needs::CONTAINER) {
        object.container = host::container(system);
    }
    if object.is_segment() {
        complete_segment(system, object, needs);
    }
}

fn complete_segment(system: &System, object: &mut Object, needs: Needs) {
    object.rss = object.rss.and_then(|rss| resident(system, rss, object.size));
    let IdMaps { users, groups } = &system.ids;
    let segment = object.sysv_mut();
    segment.cuid = to_caller(users, segment.cuid);
    segment.cgid = to_caller(groups, segment.cgid);
    if needs.contains(Needs::NAMES) {
        segment.creator = system.user_name(segment.cuid);
        segment.creator_group = system.group_name(segment.cgid);
    }
    if needs.contains(Needs::STATE) {
        object.state = Some(state(system, object));
    }
    if needs.contains(Needs::COMMANDS) {
        let [creator, last_user] = commands(system, object);
        let segment = object.sysv_mut();
        (segment.creator_command, segment.last_command) = (creator, last_user);
    }
    if needs.contains(Needs::NAMESPACE) {
        object.scope = system.scope();
    }
}

/// Updates what depends on the attachments of a segment, after these were read again.
pub(in crate::query) fn complete_again(system: &System, object: &mut Object) {
    object.idle_seconds = idle_seconds(system, object);
    object.state = object.state.map(|_| state_now(system, object));
}

/// Returns the seconds since the object was last used or changed; `None` while it is in use.
pub(in crate::query) fn idle_seconds(system: &System, object: &Object) -> Option<u64> {
    let last = match &object.kind {
        _ if object.is_in_use() => return None,
        ObjectKind::SysV(SysV { atime, dtime, .. }) => (*atime).max(*dtime).max(object.ctime)?,
        ObjectKind::Posix(posix) => posix.last_trace(),
    };
    Some(u64::try_from(system.now().0.saturating_sub(last.0)).unwrap_or(0))
}
