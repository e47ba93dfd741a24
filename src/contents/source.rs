//! Where contents come from: never in a way that takes memory for what was never touched.
//!
//! Reading a hole through an attachment allocates it. Read through the file behind it, which takes privilege, it does
//! not; and where there is no such file, mincore(2) tells beforehand which pages there are.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};

use super::Range;
use super::transfer::{failed, fault};
use crate::error::{Error, Kind};
use crate::model::{Needs, Segment, ShmId};
use crate::procfs;
use crate::query::{self, Swap, System, backing, open_via_attacher};
use crate::sys::{Attachment, Errno, next_data};

/// How much is asked of mincore at once: a byte a page comes back.
const LOOK: usize = 1 << 30;
/// How many bytes are worth having mapped in one go.
const AHEAD: usize = 64 << 10;
/// How often it is looked again where pages could have gone to swap meanwhile.
const LOOKS: usize = 3;

/// What a reader does about memory that it would have to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allocation {
    /// It reads nothing then.
    Refused,
    /// It takes the memory.
    Allowed,
}

/// A part of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Bytes that are there, up to this offset.
    Data(u64),
    /// Memory that was never touched and reads as zeros, up to this offset.
    Hole(u64),
}

impl Part {
    /// Gives the offset behind it.
    pub(crate) fn end(self) -> u64 {
        match self {
            Self::Data(end) | Self::Hole(end) => end,
        }
    }
}

/// The way to the bytes.
#[derive(Debug)]
enum Way {
    /// The file behind an attachment, our own or another process's.
    File(File),
    /// Our attachment, with the data in a range that was looked at.
    Mapping(Vec<(u64, u64)>),
}

/// Contents that can be read.
#[derive(Debug)]
pub(crate) struct Source {
    /// The segment.
    id: ShmId,
    /// Its bytes.
    size: u64,
    /// Bytes of a page of it, where that can be told.
    page: Option<u64>,
    /// The way to its bytes.
    way: Way,
    /// Our attachment, unless we look through another process's.
    attachment: Option<Attachment>,
}

impl Source {
    /// Reads through an attachment of ours.
    ///
    /// # Errors
    /// Reading would have to take memory, or it cannot be told, and that is refused.
    pub(crate) fn attached(
        system: &System,
        attachment: Attachment,
        range: Range,
        allocation: Allocation,
    ) -> Result<Self, Error> {
        let (id, size) = (attachment.id(), attachment.size());
        let (file, page) = behind(system, &attachment);
        let way = match file {
            Some(file) => Way::File(file),
            None => Way::Mapping(Self::look(system, &attachment, page, range, allocation)?),
        };
        Ok(Self { id, size, page, way, attachment: Some(attachment) })
    }

    /// Looks through an attachment of ours, and reads nothing.
    pub(crate) fn for_a_look(system: &System, attachment: Attachment) -> Self {
        let (file, page) = behind(system, &attachment);
        let way = file.map_or_else(|| Way::Mapping(Vec::new()), Way::File);
        Self { id: attachment.id(), size: attachment.size(), page, way, attachment: Some(attachment) }
    }

    /// Reads through another process's attachment, so that nothing of the segment's record moves
    /// (`--peek`); where that cannot be, the error advises what is typed otherwise.
    ///
    /// # Errors
    /// Nobody that can be seen has it attached, or the right to look through that is missing (Permission).
    pub(crate) fn peeked(system: &System, segment: &Segment, otherwise: &str) -> Result<Self, Error> {
        let file = open_via_attacher(system, segment, otherwise)?;
        let metadata = file.metadata().ok();
        let size = metadata.as_ref().map_or(segment.size, MetadataExt::size).min(segment.size);
        let page = metadata.map(|file| file.blksize());
        Ok(Self { id: segment.id, size, page, way: Way::File(file), attachment: None })
    }

    /// Looks anew at which memory is there, for a range that is read again.
    ///
    /// # Errors
    /// As with [`Source::attached`].
    pub(crate) fn refresh(&mut self, system: &System, range: Range, allocation: Allocation) -> Result<(), Error> {
        if let (Way::Mapping(data), Some(attachment)) = (&mut self.way, &self.attachment) {
            *data = Self::look(system, attachment, self.page, range, allocation)?;
        }
        Ok(())
    }

