//! Reads the contents of an object without allocating memory for its holes.
//!
//! A POSIX object is read through its file. A segment has no file that can be opened by name:
//!
//! Reading a hole through an attachment allocates it. Reading the file behind the attachment (/proc/self/map_files, or
//! another process's with `--peek`) does not, but requires privilege. Without the file, mincore(2) shows which pages
//! are resident. Since it does not distinguish pages in swap from holes, it is trusted only if there is no swap, or if
//! nothing was swapped out in the meantime (`query::Swap`). It is never trusted for huge pages: it knows only those
//! that this process has touched. If neither works and not all pages exist, reading is refused without
//! `--allow-allocation`.
//!
//! Neither mincore nor the file shows which huge pages exist. They are read through the file, which returns zeros for
//! missing ones, and zeros are dumped as holes.

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};

use super::range::Range;
use super::transfer::{Sink, failed, fault};
use crate::error::{Error, Kind, again};
use crate::explain::{cannot_open, cannot_peek};
use crate::model::{Ident, Object, ShmId};
use crate::procfs;
use crate::query::{Swap, System, backing, open_file, open_via_attacher};
use crate::sys::{self, Attachment, Errno, Opening, next_data};

/// The bytes of one mincore(2) call, which returns one byte per page.
const MINCORE_BYTES: usize = 1 << 30;
/// How often mincore(2) is tried if pages may have been swapped out in the meantime.
const MINCORE_ATTEMPTS: usize = 3;

/// Whether reading may allocate holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allocation {
    Refused,
    Allowed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Data(Range),
    /// Memory that was never allocated and reads as zeros.
    Hole(Range),
}

#[derive(Debug)]
pub(super) enum Backend {
    /// Through the file behind an attachment of this process, which is kept, or of another one.
    File(File, Option<Attachment>),
    /// Through the attachment of this process, in which these ranges are data.
    Mapping(Attachment, Vec<Range>),
}

#[derive(Debug)]
pub(crate) struct Source {
    ident: Ident,
    size: u64,
    page: Option<u64>,
    pub(super) backend: Backend,
}

impl Source {
    /// Uses an attachment of this process. To read, it must be refreshed.
    pub(crate) fn attached(system: &System, attachment: Attachment) -> Self {
        let (id, size) = (attachment.id(), attachment.size());
        let (file, page) = open_backing(system, &attachment);
        let backend = match file {
            Some(file) => Backend::File(file, Some(attachment)),
            None => Backend::Mapping(attachment, Vec::new()),
        };
        Self { ident: id.into(), size, page, backend }
    }

    /// Reads through another process's attachment, which does not change the record of the segment (`--peek`).
    /// Fails if no visible process has it attached, or if the caller lacks the right.
    pub(crate) fn via_peer(system: &System, segment: &Object) -> Result<Self, Error> {
        let file = open_via_attacher(system, segment).map_err(|error| cannot_peek(system, segment, error))?;
        let metadata = file.metadata().ok();
        let size = metadata.as_ref().map_or(segment.size, MetadataExt::size).min(segment.size);
        let page = metadata.map(|file| file.blksize());
        Ok(Self { ident: segment.ident(), size, page, backend: Backend::File(file, None) })
    }

    /// Opens the file of a POSIX object. Reading it allocates nothing, and changes no time where that is permitted.
    pub(crate) fn file(system: &System, object: &Object, how: Opening) -> Result<Self, Error> {
        let verb = if how == Opening::Write { "write" } else { "read" };
        let file = open_file(system, object, how).map_err(|error| cannot_open(system, object, verb, error))?;
        let ident = object.ident();
        let failed = |errno, call| Error::call(format!("cannot {verb} {ident}"), errno, call).target(ident.argument());
        let stat = sys::stat_file(file.as_fd()).map_err(|errno| failed(errno, "statx"))?;
        let space = sys::file_system(file.as_fd()).map_err(|errno| failed(errno, "statfs"))?;
        // Transparent huge pages do not matter: SEEK_DATA and cachestat report them exactly.
        let page = match space {
            Some(space) if space.is_huge => {
                file.metadata().map_err(|error| failed(sys::errno_of(&error), "fstat"))?.blksize()
            }
            _ => system.page_size(),
        };
        Ok(Self { size: stat.size, page: Some(page), backend: Backend::File(file, None), ident })
    }

