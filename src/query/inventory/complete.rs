//! Adds the fields that only some reports need.

use super::resident::resident;
use crate::model::{Needs, Object, ObjectKind, SysV};
use crate::query::host::{self, IdMaps, System, to_caller};
use crate::query::state::{commands, state};

/// Adds what is needed, converts ids to the caller's user namespace, and corrects what the kernel miscounts.
pub(super) fn complete(system: &System, object: &mut Object, needs: Needs) {
    let IdMaps { users, groups } = &system.ids;
    object.rss = object.rss.and_then(|rss| resident(system, rss, object.size));
    object.uid = to_caller(users, object.uid);
    object.gid = to_caller(groups, object.gid);
    if needs.contains(Needs::NAMES) {
        object.owner = system.user_name(object.uid);
        object.group = system.group_name(object.gid);
    }
    let ObjectKind::SysV(segment) = &mut object.kind;
    segment.cuid = to_caller(users, segment.cuid);
    segment.cgid = to_caller(groups, segment.cgid);
    if needs.contains(Needs::NAMES) {
        segment.creator = system.user_name(segment.cuid);
        segment.creator_group = system.group_name(segment.cgid);
    }
    object.idle_seconds = idle_seconds(system, object);
    if needs.contains(Needs::STATE) {
        object.state = Some(state(system, object));
    }
    if needs.contains(Needs::COMMANDS) {
        let [creator, last_user] = commands(system, object);
        let ObjectKind::SysV(segment) = &mut object.kind;
        (segment.creator_command, segment.last_command) = (creator, last_user);
    }
    if needs.contains(Needs::NAMESPACE) {
        object.scope = system.scope();
    }
    if needs.contains(Needs::CONTAINER) {
        object.container = host::container(system);
    }
}

/// Returns the seconds since the last attach, detach or change; `None` while attached.
fn idle_seconds(system: &System, object: &Object) -> Option<u64> {
    let ObjectKind::SysV(SysV { nattch, atime, dtime, .. }) = &object.kind;
    if *nattch > 0 {
        return None;
    }
    let last = (*atime).max(*dtime).max(object.ctime)?;
    Some(u64::try_from(system.now().0.saturating_sub(last.0)).unwrap_or(0))
}
