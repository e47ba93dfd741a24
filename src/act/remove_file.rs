//! Removes POSIX objects without taking one from a process that uses it or is about to open it.
//!
//! A write lease is granted only if no process has the file open or mapped, and blocks openers. Under the lease, the
//! object is compared with what the user was shown, then renamed to a temporary name, so that no later open finds it.
//! After a short pause, in which an opener that has already looked up the name reaches the lease, F_GETLEASE shows
//! whether there was one: then its name is restored, otherwise it is unlinked. Without the pause, or without the
//! renaming, some openers get an object that has just been removed.
//!
//! Openers are blocked meanwhile, so nothing else happens under a lease: no output, no scan, no fork, and no signal is
//! delivered. Several objects share one pause.
//!
//! Where leases do not work, the processes decide, if all of them were inspected.

use std::cell::LazyCell;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::S_ISVTX;
use nix::unistd::geteuid;

use super::aside::{aside_by_inode, aside_name};
use super::needed_file::reason_to_keep;
use super::plan::would_fail;
use super::remove::{Cleaned, KeepReason, Removal, Removed, UseEvidence};
use super::remove_failure::Failure;
use crate::error::Error;
use crate::explain::{cannot_look_up, missing_file};
use crate::model::{FileId, FileStat, Ident, Needs, Object, ObjectName, Outcome, Posix, escape_invalid_utf8};
use crate::query::{
    CAP_FOWNER, ObjectDirectory, System, add_users, has_capability_over, lookup, needed_by, some_are_in_flight,
    wait_for_exiting_users, with_all_users,
};
use crate::sys::{self, Opening};

/// The time that an opener needs from looking up a name to reaching the lease.
const PAUSE: Duration = Duration::from_micros(100);
/// How long to wait for processes that are exiting.
const MAX_WAIT: Duration = Duration::from_secs(1);
/// Number of objects that share a pause: the first of them is held for less than a millisecond.
const GROUP: usize = 32;
/// Maximum number of objects that are removed at once: a group in each of two threads.
pub(crate) const AT_ONCE: usize = 2 * GROUP;

/// Removes an object if it is still as it was seen and not in use; with `force` its name, even if it is in use.
pub(super) fn remove_file(system: &System, seen: &Object, how: Removal) -> Result<Removed, Error> {
    let attempt = || match how {
        Removal { dry_run: true, .. } => would_remove(system, seen, how.force),
        Removal { force: true, .. } => Ok(remove_forced(system, seen)),
        _ => Ok(remove_unused(system, &[seen], |_| true)?.pop().unwrap_or(Err(Failure::Gone))),
    };
    if !how.force
        && let Some(need) = reason_to_keep(system, seen)?
    {
        return Err(match would_remove(system, seen, false) {
            Ok(Ok(_)) => need.refusal(seen),
            Ok(Err(failure @ (Failure::Linked(_) | Failure::InUse | Failure::NoLease(..)))) => {
                need.add_to(failure.explain(system, seen))
            }
            Ok(Err(failure)) => failure.explain(system, seen),
            Err(error) => need.add_to(error),
        });
    }
    let result = match attempt()? {
        Err(Failure::InUse) if has_lost_users(system, seen) => attempt()?,
        result => result,
    };
    result.map_err(|failure| failure.explain(system, seen))
}

/// Waits for the processes that use an object and are exiting; returns whether any has exited.
fn has_lost_users(system: &System, seen: &Object) -> bool {
    // Without its users, the refusal is only less precise.
    with_all_users(system, seen).is_ok_and(|object| wait_for_exiting_users(system, [&object], MAX_WAIT))
}

fn remove_forced(system: &System, seen: &Object) -> Result<Removed, Failure> {
    let is_used = unlink_unchanged(system, seen)?;
    if is_used.is_some() {
        return Ok(Removed::name(is_used, UseEvidence::Kernel));
    }
    // The name is gone, so a scan that fails is not an error.
    let scanned = find_use(system, &[seen]).ok().and_then(|mut uses| uses.pop()?);
    Ok(Removed::name(scanned, UseEvidence::Scan))
}