    /// Prepares to read a range: finds its data, and fails if a POSIX object has been shrunk. Refuses if reading would
    /// or might allocate memory, unless `allocation` allows that.
    pub(crate) fn refresh(&mut self, system: &System, range: Range, allocation: Allocation) -> Result<(), Error> {
        match &mut self.backend {
            Backend::Mapping(attachment, data) => {
                *data = find_data(system, attachment, self.page, range, allocation)?;
            }
            Backend::File(file, None) => {
                self.size = file.metadata().map_or(self.size, |file| file.size().min(self.size));
                Range::within(self.ident.clone(), self.size, range.offset, Some(range.length()))?;
            }
            Backend::File(_, Some(_)) => {}
        }
        Ok(())
    }

    pub(crate) fn ident(&self) -> &Ident {
        &self.ident
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

    /// Returns the allocated bytes as the file behind the segment reports them, which is exact for huge pages. Those of
    /// a POSIX object include swapped pages, which only its record distinguishes.
    pub(crate) fn resident(&self) -> Option<u64> {
        let (Ident::Id(_), Backend::File(file, _)) = (&self.ident, &self.backend) else { return None };
        // st_blocks counts in 512 bytes (stat(3type)).
        file.metadata().ok().map(|file| file.blocks() * 512)
    }

    /// Returns where to write to it. The file of a POSIX object must have been opened for writing.
    pub(crate) fn sink(&self) -> Sink<'_> {
        match &self.backend {
            Backend::File(_, Some(attachment)) | Backend::Mapping(attachment, _) => Sink::Attachment(attachment),
            Backend::File(file, None) => Sink::File(file, &self.ident),
        }
    }

    fn attachment(&self) -> Option<&Attachment> {
        match &self.backend {
            Backend::File(_, attachment) => attachment.as_ref(),
            Backend::Mapping(attachment, _) => Some(attachment),
        }
    }

    pub(crate) fn into_attachment(self) -> Option<Attachment> {
        match self.backend {
            Backend::File(_, attachment) => attachment,
            Backend::Mapping(attachment, _) => Some(attachment),
        }
    }

    /// Returns start and end of the first data at or after an offset.
    pub(super) fn next_data(&self, offset: u64) -> Result<Option<(u64, u64)>, Error> {
        match &self.backend {
            Backend::File(file, _) => {
                next_data(file.as_fd(), offset).map_err(|errno| self.failed(offset, "inspect", errno, "lseek"))
            }
            Backend::Mapping(_, data) => {
                let next = data.get(data.partition_point(|data| data.end <= offset));
                Ok(next.map(|data| (data.offset.max(offset), data.end)))
            }
        }
    }

    pub(super) fn parts(&self, range: Range) -> impl Iterator<Item = Result<Part, Error>> {
        let Range { mut offset, end } = range;
        std::iter::from_fn(move || {
            if offset >= end {
                return None;
            }
            let part = |until: u64| Range { offset, end: until.min(end) };
            let part = match self.next_data(offset) {
                Ok(Some((start, until))) if start <= offset => Part::Data(part(until)),
                Ok(next) => Part::Hole(part(next.map_or(end, |(start, _)| start))),
                Err(error) => return Some(Err(error)),
            };
            let (Part::Data(this) | Part::Hole(this)) = part;
            offset = this.end;
            Some(Ok(part))
        })
    }

    pub(super) fn copy_out(&self, offset: u64, bytes: &mut [u8]) -> Result<(), Error> {
        match &self.backend {
            Backend::File(file, _) => file.read_exact_at(bytes, offset).map_err(|error| {
                if error.kind() == ErrorKind::UnexpectedEof {
                    let message = format!("cannot read {} at offset {offset}: it was shrunk", self.ident);
                    return Error::new(Kind::Failed, message).target(self.ident.argument());
                }
                let errno = sys::errno_of(&error);
                self.failed(offset, "read", errno, "pread")
            }),
            Backend::Mapping(attachment, _) => attachment
                .copy_out(offset, bytes)
                .map_err(|errno| self.failed(offset, "read", errno, "process_vm_readv")),
        }
    }

