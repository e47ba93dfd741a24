//! The segment that `create`, `restore` or `demo` has created: it remains only if the command succeeds.

use serde::Serialize;

use super::Context;
use crate::act::{self, Creation, Opened, PendingSegment};
use crate::error::{Error, Exit};
use crate::model::ShmId;
use crate::process::{Guard, Interrupts, StartedHolder};

/// A segment that was created or opened, with what is undone unless its id is printed. The holder ends first, so that
/// the segment is detached when it is removed.
pub(super) struct NewSegment {
    pub(super) id: ShmId,
    pub(super) holder: Option<StartedHolder>,
    pub(super) guard: Option<Guard>,
    /// `None` if the segment existed.
    pub(super) pending: Option<PendingSegment>,
}

impl NewSegment {
    /// Prints the id or, in JSON, the report, and keeps the segment and its holder. After the output, nothing but
    /// releasing the guard may fail. Before it, a failure removes the segment: one whose id was not printed would leak.
    pub(super) fn report(self, context: &mut Context, report: &impl Serialize) -> Result<Exit, Error> {
        // Dropped in reverse: the holder first.
        let Self { id, pending, guard, holder } = self;
        guard.as_ref().map_or(Ok(()), Guard::check_release)?;
        if let Some(holder) = &holder {
            context.ui.status(&format!("pid {} keeps it attached", holder.pid()));
        }
        let printed = if context.json() { context.report(report) } else { context.ui.print(&id.to_string()) };
        printed.and_then(|()| context.ui.flush()).map_err(|error| match (&pending, &holder) {
            (Some(_), _) => error.also(&format!("segment {id} was removed, because its id could not be printed")),
            (None, Some(holder)) => {
                error.also(&format!("holder {} was terminated, because the id could not be printed", holder.pid()))
            }
            (None, None) => error,
        })?;
        pending.map(PendingSegment::into_id);
        guard.map_or(Ok(()), Guard::release)?;
        if let Some(holder) = holder {
            holder.keep();
        }
        Ok(Exit::Done)
    }

    /// Returns the pid of the holder, for the report.
    pub(super) fn holder_pid(&self) -> Option<i32> {
        self.holder.as_ref().map(StartedHolder::pid)
    }
}

/// Creates or opens a segment like `act::create`. A second process, the guard, creates it, and removes it if this one
/// is killed before the guard is released.
pub(super) fn create_guarded(
    context: &mut Context,
    creation: &Creation,
    interrupts: &Interrupts,
) -> Result<(Opened, Option<Guard>), Error> {
    let Context { system, ui, .. } = context;
    let mut guard = None;
    let opened = act::create_with(system, creation, |key, size, flags| {
        let start = || {
            let warn = |error: &Error| ui.warning(&format!("{error}: if this command is killed, the segment remains"));
            Guard::start().inspect_err(warn).ok()
        };
        match guard.get_or_insert_with(start) {
            Some(guard) => {
                let created = guard.create(interrupts, key, size, flags)?;
                Ok(created.map(|id| PendingSegment::new(id, guard.pid())))
            }
            None => act::create_here(key, size, flags),
        }
    })?;
    Ok((opened, guard.flatten()))
}
