//! What was attempted, on what.

use std::path::PathBuf;

use nix::errno::Errno;

use super::access::{READ, WRITE};
use crate::model::{Access, Key, Mode, ShmId, Size, path_text};
use crate::sys::{Address, CreateFlags};

/// An operation that failed, and what it was attempted on.
#[derive(Clone, Debug)]
pub(crate) enum Attempt {
    Create {
        key: Key,
        size: u64,
        flags: CreateFlags,
    },
    /// Find the segment with a key.
    Open {
        key: Key,
        /// The least size that was requested; 0 for any.
        size: u64,
        /// The permissions that were requested; none for an own call.
        mode: Mode,
    },
    Attach {
        id: ShmId,
        access: Access,
        exec: bool,
        address: Address,
        /// SHM_REMAP.
        remap: bool,
    },
    /// Read the record of a segment.
    Stat(ShmId),
    /// Change owner, group or mode.
    Set(ShmId),
    /// Lock (true) or unlock a segment in memory.
    Lock(ShmId, bool),
    Remove(ShmId),
    /// Detach an attachment of this process.
    Detach(ShmId),
    /// Detach what is attached at an address (shmdt(2)).
    DetachAddress(usize),
    /// Call shmctl(2) with another command.
    Control {
        id: ShmId,
        command: i32,
    },
    /// Use a negative number as an id.
    NegativeId(i32),
    File(FileAttempt),
}

/// An operation on a file of shared memory that failed in another process.
#[derive(Clone, Debug)]
pub(crate) enum FileAttempt {
    /// Give a file another name. The paths are absolute; `source` is `None` if a descriptor names the file.
    Link {
        source: Option<PathBuf>,
        path: PathBuf,
    },
    Open {
        /// Absolute, in the mount namespace of the process.
        path: PathBuf,
        /// The flags of open(2).
        flags: i32,
    },
    Remove(PathBuf),
    /// Set the size of an open file (ftruncate(2)), or allocate its memory (fallocate(2)).
    Resize {
        descriptor: i32,
        size: i64,
    },
    /// Create a memfd.
    CreateMemfd {
        name_length: usize,
        /// The flags of memfd_create(2).
        flags: u32,
    },
    Map {
        descriptor: i32,
        address: usize,
        size: u64,
        /// The protection of mmap(2).
        protection: i32,
        /// The flags of mmap(2).
        flags: i32,
    },
}

impl Attempt {
    /// Returns whether the cause of an errno can depend on the segments and limits of the IPC namespace.
    pub(super) fn depends_on_namespace(&self, errno: Errno) -> bool {
        match self {
            Self::NegativeId(_) | Self::DetachAddress(_) | Self::File(_) => false,
            Self::Create { key: Key::PRIVATE, size: 0, .. } => errno != Errno::EINVAL,
            Self::Create { .. } => !matches!(errno, Errno::ENOMEM | Errno::EPERM),
            _ => true,
        }
    }

    /// Returns the permissions that shmget(2) requests.
    pub(super) fn requested_mode(&self) -> Mode {
        match self {
            Self::Create { flags: CreateFlags { mode, .. }, .. } | Self::Open { mode, .. } => *mode,
            _ => Mode::default(),
        }
    }

    /// Returns the permission bits of one class that the attempt requires of an existing segment.
    pub(super) fn needed_access(&self) -> u16 {
        match self {
            Self::Create { .. } | Self::Open { .. } => {
                let bits = self.requested_mode().bits();
                (bits >> 6 | bits >> 3 | bits) & 7
            }
            Self::Attach { access: Access::ReadWrite, exec, .. } => READ | WRITE | u16::from(*exec),
            Self::Attach { exec, .. } => READ | u16::from(*exec),
            _ => READ,
        }
    }

    pub(super) fn message(&self) -> String {
        match self {
            Self::Create { key: Key::PRIVATE, size, .. } => format!("cannot create a segment of {}", Size(*size)),
            Self::Create { key, size, .. } => format!("cannot create a segment of {} with key {key}", Size(*size)),
            Self::Open { key, size: 0, .. } => format!("cannot find a segment with key {key}"),
            Self::Open { key, size, .. } => format!("cannot open a segment of {} with key {key}", Size(*size)),
            Self::Attach { id, access, exec, .. } => {
                let access = match (access, exec) {
                    (Access::ReadOnly, false) => "reading",
                    (Access::ReadOnly, true) => "reading and executing",
                    (Access::ReadWrite, false) => "reading and writing",
                    (Access::ReadWrite, true) => "reading, writing and executing",
                };
                format!("cannot attach segment {id} for {access}")
            }
            Self::Stat(id) => format!("cannot find segment {id}"),
            Self::Set(id) => format!("cannot change segment {id}"),
            Self::Lock(id, true) => format!("cannot lock segment {id}"),
            Self::Lock(id, false) => format!("cannot unlock segment {id}"),
            Self::Remove(id) => format!("cannot remove segment {id}"),
            Self::Detach(id) => format!("cannot detach segment {id}"),
            Self::DetachAddress(address) => format!("cannot detach {address:#x}"),
            Self::Control { id, command } => format!("cannot execute command {command} on segment {id}"),
            Self::NegativeId(id) => format!("cannot use segment {id}"),
            Self::File(FileAttempt::Open { path, .. }) => format!("cannot open {}", path_text(path)),
            Self::File(FileAttempt::Link { path, .. }) => format!("cannot create {}", path_text(path)),
            Self::File(FileAttempt::Remove(path)) => format!("cannot remove {}", path_text(path)),
            Self::File(FileAttempt::Resize { descriptor, .. }) => format!("cannot resize the file {descriptor}"),
            Self::File(FileAttempt::CreateMemfd { .. }) => "cannot create a memfd".to_owned(),
            Self::File(FileAttempt::Map { descriptor, .. }) => format!("cannot map the file {descriptor}"),
        }
    }
}
