//! Changing what can be changed of a segment.

use crate::error::{Error, Kind};
use crate::model::{Mode, Segment, ShmId};
use crate::query::{Account, Attempt, System, explain};
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
/// shmctl's, explained; nothing is changed then, or the error says what is.
pub(crate) fn set(system: &System, segment: &Segment, change: Change) -> Result<(), Error> {
    let id = segment.id;
    // IPC_SET takes all of it at once; where only the lock is meant, nothing of it is asked for.
    let sets = change.owner.is_some() || change.group.is_some() || change.mode.is_some();
    let numbers = if sets {
        let owner = number(system, id, Account::User, change.owner, segment.uid)?;
        Some((owner, number(system, id, Account::Group, change.group, segment.gid)?))
    } else {
        None
    };
    let switch = |lock: bool| if lock { sys::lock(id) } else { sys::unlock(id) };
    if let Some(lock) = change.lock {
        switch(lock).map_err(|error| explain(system, &Attempt::Lock(id), error))?;
    }
    let Some((owner, group)) = numbers else { return Ok(()) };
    sys::set(id, owner, group, change.mode.unwrap_or(segment.mode)).map_err(|error| {
        // The first error is the one to tell.
        let error = explain(system, &Attempt::Set(id), error);
        match change.lock {
            Some(lock) if lock != segment.locked && switch(segment.locked).is_err() => {
                let (is, option) = if lock { ("locked", "--unlock") } else { ("unlocked", "--lock") };
                error.hint(format!(
                    "the segment stays {is}, if it is still there: `shmadm set {id} {option}` undoes that"
                ))
            }
            _ => error,
        }
    })
}

/// Gives the kernel's number of what is given, or of what stays: that is set again as it was read, and must be known.
fn number(system: &System, id: ShmId, account: Account, given: Option<u32>, is: u32) -> Result<u32, Error> {
    match (given, system.id_in_namespace(account, given.unwrap_or(is))) {
        (Some(_), result) => return result,
        (None, Ok(number)) if !system.may_be_unmapped(account, number) => return Ok(number),
        // Whose number is not known here, or not even that of everybody unknown.
        (None, _) => {}
    }
    let word = account.as_str();
    Err(Error::new(Kind::Refused, format!("refused to change segment {id}: which {word} it belongs to is hidden here"))
        .target(id.to_string())
        .cause(format!(
            "the kernel shows {is} for every {word} without a number in this user namespace, and to leave it as it is \
             would take that number"
        ))
        .hint(format!("with {} besides, you say which {word} it shall belong to", account.option()))
        .hint("or change it from outside, where everybody has a number"))
}
