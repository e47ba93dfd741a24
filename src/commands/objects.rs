//! The POSIX objects that `list` and `who` show, and reports about those that they do not.

use super::Context;
use crate::error::{Error, Hint, Invocation, again, shmadm};
use crate::model::{FileType, FileUsers, HiddenBy, Needs, Object, PosixUsage, Size, State, counted};
use crate::query::{
    Filter, QueryError, System, anonymous_objects, can_inspect_all, posix_usage, some_are_in_flight, unlinked_objects,
};
use crate::render::Format;

/// Returns the objects without a name. Warns if some hold memory, but no process that uses one was found.
pub(crate) fn unlinked(context: &mut Context, needs: Needs) -> Result<Vec<Object>, Error> {
    let found = unlinked_objects(&context.system, needs)?;
    if !found.is_empty() {
        return Ok(found);
    }
    let held = match posix_usage(&context.system, Needs::empty()) {
        Ok((usage, _)) => usage.unlinked,
        Err(error) => {
            let error = Error::from(error);
            context.ui.warning(&format!("cannot determine whether unlinked objects hold memory: {error}"));
            None
        }
    };
    if let Some(bytes) = held.filter(|bytes| *bytes > 0) {
        let system = &context.system;
        let (in_flight, can_inspect) = (some_are_in_flight(system), can_inspect_all(system));
        let why = match (in_flight, can_inspect) {
            _ if !system.has_proc() => HiddenBy::NoProc,
            (true, _) => HiddenBy::InFlight,
            (false, false) => HiddenBy::Permission,
            (false, true) => HiddenBy::Unknown,
        };
        let clause = FileUsers { hidden: vec![why], ..FileUsers::default() }.why_hidden();
        let size = Size(bytes);
        context.ui.warning(&format!("unlinked objects hold {size}, but no process that uses them was found: {clause}"));
        if why == HiddenBy::Permission {
            context.ui.hint(Hint::run_as_root());
        }
    }
    Ok(found)
}

/// Returns the objects that have a name, and reports the memory of those without. Where there is no /dev/shm, there are
/// none. Returns `None`, after a warning, if they cannot be listed; fails if the user asked for them.
pub(crate) fn named_objects(
    context: &mut Context,
    needs: Needs,
    is_required: bool,
) -> Result<Option<Vec<Object>>, Error> {
    let (usage, objects) = match posix_usage(&context.system, needs) {
        Ok(found) => found,
        Err(error) if error.is_without_directory() && !is_required => return Ok(Some(Vec::new())),
        Err(error) if error.is_without_objects() && !is_required => {
            warn_of_unlisted(context, error);
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    report_unlinked(context, &usage, "", "list --unlinked");
    Ok(Some(objects))
}

/// Reports the memory of objects without a name on a file system, if the format is a table. `suffix` names the file
/// system, if there are several, and `list` the command that lists these objects.
pub(crate) fn report_unlinked(context: &mut Context, usage: &PosixUsage, suffix: &str, list: &'static str) {
    if let Some(bytes) = usage.unlinked.filter(|bytes| *bytes > 0 && context.format == Format::Table) {
        let holders = match usage.unlinked_files {
            Some(1) => "1 unlinked object holds".to_owned(),
            None => "unlinked objects hold".to_owned(),
            Some(count) => format!("{count} unlinked objects hold"),
        };
        let hint = Hint::new(format!("{holders} {}{suffix}", Size(bytes)), shmadm(list));
        if let Some(hint) = context.ui.complete(hint) {
            context.ui.status(&hint.to_string());
        }
    }
}

/// Warns if the directory of objects cannot be used. Where there is no /dev/shm, there are none.
pub(crate) fn warn_of_omitted(context: &mut Context) {
    if let Err(error) = context.system.objects() {
        warn_of_unlisted(context, error);
    }
}

/// Warns that the objects could not be listed, unless there is no /dev/shm.
pub(crate) fn warn_of_unlisted(context: &mut Context, error: QueryError) {
    if !error.is_without_directory() {
        context.ui.warning(&format!("objects omitted: {}", Error::from(error)));
    }
}

/// Returns the objects without a name; none where objects cannot be listed.
pub(crate) fn unlinked_if_any(system: &System, needs: Needs) -> Result<Vec<Object>, Error> {
    match unlinked_objects(system, needs) {
        Err(error) if error.is_without_objects() => Ok(Vec::new()),
        found => Ok(found?),
    }
}

/// The types of objects that are in no directory.
const ANONYMOUS: [FileType; 2] = [FileType::Memfd, FileType::Anonymous];

/// Returns whether a filter selects only objects that are in no directory.
pub(crate) fn are_anonymous(filter: &Filter) -> bool {
    !filter.file_type.is_empty() && filter.file_type.iter().all(|kind| ANONYMOUS.contains(kind))
}

/// Returns the memfds and the shared anonymous memory. They are in no directory, so only --type selects them.
pub(crate) fn anonymous_if_selected(system: &System, filter: &Filter, needs: Needs) -> Result<Vec<Object>, Error> {
    match ANONYMOUS.iter().any(|kind| filter.file_type.contains(kind)) {
        true => Ok(anonymous_objects(system, needs)?),
        false => Ok(Vec::new()),
    }
}

/// Reports the objects without a name that a filter would select with `--unlinked`.
pub(crate) fn report_omitted(context: &mut Context, filter: &Filter) -> Result<(), Error> {
    let is_requested = !filter.pid.is_empty() || filter.state.contains(&State::Unlinked);
    if !is_requested {
        return Ok(());
    }
    let mut omitted = unlinked_if_any(&context.system, filter.posix_needs() | Needs::STATE)?;
    omitted.retain(|object| filter.matches(&context.system, object));
    if !omitted.is_empty() {
        let omitted = counted(omitted.len() as u64, "unlinked object");
        context.ui.suggest(Hint::new(format!("also list {omitted}"), again("--unlinked")));
    }
    Ok(())
}

/// Returns whether an object is in state unknown and the caller may take the lease that determines it.
pub(crate) fn is_undetermined(system: &System, object: &Object) -> bool {
    let may_lease = || system.is_caller(object.uid) || system.uid() == 0;
    !object.is_segment() && object.state == Some(State::Unknown) && may_lease()
}

/// Suggests --probe if objects are undetermined and the format is a table.
pub(crate) fn suggest_probe(context: &mut Context, undetermined: usize) {
    suggest_to_probe(context, undetermined, "", again("--probe"));
}

/// Suggests a command like [`suggest_probe`]. `instruction` is the beginning of the hint.
pub(crate) fn suggest_to_probe(context: &mut Context, undetermined: usize, instruction: &str, command: Invocation) {
    if undetermined > 0 && context.format == Format::Table {
        let objects = counted(undetermined as u64, "object");
        context.ui.suggest(Hint::new(format!("{instruction}determine the state of {objects}"), command));
    }
}