    /// Finds the memory that is there in a range, by mincore(2).
    fn look(
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
            for _ in 0..LOOKS {
                let before = Swap::now(system, id);
                let data = resident(system, attachment, range)
                    .map_err(|errno| failed(id, range.offset, "look at", errno, "mincore"))?;
                if before.rules_out(Swap::now(system, id)) {
                    return Ok(data);
                }
            }
        }
        let all_there = || if ordinary { is_all_there(system, id) } else { is_all_there_of_huge(system, id, page) };
        if allocation == Allocation::Allowed || all_there() {
            return Ok(whole);
        }
        let why = match page {
            Some(_) if ordinary => "there is swap",
            Some(_) => "they are huge",
            None => "/proc does not tell whether they are huge",
        };
        Err(Error::new(Kind::Refused, format!("refused to read segment {id}: that could take memory for all of it"))
            .target(id.to_string())
            .cause(format!("which of its pages were never touched cannot be told ({why}), and reading one makes it"))
            .hint("`shmadm … --allow-allocation` reads it all the same")
            .hint("root reads it without taking memory: `sudo shmadm …`"))
    }

    /// Gives the segment's id.
    pub(crate) fn id(&self) -> ShmId {
        self.id
    }

    /// Gives the segment's size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Gives the bytes in a page of the segment, where it is told; those of an ordinary page otherwise.
    pub(crate) fn page(&self, system: &System) -> u64 {
        self.page.unwrap_or_else(|| system.page_size())
    }

    /// Tells whether the segment is of huge pages, or may be.
    pub(super) fn is_huge(&self, system: &System) -> bool {
        self.page != Some(system.page_size())
    }

    /// Gives the bytes of it that are in memory, where the file behind it tells: that of huge pages does.
    pub(crate) fn resident(&self) -> Option<u64> {
        // st_blocks counts in 512 bytes (stat(3type)).
        self.file().and_then(|file| file.metadata().ok()).map(|file| file.blocks() * 512)
    }

    /// Gives the file behind the segment, if that is the way to it.
    pub(super) fn file(&self) -> Option<&File> {
        match &self.way {
            Way::File(file) => Some(file),
            Way::Mapping(_) => None,
        }
    }

    /// Gives our attachment, if there is one.
    pub(super) fn attachment(&self) -> Option<&Attachment> {
        self.attachment.as_ref()
    }

    /// Lets go of the attachment, which is given back to be detached.
    pub(crate) fn into_attachment(self) -> Option<Attachment> {
        self.attachment
    }

    /// Gives the data that begins at an offset or behind it, by its offset and the one behind it.
    ///
    /// # Errors
    /// lseek(2) on the file.
    pub(super) fn next_data(&self, offset: u64) -> Result<Option<(u64, u64)>, Error> {
        match &self.way {
            Way::File(file) => {
                next_data(file.as_fd(), offset).map_err(|errno| failed(self.id, offset, "look at", errno, "lseek"))
            }
            Way::Mapping(data) => {
                let place = data.partition_point(|(_, until)| *until <= offset);
                Ok(data.get(place).map(|(start, until)| ((*start).max(offset), *until)))
            }
        }
    }

    /// Gives the part that begins at an offset of a range.
    ///
    /// # Errors
    /// lseek(2) on the file.
    pub(crate) fn part(&self, offset: u64, end: u64) -> Result<Part, Error> {
        Ok(match self.next_data(offset)? {
            Some((start, until)) if start <= offset => Part::Data(until.min(end)),
            Some((start, _)) => Part::Hole(start.min(end)),
            None => Part::Hole(end),
        })
    }

    /// Copies bytes that are there into our memory.
    ///
    /// # Errors
    /// A page cannot be had.
    pub(crate) fn copy_out(&self, offset: u64, bytes: &mut [u8]) -> Result<(), Error> {
        match (&self.way, &self.attachment) {
            (Way::Mapping(_), Some(attachment)) => {
                if bytes.len() >= AHEAD {
                    // Faults in one go are cheaper than page by page; what is asked for is there.
                    attachment.populate_read(offset, bytes.len());
                }
                attachment.copy_out(offset, bytes).map_err(|errno| fault(attachment, offset, "read", errno, "write"))
            }
            (Way::File(file), _) => file.read_exact_at(bytes, offset).map_err(|error| {
                let errno = error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
                failed(self.id, offset, "read", errno, "pread")
            }),
            (Way::Mapping(_), None) => Err(failed(self.id, offset, "read", Errno::EFAULT, "write")),
        }
    }
}

/// Opens the file behind an attachment, where that is allowed, and tells the bytes of a page of it.
fn behind(system: &System, attachment: &Attachment) -> (Option<File>, Option<u64>) {
    let ordinary = attachment.size().next_multiple_of(system.page_size());
    let page = |file: &File| file.metadata().ok().map(|file| file.blksize());
    match attachment.open_backing(ordinary) {
        Ok(file) => {
            let page = page(&file);
            (Some(file), page)
        }
        Err(_) => match backing(system, attachment.address()) {
            // Its last page is huge, and not all of it the segment's.
            Some(backing) if backing.length != ordinary => {
                (attachment.open_backing(backing.length).ok(), Some(backing.page))
            }
            backing => (None, backing.map(|backing| backing.page)),
        },
    }
}

/// Gathers the pages of a range that are in memory.
pub(super) fn resident(system: &System, attachment: &Attachment, range: Range) -> Result<Vec<(u64, u64)>, Errno> {
    let page = system.page_size();
    let page_size = usize::try_from(page).map_err(|_| Errno::EOVERFLOW)?;
    let mut data: Vec<(u64, u64)> = Vec::new();
    let mut offset = range.offset - range.offset % page;
    while offset < range.end {
        let length = usize::try_from(range.end - offset).map_or(LOOK, |left| left.min(LOOK));
        let mut start = offset;
        for there in attachment.residency(offset, length, page_size)? {
            let end = (start + page).min(range.end);
            match data.last_mut() {
                Some((_, until)) if there && *until == start => *until = end,
                _ if there => data.push((start.max(range.offset), end)),
                _ => {}
            }
            start += page;
        }
        offset += length as u64;
    }
    Ok(data)
}

/// Tells whether all of a segment's pages are in memory or in swap, so that reading makes none.
fn is_all_there(system: &System, id: ShmId) -> bool {
    let segment = query::segment(system, id, Needs::RESIDENT).ok().flatten();
    segment.is_some_and(|segment| segment.rss.zip(segment.swap).is_some_and(|(rss, swap)| rss + swap >= segment.size))
}

/// Tells the same of a segment of huge pages. Of these the kernel says (since 6.7) as many times too much as they have
/// ordinary ones; what is less than that for all of them proves nothing.
fn is_all_there_of_huge(system: &System, id: ShmId, page: Option<u64>) -> bool {
    let Some(page) = page else { return false };
    let said = procfs::find_segment(system.proc(), id).ok().flatten();
    let times = page / system.page_size();
    said.is_some_and(|said| said.rss.is_some_and(|rss| rss / times >= said.size.next_multiple_of(page)))
}
