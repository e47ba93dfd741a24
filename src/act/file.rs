//! A new file that gets its name only when it is complete.
//!
//! The file is created without a name (O_TMPFILE), so that the kernel deletes it however this process ends, or under a
//! temporary name on file systems without O_TMPFILE. It is written, synced and then linked to its name, so that no
//! other process finds an incomplete file. A file that is replaced can be restored from a copy without a name:
//! `dump` writes two files, and replaces both or neither.
//!
//! To replace a file, the new one needs a temporary name for a moment. A killed process leaves it there; the next one
//! that writes a file to the directory deletes it. A running process keeps a lock on its file (flock(2)).

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::fcntl::AT_FDCWD;
use nix::libc::{O_NOFOLLOW, O_NONBLOCK, O_TMPFILE};
use nix::unistd::geteuid;
use tempfile::{NamedTempFile, TempPath};

use super::destination::{Destination, already_exists, cannot_write, directory_of, failed};
use crate::error::Error;
use crate::sys;

/// The prefix of temporary names. It must differ from the prefix of objects that are being removed (`ASIDE` in
/// `aside`).
const PREFIX: &str = ".shmadm-new-";
/// The mode of a file until another one is set.
const PRIVATE: u32 = 0o600;

/// A file that is being written in its directory. It is deleted on drop unless it is committed.
#[derive(Debug)]
pub(crate) struct NewFile {
    file: File,
    /// Its temporary name; `None` for a file without a name.
    temporary: Option<TempPath>,
    /// The path that the user gave, for messages.
    named: PathBuf,
    destination: Destination,
}

impl NewFile {
    /// Creates a file with mode 0600. Fails if the directory does not exist, cannot be written to, or is reached
    /// through a symbolic link of another user. Refuses if the name belongs to something other than a regular file, or
    /// to any file without `force`.
    pub(crate) fn begin(named: &Path, force: bool) -> Result<Self, Error> {
        let destination = Destination::find(named)?;
        if let Some(metadata) = destination.metadata() {
            // Devices, FIFOs and links are never replaced: a user who names /dev/null does not want it to become a
            // file.
            if metadata.is_symlink() {
                return Err(cannot_write(named, "it is a symbolic link"));
            } else if metadata.is_dir() {
                return Err(cannot_write(named, "it is a directory"));
            } else if !metadata.is_file() {
                return Err(cannot_write(named, "it is not a regular file"));
            } else if !force {
                return Err(already_exists(named));
            }
        }
        Self::at(named, destination, PRIVATE)
    }

    /// Creates a file that replaces whatever has its name at the end. A symbolic link itself is replaced, not its
    /// target. The umask applies to `mode`.
    pub(super) fn replacing(named: &Path, mode: u32) -> Result<Self, Error> {
        Self::at(named, Destination::find(named)?, mode)
    }

    fn at(named: &Path, destination: Destination, mode: u32) -> Result<Self, Error> {
        destination.check_sticky(named)?;
        remove_leftovers(directory_of(destination.path()));
        let (file, temporary) = create(destination.path(), mode).map_err(|error| failed(named, &error, "open"))?;
        // Fails on file systems without locks.
        let _ = sys::lock_file(file.as_fd());
        Ok(Self { file, temporary, named: named.to_owned(), destination })
    }

    pub(super) fn destination(&self) -> &Destination {
        &self.destination
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    pub(crate) fn failed(&self, error: &io::Error) -> Error {
        failed(&self.named, error, "write")
    }

    /// Sets the permission bits, regardless of the umask.
    pub(crate) fn set_mode(&self, mode: u32) -> Result<(), Error> {
        let result = self.file.set_permissions(Permissions::from_mode(mode));
        result.map_err(|error| failed(&self.named, &error, "fchmod"))
    }

    /// Writes the data to disk, so that little can fail when the file gets its name.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.file.sync_all().map_err(|error| failed(&self.named, &error, "fsync"))
    }

    /// Links the file under its name.
    /// Fails if the file cannot be linked, and without `force` if a file with that name exists.
    pub(crate) fn commit(self, force: bool) -> Result<(), Error> {
        self.link(force).map(drop)
    }

