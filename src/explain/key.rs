//! What the segment that has a key, or its absence, explains.

use nix::errno::Errno;

use super::access::{DENIED, NOT_IMPLEMENTED, explain_access, name_access};
use super::attempt::Attempt;
use crate::error::{Error, again, shmadm};
use crate::model::{Key, Needs, Object, ShmId, Size};
use crate::query::{ProcessStatus, System, creator_and_last_user_now, find_by_key, lookup};

/// The cause of ENOENT.
pub(super) const NO_SUCH_KEY: &str = "no segment in this IPC namespace has this key";

/// Explains a failed shmget(2) by the segment that has the key; `None` if that is not the cause.
pub(super) fn explain_existing(
    system: &System,
    error: &Error,
    attempt: &Attempt,
    key: Key,
    size: u64,
    errno: Errno,
) -> Option<Error> {
    let error = error.clone();
    let found = || find_by_key(system, key);
    match errno {
        Errno::EINVAL => {
            let found = found().filter(|found| found.size < size)?;
            let (id, current, creator) = (found.sysv().id, Size(found.size), created_by(system, &found));
            let error = error.cause(format!("segment {id} has this key and is only {current}; {creator}"));
            Some(error.hint("open it with its current size", again("").without(&["size"])))
        }
        Errno::EEXIST => {
            let found = found()?;
            let (id, owner, creator) = (found.sysv().id, system.user(found.uid), created_by(system, &found));
            let error = error.cause(format!("segment {id} (owner {owner}) has this key; {creator}"));
            Some(error.hint("create a segment with an unused key", again("--key random")))
        }
        Errno::EACCES => {
            let (found, needed) = (found()?, attempt.needed_access());
            let (id, mode, access) = (found.sysv().id, attempt.requested_mode(), name_access(needed));
            let error = error.cause(format!("segment {id} has this key, and the flags {mode} request {access} to it"));
            Some(explain_access(system, error, &found, needed))
        }
        _ => None,
    }
}

/// Adds why the segment with a key could not be opened.
pub(super) fn explain_missing_key(system: &System, error: Error, key: Key, size: u64, errno: Errno) -> Error {
    match errno {
        Errno::EINVAL => error.cause(format!("the segment with this key is smaller than {}", Size(size))),
        Errno::ENOENT => {
            let as_id = i32::try_from(key.bits()).ok().and_then(ShmId::new);
            let error = error.cause(NO_SUCH_KEY);
            match as_id.map(|id| (id, lookup(system, id, Needs::empty()))) {
                Some((id, Ok(Some(_)))) if system.other_caller().is_some() => {
                    error.advice(format!("a segment with id {id} exists: shmat takes an id, shmget a key"))
                }
                Some((id, Ok(Some(_)))) => error.advice(format!("a segment with id {id} exists: use {id}")),
                _ => error.hint("list the segments", shmadm("list")),
            }
        }
        Errno::EPERM | Errno::EACCES => error.cause(DENIED),
        Errno::ENOSYS => error.cause(NOT_IMPLEMENTED),
        _ => error,
    }
}

/// Describes the creator of a segment, as a clause: `it was created by pid 12 (server, running)`.
fn created_by(system: &System, segment: &Object) -> String {
    let Some(pid) = segment.sysv().cpid else {
        return "it was created by a process outside this pid namespace".to_owned();
    };
    let [status, _] = creator_and_last_user_now(system, segment);
    let process = match (status, system.command(pid)) {
        (ProcessStatus::Running(_), Some(command)) => format!("pid {pid} ({command}, running)"),
        (ProcessStatus::Running(_), None) => format!("pid {pid} (running)"),
        (ProcessStatus::Exited, _) => format!("pid {pid}, which has exited"),
        (ProcessStatus::Unknown, _) => format!("pid {pid}, which may have exited"),
    };
    format!("it was created by {process}")
}
