//! Decodes the calls on POSIX objects: files in the directory of shared memory, and memfds.
//!
//! A path is resolved by its text, since the call has not been made yet. /proc is consulted each time to find out
//! whether a descriptor refers to a shared memory file: nothing is remembered that another thread could change.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use nix::libc;

use super::decode::{bits, int, int_bits};
use crate::explain::{Attempt, FileAttempt};
use crate::model::{Argument, Arguments, CallName, DELETED, Flags, escape_invalid_utf8, path_text};
use crate::sys;

/// asm/fcntl.h; libc has 0 where the C library has no need of it.
const O_LARGEFILE: u64 = if cfg!(target_arch = "aarch64") { 0o400_000 } else { 0o100_000 };
const OPEN_FLAGS: &[(u64, &str)] = &[
    (bits(libc::O_CREAT), "O_CREAT"),
    (bits(libc::O_EXCL), "O_EXCL"),
    (bits(libc::O_NOCTTY), "O_NOCTTY"),
    (bits(libc::O_TRUNC), "O_TRUNC"),
    (bits(libc::O_APPEND), "O_APPEND"),
    (bits(libc::O_NONBLOCK), "O_NONBLOCK"),
    (bits(libc::O_SYNC), "O_SYNC"),
    (bits(libc::O_DSYNC), "O_DSYNC"),
    (bits(libc::O_ASYNC), "O_ASYNC"),
    (bits(libc::O_DIRECT), "O_DIRECT"),
    (O_LARGEFILE, "O_LARGEFILE"),
    (bits(libc::O_TMPFILE), "O_TMPFILE"),
    (bits(libc::O_DIRECTORY), "O_DIRECTORY"),
    (bits(libc::O_NOFOLLOW), "O_NOFOLLOW"),
    (bits(libc::O_NOATIME), "O_NOATIME"),
    (bits(libc::O_CLOEXEC), "O_CLOEXEC"),
    (bits(libc::O_PATH), "O_PATH"),
];
const ACCESS_MODES: [&str; 3] = ["O_RDONLY", "O_WRONLY", "O_RDWR"];
const RESOLVE_FLAGS: &[(u64, &str)] = &[
    (libc::RESOLVE_NO_XDEV, "RESOLVE_NO_XDEV"),
    (libc::RESOLVE_NO_MAGICLINKS, "RESOLVE_NO_MAGICLINKS"),
    (libc::RESOLVE_NO_SYMLINKS, "RESOLVE_NO_SYMLINKS"),
    (libc::RESOLVE_BENEATH, "RESOLVE_BENEATH"),
    (libc::RESOLVE_IN_ROOT, "RESOLVE_IN_ROOT"),
    (libc::RESOLVE_CACHED, "RESOLVE_CACHED"),
];
const LINK_FLAGS: &[(u64, &str)] =
    &[(bits(libc::AT_SYMLINK_FOLLOW), "AT_SYMLINK_FOLLOW"), (bits(libc::AT_EMPTY_PATH), "AT_EMPTY_PATH")];
