//! All segments of the IPC namespace, or one of them, from whichever source the kernel lets us have.

use std::num::NonZero;
use std::thread::{Builder, ScopedJoinHandle};

use nix::errno::Errno;

use super::{Attempt, System, explain, words};
use crate::error::{Error, Kind, SystemWords};
use crate::model::{Needs, Segment, ShmId};
use crate::procfs;
use crate::sys::{self, SysError};

/// The size from which on a table is worth several threads: below it, starting them costs more than they save.
const LARGE_TABLE: i32 = 2000;
/// The most threads that ask: the kernel's locks let more wait for each other.
const MOST_THREADS: usize = 4;

/// Lists all segments in the order of the kernel's table, each with what is needed.
///
/// # Errors
/// Neither source answers.
pub(crate) fn inventory(system: &System, needs: Needs) -> Result<Vec<Segment>, Error> {
    let mut segments = Vec::new();
    each(system, needs, |segment| {
        segments.push(segment);
        Ok(())
    })?;
    Ok(segments)
}

/// Shows all segments in the order of the kernel's table as they come, each with what is needed, until `show` fails.
///
/// shmctl(SHM_STAT_ANY) costs half of what /proc/sysvipc/shm does, which alone has resident and swapped bytes; and
/// each stands in for the other where a sandbox or an old kernel refuses it.
///
/// # Errors
/// Neither source answers, or whatever `show` says.
pub(crate) fn each(
    system: &System,
    needs: Needs,
    mut show: impl FnMut(Segment) -> Result<(), Error>,
) -> Result<(), Error> {
    let (mut shown, mut outcome) = (0_u64, Ok(()));
    let mut complete = |mut segment: Segment| {
        if outcome.is_ok() {
            system.complete(&mut segment, needs);
            outcome = show(segment);
        }
    };
    let mut from_proc = |complete: &mut dyn FnMut(Segment)| {
        let result = procfs::each_segment(system.proc(), |segment| {
            shown += 1;
            complete(segment);
        });
        match result {
            // What has been shown cannot be taken back, and another source would begin anew.
            Err(error) if shown > 0 => {
                Err(Some(Error::new(Kind::Failed, format!("cannot list the segments to their end: {error}"))))
            }
            result => result.map_err(|_| None),
        }
    };
    let parts = if needs.contains(Needs::RESIDENT) {
        match from_proc(&mut complete) {
            Ok(()) => Ok(Vec::new()),
            Err(Some(error)) => return Err(error),
            Err(None) => by_index(sys::stat_index).or_else(|_| by_index(sys::stat_index_readable)),
        }
    } else {
        match by_index(sys::stat_index) {
            // Nothing at all is also what a kernel before 4.17 answers, which does not know the command.
            Ok(parts) if parts.iter().any(|part| !part.is_empty()) => Ok(parts),
            nothing => match from_proc(&mut complete) {
                Ok(()) => Ok(Vec::new()),
                Err(Some(error)) => return Err(error),
                Err(None) => nothing.or_else(|_| by_index(sys::stat_index_readable)),
            },
        }
    };
    let parts = parts.map_err(|error| explain(system, &Attempt::List, error))?;
    parts.into_iter().flatten().for_each(complete);
    outcome
}

/// Asks shmctl for each place of the kernel's table; of a large table, several threads ask for a part each.
fn by_index(ask: fn(i32) -> Result<Segment, SysError>) -> Result<Vec<Vec<Segment>>, SysError> {
    let highest = sys::highest_index()?;
    if highest < LARGE_TABLE {
        return by_part(ask, 0, highest).map(|part| vec![part]);
    }
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS);
    let part = highest / i32::try_from(threads).unwrap_or(1) + 1;
    std::thread::scope(|scope| {
        let starts = (part..=highest).step_by(usize::try_from(part).unwrap_or(1));
        let rest: Vec<_> = starts
            .map(|start| {
                let end = highest.min(start + part - 1);
                let thread = Builder::new().spawn_scoped(scope, move || by_part(ask, start, end));
                // Where the user may have no more threads, this one does it.
                thread.map_err(|_| by_part(ask, start, end))
            })
            .collect();
        let found = |part: Result<ScopedJoinHandle<'_, _>, _>| match part.map(ScopedJoinHandle::join) {
            Ok(Ok(found)) | Err(found) => found,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
        };
        // The first part is this thread's own.
        let first = by_part(ask, 0, highest.min(part - 1));
        std::iter::once(first).chain(rest.into_iter().map(found)).collect()
    })
}

/// Asks shmctl for the places from one to another, both included.
fn by_part(ask: fn(i32) -> Result<Segment, SysError>, from: i32, to: i32) -> Result<Vec<Segment>, SysError> {
    // Room for all at once: of many segments, moving them as the list grows would cost more than some calls.
    let mut segments = Vec::with_capacity(usize::try_from(to - from).unwrap_or(0) + 1);
    for index in from..=to {
        match ask(index) {
            Ok(segment) => segments.push(segment),
            // An empty place; one that was emptied at this moment; one that SHM_STAT hides.
            Err(error) if matches!(error.errno, Errno::EINVAL | Errno::EIDRM | Errno::EACCES) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(segments)
}

/// Looks at one segment; `Ok(None)` if there is none with this id.
///
/// Reading it takes no permission: what IPC_STAT refuses is found in the table.
///
/// # Errors
/// No source answers.
pub(crate) fn segment(system: &System, id: ShmId, needs: Needs) -> Result<Option<Segment>, Error> {
    let mut found = None;
    if !needs.contains(Needs::RESIDENT)
        || procfs::find_segment(system.proc(), id).map(|segment| found = segment).is_err()
    {
        found = match sys::stat(id) {
            Ok(segment) => Some(segment),
            Err(error) if matches!(error.errno, Errno::EINVAL | Errno::EIDRM) => None,
            Err(refused) => match procfs::find_segment(system.proc(), id) {
                Ok(segment) => segment,
                Err(_) => by_index(sys::stat_index)
                    .map_err(|_| explain(system, &Attempt::Stat(id), refused))?
                    .into_iter()
                    .flatten()
                    .find(|segment| segment.id == id),
            },
        };
    }
    if let Some(segment) = &mut found {
        system.complete(segment, needs);
    }
    Ok(found)
}

/// Calls shmctl(IPC_STAT) and nothing else, for who wants to see what it returns.
///
/// # Errors
/// The call's.
pub(crate) fn call_stat(id: ShmId) -> Result<Segment, SystemWords> {
    sys::stat(id).map_err(|error| words(error.errno, error.call))
}
