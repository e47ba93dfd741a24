//! Files and pipes: transfers, positions, holes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl};
use nix::libc::{self, O_NONBLOCK, c_int};
use nix::sys::stat::fstat;
use nix::unistd::{Whence, ftruncate, lseek};

/// Opens a file for reading without blocking, even if it is a FIFO without a writer.
pub(crate) fn open_nonblocking(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path)
}

/// Writes bytes to a descriptor. Returns the number of bytes written.
///
/// # Errors
/// write(2), including EINTR.
pub(crate) fn write(to: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
    nix::unistd::write(to, bytes)
}

/// Moves bytes of a file into a pipe without copying (splice(2)). Returns the number of bytes, 0 at the end of the
/// file.
///
/// # Errors
/// splice(2): EINVAL if `to` is not a pipe, EPERM or ENOSYS in some sandboxes.
pub(crate) fn splice(file: BorrowedFd<'_>, offset: u64, length: usize, to: BorrowedFd<'_>) -> Result<usize, Errno> {
    let mut position = i64::try_from(offset).map_err(|_| Errno::EOVERFLOW)?;
    nix::fcntl::splice(file, Some(&mut position), to, None, length, SpliceFFlags::empty())
}

/// Reads bytes from a descriptor. Returns the number of bytes read, 0 at the end.
///
/// # Errors
/// read(2), including EINTR.
pub(crate) fn read(from: BorrowedFd<'_>, bytes: &mut [u8]) -> Result<usize, Errno> {
    nix::unistd::read(from, bytes)
}

/// Returns the position of a descriptor in its file, and the size of the file. `None` if it is not seekable or has
/// size 0, as files of /proc do.
pub(crate) fn position_and_size(file: BorrowedFd<'_>) -> Option<(u64, u64)> {
    let size = u64::try_from(fstat(file).ok()?.st_size).ok().filter(|size| *size > 0)?;
    Some((u64::try_from(lseek(file, 0, Whence::SeekCur).ok()?).ok()?, size))
}

/// Sets the position of a descriptor.
///
/// # Errors
/// lseek(2).
pub(crate) fn seek_to(file: BorrowedFd<'_>, offset: u64) -> Result<(), Errno> {
    lseek(file, i64::try_from(offset).map_err(|_| Errno::EOVERFLOW)?, Whence::SeekSet).map(drop)
}

/// Advances the position of a descriptor.
///
/// # Errors
/// lseek(2).
pub(crate) fn skip(file: BorrowedFd<'_>, bytes: u64) -> Result<(), Errno> {
    lseek(file, i64::try_from(bytes).map_err(|_| Errno::EOVERFLOW)?, Whence::SeekCur).map(drop)
}

/// Returns the start and end of the next data at or after an offset (SEEK_DATA, SEEK_HOLE). `None` if only a hole
/// follows.
///
/// # Errors
/// lseek(2).
pub(crate) fn next_data(file: BorrowedFd<'_>, offset: u64) -> Result<Option<(u64, u64)>, Errno> {
    let seek = |offset: u64, whence| {
        let offset = i64::try_from(offset).map_err(|_| Errno::EOVERFLOW)?;
        lseek(file, offset, whence).map(i64::cast_unsigned)
    };
    match seek(offset, Whence::SeekData) {
        Ok(start) => Ok(Some((start, seek(start, Whence::SeekHole)?))),
        Err(Errno::ENXIO) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Reads one byte, and returns whether that reached the end.
///
/// # Errors
/// read(2), including EINTR.
pub(crate) fn is_at_end(from: BorrowedFd<'_>) -> Result<bool, Errno> {
    nix::unistd::read(from, &mut [0]).map(|count| count == 0)
}

/// Returns whether RLIMIT_FSIZE allows a file of this size.
pub(super) fn fits_file_size_limit(size: u64) -> bool {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a complete `rlimit`, which the call fills.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit) };
    result == 0 && size <= limit.rlim_cur
}

/// Enlarges a pipe, so that fewer calls fill it, and ignores failures. Returns whether the descriptor is a pipe.
pub(crate) fn widen_pipe(pipe: BorrowedFd<'_>, bytes: c_int) -> bool {
    let Ok(current) = fcntl(pipe, FcntlArg::F_GETPIPE_SZ) else { return false };
    if current < bytes {
        let _ = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(bytes));
    }
    true
}

/// A file that is written from its current position and can have holes.
#[derive(Debug)]
pub(crate) struct SparseFile<'a>(BorrowedFd<'a>);

impl<'a> SparseFile<'a> {
    /// Checks that a descriptor is at the end of a file, where skipped bytes become holes.
    ///
    /// # Errors
    /// lseek(2): ESPIPE if it is not seekable; EINVAL if it has O_APPEND; EEXIST if the file continues after the
    /// position, so that skipping would keep the old contents.
    pub(crate) fn begin(file: BorrowedFd<'a>) -> Result<Self, Errno> {
        let position = lseek(file, 0, Whence::SeekCur)?;
        if OFlag::from_bits_retain(fcntl(file, FcntlArg::F_GETFL)?).contains(OFlag::O_APPEND) {
            return Err(Errno::EINVAL);
        }
        if fstat(file)?.st_size > position { Err(Errno::EEXIST) } else { Ok(Self(file)) }
    }

    /// Leaves a hole of `bytes` bytes.
    ///
    /// # Errors
    /// lseek(2): EOVERFLOW or EINVAL if a file cannot have that size.
    pub(crate) fn skip(&mut self, bytes: u64) -> Result<(), Errno> {
        skip(self.0, bytes)
    }

    /// Extends the file to the current position, which a hole at the end does not do.
    ///
    /// # Errors
    /// ftruncate(2): EFBIG, EINVAL.
    pub(crate) fn end(self) -> Result<(), Errno> {
        let position = lseek(self.0, 0, Whence::SeekCur)?;
        if fstat(self.0)?.st_size < position { ftruncate(self.0, position) } else { Ok(()) }
    }
}
