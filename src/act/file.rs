//! A new file beside others: nothing of it shows under its name before it is whole.

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
use crate::error::{Error, Kind};
use crate::model::path_text;

/// What names of files begin with that are not whole yet.
const PREFIX: &str = ".shmadm-";
/// How often another name is tried where the one that was drawn is taken.
const DRAWS: usize = 1000;

/// A file that is being written in the directory where it shall be; dropped before it is kept, it is gone.
#[derive(Debug)]
pub(crate) struct NewFile {
    /// The file, with mode 0600.
    file: Unnamed,
    /// The path that the user gave, for messages.
    named: PathBuf,
    /// Where the file gets its name.
    destination: Destination,
}

/// A file that does not have its name yet.
#[derive(Debug)]
enum Unnamed {
    /// It has none at all, and is gone with this process whatever ends that.
    Nameless(File),
    /// It has another one, where the file system has no files without a name.
    Otherwise(NamedTempFile),
}

impl NewFile {
    /// Begins a file.
    ///
    /// # Errors
    /// The directory does not exist, cannot be written to, or is reached through a symbolic link of another user; or the
    /// name belongs to something other than a regular file, or to any file without `force` (Refused).
    pub(crate) fn begin(named: &Path, force: bool) -> Result<Self, Error> {
        let destination = Destination::find(named)?;
        if let Some(metadata) = destination.metadata() {
            // Devices, FIFOs and links are never replaced: a user who names /dev/null does not want it to become a file.
            if metadata.is_symlink() {
                return Err(cannot_write(named, "it is a symbolic link"));
            } else if !metadata.is_file() {
                return Err(cannot_write(named, "it is not a regular file"));
            } else if !force {
                return Err(exists(named));
            }
        }
        Self::at(named, destination)
    }

    /// Begins a file that takes its name from whatever has it at the end. Nothing is written through a symbolic link: the
    /// link itself is replaced.
    ///
    /// # Errors
    /// As those of [`NewFile::begin`] about the directory.
    pub(super) fn replacing(named: &Path) -> Result<Self, Error> {
        Self::at(named, Destination::find(named)?)
    }

    /// Begins a file at its destination.
    fn at(named: &Path, destination: Destination) -> Result<Self, Error> {
        let file = match nameless(directory_of(destination.path())) {
            Some(file) => Unnamed::Nameless(file),
            None => Unnamed::Otherwise(self::named(destination.path()).map_err(|error| failed(named, &error, "open"))?),
        };
        Ok(Self { file, named: named.to_owned(), destination })
    }

    /// Returns where the file gets its name.
    pub(super) fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Lends the file.
    pub(crate) fn file(&self) -> &File {
        match &self.file {
            Unnamed::Nameless(file) => file,
            Unnamed::Otherwise(file) => file.as_file(),
        }
    }

    /// Makes the error of a write that failed.
    pub(crate) fn failed(&self, error: &io::Error) -> Error {
        failed(&self.named, error, "write")
    }

    /// Gives the file its permission bits, whatever the umask is.
    ///
    /// # Errors
    /// The file system has none.
    pub(crate) fn give_mode(&self, mode: u32) -> Result<(), Error> {
        let given = self.file().set_permissions(Permissions::from_mode(mode));
        given.map_err(|error| failed(&self.named, &error, "fchmod"))
    }

    /// Has everything on the disk, so that little is left to do when it is kept.
    ///
    /// # Errors
    /// The disk is full.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.file().sync_all().map_err(|error| failed(&self.named, &error, "fsync"))
    }

    /// Gives the file its name, in a way that can be revoked; what has it now is kept under another one until then.
    ///
    /// # Errors
    /// As those of [`NewFile::keep`].
    pub(crate) fn keep_revocably(self, force: bool) -> Result<Revocable, Error> {
        let Self { file, named, destination } = self;
        let before = if force { set_aside(destination.path()) } else { Before::Nothing };
        let kept = keep(file, &named, &destination, force);
        let this = Revocable { destination, before };
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
    /// The directory takes no more, or a file has come by that name meanwhile and `force` is not given.
    pub(crate) fn keep(self, force: bool) -> Result<(), Error> {
        keep(self.file, &self.named, &self.destination, force)
    }
}

/// A file that has its name, and can still lose it again to what had it before.
#[derive(Debug)]
pub(crate) struct Revocable {
    /// Where it has its name.
    destination: Destination,
    /// What had it before.
    before: Before,
}

