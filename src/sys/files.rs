//! Files and pipes: transfers, positions, holes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc::O_NONBLOCK;
use nix::sys::stat::fstat;
use nix::unistd::{Whence, ftruncate, lseek};

/// The size of an enlarged pipe: the limit of an unprivileged user, pipe(7).
const PIPE_SIZE: i32 = 1 << 20;

/// Opens a file for reading without blocking, even if it is a FIFO without a writer.
pub(crate) fn open_nonblocking(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path)
}

/// Writes bytes of a file to any descriptor without copying them into this process (sendfile(2)). Returns the number of
/// bytes, 0 at the end of the file.
/// Fails as sendfile(2): EINVAL if the file does not support it, as those of huge pages, or if `to` is in append mode;
/// EPERM or ENOSYS in some sandboxes.
pub(crate) fn send_file(file: BorrowedFd<'_>, offset: u64, length: usize, to: BorrowedFd<'_>) -> Result<usize, Errno> {
    let mut position = i64::try_from(offset).map_err(|_| Errno::EOVERFLOW)?;
    nix::sys::sendfile::sendfile(to, file, Some(&mut position), length)
}

/// Returns the position of a descriptor in its file, and the size of the file. `None` if it is not seekable or has
/// size 0, as files of /proc do.
pub(crate) fn position_and_size(file: BorrowedFd<'_>) -> Option<(u64, u64)> {
    let size = u64::try_from(fstat(file).ok()?.st_size).ok().filter(|size| *size > 0)?;
    Some((seek(file, 0, Whence::SeekCur).ok()?, size))
}

/// Calls lseek(2). Returns the new position.
fn seek(file: BorrowedFd<'_>, offset: u64, whence: Whence) -> Result<u64, Errno> {
    let offset = i64::try_from(offset).map_err(|_| Errno::EOVERFLOW)?;
    lseek(file, offset, whence).map(i64::cast_unsigned)
}

pub(crate) fn seek_to(file: BorrowedFd<'_>, offset: u64) -> Result<(), Errno> {
    seek(file, offset, Whence::SeekSet).map(drop)
}

pub(crate) fn skip(file: BorrowedFd<'_>, bytes: u64) -> Result<(), Errno> {
    seek(file, bytes, Whence::SeekCur).map(drop)
}

/// Returns the start and end of the next data at or after an offset (SEEK_DATA, SEEK_HOLE). `None` if only a hole
/// follows.
pub(crate) fn next_data(file: BorrowedFd<'_>, offset: u64) -> Result<Option<(u64, u64)>, Errno> {
    match seek(file, offset, Whence::SeekData) {
        Ok(start) => Ok(Some((start, seek(file, start, Whence::SeekHole)?))),
        Err(Errno::ENXIO) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Enlarges a pipe, so that fewer calls fill or empty it, and ignores failures.
pub(crate) fn widen_pipe(pipe: BorrowedFd<'_>) {
    if fcntl(pipe, FcntlArg::F_GETPIPE_SZ).is_ok_and(|size| size < PIPE_SIZE) {
        let _ = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(PIPE_SIZE));
    }
}

/// A file that is written from its current position and can have holes.
#[derive(Debug)]
pub(crate) struct SparseFile<'a>(BorrowedFd<'a>);

impl<'a> SparseFile<'a> {
    /// Checks that a descriptor is at the end of a file, where skipped bytes become holes. Fails as lseek(2): ESPIPE if
    /// it is not seekable; EINVAL if it has O_APPEND; EEXIST if the file continues after the position, so skipping
    /// would keep the old contents.
    pub(crate) fn begin(file: BorrowedFd<'a>) -> Result<Self, Errno> {
        let position = lseek(file, 0, Whence::SeekCur)?;
        if OFlag::from_bits_retain(fcntl(file, FcntlArg::F_GETFL)?).contains(OFlag::O_APPEND) {
            return Err(Errno::EINVAL);
        }
        if fstat(file)?.st_size > position { Err(Errno::EEXIST) } else { Ok(Self(file)) }
    }

    pub(crate) fn skip(&self, bytes: u64) -> Result<(), Errno> {
        skip(self.0, bytes)
    }

    /// Extends the file to the current position, which a hole at the end does not do.
    pub(crate) fn end(self) -> Result<(), Errno> {
        let position = lseek(self.0, 0, Whence::SeekCur)?;
        if fstat(self.0)?.st_size < position { ftruncate(self.0, position) } else { Ok(()) }
    }
}
