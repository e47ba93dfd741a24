//! A report in a file that the user names. A regular file is replaced when the report is complete. A FIFO, a device or
//! an open descriptor is written to.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc::{O_NOFOLLOW, O_NONBLOCK};

use super::destination::{Destination, cannot_write, failed, is_root_or_caller};
use super::file::NewFile;
use crate::error::Error;
use crate::model::is_descriptor;

/// The mode of a report before the umask, regardless of the file that it replaces. `rm --from` removes what a report
/// lists, so only its owner may write it.
const MODE: u32 = 0o644;

#[derive(Debug)]
pub(crate) struct Report {
    /// The path that the user gave.
    named: PathBuf,
    /// A FIFO, device or descriptor to write to; `None` for a regular file, which is replaced.
    stream: Option<File>,
    /// Device and inode of the directory and the name in it, which are the same for every path of one file; of a stream
    /// its path.
    identity: (u64, u64, PathBuf),
}

impl Report {
    /// Checks that a report can be written to a path, before the report exists. Fails if the directory does not exist
    /// or cannot be written to, or if a FIFO has no reader. Refuses a directory, a symbolic link, a path through a
    /// symbolic link of another user, and another user's FIFO in a directory like /tmp.
    pub(crate) fn begin(named: &Path) -> Result<Self, Error> {
        let stream = open_stream(named)?;
        let identity = match &stream {
            Some(_) => (0, 0, named.to_owned()),
            None => NewFile::begin(named, true)?.destination().identity()?,
        };
        Ok(Self { named: named.to_owned(), stream, identity })
    }

    pub(crate) fn is_terminal(&self) -> bool {
        self.stream.as_ref().is_some_and(File::is_terminal)
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.identity == other.identity
    }

    /// Returns the file of a report that grows while others read it. A regular file is replaced now.
    pub(crate) fn into_log(self) -> Result<Log, Error> {
        let file = match self.stream {
            Some(stream) => stream,
            None => {
                let new = NewFile::replacing(&self.named, MODE)?;
                let file = new.file().try_clone().map_err(|error| new.failed(&error))?;
                new.commit(true)?;
                file
            }
        };
        Ok(Log { named: self.named, file })
    }

    pub(crate) fn write(self, write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>) -> Result<(), Error> {
        let fill = |file: &File| {
            let mut out = BufWriter::new(file);
            write(&mut out).and_then(|()| out.flush())
        };
        match &self.stream {
            Some(stream) => fill(stream).map_err(|error| failed(&self.named, &error, "write")),
            None => {
                let file = NewFile::replacing(&self.named, MODE)?;
                fill(file.file()).map_err(|error| file.failed(&error))?;
                file.sync()?;
                file.commit(true)
            }
        }
    }
}

/// A report that grows while others read it.
#[derive(Debug)]
pub(crate) struct Log {
    named: PathBuf,
    file: File,
}

impl Log {
    pub(crate) fn is_terminal(&self) -> bool {
        self.file.is_terminal()
    }

    /// Appends text with one call of write(2), unless that accepts only part of it. A closed pipe is not an error.
    pub(crate) fn append(&mut self, text: &[u8]) -> Result<(), Error> {
        match self.file.write_all(text) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written.map_err(|error| failed(&self.named, &error, "write")),
        }
    }
}

/// Opens the descriptor, FIFO or device that a path names. Returns `None` for any other file.
fn open_stream(named: &Path) -> Result<Option<File>, Error> {
    // O_NONBLOCK: opening a FIFO without a reader fails instead of waiting for one.
    let open = |path: &Path, flags| {
        let file = OpenOptions::new().append(true).custom_flags(O_NONBLOCK | flags).open(path);
        let file = file.and_then(|file| {
            fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND))?;
            Ok(file)
        });
        file.map_err(|error| failed(named, &error, "open"))
    };
    if is_descriptor(named) {
        return open(named, 0).map(Some);
    }
    let destination = Destination::find(named)?;
    let is_stream = |kind: std::fs::FileType| kind.is_fifo() || kind.is_char_device();
    if !destination.metadata().is_some_and(|metadata| is_stream(metadata.file_type())) {
        return Ok(None);
    }
    // Check the opened file, since the path may name another file by now.
    let file = open(destination.path(), O_NOFOLLOW)?;
    let opened = file.metadata().map_err(|error| failed(named, &error, "fstat"))?;
    if !is_stream(opened.file_type()) {
        return Err(cannot_write(named, "it was replaced by another file"));
    }
    // In a shared directory another user may have made it to read the report. The kernel refuses such FIFOs too, but
    // only to programs that open them with O_CREAT (fs.protected_fifos).
    if opened.file_type().is_fifo() && !is_root_or_caller(opened.uid()) && destination.is_shared() {
        return Err(cannot_write(named, &format!("it is a FIFO of another user (uid {})", opened.uid())));
    }
    Ok(Some(file))
}
