//! The directory in which a file is written. It is opened once, and never reached through a symbolic link of another
//! user.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, readlinkat};
use nix::libc::{S_IFLNK, S_IFMT, S_ISVTX, S_IWGRP, S_IWOTH};
use nix::sys::stat::{Mode, fstat, fstatat, stat};
use nix::sys::statfs::{FsType, fstatfs, statfs};
use nix::unistd::geteuid;

use crate::error::{Error, Kind, again};
use crate::model::path_text;
use crate::query::{CAP_FOWNER, System, has_capability_over};
use crate::sys;

/// The number of symbolic links that the kernel follows in one path (MAXSYMLINKS in linux/namei.h).
const MAX_LINKS: usize = 40;
/// The type of procfs (PROC_SUPER_MAGIC in linux/magic.h).
const PROCFS: FsType = FsType(0x9fa0);
/// The uid of root, whose symbolic links and files are trusted.
const ROOT: u32 = 0;

/// The directory of a file and the file's name in it.
#[derive(Debug)]
pub(super) struct Destination {
    directory: OwnedFd,
    /// The path of the file for system calls. Through /proc/self/fd it leads into the open directory, even if the
    /// directory's name is given to another one meanwhile. Without /proc it is the user's path, which each call
    /// resolves again.
    path: PathBuf,
}

