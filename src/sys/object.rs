//! The files of POSIX shared memory: directories, attributes, the write lease, residency.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::libc;
use nix::sys::statfs::{HUGETLBFS_MAGIC, TMPFS_MAGIC, fstatfs};
use nix::unistd::{AccessFlags, faccessat};
use rustix::fs::{
    self, AtFlags, Dir, Mode, OFlags, RenameFlags, ResolveFlags, StatVfs, Statx, StatxAttributes, StatxFlags,
    StatxTimestamp,
};

use super::descriptor_path::through_descriptor;
use super::kernel::{Cachestat, CachestatRange, SYS_CACHESTAT};
use crate::model::{Device, FileId, FileStat, FileTime, Seal};

pub(super) fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}

/// How to open a directory to list it.
const LISTING: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Opens a directory to list it.
pub(crate) fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    fs::open(path, LISTING, Mode::empty()).map_err(errno)
}

/// How [`open_directory_below`] and [`refer_below`] resolve a path.
const BELOW: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// Opens a directory below a root directory that another user may control: no symbolic link is followed, and nothing
/// outside is reached.
pub(crate) fn open_directory_below(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    fs::openat2(root, path, LISTING, Mode::empty(), BELOW).map_err(errno)
}

/// Opens a directory in another one as safely as [`open_directory_below`], unless something else is mounted on it
/// (EXDEV). Listing it does not change its access time where that is permitted.
pub(crate) fn open_subdirectory(parent: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    let resolve =
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let open = |flags| fs::openat2(parent, name, flags, Mode::empty(), resolve).map_err(errno);
    match open(LISTING | OFlags::NOATIME) {
        Err(Errno::EPERM) => open(LISTING),
        opened => opened,
    }
}

/// Returns a descriptor that refers to a file or directory below a root directory that another user may control,
/// without opening it, and as safely as [`open_directory_below`].
pub(crate) fn refer_below(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    fs::openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), BELOW).map_err(errno)
}

/// Locks a file until its description is closed (flock(2)). Fails if another process has locked it.
pub(crate) fn lock_file(file: BorrowedFd<'_>) -> Result<(), Errno> {
    fs::flock(file, fs::FlockOperation::NonBlockingLockExclusive).map_err(errno)
}

/// The space of a tmpfs or hugetlbfs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileSystem {
    pub(crate) is_huge: bool,
    /// The size of a page, on hugetlbfs of a huge page, in bytes.
    pub(crate) page: u64,
    /// Bytes; 0 means unlimited (size=0).
    pub(crate) size: u64,
    /// `None` if the size is unlimited: then the kernel counts nothing.
    pub(crate) used: Option<u64>,
    /// 0 means unlimited (nr_inodes=0).
    pub(crate) inodes: u64,
    /// `None` if their number is unlimited.
    pub(crate) inodes_used: Option<u64>,
}

/// Returns the space of the file system that a descriptor is on; `None` if it is neither tmpfs nor hugetlbfs.
pub(crate) fn file_system(file: BorrowedFd<'_>) -> Result<Option<FileSystem>, Errno> {
    let kind = fstatfs(file)?.filesystem_type();
    if kind != TMPFS_MAGIC && kind != HUGETLBFS_MAGIC {
        return Ok(None);
    }
    let StatVfs { f_frsize, f_blocks, f_bfree, f_files, f_ffree, .. } = fs::fstatvfs(file).map_err(errno)?;
    // With only some limits, hugetlbfs returns -1 for those that are missing.
    let [f_blocks, f_files] = [f_blocks, f_files].map(|limit| if limit == u64::MAX { 0 } else { limit });
    let counted = |limit: u64, used: u64| (limit > 0).then_some(used);
    Ok(Some(FileSystem {
        is_huge: kind == HUGETLBFS_MAGIC,
        page: f_frsize,
        size: f_blocks.saturating_mul(f_frsize),
        used: counted(f_blocks, f_blocks.saturating_sub(f_bfree).saturating_mul(f_frsize)),
        inodes: f_files,
        inodes_used: counted(f_files, f_files.saturating_sub(f_ffree)),
    }))
}

