//! The segment that a user named by id, key or file.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;

use super::diagnosis::{Attempt, explain, gone};
use super::files::missing_file;
use crate::error::Error;
use crate::model::{FileType, Ftok, Ident, Key, Name, Needs, Object, ObjectKind, ShmId, Target, path_text};
use crate::query::{QueryError, System, add_users, as_semaphore, find_by_key, inventory, lookup, unlinked_file};
use crate::sys;

/// The number of names from which reading all segments once is faster than finding each.
const MANY: usize = 8;

pub(crate) fn resolve(system: &System, target: &Target, needs: Needs) -> Result<Object, Error> {
    Resolver::new(system, needs, 1).resolve(target)
}

fn by_key(system: &System, key: Key) -> Result<ShmId, Error> {
    let error = match sys::find_key(key, 0) {
        Ok(id) => return Ok(id),
        Err(error) => error,
    };
    if error.errno != Errno::ENOENT
        && let Some(found) = find_by_key(system, key)
    {
        return Ok(found.sysv().id);
    }
    Err(explain(system, &Attempt::Open { key, size: 0 }, error))
}

/// Finds several segments. If there are many names, all segments are read at once.
pub(crate) struct Resolver<'a> {
    system: &'a System,
    needs: Needs,
    /// All segments, if they were read.
    known: HashMap<ShmId, Object>,
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(system: &'a System, needs: Needs, count: usize) -> Self {
        // Only /proc/sysvipc/shm is read from its start to the row of a segment; IPC_STAT is direct.
        let all = if count >= MANY && needs.contains(Needs::RESIDENT) { inventory(system, needs).ok() } else { None };
        let known = all.into_iter().flatten().map(|segment| (segment.sysv().id, segment)).collect();
        Self { system, needs, known }
    }

    pub(crate) fn resolve(&self, target: &Target) -> Result<Object, Error> {
        let id = match &target.name {
            Name::Id(id) => *id,
            Name::Key(key) => by_key(self.system, *key)?,
            Name::Ftok(ftok) => by_key(self.system, ftok_key(ftok)?)?,
            Name::Object(_) | Name::Semaphore(..) | Name::File(_) => return self.resolve_file(target),
        };
        let found = match self.known.get(&id) {
            Some(segment) => Some(segment.clone()),
            None => lookup(self.system, id, self.needs)?,
        };
        found.ok_or_else(|| gone(self.system, &Attempt::Stat(id)).target(&target.text))
    }
}

impl Resolver<'_> {
    /// Finds a POSIX object, with its users and state if they are needed.
    fn resolve_file(&self, target: &Target) -> Result<Object, Error> {
        let system = self.system;
        let find = |ident: Ident| find(system, ident, self.needs);
        let (ident, found) = match &target.name {
            Name::Object(name) => (Ident::Name(name.clone()), find(Ident::Name(name.clone()))?),
            Name::Semaphore(glibc, musl) => {
                let found = match find(Ident::Name(glibc.clone()))? {
                    None => find(Ident::Name(musl.clone()))?.and_then(|object| as_semaphore(system, object)),
                    found => found,
                };
                (Ident::Name(glibc.clone()), found)
            }
            Name::File(file) => (Ident::File(*file), find(Ident::File(*file))?),
            Name::Id(_) | Name::Key(_) | Name::Ftok(_) => return resolve(system, target, self.needs),
        };
        let found = found.ok_or_else(|| missing_file(&ident).target(&target.text))?;
        match &found.posix().name {
            // Only `list` shows directories.
            Some(name) if found.posix().file_type == FileType::Dir => {
                Err(QueryError::NotAnObject(name.clone(), "a directory").into())
            }
            _ => Ok(found),
        }
    }
}

/// Reads one object, with its users and state if they are needed; `Ok(None)` if it does not exist.
pub(crate) fn find(system: &System, ident: Ident, needs: Needs) -> Result<Option<Object>, QueryError> {
    let found = match (lookup(system, ident.clone(), needs)?, ident) {
        (None, Ident::File(file)) => unlinked_file(system, file, needs)?,
        (found, _) => found,
    };
    let Some(object) = found else { return Ok(None) };
    let mut found = [object];
    if matches!(&found[0].kind, ObjectKind::Posix(posix) if posix.users.is_none()) {
        add_users(system, &mut found, needs)?;
    }
    let [object] = found;
    Ok(Some(object))
}

pub(crate) fn ftok_key(ftok: &Ftok) -> Result<Key, Error> {
    let path = &ftok.path;
    let file = std::fs::metadata(path).map_err(|error| {
        let cause = match error.kind() {
            ErrorKind::PermissionDenied => "this user lacks search permission for a directory in the path",
            _ => "ftok: requires an existing file, whose inode number is part of the key",
        };
        let path = path_text(path);
        Error::io(format!("cannot compute the key of ftok:{path}"), &error, "stat").target(path).cause(cause)
    })?;
    Ok(Key::ftok(file.ino(), file.dev(), ftok.proj))
}
