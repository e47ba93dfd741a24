//! Why a call of a traced process on a path failed, by the rules of linux/fs/namei.c.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::libc;

use super::access::{DENIED, READ, TOO_MANY_FILES, WRITE, name_access};
use super::attempt::FileAttempt;
use super::descriptor::{explain_map, explain_memfd, explain_resize};
use super::space::explain_full_directory;
use crate::error::Error;
use crate::model::{FileStat, InodeType, Mode, path_text};
use crate::procfs;
use crate::query::{CAP_DAC_OVERRIDE, CAP_FOWNER, Resource, System, caller_limit, has_capability_over};
use crate::sys;

/// Permission to search a directory.
const SEARCH: u16 = 1;
const S_ISVTX: u32 = 0o1000;
/// S_ISUID and S_ISGID.
const SETID: u32 = 0o6000;
/// The longest name of a file (NAME_MAX).
const LONGEST_NAME: usize = 255;

/// The directory of a path in the mount namespace of the caller, and what it has under the last name of the path.
struct Entry<'a> {
    /// For messages.
    directory_path: &'a Path,
    directory: OwnedFd,
    directory_stat: FileStat,
    name: &'a OsStr,
    stat: Option<FileStat>,
}

/// Adds why a call on a file failed.
pub(super) fn explain_file(system: &System, error: Error, attempt: &FileAttempt, errno: Errno) -> Error {
    match errno {
        Errno::ENOSYS => return error.cause("a seccomp filter denies the call, or the kernel does not have it"),
        Errno::ENFILE => return error.cause(TOO_MANY_FILES),
        Errno::EFAULT => return error.cause("the address of the path is not in the memory of the process"),
        Errno::EMFILE => {
            return error.cause(match caller_limit(system, Resource::RLIMIT_NOFILE) {
                Some(limit) => format!("all {limit} descriptors of the process are in use (RLIMIT_NOFILE)"),
                None => "all descriptors of the process are in use (RLIMIT_NOFILE)".to_owned(),
            });
        }
        _ => {}
    }
    match attempt {
        FileAttempt::Open { path, flags } => {
            // The path of a file without a name is that of its directory.
            let is_unnamed = flags & libc::O_TMPFILE == libc::O_TMPFILE;
            let path = if is_unnamed { &path.join("unnamed") } else { path };
            explain_path(system, error, path, errno, |error, entry| explain_open(system, error, entry, *flags, errno))
        }
        FileAttempt::Link { source, path } => {
            let error = match source {
                Some(source) => explain_path(system, error, source, errno, |error, entry| {
                    explain_source(system, error, entry, errno)
                }),
                None => error,
            };
            if error.cause.is_some() {
                return error;
            }
            explain_path(system, error, path, errno, |error, entry| match (errno, &entry.stat) {
                (Errno::EEXIST, Some(stat)) => {
                    error.cause(format!("{}, and link(2) never replaces a file", describe_existing(system, stat)))
                }
                (Errno::ENOENT, _) => error,
                _ => explain_entry(system, error, entry, errno),
            })
        }
        FileAttempt::Remove(path) => {
            explain_path(system, error, path, errno, |error, entry| explain_remove(system, error, entry, errno))
        }
        FileAttempt::Resize { descriptor, size } => explain_resize(system, error, *descriptor, *size, errno),
        FileAttempt::CreateMemfd { name_length, flags } => explain_memfd(error, *name_length, *flags, errno),
        FileAttempt::Map { .. } => explain_map(system, error, attempt, errno),
    }
}

/// Adds what the path shows, or else what `explain` finds in its directory.
fn explain_path(
    system: &System,
    error: Error,
    path: &Path,
    errno: Errno,
    explain: impl FnOnce(Error, &Entry) -> Error,
) -> Error {
    let (Some(directory_path), Some(name)) = (path.parent(), path.file_name()) else { return error };
    if errno == Errno::ENAMETOOLONG && name.len() > LONGEST_NAME {
        return error.cause(format!("the name has {} bytes; the maximum is {LONGEST_NAME}", name.len()));
    }
    let root = sys::refer_through(&system.proc().join(system.caller_thread()).join("root"));
    let Ok(root) = root else { return error };
    // From the root: the first directory that is missing or not searchable is the cause.
    let mut ancestors: Vec<&Path> = directory_path.ancestors().collect();
    ancestors.reverse();
    let mut last = None;
    for ancestor in ancestors {
        let below = ancestor.strip_prefix("/").unwrap_or(ancestor);
        let below = if below.as_os_str().is_empty() { Path::new(".") } else { below };
        let found = sys::refer_below(root.as_fd(), below);
        let found = found.and_then(|found| sys::stat_file(found.as_fd()).map(|stat| (found, stat)));
        let (directory, stat) = match found {
            Err(Errno::ENOENT) if errno == Errno::ENOENT => {
                return error.cause(format!("the directory {} does not exist", path_text(ancestor)));
            }
            Err(_) => return error,
            Ok(found) => found,
        };
        if !stat.is_directory() {
            return match errno {
                Errno::ENOTDIR => error.cause(format!("{} is not a directory", path_text(ancestor))),
                _ => error,
            };
        }
        if errno == Errno::EACCES && !is_granted(system, &stat, SEARCH) {
            let why = describe_access(system, &stat);
            return error.cause(format!("{} requires search permission: {why}", path_text(ancestor)));
        }
        last = Some((directory, stat));
    }
    let Some((directory, directory_stat)) = last else { return error };
    let stat = sys::stat_entry(directory.as_fd(), name).ok();
    explain(error, &Entry { directory_path, directory, directory_stat, name, stat })
}