/// Passes the name of each entry of a directory to `show`, except `.` and `..`. Fails with EACCES for a descriptor that
/// only refers to it (O_PATH), because the caller may not list it.
pub(crate) fn each_name(directory: BorrowedFd<'_>, mut show: impl FnMut(&[u8])) -> Result<(), Errno> {
    for entry in Dir::read_from(directory).map_err(errno)? {
        let entry =
            entry.map_err(|error| if error == rustix::io::Errno::BADF { Errno::EACCES } else { errno(error) })?;
        match entry.file_name().to_bytes() {
            b"." | b".." => {}
            name => show(name),
        }
    }
    Ok(())
}

/// Returns the attributes of a directory entry; of a symbolic link itself, not of its target.
pub(crate) fn stat_entry(directory: BorrowedFd<'_>, name: &OsStr) -> Result<FileStat, Errno> {
    stat(directory, name, AtFlags::SYMLINK_NOFOLLOW, ALL)
}

/// Returns the attributes of an open file.
pub(crate) fn stat_file(file: BorrowedFd<'_>) -> Result<FileStat, Errno> {
    stat(file, OsStr::new(""), AtFlags::EMPTY_PATH, ALL)
}

/// Returns whether a descriptor was opened with O_PATH, by its link in /proc/PID/fd: the permission bits of the link
/// show its access.
pub(crate) fn is_path_descriptor(directory: BorrowedFd<'_>, name: &OsStr) -> bool {
    stat_entry(directory, name).is_ok_and(|link| link.mode & 0o700 == 0)
}

/// Returns the attributes of the file that a link of /proc refers to, such as /proc/PID/fd/3.
pub(crate) fn stat_link(directory: BorrowedFd<'_>, name: &OsStr) -> Result<FileStat, Errno> {
    stat(directory, name, AtFlags::empty(), ALL)
}

/// Does the same as [`stat_link`] without asking the server of a network or FUSE file system, which may not answer or
/// may refuse other users. Of such a file only the device is certain; of other files also the type.
pub(crate) fn stat_link_locally(directory: BorrowedFd<'_>, name: &OsStr) -> Result<FileStat, Errno> {
    stat(directory, name, AtFlags::STATX_DONT_SYNC, StatxFlags::empty())
}

/// The attributes in a [`FileStat`].
const ALL: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

fn stat(directory: BorrowedFd<'_>, name: &OsStr, flags: AtFlags, mask: StatxFlags) -> Result<FileStat, Errno> {
    let found: Statx = fs::statx(directory, name, flags, mask).map_err(errno)?;
    let time = |time: StatxTimestamp| FileTime::new(time.tv_sec, time.tv_nsec);
    Ok(FileStat {
        file: FileId { device: Device(found.stx_dev_major, found.stx_dev_minor), inode: found.stx_ino },
        mode: found.stx_mode.into(),
        uid: found.stx_uid,
        gid: found.stx_gid,
        links: found.stx_nlink.into(),
        is_protected: found.stx_attributes.intersects(StatxAttributes::IMMUTABLE | StatxAttributes::APPEND),
        size: found.stx_size,
        allocated: found.stx_blocks.saturating_mul(512),
        btime: (found.stx_mask & StatxFlags::BTIME.bits() != 0).then(|| time(found.stx_btime)),
        atime: time(found.stx_atime),
        mtime: time(found.stx_mtime),
        ctime: time(found.stx_ctime),
    })
}

/// Returns the number of the mount that an open file is on; `None` before Linux 5.8.
pub(crate) fn mount_id(file: BorrowedFd<'_>) -> Option<u64> {
    let found = fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).ok()?;
    (found.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(found.stx_mnt_id)
}

/// Returns a descriptor that refers to an entry without opening it: a symbolic link, FIFO or device has no effect.
pub(crate) fn refer_to(directory: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    fs::openat(directory, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).map_err(errno)
}

/// How to open a file of shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    Write,
    ReadWrite,
    /// For reading, without changing the access time where that is permitted (O_NOATIME).
    Inspect,
    /// The same without waiting for a lease that another process holds. Fails with EAGAIN if there is one.
    InspectNow,
    /// The same, but fails with EPERM where the access time would change.
    InspectUnseen,
    /// For a lease: for reading or writing, whichever is permitted, without waiting, like `InspectNow`.
    Lease,
    /// The same, for writing.
    WriteLease,
}

