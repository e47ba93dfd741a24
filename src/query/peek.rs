//! The file behind an attachment, and what kind of file that is.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;

use super::origin::map_file;
use super::processes::{ask_a_thread, huge_page_on, inode_of, own_mapping};
use super::{System, add_attachers, rmid_forced};
use crate::error::{Error, Kind};
use crate::model::Segment;

/// Opens the file behind somebody's attachment of a segment, through which it can be read without attaching it;
/// where that cannot be, the error advises what is typed otherwise.
///
/// # Errors
/// Nobody has it attached; or nobody that can be seen, or the right to look through that is missing (Permission).
pub(crate) fn attached_file(system: &System, segment: &Segment, otherwise: &str) -> Result<File, Error> {
    let id = segment.id;
    let cannot = |kind: Kind, cause: String| {
        let error = Error::new(kind, format!("cannot peek into segment {id}"));
        let error = error.target(id.to_string()).cause(cause);
        // Its first detach would be its last.
        if segment.nattch == 0 && rmid_forced(system) != Some(false) {
            return error;
        }
        error.hint(format!("without --peek it is attached, which moves its times: `shmadm {otherwise}`"))
    };
    let mut segments = [segment.clone()];
    add_attachers(system, &mut segments)?;
    let attachers = segments[0].attachers.clone().unwrap_or_default();
    let mut last = None;
    for attacher in attachers.list.iter().filter(|attacher| attacher.certain) {
        let end = attacher.address + attacher.size;
        let open = |thread| File::open(system.proc().join(map_file(thread, attacher.address, end)));
        match ask_a_thread(system, attacher.pid, attacher.pid, open) {
            Ok(file) if file.metadata().is_ok_and(|file| file.ino() == inode_of(id)) => return Ok(file),
            // It was mapped anew meanwhile.
            Ok(_) => {}
            Err(error) => last = Some(error),
        }
    }
    Err(match last {
        Some(error) if error.kind() == ErrorKind::PermissionDenied => cannot(
            Kind::Permission,
            "it takes CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE to look through another process's attachment".to_owned(),
        ),
        Some(error) => cannot(Kind::Failed, format!("the process that had it attached is gone: {error}")),
        None if segment.nattch == 0 => {
            cannot(Kind::Failed, "it takes a process that has it attached, and nobody has".to_owned())
        }
        None => cannot(Kind::Permission, "no process that surely has it attached can be seen".to_owned()),
    })
}

/// What lies behind an attachment of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backing {
    /// Bytes that are mapped: the segment's size up to the end of its last page.
    pub(crate) length: u64,
    /// Bytes of a page.
    pub(crate) page: u64,
}

/// Tells what lies behind our attachment at an address; `None` if /proc does not show it.
pub(crate) fn backing(system: &System, address: u64) -> Option<Backing> {
    let devices = system.segment_devices().ok()?;
    let mapping = own_mapping(system, &devices, address)?;
    // The first one is the device of ordinary pages.
    let ordinary = devices.first() == Some(&mapping.device);
    let page = if ordinary { system.page_size() } else { huge_page_on(mapping.device)? };
    Some(Backing { length: mapping.end - mapping.start, page })
}

/// Gives the bytes of a page behind our attachment at an address, if pages there are huge.
pub(crate) fn huge_page_behind(address: u64) -> Option<u64> {
    let system = System::new();
    backing(&system, address).map(|backing| backing.page).filter(|page| *page != system.page_size())
}
