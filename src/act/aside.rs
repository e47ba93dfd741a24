//! The names of objects whose removal is not finished. A killed removal leaves an object with such a name.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use nix::errno::Errno;

use crate::model::{FileId, ObjectName};
use crate::query::System;
use crate::sys::{self, Opening};

/// The prefix of an object that is being removed. If the removal is killed, the next `prune` restores the name.
const ASIDE: &[u8] = b".shmadm-aside=";
/// The prefix if the name would become too long or is taken. The inode number and the pid follow, so no `prune` knows
/// which name to restore: the object is an orphan of that process (products.toml).
const ASIDE_BY_INODE: &str = ".shmadm-aside#";

/// Restores the names of objects that a killed removal has renamed: those of the caller, or of every user for root.
/// Returns each name, and why it could not be restored. A dry run restores none.
///
/// An object whose name cannot be restored is listed and removed like any other.
pub(crate) fn restore_aside(system: &System, dry_run: bool) -> Vec<(ObjectName, Result<(), Errno>)> {
    // Without a /dev/shm there is nothing to restore.
    let Ok(directory) = system.objects() else { return Vec::new() };
    let mut names = Vec::new();
    let _ = sys::each_name(directory.as_fd(), |aside| {
        let name = aside.strip_prefix(ASIDE).and_then(ObjectName::of_file);
        names.extend(name.map(|name| (OsString::from_vec(aside.to_owned()), name)));
    });
    let restore = |(aside, name): (OsString, ObjectName)| {
        let file = sys::refer_to(directory.as_fd(), &aside).ok()?;
        let stat = sys::stat_file(file.as_fd()).ok()?;
        if !stat.is_regular() || ![stat.uid, 0].contains(&system.uid()) {
            return None;
        }
        // Fails while a removal holds the lease. While the file is open, no removal can begin.
        let _opened = sys::open_referred(file.as_fd(), Opening::Lease).ok()?;
        let restored = match sys::stat_entry(directory.as_fd(), name.file_name()) {
            Ok(_) => Err(Errno::EEXIST),
            Err(_) if dry_run => Ok(()),
            Err(_) => sys::rename_entry(directory.as_fd(), &aside, name.file_name(), (stat.uid, stat.gid)),
        };
        Some((name, restored))
    };
    names.into_iter().filter_map(restore).collect()
}

/// Returns the name that an object has during its removal.
pub(crate) fn aside_name(name: &ObjectName) -> Option<ObjectName> {
    ObjectName::of_file(&[ASIDE, name.file_name().as_bytes()].concat())
}

/// Returns a name from the inode number, for an object whose own name cannot be in it, or whose [`aside_name`] is
/// taken.
pub(super) fn aside_by_inode(file: FileId) -> OsString {
    format!("{ASIDE_BY_INODE}{}.{}", file.inode, std::process::id()).into()
}
