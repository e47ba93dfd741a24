//! shmat(2), shmdt(2), and copies to and from the mapping.
//!
//! An [`Attachment`] keeps an address and a size, and never creates a reference or slice to the mapping. The kernel
//! copies: read(2), write(2), and vmsplice(2) get an address and a length that were checked against the size. A page
//! that cannot be allocated (a huge page whose pool is empty) is then EFAULT instead of SIGBUS. Copies between the
//! segment and memory of this process go through a private pipe.
//!
//! The one exception is the integer of the demo: an aligned volatile access of four bytes. SHM_REMAP is not
//! supported.
//!
//! Attaching sets the segment's atime and lpid, detaching its dtime and lpid, also for read-only attachments. With
//! `kernel.shm_rmid_forced` at 1, detaching destroys a segment that is not attached by another process.

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

use super::{Subject, SysError, files, sysv};
use crate::model::{Access, ShmId};

/// A private pipe.
#[derive(Debug)]
struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    /// A write of more bytes than this would block forever, since no other thread reads. Users with many pipes get
    /// small ones (pipe(7), pipe-user-pages-soft).
    capacity: usize,
}

impl Pipe {
    fn new() -> Result<Self, Errno> {
        let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        let capacity = usize::try_from(fcntl(&writer, FcntlArg::F_GETPIPE_SZ)?).map_err(|_| Errno::EINVAL)?;
        Ok(Self { reader, writer, capacity })
    }
}

/// The address at which to attach a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// Chosen by the kernel.
    Any,
    /// Exactly this address, which must be a multiple of SHMLBA.
    Exact(usize),
    /// This address, rounded down to a multiple of SHMLBA (SHM_RND).
    Rounded(usize),
}

/// A segment attached to this process. Dropping it detaches the segment.
#[derive(Debug)]
pub(crate) struct Attachment {
    id: ShmId,
    address: NonNull<c_void>,
    /// The size of the segment in bytes. The mapping extends to the end of the last page.
    size: usize,
    access: Access,
    /// Unused pipes for copies between the segment and memory of this process; one for each concurrent copy.
    pipes: Mutex<Vec<Pipe>>,
}

// SAFETY: a mapping belongs to the process, not to a thread, and any thread may unmap it.
unsafe impl Send for Attachment {}
// SAFETY: through a shared reference, only the kernel accesses the mapping, which concurrent threads may ask it to
// do. Direct accesses (`load_i32`, `store_i32`) require a unique reference.
unsafe impl Sync for Attachment {}

impl Attachment {
    /// Attaches a segment.
    ///
    /// # Errors
    /// shmat(2): EACCES, EINVAL, EIDRM, ENOMEM; or the error of the IPC_STAT that reads the size.
    pub(crate) fn new(id: ShmId, access: Access, exec: bool, address: Address) -> Result<Self, SysError> {
        let (requested, mut flags) = match address {
            Address::Any => (ptr::null(), 0),
            Address::Exact(address) => (ptr::without_provenance(address), 0),
            Address::Rounded(address) => (ptr::without_provenance(address), libc::SHM_RND),
        };
        if access == Access::ReadOnly {
            flags |= libc::SHM_RDONLY;
        }
        if exec {
            flags |= libc::SHM_EXEC;
        }
        // SAFETY: without SHM_REMAP, which is never set, the kernel refuses an address range that is already mapped.
        let address = unsafe { libc::shmat(id.raw(), requested, flags) };
        let failed = || SysError::last("shmat", Subject::Id(id));
        if address == ptr::without_provenance_mut(usize::MAX) {
            return Err(failed());
        }
        let Some(address) = NonNull::new(address) else {
            // SHM_RND can round down to address 0 if the process may map the first page, but 0 is not a valid
            // pointer.
            // SAFETY: shmat has just mapped the segment there, and nothing else knows the address.
            let _ = unsafe { libc::shmdt(address) };
            return Err(SysError { errno: Errno::EINVAL, call: "shmat", target: Subject::Id(id) });
        };
        // From here on, drop detaches. While the segment is attached its id cannot be reused.
        let mut attachment = Self { id, address, size: 0, access, pipes: Mutex::new(Vec::new()) };
        let size = sysv::stat(id)?.size;
        attachment.size = usize::try_from(size).map_err(|_| failed())?;
        Ok(attachment)
    }

    pub(crate) fn id(&self) -> ShmId {
        self.id
    }

    pub(crate) fn address(&self) -> u64 {
        self.address.addr().get() as u64
    }

    pub(crate) fn size(&self) -> u64 {
        self.size as u64
    }

    pub(crate) fn access(&self) -> Access {
        self.access
    }

    /// Detaches the segment and reports a failure, which drop ignores.
    ///
    /// # Errors
    /// shmdt(2): EINVAL if the mapping was removed in another way.
    pub(crate) fn detach(self) -> Result<(), SysError> {
        let this = std::mem::ManuallyDrop::new(self);
        // SAFETY: `this` is not used again and never dropped, so that the pipes are moved out of it only once.
        drop(unsafe { ptr::read(&raw const this.pipes) });
        // SAFETY: shmat returned the address, and no pointer derived from it outlives `self`.
        let result = unsafe { libc::shmdt(this.address.as_ptr()) };
        if result < 0 { Err(SysError::last("shmdt", Subject::Id(this.id))) } else { Ok(()) }
    }

