//! The state of an object, and whether the processes that it records are still running.
//!
//! A segment's state is the first of these that holds: marked for destruction and still attached (`dest`), attached
//! (`in-use`), creator or last user running (`idle`), status of one of them unknown (`unknown`), both exited
//! (`orphan`). A pid was reused if its process started too long after the time that it should explain: ctime for the
//! creator, atime or dtime for the last user.

use std::sync::Arc;

use super::host::{ProcessStatus, SLACK_SECONDS, System};
use crate::model::{Object, ObjectKind, Posix, Stamp, State, SysV};

fn creator(query: impl Fn(i32) -> ProcessStatus, ctime: Option<Stamp>, segment: &SysV) -> ProcessStatus {
    ProcessStatus::recorded(query, segment.cpid, ctime)
}

/// Returns the status of a segment's last user; exited if it was never attached.
fn last_user(query: impl Fn(i32) -> ProcessStatus, segment: &SysV) -> ProcessStatus {
    match segment.atime {
        None => ProcessStatus::Exited,
        Some(_) => ProcessStatus::recorded(query, segment.lpid, segment.atime.max(segment.dtime)),
    }
}

/// Returns the state of an object; the status of its processes is cached.
pub(crate) fn state(system: &System, object: &Object) -> State {
    state_of(system, object, |pid| system.process_status(pid))
}

/// Returns the state of an object with the status of its processes asked again.
pub(crate) fn state_now(system: &System, object: &Object) -> State {
    state_of(system, object, |pid| system.process_status_now(pid))
}

fn state_of(system: &System, object: &Object, query: impl Fn(i32) -> ProcessStatus + Copy) -> State {
    let segment = match &object.kind {
        ObjectKind::SysV(segment) => segment,
        ObjectKind::Posix(posix) => return state_of_posix(system, object, posix, query),
    };
    if segment.dest {
        return State::Dest;
    }
    if segment.nattch > 0 {
        return State::InUse;
    }
    let creator = creator(query, object.ctime, segment);
    if creator.is_running() {
        return State::Idle;
    }
    match (creator, last_user(query, segment)) {
        (_, ProcessStatus::Running(_)) => State::Idle,
        (ProcessStatus::Exited, ProcessStatus::Exited) => State::Orphan,
        _ => State::Unknown,
    }
}

/// Returns the state of a POSIX object, whose users must be known. Without a pid in its name, it is an orphan if no
/// object of its family is in use and the family is proven to be its program's, or if every process of its owner
/// started after it was created. With a pid, the latter proves nothing: its process can have another user.
fn state_of_posix(system: &System, object: &Object, posix: &Posix, query: impl Fn(i32) -> ProcessStatus) -> State {
    let is_comparable = !system.is_before_boot(made(posix));
    let has_only_younger_processes =
        || system.has_process_older_than(object.uid, posix.stat.ctime.stamp()) == Some(false);
    let maker = posix.maker.and_then(|pid| maker(system, object, pid, query));
    match (posix.in_use(), maker) {
        _ if posix.name.is_none() => State::Unlinked,
        (Some(true), _) => State::InUse,
        (None, _) => State::Unknown,
        _ if posix.family.claim.is_some() => State::Idle,
        (_, Some(ProcessStatus::Running(_))) => State::Idle,
        _ if posix.is_kept() => State::Kept,
        _ if posix.family.is_proven => State::Orphan,
        (_, Some(ProcessStatus::Exited)) => State::Orphan,
        (_, Some(ProcessStatus::Unknown)) => State::Unknown,
        _ if posix.maker.is_none() && is_comparable && has_only_younger_processes() => State::Orphan,
        _ => State::Unused,
    }
}

/// Returns the time of an object's creation, or else of its last change.
fn made(posix: &Posix) -> Stamp {
    posix.stat.btime.unwrap_or(posix.stat.ctime).stamp()
}

/// Returns the status of the process whose pid is in the name of an object; `None` if it cannot be distinguished from
/// other processes. Cached.
pub(crate) fn maker_status(system: &System, object: &Object, pid: i32) -> Option<ProcessStatus> {
    maker(system, object, pid, |pid| system.process_status(pid))
}