const UNLINK_FLAGS: &[(u64, &str)] = &[(bits(libc::AT_REMOVEDIR), "AT_REMOVEDIR")];
const PROTECTIONS: &[(u64, &str)] = &[
    (bits(libc::PROT_READ), "PROT_READ"),
    (bits(libc::PROT_WRITE), "PROT_WRITE"),
    (bits(libc::PROT_EXEC), "PROT_EXEC"),
];
const MAP_FLAGS: &[(u64, &str)] = &[
    (bits(libc::MAP_SHARED_VALIDATE), "MAP_SHARED_VALIDATE"),
    (bits(libc::MAP_SHARED), "MAP_SHARED"),
    (bits(libc::MAP_PRIVATE), "MAP_PRIVATE"),
    (bits(libc::MAP_FIXED), "MAP_FIXED"),
    (bits(libc::MAP_FIXED_NOREPLACE), "MAP_FIXED_NOREPLACE"),
    (bits(libc::MAP_ANONYMOUS), "MAP_ANONYMOUS"),
    (bits(libc::MAP_DENYWRITE), "MAP_DENYWRITE"),
    (bits(libc::MAP_LOCKED), "MAP_LOCKED"),
    (bits(libc::MAP_NORESERVE), "MAP_NORESERVE"),
    (bits(libc::MAP_POPULATE), "MAP_POPULATE"),
    (bits(libc::MAP_NONBLOCK), "MAP_NONBLOCK"),
    (bits(libc::MAP_STACK), "MAP_STACK"),
    (bits(libc::MAP_HUGETLB), "MAP_HUGETLB"),
    (bits(libc::MAP_SYNC), "MAP_SYNC"),
];
const MEMFD_FLAGS: &[(u64, &str)] = &[
    (libc::MFD_CLOEXEC as u64, "MFD_CLOEXEC"),
    (libc::MFD_ALLOW_SEALING as u64, "MFD_ALLOW_SEALING"),
    (libc::MFD_HUGETLB as u64, "MFD_HUGETLB"),
    (libc::MFD_NOEXEC_SEAL as u64, "MFD_NOEXEC_SEAL"),
    (libc::MFD_EXEC as u64, "MFD_EXEC"),
];
/// The path of a memfd in /proc/PID/fd begins with this.
const MEMFD: &[u8] = b"/memfd:";

/// Which files are shown.
#[derive(Debug)]
pub(super) struct Files {
    proc: PathBuf,
    /// The directory of POSIX objects, as the user names it and without symbolic links.
    directories: [PathBuf; 2],
}

impl Files {
    pub(super) fn new(proc: PathBuf, directory: &Path) -> Self {
        let resolved = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
        Self { proc, directories: [directory.to_owned(), resolved] }
    }

    /// Decodes the arguments at the start of a call; `None` if it is not on a shared memory file.
    pub(super) fn arguments(&self, thread: i32, name: CallName, raw: &[u64; 6]) -> Option<Arguments> {
        let path = |directory: i32, address| self.path(thread, directory, address, false).map(Argument::Text);
        // A file without a name is created by the path of the directory.
        let opened = |directory: i32, address, flags| {
            let is_unnamed = flags & bits(libc::O_TMPFILE) == bits(libc::O_TMPFILE);
            self.path(thread, directory, address, is_unnamed).map(Argument::Text)
        };
        Some(match name {
            CallName::Open => {
                let mut arguments = vec![("name", opened(libc::AT_FDCWD, raw[0], int_bits(raw[1]))?)];
                add_open_flags(&mut arguments, int_bits(raw[1]), raw[2]);
                arguments
            }
            CallName::Creat => vec![("name", path(libc::AT_FDCWD, raw[0])?), ("mode", mode(raw[1]))],
            CallName::Openat => {
                let path = opened(int(raw[0]), raw[1], int_bits(raw[2]))?;
                let mut arguments = vec![("dirfd", directory(raw[0])), ("name", path)];
                add_open_flags(&mut arguments, int_bits(raw[2]), raw[3]);
                arguments
            }
            CallName::Openat2 => {
                let mut arguments = vec![("dirfd", directory(raw[0])), ("name", path(int(raw[0]), raw[1])?)];
                match sys::read_numbers(thread, raw[2]) {
                    Ok([flags, mode, resolve]) => {
                        add_open_flags(&mut arguments, flags, mode);
                        arguments.push(("resolve", Argument::Flags(Flags::new(resolve, RESOLVE_FLAGS))));
                    }
                    Err(_) => arguments.push(("address", Argument::Address(raw[2]))),
                }
                arguments.push(("size", Argument::Size(raw[3])));
                arguments
            }
            CallName::Link => {
                vec![("oldname", text(thread, raw[0])), ("newname", path(libc::AT_FDCWD, raw[1])?)]
            }
            CallName::Linkat => vec![
                ("olddirfd", directory(raw[0])),
                ("oldname", text(thread, raw[1])),
                ("newdirfd", directory(raw[2])),
                ("newname", path(int(raw[2]), raw[3])?),
                ("flags", Argument::Flags(Flags::new(int_bits(raw[4]), LINK_FLAGS))),
            ],
            CallName::Unlink => vec![("name", path(libc::AT_FDCWD, raw[0])?)],
            CallName::Unlinkat => vec![
                ("dirfd", directory(raw[0])),
                ("name", path(int(raw[0]), raw[1])?),
                ("flags", Argument::Flags(Flags::new(int_bits(raw[2]), UNLINK_FLAGS))),
            ],
            CallName::Ftruncate => {
                vec![("fd", self.descriptor(thread, raw[0])?), ("length", Argument::Number(raw[1].cast_signed()))]
            }
            CallName::Mmap => vec![
                ("address", Argument::Address(raw[0])),
                ("length", Argument::Size(raw[1])),
                ("prot", Argument::Flags(protection(int_bits(raw[2])))),
                ("flags", Argument::Flags(Flags::new(int_bits(raw[3]), MAP_FLAGS))),
                ("fd", self.descriptor(thread, raw[4])?),
                ("offset", Argument::Size(raw[5])),
            ],
            CallName::MemfdCreate => {
                let flags = Flags::new(int_bits(raw[1]), MEMFD_FLAGS);
                vec![("name", text(thread, raw[0])), ("flags", Argument::Flags(flags))]
            }
            _ => return None,
        })
    }

