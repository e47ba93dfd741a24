//! Detaches a segment by ending the caller's holders.
//!
//! A holder is recognised by its name, user, IPC namespace and mapping (`query::holders`). It is signalled through a
//! pidfd that was opened before these checks, so that pid reuse cannot redirect the signal to another process.

use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::error::{Error, Kind, program, shmadm};
use crate::explain::{Attempt, attached_refusal, explain, holders};
use crate::model::{Needs, Object};
use crate::query::{Holder, System, lookup};
use crate::sys;

/// How long to wait for a holder to exit. One that takes longer is probably stopped (SIGSTOP).
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub(crate) struct Detached {
    pub(crate) pids: Vec<i32>,
    pub(crate) nattch_before: u64,
    /// 0 if the segment was destroyed at the last detach.
    pub(crate) nattch_after: u64,
    pub(crate) destroyed: bool,
}

/// Ends the caller's holders of a segment, or the one with `pid`, and waits until they have exited.
/// Returns `NotFound` if there is no holder and the segment is not attached, `Refused` if other processes have it
/// attached, and `Failed` if a holder does not exit.
pub(crate) fn detach(system: &System, seen: &Object, pid: Option<i32>) -> Result<Detached, Error> {
    let id = seen.sysv().id;
    let mut ours = holders(system, id)?;
    let all: Vec<_> = ours.iter().map(|holder| holder.pid).collect();
    ours.retain(|holder| pid.is_none_or(|pid| holder.pid == pid));
    if ours.is_empty() {
        return Err(no_holder(system, seen, pid, &all));
    }
    for Holder { pidfd, .. } in &ours {
        match sys::terminate(pidfd) {
            Ok(()) => {}
            Err(error) if error.errno == Errno::ESRCH => {}
            Err(error) => return Err(explain(system, &Attempt::Detach(id), error)),
        }
    }
    let deadline = Instant::now() + TIMEOUT;
    for Holder { pid, pidfd } in &ours {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match sys::wait_for_exit(pidfd, left) {
                Ok(true) => break,
                Err(Errno::EINTR) => {}
                Ok(false) | Err(_) => {
                    let message = format!("cannot detach segment {id}: holder {pid} has not exited");
                    let seconds = TIMEOUT.as_secs();
                    return Err(Error::new(Kind::Failed, message)
                        .target(pid.to_string())
                        .cause(format!("it was sent SIGTERM {seconds} seconds ago; it may be stopped (SIGSTOP)"))
                        .hint("resume the holder, which then exits", program(format!("kill -CONT {pid}"))));
                }
            }
        }
    }
    // A process releases its memory map before its pidfd becomes readable, so nattch is already up to date.
    let after = lookup(system, id, Needs::empty())?;
    Ok(Detached {
        pids: ours.iter().map(|holder| holder.pid).collect(),
        nattch_before: seen.sysv().nattch,
        nattch_after: after.as_ref().map_or(0, |segment| segment.sysv().nattch),
        destroyed: after.is_none(),
    })
}

fn no_holder(system: &System, seen: &Object, pid: Option<i32>, ours: &[i32]) -> Error {
    let id = seen.sysv().id;
    let not_a_holder = pid.map_or_else(String::new, |pid| format!("pid {pid} is not a holder of it; "));
    if seen.sysv().nattch == 0 {
        return Error::new(Kind::NotFound, format!("cannot detach segment {id}: {not_a_holder}it is not attached"))
            .target(id.to_string());
    }
    let user = system.user(system.uid());
    if let Some(first) = ours.first() {
        let pids = ours.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        return attached_refusal(
            system,
            seen,
            format!("cannot detach segment {id}: {not_a_holder}the holders of user {user} are: {pids}"),
        )
        .hint("end all of them", shmadm(format!("detach {id}")))
        .hint("end one of them", shmadm(format!("detach {id} --pid {first}")));
    }
    let message = format!("cannot detach segment {id}: {not_a_holder}no holder of user {user} has it attached");
    attached_refusal(system, seen, message)
        .hint("list the attached processes; only they can detach", shmadm(format!("who {id}")))
}