    /// Links the file under its name, and returns what is needed to restore a file that it replaces.
    pub(crate) fn commit_with_rollback(self, force: bool) -> Result<Replacement, Error> {
        // Fails if there is no such file.
        let previous = if force { self.copy_of_previous().ok() } else { None };
        Ok(Replacement { destination: self.link(force)?, previous })
    }

    /// Copies the file that has the name now. The copy has no name, unlike a second hard link, so that it disappears if
    /// this process is killed.
    fn copy_of_previous(&self) -> io::Result<Self> {
        let path = self.destination.path();
        let mut previous = open_regular(path)?;
        let metadata = previous.metadata()?;
        let copy = Self::replacing(&self.named, PRIVATE).map_err(io::Error::other)?;
        io::copy(&mut previous, &mut &copy.file)?;
        // The caller may lack the right to give it to the same owner.
        let _ = fchown(&copy.file, Some(metadata.uid()), Some(metadata.gid()));
        copy.file.set_permissions(metadata.permissions())?;
        Ok(copy)
    }

    fn link(self, force: bool) -> Result<Destination, Error> {
        let Self { file, temporary, named, destination } = self;
        let path = destination.path();
        let link = |name: &Path| Ok(sys::link_unnamed(file.as_fd(), AT_FDCWD, name.as_os_str())?);
        let linked = match temporary {
            Some(temporary) if force => temporary.persist(path).map_err(io::Error::from),
            Some(temporary) => temporary.persist_noclobber(path).map_err(io::Error::from),
            // No system call links a file over another one, so it gets a temporary name first.
            None if force => with_temporary_name(path, link).and_then(|((), temporary)| Ok(temporary.persist(path)?)),
            None => link(path),
        };
        match linked {
            Ok(()) => Ok(destination),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(already_exists(&named)),
            Err(error) => Err(failed(&named, &error, "link")),
        }
    }
}

/// A file that has its name and can be rolled back.
#[derive(Debug)]
pub(crate) struct Replacement {
    destination: Destination,
    /// A copy of the file that had the name before.
    previous: Option<NewFile>,
}

impl Replacement {
    /// Restores the previous file, or deletes the new one if there was none. Failures are ignored.
    pub(crate) fn roll_back(self) {
        match self.previous {
            Some(previous) => drop(previous.sync().and_then(|()| previous.commit(true))),
            None => drop(std::fs::remove_file(self.destination.path())),
        }
    }
}

/// Creates a file in the directory of `path`: without a name if the file system supports that and the file can be
/// linked later, which requires /proc, and otherwise with a temporary name.
fn create(path: &Path, mode: u32) -> io::Result<(File, Option<TempPath>)> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(mode);
    if let Ok(file) = options.clone().custom_flags(O_TMPFILE).open(directory_of(path))
        && sys::descriptor_path(file.as_fd()).symlink_metadata().is_ok()
    {
        return Ok((file, None));
    }
    let (file, temporary) = with_temporary_name(path, |name| options.clone().create_new(true).open(name))?;
    Ok((file, Some(temporary)))
}

/// Opens a regular file to read it. Follows no symbolic link, and does not wait for the writer of a FIFO.
fn open_regular(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

/// Deletes the caller's files that killed processes left under temporary names.
fn remove_leftovers(directory: &Path) {
    let is_own = |file: &File| file.metadata().is_ok_and(|it| it.uid() == geteuid().as_raw());
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_name().as_bytes().starts_with(PREFIX.as_bytes())
            && let Ok(file) = open_regular(&entry.path())
            && is_own(&file)
            && sys::lock_file(file.as_fd()).is_ok()
        {
            // If it fails, the file stays, as it would without the attempt.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Creates a file with a random name that no other file has, in the directory of `path`. Dropping the name deletes the
/// file.
fn with_temporary_name<T>(path: &Path, mut create: impl FnMut(&Path) -> io::Result<T>) -> io::Result<(T, TempPath)> {
    // tempfile wraps the error in one without an errno, so keep the errno.
    let mut errno = None;
    let create = |name: &Path| create(name).inspect_err(|error| errno = error.raw_os_error());
    let file = tempfile::Builder::new().prefix(PREFIX).make_in(directory_of(path), create);
    file.map(NamedTempFile::into_parts).map_err(|error| errno.map_or(error, io::Error::from_raw_os_error))
}
