//! shmat(2), shmdt(2), and bytes in and out of what they map.
//!
//! No reference and no slice is ever made to the mapping: the kernel copies, by address and bounded length, so that
//! a page that cannot be had is an EFAULT and no signal. What goes to or from our own memory passes a private pipe.

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::ptr::{self, NonNull};
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc::{self, c_int};

use super::{On, SysError, files, sysv};
use crate::model::{Access, ShmId};

/// A pipe whose both ends are ours.
#[derive(Debug)]
struct Pipe {
    /// Where bytes come out.
    reader: OwnedFd,
    /// Where they go in.
    writer: OwnedFd,
    /// Bytes that it holds; beyond them, a write would wait for a reader for ever. A user who has many pipes gets small
    /// ones (pipe(7), pipe-user-pages-soft).
    room: usize,
}

impl Pipe {
    /// Makes one.
    fn new() -> Result<Self, Errno> {
        let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        let room = usize::try_from(fcntl(&writer, FcntlArg::F_GETPIPE_SZ)?).map_err(|_| Errno::EINVAL)?;
        Ok(Self { reader, writer, room })
    }
}

/// Where a segment shall be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Where the kernel likes.
    Any,
    /// At exactly this address, which must be a multiple of SHMLBA.
    Exact(usize),
    /// At this address rounded down to a multiple of SHMLBA (SHM_RND).
    Rounded(usize),
}

/// A segment attached to this process; it is detached when this is dropped.
#[derive(Debug)]
pub(crate) struct Attachment {
    /// The segment.
    id: ShmId,
    /// Where it begins.
    address: NonNull<c_void>,
    /// The segment's size in bytes; the mapping reaches to the end of its last page.
    size: usize,
    /// What the mapping allows.
    access: Access,
    /// The private pipes through which copies to and from our memory go, as many as there were at once.
    pipes: Mutex<Vec<Pipe>>,
}

// SAFETY: the mapping belongs to no thread, and may be left by any.
unsafe impl Send for Attachment {}
// SAFETY: through a shared reference the kernel copies to and from the mapping, or looks at it, which threads may have
// it do at once as processes may; what this program itself reads and writes there takes a unique reference.
unsafe impl Sync for Attachment {}

impl Attachment {
    /// Attaches a segment.
    ///
    /// # Errors
    /// shmat(2): EACCES, EINVAL, EIDRM, ENOMEM; or the IPC_STAT that reads its size.
    pub(crate) fn new(id: ShmId, access: Access, exec: bool, place: Place) -> Result<Self, SysError> {
        let (wanted, mut flags) = match place {
            Place::Any => (ptr::null(), 0),
            Place::Exact(address) => (ptr::without_provenance(address), 0),
            Place::Rounded(address) => (ptr::without_provenance(address), libc::SHM_RND),
        };
        if access == Access::ReadOnly {
            flags |= libc::SHM_RDONLY;
        }
        if exec {
            flags |= libc::SHM_EXEC;
        }
        // SAFETY: without SHM_REMAP, which is never given, the kernel refuses an address where anything is mapped.
        let address = unsafe { libc::shmat(id.raw(), wanted, flags) };
        let failed = || SysError::last("shmat", On::Id(id));
        if address == ptr::without_provenance_mut(usize::MAX) {
            return Err(failed());
        }
        let Some(address) = NonNull::new(address) else {
            // Who may map the first page gets it by rounding down to it: no place for a pointer.
            // SAFETY: shmat has just put the segment there, and nobody has seen it.
            let _ = unsafe { libc::shmdt(address) };
            return Err(SysError { errno: Errno::EINVAL, call: "shmat", target: On::Id(id) });
        };
        // From here on the drop detaches. While attached the id cannot come to mean another segment.
        let mut attachment = Self { id, address, size: 0, access, pipes: Mutex::new(Vec::new()) };
        let size = sysv::stat(id)?.size;
        attachment.size = usize::try_from(size).map_err(|_| failed())?;
        Ok(attachment)
    }

    /// Gives the segment's id.
    pub(crate) fn id(&self) -> ShmId {
        self.id
    }

    /// Gives the address at which the segment begins.
    pub(crate) fn address(&self) -> u64 {
        self.address.addr().get() as u64
    }

