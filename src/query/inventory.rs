//! All segments of the IPC namespace, or one of them, from shmctl(2) or /proc/sysvipc/shm.
//!
//! A walk with SHM_STAT_ANY costs half as much as the file, and only the file has resident and swapped bytes. Some
//! sandboxes deny one, some the other, and kernels before 4.17 lack SHM_STAT_ANY, so that each replaces the other.
//! Fields that a source lacks are `None`. Once a row has been shown, a source that fails is an error, since another
//! would start again.

use std::cell::Cell;

use nix::errno::Errno;

use super::huge::resident;
use super::{Attempt, System, explain};
use crate::error::{Error, Kind, OsError};
use crate::model::{Needs, Segment, ShmId};
use crate::procfs;
use crate::sys::{self, SysError};

/// Returns all segments in the order of the kernel's table; `needs` are the fields to read.
///
/// # Errors
/// Both sources are denied.
pub(crate) fn inventory(system: &System, needs: Needs) -> Result<Vec<Segment>, Error> {
    let mut segments = Vec::new();
    each(system, needs, |segment| {
        segments.push(segment);
        Ok(())
    })?;
    Ok(segments)
}

/// Passes all segments to `show` in the order of the kernel's table, until `show` fails; `needs` are the fields to
/// read.
///
/// # Errors
/// Both sources are denied, or `show` fails.
pub(crate) fn each(
    system: &System,
    needs: Needs,
    mut show: impl FnMut(Segment) -> Result<(), Error>,
) -> Result<(), Error> {
    // Rows that have been shown stay shown, and another source would start again.
    let shown = Cell::new(false);
    let mut outcome = Ok(());
    let mut complete = |mut segment: Segment| {
        shown.set(true);
        if outcome.is_ok() {
            complete_one(system, &mut segment, needs);
            outcome = show(segment);
        }
    };
    let denied = |error| explain(system, &Attempt::List, error);
    let from_proc = |show: &mut dyn FnMut(Segment)| {
        let failed = |error| Error::new(Kind::Failed, format!("cannot list all segments: {error}"));
        procfs::each_segment(system.proc(), show).map_err(failed)
    };
    let again = |result: &Result<(), Error>| result.is_err() && !shown.get();
    let mut listed = if needs.contains(Needs::RESIDENT) {
        let listed = from_proc(&mut complete);
        if again(&listed) { by_index(sys::stat_index, &mut complete).map_err(denied) } else { listed }
    } else {
        let listed = by_index(sys::stat_index, &mut complete).map_err(denied);
        // A kernel before 4.17 does not know the command, and seems to have no segments.
        if shown.get() { listed } else { from_proc(&mut complete).or(listed) }
    };
    if again(&listed) {
        listed = by_index(sys::stat_index_readable, &mut complete).map_err(denied).or(listed);
    }
    listed.and(outcome)
}

/// Asks shmctl for each index of the kernel's table.
fn by_index(ask: impl Fn(i32) -> Result<Segment, SysError>, show: &mut impl FnMut(Segment)) -> Result<(), SysError> {
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
///
/// # Errors
/// All sources are denied.
pub(crate) fn segment(system: &System, id: ShmId, needs: Needs) -> Result<Option<Segment>, Error> {
    // A removed segment is not searched for in the whole table.
    let is_gone = |error: &SysError| matches!(error.errno, Errno::EINVAL | Errno::EIDRM);
    if needs.contains(Needs::RESIDENT) && sys::stat(id).as_ref().is_err_and(is_gone) {
        return Ok(None);
    }
    let mut found = None;
    if !needs.contains(Needs::RESIDENT)
        || procfs::find_segment(system.proc(), id).map(|segment| found = segment).is_err()
    {
        found = match sys::stat(id) {
            Ok(segment) => Some(segment),
            Err(error) if is_gone(&error) => None,
            // SHM_STAT_ANY needs no read permission; it finds nothing only on kernels before 4.17.
            Err(refused) => match sys::stat_any(id).map_or_else(|_| procfs::find_segment(system.proc(), id), Ok) {
                Ok(segment) => segment,
                Err(_) => {
                    let mut found = None;
                    by_index(sys::stat_index, &mut |segment| {
                        if segment.id == id {
                            found = Some(segment);
                        }
                    })
                    .map_err(|_| explain(system, &Attempt::Stat(id), refused))?;
                    found
                }
            },
        };
    }
    if let Some(segment) = &mut found {
        complete_one(system, segment, needs);
    }
    Ok(found)
}

/// Adds what is needed of a segment, and corrects what the kernel miscounts.
fn complete_one(system: &System, segment: &mut Segment, needs: Needs) {
    segment.rss = segment.rss.and_then(|rss| resident(system, rss, segment.size));
    system.complete(segment, needs);
}

/// Calls shmctl(IPC_STAT) and nothing else, to show what it returns.
///
/// # Errors
/// The call fails.
pub(crate) fn call_stat(id: ShmId) -> Result<Segment, OsError> {
    sys::stat(id).map_err(|error| OsError::new(error.errno, error.call))
}