/// Returns that a file exists, and what it is if it is not a regular one.
fn describe_existing(system: &System, stat: &FileStat) -> String {
    let kind = if stat.is_regular() { "" } else { &format!(" and is {}", stat.kind().noun()) };
    format!("the file exists{kind} (owner {})", system.user(stat.uid))
}

fn explain_open(system: &System, error: Error, entry: &Entry, flags: i32, errno: Errno) -> Error {
    let path = path_text(entry.directory_path);
    let creates = flags & libc::O_CREAT != 0;
    match (errno, &entry.stat) {
        (Errno::ENOENT, _) if creates => error,
        (Errno::EEXIST, Some(stat)) => {
            error.cause(format!("{}, and O_EXCL requires a new one", describe_existing(system, stat)))
        }
        (Errno::ELOOP, Some(stat)) if stat.kind() == InodeType::SymbolicLink && flags & libc::O_NOFOLLOW != 0 => {
            error.cause("the name is a symbolic link, which O_NOFOLLOW does not follow")
        }
        (Errno::ELOOP, _) => error.cause("the path has too many symbolic links, or a symbolic link loop"),
        (Errno::EACCES, Some(stat)) if creates && is_protected(system, &entry.directory_stat, stat) => {
            let owner = system.user(stat.uid);
            error
                .cause(format!(
                    "{path} is sticky, and fs.protected_regular denies O_CREAT there on another user's file ({owner}), \
                     even to root"
                ))
                .advice("open an existing file without O_CREAT")
        }
        (Errno::EACCES, Some(stat)) => {
            let needed = match flags & libc::O_ACCMODE {
                libc::O_RDONLY => READ,
                libc::O_WRONLY => WRITE,
                _ => READ | WRITE,
            };
            let needed = if flags & libc::O_TRUNC == 0 { needed } else { needed | WRITE };
            let why = describe_access(system, stat);
            error.cause(if is_granted(system, stat, needed) { format!("{why}; {DENIED}") } else { why })
        }
        (Errno::EPERM, _) => error.cause(DENIED),
        _ => explain_entry(system, error, entry, errno),
    }
}

/// Adds why a file cannot be given another name, by `may_linkat`.
fn explain_source(system: &System, error: Error, entry: &Entry, errno: Errno) -> Error {
    match (errno, &entry.stat) {
        (Errno::ENOENT, None) => explain_entry(system, error, entry, errno),
        (Errno::EPERM, Some(stat)) if stat.is_directory() => error.cause("it is a directory, which has only one name"),
        (Errno::EPERM, Some(stat)) => {
            let is_owner = stat.uid == system.file_uid() || has_capability_over(system, stat, CAP_FOWNER) == Some(true);
            let is_safe = stat.is_regular() && stat.mode & SETID == 0 && is_granted(system, stat, READ | WRITE);
            if is_owner || is_safe || procfs::sysctl(system.proc(), "fs/protected_hardlinks") != Some(1) {
                return error.cause(DENIED);
            }
            let why = describe_access(system, stat);
            error.cause(format!(
                "fs.protected_hardlinks is 1: another user's file must be a regular one without setuid and setgid that \
                 the caller may read and write; {why}"
            ))
        }
        _ => error,
    }
}

fn explain_remove(system: &System, error: Error, entry: &Entry, errno: Errno) -> Error {
    match (errno, &entry.stat) {
        (Errno::EPERM, Some(stat)) => {
            let path = path_text(entry.directory_path);
            let (owner, user) = (stat.uid, system.file_uid());
            let is_owner = user == owner || user == entry.directory_stat.uid;
            let is_sticky = entry.directory_stat.mode & S_ISVTX != 0;
            if !is_sticky || is_owner || has_capability_over(system, stat, CAP_FOWNER) == Some(true) {
                return error.cause(DENIED);
            }
            error.cause(format!(
                "{path} is sticky: only the owner of the file ({}), the owner of the directory ({}) and a caller with \
                 CAP_FOWNER can remove it; the caller is user {}",
                system.user(owner),
                system.user(entry.directory_stat.uid),
                system.user(user)
            ))
        }
        (Errno::EBUSY, Some(_)) => error.cause("a file system is mounted on it"),
        _ => explain_entry(system, error, entry, errno),
    }
}

