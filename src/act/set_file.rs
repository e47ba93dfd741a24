//! Changes the owner, group, mode and size of POSIX objects.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::stat::{FchmodatFlags, Mode as FileMode, fchmodat};
use nix::unistd::{Gid, Uid, fchownat, ftruncate};

use super::remove_file::find_use;
use super::set::Change;
use crate::error::{Error, Kind, again};
use crate::explain::{
    NO_CHOWN, OPENED_THROUGH_PROC, cannot_open, file_in_use, seal_cause, unmapped_id, why_unknown, with_protection,
    with_read_only_cause, with_size_cause, without_proc,
};
use crate::model::{FileType, Mode, Object, Seal, Size, enumerate};
use crate::query::{Account, OpenError, System, refer_to_file};
use crate::sys::{self, Opening};

/// Converts the caller's ids to those of the current user namespace.
pub(super) fn current_ids(
    system: &System,
    owner: Option<u32>,
    group: Option<u32>,
) -> Result<(Option<Uid>, Option<Gid>), Error> {
    let convert = |account: Account, id: Option<u32>| {
        id.map(|id| system.id_in_namespace(account, id).ok_or_else(|| unmapped_id(system, account, id))).transpose()
    };
    let (owner, group) = (convert(Account::User, owner)?, convert(Account::Group, group)?);
    Ok((owner.map(Uid::from_raw), group.map(Gid::from_raw)))
}

/// Changes an object. Its size is changed last, since shrinking destroys contents; but the file is opened first, with
/// the mode that it still has.
///
/// Shrinking an object that a process uses is refused without `force`: the process would get SIGBUS beyond the new end.
pub(super) fn set_file(system: &System, seen: &Object, change: Change) -> Result<(), Error> {
    let file = refer_to_file(system, seen).map_err(|error| cannot_open(system, seen, "change", error))?;
    let resized = change.size.map(|size| open_to_resize(system, seen, file.as_fd(), size, change.force)).transpose()?;
    let mut changed: Vec<String> = Vec::new();
    if change.owner.is_some() || change.group.is_some() {
        let (owner, group) = current_ids(system, change.owner, change.group)?;
        fchownat(file.as_fd(), "", owner, group, AtFlags::AT_EMPTY_PATH)
            .map_err(|errno| failed(system, seen, errno, "fchownat"))?;
        changed.extend(change.owner.map(|_| "owner".to_owned()));
        changed.extend(change.group.map(|_| "group".to_owned()));
    }
    let after = |error: Error, changed: &[String]| match changed {
        [] => error,
        [_] => error.also(&format!("its {} has been changed", changed[0])),
        _ => error.also(&format!("its {} have been changed", enumerate(changed, "and"))),
    };
    if let Some(mode) = change.mode {
        set_mode(system, seen, file.as_fd(), mode).map_err(|error| after(error, &changed))?;
        changed.push("mode".to_owned());
    }
    resized.map_or(Ok(()), |resized| resized.apply(system, seen)).map_err(|error| after(error, &changed))
}

fn set_mode(system: &System, seen: &Object, file: BorrowedFd<'_>, mode: Mode) -> Result<(), Error> {
    let mode = FileMode::from_bits_truncate(mode.bits().into());
    let set = |path: &Path| fchmodat(AT_FDCWD, path, mode, FchmodatFlags::FollowSymlink);
    sys::through_descriptor(file, set).map_err(|errno| {
        let error = failed(system, seen, errno, "fchmodat");
        match sys::open_referred(file, Opening::InspectNow) {
            Ok(opened) => denied_by(Seal::Exec, opened.as_fd(), error, errno),
            Err(_) => error,
        }
    })
}

/// A file that is open to be resized.
struct Resize {
    file: OwnedFd,
    size: u64,
    length: i64,
    /// The seal that would forbid it.
    seal: Seal,
}

impl Resize {
    fn apply(&self, system: &System, seen: &Object) -> Result<(), Error> {
        ftruncate(&self.file, self.length).map_err(|errno| {
            let error = failed(system, seen, errno, "ftruncate");
            with_size_cause(system, denied_by(self.seal, self.file.as_fd(), error, errno), self.size, errno)
        })
    }
}

