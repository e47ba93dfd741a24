//! Attaches a segment, or maps a POSIX object, in this process.

use std::os::fd::AsFd;

use crate::error::{Error, Kind, shmadm};
use crate::explain::{Attempt, cannot_map, explain, mount_proc, open_to_map};
use crate::model::{Access, Object};
use crate::query::{System, rmid_forced};
use crate::sys::{Address, Attachment, Held, MappedFile};

/// How long an attachment is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// Detached as soon as bytes are copied. The segment must survive that.
    Transient,
    /// Kept until the user or a signal ends it.
    Persistent,
}

/// Attaches a segment.
/// Fails as shmat(2), or refuses if a transient attachment would destroy the segment (`kernel.shm_rmid_forced`).
pub(crate) fn attach(
    system: &System,
    segment: &Object,
    access: Access,
    address: Address,
    exec: bool,
    lifetime: Lifetime,
) -> Result<Attachment, Error> {
    let id = segment.sysv().id;
    let is_last_detach = lifetime == Lifetime::Transient && segment.sysv().nattch == 0;
    let forced = if is_last_detach { rmid_forced(system) } else { Some(false) };
    if forced != Some(false) {
        let (would, cause) = match forced {
            None => ("could", "cannot read kernel.shm_rmid_forced; if it is 1, the last detach destroys the segment"),
            Some(_) => {
                ("would", "kernel.shm_rmid_forced is 1 and the segment is not attached: the last detach destroys it")
            }
        };
        let message = format!("cannot attach segment {id}: the detach that follows {would} destroy it");
        let read_only = if access == Access::ReadOnly { "--read-only " } else { "" };
        let error = Error::new(Kind::Refused, message).target(id.to_string()).cause(cause);
        // A holder is this program, which is executed again through /proc.
        return Err(match system.proc_problem() {
            None => error.hint("keep it attached", shmadm(format!("attach {id} {read_only}--background"))),
            Some(_) => error.with(mount_proc()),
        });
    }
    Attachment::new(id, access, exec, address)
        .map_err(|error| explain(system, &Attempt::Attach { id, access, exec, address, remap: false }, error))
}

/// Attaches a segment, or maps a POSIX object, until the user or a signal ends it.
pub(crate) fn hold(
    system: &System,
    object: &Object,
    access: Access,
    address: Address,
    exec: bool,
) -> Result<Held, Error> {
    if object.is_segment() {
        return attach(system, object, access, address, exec, Lifetime::Persistent).map(Held::Segment);
    }
    let file = open_to_map(system, object, access)?;
    let mapped = MappedFile::new(file.as_fd(), access, exec);
    mapped.map(Held::Object).map_err(|error| cannot_map(system, object, error))
}

/// Detaches or unmaps, and reports a failure that dropping it would ignore.
pub(crate) fn release(system: &System, held: Held) -> Result<(), Error> {
    match held {
        Held::Segment(attachment) => detach_checked(system, attachment),
        Held::Object(_) => Ok(()),
    }
}

/// Detaches, and reports a failure that dropping the attachment would ignore.
pub(crate) fn detach_checked(system: &System, attachment: Attachment) -> Result<(), Error> {
    let id = attachment.id();
    attachment.detach().map_err(|error| explain(system, &Attempt::Detach(id), error))
}
