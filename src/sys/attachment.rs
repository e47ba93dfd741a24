//! shmat(2), shmdt(2), and copies to and from the mapping.
//!
//! An [`Attachment`] keeps an address and a size, and never creates a reference or slice to the mapping. The kernel
//! copies: read(2), write(2), vmsplice(2) and process_vm_readv(2) get an address and a length that were checked against
//! the size. A page that cannot be allocated (a huge page whose pool is empty) is then EFAULT instead of SIGBUS.
//!
//! The one exception is the integer of the demo: an aligned volatile access of four bytes. SHM_REMAP is not
//! supported.
//!
//! Attaching sets the segment's atime and lpid, detaching its dtime and lpid, even for read-only attachments. With
//! `kernel.shm_rmid_forced` at 1, detaching destroys a segment that is not attached by another process.

use std::ffi::c_void;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use nix::errno::Errno;
use nix::libc;
use nix::sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev};
use nix::unistd::Pid;

use super::{SysError, sysv};
use crate::model::{Access, ShmId};

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
    address: *mut c_void,
    /// The size of the segment in bytes. The mapping extends to the end of the last page.
    size: usize,
    access: Access,
}

// SAFETY: a mapping belongs to the process, not to a thread, and any thread may unmap it.
unsafe impl Send for Attachment {}
// SAFETY: through a shared reference, only the kernel accesses the mapping, which concurrent threads may ask it to
// do. Direct accesses (`load_i32`, `store_i32`) require a unique reference.
unsafe impl Sync for Attachment {}