/// Returns the outcome of a removal, or why it would fail, for a dry run.
fn would_remove(system: &System, seen: &Object, force: bool) -> Result<Result<Removed, Failure>, Error> {
    let directory = system.objects()?;
    let (is_used, evidence) = match Pending::leased(directory, seen.posix()) {
        Ok(_) => (Some(false), UseEvidence::Kernel),
        Err(Failure::InUse) => (Some(true), UseEvidence::Kernel),
        Err(failure @ Failure::NoLease(..)) => match find_use(system, &[seen])?.pop().flatten() {
            None if !force => return Ok(Err(failure)),
            is_used => (is_used, UseEvidence::Scan),
        },
        Err(failure) => return Ok(Err(failure)),
    };
    if is_used == Some(true) && !force {
        return Ok(Err(Failure::InUse));
    }
    check_directory(system, seen)?;
    Ok(Ok(Removed::name(is_used, evidence)))
}

/// Fails if the caller may not remove the name of an object from its directory, or if the object is immutable.
pub(super) fn check_directory(system: &System, seen: &Object) -> Result<(), Error> {
    let directory = system.objects()?;
    let errno = match sys::check_directory_access(directory.as_fd()) {
        Ok(()) if may_unlink(directory, seen.posix(), system) && !seen.posix().stat.is_protected => return Ok(()),
        Ok(()) => Errno::EPERM,
        Err(errno) => errno,
    };
    let error = Failure::Call(errno, "unlinkat").explain(system, seen);
    let reason = if errno == Errno::EPERM { "not permitted" } else { errno.desc() };
    // The call was not made.
    Err(Error { message: format!("cannot remove {}: {reason}", seen.ident()), source: None, ..error })
}

/// Removes objects, at most [`AT_ONCE`], that are still as they were seen and not in use; returns a result for each.
/// Fails for an object if a call fails, and keeps those that are in use, have changed or cannot be judged. A dry run
/// takes no leases: it checks only whether the caller may remove the names.
pub(crate) fn clean_files(
    system: &System,
    seen: &[&Object],
    dry_run: bool,
) -> Result<Vec<Result<Cleaned, Error>>, Error> {
    if dry_run {
        let result = |object: &&Object| match check_directory(system, object) {
            Ok(()) => Ok(Cleaned::Removed(Outcome::Destroyed.into())),
            Err(error) => Err(would_fail(error)),
        };
        return Ok(seen.iter().map(result).collect());
    }
    // The kernel or a sandbox grants no leases. EACCES means that this caller has no right to this one.
    let may_scan = |errno| matches!(errno, Errno::EINVAL | Errno::EPERM | Errno::ENOSYS | Errno::EOPNOTSUPP);
    let clean = |(result, object): (Result<Removed, Failure>, &&Object)| match result {
        Ok(removed) => Ok(Cleaned::Removed(removed)),
        Err(failure @ (Failure::Call(..) | Failure::LeftAside { .. })) => Err(failure.explain(system, object)),
        Err(failure) => Ok(Cleaned::Kept(KeepReason::File(failure))),
    };
    // A program may have started since they were listed.
    let needed = needed_by(system, seen)?;
    let unneeded: Vec<&Object> = seen.iter().zip(&needed).filter(|(_, by)| by.is_none()).map(|(one, _)| *one).collect();
    let mut removed = remove_unused(system, &unneeded, may_scan)?.into_iter();
    let result = |by: Option<Object>| match by {
        None => removed.next().unwrap_or(Err(Failure::Gone)),
        Some(_) => Err(Failure::Needed),
    };
    Ok(needed.into_iter().map(result).zip(seen).map(clean).collect())
}

