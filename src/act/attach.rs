//! Attaching a segment in this process.

use crate::error::{Error, Kind};
use crate::model::{Access, Segment};
use crate::query::{Attempt, System, explain, rmid_forced};
use crate::sys::{Address, Attachment};

/// What an attachment of ours is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// To look or to write and detach again, after which the segment must still be there.
    Passing,
    /// To hold it, knowing what the last detach does.
    Holding,
}

/// Attaches a segment where the kernel likes.
///
/// # Errors
/// shmat's; and a refusal where the detach that follows would destroy the segment (`kernel.shm_rmid_forced`).
pub(crate) fn attach(
    system: &System,
    segment: &Segment,
    access: Access,
    address: Address,
    exec: bool,
    purpose: Use,
) -> Result<Attachment, Error> {
    let forced = if purpose == Use::Passing && segment.nattch == 0 { rmid_forced(system) } else { Some(false) };
    if forced != Some(false) {
        let (would, cause) = match forced {
            None => {
                ("could", "/proc does not tell whether kernel.shm_rmid_forced is 1: then the last detach destroys it")
            }
            Some(_) => {
                ("would", "kernel.shm_rmid_forced is 1, and nobody has it attached: the last detach destroys it")
            }
        };
        let message = format!("refused to attach segment {}: the detach that follows {would} destroy it", segment.id);
        return Err(Error::new(Kind::Refused, message)
            .target(segment.id.to_string())
            .cause(cause)
            .hint(format!("hold it meanwhile: `shmadm attach {} --background`", segment.id)));
    }
    Attachment::new(segment.id, access, exec, address).map_err(|error| {
        let attempt = Attempt::Attach { id: segment.id, access, exec, address };
        explain(system, &attempt, error)
    })
}

/// Detaches, and tells if that fails.
///
/// # Errors
/// shmdt's, which only a corrupted process can see.
pub(crate) fn detached(system: &System, attachment: Attachment) -> Result<(), Error> {
    let id = attachment.id();
    attachment.detach().map_err(|error| explain(system, &Attempt::Detach(id), error))
}
