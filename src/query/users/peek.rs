//! The file that an attachment maps: reading through it, and its page size.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;

use super::attachers::add_attachers;
use super::origin::map_file;
use super::scan::{inode_of, own_mapping};
use super::threads::with_any_thread;
use crate::model::Object;
use crate::query::failure::QueryError;
use crate::query::host::{System, page_size_on, segment_devices};

/// Why an object cannot be opened through another process.
#[derive(Debug)]
pub(crate) enum PeekError {
    Query(QueryError),
    Denied,
    Exited(io::Error),
    /// No process is certain to have it attached.
    NotFound,
}

/// Opens a segment through another process's attachment, so that it can be read without attaching it.
pub(crate) fn open_via_attacher(system: &System, segment: &Object) -> Result<File, PeekError> {
    let mut segments = [segment.clone()];
    add_attachers(system, &mut segments).map_err(PeekError::Query)?;
    let attachers = segments[0].attachers.clone().unwrap_or_default();
    let mut last = PeekError::NotFound;
    for attacher in attachers.list.iter().filter(|attacher| attacher.certain) {
        let end = attacher.address + attacher.size;
        let open = |thread| File::open(system.proc().join(map_file(thread, attacher.address, end)));
        match with_any_thread(system, attacher.pid, attacher.pid, open) {
            Ok(file) if file.metadata().is_ok_and(|file| file.ino() == inode_of(segment.sysv().id)) => return Ok(file),
            // Another file was mapped there meanwhile.
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::PermissionDenied => last = PeekError::Denied,
            Err(error) => last = PeekError::Exited(error),
        }
    }
    Err(last)
}

/// The mapping of one of this process's attachments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backing {
    /// Mapped bytes: the segment's size rounded up to whole pages.
    pub(crate) length: u64,
    pub(crate) page: u64,
}

/// Returns the mapping of this process's attachment at an address; `None` if /proc does not show it.
pub(crate) fn backing(system: &System, address: u64) -> Option<Backing> {
    let devices = segment_devices().ok()?;
    let mapping = own_mapping(system, &devices, address)?;
    let page = page_size_on(mapping.device, system.page_size())?;
    Some(Backing { length: mapping.end - mapping.start, page })
}

/// Returns the huge page size of this process's attachment at an address; `None` for ordinary pages.
pub(crate) fn huge_page_size_at(address: u64) -> Option<u64> {
    let system = System::new();
    backing(&system, address).map(|backing| backing.page).filter(|page| *page != system.page_size())
}