    /// Gives the segment's size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size as u64
    }

    /// Gives what the mapping allows.
    pub(crate) fn access(&self) -> Access {
        self.access
    }

    /// Detaches, and tells if that fails.
    ///
    /// # Errors
    /// shmdt(2): EINVAL if it was unmapped behind our back.
    pub(crate) fn detach(self) -> Result<(), SysError> {
        let this = std::mem::ManuallyDrop::new(self);
        // SAFETY: `this` is never used again, so that its pipes are taken out of it once.
        drop(unsafe { ptr::read(&raw const this.pipes) });
        // SAFETY: shmat gave the address, and no pointer derived from it outlives `self`.
        let result = unsafe { libc::shmdt(this.address.as_ptr()) };
        if result < 0 { Err(SysError::last("shmdt", On::Id(this.id))) } else { Ok(()) }
    }

    /// Checks a range against the segment and gives the pointer to its first byte.
    fn range(&self, offset: u64, length: usize) -> Result<*mut c_void, Errno> {
        let offset = usize::try_from(offset).map_err(|_| Errno::EFAULT)?;
        match offset.checked_add(length) {
            // The sum is within the mapping, so that `wrapping_add` does not wrap.
            Some(end) if end <= self.size => Ok(self.address.as_ptr().wrapping_byte_add(offset)),
            _ => Err(Errno::EFAULT),
        }
    }

    /// Copies bytes out of the segment into our memory.
    ///
    /// # Errors
    /// EFAULT if the range leaves the segment, or a page of it cannot be had.
    pub(crate) fn copy_out(&self, offset: u64, bytes: &mut [u8]) -> Result<(), Errno> {
        self.through_pipe(|pipe| {
            let mut done = 0;
            while done < bytes.len() {
                let piece = (bytes.len() - done).min(pipe.room);
                let sent = self.send(offset + done as u64, piece, pipe.writer.as_fd())?;
                let end = done + sent;
                while done < end {
                    done += nix::unistd::read(&pipe.reader, &mut bytes[done..end])?;
                }
            }
            Ok(())
        })
    }

    /// Copies bytes of our memory into the segment.
    ///
    /// # Errors
    /// EFAULT if the range leaves the segment, or a page of it cannot be had; with it, how many bytes came before that.
    pub(crate) fn copy_in(&self, offset: u64, bytes: &[u8]) -> Result<(), (usize, Errno)> {
        let mut done = 0;
        let copied = self.range(offset, bytes.len()).and_then(|_| self.copy_through_pipe(offset, bytes, &mut done));
        copied.map_err(|errno| (done, errno))
    }

    /// Copies bytes in, and counts them.
    fn copy_through_pipe(&self, offset: u64, bytes: &[u8], done: &mut usize) -> Result<(), Errno> {
        self.through_pipe(|pipe| {
            while *done < bytes.len() {
                let piece = (bytes.len() - *done).min(pipe.room);
                let end = *done + nix::unistd::write(&pipe.writer, &bytes[*done..*done + piece])?;
                while *done < end {
                    *done += self.receive(offset + *done as u64, end - *done, pipe.reader.as_fd())?;
                }
            }
            Ok(())
        })
    }

    /// Lends a private pipe; after a failure it is thrown away with whatever is left in it.
    fn through_pipe<T>(&self, work: impl FnOnce(&Pipe) -> Result<T, Errno>) -> Result<T, Errno> {
        let pipes = || self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = pipes().pop();
        let pipe = idle.map_or_else(Pipe::new, Ok)?;
        let result = work(&pipe)?;
        pipes().push(pipe);
        Ok(result)
    }

    /// Writes bytes of the segment to a descriptor with write(2); gives how many it took.
    ///
    /// # Errors
    /// write(2), EINTR included; EFAULT if the range leaves the segment or a page cannot be had.
    pub(crate) fn send(&self, offset: u64, length: usize, to: BorrowedFd<'_>) -> Result<usize, Errno> {
        let from = self.range(offset, length)?;
        // SAFETY: the kernel reads `length` bytes that `range` found within the mapping, or answers EFAULT.
        let count = unsafe { libc::write(to.as_raw_fd(), from, length) };
        Errno::result(count).map(isize::cast_unsigned)
    }

    /// Reads bytes from a descriptor into the segment with read(2); gives how many came, 0 at the end.
    ///
    /// # Errors
    /// read(2), EINTR included; EFAULT if the range leaves the segment or a page cannot be had.
    pub(crate) fn receive(&self, offset: u64, length: usize, from: BorrowedFd<'_>) -> Result<usize, Errno> {
        let to = self.range(offset, length)?;
        // SAFETY: the kernel writes at most `length` bytes that `range` found within the mapping, or answers EFAULT;
        // no Rust reference to them exists, and a read-only mapping gives EFAULT too.
        let count = unsafe { libc::read(from.as_raw_fd(), to, length) };
        Errno::result(count).map(isize::cast_unsigned)
    }

    /// Lends pages of the segment to a pipe with vmsplice(2), without a copy; gives how many bytes it took.
    ///
    /// # Errors
    /// vmsplice(2): EBADF or EINVAL if the descriptor is no pipe, EPERM or ENOSYS in some sandboxes, EFAULT.
    pub(crate) fn lend(&self, offset: u64, length: usize, to: BorrowedFd<'_>) -> Result<usize, Errno> {
        let part = libc::iovec { iov_base: self.range(offset, length)?, iov_len: length };
        // SAFETY: one iovec is passed, it lives through the call, and `range` found its bytes within the mapping.
        // The pipe holds references to the pages themselves, so that detaching before it is read is sound.
        let count = unsafe { libc::vmsplice(to.as_raw_fd(), &raw const part, 1, 0) };
        Errno::result(count).map(isize::cast_unsigned)
    }

    /// Maps pages of the range ahead of a copy out of it (MADV_POPULATE_READ); only ever a help.
    pub(crate) fn populate_read(&self, offset: u64, length: usize) {
        self.advise(offset, length, libc::MADV_POPULATE_READ);
    }

    /// Maps pages of the range ahead of a copy into it (MADV_POPULATE_WRITE); only ever a help.
    pub(crate) fn populate_write(&self, offset: u64, length: usize) {
        self.advise(offset, length, libc::MADV_POPULATE_WRITE);
    }

    /// Calls madvise(2) on a range that begins on a page; an answer of no is none of our business.
    fn advise(&self, offset: u64, length: usize, advice: c_int) {
        if let Ok(start) = self.range(offset, length) {
            // SAFETY: the range is within the mapping; both advices only fault pages in and change no contents.
            let _ = unsafe { libc::madvise(start, length, advice) };
        }
    }

    /// Tells whether every page of a range that begins on a page is in memory (mincore(2)).
    pub(crate) fn is_resident(&self, offset: u64, length: usize, page_size: usize) -> bool {
        self.residency(offset, length, page_size).is_ok_and(|pages| pages.into_iter().all(|page| page))
    }

    /// Tells of each page of a range that begins on a page whether it is in memory (mincore(2)), and touches none.
    ///
    /// A page that is swapped out is not; of huge pages the call knows those alone that this process has touched.
    ///
    /// # Errors
    /// EFAULT if the range leaves the segment; ENOMEM, EAGAIN.
    pub(crate) fn residency(&self, offset: u64, length: usize, page_size: usize) -> Result<Vec<bool>, Errno> {
        let start = self.range(offset, length)?;
        let mut pages = vec![0_u8; length.div_ceil(page_size)];
        // SAFETY: the range is within the mapping, and `pages` has a byte for each of its pages.
        let result = unsafe { libc::mincore(start, length, pages.as_mut_ptr()) };
        Errno::result(result)?;
        Ok(pages.into_iter().map(|page| page & 1 != 0).collect())
    }

    /// Reads the native 32-bit integer at offset 0, at one stroke; in one thread at a time, hence the unique reference.
    ///
    /// # Errors
    /// EFAULT if the segment is too small for one.
    pub(crate) fn load_i32(&mut self) -> Result<i32, Errno> {
        let place = self.range(0, size_of::<i32>())?.cast::<i32>();
        // SAFETY: four bytes at a page's beginning are mapped and aligned; volatile, since others write them.
        Ok(unsafe { place.read_volatile() })
    }

    /// Writes a native 32-bit integer at offset 0, at one stroke.
    ///
    /// # Errors
    /// EFAULT if the segment is too small for one, or attached for reading.
    pub(crate) fn store_i32(&mut self, value: i32) -> Result<(), Errno> {
        if self.access == Access::ReadOnly {
            return Err(Errno::EFAULT);
        }
        let place = self.range(0, size_of::<i32>())?.cast::<i32>();
        // SAFETY: four bytes at a page's beginning are mapped for writing and aligned; volatile, since others read.
        unsafe { place.write_volatile(value) };
        Ok(())
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        // SAFETY: shmat gave the address, and no pointer derived from it outlives `self`.
        let _ = unsafe { libc::shmdt(self.address.as_ptr()) };
    }
}

