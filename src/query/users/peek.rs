//! The file that a process has open or mapped: reading through it, and the page size of an attachment.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::attachers::with_attachers;
use super::origin::map_file;
use super::scan::{inode_of, own_mapping};
use super::threads::with_any_thread;
use crate::model::{FileId, FileUsers, Object};
use crate::query::failure::QueryError;
use crate::query::host::{System, page_size_on, segment_devices};
use crate::sys::{self, Errno};

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
    let segment = match segment.attachers {
        None => &with_attachers(system, segment).map_err(PeekError::Query)?,
        Some(_) => segment,
    };
    let attachers = segment.attachers.clone().unwrap_or_default();
    // A process in another namespace can have attached another segment with this id by now.
    let certain = attachers.list.iter().filter(|user| user.certain && user.ns == segment.ipc_namespace());
    let links = certain.map(|attacher| (attacher.pid, Link::mapping(attacher.address, attacher.size)));
    let is_it = |file: &File| file.metadata().is_ok_and(|file| file.ino() == inode_of(segment.sysv().id));
    open_through(system, links, |link| File::open(link), is_it).map_err(|last| match last {
        None => PeekError::NotFound,
        Some(error) if error.kind() == ErrorKind::PermissionDenied => PeekError::Denied,
        Some(error) => PeekError::Exited(error),
    })
}

/// Returns a descriptor that refers to the file of an object through a process that uses it, without opening the file.
pub(in crate::query) fn refer_via_user(
    system: &System,
    file: FileId,
    users: Option<&FileUsers>,
) -> Result<OwnedFd, Errno> {
    let links =
        users.into_iter().flat_map(|users| &users.list).filter_map(|user| match (user.fd, user.address, user.size) {
            (Some(fd), ..) => Some((user.pid, Link::Descriptor(fd))),
            (None, Some(start), Some(size)) => Some((user.pid, Link::mapping(start, size))),
            _ => None,
        });
    let is_it = |found: &OwnedFd| sys::stat_file(found.as_fd()).is_ok_and(|stat| stat.file == file);
    let refer = |link: &Path| sys::refer_through(link).map_err(io::Error::from);
    open_through(system, links, refer, is_it).map_err(|last| last.map_or(Errno::ENOENT, |error| sys::errno_of(&error)))
}

/// A link to a file below /proc/PID.
enum Link {
    Descriptor(i32),
    /// The start of a mapping, and the address after its last byte.
    Mapping(u64, u64),
}

impl Link {
    fn mapping(start: u64, size: u64) -> Self {
        Self::Mapping(start, start + size)
    }

    /// Returns its path, below /proc.
    fn of_thread(&self, thread: i32) -> String {
        match self {
            Self::Descriptor(number) => format!("{thread}/fd/{number}"),
            Self::Mapping(start, end) => map_file(thread, *start, *end),
        }
    }
}

/// Opens a file through the first of some links of processes that still leads to it. Fails with the last error, if
/// there was any.
fn open_through<T>(
    system: &System,
    links: impl IntoIterator<Item = (i32, Link)>,
    open: impl Fn(&Path) -> io::Result<T>,
    is_it: impl Fn(&T) -> bool,
) -> Result<T, Option<io::Error>> {
    let mut last = None;
    for (pid, link) in links {
        let of_thread = |thread| match open(&system.proc().join(link.of_thread(thread))) {
            // The process has opened or mapped another file there meanwhile, or the descriptor is one of another
            // thread.
            Ok(file) if !is_it(&file) => Err(Errno::ENOENT.into()),
            result => result,
        };
        match with_any_thread(system, pid, pid, of_thread) {
            Ok(file) => return Ok(file),
            Err(error) => last = Some(error),
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
