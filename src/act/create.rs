//! Creates a segment, or opens the one that has the key.
//!
//! A new segment is a [`PendingSegment`]: a drop guard removes it unless it is committed, so a failure or a signal
//! leaves no segment behind. Callers set the final mode last: no other user can attach an incomplete segment.

use nix::errno::Errno;

use super::conflict::Requested;
use super::existing::{exists, find_existing};
use super::plan::{creation_failure, expected_failure};
use crate::error::{Error, Kind, Program, again, sysctl};
use crate::explain::ftok_key;
use crate::model::{Key, KeySpec, Mode, Needs, ShmId};
use crate::query::{System, lookup, rmid_forced};
use crate::sys::{self, CreateFlags, SysError};

/// How often a creation is retried if the key or name was taken in the meantime.
pub(super) const MAX_ATTEMPTS: usize = 1000;

/// The attributes of a segment to create.
#[derive(Clone, Debug, Default)]
pub(crate) struct Creation {
    pub(crate) key: KeySpec,
    /// Size in bytes; the default is one page.
    pub(crate) size: Option<u64>,
    /// The initial mode. Wider permissions are granted once the segment is complete.
    pub(crate) mode: Mode,
    pub(crate) exclusive: bool,
    /// Huge pages, of the given or of the default size.
    pub(crate) huge: Option<Option<u64>>,
    pub(crate) no_reserve: bool,
    /// What an existing segment must already have to be opened.
    pub(crate) requested: Requested,
    /// Whether a process will be attached before this one exits.
    pub(crate) held: bool,
}

impl Creation {
    pub(super) fn size(&self, system: &System) -> u64 {
        let page = match self.huge {
            None => None,
            Some(size) => size.or_else(|| system.huge_page_size()),
        };
        self.size.or(page).unwrap_or_else(|| system.page_size())
    }

    pub(super) fn flags(&self) -> CreateFlags {
        CreateFlags { mode: self.mode, huge: self.huge, no_reserve: self.no_reserve }
    }
}

#[derive(Debug)]
pub(crate) enum Opened {
    New(PendingSegment),
    Existing(ShmId),
}

/// A new segment, which is removed on drop unless it is committed.
#[derive(Debug)]
pub(crate) struct PendingSegment {
    id: ShmId,
    /// The pid of the creator, which must not be reused while this exists.
    creator: i32,
}

impl PendingSegment {
    /// A segment that a process with this pid has created.
    pub(crate) fn new(id: ShmId, creator: u32) -> Self {
        Self { id, creator: creator.cast_signed() }
    }

    pub(crate) fn id(&self) -> ShmId {
        self.id
    }

    /// Keeps the segment even after a signal. The caller is responsible for its removal.
    pub(crate) fn into_id(self) -> ShmId {
        std::mem::ManuallyDrop::new(self).id
    }

    /// Removes the segment, but not another one that was given the same id: any user can make the kernel cycle through
    /// all ids in seconds.
    fn remove(&self) -> Result<(), SysError> {
        match lookup(&System::new(), self.id, Needs::empty()) {
            Ok(found) if found.as_ref().and_then(|segment| segment.sysv().cpid) != Some(self.creator) => Ok(()),
            _ => sys::remove(self.id),
        }
    }

    /// Removes the segment after a failure. If that is impossible, the error says so.
    pub(crate) fn abandon(self, error: Error) -> Error {
        let removed = self.remove();
        let id = self.into_id();
        match removed {
            Ok(()) => error,
            Err(failure) if matches!(failure.errno, Errno::EINVAL | Errno::EIDRM) => error,
            Err(failure) => error.also(&format!("segment {id} exists and cannot be removed: {failure}")),
        }
    }

    /// Keeps the segment, unless a signal was caught.
    pub(crate) fn commit(self) -> Result<ShmId, Error> {
        if let Some(signal) = sys::caught() {
            return Err(Error::new(Kind::Interrupted(signal), format!("interrupted: segment {} was removed", self.id)));
        }
        Ok(self.into_id())
    }
}

