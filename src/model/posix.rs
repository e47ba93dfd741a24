//! POSIX shared memory objects, named semaphores and everything else that holds memory on a tmpfs or hugetlbfs: files.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::{Access, Family, HiddenBy, ObjectName, Rule, Seal, Stamp, describe_process, first_names, named};

/// The device and inode of a file, which identify it as long as it exists. Displayed as `0:27:4`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FileId {
    pub(crate) device: Device,
    pub(crate) inode: u64,
}

/// The major and minor number of a file system's device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Device(pub(crate) u32, pub(crate) u32);

impl fmt::Display for FileId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.device, self.inode)
    }
}

impl fmt::Display for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.0, self.1)
    }
}

impl Serialize for Device {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for FileId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

named! {
    /// What a file holds.
    #[derive(Default)]
    pub(crate) enum FileType {
        /// A shared memory object.
        #[default]
        Shm = "shm",
        /// A named semaphore.
        Sem = "sem",
        /// A directory and everything below it.
        Dir = "dir",
        /// A file of memfd_create(2).
        Memfd = "memfd",
        /// Shared anonymous memory.
        Anonymous = "anonymous",
    }
}

/// The size of the file of a named semaphore, of glibc and musl on 64-bit systems.
pub(crate) const SEMAPHORE_SIZE: u64 = 32;

/// A time of a file in nanoseconds since 1970-01-01 UTC, as precise as the kernel keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FileTime(pub(crate) i128);

impl FileTime {
    pub(crate) fn new(seconds: i64, nanoseconds: u32) -> Self {
        Self(i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds))
    }

    /// Returns the time in whole seconds, rounded down.
    pub(crate) fn stamp(self) -> Stamp {
        Stamp(i64::try_from(self.0.div_euclid(1_000_000_000)).unwrap_or(i64::MAX))
    }
}

/// What statx(2) returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileStat {
    pub(crate) file: FileId,
    /// Type and permissions.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) links: u64,
    /// Whether it is immutable or append-only (chattr(1)).
    pub(crate) is_protected: bool,
    /// In bytes.
    pub(crate) size: u64,
    /// Allocated bytes (st_blocks × 512).
    pub(crate) allocated: u64,
    pub(crate) btime: Option<FileTime>,
    pub(crate) atime: FileTime,
    pub(crate) mtime: FileTime,
    pub(crate) ctime: FileTime,
}

impl Default for FileStat {
    fn default() -> Self {
        Self::REGULAR
    }
}

impl FileStat {
    /// A regular file about which nothing else is known.
    pub(crate) const REGULAR: Self = Self {
        file: FileId { device: Device(0, 0), inode: 0 },
        mode: 0o100_000,
        uid: 0,
        gid: 0,
        links: 0,
        is_protected: false,
        size: 0,
        allocated: 0,
        btime: None,
        atime: FileTime(0),
        mtime: FileTime(0),
        ctime: FileTime(0),
    };

    pub(crate) const fn kind(&self) -> InodeType {
        match self.mode & 0o170_000 {
            0o100_000 => InodeType::Regular,
            0o040_000 => InodeType::Directory,
            0o120_000 => InodeType::SymbolicLink,
            0o010_000 => InodeType::Fifo,
            0o140_000 => InodeType::Socket,
            0o020_000 | 0o060_000 => InodeType::Device,
            _ => InodeType::AnonymousInode,
        }
    }

    pub(crate) fn is_regular(&self) -> bool {
        self.kind() == InodeType::Regular
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.kind() == InodeType::Directory
    }

    /// Returns whether it is the same file with the same attributes, apart from atime and the allocated bytes.
    pub(crate) fn is_unchanged(&self, earlier: &Self) -> bool {
        Self { atime: FileTime(0), allocated: 0, ..*self } == Self { atime: FileTime(0), allocated: 0, ..*earlier }
    }

    /// Returns whether it is the file of an earlier record, whose times are whole seconds, with the same owner, links,
    /// size and times.
    pub(crate) fn is_as_recorded(&self, record: &Self) -> bool {
        let known = |stat: &Self| {
            let times = [stat.btime.unwrap_or_default(), stat.mtime, stat.ctime].map(FileTime::stamp);
            (stat.file, stat.uid, stat.gid, stat.links, stat.size, times)
        };
        known(self) == known(record)
    }
}