/// Opens the file that a descriptor of [`refer_to`] refers to, even if its name has changed or is gone. Except with
/// [`Opening::InspectNow`], [`Opening::InspectUnseen`] and for a lease, it waits for a lease that another process
/// holds.
pub(crate) fn open_referred(file: BorrowedFd<'_>, how: Opening) -> Result<OwnedFd, Errno> {
    let open = |flags: OFlags| {
        through_descriptor(file, |path| fs::open(path, flags | OFlags::CLOEXEC, Mode::empty()).map_err(errno))
    };
    let inspect = |flags: OFlags| match open(flags | OFlags::NOATIME) {
        Err(Errno::EPERM) => open(flags),
        result => result,
    };
    match how {
        Opening::Write => open(OFlags::WRONLY),
        Opening::ReadWrite => open(OFlags::RDWR),
        Opening::Inspect => inspect(OFlags::RDONLY),
        Opening::InspectNow => inspect(OFlags::RDONLY | OFlags::NONBLOCK),
        Opening::InspectUnseen => open(OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOATIME),
        Opening::Lease => match open(OFlags::RDONLY | OFlags::NONBLOCK) {
            Err(Errno::EACCES) => open_referred(file, Opening::WriteLease),
            result => result,
        },
        Opening::WriteLease => open(OFlags::WRONLY | OFlags::NONBLOCK),
    }
}

/// Returns a descriptor that refers to what a path leads to, such as the links /proc/PID/fd/3 and /proc/PID/root,
/// without opening it (O_PATH). This requires no permission on the file, and does not count as its use.
pub(crate) fn refer_through(path: &Path) -> Result<OwnedFd, Errno> {
    fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(errno)
}

/// Returns whether the caller may read and write a file. Fails as opening it would: EACCES, or EROFS on a file system
/// that is mounted read-only.
pub(crate) fn check_file_access(file: BorrowedFd<'_>) -> Result<(), Errno> {
    let access = AccessFlags::R_OK | AccessFlags::W_OK;
    through_descriptor(file, |path| faccessat(AT_FDCWD, path, access, nix::fcntl::AtFlags::AT_EACCESS))
}

/// Returns whether the caller may create, rename and remove the entries of a directory. Fails as these calls would.
pub(crate) fn check_directory_access(directory: BorrowedFd<'_>) -> Result<(), Errno> {
    faccessat(directory, ".", AccessFlags::W_OK | AccessFlags::X_OK, nix::fcntl::AtFlags::AT_EACCESS)
}

/// Returns the target of a symbolic link.
pub(crate) fn link_target(directory: BorrowedFd<'_>, name: &OsStr) -> Result<OsString, Errno> {
    let target = fs::readlinkat(directory, name, Vec::new()).map_err(errno)?;
    Ok(OsString::from_vec(target.into_bytes()))
}

/// Returns the seals of a memfd (F_GET_SEALS). Fails with EBADF for a descriptor that only refers to it (O_PATH), and
/// with EINVAL for a file that cannot have seals.
pub(crate) fn seals(file: BorrowedFd<'_>) -> Result<Vec<Seal>, Errno> {
    fs::fcntl_get_seals(file).map(|seals| Seal::of_bits(seals.bits())).map_err(errno)
}

/// Renames an entry within its directory. Fails with EEXIST if the new name exists.
///
/// On a file system of another user namespace (a rootless container), only users with a mapping in it can create names:
/// if necessary, the file is renamed as its owner.
pub(crate) fn rename_entry(
    directory: BorrowedFd<'_>,
    from: &OsStr,
    to: &OsStr,
    (owner, group): (u32, u32),
) -> Result<(), Errno> {
    let rename = || fs::renameat_with(directory, from, directory, to, RenameFlags::NOREPLACE).map_err(errno);
    match rename() {
        Err(Errno::EOVERFLOW) => {
            let own_group = nix::unistd::setfsgid(group.into());
            let result = as_owner(owner, rename);
            nix::unistd::setfsgid(own_group);
            result
        }
        result => result,
    }
}