    /// Returns what a call attempted, and its name in errors; `None` if `explain` does not know such an attempt.
    pub(super) fn attempt(&self, thread: i32, name: CallName, raw: &[u64; 6]) -> Option<(Attempt, &'static str)> {
        let path = |directory: i32, address| self.resolve(thread, directory, &sys::read_string(thread, address).ok()?);
        let open = |directory: i32, address, flags| Some(FileAttempt::Open { path: path(directory, address)?, flags });
        let attempt = match name {
            CallName::Open => open(libc::AT_FDCWD, raw[0], int(raw[1]))?,
            CallName::Creat => open(libc::AT_FDCWD, raw[0], libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC)?,
            CallName::Openat => open(int(raw[0]), raw[1], int(raw[2]))?,
            CallName::Openat2 => {
                let [flags] = sys::read_numbers(thread, raw[2]).ok()?;
                open(int(raw[0]), raw[1], i32::try_from(flags).ok()?)?
            }
            CallName::Link => {
                FileAttempt::Link { source: path(libc::AT_FDCWD, raw[0]), path: path(libc::AT_FDCWD, raw[1])? }
            }
            CallName::Linkat => {
                let source = path(int(raw[0]), raw[1]).filter(|_| int(raw[4]) & libc::AT_EMPTY_PATH == 0);
                FileAttempt::Link { source, path: path(int(raw[2]), raw[3])? }
            }
            CallName::Unlink => FileAttempt::Remove(path(libc::AT_FDCWD, raw[0])?),
            CallName::Unlinkat if int(raw[2]) & libc::AT_REMOVEDIR == 0 => {
                FileAttempt::Remove(path(int(raw[0]), raw[1])?)
            }
            CallName::Ftruncate => FileAttempt::Resize { descriptor: int(raw[0]), size: raw[1].cast_signed() },
            CallName::Mmap => {
                let (address, protection, flags) = (usize::try_from(raw[0]).ok()?, int(raw[2]), int(raw[3]));
                FileAttempt::Map { descriptor: int(raw[4]), address, size: raw[1], protection, flags }
            }
            CallName::MemfdCreate => {
                let name_length = sys::read_string(thread, raw[0]).ok()?.len();
                FileAttempt::CreateMemfd { name_length, flags: int(raw[1]).cast_unsigned() }
            }
            _ => return None,
        };
        Some((Attempt::File(attempt), name.as_str()))
    }