impl Destination {
    /// Finds the directory of a file. The file need not exist, and may be of any type.
    pub(super) fn find(named: &Path) -> Result<Self, Error> {
        let bytes = named.as_os_str().as_bytes();
        let name = bytes.rsplit(|byte| *byte == b'/').next().unwrap_or(bytes);
        if [&b""[..], b".", b".."].contains(&name) {
            let reason = if named.is_dir() { "it is a directory" } else { "its name is that of a directory" };
            return Err(cannot_write(named, reason));
        }
        let directory = open_directory(named)?;
        let open = sys::descriptor_path(directory.as_fd());
        let base = if open.symlink_metadata().is_ok() { &open } else { directory_of(named) };
        Ok(Self { path: base.join(OsStr::from_bytes(name)), directory })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the file's metadata, of a symbolic link those of the link; `None` if there is no such file.
    pub(super) fn metadata(&self) -> Option<Metadata> {
        self.path.symlink_metadata().ok()
    }

    /// Returns the device and inode of the directory and the file's name, which are the same for every path of a file.
    pub(super) fn identity(&self) -> Result<(u64, u64, PathBuf), Error> {
        let directory = fstat(&self.directory).map_err(|errno| failed(&self.path, &errno.into(), "fstat"))?;
        Ok((directory.st_dev, directory.st_ino, self.path.file_name().unwrap_or_default().into()))
    }

    /// Fails if the caller may not replace the file because it belongs to another user and the directory is sticky, as
    /// /tmp is. What cannot be determined is left to the kernel.
    pub(super) fn check_sticky(&self, named: &Path) -> Result<(), Error> {
        let name = self.path.file_name().unwrap_or_default();
        let directory = self.directory.as_fd();
        let (Ok(file), Ok(above)) = (sys::stat_entry(directory, name), sys::stat_file(directory)) else {
            return Ok(());
        };
        let system = System::new();
        if above.mode & S_ISVTX == 0
            || [file.uid, above.uid].contains(&geteuid().as_raw())
            || has_capability_over(&system, &file, CAP_FOWNER) != Some(false)
        {
            return Ok(());
        }
        let name = path_text(named);
        Err(Error::new(Kind::Permission, format!("cannot write {name}: permission denied")).target(name).cause(format!(
            "the file belongs to another user ({}), and the sticky bit of its directory lets only its owner replace it",
            system.user(file.uid)
        )))
    }

    /// Returns whether any user, or a whole group, may create files in the directory but remove only their own (as in
    /// /tmp): there a name that the caller expects may belong to a file of another user.
    pub(super) fn is_shared(&self) -> bool {
        is_shared(self.directory.as_fd())
    }
}

/// Returns whether files and links of a user are safe to use.
pub(crate) fn is_root_or_caller(uid: u32) -> bool {
    uid == ROOT || uid == geteuid().as_raw()
}

/// Returns the file that a symbolic link of the caller leads to, if it can be written in the link's place: a regular
/// file, or none yet, except for links in procfs.
pub(crate) fn own_link_target(named: &Path) -> Option<PathBuf> {
    let is_own = |link: &Metadata| link.is_symlink() && link.uid() == geteuid().as_raw();
    named.symlink_metadata().ok().filter(is_own)?;
    let target = named.parent()?.join(named.read_link().ok()?);
    target.symlink_metadata().map_or(!is_unnamed(named), |there| there.is_file()).then_some(target)
}

/// Returns whether a path is a link in procfs to a file without a name, such as a pipe: the text of the link is not a
/// path.
pub(crate) fn is_unnamed(named: &Path) -> bool {
    let directory = directory_of(named);
    let is_missing = |target: PathBuf| !directory.join(target).exists();
    statfs(directory).is_ok_and(|system| system.filesystem_type() == PROCFS) && named.read_link().is_ok_and(is_missing)
}

pub(super) fn cannot_write(named: &Path, reason: &str) -> Error {
    let name = path_text(named);
    Error::new(Kind::Refused, format!("cannot write {name}: {reason}")).target(name)
}

pub(super) fn already_exists(named: &Path) -> Error {
    cannot_write(named, "it already exists").hint("overwrite it", again("--force"))
}

pub(super) fn failed(named: &Path, error: &io::Error, call: &'static str) -> Error {
    let name = path_text(named);
    let failed = Error::io(format!("cannot write {name}"), error, call).target(name);
    match error.kind() {
        io::ErrorKind::PermissionDenied => failed.cause("the caller lacks permission on the file or its directory"),
        io::ErrorKind::StorageFull => failed.cause("the file system is full"),
        _ => failed.with_full_cause(),
    }
}

pub(super) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Opens the directory of a file. A symbolic link on the way is opened itself, judged, and then followed by the text
/// that was read from it: another user cannot replace it in between. The kernel's own check (fs.protected_symlinks)
/// would apply only in shared directories, and only if it is enabled.
fn open_directory(named: &Path) -> Result<OwnedFd, Error> {
    let failed = |errno: Errno| failed(named, &errno.into(), "open");
    let reversed = |path: &Path| path.components().rev().map(|part| part.as_os_str().to_owned()).collect::<Vec<_>>();
    let how = OFlag::O_PATH | OFlag::O_CLOEXEC;
    let mut pending = reversed(directory_of(named));
    let mut directory: Option<OwnedFd> = None;
    let mut links = 0;
    while let Some(part) = pending.pop() {
        let at = directory.as_ref().map_or(AT_FDCWD, AsFd::as_fd);
        let part = part.as_os_str();
        match openat(at, part, how | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW, Mode::empty()) {
            Ok(next) => {
                directory = Some(next);
                continue;
            }
            Err(Errno::ENOTDIR) => {}
            Err(errno) => return Err(failed(errno)),
        }
        let link = openat(at, part, how | OFlag::O_NOFOLLOW, Mode::empty()).map_err(failed)?;
        let owner = fstat(&link).map_err(failed)?;
        links += 1;
        if owner.st_mode & S_IFMT != S_IFLNK {
            return Err(failed(Errno::ENOTDIR));
        } else if links > MAX_LINKS {
            return Err(failed(Errno::ELOOP));
        } else if fstatfs(&link).is_ok_and(|system| system.filesystem_type() == PROCFS) {
            // Users place no links in procfs. The text of such a link need not be a path that leads to its target.
            directory = Some(openat(at, part, how | OFlag::O_DIRECTORY, Mode::empty()).map_err(failed)?);
        } else if is_trusted_link(owner.st_uid, at) {
            pending.extend(reversed(Path::new(&readlinkat(&link, "").map_err(failed)?)));
        } else {
            let (part, uid) = (path_text(Path::new(part)), owner.st_uid);
            return Err(cannot_write(named, &format!("{part} is a symbolic link of another user (uid {uid})")));
        }
    }
    directory.ok_or_else(|| failed(Errno::ENOENT))
}

/// Returns whether a symbolic link of this user, in this directory, is followed. A user namespace that does not map
/// root shows root's links, and /, with the overflow uid, like those of every unmapped user. Outside shared
/// directories, such links are treated as root's.
fn is_trusted_link(uid: u32, directory: BorrowedFd<'_>) -> bool {
    let is_roots = || stat("/").is_ok_and(|root| root.st_uid == uid);
    is_root_or_caller(uid) || (is_roots() && !is_shared(directory))
}

/// Returns whether a directory is sticky, and others than its owner may write to it.
fn is_shared(directory: BorrowedFd<'_>) -> bool {
    let is_shared = |mode| mode & S_ISVTX != 0 && mode & (S_IWGRP | S_IWOTH) != 0;
    fstatat(directory, ".", AtFlags::empty()).map_or(true, |directory| is_shared(directory.st_mode))
}
