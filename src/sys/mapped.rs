//! Mappings of files (mmap(2)), whose memory is never accessed, and what holds a segment or object.

use std::ffi::c_void;
use std::num::NonZero;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

use super::{Attachment, SysError, stat_file};
use crate::model::Access;

/// A shared mapping of a whole file. Dropping it unmaps the file.
#[derive(Debug)]
pub(crate) struct MappedFile {
    address: NonNull<c_void>,
    size: NonZero<usize>,
}

impl MappedFile {
    /// Fails as statx(2) and mmap(2): EINVAL if the file is empty, EACCES if it is not open for this access.
    pub(crate) fn new(file: BorrowedFd<'_>, access: Access, exec: bool) -> Result<Self, SysError> {
        let size = stat_file(file).map_err(|errno| SysError { errno, call: "statx" })?.size;
        let failed = |errno| SysError { errno, call: "mmap" };
        let size = usize::try_from(size).map_err(|_| failed(Errno::EOVERFLOW))?;
        let size = NonZero::new(size).ok_or(failed(Errno::EINVAL))?;
        let mut protection = ProtFlags::PROT_READ;
        protection.set(ProtFlags::PROT_WRITE, access == Access::ReadWrite);
        protection.set(ProtFlags::PROT_EXEC, exec);
        // SAFETY: without MAP_FIXED, the kernel chooses a range that is not mapped.
        let address = unsafe { mmap(None, size, protection, MapFlags::MAP_SHARED, file, 0) }.map_err(failed)?;
        Ok(Self { address, size })
    }

    pub(crate) fn address(&self) -> u64 {
        self.address.addr().get() as u64
    }

    /// Returns the size of the file when it was mapped.
    pub(crate) fn size(&self) -> u64 {
        self.size.get() as u64
    }
}

impl Drop for MappedFile {
    fn drop(&mut self) {
        // SAFETY: mmap returned this range, and no pointer into it exists.
        let _ = unsafe { munmap(self.address, self.size.get()) };
    }
}

/// Maps an inaccessible range of this size and unmaps it: fails as mmap(2) if the address space has no such range.
pub(crate) fn try_address_space(size: u64) -> Result<(), SysError> {
    let failed = |errno| SysError { errno, call: "mmap" };
    let size = usize::try_from(size).ok().and_then(NonZero::new).ok_or(failed(Errno::EINVAL))?;
    let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
    // SAFETY: without MAP_FIXED, the kernel chooses a range that is not mapped.
    let address = unsafe { mmap_anonymous(None, size, ProtFlags::PROT_NONE, flags) }.map_err(failed)?;
    // SAFETY: mmap returned this range, and no pointer into it exists.
    unsafe { munmap(address, size.get()) }.map_err(failed)
}

/// What keeps a segment attached or a POSIX object mapped, until it is dropped.
#[derive(Debug)]
pub(crate) enum Held {
    Segment(Attachment),
    Object(MappedFile),
}

impl Held {
    pub(crate) fn address(&self) -> u64 {
        match self {
            Self::Segment(attachment) => attachment.address(),
            Self::Object(mapped) => mapped.address(),
        }
    }

    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Segment(attachment) => attachment.size(),
            Self::Object(mapped) => mapped.size(),
        }
    }
}
