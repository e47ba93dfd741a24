//! Removing a segment, behind a rail: a wrong removal cannot be undone.

use nix::errno::Errno;

use crate::error::{Error, Kind};
use crate::model::{Needs, Segment, ShmId, State};
use crate::query::{Attempt, System, attached_refusal, explain, may_control, segment, state_now};
use crate::sys::{self, Subject, SysError};

/// What a removal came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The segment is gone.
    Destroyed,
    /// The segment has lost its key, and goes with its last attachment.
    Marked,
}

impl Outcome {
    /// Gives the contract's word.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Destroyed => "destroyed",
            Self::Marked => "marked",
        }
    }
}

/// How a segment shall be removed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Removal {
    /// Even if it is attached.
    pub(crate) force: bool,
    /// Only so far as to tell what would come of it.
    pub(crate) dry_run: bool,
    /// Only if nobody has used it since it was seen, unless it was attached then, and its owner has changed nothing.
    pub(crate) unused: bool,
}

/// Removes a segment that was seen before: looks again, compares, removes, with nothing in between.
///
/// It never attaches: that would erase who used the segment last, and guards nothing.
///
/// # Errors
/// The segment is gone (NotFound), attached (Refused), another one than was seen (Refused), or not ours (Permission).
pub(crate) fn remove(system: &System, seen: &Segment, how: Removal) -> Result<Outcome, Error> {
    let id = seen.id;
    let gone = || {
        let failure = SysError { errno: Errno::EINVAL, call: "shmctl IPC_STAT", target: Subject::Id(id) };
        explain(system, &Attempt::Remove(id), failure)
    };
    let now = segment(system, id, Needs::empty())?.ok_or_else(gone)?;
    if !now.is_still(seen) || (how.unused && !now.is_kept_like(seen)) {
        return Err(Error::new(
            Kind::Refused,
            format!("refused to remove segment {id}: it changed since it was looked at"),
        )
        .target(id.to_string())
        .hint(format!("look at it again: `shmadm stat {id}`")));
    }
    if now.nattch > 0 && !how.force {
        let refusal = attached_refusal(system, &now, format!("refused to remove segment {id}: it is in use"));
        return Err(if now.dest {
            refusal
                .hint(format!("it is marked for destruction already, and goes with its last detach: `shmadm who {id}`"))
        } else if may_control(system, &now) == Some(false) {
            let mut users = Vec::new();
            for user in [system.user(now.uid), system.user(now.cuid), "root".to_owned()] {
                if !users.contains(&user) {
                    users.push(user);
                }
            }
            refusal.hint(format!("only {} can remove it", users.join(" or ")))
        } else {
            refusal.hint(format!(
                "`shmadm rm --force {id}` marks it for destruction: it loses its key at once, and goes with its last \
                 detach"
            ))
        });
    }
    let usage = |segment: &Segment| (segment.lpid, segment.atime, segment.dtime);
    if how.unused && seen.nattch == 0 && usage(&now) != usage(seen) {
        return Err(Error::new(
            Kind::Refused,
            format!("refused to remove segment {id}: it was used since it was listed"),
        )
        .target(id.to_string())
        .hint(match now.nattch {
            0 => format!("`shmadm stat {id}` shows by whom; and `shmadm rm {id}` removes it all the same"),
            _ => format!("`shmadm who {id}` shows who has it attached now"),
        }));
    }
    if how.dry_run {
        return if may_control(system, &now) == Some(false) {
            Err(not_permitted(system, id))
        } else if now.nattch > 0 {
            Ok(Outcome::Marked)
        } else {
            Ok(Outcome::Destroyed)
        };
    }
    remove_now(system, id)
}

/// Why a segment that nobody seemed to need is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// It is gone already.
    Gone,
    /// Its id is now another segment's, or its owner, mode or key was changed.
    Changed,
    /// Somebody attached it.
    Attached,
    /// Somebody attached and detached it.
    Used,
    /// Whether somebody will come back for it is not what it was.
    State(State),
}

impl Kept {
    /// Says it for a report.
    pub(crate) fn reason(self) -> String {
        match self {
            Self::Gone => "it is gone already".to_owned(),
            Self::Changed => "it changed since it was looked at".to_owned(),
            Self::Attached => "it was attached since it was looked at".to_owned(),
            Self::Used => "it was used since it was looked at".to_owned(),
            Self::State(state) => format!("its state is {state} now"),
        }
    }
}

/// What a cleaner's removal came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cleaned {
    /// The segment was removed, or marked if somebody attached it at the last moment.
    Removed(Outcome),
    /// It is left alone.
    Kept(Kept),
}

/// Removes a segment that nobody needs if nothing at all about it has moved since it was seen.
///
/// Its processes are asked anew, and then the segment once more, so that nothing comes between the last look, in which
/// it is the same, unattached and not used since, and the removal. It never attaches.
///
/// # Errors
/// It is not ours to remove (Permission), or cannot be looked at.
pub(crate) fn clean(system: &System, seen: &Segment, dry_run: bool) -> Result<Cleaned, Error> {
    let id = seen.id;
    let kept = |now: Option<&Segment>| match now {
        None => Some(Kept::Gone),
        Some(now) if !now.is_still(seen) || !now.is_kept_like(seen) => Some(Kept::Changed),
        Some(now) if now.nattch > 0 || now.dest => Some(Kept::Attached),
        Some(now) if (now.lpid, now.atime, now.dtime) != (seen.lpid, seen.atime, seen.dtime) => Some(Kept::Used),
        Some(_) => None,
    };
    let first = segment(system, id, Needs::empty())?;
    if let Some(reason) = kept(first.as_ref()) {
        return Ok(Cleaned::Kept(reason));
    }
    let state = state_now(system, seen);
    if Some(state) != seen.state {
        return Ok(Cleaned::Kept(Kept::State(state)));
    }
    if dry_run {
        return if may_control(system, seen) == Some(false) {
            Err(not_permitted(system, id))
        } else {
            Ok(Cleaned::Removed(Outcome::Destroyed))
        };
    }
    let last = segment(system, id, Needs::empty())?;
    if let Some(reason) = kept(last.as_ref()) {
        return Ok(Cleaned::Kept(reason));
    }
    match remove_now(system, id) {
        Err(error) if error.kind == Kind::NotFound => Ok(Cleaned::Kept(Kept::Gone)),
        outcome => outcome.map(Cleaned::Removed),
    }
}

/// Makes the error of a removal that would be denied.
fn not_permitted(system: &System, id: ShmId) -> Error {
    let failure = SysError { errno: Errno::EPERM, call: "shmctl IPC_RMID", target: Subject::Id(id) };
    explain(system, &Attempt::Remove(id), failure)
}

/// Removes a segment, and tells what that came to.
fn remove_now(system: &System, id: ShmId) -> Result<Outcome, Error> {
    sys::remove(id).map_err(|error| explain(system, &Attempt::Remove(id), error))?;
    // An attachment may have come or gone meanwhile: only a third look tells what it came to.
    match sys::stat(id) {
        Err(SysError { errno: Errno::EINVAL | Errno::EIDRM, .. }) => Ok(Outcome::Destroyed),
        Ok(_) | Err(SysError { errno: Errno::EACCES, .. }) => Ok(Outcome::Marked),
        Err(error) => Err(Error::new(Kind::Failed, format!("removed segment {id}, but cannot see what came of it"))
            .os(error.errno, error.call)),
    }
}
