//! A new file beside others: nothing of it shows under its name before it is whole.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Error, Kind};

/// A file that is being written under another name in the same directory; dropped before it is kept, it is gone.
#[derive(Debug)]
pub(crate) struct NewFile {
    /// The file, with mode 0600.
    file: NamedTempFile,
    /// The name that it shall have.
    path: PathBuf,
}

impl NewFile {
    /// Begins a file.
    ///
    /// # Errors
    /// The directory does not exist, or may not be written to; or something has the name that is no regular file, or
    /// `force` is not given (Refused).
    pub(crate) fn begin(path: &Path, force: bool) -> Result<Self, Error> {
        if let Ok(metadata) = path.symlink_metadata() {
            // Devices, pipes and links are never replaced: who names /dev/null does not want it to become a file.
            if !metadata.is_file() {
                let name = path.to_string_lossy();
                return Err(Error::new(Kind::Refused, format!("refused to overwrite {name}: it is no regular file"))
                    .target(name));
            }
            if !force {
                return Err(exists(path));
            }
        }
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // tempfile wraps the error to name its own file, and the kernel's errno is lost in that: it is noted before.
        let mut errno = None;
        let create = |path: &Path| {
            let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path);
            file.inspect_err(|error| errno = error.raw_os_error())
        };
        let made = tempfile::Builder::new().prefix(".shmadm-").make_in(directory, create);
        let file = made.map_err(|error| {
            let error = errno.map_or(error, io::Error::from_raw_os_error);
            failed(path, &error, "open")
        })?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Lends the file.
    pub(crate) fn file(&self) -> &File {
        self.file.as_file()
    }

    /// Makes the error of a write that failed.
    pub(crate) fn failed(&self, error: &io::Error) -> Error {
        failed(&self.path, error, "write")
    }

    /// Gives the file its permission bits, whatever the umask is.
    ///
    /// # Errors
    /// The file system has none.
    pub(crate) fn give_mode(&self, mode: u32) -> Result<(), Error> {
        let given = self.file().set_permissions(Permissions::from_mode(mode));
        given.map_err(|error| failed(&self.path, &error, "fchmod"))
    }

    /// Gives the file its name, with everything on the disk.
    ///
    /// # Errors
    /// The disk is full, or a file has come by that name meanwhile and `force` is not given.
    pub(crate) fn keep(self, force: bool) -> Result<(), Error> {
        let Self { file, path } = self;
        file.as_file().sync_all().map_err(|error| failed(&path, &error, "fsync"))?;
        let kept = if force { file.persist(&path) } else { file.persist_noclobber(&path) };
        match kept {
            Ok(_) => Ok(()),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Err(exists(&path)),
            Err(error) => Err(failed(&path, &error.error, "rename")),
        }
    }
}

/// Makes the error of a file that cannot be written.
fn failed(path: &Path, error: &io::Error, call: &'static str) -> Error {
    let name = path.to_string_lossy();
    Error::io(format!("cannot write {name}"), error, call).target(name)
}

/// Makes the refusal to overwrite.
fn exists(path: &Path) -> Error {
    let name = path.to_string_lossy();
    Error::new(Kind::Refused, format!("refused to overwrite {name}: it exists"))
        .target(name)
        .hint("with --force it is overwritten")
}