    pub(super) fn failed(&self, offset: u64, verb: &str, errno: Errno, call: &'static str) -> Error {
        match self.attachment() {
            Some(attachment) => fault(attachment, offset, verb, errno, call),
            None => failed(self.ident.clone(), offset, verb, errno, call),
        }
    }
}

/// Finds the data of a range with mincore(2).
fn find_data(
    system: &System,
    attachment: &Attachment,
    page: Option<u64>,
    range: Range,
    allocation: Allocation,
) -> Result<Vec<Range>, Error> {
    if range.length() == 0 {
        return Ok(Vec::new());
    }
    let id = attachment.id();
    let ordinary = page == Some(system.page_size());
    if ordinary {
        let (data, others_are_holes) = resident_and_certainty(system, attachment, range)?;
        if others_are_holes {
            return Ok(data);
        }
    }
    if allocation == Allocation::Allowed || page.is_some_and(|page| is_fully_allocated(system, id, page)) {
        return Ok(vec![range]);
    }
    let why = match page {
        Some(_) if ordinary => "some may be in swap",
        Some(_) => "it uses huge pages",
        None => "/proc does not show whether it uses huge pages",
    };
    Err(Error::new(Kind::Refused, format!("cannot read segment {id}: reading could allocate memory for its holes"))
        .target(id.to_string())
        .cause(format!("cannot determine which of its pages exist ({why}); reading a missing page allocates it"))
        .hint("read it anyway", again("--allow-allocation"))
        .hint("read it as root, which allocates no memory", again("").sudo()))
}

/// Returns whether all pages of a segment are resident or in swap, so reading allocates none.
fn is_fully_allocated(system: &System, id: ShmId, page: u64) -> bool {
    let row = procfs::find_segment(system.proc(), id).ok().flatten();
    // Since Linux 6.7, the kernel reports each resident huge page multiplied by the number of ordinary pages in it.
    // Only the value for all pages is unambiguous.
    let factor = (page / system.page_size()).max(1);
    row.is_some_and(|row| {
        let allocated = row.rss.zip(row.swap).map(|(rss, swap)| rss / factor + swap);
        allocated >= Some(row.size.next_multiple_of(page))
    })
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

/// Returns the resident parts of a range, and whether all other pages are certainly holes: mincore(2) does not
/// distinguish those from pages in swap.
pub(super) fn resident_and_certainty(
    system: &System,
    attachment: &Attachment,
    range: Range,
) -> Result<(Vec<Range>, bool), Error> {
    let mut attempts = 1;
    loop {
        let before = Swap::now(system, attachment.id());
        let data = resident(system, attachment, range)?;
        let others_are_holes = before.rules_out(Swap::now(system, attachment.id()));
        if others_are_holes || attempts == MINCORE_ATTEMPTS {
            return Ok((data, others_are_holes));
        }
        attempts += 1;
    }
}

/// Returns the resident parts of a range, as found by mincore(2).
pub(super) fn resident(system: &System, attachment: &Attachment, range: Range) -> Result<Vec<Range>, Error> {
    let page = system.page_size();
    let page_size = usize::try_from(page).unwrap_or(usize::MAX);
    let mut data: Vec<Range> = Vec::new();
    let aligned = Range { offset: range.offset - range.offset % page, ..range };
    for (offset, length) in aligned.pieces(MINCORE_BYTES) {
        let pages = attachment.residency(offset, length, page_size);
        let pages = pages.map_err(|errno| failed(attachment.id(), offset, "inspect", errno, "mincore"))?;
        for (start, is_resident) in (offset..).step_by(page_size).zip(pages) {
            let end = (start + page).min(range.end);
            match data.last_mut() {
                Some(last) if is_resident && last.end == start => last.end = end,
                _ if is_resident => data.push(Range { offset: start.max(range.offset), end }),
                _ => {}
            }
        }
    }
    Ok(data)
}
