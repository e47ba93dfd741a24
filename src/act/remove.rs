//! Removing a segment, behind a rail: a wrong removal cannot be undone.

use nix::errno::Errno;

use crate::error::{Error, Kind};
use crate::model::{Needs, Segment};
use crate::query::{Attempt, System, attached_refusal, explain, may_control, segment, words};
use crate::sys::{self, On, SysError};

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
        let failure = SysError { errno: Errno::EINVAL, call: "shmctl IPC_STAT", target: On::Id(id) };
        explain(system, &Attempt::Remove(id), failure)
    };
    let now = segment(system, id, Needs::empty())?.ok_or_else(gone)?;
    if !now.is_still(seen) {
        return Err(Error::new(
            Kind::Refused,
            format!("refused to remove segment {id}: it changed since it was looked at"),
        )
        .target(id.to_string())
        .hint(format!("look at it again: `shmadm stat {id}`")));
    }
    if now.nattch > 0 && !how.force {
        let refusal = attached_refusal(system, &now, format!("refused to remove segment {id}: it is in use"));
        return Err(refusal.hint(format!(
            "`shmadm rm --force {id}` marks it for destruction: it loses its key at once, and goes with its last detach"
        )));
    }
    if how.dry_run {
        return if may_control(system, &now) == Some(false) {
            let error = SysError { errno: Errno::EPERM, call: "shmctl IPC_RMID", target: On::Id(id) };
            Err(explain(system, &Attempt::Remove(id), error))
        } else if now.nattch > 0 {
            Ok(Outcome::Marked)
        } else {
            Ok(Outcome::Destroyed)
        };
    }
    sys::remove(id).map_err(|error| explain(system, &Attempt::Remove(id), error))?;
    // An attachment may have come or gone meanwhile: only a third look tells what it came to.
    match sys::stat(id) {
        Err(SysError { errno: Errno::EINVAL | Errno::EIDRM, .. }) => Ok(Outcome::Destroyed),
        Ok(_) | Err(SysError { errno: Errno::EACCES, .. }) => Ok(Outcome::Marked),
        Err(error) => Err(Error::new(Kind::Failed, format!("removed segment {id}, but cannot see what came of it"))
            .system(words(error.errno, error.call))),
    }
}
