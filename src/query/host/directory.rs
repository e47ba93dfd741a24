//! The directory of POSIX shared memory objects.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::model::{Device, HugePages, ObjectName};
use crate::procfs::{self, Mount};
use crate::query::failure::QueryError;
use crate::sys::{self, Errno, FileSystem};

/// Where glibc and musl keep POSIX shared memory objects.
pub(crate) const DEV_SHM: &str = "/dev/shm";

/// An open directory of a tmpfs or hugetlbfs.
#[derive(Debug)]
pub(crate) struct ObjectDirectory {
    /// For messages.
    pub(crate) path: PathBuf,
    directory: OwnedFd,
    /// The process whose mounts show it, below /proc.
    process: String,
    pub(crate) device: Device,
    /// Whether it is on hugetlbfs.
    pub(crate) is_huge: bool,
    /// Whether processes of another pid namespace can have created its files: pids in names may mean other processes
    /// here.
    pub(crate) has_foreign_pids: bool,
    /// The mount namespace in which the directory has its path.
    pub(crate) mnt_ns: Option<u64>,
    /// The container or unit of that process.
    pub(crate) container: Option<Arc<str>>,
}

impl ObjectDirectory {
    /// Returns the path of a name in it.
    pub(crate) fn path_of(&self, name: &ObjectName) -> PathBuf {
        self.path.join(name.file_name())
    }

    /// Opens a directory of the caller's mount namespace.
    pub(super) fn open(path: &Path, mnt_ns: Option<u64>, has_foreign_pids: bool) -> Result<Self, QueryError> {
        let opened = match sys::open_directory(path) {
            // Names in it can be looked up without the permission to list it.
            Err(Errno::EACCES) => sys::refer_through(path),
            opened => opened,
        };
        Self::check(path, opened, "thread-self".to_owned(), mnt_ns, has_foreign_pids)
    }

    /// Opens a directory of a process, whose symbolic links could lead anywhere and are not followed.
    pub(super) fn of_process(proc: &Path, pid: i32, path: &Path) -> Result<Self, QueryError> {
        let top = proc.join(format!("{pid}/root"));
        let shown = top.join(path.strip_prefix("/").unwrap_or(path));
        let root = sys::refer_through(&top).map_err(|errno| QueryError::Directory(shown.clone(), errno))?;
        let opened = sys::open_directory_below(root.as_fd(), path);
        if matches!(opened, Err(Errno::ELOOP)) {
            let target = linked_objects(root.as_fd(), path);
            return Err(QueryError::Link { path: shown, target });
        }
        let mnt_ns = procfs::mount_namespace_of(proc, &pid.to_string());
        Self::check(&shown, opened, pid.to_string(), mnt_ns, true)
    }

    fn check(
        path: &Path,
        opened: Result<OwnedFd, Errno>,
        process: String,
        mnt_ns: Option<u64>,
        has_foreign_pids: bool,
    ) -> Result<Self, QueryError> {
        let failed = |errno| QueryError::Directory(path.to_owned(), errno);
        let directory = opened.map_err(failed)?;
        let Some(FileSystem { is_huge, .. }) = sys::file_system(directory.as_fd()).map_err(failed)? else {
            return Err(QueryError::NotSharedMemory(path.to_owned()));
        };
        let device = sys::stat_file(directory.as_fd()).map_err(failed)?.file.device;
        Ok(Self {
            path: path.to_owned(),
            directory,
            process,
            device,
            is_huge,
            has_foreign_pids,
            mnt_ns,
            container: None,
        })
    }

    /// Returns the process in whose mount namespace it is; `None` if it is the caller's.
    pub(crate) fn pid(&self) -> Option<i32> {
        self.process.parse().ok()
    }

    /// Returns its mount, and whether other mounts cover files of it; `None` before Linux 5.8.
    fn mount(&self, proc: &Path) -> Option<(Mount, bool)> {
        let id = sys::mount_id(self.as_fd())?;
        let mut mounts = procfs::mounts(proc, &self.process).ok()?;
        let index = mounts.iter().position(|mount| mount.id == id)?;
        let is_covered = mounts[index].is_covered(&mounts);
        Some((mounts.swap_remove(index), is_covered))
    }

    /// Returns whether it shows its whole file system: it is its root (a bind mount of a directory below is not), and
    /// no other mount covers a part of it.
    pub(crate) fn is_whole(&self, proc: &Path) -> bool {
        let parent = sys::stat_entry(self.as_fd(), OsStr::new(".."));
        let is_mount_point = parent.is_ok_and(|parent| parent.file.device != self.device);
        let is_whole = match self.mount(proc) {
            Some((mount, is_covered)) => mount.is_whole() && !is_covered,
            None => sys::mount_id(self.as_fd()).is_none(),
        };
        is_mount_point && is_whole
    }

    /// Returns which files of a tmpfs get huge pages.
    pub(crate) fn huge_pages(&self, proc: &Path) -> Option<HugePages> {
        let (mount, _) = self.mount(proc).filter(|(mount, _)| mount.kind == "tmpfs")?;
        // The kernel does not show the default.
        HugePages::from_name(mount.option("huge").unwrap_or("never"))
    }

    /// Returns the space of its file system.
    pub(crate) fn space(&self) -> Result<FileSystem, QueryError> {
        let space = sys::file_system(self.as_fd()).map_err(|errno| QueryError::Directory(self.path.clone(), errno))?;
        space.ok_or_else(|| QueryError::NotSharedMemory(self.path.clone()))
    }
}

/// Returns what a symbolic link of a process leads to, if that is a directory that can have objects.
fn linked_objects(root: BorrowedFd<'_>, link: &Path) -> Option<PathBuf> {
    let (parent, name) = (link.parent()?, link.file_name()?);
    let target = parent.join(sys::link_target(sys::refer_below(root, parent).ok()?.as_fd(), name).ok()?);
    let directory = sys::open_directory_below(root, &target).ok()?;
    sys::file_system(directory.as_fd()).ok()?.map(|_| target)
}

impl AsFd for ObjectDirectory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}