    /// Checks that a range is within the segment, and returns a pointer to its first byte.
    fn range(&self, offset: u64, length: usize) -> Result<*mut c_void, Errno> {
        let offset = usize::try_from(offset).map_err(|_| Errno::EFAULT)?;
        match offset.checked_add(length) {
            // The sum is within the mapping, so `wrapping_byte_add` does not wrap.
            Some(end) if end <= self.size => Ok(self.address.as_ptr().wrapping_byte_add(offset)),
            _ => Err(Errno::EFAULT),
        }
    }

    /// Copies bytes from the segment into a buffer.
    ///
    /// # Errors
    /// EFAULT if the range exceeds the segment or a page cannot be allocated.
    pub(crate) fn copy_out(&self, offset: u64, bytes: &mut [u8]) -> Result<(), Errno> {
        self.with_pipe(|pipe| {
            let mut done = 0;
            while done < bytes.len() {
                let piece = (bytes.len() - done).min(pipe.capacity);
                let sent = self.send(offset + done as u64, piece, pipe.writer.as_fd())?;
                let end = done + sent;
                while done < end {
                    done += nix::unistd::read(&pipe.reader, &mut bytes[done..end])?;
                }
            }
            Ok(())
        })
    }

    /// Copies a buffer into the segment.
    ///
    /// # Errors
    /// EFAULT if the range exceeds the segment or a page cannot be allocated; with the number of bytes copied before
    /// that.
    pub(crate) fn copy_in(&self, offset: u64, bytes: &[u8]) -> Result<(), (usize, Errno)> {
        let mut done = 0;
        let copied = self.range(offset, bytes.len()).and_then(|_| self.copy_through_pipe(offset, bytes, &mut done));
        copied.map_err(|errno| (done, errno))
    }

    fn copy_through_pipe(&self, offset: u64, bytes: &[u8], done: &mut usize) -> Result<(), Errno> {
        self.with_pipe(|pipe| {
            while *done < bytes.len() {
                let piece = (bytes.len() - *done).min(pipe.capacity);
                let end = *done + nix::unistd::write(&pipe.writer, &bytes[*done..*done + piece])?;
                while *done < end {
                    *done += self.receive(offset + *done as u64, end - *done, pipe.reader.as_fd())?;
                }
            }
            Ok(())
        })
    }

    /// Calls a function with a private pipe. After a failure the pipe is dropped, since it may still contain bytes.
    fn with_pipe<T>(&self, work: impl FnOnce(&Pipe) -> Result<T, Errno>) -> Result<T, Errno> {
        let pipes = || self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = pipes().pop();
        let pipe = idle.map_or_else(Pipe::new, Ok)?;
        let result = work(&pipe)?;
        pipes().push(pipe);
        Ok(result)
    }

    /// Writes bytes of the segment to a descriptor with write(2). Returns the number of bytes written.
    ///
    /// # Errors
    /// write(2), including EINTR; EFAULT if the range exceeds the segment or a page cannot be allocated.
    pub(crate) fn send(&self, offset: u64, length: usize, to: BorrowedFd<'_>) -> Result<usize, Errno> {
        let from = self.range(offset, length)?;
        // SAFETY: the kernel reads `length` bytes that `range` found within the mapping, or returns EFAULT.
        let count = unsafe { libc::write(to.as_raw_fd(), from, length) };
        Errno::result(count).map(isize::cast_unsigned)
    }

    /// Reads bytes from a descriptor into the segment with read(2). Returns the number of bytes read, 0 at the end.
    ///
    /// # Errors
    /// read(2), including EINTR; EFAULT if the range exceeds the segment or a page cannot be allocated.
    pub(crate) fn receive(&self, offset: u64, length: usize, from: BorrowedFd<'_>) -> Result<usize, Errno> {
        let to = self.range(offset, length)?;
        // SAFETY: the kernel writes at most `length` bytes that `range` found within the mapping, or returns EFAULT,
        // which a read-only mapping does too. No Rust reference to them exists.
        let count = unsafe { libc::read(from.as_raw_fd(), to, length) };
        Errno::result(count).map(isize::cast_unsigned)
    }

    /// Moves pages of the segment into a pipe with vmsplice(2), without copying. Returns the number of bytes.
    ///
    /// # Errors
    /// vmsplice(2): EBADF or EINVAL if the descriptor is not a pipe, EPERM or ENOSYS in some sandboxes, EFAULT.
    pub(crate) fn vmsplice(&self, offset: u64, length: usize, to: BorrowedFd<'_>) -> Result<usize, Errno> {
        let part = libc::iovec { iov_base: self.range(offset, length)?, iov_len: length };
        // SAFETY: one iovec is passed, it lives through the call, and `range` found its bytes within the mapping. The
        // pipe holds references to the pages, so they stay valid if the segment is detached before the pipe is read.
        let count = unsafe { libc::vmsplice(to.as_raw_fd(), &raw const part, 1, 0) };
        Errno::result(count).map(isize::cast_unsigned)
    }

