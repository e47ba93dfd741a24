//! The refusal to change an attached segment, and the processes that it names.

use std::time::Duration;

use crate::error::{Error, Kind};
use crate::model::{Needs, Object, SegmentUsers, ShmId, describe_process, enumerate};
use crate::query::{ProcessStatus, System, creator_and_last_user_now, lookup, wait_for_exiting_users, with_attachers};

const MAX_NAMED: usize = 6;

/// How long to wait for processes that are exiting.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// Describes the processes that have a segment attached: `by pid 12 (root, command) and pid 13 (postgres, command)`.
pub(crate) fn describe_attachers(system: &System, id: ShmId) -> Option<String> {
    let found = lookup(system, id, Needs::empty()).ok().flatten()?;
    // The caller reports an error already; without the names it is only less precise.
    attached_by(system, with_attachers(system, &found).ok()?.attachers.as_ref()?)
}

/// Describes processes like [`describe_attachers`].
pub(crate) fn attached_by(system: &System, attachers: &SegmentUsers) -> Option<String> {
    let names = attachers.describe(MAX_NAMED);
    let names = match system.proc_problem() {
        Some(problem) if !names.is_empty() => vec![format!("processes that cannot be found (/proc {problem})")],
        _ => names,
    };
    (!names.is_empty()).then(|| format!("by {}", enumerate(&names, "and")))
}

/// Describes the key that a segment with known attachments had, and who still has it attached. `namespace` follows its
/// id.
pub(crate) fn describe_removed(system: &System, segment: &Object, namespace: &str) -> String {
    let by = segment.attachers.as_ref().and_then(|attachers| attached_by(system, attachers)).unwrap_or_default();
    let (ident, key) = (segment.ident(), segment.former_key().unwrap_or_default());
    format!("{ident}{namespace} had key {key} until it was marked for destruction; still attached {by}")
}

/// Returns the refusal to change an attached segment, whose cause names the attached processes, the creator and the
/// last user. Waits for processes that are exiting; returns `None` if the segment is then no longer attached.
pub(crate) fn attached_refusal(system: &System, seen: &Object, message: String) -> Option<Error> {
    let mut segment = seen.clone();
    let mut look = || {
        if let Some(now) = lookup(system, seen.ident(), Needs::empty()).transpose() {
            // If the record cannot be read again, the old one is used.
            let now = now.unwrap_or_else(|_| seen.clone());
            // The caller reports an error already; without the names it is only less precise.
            segment = with_attachers(system, &now).unwrap_or(now);
        } else {
            segment.sysv_mut().nattch = 0;
        }
        wait_for_exiting_users(system, [&segment], MAX_WAIT)
    };
    if look() {
        look();
    }
    let attached = match segment.sysv().nattch {
        0 => return None,
        1 => "attached".to_owned(),
        count => format!("attached {count} times"),
    };
    let by = segment.attachers.as_ref().and_then(|attachers| attached_by(system, attachers));
    let by = by.map(|by| format!(" {by}")).unwrap_or_default();
    let users = describe_creator_and_last_user(system, &segment);
    let cause = format!("{attached}{by}; {users}");
    Some(Error::new(Kind::Refused, message).target(segment.sysv().id.to_string()).cause(cause))
}

/// Describes which processes of an idle segment are still running: `the creator of segment 5 is still running: pid 12
/// (root, command)`. Returns `None` for a POSIX object.
pub(crate) fn describe_running(system: &System, segment: &Object) -> Option<String> {
    let sysv = segment.as_sysv()?;
    let running = creator_and_last_user_now(system, segment).map(|status| status.is_running());
    let (role, pid) = match (running, sysv.cpid, sysv.lpid) {
        _ if segment.is_in_use() => return None,
        ([true, true], Some(creator), Some(last)) if creator != last => {
            let [creator, last] = [creator, last].map(|pid| describe_pid(system, pid));
            let (id, are) = (sysv.id, "are still running");
            return Some(format!("the creator and the last user of segment {id} {are}: pid {creator} and pid {last}"));
        }
        ([true, true], pid, _) => ("creator and last user", pid),
        ([true, false], pid, _) => ("creator", pid),
        ([false, true], _, pid) => ("last user", pid),
        ([false, false], ..) => return None,
    };
    Some(format!("the {role} of segment {} is still running: pid {}", sysv.id, describe_pid(system, pid?)))
}

/// Describes a running process: `12 (root, command)`.
pub(crate) fn describe_pid(system: &System, pid: i32) -> String {
    let user = system.effective_uid(pid).map(|uid| system.user(uid));
    describe_process(pid, [user.as_deref(), system.command(pid).as_deref()])
}

fn describe_creator_and_last_user(system: &System, segment: &Object) -> String {
    let describe = |role: &str, pid: Option<i32>, user: Option<u32>, status: ProcessStatus| {
        let Some(pid) = pid else { return format!("{role} is outside this pid namespace") };
        match status {
            ProcessStatus::Running(_) => {
                let user = user.map(|uid| system.user(uid));
                let process = describe_process(pid, [user.as_deref(), system.command(pid).as_deref()]);
                let is = if system.is_exiting(pid) == Some(true) { "is exiting" } else { "is running" };
                format!("{role} pid {process} {is}")
            }
            ProcessStatus::Exited => format!("{role} pid {pid} has exited"),
            ProcessStatus::Unknown => format!("{role} pid {pid} may have exited"),
        }
    };
    let creator = |role, status| describe(role, segment.sysv().cpid, Some(segment.sysv().cuid), status);
    match (creator_and_last_user_now(system, segment), segment.sysv().cpid, segment.sysv().lpid) {
        ([status, _], ..) if segment.sysv().atime.is_none() => creator("creator", status),
        ([status, last], Some(cpid), Some(lpid)) if cpid == lpid && status == last => {
            creator("creator and last user", status)
        }
        ([ProcessStatus::Exited, ProcessStatus::Exited], Some(cpid), Some(lpid)) => {
            format!("creator pid {cpid} and last user pid {lpid} have exited")
        }
        ([status, last], _, lpid) => {
            format!("{}, {}", creator("creator", status), describe("last user", lpid, None, last))
        }
    }
}