impl Drop for PendingSegment {
    fn drop(&mut self) {
        // If it no longer exists, there is nothing to report.
        let _ = self.remove();
    }
}

/// Creates a segment, or opens the existing segment with its key.
/// Fails as shmget(2). Refuses to change an existing segment, and to create one that the kernel would destroy when this
/// process exits (`kernel.shm_rmid_forced`).
pub(crate) fn create(system: &System, creation: &Creation) -> Result<Opened, Error> {
    create_with(system, creation, create_here)
}

/// Calls shmget(2) in this process, for [`create_with`].
pub(crate) fn create_here(key: Key, size: u64, flags: CreateFlags) -> Result<Result<PendingSegment, SysError>, Error> {
    Ok(sys::create(key, size, flags).map(|id| PendingSegment::new(id, std::process::id())))
}

/// Creates or opens a segment like [`create`], but with a replacement for shmget(2), which can run in another process.
pub(crate) fn create_with(
    system: &System,
    creation: &Creation,
    mut shmget: impl FnMut(Key, u64, CreateFlags) -> Result<Result<PendingSegment, SysError>, Error>,
) -> Result<Opened, Error> {
    let (size, flags) = (creation.size(system), creation.flags());
    let mut try_create = |key: Key| {
        let is_taken = || creation.exclusive && key != Key::PRIVATE && sys::find_key(key, 0).is_ok();
        // If the key is taken, shmget fails with EEXIST, which is the better error.
        if is_destroyed_on_exit(system, creation) && !is_taken() {
            return Err(destroyed_on_exit(expected_failure(system, creation, key)));
        }
        match shmget(key, size, flags)? {
            Ok(pending) => Ok(Some(Opened::New(pending))),
            // If a random key is taken, another one is tried, even with --exclusive.
            Err(error)
                if error.errno == Errno::EEXIST && (!creation.exclusive || matches!(creation.key, KeySpec::Random)) =>
            {
                Ok(None)
            }
            Err(error) if error.errno == Errno::EEXIST => Err(exists(system, key, creation, flags)),
            Err(error) => Err(creation_failure(system, creation, key, error)),
        }
    };
    // Another process may create the segment after it was not found, or remove it after shmget reported EEXIST.
    for _ in 0..MAX_ATTEMPTS {
        let (key, may_exist) = match &creation.key {
            KeySpec::Private => (Key::PRIVATE, false),
            KeySpec::Random => (Key::new(fastrand::u32(1..)), false),
            KeySpec::Key(key) => (*key, !creation.exclusive),
            KeySpec::Ftok(ftok) => (ftok_key(ftok)?, !creation.exclusive),
        };
        if may_exist && let Some(id) = find_existing(system, key, creation)? {
            return Ok(Opened::Existing(id));
        }
        if let Some(opened) = try_create(key)? {
            return Ok(opened);
        }
    }
    let message = format!("cannot create a segment: the key was in use in each of {MAX_ATTEMPTS} attempts");
    Err(Error::new(Kind::Failed, message))
}

pub(super) fn is_destroyed_on_exit(system: &System, creation: &Creation) -> bool {
    !creation.held && rmid_forced(system) == Some(true)
}

/// Refuses to create a segment that would be destroyed. If creating it would fail anyway, that is the first cause.
pub(super) fn destroyed_on_exit(failure: Option<Error>) -> Error {
    let error = match failure {
        Some(mut error) => {
            let commands = error.hints.iter_mut().filter_map(|hint| hint.command.as_mut());
            for command in commands.filter(|command| command.program == Program::Again) {
                command.arguments.push("--hold".into());
            }
            // No call was made.
            Error { source: None, ..error }
        }
        None => Error::new(Kind::Refused, "cannot create a segment: it would be destroyed when this command exits")
            .hint("keep a background holder attached", again("--hold")),
    };
    error
        .also("kernel.shm_rmid_forced is 1: a segment that is not attached is destroyed when its creator exits")
        .hint("disable the setting", sysctl("kernel.shm_rmid_forced", 0))
}