    /// Maps the pages of a range before a copy out of it (MADV_POPULATE_READ). Failures are ignored: this is only
    /// faster.
    pub(crate) fn populate_read(&self, offset: u64, length: usize) {
        self.advise(offset, length, libc::MADV_POPULATE_READ);
    }

    /// Maps the pages of a range before a copy into it (MADV_POPULATE_WRITE). Failures are ignored: this is only
    /// faster.
    pub(crate) fn populate_write(&self, offset: u64, length: usize) {
        self.advise(offset, length, libc::MADV_POPULATE_WRITE);
    }

    /// Calls madvise(2) on a range that begins on a page boundary, and ignores failures.
    fn advise(&self, offset: u64, length: usize, advice: c_int) {
        if let Ok(start) = self.range(offset, length) {
            // SAFETY: the range is within the mapping; both kinds of advice only fault pages in and change no
            // contents.
            let _ = unsafe { libc::madvise(start, length, advice) };
        }
    }

    /// Returns whether all pages of a range that begins on a page boundary are in memory (mincore(2)).
    pub(crate) fn is_resident(&self, offset: u64, length: usize, page_size: usize) -> bool {
        self.residency(offset, length, page_size).is_ok_and(|pages| pages.into_iter().all(|page| page))
    }

    /// Returns for each page of a range that begins on a page boundary whether it is in memory (mincore(2)), without
    /// touching it.
    ///
    /// A swapped-out page counts as absent. Of huge pages, mincore only reports those that this process has touched.
    ///
    /// # Errors
    /// EFAULT if the range exceeds the segment; ENOMEM, EAGAIN.
    pub(crate) fn residency(&self, offset: u64, length: usize, page_size: usize) -> Result<Vec<bool>, Errno> {
        let start = self.range(offset, length)?;
        let mut pages = vec![0_u8; length.div_ceil(page_size)];
        // SAFETY: the range is within the mapping, and `pages` has one byte for each of its pages.
        let result = unsafe { libc::mincore(start, length, pages.as_mut_ptr()) };
        Errno::result(result)?;
        Ok(pages.into_iter().map(|page| page & 1 != 0).collect())
    }

    /// Reads the native 32-bit integer at offset 0 in one access. Takes a unique reference, so that only one thread
    /// does it.
    ///
    /// # Errors
    /// EFAULT if the segment is smaller than that.
    pub(crate) fn load_i32(&mut self) -> Result<i32, Errno> {
        let integer = self.range(0, size_of::<i32>())?.cast::<i32>();
        // SAFETY: the first four bytes of a page are mapped and aligned; volatile, since other processes write them.
        Ok(unsafe { integer.read_volatile() })
    }

    /// Writes a native 32-bit integer at offset 0 in one access.
    ///
    /// # Errors
    /// EFAULT if the segment is smaller than that, or attached read-only.
    pub(crate) fn store_i32(&mut self, value: i32) -> Result<(), Errno> {
        if self.access == Access::ReadOnly {
            return Err(Errno::EFAULT);
        }
        let integer = self.range(0, size_of::<i32>())?.cast::<i32>();
        // SAFETY: the first four bytes of a page are mapped writable and aligned; volatile, since other processes
        // read them.
        unsafe { integer.write_volatile(value) };
        Ok(())
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        // SAFETY: shmat returned the address, and no pointer derived from it outlives `self`.
        let _ = unsafe { libc::shmdt(self.address.as_ptr()) };
    }
}

impl Attachment {
    /// Opens the file behind the mapping through /proc/self/map_files, which requires privilege. `mapped` is the size
    /// of the segment rounded up to whole pages.
    ///
    /// # Errors
    /// open(2): EPERM without CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN, ENOENT without /proc.
    pub(crate) fn open_backing(&self, mapped: u64) -> io::Result<File> {
        File::open(self.backing_path(mapped))
    }

    /// Opens the file behind the mapping for writing. The caller must not write beyond the size of the segment: the
    /// file would grow.
    ///
    /// # Errors
    /// As [`Attachment::open_backing`]; EFBIG if RLIMIT_FSIZE is below the size, since the kernel applies it to this
    /// file too; EINVAL for huge pages, whose files do not support write(2).
    pub(crate) fn open_backing_to_write(&self, page_size: u64) -> io::Result<File> {
        if !files::fits_file_size_limit(self.size()) {
            return Err(Errno::EFBIG.into());
        }
        let mapped = self.size().next_multiple_of(page_size);
        let file = File::options().read(true).write(true).open(self.backing_path(mapped))?;
        if file.metadata()?.blksize() == page_size { Ok(file) } else { Err(Errno::EINVAL.into()) }
    }

    /// Returns the path of the file behind the mapping. The file name contains the mapping's end address.
    fn backing_path(&self, mapped: u64) -> String {
        let start = self.address();
        format!("/proc/self/map_files/{start:x}-{:x}", start + mapped)
    }
}
