//! Reads the contents of a segment without allocating memory for its holes.
//!
//! Reading a hole through an attachment allocates it. Reading the file behind the attachment (/proc/self/map_files, or
//! another process's with `--peek`) does not, but requires privilege. Without the file, mincore(2) shows which pages are
//! resident. Since it does not distinguish pages in swap from holes, it is trusted only if there is no swap, or if nothing
//! was swapped out in the meantime (`query::Swap`). It is never trusted for huge pages, of which it knows only those
//! that this process has touched. If neither works and not all pages exist, reading is refused without
//! `--allow-allocation`.
//!
//! Neither mincore nor the file shows which huge pages exist. They are read through the file, which returns zeros for
//! missing ones, and zeros are dumped as holes.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};

use super::Range;
use super::transfer::{failed, fault};
use crate::error::{Error, Invocation, Kind, again};
use crate::explain::cannot_peek;
use crate::model::{Needs, Object, ShmId};
use crate::procfs;
use crate::query::{self, Swap, System, backing, open_via_attacher};
use crate::sys::{Attachment, Errno, next_data};

/// The bytes of one mincore(2) call, which returns one byte per page.
const MINCORE_BYTES: usize = 1 << 30;
/// The size from which mapping pages ahead is faster than page faults.
const MIN_POPULATE: usize = 64 << 10;
/// How often mincore(2) is tried if pages may have been swapped out in the meantime.
const MINCORE_ATTEMPTS: usize = 3;

/// Whether reading may allocate holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allocation {
    Refused,
    Allowed,
}

/// A part of a segment, up to an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Data(u64),
    /// Memory that was never allocated and reads as zeros.
    Hole(u64),
}

impl Part {
    /// Returns the offset after the part.
    pub(crate) fn end(self) -> u64 {
        match self {
            Self::Data(end) | Self::Hole(end) => end,
        }
    }
}

/// How the bytes are read.
#[derive(Debug)]
enum Backend {
    /// Through the file behind an attachment of this or another process.
    File(File),
    /// Through the attachment of this process, in which these ranges are data.
    Mapping(Vec<(u64, u64)>),
}

/// The contents of a segment.
#[derive(Debug)]
pub(crate) struct Source {
    id: ShmId,
    size: u64,
    /// The page size, if known.
    page: Option<u64>,
    backend: Backend,
    /// `None` if another process's attachment is used.
    attachment: Option<Attachment>,
}

impl Source {
    /// Reads a range through an attachment of this process.
    ///
    /// # Errors
    /// Refuses if reading would or might allocate memory, unless `allocation` allows that.
    pub(crate) fn attached(
        system: &System,
        attachment: Attachment,
        range: Range,
        allocation: Allocation,
    ) -> Result<Self, Error> {
        let (id, size) = (attachment.id(), attachment.size());
        let (file, page) = open_backing(system, &attachment);
        let backend = match file {
            Some(file) => Backend::File(file),
            None => Backend::Mapping(Self::find_data(system, &attachment, page, range, allocation)?),
        };
        Ok(Self { id, size, page, backend, attachment: Some(attachment) })
    }

    /// Uses an attachment of this process to find extents, without reading.
    pub(crate) fn inspect(system: &System, attachment: Attachment) -> Self {
        let (file, page) = open_backing(system, &attachment);
        let backend = file.map_or_else(|| Backend::Mapping(Vec::new()), Backend::File);
        Self { id: attachment.id(), size: attachment.size(), page, backend, attachment: Some(attachment) }
    }

    /// Reads through another process's attachment, which does not change the record of the segment (`--peek`).
    /// `otherwise` is the command that the hint suggests if that is not possible.
    ///
    /// # Errors
    /// Fails if no visible process has it attached, or if the caller lacks the right.
    pub(crate) fn via_peer(system: &System, segment: &Object, otherwise: Invocation) -> Result<Self, Error> {
        let file =
            open_via_attacher(system, segment).map_err(|error| cannot_peek(system, segment, error, otherwise))?;
        let metadata = file.metadata().ok();
        let size = metadata.as_ref().map_or(segment.size, MetadataExt::size).min(segment.size);
        let page = metadata.map(|file| file.blksize());
        Ok(Self { id: segment.sysv().id, size, page, backend: Backend::File(file), attachment: None })
    }

