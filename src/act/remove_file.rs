//! Removes POSIX objects, so that no process ever loses one that it uses or is about to open.
//!
//! A write lease is granted only if no process has the file open or mapped, and lets openers wait. Under the lease, the
//! object is compared with what the user was shown, then renamed aside, so that no later open finds it. After a short
//! pause, in which an opener that has already looked up the name reaches the lease, F_GETLEASE shows whether there was
//! one: then the object gets its name back, otherwise it is unlinked. Without the pause, or without the renaming, some
//! openers get an object that has just been removed.
//!
//! Openers wait meanwhile, so nothing else happens under a lease: no output, no scan, no fork. Several objects share
//! one pause.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;

use nix::errno::Errno;

use super::remove::Removal;
use crate::error::{Error, Kind, shmadm};
use crate::explain::{describe_users, file_in_use, missing_file};
use crate::model::{FileStat, FileType, Needs, Object, ObjectName, Outcome, Posix};
use crate::query::{ObjectDirectory, System, add_users, probe};
use crate::sys::{self, Lease, Opening};

/// What names of objects that are being removed begin with. A name left over by SIGKILL is given back by the next `prune`.
const ASIDE: &[u8] = b".shmadm-aside=";
/// The same for an object whose name would become too long; its inode number follows.
const ASIDE_BY_INODE: &str = ".shmadm-aside#";
/// The time that an opener needs from looking up a name to reaching the lease.
const PAUSE: Duration = Duration::from_micros(100);
/// The most objects that share a pause: the first of them is held for less than a millisecond.
const AT_ONCE: usize = 32;

/// Removes an object if it is still as it was seen and not in use; with `force` its name, even if it is in use.
pub(super) fn remove_file(system: &System, seen: &Object, how: Removal) -> Result<Outcome, Error> {
    let explain = |failure: Failure| failure.explain(system, seen);
    if how.force {
        return if how.dry_run { is_used(system, seen).map(outcome) } else { unlink_file(system, seen) };
    }
    if seen.posix().keep {
        let ident = seen.ident();
        let product = seen.posix().product.as_deref().unwrap_or("its program");
        return Err(Error::new(Kind::Refused, format!("cannot remove {ident}: {product} keeps it between runs"))
            .target(ident.argument())
            .hint("remove it anyway", shmadm("rm --force").arg(ident.typed())));
    }
    if how.dry_run {
        return match is_used(system, seen)? {
            false => Ok(Outcome::Destroyed),
            true => Err(explain(Failure::InUse)),
        };
    }
    let mut result = Err(Failure::Gone);
    remove_files(system, &[seen], |_, one| result = one)?;
    match result {
        // Leases are disabled or denied: the processes decide, if all of them were inspected.
        Err(Failure::NoLease(_)) if !is_used(system, seen)? => unlink_file(system, seen),
        result => result.map(|()| Outcome::Destroyed).map_err(explain),
    }
}

fn outcome(is_used: bool) -> Outcome {
    if is_used { Outcome::Unlinked } else { Outcome::Destroyed }
}

/// Returns whether a process uses an object, by its lease, or by a scan if that cannot be taken; fails if neither shows
/// it.
pub(super) fn is_used(system: &System, seen: &Object) -> Result<bool, Error> {
    let mut objects = [seen.clone()];
    probe(system, &mut objects);
    if objects[0].posix().in_use().is_none() {
        add_users(system, &mut objects, Needs::ATTACHERS)?;
    }
    objects[0].posix().in_use().ok_or_else(|| Failure::NoLease(Errno::EACCES).explain(system, seen))
}

/// Removes objects if they are still as they were seen and not in use, in groups. Reports each in the order given.
fn remove_files(
    system: &System,
    seen: &[&Object],
    mut report: impl FnMut(usize, Result<(), Failure>),
) -> Result<(), Error> {
    let directory = system.objects()?;
    ignore_lease_breaks()?;
    for (group, objects) in seen.chunks(AT_ONCE).enumerate() {
        let mut leased: Vec<Result<Leased<'_>, Failure>> =
            objects.iter().map(|object| Leased::take(directory, object.posix())).collect();
        for one in &mut leased {
            if let Ok(held) = one
                && let Err(errno) = held.put_aside()
            {
                *one = Err(Failure::Call(errno, "renameat2"));
            }
        }
        if leased.iter().any(Result::is_ok) {
            std::thread::sleep(PAUSE);
        }
        let results: Vec<Result<(), Failure>> = leased.into_iter().map(|one| one.and_then(Leased::finish)).collect();
        results.into_iter().enumerate().for_each(|(index, result)| report(group * AT_ONCE + index, result));
    }
    Ok(())
}

/// Removes the name of an object, whether it is in use or not, if it is still as it was seen.
fn unlink_file(system: &System, seen: &Object) -> Result<Outcome, Error> {
    let directory = system.objects()?;
    let explain = |failure: Failure| failure.explain(system, seen);
    let (name, file) = refer(directory, seen.posix()).map_err(explain)?;
    sys::unlink_entry(directory.as_fd(), name.file_name())
        .map_err(|errno| explain(Failure::Call(errno, "unlinkat")))?;
    let opened = sys::open_referred(file.as_fd(), Opening::Read);
    let is_unused = match opened.and_then(|file| sys::take_write_lease_or_as(file.as_fd(), seen.posix().stat.uid)) {
        Ok(()) => true,
        Err(Errno::EAGAIN) => false,
        Err(_) => !seen.is_in_use(),
    };
    Ok(if is_unused { Outcome::Destroyed } else { Outcome::Unlinked })
}