impl Attachment {
    /// Opens the segment's memory as a file, through /proc/self/map_files, which takes privilege; `mapped` are the
    /// segment's bytes up to the end of its last page.
    ///
    /// # Errors
    /// open(2): EPERM without CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN, ENOENT without /proc.
    pub(crate) fn open_backing(&self, mapped: u64) -> io::Result<File> {
        File::open(self.backing(mapped))
    }

    /// As [`Attachment::open_backing`], to write; only within the segment's size, beyond which the file would grow.
    ///
    /// # Errors
    /// As there; EFBIG if this process may write no file of that size, which for one that has no name would be absurd;
    /// EINVAL if the pages are huge, whose files cannot be written.
    pub(crate) fn open_backing_to_write(&self, page_size: u64) -> io::Result<File> {
        if !files::may_be_as_large_as(self.size()) {
            return Err(Errno::EFBIG.into());
        }
        let mapped = self.size().next_multiple_of(page_size);
        let file = File::options().read(true).write(true).open(self.backing(mapped))?;
        if file.metadata()?.blksize() == page_size { Ok(file) } else { Err(Errno::EINVAL.into()) }
    }

    /// Names the file behind the mapping, of which so many bytes are mapped.
    fn backing(&self, mapped: u64) -> String {
        let start = self.address();
        format!("/proc/self/map_files/{start:x}-{:x}", start + mapped)
    }
}
