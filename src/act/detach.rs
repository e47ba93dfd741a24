//! Detaches a segment or POSIX object by ending the caller's holders.
//!
//! A holder is recognized by its name, user, IPC namespace and mapping (`query::holders`). It is signalled through a
//! pidfd that was opened before these checks, so that pid reuse cannot redirect the signal to another process.

use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::error::{Error, Hint, Kind, program, shmadm};
use crate::explain::{attached_refusal, file_in_use, holders};
use crate::model::{HiddenBy, Needs, Object, ObjectKind};
use crate::query::{Holder, System, lookup, with_all_users, with_attachers};
use crate::sys;

/// How long to wait for a holder to exit. One that takes longer is probably stopped (SIGSTOP).
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub(crate) struct Detached {
    pub(crate) pids: Vec<i32>,
    /// The attachments of a segment before and after; 0 after if it was destroyed at the last detach. `None` for an
    /// object.
    pub(crate) nattch: Option<(u64, u64)>,
    pub(crate) destroyed: bool,
}

/// Ends the caller's holders of a segment, or the one with `pid`, and waits until they have exited. Without a holder,
/// returns `NotFound` if the segment is not attached, and `Refused` if other processes have it attached. Returns
/// `Failed` if a holder does not exit.
pub(crate) fn detach(system: &System, seen: &Object, pid: Option<i32>) -> Result<Detached, Error> {
    let ident = seen.ident();
    let mut ours = holders(system, seen)?;
    let all: Vec<_> = ours.iter().map(|holder| holder.pid).collect();
    ours.retain(|holder| pid.is_none_or(|pid| holder.pid == pid));
    if ours.is_empty() {
        return Err(no_holder(system, seen, pid, &all));
    }
    for Holder { pidfd, .. } in &ours {
        match sys::terminate(pidfd) {
            Ok(()) => {}
            Err(error) if error.errno == Errno::ESRCH => {}
            Err(failure) => {
                let error = Error::failed_call(format!("cannot stop the holder of {ident}"), failure);
                return Err(error.target(ident.argument()));
            }
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
                    let message = format!("cannot detach {ident}: holder {pid} has not exited");
                    let seconds = TIMEOUT.as_secs();
                    return Err(Error::new(Kind::Failed, message)
                        .target(pid.to_string())
                        .cause(format!("it was sent SIGTERM {seconds} seconds ago; it may be stopped (SIGSTOP)"))
                        .hint("resume the holder, which then exits", program(format!("kill -CONT {pid}"))));
                }
            }
        }
    }
    let pids = ours.iter().map(|holder| holder.pid).collect();
    let ObjectKind::SysV(before) = &seen.kind else { return Ok(Detached { pids, nattch: None, destroyed: false }) };
    // A process releases its memory map before its pidfd becomes readable, so nattch is already up to date.
    let after = lookup(system, before.id, Needs::empty())?;
    let nattch = after.as_ref().map_or(0, |segment| segment.sysv().nattch);
    Ok(Detached { pids, nattch: Some((before.nattch, nattch)), destroyed: after.is_none() })
}

fn no_holder(system: &System, seen: &Object, pid: Option<i32>, ours: &[i32]) -> Error {
    let ident = seen.ident();
    let not_a_holder = pid.map_or_else(String::new, |pid| format!("pid {pid} is not a holder of it; "));
    let message = |why: &str| format!("cannot detach {ident}: {not_a_holder}{why}");
    let seen = match with_all_users(system, seen) {
        Ok(object) => object,
        Err(error) => return error.into(),
    };
    let not_attached = || Error::new(Kind::NotFound, message("it is not attached")).target(ident.argument());
    let user = system.user(system.uid());
    let no_holder = format!("no holder of user {user} has it attached");
    match seen.file_users() {
        Some(users) if users.in_use().is_none() => {
            let cause = format!("cannot determine whether other processes use it: {}", users.why_hidden());
            return Error::new(Kind::Refused, message(&no_holder)).target(ident.argument()).cause(cause);
        }
        _ if !seen.is_in_use() => return not_attached(),
        _ => {}
    }
    let refusal = |why: &str| match seen.is_segment() {
        true => attached_refusal(system, &seen, message(why)),
        false => Some(file_in_use(system, &seen, message(why), None)),
    };
    if let Some(first) = ours.first() {
        let pids = ours.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let detach = shmadm("detach").arg(ident.typed());
        let Some(refusal) = refusal(&format!("user {user}'s holders: pid {pids}")) else { return not_attached() };
        return refusal
            .hint("end all of them", detach.clone())
            .hint("end one of them", detach.arg("--pid").arg(first.to_string()));
    }
    let Some(refusal) = refusal(&no_holder) else { return not_attached() };
    suggest_who(system, seen).into_iter().fold(refusal, Error::with)
}

/// Returns the hint to list the processes that use an object: with `sudo` if the caller may not inspect them, and none
/// if they cannot be found.
fn suggest_who(system: &System, object: Object) -> Option<Hint> {
    // Without the processes, no hint is given.
    let object = with_attachers(system, &object).unwrap_or(object);
    let (is_found, reasons): (bool, Vec<HiddenBy>) = match (&object.attachers, object.file_users()) {
        (Some(users), _) => (!users.list.is_empty(), users.hidden.iter().map(|hidden| hidden.reason).collect()),
        (None, Some(users)) => (!users.list.is_empty(), users.hidden.clone()),
        (None, None) => return None,
    };
    let command = shmadm("who").arg(object.ident().typed());
    let command = match is_found {
        true => command,
        false if reasons.contains(&HiddenBy::Permission) => command.sudo(),
        false => return None,
    };
    Some(Hint::new("list the attached processes; only they can detach", command))
}
