//! The segment of a PostgreSQL server, which names the object that lists the others.
//!
//! Only its contents show that, and any process of the same user can forge them. Therefore a segment can keep an
//! object, but never make it an orphan.

use std::collections::HashSet;

use super::host::System;
use super::inventory::inventory;
use super::users::{add_attachers, open_via_attacher};
use crate::model::{Claim, Needs, Object};

pub(super) const POSTGRESQL: &str = "postgresql";
/// src/include/storage/pg_shmem.h: PGShmemMagic.
const SEGMENT_MAGIC: u32 = 679_834_894;

/// The header of the segment (PGShmemHeader).
pub(super) struct Header {
    /// The pid of the server in its own pid namespace.
    creator: i32,
    /// The number in the name of the object that lists the others.
    pub(super) control: u32,
}

impl Header {
    /// Reads it through a process that has the segment attached: attaching it would change its record.
    pub(super) fn read(system: &System, segment: &Object) -> Option<Self> {
        // magic, creator's pid, total size, offset of the free space, number of the control object.
        let mut bytes = [0; 28];
        let file = open_via_attacher(system, segment).ok()?;
        let read = nix::sys::uio::pread(&file, &mut bytes, 0).ok()?;
        let word = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let is_header = read == bytes.len() && word(0)? == SEGMENT_MAGIC;
        is_header.then_some(Self { creator: word(4)?.cast_signed(), control: word(24)? })
    }
}

pub(super) fn is_of_server(object: &Object) -> bool {
    object.product.as_deref() == Some(POSTGRESQL)
}

/// Adds a claim and the creator to those of a server's objects that a segment of their owner names, while a process has
/// it attached and the caller may read it.
pub(super) fn add_claims<'a>(system: &System, objects: impl IntoIterator<Item = &'a mut Object>) {
    let mut objects: Vec<&mut Object> = objects.into_iter().collect();
    let owners: HashSet<u32> = objects.iter().map(|object| object.uid).collect();
    if owners.is_empty() {
        return;
    }
    let mut segments = inventory(system, Needs::NAMESPACE).unwrap_or_default();
    segments.retain(|segment| segment.sysv().nattch > 0 && owners.contains(&segment.sysv().cuid));
    // Without the processes, no segment is read.
    let _ = add_attachers(system, &mut segments);
    for segment in &segments {
        let Some(header) = Header::read(system, segment) else { continue };
        let name = format!("PostgreSQL.{}", header.control);
        let attachers = segment.attachers.as_deref().map(|attachers| &*attachers.list).unwrap_or_default();
        let is_attached = attachers.iter().any(|attacher| attacher.pid == header.creator);
        let creator = if is_attached { Some(header.creator) } else { segment.sysv().cpid };
        for object in objects.iter_mut().filter(|object| object.uid == segment.sysv().cuid) {
            let posix = object.posix_mut();
            if posix.name.as_ref().is_some_and(|own| own.file_name() == name.as_str()) {
                (posix.family.claim, posix.maker) = (Some(Claim::Segment), creator);
            }
        }
    }
}
