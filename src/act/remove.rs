//! Removes segments, with checks right before IPC_RMID: a removal cannot be undone.
//!
//! The kernel has no call that removes a segment only if it is not attached. [`remove`] therefore reads the record
//! again, compares it with what the user was shown, and calls IPC_RMID with nothing in between. A process can still
//! attach at that moment. The segment is then marked for destruction instead of destroyed, and a last check reports
//! which. Attaching the segment first would not prevent that, and would overwrite the record of the last user.
//!
//! [`clean`], which `prune` and `leakcheck` use, also checks again that the creator and the last user have exited, and
//! skips a segment if anything about it has changed: identity, owner, mode, last user, times, attachments or state.

use nix::errno::Errno;

use super::needed_file::directory_refusal;
use super::plan::would_fail;
use super::remove_failure::Failure;
use super::remove_file::remove_file;
use crate::error::{Error, Kind, again, shmadm};
use crate::explain::{Attempt, OUTSIDE, attached_refusal, explain, gone, holders};
use crate::model::{Needs, Object, ObjectKind, Outcome, ShmId, State, SysV};
use crate::query::{Account, System, lookup, may_control, state_now};
use crate::sys::{self, SysError};

/// How often a segment is read again because its users have exited meanwhile.
const MAX_LOOKS: usize = 3;

/// Options of a removal.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Removal {
    pub(crate) force: bool,
    pub(crate) dry_run: bool,
    /// Refuse if its owner, group, mode or lock has changed, or if it was not attached and has been used since.
    pub(crate) unchanged_only: bool,
}

/// How something was removed, or would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Removed {
    pub(crate) outcome: Outcome,
    pub(crate) evidence: UseEvidence,
}

/// What shows whether something was in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UseEvidence {
    /// The attachments that the kernel counts, or the write lease.
    Kernel,
    /// A scan of all processes, since no lease could be taken.
    Scan,
    /// No lease could be taken, and a scan did not show every use.
    None,
}

impl From<Outcome> for Removed {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, evidence: UseEvidence::Kernel }
    }
}

impl Removed {
    /// Returns the result for an object whose name is removed; `None` if it is unknown whether a process uses it.
    pub(super) fn name(is_used: Option<bool>, evidence: UseEvidence) -> Self {
        match is_used {
            Some(false) => Self { outcome: Outcome::Destroyed, evidence },
            Some(true) => Self { outcome: Outcome::Unlinked, evidence },
            None => Self { outcome: Outcome::Unlinked, evidence: UseEvidence::None },
        }
    }

    /// Returns what follows in the message about a destroyed object if a scan decided, which is weaker evidence than a
    /// lease.
    pub(crate) fn evidence(self) -> &'static str {
        match self.evidence {
            UseEvidence::Scan => ": its write lease cannot be taken, and a scan of all processes found no user",
            UseEvidence::Kernel | UseEvidence::None => "",
        }
    }
}

/// Removes a segment if it is still the one in `seen`.
/// Returns `NotFound` if it was removed, `Refused` if it is attached or has changed, `Permission` without the right.
pub(crate) fn remove(system: &System, seen: &Object, how: Removal) -> Result<Removed, Error> {
    let result = match &seen.kind {
        ObjectKind::SysV(sysv) => remove_segment(system, seen, sysv, how).map(Removed::from),
        ObjectKind::Posix(_) if seen.is_directory() => return Err(directory_refusal(system, seen)),
        ObjectKind::Posix(_) => remove_file(system, seen, how),
    };
    if how.dry_run { result.map_err(would_fail) } else { result }
}

fn remove_segment(system: &System, seen: &Object, seen_sysv: &SysV, how: Removal) -> Result<Outcome, Error> {
    let id = seen_sysv.id;
    for _ in 0..MAX_LOOKS {
        let now = lookup(system, id, Needs::empty())?.ok_or_else(|| gone(system, &Attempt::Remove(id)))?;
        check(system, seen, seen_sysv, &now, how)?;
        if now.sysv().nattch == 0 || how.force {
            return if how.dry_run { would_remove(system, &now) } else { remove_now(system, id) };
        }
        // Its users have exited.
    }
    let message = format!("cannot remove segment {id}: processes keep attaching and detaching it");
    Err(Error::new(Kind::Refused, message).target(id.to_string()))
}

/// Fails if a segment may not be removed. Finds its users, and waits for those that are exiting. If none is left, the
/// segment must be read again.
fn check(system: &System, seen: &Object, seen_sysv: &SysV, now: &Object, how: Removal) -> Result<(), Error> {
    let id = seen_sysv.id;
    if !now.is_same_segment(seen) || (how.unchanged_only && !now.has_same_attributes(seen)) {
        return Err(Error::new(Kind::Refused, format!("cannot remove segment {id}: it has changed since the lookup"))
            .target(id.to_string())
            .hint("show it again", shmadm(format!("stat {id}"))));
    }
    if now.sysv().nattch > 0 && !how.force {
        let refusal = attached_refusal(system, now, format!("cannot remove segment {id}: it is attached"));
        return refusal.map_or(Ok(()), |refusal| Err(with_remedy(system, now, refusal)));
    }
    if how.unchanged_only && seen_sysv.nattch == 0 && now.sysv().usage() != seen_sysv.usage() {
        let refusal =
            Error::new(Kind::Refused, format!("cannot remove segment {id}: it has been used since the listing"))
                .target(id.to_string());
        return Err(match now.sysv().nattch {
            0 => refusal
                .hint("show the last user", shmadm(format!("stat {id}")))
                .hint("remove anyway", again("").without(&["from"]).on(id.to_string())),
            _ => refusal.hint("list the processes that have it attached", shmadm(format!("who {id}"))),
        });
    }
    Ok(())
}

