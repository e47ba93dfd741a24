//! From what users type to the segment they mean.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;

use super::{Attempt, System, explain, inventory, segment};
use crate::error::{Error, Kind};
use crate::model::{Ftok, Key, Name, Needs, Segment, ShmId, Target, path_text};
use crate::sys::{self, Subject, SysError};

/// From how many on it is worth while to read all that there are.
const MANY: usize = 8;

/// Finds the segment that a user named, and looks at it.
///
/// # Errors
/// There is none, or the file of an ftok name cannot be had.
pub(crate) fn resolve(system: &System, target: &Target, needs: Needs) -> Result<Segment, Error> {
    let id = match &target.name {
        Name::Id(id) => *id,
        Name::Key(key) => by_key(system, *key)?,
        Name::Ftok(ftok) => by_key(system, key_of(ftok)?)?,
    };
    let gone = || {
        explain(
            system,
            &Attempt::Stat(id),
            SysError { errno: Errno::EINVAL, call: "shmctl IPC_STAT", target: Subject::Id(id) },
        )
    };
    segment(system, id, needs)?.ok_or_else(gone).map_err(|error| error.target(&target.text))
}

/// Finds the id that a key names.
fn by_key(system: &System, key: Key) -> Result<ShmId, Error> {
    let error = match sys::find_key(key, 0) {
        Ok(id) => return Ok(id),
        Err(error) => error,
    };
    if error.errno != Errno::ENOENT
        && let Some(found) = segment_with_key(system, key)
    {
        return Ok(found.id);
    }
    Err(explain(system, &Attempt::Open { key, size: 0 }, error))
}

/// Tells whether a segment has a key, be it one that we may not read.
pub(crate) fn is_taken(key: Key) -> bool {
    matches!(sys::find_key(key, 0), Ok(_) | Err(SysError { errno: Errno::EACCES, .. }))
}

/// Finds segments one after the other: where there are many, all that there are are read at once.
pub(crate) struct Resolver<'a> {
    /// Where.
    system: &'a System,
    /// What is needed of each.
    needs: Needs,
    /// All there are, by id.
    known: HashMap<ShmId, Segment>,
}

impl<'a> Resolver<'a> {
    /// Prepares to find so many.
    pub(crate) fn new(system: &'a System, needs: Needs, count: usize) -> Self {
        // Only what /proc alone has is found by reading what comes before it.
        let all = if count >= MANY && needs.contains(Needs::RESIDENT) { inventory(system, needs).ok() } else { None };
        let known = all.into_iter().flatten().map(|segment| (segment.id, segment)).collect();
        Self { system, needs, known }
    }

    /// Finds the segment that a user named.
    ///
    /// # Errors
    /// As of [`resolve`].
    pub(crate) fn resolve(&self, target: &Target) -> Result<Segment, Error> {
        let id = match &target.name {
            Name::Id(id) => *id,
            Name::Key(key) if !self.known.is_empty() => by_key(self.system, *key)?,
            Name::Key(_) | Name::Ftok(_) => return resolve(self.system, target, self.needs),
        };
        match self.known.get(&id) {
            Some(segment) => Ok(segment.clone()),
            None => resolve(self.system, target, self.needs),
        }
    }
}

/// Finds the segment that has a key, in the listing.
pub(crate) fn segment_with_key(system: &System, key: Key) -> Option<Segment> {
    inventory(system, Needs::empty()).ok()?.into_iter().find(|segment| segment.key == key)
}

/// Makes the key that ftok(3) makes.
///
/// # Errors
/// The file cannot be looked at.
pub(crate) fn key_of(ftok: &Ftok) -> Result<Key, Error> {
    let path = &ftok.path;
    let file = std::fs::metadata(path).map_err(|error| {
        let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
        let kind = if errno == Errno::EACCES { Kind::Permission } else { Kind::Failed };
        let error = Error::new(kind, format!("cannot make a key of {}", path_text(path))).os(errno, "stat");
        let error = error.target(path_text(path));
        if errno == Errno::EACCES {
            return error.cause("a directory on the way to it may not be searched by this user");
        }
        error.hint("ftok: wants a file that exists; its inode number makes the key, and changes with the file")
    })?;
    Ok(Key::ftok(file.ino(), file.dev(), ftok.proj))
}
