//! A new file that gets its name only when it is complete.
//!
//! The file is created without a name (O_TMPFILE), or under a temporary name on file systems without O_TMPFILE. It is
//! written, synced and then linked to its name, so that no other process finds an incomplete file. A file that is
//! replaced can be restored until the replacement is confirmed: `dump` writes two files, and replaces both or neither.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::libc::O_TMPFILE;
use nix::unistd::linkat;
use tempfile::NamedTempFile;

use super::destination::{Destination, cannot_write};
use crate::error::{Error, Kind, again};
use crate::model::path_text;

/// The prefix of temporary names.
const PREFIX: &str = ".shmadm-";
/// How many random names are tried.
const MAX_ATTEMPTS: usize = 1000;

/// A file that is being written in its directory. It is deleted on drop unless it is committed.
#[derive(Debug)]
pub(crate) struct NewFile {
    /// The file, with mode 0600.
    file: Unnamed,
    /// The path that the user gave, for messages.
    named: PathBuf,
    destination: Destination,
}

/// A file that does not have its final name yet.
#[derive(Debug)]
enum Unnamed {
    /// Without a name (O_TMPFILE): the kernel deletes it when this process exits, however that happens.
    Anonymous(File),
    /// With a temporary name, on file systems without O_TMPFILE.
    Named(NamedTempFile),
}

impl NewFile {
    /// Creates a file.
    ///
    /// # Errors
    /// Fails if the directory does not exist, cannot be written to, or is reached through a symbolic link of another user.
    /// Refuses if the name belongs to something other than a regular file, or to any file without `force`.
    pub(crate) fn begin(named: &Path, force: bool) -> Result<Self, Error> {
        let destination = Destination::find(named)?;
        if let Some(metadata) = destination.metadata() {
            // Devices, FIFOs and links are never replaced: a user who names /dev/null does not want it to become a file.
            if metadata.is_symlink() {
                return Err(cannot_write(named, "it is a symbolic link"));
            } else if !metadata.is_file() {
                return Err(cannot_write(named, "it is not a regular file"));
            } else if !force {
                return Err(already_exists(named));
            }
        }
        Self::at(named, destination)
    }

    /// Creates a file that replaces whatever has its name at the end. A symbolic link itself is replaced, not its target.
    pub(super) fn replacing(named: &Path) -> Result<Self, Error> {
        Self::at(named, Destination::find(named)?)
    }

    fn at(named: &Path, destination: Destination) -> Result<Self, Error> {
        let file = match create_anonymous(directory_of(destination.path())) {
            Some(file) => Unnamed::Anonymous(file),
            None => Unnamed::Named(create_named(destination.path()).map_err(|error| failed(named, &error, "open"))?),
        };
        Ok(Self { file, named: named.to_owned(), destination })
    }

    pub(super) fn destination(&self) -> &Destination {
        &self.destination
    }

    pub(crate) fn file(&self) -> &File {
        match &self.file {
            Unnamed::Anonymous(file) => file,
            Unnamed::Named(file) => file.as_file(),
        }
    }

    /// Returns the error of a failed write to this file.
    pub(crate) fn failed(&self, error: &io::Error) -> Error {
        failed(&self.named, error, "write")
    }

    /// Sets the permission bits, regardless of the umask.
    pub(crate) fn set_mode(&self, mode: u32) -> Result<(), Error> {
        let result = self.file().set_permissions(Permissions::from_mode(mode));
        result.map_err(|error| failed(&self.named, &error, "fchmod"))
    }

    /// Writes the data to disk, so that little can fail when the file gets its name.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.file().sync_all().map_err(|error| failed(&self.named, &error, "fsync"))
    }

    /// Gives the file its name, and keeps a file that it replaces under a temporary name until the replacement is
    /// confirmed.
    pub(crate) fn commit_with_rollback(self, force: bool) -> Result<Replacement, Error> {
        let Self { file, named, destination } = self;
        let previous = if force { link_previous(destination.path()) } else { Previous::None };
        let kept = commit(file, &named, &destination, force);
        let this = Replacement { destination, previous };
        match kept {
            Ok(()) => Ok(this),
            Err(error) => {
                this.confirm();
                Err(error)
            }
        }
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// Fails if the file cannot be linked, and without `force` if a file with that name exists.
    pub(crate) fn commit(self, force: bool) -> Result<(), Error> {
        commit(self.file, &self.named, &self.destination, force)
    }
}

/// A file that has its name and can be rolled back.
#[derive(Debug)]
pub(crate) struct Replacement {
    destination: Destination,
    previous: Previous,
}

