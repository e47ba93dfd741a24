//! The file that an attachment maps: reading through it, and its page size.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;

use super::origin::map_file;
use super::processes::{huge_page_on, inode_of, own_mapping, with_any_thread};
use super::{System, add_attachers, rmid_forced};
use crate::error::{Error, Kind};
use crate::model::Segment;

/// Opens a segment through another process's attachment, so that it can be read without attaching it. `otherwise` is
/// the command without `--peek`, for the hint.
///
/// # Errors
/// No process has the segment attached, or none that is visible, or the privilege is missing.
pub(crate) fn open_via_attacher(system: &System, segment: &Segment, otherwise: &str) -> Result<File, Error> {
    let id = segment.id;
    let cannot = |kind: Kind, cause: String| {
        let error = Error::new(kind, format!("cannot open segment {id} through another process"));
        let error = error.target(id.to_string()).cause(cause);
        // The detach after reading would destroy the segment.
        if segment.nattch == 0 && rmid_forced(system) != Some(false) {
            return error;
        }
        error.hint(format!("attach the segment, which updates its times and last user: `shmadm {otherwise}`"))
    };
    let mut segments = [segment.clone()];
    add_attachers(system, &mut segments)?;
    let attachers = segments[0].attachers.clone().unwrap_or_default();
    let mut last = None;
    for attacher in attachers.list.iter().filter(|attacher| attacher.certain) {
        let end = attacher.address + attacher.size;
        let open = |thread| File::open(system.proc().join(map_file(thread, attacher.address, end)));
        match with_any_thread(system, attacher.pid, attacher.pid, open) {
            Ok(file) if file.metadata().is_ok_and(|file| file.ino() == inode_of(id)) => return Ok(file),
            // Another file was mapped there meanwhile.
            Ok(_) => {}
            Err(error) => last = Some(error),
        }
    }
    Err(match last {
        Some(error) if error.kind() == ErrorKind::PermissionDenied => {
            cannot(Kind::Permission, "this requires CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE".to_owned())
        }
        Some(error) => cannot(Kind::Failed, format!("the process that had it attached has exited: {error}")),
        None if segment.nattch == 0 => cannot(Kind::Failed, "no process has it attached".to_owned()),
        None => cannot(Kind::Permission, "no visible process is certain to have it attached".to_owned()),
    })
}

/// The mapping of one of this process's attachments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backing {
    /// Mapped bytes: the segment's size rounded up to whole pages.
    pub(crate) length: u64,
    /// Page size in bytes.
    pub(crate) page: u64,
}

/// Returns the mapping of this process's attachment at an address; `None` if /proc does not show it.
pub(crate) fn backing(system: &System, address: u64) -> Option<Backing> {
    let devices = system.segment_devices().ok()?;
    let mapping = own_mapping(system, &devices, address)?;
    // The first device is that of ordinary pages.
    let ordinary = devices.first() == Some(&mapping.device);
    let page = if ordinary { system.page_size() } else { huge_page_on(mapping.device)? };
    Some(Backing { length: mapping.end - mapping.start, page })
}

/// Returns the huge page size of this process's attachment at an address; `None` for ordinary pages.
pub(crate) fn huge_page_size_at(address: u64) -> Option<u64> {
    let system = System::new();
    backing(&system, address).map(|backing| backing.page).filter(|page| *page != system.page_size())
}