/// Adds the causes that all calls on a name share.
fn explain_entry(system: &System, error: Error, entry: &Entry, errno: Errno) -> Error {
    let path = path_text(entry.directory_path);
    match (errno, &entry.stat) {
        (Errno::ENOENT, None) => {
            let error = error.cause(format!("{path} has no file with this name: it was removed or never existed"));
            if is_here(system, entry) {
                return error
                    .advice(format!("shmadm's own {path} has such a file, but the process has a different {path}"));
            }
            error
        }
        (Errno::EISDIR, Some(_)) => error.cause("it is a directory"),
        (Errno::EACCES, _) => explain_directory_access(system, error, entry),
        (Errno::ENOSPC, _) => explain_full_directory(system, error, entry.directory.as_fd(), &path),
        (Errno::EROFS, _) => error.cause(format!("{path} is mounted read-only")),
        _ => error,
    }
}

/// Adds why the caller may not create or remove a name.
fn explain_directory_access(system: &System, error: Error, entry: &Entry) -> Error {
    let (path, why) = (path_text(entry.directory_path), describe_access(system, &entry.directory_stat));
    if is_granted(system, &entry.directory_stat, WRITE | SEARCH) {
        return error.cause(DENIED);
    }
    error.cause(format!("{path} requires write permission: {why}"))
}

/// Returns whether fs.protected_regular denies O_CREAT (`may_create_in_sticky`).
fn is_protected(system: &System, directory: &FileStat, stat: &FileStat) -> bool {
    let level = procfs::sysctl(system.proc(), "fs/protected_regular").unwrap_or(0);
    let is_writable = directory.mode & 0o002 != 0 || (directory.mode & 0o020 != 0 && level >= 2);
    level > 0
        && directory.mode & S_ISVTX != 0
        && is_writable
        && stat.kind() == InodeType::Regular
        && stat.uid != directory.uid
        && stat.uid != system.file_uid()
}

/// Returns whether this process has the file in a directory of the same path, but the caller has another directory
/// there.
fn is_here(system: &System, entry: &Entry) -> bool {
    let here = sys::open_directory(entry.directory_path);
    let is_other = |stat: FileStat| stat.file.device != entry.directory_stat.file.device;
    system.other_caller().is_some()
        && here.is_ok_and(|here| {
            sys::stat_file(here.as_fd()).is_ok_and(is_other) && sys::stat_entry(here.as_fd(), entry.name).is_ok()
        })
}

/// Returns the class of users whose permission bits apply to the caller, and the position of these bits.
fn class_of(system: &System, stat: &FileStat) -> (&'static str, u32) {
    match stat {
        _ if system.file_uid() == stat.uid => ("owner", 6),
        _ if system.is_in_group(stat.gid) => ("in the group", 3),
        _ => ("other", 0),
    }
}

fn describe_access(system: &System, stat: &FileStat) -> String {
    let (class, shift) = class_of(system, stat);
    let (owner, group) = (system.user(stat.uid), system.group(stat.gid));
    let mode = Mode::from_kernel(stat.mode);
    let user = system.user(system.file_uid());
    format!("mode {mode}, owner {owner}:{group}: user {user} ({class}) has {}", name_access(mode.bits() >> shift))
}

fn is_granted(system: &System, stat: &FileStat, needed: u16) -> bool {
    let (_, shift) = class_of(system, stat);
    (Mode::from_kernel(stat.mode).bits() >> shift) & needed == needed
        || has_capability_over(system, stat, CAP_DAC_OVERRIDE) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::directory;

    #[test]
    fn protected_regular_is_about_files_of_others_in_sticky_directories() {
        let own = System::new().uid();
        let denied = |level: &str, directory_mode: u32, owner| {
            let proc = directory(&[("sys/fs/protected_regular", level)]);
            let root = FileStat { mode: 0o040_000 | directory_mode, ..FileStat::REGULAR };
            let file = FileStat { uid: owner, ..FileStat::REGULAR };
            is_protected(&System::at(proc.path().to_owned()), &root, &file)
        };
        let other = own + 1;
        assert!(denied("1\n", 0o1777, other));
        assert!(denied("2\n", 0o1770, other));
        for (level, mode, owner) in
            [("0\n", 0o1777, other), ("1\n", 0o777, other), ("1\n", 0o1770, other), ("1\n", 0o1777, own)]
        {
            assert!(!denied(level, mode, owner), "{level} {mode:o} {owner}");
        }
        // The owner of the directory is trusted.
        assert!(!denied("1\n", 0o1777, 0));
    }
}
