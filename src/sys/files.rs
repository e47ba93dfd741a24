//! Descriptors that bytes come from and go to: pipes, files with holes.

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

/// Opens a file to read it, and never waits for a pipe's other end.
///
/// # Errors
/// open(2).
pub(crate) fn open_at_once(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path)
}

/// Writes bytes to a descriptor; gives how many it took.
///
/// # Errors
/// write(2), EINTR included.
pub(crate) fn write(to: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
    nix::unistd::write(to, bytes)
}

/// Moves bytes of a file to a pipe without a copy (splice(2)); gives how many, 0 at the file's end.
///
/// # Errors
/// splice(2): EINVAL if `to` is no pipe, EPERM or ENOSYS in some sandboxes.
pub(crate) fn splice(file: BorrowedFd<'_>, offset: u64, length: usize, to: BorrowedFd<'_>) -> Result<usize, Errno> {
    let mut position = i64::try_from(offset).map_err(|_| Errno::EOVERFLOW)?;
    nix::fcntl::splice(file, Some(&mut position), to, None, length, SpliceFFlags::empty())
}

/// Reads bytes from a descriptor; gives how many came, 0 at the end.
///
/// # Errors
/// read(2), EINTR included.
pub(crate) fn read(from: BorrowedFd<'_>, bytes: &mut [u8]) -> Result<usize, Errno> {
    nix::unistd::read(from, bytes)
}

/// Gives where a descriptor stands in a file, and how long that is; `None` if it is none, or says that it is empty.
pub(crate) fn place_in_file(file: BorrowedFd<'_>) -> Option<(u64, u64)> {
    let size = u64::try_from(fstat(file).ok()?.st_size).ok().filter(|size| *size > 0)?;
    Some((u64::try_from(lseek(file, 0, Whence::SeekCur).ok()?).ok()?, size))
}

/// Has a descriptor stand at an offset.
///
/// # Errors
/// lseek(2).
pub(crate) fn move_to(file: BorrowedFd<'_>, offset: u64) -> Result<(), Errno> {
    lseek(file, i64::try_from(offset).map_err(|_| Errno::EOVERFLOW)?, Whence::SeekSet).map(drop)
}

/// Has a descriptor go on so many bytes.
///
/// # Errors
/// lseek(2).
pub(crate) fn skip(file: BorrowedFd<'_>, bytes: u64) -> Result<(), Errno> {
    lseek(file, i64::try_from(bytes).map_err(|_| Errno::EOVERFLOW)?, Whence::SeekCur).map(drop)
}

/// Gives where the next bytes that a file really has begin and end, from an offset on (SEEK_DATA, SEEK_HOLE); `None`
/// if there are none any more.
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

/// Tells whether a descriptor has nothing more to read, by reading a byte of it.
///
/// # Errors
/// read(2), EINTR included.
pub(crate) fn is_at_end(from: BorrowedFd<'_>) -> Result<bool, Errno> {
    nix::unistd::read(from, &mut [0]).map(|count| count == 0)
}

/// Tells whether this process may write files of so many bytes (RLIMIT_FSIZE).
pub(super) fn may_be_as_large_as(size: u64) -> bool {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a whole record, which the call fills.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit) };
    result == 0 && size <= limit.rlim_cur
}

/// Makes a pipe larger, so that fewer calls fill it; any answer will do. Gives whether it is a pipe.
pub(crate) fn widen_pipe(pipe: BorrowedFd<'_>, bytes: c_int) -> bool {
    let Ok(current) = fcntl(pipe, FcntlArg::F_GETPIPE_SZ) else { return false };
    if current < bytes {
        let _ = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(bytes));
    }
    true
}

/// A file that is written from where it stands on, and may have holes left in it.
#[derive(Debug)]
pub(crate) struct SparseFile<'a>(BorrowedFd<'a>);

impl<'a> SparseFile<'a> {
    /// Takes a descriptor that stands at the end of a file.
    ///
    /// # Errors
    /// lseek(2): ESPIPE if it is no file; EINVAL if it only appends; EEXIST if the file goes on behind that place, where
    /// holes would leave standing what is there.
    pub(crate) fn begin(file: BorrowedFd<'a>) -> Result<Self, Errno> {
        let position = lseek(file, 0, Whence::SeekCur)?;
        if OFlag::from_bits_retain(fcntl(file, FcntlArg::F_GETFL)?).contains(OFlag::O_APPEND) {
            return Err(Errno::EINVAL);
        }
        if fstat(file)?.st_size > position { Err(Errno::EEXIST) } else { Ok(Self(file)) }
    }

    /// Leaves a hole of so many bytes.
    ///
    /// # Errors
    /// lseek(2): EOVERFLOW, EINVAL if files cannot be as large as that.
    pub(crate) fn skip(&mut self, bytes: u64) -> Result<(), Errno> {
        skip(self.0, bytes)
    }

    /// Makes the file as long as what was written and skipped.
    ///
    /// # Errors
    /// ftruncate(2): EFBIG, EINVAL.
    pub(crate) fn end(self) -> Result<(), Errno> {
        let position = lseek(self.0, 0, Whence::SeekCur)?;
        if fstat(self.0)?.st_size < position { ftruncate(self.0, position) } else { Ok(()) }
    }
}