/// Adds to the refusal to remove an attached segment what the caller can do.
fn with_remedy(system: &System, now: &Object, refusal: Error) -> Error {
    let id = now.sysv().id;
    let refusal = match may_control(system, now) {
        Some(false) if system.may_be_unmapped(Account::User, now.uid) => refusal.also(OUTSIDE),
        Some(false) => {
            let mut users = Vec::new();
            for user in [system.user(now.uid), system.user(now.sysv().cuid), "root".to_owned()] {
                if !users.contains(&user) {
                    users.push(user);
                }
            }
            refusal.also(&format!("only {} can remove it", users.join(" or ")))
        }
        _ => refusal,
    };
    if has_only_own_holders(system, now) {
        refusal.hint("end your background attachments first", shmadm(format!("detach {id}")))
    } else if now.sysv().dest {
        refusal.hint(
            "it is already marked for destruction; list the processes that must detach",
            shmadm(format!("who {id}")),
        )
    } else if may_control(system, now) == Some(false) {
        refusal
    } else {
        refusal.hint(
            "mark for destruction, which frees the key now and the memory at the last detach",
            again("--force").on(id.to_string()),
        )
    }
}

/// Returns whether all attachments are those of the caller's holders, which `detach` ends.
fn has_only_own_holders(system: &System, object: &Object) -> bool {
    // The refusal is correct without this hint, too.
    holders(system, object).is_ok_and(|holders| holders.len() as u64 == object.sysv().nattch)
}

/// Why [`clean`] keeps a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeepReason {
    AlreadyRemoved,
    /// The id belongs to another segment, or its owner, mode or key was changed.
    Changed,
    Attached,
    /// Attached and detached again.
    Used,
    /// It now has this state.
    State(State),
    /// It is a POSIX object.
    File(Failure),
}

impl KeepReason {
    /// Returns the reason, for one segment or object or several.
    pub(crate) fn reason(self) -> String {
        match self {
            Self::AlreadyRemoved => "already removed".to_owned(),
            Self::Changed => "changed since the listing".to_owned(),
            Self::Attached => "attached since the listing".to_owned(),
            Self::Used => "used since the listing".to_owned(),
            Self::State(state) => format!("now in state {}", state.as_str()),
            Self::File(failure) => failure.reason(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cleaned {
    Removed(Removed),
    Kept(KeepReason),
}

/// Removes a segment if nothing about it has changed since it was seen.
///
/// The state is checked first, since that takes longest. The record is read once more right before IPC_RMID.
/// Returns `Permission` without the right to remove it, or an error if it cannot be read.
pub(crate) fn clean(system: &System, seen: &Object, dry_run: bool) -> Result<Cleaned, Error> {
    let id = seen.sysv().id;
    let kept = |now: Option<&Object>| match now {
        None => Some(KeepReason::AlreadyRemoved),
        Some(now) if !now.is_same_segment(seen) || !now.has_same_attributes(seen) => Some(KeepReason::Changed),
        Some(now) if now.sysv().nattch > 0 || now.sysv().dest => Some(KeepReason::Attached),
        Some(now) if now.sysv().usage() != seen.sysv().usage() => Some(KeepReason::Used),
        Some(_) => None,
    };
    let first = lookup(system, id, Needs::empty())?;
    if let Some(reason) = kept(first.as_ref()) {
        return Ok(Cleaned::Kept(reason));
    }
    let state = state_now(system, seen);
    if Some(state) != seen.state {
        return Ok(Cleaned::Kept(KeepReason::State(state)));
    }
    if dry_run {
        return would_remove(system, seen).map(|outcome| Cleaned::Removed(outcome.into())).map_err(would_fail);
    }
    let last = lookup(system, id, Needs::empty())?;
    if let Some(reason) = kept(last.as_ref()) {
        return Ok(Cleaned::Kept(reason));
    }
    match remove_now(system, id) {
        Err(error) if error.kind == Kind::NotFound => Ok(Cleaned::Kept(KeepReason::AlreadyRemoved)),
        outcome => outcome.map(|outcome| Cleaned::Removed(outcome.into())),
    }
}

/// Returns the outcome of IPC_RMID, or the error with which it would fail, for a dry run.
fn would_remove(system: &System, segment: &Object) -> Result<Outcome, Error> {
    let id = segment.sysv().id;
    if may_control(system, segment) == Some(false) {
        let failure = SysError { errno: Errno::EPERM, call: "shmctl IPC_RMID" };
        let message = format!("cannot remove segment {id}: not permitted");
        return Err(Error { message, ..explain(system, &Attempt::Remove(id), failure) });
    }
    Ok(if segment.is_in_use() { Outcome::Marked } else { Outcome::Destroyed })
}

fn remove_now(system: &System, id: ShmId) -> Result<Outcome, Error> {
    sys::remove(id).map_err(|error| explain(system, &Attempt::Remove(id), error))?;
    // A process may have attached or detached in the meantime: whether the segment still exists decides.
    match sys::stat(id) {
        Err(SysError { errno: Errno::EINVAL | Errno::EIDRM, .. }) => Ok(Outcome::Destroyed),
        // Another segment has the id by now.
        Ok(now) if !now.is_marked() => Ok(Outcome::Destroyed),
        Ok(_) | Err(SysError { errno: Errno::EACCES, .. }) => Ok(Outcome::Marked),
        Err(error) => {
            let message = format!("removed segment {id}, but cannot determine whether it is still attached");
            Err(Error::new(Kind::Failed, message).os(error.errno, error.call))
        }
    }
}
