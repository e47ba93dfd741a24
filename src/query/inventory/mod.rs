//! The backends: each lists the objects of its kind, and looks one up. What depends on their users, which are searched
//! for later, is not known here.

mod complete;
mod posix;
mod resident;
mod sysv;
mod tree;

pub(super) use complete::{complete, complete_again, idle_seconds};
pub(crate) use posix::as_semaphore;
pub(super) use posix::{begins_with, residency, unnamed_object};
pub(crate) use sysv::key_exists;
pub(super) use tree::{open_listed, walk};

use super::failure::QueryError;
use super::host::{ObjectDirectory, System};
use crate::model::{Ident, Key, Needs, Object, ShmId};
use crate::sys::{self, SysError};
use posix::OtherFiles;

/// Returns all segments, in the order of the kernel; `needs` are the fields to read.
pub(crate) fn inventory(system: &System, needs: Needs) -> Result<Vec<Object>, QueryError> {
    let mut objects = Vec::new();
    each(system, needs, |object| {
        objects.push(object);
        Ok::<_, QueryError>(())
    })?;
    Ok(objects)
}

/// Passes all segments to `show`, in the order of the kernel, until `show` fails; `needs` are the fields to read.
pub(crate) fn each<E: From<QueryError>>(
    system: &System,
    needs: Needs,
    mut show: impl FnMut(Object) -> Result<(), E>,
) -> Result<(), E> {
    let mut outcome = Ok(());
    sysv::each(system, needs, &mut |mut object| {
        if outcome.is_ok() {
            complete(system, &mut object, needs);
            outcome = show(object);
        }
    })?;
    outcome
}

/// Reads one object that has an id or a name; `Ok(None)` if it does not exist. This requires no permission on it.
pub(crate) fn lookup(system: &System, ident: impl Into<Ident>, needs: Needs) -> Result<Option<Object>, QueryError> {
    let mut found = match ident.into() {
        Ident::Id(id) => sysv::lookup(system, id, needs)?,
        Ident::Name(name) => posix::lookup(system, system.objects()?, &name, needs)?,
        // Completed already.
        Ident::File(file) => {
            let files = posix_objects(system, system.objects()?, needs)?;
            return Ok(files.into_iter().find(|object| object.file() == Some(file)));
        }
    };
    if let Some(object) = &mut found {
        complete(system, object, needs);
    }
    Ok(found)
}

/// Returns the POSIX objects of a directory, without users and states.
pub(super) fn posix_objects(
    system: &System,
    directory: &ObjectDirectory,
    needs: Needs,
) -> Result<Vec<Object>, QueryError> {
    Ok(posix_files(system, directory, needs)?.0)
}

/// Returns the same, and the other files of the directory that take space.
pub(super) fn posix_files(
    system: &System,
    directory: &ObjectDirectory,
    needs: Needs,
) -> Result<(Vec<Object>, OtherFiles), QueryError> {
    let mut objects = Vec::new();
    let others = posix::each(system, directory, needs, &mut |mut object| {
        complete(system, &mut object, needs);
        objects.push(object);
    })?;
    Ok((objects, others))
}

pub(crate) fn find_by_key(system: &System, key: Key) -> Option<Object> {
    inventory(system, Needs::empty()).ok()?.into_iter().find(|segment| segment.sysv().key == key)
}

/// Calls shmctl(IPC_STAT) and nothing else, to show what it returns.
pub(crate) fn call_stat(id: ShmId) -> Result<Object, SysError> {
    sys::stat(id)
}
