//! Asking holders of ours to let go of a segment.

use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::error::{Error, Kind};
use crate::model::{Needs, Segment};
use crate::query::{Attempt, Holder, System, attached_refusal, explain, holders, segment};
use crate::sys;

/// How long a holder may take to end; one that takes longer must have been stopped (SIGSTOP), or is not what it seems.
const PATIENCE: Duration = Duration::from_secs(10);

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Detached {
    /// The holders that ended.
    pub(crate) pids: Vec<i32>,
    /// Attachments before.
    pub(crate) nattch_before: u64,
    /// Attachments after; 0 also if the segment went with the last of them.
    pub(crate) nattch_after: u64,
    /// Whether the segment went with its last attachment.
    pub(crate) destroyed: bool,
}

/// Ends this user's holders of a segment, or the one with this pid, and waits until they are gone.
///
/// # Errors
/// There is no such holder: NotFound if nobody is attached, else Refused with who is. A holder does not end: Failed.
pub(crate) fn detach(system: &System, seen: &Segment, pid: Option<i32>) -> Result<Detached, Error> {
    let id = seen.id;
    let mut ours = holders(system, id)?;
    let all: Vec<_> = ours.iter().map(|holder| holder.pid).collect();
    ours.retain(|holder| pid.is_none_or(|pid| holder.pid == pid));
    if ours.is_empty() {
        return Err(no_holder(system, seen, pid, &all));
    }
    for Holder { pid, pidfd } in &ours {
        match sys::terminate(pidfd, *pid) {
            Ok(()) => {}
            Err(error) if error.errno == Errno::ESRCH => {}
            Err(error) => return Err(explain(system, &Attempt::Detach(id), error)),
        }
    }
    let deadline = Instant::now() + PATIENCE;
    for Holder { pid, pidfd } in &ours {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match sys::wait_for_exit(pidfd, left) {
                Ok(true) => break,
                Err(Errno::EINTR) => {}
                Ok(false) | Err(_) => {
                    return Err(Error::new(Kind::Failed, format!("holder {pid} of segment {id} did not end"))
                        .target(pid.to_string())
                        .cause(format!(
                            "it was asked to, and {} seconds have passed: it may be stopped",
                            PATIENCE.as_secs()
                        ))
                        .hint(format!("`kill -CONT {pid}` lets a stopped process go on, and then end")));
                }
            }
        }
    }
    // A process unmaps before it counts as ended, so that this look shows the detach.
    let after = segment(system, id, Needs::empty())?;
    Ok(Detached {
        pids: ours.iter().map(|holder| holder.pid).collect(),
        nattch_before: seen.nattch,
        nattch_after: after.as_ref().map_or(0, |segment| segment.nattch),
        destroyed: after.is_none(),
    })
}

/// Makes the error for when there is nothing of ours to end, or not what was named.
fn no_holder(system: &System, seen: &Segment, pid: Option<i32>, ours: &[i32]) -> Error {
    let id = seen.id;
    let who = pid.map_or_else(String::new, |pid| format!("pid {pid} is no holder of it; "));
    if seen.nattch == 0 {
        return Error::new(Kind::NotFound, format!("cannot detach segment {id}: {who}nobody has it attached"))
            .target(id.to_string())
            .hint(format!("`shmadm attach {id} --background` starts a holder"));
    }
    let user = system.user(system.uid());
    if let Some(first) = ours.first() {
        let pids = ours.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        return attached_refusal(
            system,
            seen,
            format!("refused to detach segment {id}: {who}the holders of user {user} are: {pids}"),
        )
        .hint(format!("`shmadm detach {id}` ends all of these, and `shmadm detach {id} --pid {first}` that one"));
    }
    let message = format!("refused to detach segment {id}: {who}no holder of user {user} has it attached");
    attached_refusal(system, seen, message)
        .hint(format!("only a process can end its own attachment: `shmadm who {id}` shows which have it"))
}
