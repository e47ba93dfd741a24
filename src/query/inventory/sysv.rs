//! The backend of System V segments: shmctl(2) and /proc/sysvipc/shm.
//!
//! A walk with SHM_STAT_ANY costs half as much as the file, and only the file has resident and swapped bytes. Some
//! sandboxes deny one, some the other, and kernels before 4.17 lack SHM_STAT_ANY, so that each replaces the other.
//! Fields that a source lacks are `None`. Once a row has been shown, a source that fails is an error, since another
//! would start again.

use std::cell::Cell;

use nix::errno::Errno;

use crate::model::{Key, Needs, Object, ShmId};
use crate::procfs;
use crate::query::failure::QueryError;
use crate::query::host::System;
use crate::sys::{self, SysError};

/// Passes all segments to `show` in the order of the kernel's table.
pub(super) fn each(system: &System, needs: Needs, show: &mut dyn FnMut(Object)) -> Result<(), QueryError> {
    let shown = Cell::new(false);
    let mut show = |segment| {
        shown.set(true);
        show(segment);
    };
    let again = |result: &Result<(), QueryError>| result.is_err() && !shown.get();
    let mut listed = if needs.contains(Needs::RESIDENT) {
        let listed = procfs::each_segment(system.proc(), &mut show).map_err(QueryError::Table);
        if again(&listed) { by_index(sys::stat_index, &mut show).map_err(QueryError::List) } else { listed }
    } else {
        let listed = by_index(sys::stat_index, &mut show).map_err(QueryError::List);
        // A kernel before 4.17 does not know the command, and seems to have no segments.
        if shown.get() {
            listed
        } else {
            procfs::each_segment(system.proc(), &mut show).map_err(QueryError::Table).or(listed)
        }
    };
    if again(&listed) {
        listed = by_index(sys::stat_index_readable, &mut show).map_err(QueryError::List).or(listed);
    }
    listed
}

/// Asks shmctl for each index of the kernel's table.
fn by_index(ask: impl Fn(i32) -> Result<Object, SysError>, show: &mut impl FnMut(Object)) -> Result<(), SysError> {
    for index in 0..=sys::highest_index()? {
        match ask(index) {
            Ok(segment) => show(segment),
            // An empty slot, one whose segment was just removed, or one that SHM_STAT does not show.
            Err(error) if matches!(error.errno, Errno::EINVAL | Errno::EIDRM | Errno::EACCES) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads one segment; `Ok(None)` if there is none with this id.
///
/// This requires no permission: a segment that IPC_STAT denies is found in the table.
pub(super) fn lookup(system: &System, id: ShmId, needs: Needs) -> Result<Option<Object>, QueryError> {
    if needs.contains(Needs::RESIDENT)
        && let Ok(found) = procfs::find_segment(system.proc(), id)
    {
        return Ok(found);
    }
    let refused = match sys::stat(id) {
        Ok(segment) => return Ok(Some(segment)),
        Err(error) if matches!(error.errno, Errno::EINVAL | Errno::EIDRM) => return Ok(None),
        Err(error) => error,
    };
    // SHM_STAT_ANY needs no read permission; it finds nothing only on kernels before 4.17.
    if let Ok(found) = sys::stat_any(id) {
        return Ok(found);
    }
    if let Ok(found) = procfs::find_segment(system.proc(), id) {
        return Ok(found);
    }
    let mut found = None;
    by_index(sys::stat_index, &mut |segment| {
        if segment.sysv().id == id {
            found = Some(segment);
        }
    })
    .map_err(|_| QueryError::Stat(id, refused))?;
    Ok(found)
}

pub(crate) fn key_exists(key: Key) -> bool {
    matches!(sys::find_key(key, 0), Ok(_) | Err(SysError { errno: Errno::EACCES, .. }))
}