    /// Finds the data of a range again, before it is read again.
    pub(crate) fn refresh(&mut self, system: &System, range: Range, allocation: Allocation) -> Result<(), Error> {
        if let (Backend::Mapping(data), Some(attachment)) = (&mut self.backend, &self.attachment) {
            *data = Self::find_data(system, attachment, self.page, range, allocation)?;
        }
        Ok(())
    }

    /// Finds the data of a range with mincore(2).
    fn find_data(
        system: &System,
        attachment: &Attachment,
        page: Option<u64>,
        range: Range,
        allocation: Allocation,
    ) -> Result<Vec<(u64, u64)>, Error> {
        let whole = vec![(range.offset, range.end)];
        if range.length() == 0 {
            return Ok(Vec::new());
        }
        let id = attachment.id();
        let ordinary = page == Some(system.page_size());
        if ordinary {
            for _ in 0..MINCORE_ATTEMPTS {
                let before = Swap::now(system, id);
                let data = resident(system, attachment, range)
                    .map_err(|errno| failed(id, range.offset, "inspect", errno, "mincore"))?;
                if before.rules_out(Swap::now(system, id)) {
                    return Ok(data);
                }
            }
        }
        let is_complete =
            || if ordinary { is_fully_allocated(system, id) } else { is_fully_allocated_huge(system, id, page) };
        if allocation == Allocation::Allowed || is_complete() {
            return Ok(whole);
        }
        let why = match page {
            Some(_) if ordinary => "they may be in swap",
            Some(_) => "they are huge",
            None => "/proc does not show whether they are huge",
        };
        Err(Error::new(Kind::Refused, format!("cannot read segment {id}: reading could allocate memory for its holes"))
            .target(id.to_string())
            .cause(format!("cannot determine which of its pages exist ({why}); reading a missing page allocates it"))
            .hint("read it anyway", again("--allow-allocation"))
            .hint("read it as root, which allocates no memory", again("").sudo()))
    }

