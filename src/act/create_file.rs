//! Creates POSIX objects. The file gets its name last, so that the object appears complete or not at all.

use std::fs::File;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::stat::{Mode as FileMode, fchmod};
use nix::unistd::fchown;

use super::conflict::{Requested, Rights, conflicts, options, refusal};
use super::create::MAX_ATTEMPTS;
use super::plan::would_fail;
use super::set_file::current_ids;
use crate::error::{Error, SysError, again};
use crate::explain::{cannot_create, cannot_look_up, denied_file_access, file_exists};
use crate::model::{Ident, Mode, Needs, Object, ObjectName};
use crate::query::{CAP_CHOWN, ObjectDirectory, System, has_capability, huge_page_pool, lookup, size_errno};
use crate::sys;

/// A POSIX object to create.
#[derive(Clone, Debug)]
pub(crate) struct NewObject {
    pub(crate) name: ObjectName,
    pub(crate) exclusive: bool,
    /// By default, one page and mode 0600.
    pub(crate) requested: Requested,
}

impl NewObject {
    fn size(&self, system: &System) -> u64 {
        self.requested.size.unwrap_or_else(|| system.page_size())
    }
}

/// Creates an object; calls `fill` before it gets its name. Returns `false` if it exists and has what was requested.
pub(crate) fn create_file(
    system: &System,
    new: &NewObject,
    fill: impl FnOnce(&File, u64) -> Result<(), Error>,
    dry_run: bool,
) -> Result<bool, Error> {
    let ident = Ident::Name(new.name.clone());
    let refused = |error| if dry_run { would_fail(error) } else { error };
    let unusable = |error| refused(cannot_look_up(system, "create", &ident, error));
    let directory = system.objects().map_err(unusable)?;
    if let Some(found) = lookup(system, ident.clone(), Needs::empty()).map_err(unusable)? {
        return check_existing(system, new, &found).map_err(refused).map(|()| false);
    }
    let size = new.size(system);
    let failed = |errno, call| cannot_create(system, &new.name, size, errno, call);
    if dry_run {
        let expected = expected_failure(system, new, directory, size)?;
        return expected.map_or(Ok(true), |(errno, call)| Err(would_fail(failed(errno, call))));
    }
    // The incomplete file is closed by then: the cause must not count its memory and inode as used.
    let file = complete_file(system, new, directory, size, fill).map_err(|incomplete| match incomplete {
        Incomplete::Call(errno, call) => failed(errno, call),
        Incomplete::Other(error) => error,
    })?;
    // Another process may create the object after it was not found, or remove it after linkat reported EEXIST.
    for _ in 0..MAX_ATTEMPTS {
        match sys::link_unnamed(file.as_fd(), directory.as_fd(), new.name.file_name()) {
            Ok(()) => return Ok(true),
            Err(Errno::EEXIST) => {}
            Err(errno) => return Err(failed(errno, "linkat")),
        }
        if let Some(found) = lookup(system, Ident::Name(new.name.clone()), Needs::empty())? {
            return check_existing(system, new, &found).map(|()| false);
        }
    }
    Err(file_exists(&new.name))
}

/// Why a file without a name was not completed.
enum Incomplete {
    Call(Errno, &'static str),
    Other(Error),
}

/// Returns a file without a name that has the size, contents, owner and mode of the new object.
fn complete_file(
    system: &System,
    new: &NewObject,
    directory: &ObjectDirectory,
    size: u64,
    fill: impl FnOnce(&File, u64) -> Result<(), Error>,
) -> Result<File, Incomplete> {
    use Incomplete::{Call, Other};
    // `set_len` rejects such a size itself, without an errno of the kernel.
    i64::try_from(size).map_err(|_| Call(Errno::EFBIG, "ftruncate"))?;
    let file: File = sys::create_unnamed(directory.as_fd(), 0o600).map_err(|errno| Call(errno, "open"))?.into();
    file.set_len(size).map_err(|error| Call(sys::errno_of(&error), "ftruncate"))?;
    if new.requested.reserve {
        sys::reserve(file.as_fd(), size).map_err(|errno| Call(errno, "fallocate"))?;
    }
    fill(&file, size).map_err(|error| match error.source {
        // The offset in the message of a failed write does not help here.
        Some(SysError { errno, call: "pwrite" }) => Call(errno, "pwrite"),
        _ => Other(error),
    })?;
    if new.requested.owner.is_some() || new.requested.group.is_some() {
        let (owner, group) = current_ids(system, new.requested.owner, new.requested.group).map_err(Other)?;
        fchown(&file, owner, group).map_err(|errno| Call(errno, "fchown"))?;
    }
    let mode = new.requested.mode.unwrap_or(Mode::PRIVATE);
    fchmod(&file, FileMode::from_bits_truncate(mode.bits().into())).map_err(|errno| Call(errno, "fchmod"))?;
    Ok(file)
}

/// Returns the call that would fail, and how.
fn expected_failure(
    system: &System,
    new: &NewObject,
    directory: &ObjectDirectory,
    size: u64,
) -> Result<Option<(Errno, &'static str)>, Error> {
    let space = directory.space()?;
    let may_give = || has_capability(system, CAP_CHOWN) != Some(false);
    let is_others = new.requested.owner.is_some_and(|owner| owner != system.uid())
        || new.requested.group.is_some_and(|group| !system.is_in_group(group));
    // What the size limit of the file system, and the pool of its huge pages, still allow.
    let within_limit = space.used.map(|used| space.size.saturating_sub(used));
    let pool = huge_page_pool(space.page).filter(|_| space.is_huge);
    let in_pool = pool.map(|pool| pool.available().saturating_mul(space.page));
    let is_full = within_limit.into_iter().chain(in_pool).any(|free| size > free);
    let wrong_size = size_errno(system, size);
    // A file without a name disappears at once, and no call predicts every reason why it cannot be created.
    Ok(match sys::create_unnamed(directory.as_fd(), 0o600).map(drop) {
        Err(errno) => Some((errno, "open")),
        Ok(()) if wrong_size.is_some() => wrong_size.map(|errno| (errno, "ftruncate")),
        Ok(()) if new.requested.reserve && is_full => Some((Errno::ENOSPC, "fallocate")),
        Ok(()) if new.requested.fill.is_some() && space.is_huge => Some((Errno::EINVAL, "pwrite")),
        Ok(()) if new.requested.fill.is_some() && is_full => Some((Errno::ENOSPC, "pwrite")),
        Ok(()) if is_others && !may_give() => Some((Errno::EPERM, "fchown")),
        Ok(()) => None,
    })
}

/// Compares an object that exists with what was requested. Nothing is changed.
fn check_existing(system: &System, new: &NewObject, found: &Object) -> Result<(), Error> {
    let conflicts = conflicts(system, found, &new.requested);
    if new.exclusive {
        let options = [options(&conflicts), vec!["exclusive"]].concat();
        return Err(file_exists(&new.name).hint("open the existing object", again("").without(&options)));
    }
    if conflicts.is_empty() {
        return Ok(());
    }
    let Requested { size, owner, group, .. } = new.requested;
    let may_change = system.uid() == 0 || system.is_caller(found.uid) && owner.is_none() && group.is_none();
    let can_have_size = size.is_none_or(|size| size <= found.size || size_errno(system, size).is_none());
    let may_write = denied_file_access(system, found).is_none();
    let rights = Rights { may_change: may_change && can_have_size, may_write };
    Err(refusal(found, &new.requested, &conflicts, rights))
}
