//! Which process created a segment.

use crate::model::Object;
use crate::query::{ProcessStatus, System, creator_and_last_user_now};

/// Describes the creator of a segment, as a clause: `it was created by pid 12 (server, running)`.
pub(super) fn created_by(system: &System, segment: &Object) -> String {
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
