//! The refusal to change an attached segment, and the processes that it names.

use crate::error::{Error, Kind};
use crate::model::{Needs, Object, SegmentUsers, ShmId, describe_process, enumerate};
use crate::query::{ProcessStatus, System, add_attachers, creator_and_last_user, lookup};

const MAX_NAMED: usize = 6;

/// Describes the processes that have a segment attached: `by pid 12 (root, command) and pid 13 (postgres, command)`.
pub(crate) fn describe_attachers(system: &System, id: ShmId) -> Option<String> {
    let found = lookup(system, id, Needs::empty()).ok().flatten()?;
    let mut segments = [found];
    // The caller reports an error already; without the names it is only less precise.
    let _ = add_attachers(system, &mut segments);
    attached_by(segments[0].attachers.as_ref()?)
}

/// Describes processes like [`describe_attachers`].
pub(crate) fn attached_by(attachers: &SegmentUsers) -> Option<String> {
    let names = attachers.describe(MAX_NAMED);
    (!names.is_empty()).then(|| format!("by {}", enumerate(&names, "and")))
}

/// Returns the refusal to change an attached segment. The cause names the attached processes, the creator and the last
/// user.
pub(crate) fn attached_refusal(system: &System, segment: &Object, message: String) -> Error {
    let attached = if segment.sysv().nattch == 1 {
        "attached".to_owned()
    } else {
        format!("attached {} times", segment.sysv().nattch)
    };
    let by = describe_attachers(system, segment.sysv().id).map(|by| format!(" {by}")).unwrap_or_default();
    let users = describe_creator_and_last_user(system, segment);
    Error::new(Kind::Refused, message).target(segment.sysv().id.to_string()).cause(format!("{attached}{by}; {users}"))
}

/// Describes what still runs of an idle segment: `the creator of segment 5 is still running: pid 12 (root, command)`.
pub(crate) fn describe_running(system: &System, segment: &Object) -> Option<String> {
    let sysv = segment.sysv();
    let running = creator_and_last_user(system, segment).map(|status| status.is_running());
    let (role, pid) = match (running, sysv.cpid, sysv.lpid) {
        _ if segment.is_in_use() => return None,
        ([true, true], Some(creator), Some(last)) if creator != last => {
            let [creator, last] = [creator, last].map(|pid| named(system, pid));
            let (id, are) = (sysv.id, "are still running");
            return Some(format!("the creator and the last user of segment {id} {are}: pid {creator} and pid {last}"));
        }
        ([true, true], pid, _) => ("creator and last user", pid),
        ([true, false], pid, _) => ("creator", pid),
        ([false, true], _, pid) => ("last user", pid),
        ([false, false], ..) => return None,
    };
    Some(format!("the {role} of segment {} is still running: pid {}", sysv.id, named(system, pid?)))
}

/// Describes a running process: `12 (root, command)`.
fn named(system: &System, pid: i32) -> String {
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
    match (creator_and_last_user(system, segment), segment.sysv().cpid, segment.sysv().lpid) {
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