    /// Reads a path, and returns it as the program wrote it if it leads below one of the directories, or is one of them
    /// with `or_itself`.
    fn path(&self, thread: i32, directory: i32, address: u64, or_itself: bool) -> Option<String> {
        let bytes = sys::read_string(thread, address).ok()?;
        let is_below =
            |path: &Path| self.directories.iter().any(|other| path.starts_with(other) && (or_itself || path != other));
        is_below(&self.resolve(thread, directory, &bytes)?).then(|| escape_invalid_utf8(&bytes))
    }

    /// Returns the absolute path that a program means, by its text.
    fn resolve(&self, thread: i32, directory: i32, path: &[u8]) -> Option<PathBuf> {
        let path = Path::new(OsStr::from_bytes(path));
        if path.is_absolute() {
            return Some(normal(path));
        }
        let base = match directory {
            libc::AT_FDCWD => format!("{thread}/cwd"),
            descriptor => format!("{thread}/fd/{descriptor}"),
        };
        Some(normal(&self.proc.join(base).read_link().ok()?.join(path)))
    }

    /// Returns a descriptor with the path of its file; `None` if that is not a shared memory file.
    fn descriptor(&self, thread: i32, raw: u64) -> Option<Argument> {
        let number = int(raw);
        let link = self.proc.join(format!("{thread}/fd/{number}"));
        let target = link.read_link().ok()?;
        let bytes = target.as_os_str().as_bytes();
        let bytes = bytes.strip_suffix(DELETED).unwrap_or(bytes);
        let path = Path::new(OsStr::from_bytes(bytes));
        // Another file system can be mounted below the directory.
        let is_object = |directory: &PathBuf| {
            let inside =
                self.proc.join(format!("{thread}/root")).join(directory.strip_prefix("/").unwrap_or(directory));
            let device = |path: &Path| path.metadata().ok().map(|file| file.dev());
            path.starts_with(directory) && device(&link).is_some_and(|file| Some(file) == device(&inside))
        };
        let is_shared = bytes.starts_with(MEMFD) || self.directories.iter().any(is_object);
        is_shared.then(|| Argument::Descriptor(number, Some(path_text(path))))
    }
}

/// Removes `.` and `..` from a path, as if it had no symbolic links.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(normal.pop()),
            Component::CurDir => {}
            part => normal.push(part),
        }
    }
    normal
}

/// Reads a string; its address if that is not possible.
fn text(thread: i32, address: u64) -> Argument {
    sys::read_string(thread, address)
        .map_or(Argument::Address(address), |text| Argument::Text(escape_invalid_utf8(&text)))
}

fn directory(raw: u64) -> Argument {
    match int(raw) {
        libc::AT_FDCWD => Argument::Word("AT_FDCWD".into()),
        descriptor => Argument::Number(descriptor.into()),
    }
}

fn mode(raw: u64) -> Argument {
    Argument::Mode(raw & 0xffff)
}

/// Adds the flags of open(2), and the mode if they use it.
fn add_open_flags(arguments: &mut Arguments, flags: u64, raw_mode: u64) {
    let access = flags & bits(libc::O_ACCMODE);
    let mut decoded = Flags::new(flags & !bits(libc::O_ACCMODE), OPEN_FLAGS);
    let name = usize::try_from(access).ok().and_then(|access| ACCESS_MODES.get(access));
    decoded.names.insert(0, name.map_or_else(|| format!("{access:#x}").into(), |name| (*name).into()));
    arguments.push(("flags", Argument::Flags(decoded)));
    let is_new = flags & bits(libc::O_CREAT) != 0 || flags & bits(libc::O_TMPFILE) == bits(libc::O_TMPFILE);
    arguments.extend(is_new.then(|| ("mode", mode(raw_mode))));
}

fn protection(flags: u64) -> Flags {
    let mut protection = Flags::new(flags, PROTECTIONS);
    if protection.names.is_empty() {
        protection.names.push("PROT_NONE".into());
    }
    protection
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_resolved_by_their_text() {
        for (path, expected) in
            [("/dev//shm/./x", "/dev/shm/x"), ("/tmp/../dev/shm/a/../b", "/dev/shm/b"), ("/../x", "/x")]
        {
            assert_eq!(normal(Path::new(path)), Path::new(expected));
        }
    }
}