fn maker(system: &System, object: &Object, pid: i32, query: impl Fn(i32) -> ProcessStatus) -> Option<ProcessStatus> {
    let posix = object.posix();
    if posix.has_foreign_pids {
        return None;
    }
    let made = made(posix);
    let status = match query(pid) {
        // It started after the object was made, so it has reused the pid of the maker.
        ProcessStatus::Running(Some(start)) if start.0 > made.0.saturating_add(SLACK_SECONDS) => {
            if system.is_before_boot(made) {
                return None;
            }
            ProcessStatus::Exited
        }
        // It can be the maker, which has changed its user.
        ProcessStatus::Running(_) if system.effective_uid(pid).is_some_and(|uid| uid != object.uid) => return None,
        status => status,
    };
    // The name may contain the pid of a process in a container that shares the directory.
    (status != ProcessStatus::Exited || !system.has_inner_pid(object.uid, pid)).then_some(status)
}

pub(crate) fn creator_and_last_user(system: &System, object: &Object) -> [ProcessStatus; 2] {
    creator_and_last_user_by(object, |pid| system.process_status(pid))
}

/// Returns the same as [`creator_and_last_user`], with the status of the processes asked again.
pub(crate) fn creator_and_last_user_now(system: &System, object: &Object) -> [ProcessStatus; 2] {
    creator_and_last_user_by(object, |pid| system.process_status_now(pid))
}

fn creator_and_last_user_by(object: &Object, query: impl Fn(i32) -> ProcessStatus + Copy) -> [ProcessStatus; 2] {
    let segment = object.sysv();
    [creator(query, object.ctime, segment), last_user(query, segment)]
}

/// Returns the command lines of a segment's creator and of its last user, of each only while it is running.
pub(crate) fn commands(system: &System, object: &Object) -> [Option<Arc<str>>; 2] {
    let segment = object.sysv();
    let [creator, last_user] = creator_and_last_user(system, object);
    [(segment.cpid, creator), (segment.lpid, last_user)]
        .map(|(pid, status)| pid.filter(|_| status.is_running()).and_then(|pid| system.command(pid)))
}

/// Returns the last user's pid if an attach by this program would turn an `idle` segment into an `orphan`: the last
/// user is running, the creator is not, and the attach overwrites the record of the last user.
pub(crate) fn last_user_preventing_orphan(system: &System, object: &Object) -> Option<i32> {
    let sysv = object.as_sysv()?;
    let [creator, last_user] = creator_and_last_user(system, object);
    sysv.lpid.filter(|_| last_user.is_running() && !creator.is_running())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recording(cpid: Option<i32>, lpid: Option<i32>, times: [i64; 3]) -> Object {
        let [atime, dtime, ctime] = times.map(Stamp::from_kernel);
        Object { ctime, ..Object::default() }.with(|segment| {
            (segment.cpid, segment.lpid) = (cpid, lpid);
            (segment.atime, segment.dtime) = (atime, dtime);
        })
    }

    #[test]
    fn state_depends_on_creator_last_user_and_start_times() {
        let system = System::new();
        let now = system.now().0;
        let running = Some(i32::try_from(std::process::id()).unwrap());
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let exited = Some(i32::try_from(child.id()).unwrap());
        child.wait().unwrap();
        let state = |cpid, lpid, times| super::state(&system, &recording(cpid, lpid, times));
        assert_eq!(state(running, None, [0, 0, now]), State::Idle);
        assert_eq!(state(exited, running, [now, now, now]), State::Idle);
        assert_eq!(state(exited, exited, [now, now, now]), State::Orphan);
        assert_eq!(state(exited, None, [0, 0, now]), State::Orphan, "atime 0: never attached");
        assert_eq!(state(exited, None, [now, 0, now]), State::Unknown, "last user outside this pid namespace");
        assert_eq!(state(None, exited, [now, 0, now]), State::Unknown, "creator outside this pid namespace");
        assert_eq!(state(None, running, [now, 0, now]), State::Idle);
        assert_eq!(state(running, None, [0, 0, now - 86_400]), State::Unknown, "the pid was reused");
        assert_eq!(state(exited, running, [now - 86_400, 0, now]), State::Unknown, "the pid was reused");
        let outside = recording(None, running, [now, 0, now]);
        assert_eq!(last_user_preventing_orphan(&system, &outside), running);
    }
}