/// Calls a function with the file system uid of a file's owner, if the caller may change its own; it then lacks the
/// capabilities over files.
fn as_owner<T>(owner: u32, call: impl FnOnce() -> T) -> T {
    let own = nix::unistd::setfsuid(owner.into());
    let result = call();
    nix::unistd::setfsuid(own);
    result
}

/// Removes a name.
pub(crate) fn unlink_entry(directory: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
    fs::unlinkat(directory, name, AtFlags::empty()).map_err(errno)
}

/// Creates a file without a name (O_TMPFILE), open for reading and writing.
pub(crate) fn create_unnamed(directory: BorrowedFd<'_>, mode: u32) -> Result<OwnedFd, Errno> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    fs::openat(directory, ".", flags, Mode::from_raw_mode(mode)).map_err(errno)
}

/// Allocates the memory of a file (fallocate(2)).
pub(crate) fn reserve(file: BorrowedFd<'_>, size: u64) -> Result<(), Errno> {
    fs::fallocate(file, fs::FallocateFlags::empty(), 0, size).map_err(errno)
}

/// Returns the errno of an error of std.
pub(crate) fn errno_of(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// Links a file that has no name under its first name. Fails with EEXIST if the name exists.
pub(crate) fn link_unnamed(file: BorrowedFd<'_>, directory: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
    through_descriptor(file, |path| fs::linkat(fs::CWD, path, directory, name, AtFlags::SYMLINK_FOLLOW).map_err(errno))
}

/// Takes a write lease (F_SETLEASE). The kernel grants it only if no other open file description of the file exists and
/// no process has it mapped: an exact test of use.
///
/// A blocking open then waits for its release, which must come in less than a millisecond. If necessary, the lease is
/// taken as the owner of the file: a caller may be able to change its file system uid but lack CAP_LEASE.
/// Fails with EAGAIN if the file is in use; EACCES without ownership or CAP_LEASE; EINVAL where leases are disabled.
pub(crate) fn take_write_lease(file: BorrowedFd<'_>, owner: u32) -> Result<(), Errno> {
    // SAFETY: F_SETLEASE takes an integer.
    let take = || Errno::result(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) }).map(drop);
    ignore_lease_breaks()?;
    match take() {
        Err(Errno::EACCES | Errno::EPERM) => as_owner(owner, take),
        result => result,
    }
}

/// Returns whether a descriptor still has its write lease (F_GETLEASE): no other process has tried to open the file.
pub(crate) fn holds_write_lease(file: BorrowedFd<'_>) -> bool {
    // SAFETY: F_GETLEASE takes no argument.
    (unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLEASE) }) == libc::F_WRLCK
}

/// Ignores SIGIO, whose default action terminates the process: the kernel sends it when another process opens a file
/// with a lease.
fn ignore_lease_breaks() -> Result<(), Errno> {
    use nix::sys::signal::{SigHandler, Signal, signal};
    static IGNORED: OnceLock<Result<(), Errno>> = OnceLock::new();
    // SAFETY: no handler runs for an ignored signal.
    *IGNORED.get_or_init(|| unsafe { signal(Signal::SIGIO, SigHandler::SigIgn) }.map(drop))
}

/// Returns the resident and swapped bytes of a part of a file, or of all of it if the length is 0 (cachestat(2), Linux
/// 6.5).
///
/// Fails with EPERM unless the file is open for writing, the caller's own or writable by the caller; EOPNOTSUPP on
/// hugetlbfs; ENOSYS on older kernels.
pub(crate) fn cache_state(file: BorrowedFd<'_>, offset: u64, length: u64, page_size: u64) -> Result<(u64, u64), Errno> {
    let range = CachestatRange { off: offset, len: length };
    let mut state = Cachestat::default();
    // SAFETY: both structures live until the call returns, and the kernel writes only `state`, of its own layout.
    let result = unsafe { libc::syscall(SYS_CACHESTAT, file.as_raw_fd(), &raw const range, &raw mut state, 0_u32) };
    Errno::result(result)?;
    Ok((state.nr_cache.saturating_mul(page_size), state.nr_evicted.saturating_mul(page_size)))
}
