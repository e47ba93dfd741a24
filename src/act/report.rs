//! A report that goes to a file of the user's: one that is replaced when it is whole, or a pipe or device that is written to.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc::O_NONBLOCK;

use super::file::{NewFile, failed};
use crate::error::Error;
use crate::procfs;
use crate::query::System;

/// Where a report goes.
#[derive(Debug)]
pub(crate) struct Report {
    /// What the user called it.
    named: PathBuf,
    /// What is behind that.
    place: Place,
    /// The permission bits of a file that is made.
    mode: u32,
}

/// What is behind a name.
#[derive(Debug)]
enum Place {
    /// A regular file, or none yet, by a path without links.
    File(PathBuf),
    /// Something that is written to as it is.
    Stream(File),
}

impl Report {
    /// Makes sure that a report can be written, before there is one.
    ///
    /// # Errors
    /// The directory does not exist or may not be written to, nobody reads the pipe, or it is a directory (Refused).
    pub(crate) fn begin(system: &System, named: &Path) -> Result<Self, Error> {
        let unopened = |error: &io::Error| failed(named, error, "open");
        let there = named.metadata().ok();
        let is_stream = there.as_ref().is_some_and(|there| {
            let kind = there.file_type();
            // What an open descriptor is called leads to a file that somebody is writing to; /dev/shm has files as well.
            let names = ["/dev/fd", "/dev/stdout", "/dev/stderr", "/proc"];
            let open = names.iter().any(|name| named.starts_with(name));
            kind.is_fifo() || kind.is_char_device() || (kind.is_file() && open)
        });
        let place = if is_stream {
            // A pipe that nobody reads is better known than waited for.
            let file = OpenOptions::new()
                .append(true)
                .custom_flags(O_NONBLOCK)
                .open(named)
                .map_err(|error| unopened(&error))?;
            fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND)).map_err(|errno| unopened(&errno.into()))?;
            Place::Stream(file)
        } else {
            let path = without_links(named).map_err(|error| unopened(&error))?;
            NewFile::begin(&path, true)?;
            Place::File(path)
        };
        let umask = procfs::status_line(system.proc(), "Umask").and_then(|mask| u32::from_str_radix(&mask, 8).ok());
        let mode = match there {
            Some(there) => there.permissions().mode() & 0o777,
            None => 0o666 & !umask.unwrap_or(0o077),
        };
        Ok(Self { named: named.to_owned(), place, mode })
    }

    /// Tells whether two are the same file.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (&self.place, &other.place) {
            (Place::File(one), Place::File(other)) => one == other,
            _ => self.named == other.named,
        }
    }

    /// Writes it.
    ///
    /// # Errors
    /// The disk is full, or the directory is gone.
    pub(crate) fn write(self, write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>) -> Result<(), Error> {
        let fill = |file: &File| {
            let mut out = BufWriter::new(file);
            write(&mut out).and_then(|()| out.flush())
        };
        match &self.place {
            Place::Stream(file) => fill(file).map_err(|error| failed(&self.named, &error, "write")),
            Place::File(path) => {
                let file = NewFile::begin(path, true)?;
                fill(file.file()).map_err(|error| file.failed(&error))?;
                file.give_mode(self.mode)?;
                file.sync()?;
                file.keep(true)
            }
        }
    }
}

/// Gives the path of a file, which need not be there, without links.
fn without_links(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Ok(path) => Ok(path),
        // Nobody knows where a link leads that leads nowhere.
        Err(_) if path.is_symlink() => Ok(path.to_owned()),
        Err(_) => {
            let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            Ok(directory.canonicalize()?.join(path.file_name().unwrap_or_default()))
        }
    }
}