/// Opens the file of an object to resize it. Refuses to shrink one that is in use, unless `force` is given.
fn open_to_resize(
    system: &System,
    seen: &Object,
    file: BorrowedFd<'_>,
    size: u64,
    force: bool,
) -> Result<Resize, Error> {
    let too_large = |_| with_size_cause(system, failed(system, seen, Errno::EFBIG, "ftruncate"), size, Errno::EFBIG);
    let length = i64::try_from(size).map_err(too_large)?;
    let now = sys::stat_file(file).map_err(|errno| failed(system, seen, errno, "statx"))?;
    let shrinks = size < now.size;
    // If a seal forbids it, so does the kernel, with or without users.
    let is_sealed = || {
        let opened = sys::open_referred(file, Opening::InspectNow);
        opened.is_ok_and(|opened| seal_cause(opened.as_fd(), &[Seal::Shrink]).is_some())
    };
    let leased = if shrinks && !force && !is_sealed() { open_unused(system, seen, file, size)? } else { None };
    let denied = |errno| cannot_open(system, seen, "change", OpenError::Call(errno));
    let file = leased.map_or_else(|| sys::open_referred(file, Opening::Write).map_err(denied), Ok)?;
    Ok(Resize { file, size, length, seal: if shrinks { Seal::Shrink } else { Seal::Grow } })
}

/// Opens the file of an object that no process uses and takes its lease: until it is closed, no process can open it.
/// Returns `None` if the lease cannot be taken, but a scan of all processes finds no user.
fn open_unused(system: &System, seen: &Object, file: BorrowedFd<'_>, new_size: u64) -> Result<Option<OwnedFd>, Error> {
    let message = |why| format!("cannot shrink {} to {}: {why}", seen.ident(), Size(new_size));
    let force = "shrink it anyway; its users get SIGBUS beyond the new end";
    let in_use = || file_in_use(system, seen, message("it is in use"), Some(force));
    if matches!(seen.posix().file_type, FileType::Memfd | FileType::Anonymous) {
        // They exist only while they are in use. The kernel does not count it, and would grant the lease.
        return Err(in_use());
    }
    Err(match sys::open_referred(file, Opening::WriteLease) {
        // Another process holds a lease.
        Err(Errno::EAGAIN) => in_use(),
        Err(errno) => return Err(cannot_open(system, seen, "change", OpenError::Call(errno))),
        Ok(file) => match sys::take_write_lease(file.as_fd(), seen.posix().stat.uid).map(|()| file) {
            Ok(file) => return Ok(Some(file)),
            Err(Errno::EAGAIN) => in_use(),
            Err(errno) => match find_use(system, &[seen])?[..] {
                [Some(false)] => return Ok(None),
                [Some(true)] => in_use(),
                _ => Error::new(Kind::Refused, message("cannot determine whether it is in use"))
                    .os(errno, "fcntl F_SETLEASE")
                    .target(seen.ident().argument())
                    .cause(why_unknown(system, seen, errno, "fcntl F_SETLEASE"))
                    .hint(force, again("--force").on(seen.ident().typed())),
            },
        },
    })
}

/// Replaces the cause if a seal forbids the change (EPERM).
fn denied_by(seal: Seal, file: BorrowedFd<'_>, error: Error, errno: Errno) -> Error {
    match seal_cause(file, &[seal]).filter(|_| errno == Errno::EPERM) {
        Some(cause) => error.cause(cause),
        None => error,
    }
}

fn failed(system: &System, seen: &Object, errno: Errno, call: &'static str) -> Error {
    let ident = seen.ident();
    let error = Error::call(format!("cannot change {ident}"), errno, call).target(ident.argument());
    match errno {
        Errno::EPERM if call == "fchownat" && system.is_caller(seen.uid) => error.cause(NO_CHOWN),
        Errno::EPERM => {
            let error = error.cause("only its owner and a privileged user can change it");
            with_protection(system, error, seen)
        }
        Errno::EROFS => with_read_only_cause(system, error, seen),
        sys::NO_PROC => without_proc(error, OPENED_THROUGH_PROC),
        _ => error,
    }
}
