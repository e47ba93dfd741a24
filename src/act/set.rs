//! Changes the owner, group, mode and lock of a segment. Passes POSIX objects to `set_file`.

use super::set_file::set_file;
use crate::error::{Error, Kind, shmadm};
use crate::explain::{Attempt, explain, explain_control, gone, unmapped_id};
use crate::model::{Mode, Needs, Object, ObjectKind, SysV};
use crate::query::{Account, System, lookup, may_control};
use crate::sys;

/// The attributes to change. `None` leaves an attribute as it is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Change {
    pub(crate) owner: Option<u32>,
    pub(crate) group: Option<u32>,
    pub(crate) mode: Option<Mode>,
    pub(crate) lock: Option<bool>,
    /// The size of a POSIX object in bytes.
    pub(crate) size: Option<u64>,
    /// Shrink it even if it is in use.
    pub(crate) force: bool,
}

impl Change {
    /// Fails if the kind of an object has no such attribute.
    pub(crate) fn check(&self, object: &Object) -> Result<(), Error> {
        let ident = object.ident();
        let message = match object.is_segment() {
            true if self.size.is_some() => format!("cannot resize {ident}: the size of a segment is fixed"),
            false if self.lock.is_some() => format!("cannot lock {ident}: only segments can be locked"),
            _ => return Ok(()),
        };
        Err(Error::new(Kind::Usage, message).target(ident.argument()))
    }
}

/// Changes an object. The lock of a segment is changed first, since it fails most often, and is restored if IPC_SET
/// fails. Fails as shmctl(2). Nothing is changed then, unless a hint says that the lock could not be restored.
pub(crate) fn set(system: &System, seen: &Object, change: Change) -> Result<(), Error> {
    change.check(seen)?;
    let ObjectKind::SysV(SysV { id, .. }) = seen.kind else { return set_file(system, seen, change) };
    // IPC_SET always sets owner, group and mode together. It is not needed to change only the lock.
    let sets = change.owner.is_some() || change.group.is_some() || change.mode.is_some();
    if !sets && change.lock.is_none() {
        return Ok(());
    }
    // Read again: IPC_SET would undo a change that another process has made since.
    let segment = lookup(system, id, Needs::empty())?.ok_or_else(|| gone(system, &Attempt::Set(id)))?;
    if segment.identity() != seen.identity() {
        let message = format!("cannot change segment {id}: another segment has this id now");
        return Err(Error::new(Kind::Refused, message).target(id.to_string()));
    }
    let numbers = if sets {
        let owner = number(system, &segment, Account::User, change.owner)?;
        Some((owner, number(system, &segment, Account::Group, change.group)?))
    } else {
        None
    };
    if let Some(lock) = change.lock {
        sys::lock(id, lock).map_err(|error| explain(system, &Attempt::Lock(id, lock), error))?;
    }
    let Some((owner, group)) = numbers else { return Ok(()) };
    sys::set(id, owner, group, change.mode.unwrap_or(segment.mode)).map_err(|error| {
        let error = explain(system, &Attempt::Set(id), error);
        match change.lock {
            Some(lock) if lock != segment.sysv().locked && sys::lock(id, segment.sysv().locked).is_err() => {
                let (state, option) = if lock { ("locked", "--unlock") } else { ("unlocked", "--lock") };
                error.hint(format!("the segment is still {state}; undo that"), shmadm(format!("set {id} {option}")))
            }
            _ => error,
        }
    })
}

/// Returns the uid or gid to pass to IPC_SET: the given one, or the current one. The current one must be known, since
/// an id that is not mapped in this user namespace is shown as the overflow id.
fn number(system: &System, segment: &Object, account: Account, given: Option<u32>) -> Result<u32, Error> {
    let is = if account == Account::User { segment.uid } else { segment.gid };
    match (given, system.id_in_namespace(account, given.unwrap_or(is))) {
        (Some(id), number) => return number.ok_or_else(|| unmapped_id(system, account, id)),
        (None, Some(number)) if !system.may_be_unmapped(account, number) => return Ok(number),
        // The number may be the overflow id.
        (None, _) => {}
    }
    let (id, word) = (segment.sysv().id, account.as_str());
    let error =
        |kind, reason: String| Error::new(kind, format!("cannot change segment {id}: {reason}")).target(id.to_string());
    if may_control(system, segment) == Some(false) {
        return Err(explain_control(system, error(Kind::Permission, "permission denied".to_owned()), segment));
    }
    Err(error(Kind::Refused, format!("its {word} is not mapped in this user namespace")).cause(format!(
        "the kernel shows {is} for every {word} that is not mapped, and IPC_SET requires the real id to keep the \
             {word}; set it too, with {}, or use a user namespace that maps it",
        account.option()
    )))
}
