//! Making a segment, or opening the one that a key names.

use nix::errno::Errno;

use crate::error::{Error, Kind};
use crate::model::{Key, KeySpec, Mode, ShmId};
use crate::query::{Attempt, System, explain, ftok_key, huge_page_size, rmid_forced};
use crate::sys::{self, CreateFlags, SysError};

/// How often a random key that turns out to be taken is drawn anew.
const DRAWS: usize = 1000;

/// What a segment shall be.
#[derive(Clone, Debug)]
pub(crate) struct Creation {
    /// Its key.
    pub(crate) key: KeySpec,
    /// Its size in bytes; one page where none is given.
    pub(crate) size: Option<u64>,
    /// The mode that it is made with; what others may do is best given last.
    pub(crate) mode: Mode,
    /// Whether an existing segment is an error.
    pub(crate) exclusive: bool,
    /// Huge pages, of so many bytes or of the default size.
    pub(crate) huge: Option<Option<u64>>,
    /// Promise no memory.
    pub(crate) no_reserve: bool,
    /// The option that would change an existing segment, if any is given.
    pub(crate) changing: Option<&'static str>,
    /// Whether somebody will be attached before this process ends.
    pub(crate) held: bool,
}

/// A segment made, or found.
#[derive(Debug)]
pub(crate) enum Opened {
    /// It is new, and removed again unless it is finished.
    New(Unfinished),
    /// It was there.
    Existing(ShmId),
}

/// A segment just made: dropped before it is finished, it is removed.
#[derive(Debug)]
pub(crate) struct Unfinished(ShmId);

impl Unfinished {
    /// Gives its id.
    pub(crate) fn id(&self) -> ShmId {
        self.0
    }

    /// Keeps the segment whatever has come, and gives its id to somebody who will remove it.
    pub(crate) fn into_id(self) -> ShmId {
        std::mem::ManuallyDrop::new(self).0
    }

    /// Keeps the segment, unless a signal has asked us to end.
    ///
    /// # Errors
    /// The signal.
    pub(crate) fn finish(self) -> Result<ShmId, Error> {
        if let Some(signal) = sys::caught() {
            return Err(Error::new(Kind::Interrupted(signal), format!("interrupted: segment {} was not made", self.0)));
        }
        Ok(self.into_id())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // It is ours and new: nobody can have come to depend on it, and there is nothing more to say if it is gone.
        let _ = sys::remove(self.0);
    }
}

/// Makes a segment, or opens the one that its key names.
///
/// # Errors
/// shmget's, explained; a key that is taken where it must not be, or whose segment would be changed (Refused); and
/// a segment that would die with this process (`kernel.shm_rmid_forced`, Refused).
pub(crate) fn create(system: &System, creation: &Creation) -> Result<Opened, Error> {
    create_with(system, creation, |key, size, flags| Ok(sys::create(key, size, flags)))
}

/// Creates or opens a segment as [`create`] does, but has another process call shmget(2).
///
/// # Errors
/// Those of [`create`], and those of `shmget` itself.
pub(crate) fn create_with(
    system: &System,
    creation: &Creation,
    mut shmget: impl FnMut(Key, u64, CreateFlags) -> Result<Result<ShmId, SysError>, Error>,
) -> Result<Opened, Error> {
    let flags = CreateFlags {
        mode: creation.mode,
        huge: creation.huge.map(|size| size.map(u64::trailing_zeros)),
        no_reserve: creation.no_reserve,
    };
    let default_size = match creation.huge {
        None => system.page_size(),
        Some(size) => size.or_else(|| huge_page_size(system)).unwrap_or_else(|| system.page_size()),
    };
    let size = creation.size.unwrap_or(default_size);
    let mut make = |key: Key| {
        let taken = || creation.exclusive && key != Key::PRIVATE && sys::find_key(key, 0).is_ok();
        // What is taken is not made, and so need not be held: the call will say so.
        if !creation.held && rmid_forced(system) == Some(true) && !taken() {
            return Err(dies_with_us());
        }
        match shmget(key, size, flags)? {
            Ok(id) => Ok(Some(Opened::New(Unfinished(id)))),
            // A random key that is taken is drawn anew, whether an existing segment is an error or not.
            Err(error)
                if error.errno == Errno::EEXIST && (!creation.exclusive || matches!(creation.key, KeySpec::Random)) =>
            {
                Ok(None)
            }
            Err(error) => Err(explain(system, &Attempt::Create { key, size, flags }, error)),
        }
    };
    let key = match &creation.key {
        KeySpec::Private => return make(Key::PRIVATE)?.ok_or_else(no_key),
        KeySpec::Random => {
            for _ in 0..DRAWS {
                if let Some(opened) = make(Key::new(fastrand::u32(1..)))? {
                    return Ok(opened);
                }
            }
            return Err(no_key());
        }
        KeySpec::Key(key) => *key,
        KeySpec::Ftok(ftok) => ftok_key(ftok)?,
    };
    // Whoever removes and makes it in turns can have us find it now and not then: each turn is tried again.
    for _ in 0..DRAWS {
        if !creation.exclusive
            && let Some(id) = open(system, key, creation)?
        {
            return Ok(Opened::Existing(id));
        }
        if let Some(opened) = make(key)? {
            return Ok(opened);
        }
    }
    Err(no_key())
}

/// Opens the segment of a key, if there is one.
fn open(system: &System, key: Key, creation: &Creation) -> Result<Option<ShmId>, Error> {
    let found = match sys::find_key(key, 0) {
        Ok(id) => id,
        Err(error) if error.errno == Errno::ENOENT => return Ok(None),
        Err(error) => return Err(explain(system, &Attempt::Open { key, size: 0 }, error)),
    };
    if let Some(option) = creation.changing {
        let message = format!("refused to apply {option}: segment {found} has key {key} already, and would be changed");
        return Err(Error::new(Kind::Refused, message)
            .target(key.to_string())
            .cause("somebody made it, and may be using it")
            .hint(format!("to change it all the same: `shmadm set {found} …`, `shmadm write {found} …`"))
            .hint(format!("to open it as it is: `shmadm create --key {key}`")));
    }
    match sys::find_key(key, creation.size.unwrap_or(0)) {
        Ok(id) => Ok(Some(id)),
        Err(error) if error.errno == Errno::ENOENT => Ok(None),
        Err(error) => Err(explain(system, &Attempt::Open { key, size: creation.size.unwrap_or(0) }, error)),
    }
}

/// Makes the refusal of a segment that would not outlive this process.
fn dies_with_us() -> Error {
    Error::new(Kind::Refused, "refused to create a segment that would be destroyed as this command ends")
        .cause("kernel.shm_rmid_forced is 1: a segment without an attachment dies with its creator")
        .hint("have it held in the background: `shmadm create --hold …`")
        .hint("or turn that off: `sysctl -w kernel.shm_rmid_forced=0`")
}

/// Makes the error of a key that was taken each time we looked.
fn no_key() -> Error {
    Error::new(Kind::Failed, format!("cannot create a segment: each of {DRAWS} tries found its key taken"))
}