/// The type of an inode (inode(7), S_IFMT); [`FileType`] says what kind of shared memory a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InodeType {
    Regular,
    Directory,
    SymbolicLink,
    Fifo,
    Socket,
    Device,
    /// An anonymous inode, such as that of an io_uring.
    AnonymousInode,
}

impl InodeType {
    /// Returns it as a noun with its article.
    pub(crate) const fn noun(self) -> &'static str {
        match self {
            Self::Regular => "a regular file",
            Self::Directory => "a directory",
            Self::SymbolicLink => "a symbolic link",
            Self::Fifo => "a FIFO",
            Self::Socket => "a socket",
            Self::Device => "a device",
            Self::AnonymousInode => "an anonymous inode",
        }
    }
}

/// A mapping of a file in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileMapping {
    pub(crate) file: FileId,
    pub(crate) start: u64,
    /// The address after the last byte.
    pub(crate) end: u64,
    pub(crate) access: Access,
    /// Whether it is private (copy on write); such a mapping holds the file too.
    pub(crate) private: bool,
}

/// What only a POSIX object has.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Posix {
    pub(crate) stat: FileStat,
    pub(crate) file_type: FileType,
    /// `None` for what has no name: unlinked objects, memfds and anonymous memory.
    pub(crate) name: Option<ObjectName>,
    /// Resident and swapped bytes (st_blocks × 512); of a directory, with those of everything below it.
    pub(crate) allocated: u64,
    /// Whether something below a directory could not be read.
    pub(crate) is_partial: bool,
    /// The files below a directory.
    pub(crate) contents: Vec<FileId>,
    /// Those of them that have several names, with their resident and swapped bytes.
    pub(crate) linked: Vec<(FileId, u64)>,
    /// The processes that use it; `None` if they were not looked for.
    pub(crate) users: Option<Arc<FileUsers>>,
    /// The value of a named semaphore.
    pub(crate) value: Option<u32>,
    /// The number of processes that wait for a named semaphore, including killed ones.
    pub(crate) waiters: Option<u32>,
    /// The seals of a memfd.
    pub(crate) seals: Option<Vec<Seal>>,
    /// What the rule of its program says; the default without a rule.
    pub(crate) rule: Rule,
    /// What is known of its family.
    pub(crate) family: Family,
    /// The pid of the creator, if the name contains it or a segment that names it does.
    pub(crate) maker: Option<i32>,
    /// Whether only its device, inode and a mapping are known, because the caller may not read its attributes.
    pub(crate) lacks_attributes: bool,
    /// Whether pids in its name may belong to another pid namespace.
    pub(crate) has_foreign_pids: bool,
    /// The mount namespace in which it has the name.
    pub(crate) mnt_ns: Option<u64>,
}

impl Posix {
    /// Returns the record of a file if only its attributes are known.
    pub(crate) fn new(stat: FileStat, file_type: FileType, name: Option<ObjectName>) -> Self {
        Self { stat, file_type, name, allocated: stat.allocated, ..Self::default() }
    }

    /// Returns the device and inode.
    pub(crate) const fn file(&self) -> FileId {
        self.stat.file
    }

    /// Returns its users, if they were looked for in the processes.
    pub(crate) fn counted_users(&self) -> Option<&FileUsers> {
        self.users.as_deref().filter(|users| !users.hidden.contains(&HiddenBy::NoProc))
    }

    /// Returns whether a process uses it; `None` if that is unknown.
    pub(crate) fn in_use(&self) -> Option<bool> {
        self.users.as_ref()?.in_use()
    }

    /// Returns whether its program may need it even though no process uses it.
    pub(crate) fn is_kept(&self) -> bool {
        self.rule.keep || (self.rule.family.is_some() && self.family.in_use != Some(false))
    }

    /// Returns whether only its name suggests the program: nothing in its family proves it.
    pub(crate) fn is_unproven(&self) -> bool {
        self.rule.family.is_some() && !self.family.is_proven
    }

    /// Returns the latest of its four times. Stores to mapped pages change none of them.
    pub(crate) fn last_trace(&self) -> Stamp {
        let FileStat { btime, atime, mtime, ctime, .. } = self.stat;
        atime.max(mtime).max(ctime).max(btime.unwrap_or_default()).stamp()
    }
}

