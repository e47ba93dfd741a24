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
/// shmctl's, explained; nothing is changed then.
pub(crate) fn set(system: &System, segment: &Segment, change: Change) -> Result<(), Error> {
    let id = segment.id;
    let sets = change.owner.is_some() || change.group.is_some() || change.mode.is_some();
    // IPC_SET takes all of it at once: what stays is given as it was read.
    let number = |account, given: Option<u32>, is| match given {
        Some(number) => system.kernel_number(account, number),
        None => system.kernel_number(account, is).and_then(|number| stays(system, id, account, number)),
    };
    let numbers = || {
        let owner = number(Account::User, change.owner, segment.uid)?;
        Ok((owner, number(Account::Group, change.group, segment.gid)?))
    };
    let numbers = sets.then(numbers).transpose()?;
    let switch = |lock: bool| if lock { sys::lock(id) } else { sys::unlock(id) };
    if let Some(lock) = change.lock {
        switch(lock).map_err(|error| explain(system, &Attempt::Lock(id), error))?;
    }
    let Some((owner, group)) = numbers else { return Ok(()) };
    sys::set(id, owner, group, change.mode.unwrap_or(segment.mode)).map_err(|error| {
        if change.lock.is_some_and(|lock| lock != segment.locked) {
            // The first error is the one to tell.
            let _ = switch(segment.locked);
        }
        explain(system, &Attempt::Set(id), error)
    })
}

/// Makes sure that a number, set again as it was read, changes nobody.
fn stays(system: &System, id: ShmId, account: Account, number: u32) -> Result<u32, Error> {
    if !system.may_be_anybody(account, number) {
        return Ok(number);
    }
    let (word, option) = match account {
        Account::User => ("user", "--owner"),
        Account::Group => ("group", "--group"),
    };
    Err(Error::new(Kind::Refused, format!("refused to change segment {id}: which {word} it belongs to is hidden here"))
        .target(id.to_string())
        .cause(format!(
            "the kernel shows {number} for every {word} without a number in this user namespace, and would set that in \
             its place"
        ))
        .hint(format!("with {option} besides, you say which {word} it shall belong to"))
        .hint("or change it from outside, where everybody has a number"))
}