/// Removes objects, at most [`AT_ONCE`], that are still as they were seen and not in use; returns a result for each.
/// If the lease cannot be taken for a reason that `may_scan` accepts, a scan of the processes decides.
fn remove_unused(
    system: &System,
    seen: &[&Object],
    may_scan: impl Fn(Errno) -> bool,
) -> Result<Vec<Result<Removed, Failure>>, Error> {
    let mut results = remove_leased(system, seen)?;
    let lacks_lease =
        |result: &Result<Removed, Failure>| matches!(result, Err(Failure::NoLease(errno, _)) if may_scan(*errno));
    if !results.iter().any(lacks_lease) {
        return Ok(results);
    }
    let uses = match find_use(system, seen) {
        // What was removed must be reported. The others keep their error: no lease could be taken.
        Err(error) if !results.iter().any(Result::is_ok) => return Err(error),
        uses => uses.unwrap_or_default(),
    };
    for ((result, object), is_used) in results.iter_mut().zip(seen).zip(uses) {
        match is_used {
            _ if !lacks_lease(result) => {}
            Some(false) => {
                let unlinked = unlink_unchanged(system, object);
                *result = unlinked.map(|_| Removed::name(is_used, UseEvidence::Scan));
            }
            Some(true) => *result = Err(Failure::InUse),
            None => {}
        }
    }
    let is_scanned = |removed: &Removed| removed.evidence == UseEvidence::Scan;
    if !results.iter().any(|result| result.as_ref().is_ok_and(is_scanned)) {
        return Ok(results);
    }
    // A process may have opened an object between the scan and its removal. The names are gone, so a scan that fails is
    // not an error.
    for (result, is_used) in results.iter_mut().zip(find_use(system, seen).unwrap_or_default()) {
        if result.as_ref().is_ok_and(is_scanned) {
            *result = Ok(Removed::name(is_used, UseEvidence::Scan));
        }
    }
    Ok(results)
}

/// Scans the processes and returns, for each object, whether a process uses it. Returns `None` if no user was found,
/// but not all processes can be inspected or files are in flight in Unix sockets, where only a lease shows them.
pub(super) fn find_use(system: &System, seen: &[&Object]) -> Result<Vec<Option<bool>>, Error> {
    let mut objects: Vec<Object> = seen.iter().map(|object| (*object).clone()).collect();
    add_users(system, &mut objects, Needs::ATTACHERS)?;
    let in_flight = LazyCell::new(|| some_are_in_flight(system));
    Ok(objects.iter().map(|object| object.file_users()?.in_use().filter(|is_used| *is_used || !*in_flight)).collect())
}

/// Does the same as [`remove_unused`], but removes only objects whose lease can be taken.
fn remove_leased(system: &System, seen: &[&Object]) -> Result<Vec<Result<Removed, Failure>>, Error> {
    let directory = system.objects()?;
    let remove =
        |part: &[&Object]| -> Vec<_> { part.chunks(GROUP).flat_map(|group| remove_group(directory, group)).collect() };
    // A signal that ends the program would leave the objects under their temporary names. Threads inherit its mask.
    let results = sys::without_signals(|| sys::in_parallel(seen, GROUP, remove));
    let mut results: Vec<_> = results.into_iter().flatten().collect();
    // A group needs a descriptor for each object, which RLIMIT_NOFILE may not allow.
    for (result, object) in results.iter_mut().zip(seen) {
        if let Err(Failure::NoLease(Errno::EMFILE, _) | Failure::Call(Errno::EMFILE, _)) = result {
            *result = sys::without_signals(|| remove_group(directory, &[object])).remove(0);
        }
    }
    Ok(results)
}