/// What had a name before another file got it.
#[derive(Debug)]
enum Before {
    /// Nothing.
    Nothing,
    /// A file, which has this name meanwhile.
    Aside(PathBuf),
    /// A file that could not be kept, where the file system has no second names.
    Lost,
}

impl Revocable {
    /// Gives the name back, as far as that can be done.
    pub(crate) fn revoke(self) {
        let _ = match &self.before {
            Before::Aside(before) => std::fs::rename(before, self.destination.path()),
            // It is ours, made just now.
            Before::Nothing => std::fs::remove_file(self.destination.path()),
            Before::Lost => Ok(()),
        };
    }

    /// Lets what had the name before go.
    pub(crate) fn confirm(self) {
        if let Before::Aside(before) = &self.before {
            let _ = std::fs::remove_file(before);
        }
    }
}

/// Gives a file its name.
fn keep(file: Unnamed, named: &Path, destination: &Destination, force: bool) -> Result<(), Error> {
    let path = destination.path();
    let kept = match file {
        Unnamed::Nameless(file) if force => replace(&file, path),
        Unnamed::Nameless(file) => link(&file, path).map_err(io::Error::from),
        Unnamed::Otherwise(file) if force => file.persist(path).map(drop).map_err(|error| error.error),
        Unnamed::Otherwise(file) => file.persist_noclobber(path).map(drop).map_err(|error| error.error),
    };
    kept.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => exists(named),
        _ => failed(named, &error, "link"),
    })
}

/// Gives a file another name beside its own.
fn set_aside(path: &Path) -> Before {
    for _ in 0..DRAWS {
        let other = another_name(path);
        match std::fs::hard_link(path, &other) {
            Ok(()) => return Before::Aside(other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Before::Nothing,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(_) => break,
        }
    }
    Before::Lost
}

/// Draws a name for a file that is not whole yet, or not any more.
fn another_name(path: &Path) -> PathBuf {
    let letters: String = std::iter::repeat_with(fastrand::alphanumeric).take(6).collect();
    directory_of(path).join(OsStr::new(&format!("{PREFIX}{letters}")))
}

/// Returns the directory of a file.
pub(super) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes a file without a name (O_TMPFILE, open(2)); `None` where there are no such files, or none could ever get a name.
fn nameless(directory: &Path) -> Option<File> {
    let file = OpenOptions::new().read(true).write(true).custom_flags(O_TMPFILE).mode(0o600).open(directory).ok()?;
    // Without /proc it could not be named.
    descriptor(&file).symlink_metadata().is_ok().then_some(file)
}

/// Creates a file with a name that no other file has.
fn named(path: &Path) -> io::Result<NamedTempFile> {
    // tempfile wraps the error to name its own file, and the kernel's errno is lost in that: it is noted before.
    let mut errno = None;
    let create = |path: &Path| {
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path);
        file.inspect_err(|error| errno = error.raw_os_error())
    };
    let made = tempfile::Builder::new().prefix(PREFIX).make_in(directory_of(path), create);
    made.map_err(|error| errno.map_or(error, io::Error::from_raw_os_error))
}

/// Gives a file without a name one that nobody has yet.
fn link(file: &File, path: &Path) -> Result<(), Errno> {
    linkat(AT_FDCWD, &descriptor(file), AT_FDCWD, path, AtFlags::AT_SYMLINK_FOLLOW)
}

/// Gives a file without a name one that another file may have, which no call does at once: for a moment it has a third.
fn replace(file: &File, path: &Path) -> io::Result<()> {
    for _ in 0..DRAWS {
        let third = another_name(path);
        match link(file, &third) {
            Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno.into()),
            Ok(()) => {
                return std::fs::rename(&third, path).inspect_err(|_| drop(std::fs::remove_file(&third)));
            }
        }
    }
    Err(Errno::EEXIST.into())
}

/// Gives the path by which an open file can be named.
fn descriptor(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

/// Makes the error of a file that cannot be written.
pub(super) fn failed(path: &Path, error: &io::Error, call: &'static str) -> Error {
    let name = path_text(path);
    let failed = Error::io(format!("cannot write {name}"), error, call).target(name);
    match error.kind() {
        io::ErrorKind::PermissionDenied => failed.cause("this user may not write there"),
        io::ErrorKind::StorageFull => failed.cause("the file system is full"),
        _ => failed,
    }
}

/// Makes the refusal to overwrite.
fn exists(path: &Path) -> Error {
    let name = path_text(path);
    Error::new(Kind::Refused, format!("refused to overwrite {name}: it exists"))
        .target(name)
        .hint("`shmadm … --force` overwrites it")
}
