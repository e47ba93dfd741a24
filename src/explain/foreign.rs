//! Why a call of another process failed (`trace`).
//!
//! The diagnosis is the one of our own calls, with a [`System`] whose caller is the other process. It is made in a
//! thread that enters the IPC namespace of that process. Hints are for the user who reads them, and so ask for the
//! rights of this process.

use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;

use super::access::{access_class, widened};
use super::attempt::{Attempt, FileAttempt};
use super::diagnosis::explain;
use super::key::NO_SUCH_KEY;
use crate::error::{Error, Program, shmadm};
use crate::model::{Ident, Key, Needs, Object, ObjectName, State};
use crate::procfs;
use crate::query::{DEV_SHM, System, find_by_key, lookup, may_control, state_now};
use crate::sys::{self, SysError};

/// Returns why a call of a stopped process failed, with hints that help the user of this process. `None` if /proc does
/// not show the process.
///
/// Where its IPC namespace cannot be entered, the cause says so.
pub(crate) fn explain_call_of(
    system: &System,
    pid: i32,
    thread: i32,
    attempt: &Attempt,
    failure: SysError,
) -> Option<Error> {
    let caller = system.of_caller(pid, thread)?;
    if let Attempt::File(file) = attempt {
        let mut error = explain_file_call(&caller, attempt, file, failure);
        return Some(match shares_files(&caller) {
            Some(true) => error,
            // A /dev/shm is found only by a process.
            Some(false) => in_namespace_of(error, pid, None),
            None => {
                error.hints.retain(|hint| hint.command.is_none());
                error
            }
        });
    }
    let user = system.renewed();
    let number = procfs::namespace_of(system.proc(), caller.caller_thread());
    if number == system.namespace() || !attempt.depends_on_namespace(failure.errno) {
        return Some(explain_segment_call(&caller, &user, attempt, failure));
    }
    let Ok(namespace) = procfs::open_namespace(system.proc(), caller.caller_thread(), number) else {
        // Nor can a command enter it.
        return Some(Error { hints: Vec::new(), ..unknown(attempt, failure, None) });
    };
    let explained = sys::in_ipc_namespace(&namespace, move || {
        let (mut caller, mut user) = (caller, user);
        if let Some(number) = number {
            caller.set_namespace(number, None);
            user.set_namespace(number, None);
        }
        explain_segment_call(&caller, &user, attempt, failure)
    });
    Some(match explained {
        Ok(error) => in_namespace_of(with_segment_here(error, attempt, failure.errno), pid, number),
        Err(error) => in_namespace_of(unknown(attempt, failure, Some(error)), pid, number),
    })
}

/// Returns whether a path leads the caller to the same file as this process: in the same mount namespace and below the
/// same root. `None` if /proc does not show it.
fn shares_files(caller: &System) -> Option<bool> {
    let view = |process: &str| {
        let root = sys::refer_through(&caller.proc().join(process).join("root")).ok()?;
        let mounts = procfs::mount_namespace_of(caller.proc(), process)?;
        Some((mounts, sys::mount_id(root.as_fd()), sys::stat_file(root.as_fd()).ok()?.file))
    };
    Some(view(caller.caller_thread())? == view("thread-self")?)
}

/// Returns the error for a process whose IPC namespace cannot be entered.
fn unknown(attempt: &Attempt, failure: SysError, denied: Option<SysError>) -> Error {
    let why = match denied {
        Some(SysError { errno: Errno::EPERM, .. }) => "this requires CAP_SYS_ADMIN".to_owned(),
        None => "/proc does not show it to you".to_owned(),
        Some(error) => error.to_string(),
    };
    let error = Error::failed_call(attempt.message(), failure);
    let error = match (attempt, failure.errno) {
        (Attempt::Open { .. }, Errno::ENOENT) => error.cause(NO_SUCH_KEY),
        _ => error.cause(format!("unknown: the caller's IPC namespace cannot be entered from here: {why}")),
    };
    // A command can enter the user namespace that owns the IPC namespace, too.
    error.hint("list the segments", shmadm("list"))
}

/// Adds that the key exists in the IPC namespace of this process, if the caller, in another, does not find it.
fn with_segment_here(error: Error, attempt: &Attempt, errno: Errno) -> Error {
    match attempt {
        Attempt::Open { key, .. } if errno == Errno::ENOENT && sys::find_key(*key, 0).is_ok() => {
            error.also("shmadm's own IPC namespace has a segment with this key")
        }
        _ => error,
    }
}

/// Completes the commands in hints, so that they find the objects of a process in other namespaces. The number of its
/// IPC namespace is preferred, which another process may keep after this one has exited.
fn in_namespace_of(mut error: Error, pid: i32, number: Option<u64>) -> Error {
    let by_pid = pid.to_string();
    let by_number = number.map(|number| format!("ipc:[{number}]"));
    for hint in &mut error.hints {
        hint.command = hint.command.take().and_then(|command| {
            let by_number = by_number.as_ref().filter(|_| command.program == Program::Shmadm);
            command.in_namespace(by_number.unwrap_or(&by_pid).as_ref())
        });
    }
    error
}