/// The file that had the name before.
#[derive(Debug)]
enum Previous {
    None,
    /// It has this temporary name.
    SavedAs(PathBuf),
    /// It could not be saved, since the file system has no hard links.
    Lost,
}

impl Replacement {
    /// Restores the previous file, or deletes the new one if there was none. Failures are ignored.
    pub(crate) fn roll_back(self) {
        let _ = match &self.previous {
            Previous::SavedAs(saved) => std::fs::rename(saved, self.destination.path()),
            Previous::None => std::fs::remove_file(self.destination.path()),
            Previous::Lost => Ok(()),
        };
    }

    /// Deletes the previous file.
    pub(crate) fn confirm(self) {
        if let Previous::SavedAs(saved) = &self.previous {
            let _ = std::fs::remove_file(saved);
        }
    }
}

fn commit(file: Unnamed, named: &Path, destination: &Destination, force: bool) -> Result<(), Error> {
    let path = destination.path();
    let kept = match file {
        Unnamed::Anonymous(file) if force => replace(&file, path),
        Unnamed::Anonymous(file) => link(&file, path).map_err(io::Error::from),
        Unnamed::Named(file) if force => file.persist(path).map(drop).map_err(|error| error.error),
        Unnamed::Named(file) => file.persist_noclobber(path).map(drop).map_err(|error| error.error),
    };
    kept.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => already_exists(named),
        _ => failed(named, &error, "link"),
    })
}

/// Links an existing file to a temporary name.
fn link_previous(path: &Path) -> Previous {
    for _ in 0..MAX_ATTEMPTS {
        let other = random_name(path);
        match std::fs::hard_link(path, &other) {
            Ok(()) => return Previous::SavedAs(other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Previous::None,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(_) => break,
        }
    }
    Previous::Lost
}

/// Returns a random temporary name in the directory of `path`.
fn random_name(path: &Path) -> PathBuf {
    let letters: String = std::iter::repeat_with(fastrand::alphanumeric).take(6).collect();
    directory_of(path).join(OsStr::new(&format!("{PREFIX}{letters}")))
}

/// Returns the directory of a file.
pub(super) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Creates a file without a name (O_TMPFILE). Returns `None` if the file system does not support it, or if the file could
/// not be linked later.
fn create_anonymous(directory: &Path) -> Option<File> {
    let file = OpenOptions::new().read(true).write(true).custom_flags(O_TMPFILE).mode(0o600).open(directory).ok()?;
    // linkat needs /proc/self/fd.
    descriptor_path(&file).symlink_metadata().is_ok().then_some(file)
}

/// Creates a file with a name that no other file has.
fn create_named(path: &Path) -> io::Result<NamedTempFile> {
    // tempfile wraps the error in one without an errno, so keep the errno.
    let mut errno = None;
    let create = |path: &Path| {
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path);
        file.inspect_err(|error| errno = error.raw_os_error())
    };
    let file = tempfile::Builder::new().prefix(PREFIX).make_in(directory_of(path), create);
    file.map_err(|error| errno.map_or(error, io::Error::from_raw_os_error))
}

/// Links a file without a name to a path. Fails with EEXIST if the path exists.
fn link(file: &File, path: &Path) -> Result<(), Errno> {
    linkat(AT_FDCWD, &descriptor_path(file), AT_FDCWD, path, AtFlags::AT_SYMLINK_FOLLOW)
}

/// Links a file without a name to a path, replacing an existing file. No system call does this, so the file is linked to
/// a temporary name and renamed.
fn replace(file: &File, path: &Path) -> io::Result<()> {
    for _ in 0..MAX_ATTEMPTS {
        let temporary = random_name(path);
        match link(file, &temporary) {
            Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno.into()),
            Ok(()) => {
                return std::fs::rename(&temporary, path).inspect_err(|_| drop(std::fs::remove_file(&temporary)));
            }
        }
    }
    Err(Errno::EEXIST.into())
}

fn descriptor_path(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

/// Returns the error of a system call on a file that is to be written.
pub(super) fn failed(path: &Path, error: &io::Error, call: &'static str) -> Error {
    let name = path_text(path);
    let failed = Error::io(format!("cannot write {name}"), error, call).target(name);
    match error.kind() {
        io::ErrorKind::PermissionDenied => failed.cause("the caller has no write permission there"),
        io::ErrorKind::StorageFull => failed.cause("the file system is full"),
        _ => failed,
    }
}

fn already_exists(path: &Path) -> Error {
    let name = path_text(path);
    Error::new(Kind::Refused, format!("cannot write {name}: it already exists"))
        .target(name)
        .hint("overwrite it", again("--force"))
}