fn remove_group(directory: &ObjectDirectory, group: &[&Object]) -> Vec<Result<Removed, Failure>> {
    let leased = group.iter().map(|object| Pending::leased(directory, object.posix()));
    let leased: Vec<_> = leased.map(|one| one.and_then(Pending::put_aside)).collect();
    if leased.iter().any(Result::is_ok) {
        std::thread::sleep(PAUSE);
    }
    // Closing the last descriptor of a large object takes long, so none is closed until every object is unlinked or has
    // its name back.
    let finished: Vec<_> = leased.into_iter().map(|one| one.and_then(Pending::finish)).collect();
    finished.into_iter().map(|result| result.map(|_| Outcome::Destroyed.into())).collect()
}

/// Removes the name of an object, whether it is in use or not, if it is still as it was seen; returns whether a process
/// uses it, `None` if no lease shows it.
fn unlink_unchanged(system: &System, seen: &Object) -> Result<Option<bool>, Failure> {
    let directory = system.objects().map_err(|_| Failure::Gone)?;
    let (name, file) = refer(directory, seen.posix())?;
    // Under its temporary name, it cannot be replaced.
    let pending = sys::without_signals(|| {
        let pending = Pending::new(directory, seen.posix(), name, file).put_aside()?;
        let unlinked = sys::unlink_entry(directory.as_fd(), &pending.aside);
        unlinked.map_err(|errno| pending.give_back(Failure::Call(errno, "unlinkat")))?;
        Ok(pending)
    })?;
    let opened = sys::open_referred(pending.file.as_fd(), Opening::Lease);
    Ok(match opened.and_then(|file| sys::take_write_lease(file.as_fd(), seen.posix().stat.uid)) {
        Ok(()) => Some(false),
        Err(Errno::EAGAIN) => Some(true),
        Err(_) => None,
    })
}

/// Returns whether the sticky bit of the directory lets the caller remove an object's name: the owner of either may,
/// and so may a caller with CAP_FOWNER over the object. Returns true if that is unknown.
pub(super) fn may_unlink(directory: &ObjectDirectory, seen: &Posix, system: &System) -> bool {
    let Ok(stat) = sys::stat_file(directory.as_fd()) else { return true };
    let is_owner = [stat.uid, seen.stat.uid].contains(&geteuid().as_raw());
    stat.mode & S_ISVTX == 0 || is_owner || has_capability_over(system, &seen.stat, CAP_FOWNER) != Some(false)
}

/// Returns the object that a report lists, if it has not changed since.
pub(crate) fn find_listed(system: &System, listed: &Object, needs: Needs) -> Result<Object, Error> {
    let ident = listed.ident();
    let name = listed.posix().name.as_ref().map(ObjectName::as_str);
    // `\x` stands for a byte that is not valid UTF-8, unless the name itself contains these characters.
    let by_file = match name {
        Some(name) if name.contains("\\x") => lookup(system, Ident::File(listed.posix().file()), needs)?,
        _ => None,
    };
    let by_file = by_file.filter(|found| found.posix().name.as_ref().map(ObjectName::as_str) == name);
    let by_name = || {
        let found = lookup(system, ident.clone(), needs);
        found.map_err(|error| cannot_look_up(system, "find", &ident, error))?.ok_or_else(|| missing_file(&ident))
    };
    let now = by_file.map_or_else(by_name, Ok)?;
    if now.mode != listed.mode || !now.posix().stat.is_as_recorded(&listed.posix().stat) {
        return Err(Failure::Changed.explain(system, listed));
    }
    Ok(now)
}

/// Returns a reference to the file of a name, if it is still as it was seen.
fn refer<'a>(directory: &ObjectDirectory, seen: &'a Posix) -> Result<(&'a ObjectName, OwnedFd), Failure> {
    let name = seen.name.as_ref().ok_or(Failure::Unnamed)?;
    let file = sys::refer_to(directory.as_fd(), name.file_name()).map_err(|errno| match errno {
        Errno::ENOENT => Failure::Gone,
        errno => Failure::Call(errno, "openat"),
    })?;
    check(file.as_fd(), &seen.stat)?;
    Ok((name, file))
}

