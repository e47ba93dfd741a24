//! The backend of System V segments: shmctl(2) and /proc/sysvipc/shm.
//!
//! A walk with SHM_STAT_ANY costs half as much as the file, and only the file has resident and swapped bytes. Some
//! sandboxes deny one, some the other, and kernels before 4.17 lack SHM_STAT_ANY, so either is used where the other is
//! missing. Fields that a source lacks are `None`. Once a row has been shown, a source that fails is an error, since
//! another would start again.

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
    if needs.contains(Needs::RESIDENT) {
        return match procfs::each_segment(system.proc(), &mut show) {
            Err(_) if !shown.get() => by_index(&mut show).map_err(QueryError::List),
            listed => listed.map_err(QueryError::Table),
        };
    }
    let listed = by_index(&mut show).map_err(QueryError::List);
    // A kernel before 4.17 does not know the command, and seems to have no segments.
    if shown.get() {
        return listed;
    }
    procfs::each_segment(system.proc(), &mut show).map_err(QueryError::Table).or(listed)
}

/// Asks shmctl for each index of the kernel's table.
fn by_index(show: &mut impl FnMut(Object)) -> Result<(), SysError> {
    let (_, highest) = sys::info()?;
    for index in 0..=highest {
        match sys::stat_index(index) {
            Ok(segment) => show(segment),
            // An empty slot, or one whose segment was just removed.
            Err(error) if matches!(error.errno, Errno::EINVAL | Errno::EIDRM) => {}
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
    // SHM_STAT_ANY requires no read permission; kernels before 4.17 lack it, and some sandboxes deny it.
    if let Ok(found) = sys::stat_any(id) {
        return Ok(found);
    }
    procfs::find_segment(system.proc(), id).map_err(|_| QueryError::Stat(id, refused))
}

pub(crate) fn key_exists(key: Key) -> bool {
    matches!(sys::find_key(key, 0), Ok(_) | Err(SysError { errno: Errno::EACCES, .. }))
}