    pub(crate) fn id(&self) -> ShmId {
        self.id
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Returns the page size of the segment, or that of an ordinary page if it is not known.
    pub(crate) fn page(&self, system: &System) -> u64 {
        self.page.unwrap_or_else(|| system.page_size())
    }

    /// Returns whether the segment has, or may have, huge pages.
    pub(super) fn is_huge(&self, system: &System) -> bool {
        self.page != Some(system.page_size())
    }

    /// Returns the allocated bytes as the file behind the segment reports them, which is exact for huge pages.
    pub(crate) fn resident(&self) -> Option<u64> {
        // st_blocks counts in 512 bytes (stat(3type)).
        self.file().and_then(|file| file.metadata().ok()).map(|file| file.blocks() * 512)
    }

    pub(super) fn file(&self) -> Option<&File> {
        match &self.backend {
            Backend::File(file) => Some(file),
            Backend::Mapping(_) => None,
        }
    }

    pub(super) fn attachment(&self) -> Option<&Attachment> {
        self.attachment.as_ref()
    }

    pub(crate) fn into_attachment(self) -> Option<Attachment> {
        self.attachment
    }

    /// Returns start and end of the first data at or after an offset.
    pub(super) fn next_data(&self, offset: u64) -> Result<Option<(u64, u64)>, Error> {
        match &self.backend {
            Backend::File(file) => {
                next_data(file.as_fd(), offset).map_err(|errno| failed(self.id, offset, "inspect", errno, "lseek"))
            }
            Backend::Mapping(data) => {
                let index = data.partition_point(|(_, until)| *until <= offset);
                Ok(data.get(index).map(|(start, until)| ((*start).max(offset), *until)))
            }
        }
    }

    /// Returns the part that begins at an offset of a range that ends at `end`.
    pub(crate) fn part(&self, offset: u64, end: u64) -> Result<Part, Error> {
        Ok(match self.next_data(offset)? {
            Some((start, until)) if start <= offset => Part::Data(until.min(end)),
            Some((start, _)) => Part::Hole(start.min(end)),
            None => Part::Hole(end),
        })
    }

    /// Copies data into a buffer.
    pub(crate) fn copy_out(&self, offset: u64, bytes: &mut [u8]) -> Result<(), Error> {
        match (&self.backend, &self.attachment) {
            (Backend::Mapping(_), Some(attachment)) => {
                if bytes.len() >= MIN_POPULATE {
                    // The pages exist, and mapping them in one call is faster than one fault per page.
                    attachment.populate_read(offset, bytes.len());
                }
                attachment
                    .copy_out(offset, bytes)
                    .map_err(|errno| fault(attachment, offset, "read", errno, "process_vm_readv"))
            }
            (Backend::File(file), _) => file.read_exact_at(bytes, offset).map_err(|error| {
                let errno = error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
                failed(self.id, offset, "read", errno, "pread")
            }),
            (Backend::Mapping(_), None) => Err(failed(self.id, offset, "read", Errno::EFAULT, "process_vm_readv")),
        }
    }
}

/// Opens the file behind an attachment, if permitted, and returns its page size, if known.
fn open_backing(system: &System, attachment: &Attachment) -> (Option<File>, Option<u64>) {
    let ordinary = attachment.size().next_multiple_of(system.page_size());
    let page = |file: &File| file.metadata().ok().map(|file| file.blksize());
    match attachment.open_backing(ordinary) {
        Ok(file) => {
            let page = page(&file);
            (Some(file), page)
        }
        Err(_) => match backing(system, attachment.address()) {
            // With huge pages, the mapping is longer: it is rounded up to a huge page.
            Some(backing) if backing.length != ordinary => {
                (attachment.open_backing(backing.length).ok(), Some(backing.page))
            }
            backing => (None, backing.map(|backing| backing.page)),
        },
    }
}

/// Returns the resident parts of a range, as found by mincore(2).
pub(super) fn resident(system: &System, attachment: &Attachment, range: Range) -> Result<Vec<(u64, u64)>, Errno> {
    let page = system.page_size();
    let page_size = usize::try_from(page).map_err(|_| Errno::EOVERFLOW)?;
    let mut data: Vec<(u64, u64)> = Vec::new();
    let mut offset = range.offset - range.offset % page;
    while offset < range.end {
        let length = usize::try_from(range.end - offset).map_or(MINCORE_BYTES, |left| left.min(MINCORE_BYTES));
        let mut start = offset;
        for is_resident in attachment.residency(offset, length, page_size)? {
            let end = (start + page).min(range.end);
            match data.last_mut() {
                Some((_, until)) if is_resident && *until == start => *until = end,
                _ if is_resident => data.push((start.max(range.offset), end)),
                _ => {}
            }
            start += page;
        }
        offset += length as u64;
    }
    Ok(data)
}

/// Returns whether all pages of a segment are resident or in swap, so that reading allocates none.
fn is_fully_allocated(system: &System, id: ShmId) -> bool {
    let segment = query::lookup(system, id, Needs::RESIDENT).ok().flatten();
    segment.is_some_and(|segment| segment.rss.zip(segment.swap).is_some_and(|(rss, swap)| rss + swap >= segment.size))
}

/// Like [`is_fully_allocated`], for huge pages. Since Linux 6.7, the kernel reports each resident huge page multiplied by
/// the number of ordinary pages in it. Only the value for all pages is unambiguous.
fn is_fully_allocated_huge(system: &System, id: ShmId, page: Option<u64>) -> bool {
    let Some(page) = page else { return false };
    let row = procfs::find_segment(system.proc(), id).ok().flatten();
    let factor = page / system.page_size();
    row.is_some_and(|row| row.rss.is_some_and(|rss| rss / factor >= row.size.next_multiple_of(page)))
}