/// Restores the names of objects of the caller that a killed removal has left aside. Removes an object whose name exists
/// again: no process can know it.
pub(crate) fn restore_aside(system: &System) -> Result<(), Error> {
    let directory = system.objects()?;
    ignore_lease_breaks()?;
    let mut names = Vec::new();
    let _ = sys::each_name(directory.as_fd(), |name| {
        if name.starts_with(ASIDE) || name.starts_with(ASIDE_BY_INODE.as_bytes()) {
            names.push(OsString::from_vec(name.to_owned()));
        }
    });
    for aside in names {
        let Ok(stat) = sys::stat_entry(directory.as_fd(), &aside) else { continue };
        if stat.special().is_some() || stat.uid != system.uid() {
            continue;
        }
        let seen = Posix::new(stat, FileType::Shm, ObjectName::of_file(aside.as_bytes()));
        // The lease shows that no removal is using the name now.
        let Ok(_leased) = Leased::take(directory, &seen) else { continue };
        let name = aside.as_bytes().strip_prefix(ASIDE).map(OsStr::from_bytes);
        let restored = name.is_some_and(|name| sys::rename_entry(directory.as_fd(), &aside, name).is_ok());
        if !restored {
            let _ = sys::unlink_entry(directory.as_fd(), &aside);
        }
    }
    Ok(())
}

fn ignore_lease_breaks() -> Result<(), Error> {
    sys::ignore_lease_breaks().map_err(|errno| Error::new(Kind::Failed, "cannot ignore SIGIO").os(errno, "signal"))
}

/// Returns a reference to the file of an object that is still as it was seen.
pub(super) fn refer_unchanged(system: &System, seen: &Object) -> Result<OwnedFd, Error> {
    match refer(system.objects()?, seen.posix()) {
        Ok((_, file)) => Ok(file),
        Err(failure) => Err(failure.explain(system, seen)),
    }
}

/// Why an object was not removed.
#[derive(Debug)]
pub(super) enum Failure {
    Gone,
    Changed,
    /// It has no name that could be removed.
    Unnamed,
    /// It has several names.
    Linked(u64),
    InUse,
    /// A process opened it during the removal.
    BeingOpened,
    /// The lease cannot be taken, which says nothing about use.
    NoLease(Errno),
    Call(Errno, &'static str),
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

fn check(file: impl AsFd, seen: &FileStat) -> Result<(), Failure> {
    let now = sys::stat_file(file.as_fd()).map_err(|errno| Failure::Call(errno, "statx"))?;
    match now.links {
        0 => Err(Failure::Gone),
        links @ 2.. => Err(Failure::Linked(links)),
        1 if now.is_unchanged(seen) => Ok(()),
        1 => Err(Failure::Changed),
    }
}

/// An object with a write lease.
struct Leased<'a> {
    directory: &'a ObjectDirectory,
    name: &'a OsStr,
    aside: OsString,
    file: OwnedFd,
}

impl<'a> Leased<'a> {
    /// Takes the lease of an object that is still as it was seen.
    fn take(directory: &'a ObjectDirectory, seen: &'a Posix) -> Result<Self, Failure> {
        let (name, file) = refer(directory, seen)?;
        // Two open descriptions of our own would look like another user.
        let file = sys::open_referred(file.as_fd(), Opening::Read)
            .or_else(|_| sys::open_referred(file.as_fd(), Opening::Write))
            .map_err(Failure::NoLease)?;
        sys::take_write_lease_or_as(file.as_fd(), seen.stat.uid)
            .map_err(|errno| if errno == Errno::EAGAIN { Failure::InUse } else { Failure::NoLease(errno) })?;
        check(file.as_fd(), &seen.stat)?;
        let name = name.file_name();
        let aside = [ASIDE, name.as_bytes()].concat();
        let aside = if ObjectName::of_file(&aside).is_some() {
            OsString::from_vec(aside)
        } else {
            format!("{ASIDE_BY_INODE}{}", seen.stat.file.inode).into()
        };
        Ok(Self { directory, name, aside, file })
    }

    fn put_aside(&mut self) -> Result<(), Errno> {
        sys::rename_entry(self.directory.as_fd(), self.name, &self.aside)
    }

    /// Unlinks the object, or restores its name if a process has tried to open it.
    fn finish(self) -> Result<(), Failure> {
        if sys::lease(self.file.as_fd()) == Ok(Lease::Write) {
            return sys::unlink_entry(self.directory.as_fd(), &self.aside)
                .map_err(|errno| Failure::Call(errno, "unlinkat"));
        }
        sys::rename_entry(self.directory.as_fd(), &self.aside, self.name)
            .map_err(|errno| Failure::Call(errno, "renameat2"))?;
        Err(Failure::BeingOpened)
    }
}

impl Failure {
    fn explain(self, system: &System, object: &Object) -> Error {
        let ident = object.ident();
        let argument = ident.argument();
        let message = |reason: &str| format!("cannot remove {ident}: {reason}");
        let refused = |reason: &str| Error::new(Kind::Refused, message(reason)).target(&*argument);
        match self {
            Self::Gone => missing_file(&ident),
            Self::Unnamed => refused("it has no name; its memory is freed when no process uses it any more")
                .cause(describe_users(system, object)),
            Self::Changed => refused("it has changed since it was looked up")
                .hint("show it again", shmadm("stat").arg(ident.typed())),
            Self::Linked(links) => refused(&format!("it has {links} names (hard links)")),
            Self::InUse => file_in_use(system, object, message("it is in use")),
            Self::BeingOpened => refused("another process is opening it"),
            Self::NoLease(errno) => refused("cannot determine whether a process uses it")
                .os(errno, "fcntl F_SETLEASE")
                .hint("remove its name anyway", shmadm("rm --force").arg(ident.typed())),
            Self::Call(errno, call) => {
                Error::new(Kind::of(errno), format!("cannot remove {ident}")).os(errno, call).target(&*argument)
            }
        }
    }
}