impl Attachment {
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
        if address == ptr::without_provenance_mut(usize::MAX) {
            return Err(SysError::last("shmat"));
        }
        // From here on, drop detaches. While the segment is attached its id cannot be reused.
        let mut attachment = Self { id, address, size: 0, access };
        let too_large = |_| SysError { errno: Errno::EOVERFLOW, call: "shmat" };
        attachment.size = usize::try_from(sysv::stat(id)?.size).map_err(too_large)?;
        Ok(attachment)
    }

    pub(crate) fn id(&self) -> ShmId {
        self.id
    }

    pub(crate) fn address(&self) -> u64 {
        self.address.addr() as u64
    }

    pub(crate) fn size(&self) -> u64 {
        self.size as u64
    }

    /// Detaches the segment and reports a failure, which drop ignores.
    pub(crate) fn detach(self) -> Result<(), SysError> {
        let this = std::mem::ManuallyDrop::new(self);
        // SAFETY: shmat returned the address, and no pointer derived from it outlives `self`.
        let result = unsafe { libc::shmdt(this.address) };
        SysError::check(result, "shmdt").map(drop)
    }

    /// Checks that a range is within the segment, and returns a pointer to its first byte.
    fn range(&self, offset: u64, length: usize) -> Result<*mut c_void, Errno> {
        let offset = usize::try_from(offset).map_err(|_| Errno::EFAULT)?;
        match offset.checked_add(length) {
            // The sum is within the mapping, so `wrapping_byte_add` does not wrap.
            Some(end) if end <= self.size => Ok(self.address.wrapping_byte_add(offset)),
            _ => Err(Errno::EFAULT),
        }
    }

    /// Copies bytes from the segment into a buffer.
    pub(crate) fn copy_out(&self, offset: u64, bytes: &mut [u8]) -> Result<(), Errno> {
        let mut done = 0;
        while done < bytes.len() {
            let from = self.remote(offset + done as u64, bytes.len() - done)?;
            done += process_vm_readv(Pid::this(), &mut [IoSliceMut::new(&mut bytes[done..])], &[from])?;
        }
        Ok(())
    }

    /// Copies a buffer into the segment.
    /// Fails as process_vm_writev(2): EFAULT if the range exceeds the segment or a page cannot be allocated; with the
    /// number of bytes copied before that.
    pub(crate) fn copy_in(&self, offset: u64, bytes: &[u8]) -> Result<(), (usize, Errno)> {
        let mut done = 0;
        while done < bytes.len() {
            let to = self.remote(offset + done as u64, bytes.len() - done);
            let copied = to.and_then(|to| process_vm_writev(Pid::this(), &[IoSlice::new(&bytes[done..])], &[to]));
            done += copied.map_err(|errno| (done, errno))?;
        }
        Ok(())
    }

    /// Describes a range as memory of this process.
    fn remote(&self, offset: u64, length: usize) -> Result<RemoteIoVec, Errno> {
        Ok(RemoteIoVec { base: self.range(offset, length)?.addr(), len: length })
    }

    /// Writes bytes of the segment to a descriptor with write(2). Returns the number of bytes written.
    /// Fails as write(2), including EINTR; EFAULT if the range exceeds the segment or a page cannot be allocated.
    pub(crate) fn send(&self, offset: u64, length: usize, to: BorrowedFd<'_>) -> Result<usize, Errno> {
        let from = self.range(offset, length)?;
        // SAFETY: the kernel reads `length` bytes that `range` found within the mapping, or returns EFAULT.
        let count = unsafe { libc::write(to.as_raw_fd(), from, length) };
        Errno::result(count).map(isize::cast_unsigned)
    }

    /// Reads bytes from a descriptor into the segment with read(2). Returns the number of bytes read, 0 at the end.
    /// Fails as read(2), including EINTR; EFAULT if the range exceeds the segment or a page cannot be allocated.
    pub(crate) fn receive(&self, offset: u64, length: usize, from: BorrowedFd<'_>) -> Result<usize, Errno> {
        let to = self.range(offset, length)?;
        // SAFETY: the kernel writes at most `length` bytes that `range` found within the mapping, or returns EFAULT,
        // which a read-only mapping does too. No Rust reference to them exists.
        let count = unsafe { libc::read(from.as_raw_fd(), to, length) };
        Errno::result(count).map(isize::cast_unsigned)
    }

    /// Moves pages of the segment into a pipe with vmsplice(2), without copying. Returns the number of bytes. Fails as
    /// vmsplice(2): EBADF or EINVAL if the descriptor is not a pipe, EPERM or ENOSYS in some sandboxes, EFAULT.
    pub(crate) fn vmsplice(&self, offset: u64, length: usize, to: BorrowedFd<'_>) -> Result<usize, Errno> {
        let part = libc::iovec { iov_base: self.range(offset, length)?, iov_len: length };
        // SAFETY: one iovec is passed, it lives through the call, and `range` found its bytes within the mapping. The
        // pipe holds references to the pages, so they stay valid if the segment is detached before the pipe is read.
        let count = unsafe { libc::vmsplice(to.as_raw_fd(), &raw const part, 1, 0) };
        Errno::result(count).map(isize::cast_unsigned)
    }

    /// Maps the pages of a range that begins on a page boundary, before a copy out of it (MADV_POPULATE_READ). Failures
    /// are ignored: this is only faster.
    pub(crate) fn populate_read(&self, offset: u64, length: usize) {
        if let Ok(start) = self.range(offset, length) {
            // SAFETY: the range is within the mapping, and the advice only faults pages in and changes no contents.
            let _ = unsafe { libc::madvise(start, length, libc::MADV_POPULATE_READ) };
        }
    }

    /// Returns for each page of a range that begins on a page boundary whether it is in memory (mincore(2)), without
    /// touching it.
    ///
    /// A swapped-out page counts as absent. Of huge pages, mincore only reports those that this process has touched.
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
    pub(crate) fn load_i32(&mut self) -> Result<i32, Errno> {
        let integer = self.range(0, size_of::<i32>())?.cast::<i32>();
        // SAFETY: the first four bytes of a page are mapped and aligned; volatile, since other processes write them.
        Ok(unsafe { integer.read_volatile() })
    }

    /// Writes a native 32-bit integer at offset 0 in one access.
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

    /// Opens the file behind the mapping through /proc/self/map_files, which requires privilege. `mapped` is the size
    /// of the segment rounded up to whole pages.
    /// Fails as open(2): EPERM without CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN, ENOENT without /proc.
    pub(crate) fn open_backing(&self, mapped: u64) -> io::Result<File> {
        let start = self.address();
        // The file name contains the mapping's end address.
        File::open(format!("/proc/self/map_files/{start:x}-{:x}", start + mapped))
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        // SAFETY: shmat returned the address, and no pointer derived from it outlives `self`.
        let _ = unsafe { libc::shmdt(self.address) };
    }
}
