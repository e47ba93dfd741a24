//! What creating a segment would do: a dry run of `create`.
//!
//! No call can determine this without creating the segment, so the checks of shmget(2) are repeated in the kernel's
//! order (newseg in linux/ipc/shm.c).

use nix::errno::Errno;

use super::create::{Creation, destroyed_on_exit, is_destroyed_on_exit};
use super::existing::{exists, find_existing};
use crate::error::{Error, Kind, program};
use crate::explain::{Attempt, explain, explain_lock_limit, ftok_key};
use crate::model::{Key, KeySpec, ShmId, Tally};
use crate::query::{
    CAP_IPC_LOCK, Capability, System, capability, count, limits, lockable, may_exceed_lock_limit, memory_errnos,
};
use crate::sys::{self, CreateFlags, SysError};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Plan {
    /// Create a segment with this key, unless it is private or random, and size.
    Create(Key, u64),
    Open(ShmId),
}

/// Returns what [`super::create()`] and the following changes would do, without doing it.
///
/// # Errors
/// Returns the error with which they would fail. It names no call, since none was made.
pub(crate) fn plan(system: &System, creation: &Creation) -> Result<Plan, Error> {
    predict(system, creation).map_err(would_fail)
}

/// Marks an error as that of a dry run. Usage errors are returned unchanged.
pub(crate) fn would_fail(error: Error) -> Error {
    if error.kind == Kind::Usage {
        return error;
    }
    Error { message: format!("would fail: {}", error.message), source: None, ..error }
}

fn predict(system: &System, creation: &Creation) -> Result<Plan, Error> {
    let (size, flags) = (creation.size(system), creation.flags());
    let key = match &creation.key {
        KeySpec::Private | KeySpec::Random => Key::PRIVATE,
        KeySpec::Key(key) => *key,
        KeySpec::Ftok(ftok) => ftok_key(ftok)?,
    };
    if key != Key::PRIVATE {
        if !creation.exclusive {
            if let Some(id) = find_existing(system, key, creation)? {
                return Ok(Plan::Open(id));
            }
        } else if sys::find_key(key, 0).is_ok() {
            return Err(exists(system, key, creation, flags));
        }
    }
    match expected_failure(system, creation, key) {
        failure if is_destroyed_on_exit(system, creation) => Err(destroyed_on_exit(failure)),
        Some(failure) => Err(failure),
        None => Ok(Plan::Create(key, size)),
    }
}

/// Returns the error with which creating a new segment, or locking it, would fail.
pub(super) fn expected_failure(system: &System, creation: &Creation, key: Key) -> Option<Error> {
    match expected_errno(system, creation.size(system), creation.flags()) {
        Some(errno) => Some(creation_failure(system, creation, key, SysError { errno, call: "shmget" })),
        None => lock_failure(system, creation),
    }
}

/// Explains a failed shmget(2), and adds why the segment could not be locked either.
pub(super) fn creation_failure(system: &System, creation: &Creation, key: Key, failure: SysError) -> Error {
    let (size, flags) = (creation.size(system), creation.flags());
    let error = explain(system, &Attempt::Create { key, size, flags }, failure);
    let Some(Error { cause: Some(cause), hints, .. }) = lock_failure(system, creation) else { return error };
    hints.into_iter().fold(error.also(&cause), Error::with)
}

/// Returns the errno with which shmget(2) would fail. What /proc or the kernel does not show is taken to be sufficient.
fn expected_errno(system: &System, size: u64, flags: CreateFlags) -> Option<Errno> {
    let limits = limits(system).ok()?;
    if size < limits.shmmin || size > limits.shmmax {
        return Some(Errno::EINVAL);
    }
    let Tally { segments: ids, pages, .. } = count(system).unwrap_or_else(|_| Tally::zero());
    if pages.checked_add(size.div_ceil(limits.page_size)).is_none_or(|total| total > limits.shmall) {
        return Some(Errno::ENOSPC);
    }
    let memory = memory_errnos(system, size, flags).into_iter().next();
    memory.or_else(|| (ids >= limits.shmmni).then_some(Errno::ENOSPC))
}

/// Returns the error with which SHM_LOCK would fail, if it is requested. Of huge pages, it only sets the flag
/// (`shmctl_do_lock` in linux/ipc/shm.c).
fn lock_failure(system: &System, creation: &Creation) -> Option<Error> {
    if !creation.requested.lock {
        return None;
    }
    let (size, limit) = (creation.size(system), lockable(system));
    let failed = |kind| Error::new(kind, "cannot lock the new segment");
    if limit == 0 && matches!(capability(system, CAP_IPC_LOCK), Capability::Missing | Capability::Ineffective) {
        let error = failed(Kind::Permission).cause("this user may not lock memory (RLIMIT_MEMLOCK is 0)");
        return Some(error.hint("show the limit in KiB", program("ulimit -l")));
    }
    let is_allowed = creation.huge.is_some() || size <= limit || may_exceed_lock_limit(system);
    (!is_allowed).then(|| explain_lock_limit(system, failed(Kind::Failed), Some(size)))
}