/// Where the bits of the owner begin in a mode.
const OWNER_SHIFT: u32 = 6;

/// Removes hints that are for a command of the user: those that repeat it, and the limits of the user's shell.
fn retain_general_hints(error: &mut Error) {
    error.hints.retain(|hint| {
        hint.command.as_ref().is_none_or(|command| {
            command.program != Program::Again && command.arguments.first().is_none_or(|first| first != "ulimit")
        })
    });
}

fn explain_segment_call(caller: &System, user: &System, attempt: &Attempt, failure: SysError) -> Error {
    let mut error = explain(caller, attempt, failure);
    retain_general_hints(&mut error);
    let Some(segment) = segment_of(user, attempt) else { return error };
    let id = segment.sysv().id;
    let may_change = may_control(user, &segment) != Some(false);
    let change = |words: String| if may_change { shmadm(words) } else { shmadm(words).sudo() };
    let is_by_key = matches!(attempt, Attempt::Create { .. } | Attempt::Open { .. });
    let is_in_the_way = match failure.errno {
        Errno::EEXIST => true,
        Errno::EINVAL => {
            matches!(attempt, Attempt::Create { size, .. } | Attempt::Open { size, .. } if segment.size < *size)
        }
        Errno::EACCES => is_by_key,
        _ => false,
    };
    let needed = attempt.needed_access();
    let (class, shift) = access_class(caller, &segment);
    if is_in_the_way || matches!(failure.errno, Errno::EACCES | Errno::EPERM) {
        error = error.hint("inspect it", shmadm(format!("stat {id}")));
    }
    if failure.errno == Errno::EACCES && (segment.mode.bits() >> shift) & needed != needed {
        let mode = widened(&segment, needed << shift);
        error = match class {
            "in the group" => {
                let text = format!("give the group {} this access", user.group(segment.gid));
                error.hint(text, change(format!("set {id} --mode {mode}")))
            }
            "other" => {
                let (owner, needed) = (user.user(caller.uid()), needed << OWNER_SHIFT);
                let mode = match segment.mode.bits() & needed == needed {
                    true => String::new(),
                    false => format!(" --mode {}", widened(&segment, needed)),
                };
                error.hint(format!("give it to user {owner}"), change(format!("set {id} --owner {owner}{mode}")))
            }
            _ => error.hint("change the mode", change(format!("set {id} --mode {mode}"))),
        };
    }
    if is_in_the_way && state_now(user, &segment) == State::Orphan {
        error = error.hint("remove it if it is a leftover", change(format!("rm {id}")));
    }
    error
}

/// Returns the segment that a call named, if it exists.
fn segment_of(system: &System, attempt: &Attempt) -> Option<Object> {
    match attempt {
        Attempt::Create { key: Key::PRIVATE, .. } => None,
        Attempt::Create { key, .. } | Attempt::Open { key, .. } => find_by_key(system, *key),
        Attempt::Control { id, .. } => sys::stat_index(id.raw()).ok(),
        Attempt::Attach { id, .. }
        | Attempt::Stat(id)
        | Attempt::Set(id)
        | Attempt::Lock(id, _)
        | Attempt::Remove(id)
        | Attempt::Detach(id) => lookup(system, *id, Needs::empty()).ok().flatten(),
        Attempt::DetachAddress(_) | Attempt::NegativeId(_) | Attempt::File(_) => None,
    }
}

fn explain_file_call(caller: &System, attempt: &Attempt, file: &FileAttempt, failure: SysError) -> Error {
    let mut error = explain(caller, attempt, failure);
    retain_general_hints(&mut error);
    let path = match (failure.errno, file) {
        (Errno::ENOENT | Errno::EPERM, FileAttempt::Link { source: Some(source), .. }) => source,
        (_, FileAttempt::Open { path, .. } | FileAttempt::Link { path, .. } | FileAttempt::Remove(path)) => path,
        _ => return error,
    };
    let name =
        path.strip_prefix(DEV_SHM).ok().and_then(|name| ObjectName::of_file(name.as_os_str().as_encoded_bytes()));
    match (failure.errno, name) {
        (Errno::ENOENT, Some(_)) => error.hint("list the objects", shmadm("list --posix")),
        (Errno::EEXIST | Errno::EACCES | Errno::EPERM, Some(name)) if is_object(caller, path) => {
            error.hint("inspect it", shmadm("stat").arg(Ident::Name(name).typed()))
        }
        _ => error,
    }
}

/// Returns whether a path of the caller leads to a file that `stat` shows.
fn is_object(caller: &System, path: &Path) -> bool {
    let root = sys::refer_through(&caller.proc().join(caller.caller_thread()).join("root"));
    let file = root.and_then(|root| sys::refer_below(root.as_fd(), path));
    let stat = file.and_then(|file| sys::stat_file(file.as_fd()));
    stat.is_ok_and(|stat| stat.is_regular() || stat.is_directory())
}
