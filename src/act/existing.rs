//! The segment that already has a key. `create` opens it if it has everything that was asked for.

use nix::errno::Errno;

use super::conflict::{self, Conflict, Rights, options};
use super::create::Creation;
use crate::error::{Error, Hint, again};
use crate::explain::{Attempt, explain};
use crate::model::{Access, Key, Mode, Needs, Object, ShmId};
use crate::query::{System, find_by_key, lookup, may_control};
use crate::sys::{self, Address, CreateFlags, SysError};

/// Returns the segment with a key if it has what was requested; `None` if there is no such segment.
///
/// # Errors
/// Fails as shmget(2) if the segment is too small. Refuses if it differs from what was requested.
pub(super) fn find_existing(system: &System, key: Key, creation: &Creation) -> Result<Option<ShmId>, Error> {
    let found = match sys::find_key(key, 0) {
        Ok(id) => id,
        Err(error) if error.errno == Errno::ENOENT => return Ok(None),
        Err(error) => return Err(explain(system, &Attempt::Open { key, size: 0, mode: Mode::default() }, error)),
    };
    let Some(segment) = lookup(system, found, Needs::empty())? else { return Ok(None) };
    let conflicts = conflicts(system, &segment, creation);
    let size = creation.size.unwrap_or(0);
    match sys::find_key(key, size) {
        // Another segment has the key by now.
        Ok(id) if id != found => Ok(None),
        Ok(id) if conflicts.is_empty() => Ok(Some(id)),
        Ok(_) => {
            let may_change = may_control(system, &segment) != Some(false);
            let rights = Rights { may_change, may_write: sys::check_access(key).is_ok() };
            Err(conflict::refusal(&segment, &creation.requested, &conflicts, rights))
        }
        Err(error) if error.errno == Errno::ENOENT => Ok(None),
        Err(error) => {
            let mut error = explain(system, &Attempt::Open { key, size, mode: Mode::default() }, error);
            let options = [options(&conflicts), vec!["size"]].concat();
            let how = if conflicts.is_empty() { "open it with its current size" } else { "open it unchanged" };
            error.hints = vec![Hint::new(how, again("").without(&options))];
            let causes = error.cause.take().map(String::from).into_iter();
            let causes: Vec<String> = causes.chain(conflicts.into_iter().map(|conflict| conflict.reason)).collect();
            Err(error.cause(causes.join("; ")))
        }
    }
}

/// Returns the options that a segment does not satisfy.
fn conflicts(system: &System, segment: &Object, creation: &Creation) -> Vec<Conflict> {
    let mut conflicts = conflict::conflicts(system, segment, &creation.requested);
    if creation.huge.is_some() {
        conflicts.push(Conflict::only_new("huge", "cannot change its pages"));
    }
    conflicts
}

/// Explains that a key exists (EEXIST), and how to open its segment: without the options that it does not satisfy.
pub(super) fn exists(system: &System, key: Key, creation: &Creation, flags: CreateFlags) -> Error {
    let size = creation.size(system);
    let failure = SysError { errno: Errno::EEXIST, call: "shmget" };
    let mut error = explain(system, &Attempt::Create { key, size, flags }, failure);
    if let Some(segment) = find_by_key(system, key) {
        let mut options = [vec!["exclusive"], options(&conflicts(system, &segment, creation))].concat();
        options.extend(creation.size.filter(|size| *size > segment.size).map(|_| "size"));
        error.hints.insert(0, Hint::new("open the existing segment", again("").without(&options)));
    }
    error
}

/// Returns the error with which an attach for reading and writing would fail, if the mode denies it.
pub(crate) fn denied_access(system: &System, segment: &Object) -> Option<Error> {
    let error = sys::check_access(segment.sysv().key).err().filter(|error| error.errno == Errno::EACCES)?;
    let (id, access) = (segment.sysv().id, Access::ReadWrite);
    let error =
        explain(system, &Attempt::Attach { id, access, exec: false, address: Address::Any, remap: false }, error);
    // Nothing was attached.
    Some(Error { source: None, ..error })
}