named! {
    /// How a process uses a file.
    pub(crate) enum How {
        /// Mapped, with the descriptor closed.
        Mapped = "mapped",
        Open = "open",
        /// Open and mapped.
        Both = "both",
        /// Mapped privately (copy on write).
        Private = "private",
    }
}

impl How {
    /// Returns it as a predicate: `open and mapped`.
    pub(crate) const fn verb(self) -> &'static str {
        match self {
            Self::Mapped => "mapped",
            Self::Open => "open",
            Self::Both => "open and mapped",
            Self::Private => "mapped privately",
        }
    }
}

/// One use of a file by a process: a mapping or a descriptor.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct FileUser {
    pub(crate) pid: i32,
    /// The effective uid of the process.
    pub(crate) uid: Option<u32>,
    pub(crate) user: Option<Arc<str>>,
    pub(crate) command: Option<Arc<str>>,
    pub(crate) how: How,
    /// The descriptor, if it is open.
    pub(crate) fd: Option<i32>,
    /// The address, if it is mapped.
    #[serde(serialize_with = "super::mapping::optional_address")]
    pub(crate) address: Option<u64>,
    /// The length of the mapping in bytes.
    pub(crate) size: Option<u64>,
    /// `None` for a descriptor that allows neither (O_PATH).
    pub(crate) access: Option<Access>,
    pub(crate) ns: Option<u64>,
    pub(crate) mnt_ns: Option<u64>,
    /// Whether the process is exiting, which ends its use.
    #[serde(skip)]
    pub(crate) exiting: bool,
}

impl FileUser {
    /// Describes the process: `12 (root, command, exiting)`.
    pub(crate) fn process(&self) -> String {
        let uid = self.uid.map(|uid| uid.to_string());
        let user = self.user.as_deref().or(uid.as_deref());
        describe_process(self.pid, [user, self.command.as_deref(), self.exiting.then_some("exiting")])
    }
}

/// The processes that use a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct FileUsers {
    /// Sorted by pid; a process can be in it several times.
    pub(crate) list: Vec<FileUser>,
    /// Why there can be users that were not found.
    pub(crate) hidden: Vec<HiddenBy>,
    /// The number of mappings and of descriptors that were found.
    pub(crate) mappings: u64,
    pub(crate) descriptors: u64,
    /// Whether the write lease, which any user of the file prevents, was granted; `None` if it was not requested or
    /// cannot be taken.
    pub(crate) lease: Option<bool>,
}

impl FileUsers {
    /// Returns why there can be users that were not found, as a clause.
    pub(crate) fn why_hidden(&self) -> String {
        let why = |reason: &HiddenBy| match reason {
            HiddenBy::PidNamespace => "processes outside this pid namespace are not visible",
            HiddenBy::Opened => "a process opened it during the search",
            HiddenBy::ForeignProc => "/proc belongs to another pid namespace",
            HiddenBy::InFlight => "a Unix socket has descriptors queued, or an io_uring has files registered",
            HiddenBy::NoProc => "/proc is not mounted",
            HiddenBy::Unknown => "the kernel does not show it",
            HiddenBy::Permission => "you are not permitted to inspect some processes",
            HiddenBy::Exiting => "some processes are exiting",
        };
        self.hidden.iter().map(why).collect::<Vec<_>>().join("; ")
    }

    /// Describes at most `max` of the processes: `mapped by pid 12 (root, cat)`.
    pub(crate) fn describe(&self, max: usize) -> Vec<String> {
        let name = |process: &[FileUser]| format!("{} by pid {}", process[0].how.verb(), process[0].process());
        first_names(max, self.processes().map(name))
    }

    /// Returns whether a process uses the file; `None` if that is unknown.
    pub(crate) fn in_use(&self) -> Option<bool> {
        match self.lease {
            _ if !self.list.is_empty() => Some(true),
            Some(granted) => Some(!granted),
            None => self.hidden.is_empty().then_some(false),
        }
    }

    /// Returns the entries grouped by process.
    pub(crate) fn processes(&self) -> impl Iterator<Item = &[FileUser]> {
        self.list.chunk_by(|one, next| one.pid == next.pid)
    }

    pub(crate) fn pids(&self) -> impl Iterator<Item = i32> {
        self.processes().map(|process| process[0].pid)
    }
}
