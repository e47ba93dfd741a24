//! Changes the owner, group, mode and size of POSIX objects.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::stat::{FchmodatFlags, Mode as FileMode, fchmodat};
use nix::unistd::{Gid, Uid, fchownat, truncate};

use super::remove_file::is_used;
use super::set::Change;
use crate::error::{Error, Kind, again};
use crate::explain::{cannot_open, file_in_use, unmapped_id};
use crate::model::{Object, Size};
use crate::query::{Account, System, refer_to_file};
use crate::sys;

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

/// Changes an object. Its size is changed first, since that is refused most often.
///
/// Shrinking an object that a process uses is refused without `force`: the process would get SIGBUS beyond the new end.
pub(super) fn set_file(system: &System, seen: &Object, change: Change) -> Result<(), Error> {
    let ident = seen.ident();
    if change.lock.is_some() {
        return Err(Error::new(Kind::Usage, format!("cannot lock {ident}: only segments can be locked"))
            .target(ident.argument()));
    }
    let failed = |errno: Errno, call| {
        let error = Error::new(Kind::of(errno), format!("cannot change {ident}")).os(errno, call);
        let error = error.target(ident.argument());
        if errno == Errno::EPERM { error.cause("only its owner and a privileged user can change it") } else { error }
    };
    let file = refer_to_file(system, seen).map_err(|error| cannot_open(seen, "change", error))?;
    let path = sys::descriptor_path(file.as_fd());
    if let Some(size) = change.size {
        let now = sys::stat_file(file.as_fd()).map_err(|errno| failed(errno, "statx"))?;
        if size < now.size && !change.force {
            let message = |why| format!("cannot shrink {ident} to {}: {why}", Size(size));
            let refusal = match is_used(system, seen) {
                Ok(false) => None,
                Ok(true) => Some(file_in_use(system, seen, message("it is in use"))),
                Err(error) if error.kind == Kind::Refused => {
                    Some(Error { message: message("cannot determine whether a process uses it"), ..error })
                }
                Err(error) => return Err(error),
            };
            if let Some(mut refusal) = refusal {
                refusal.hints.clear();
                return Err(refusal.hint("shrink it anyway; its users get SIGBUS beyond the new end", again("--force")));
            }
        }
        let size = i64::try_from(size).map_err(|_| failed(Errno::EFBIG, "truncate"))?;
        truncate(&path, size).map_err(|errno| failed(errno, "truncate"))?;
    }
    if change.owner.is_some() || change.group.is_some() {
        let (owner, group) = current_ids(system, change.owner, change.group)?;
        fchownat(file.as_fd(), "", owner, group, AtFlags::AT_EMPTY_PATH).map_err(|errno| failed(errno, "fchownat"))?;
    }
    if let Some(mode) = change.mode {
        let mode = FileMode::from_bits_truncate(mode.bits().into());
        fchmodat(AT_FDCWD, &path, mode, FchmodatFlags::FollowSymlink).map_err(|errno| failed(errno, "fchmodat"))?;
    }
    Ok(())
}