fn check(file: impl AsFd, seen: &FileStat) -> Result<FileStat, Failure> {
    let now = sys::stat_file(file.as_fd()).map_err(|errno| Failure::Call(errno, "statx"))?;
    match now.links {
        0 => Err(Failure::Gone),
        _ if now.file != seen.file => Err(Failure::Replaced),
        links @ 2.. => Err(Failure::Linked(links)),
        1 if now.is_unchanged(seen) => Ok(now),
        1 => Err(Failure::Changed),
    }
}

/// An object whose removal has begun.
struct Pending<'a> {
    directory: &'a ObjectDirectory,
    id: FileId,
    name: &'a OsStr,
    aside: OsString,
    file: OwnedFd,
    /// The owner and group of the file.
    owner: (u32, u32),
}

impl<'a> Pending<'a> {
    /// Begins a removal: takes the lease of an object that is still as it was seen.
    fn leased(directory: &'a ObjectDirectory, seen: &'a Posix) -> Result<Self, Failure> {
        let (name, file) = refer(directory, seen)?;
        let no_lease = |errno, call| match errno {
            Errno::EAGAIN => Failure::InUse,
            errno => Failure::NoLease(errno, call),
        };
        // Two open descriptions of our own would look like another user.
        let file = sys::open_referred(file.as_fd(), Opening::Lease).map_err(|errno| no_lease(errno, "open"))?;
        let taken = sys::take_write_lease(file.as_fd(), seen.stat.uid);
        taken.map_err(|errno| no_lease(errno, "fcntl F_SETLEASE"))?;
        if check(file.as_fd(), &seen.stat)?.atime != seen.stat.atime {
            return Err(Failure::Changed);
        }
        Ok(Self::new(directory, seen, name, file))
    }

    fn new(directory: &'a ObjectDirectory, seen: &Posix, name: &'a ObjectName, file: OwnedFd) -> Self {
        let aside = aside_name(name).map_or_else(|| aside_by_inode(seen.file()), |aside| aside.file_name().to_owned());
        let owner = (seen.stat.uid, seen.stat.gid);
        Self { directory, id: seen.file(), name: name.file_name(), aside, file, owner }
    }

    /// Renames the object. If another object has its name by now, that one is given the name back, and this fails.
    fn put_aside(mut self) -> Result<Self, Failure> {
        let directory = self.directory.as_fd();
        let mut renamed = sys::rename_entry(directory, self.name, &self.aside, self.owner);
        if renamed == Err(Errno::EEXIST) {
            self.aside = aside_by_inode(self.id);
            renamed = sys::rename_entry(directory, self.name, &self.aside, self.owner);
        }
        renamed.map_err(|errno| match errno {
            Errno::ENOENT => Failure::Gone,
            errno => Failure::Call(errno, "renameat2"),
        })?;
        if sys::stat_entry(directory, &self.aside).is_ok_and(|stat| stat.file == self.id) {
            return Ok(self);
        }
        Err(self.give_back(Failure::Replaced))
    }

    /// Restores the name, and returns why it is not removed.
    fn give_back(&self, why: Failure) -> Failure {
        match sys::rename_entry(self.directory.as_fd(), &self.aside, self.name, self.owner) {
            Ok(()) => why,
            Err(errno) => Failure::LeftAside {
                aside: format!("/{}", escape_invalid_utf8(self.aside.as_bytes())),
                errno,
                why: Box::new(why),
            },
        }
    }

    /// Unlinks the object and returns its file, or gives it its name back if a process has tried to open it.
    fn finish(self) -> Result<OwnedFd, Failure> {
        let failure = if sys::holds_write_lease(self.file.as_fd()) {
            match sys::unlink_entry(self.directory.as_fd(), &self.aside) {
                Ok(()) => return Ok(self.file),
                Err(errno) => Failure::Call(errno, "unlinkat"),
            }
        } else {
            Failure::BeingOpened
        };
        Err(self.give_back(failure))
    }
}
