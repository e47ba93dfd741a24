//! POSIX objects, alone or with segments.

use super::{ListArgs, all_namespaces, stream, this_namespace};
use crate::commands::all_namespaces::all_files;
use crate::commands::filters::warn_of_removed;
use crate::commands::{Context, exit_with};
use crate::error::{Error, Exit, Hint, again, shmadm};
use crate::model::{FileUsers, HiddenBy, Needs, Object, Size, State, counted};
use crate::query::{Filter, can_inspect_all, posix_usage, probe, some_are_in_flight, unlinked_objects};
use crate::render::{Column, Format, RECORD, RECORD_ALL_NS, Rows, SEGMENT, TableStyle, by_names};

/// Lists POSIX objects, and segments if `segments` is set.
pub(super) fn list_with_objects(
    args: &ListArgs,
    context: &mut Context,
    segments: bool,
    filter: &Filter,
    needs: Needs,
    (columns, sort): (&[&'static Column<Object>], Option<&'static Column<Object>>),
    style: &TableStyle<'_>,
) -> Result<Exit, Error> {
    let (mut objects, mut failures) = (Vec::new(), Vec::new());
    let streams = segments && context.json() && args.can_stream(sort, needs, filter);
    if segments && !streams {
        let list = if args.all_ns { all_namespaces } else { this_namespace };
        (objects, failures) = list(context, needs, filter)?;
    }
    let mut file_needs = needs | filter.posix_needs();
    if segments && context.json() {
        // The columns are those of segments.
        args.file_columns(Format::Json)?.iter().for_each(|column| file_needs |= column.needs);
    }
    let found = match args.unlinked {
        _ if args.all_ns => Some(all_files(context, args.unlinked, file_needs, segments)?),
        true => Some(unlinked(context, file_needs)?),
        false => named_files(context, file_needs, !segments)?,
    };
    let is_known = found.is_some();
    let mut files = found.unwrap_or_default();
    if args.probe {
        probe(&context.system, &mut files);
    }
    files.retain(|object| filter.matches(&context.system, object));
    if context.json() {
        args.arrange(&mut objects, sort);
        args.arrange(&mut files, sort);
        let columns = if segments { &args.file_columns(Format::Json)? } else { columns };
        let records = by_names(SEGMENT, if args.all_ns { RECORD_ALL_NS } else { RECORD });
        let (first, shown) = if segments { ("segments", records.as_slice()) } else { ("objects", columns) };
        let mut rows = context.ui.write(|_| Rows::begin(Format::Json, first, shown, style))?;
        if streams {
            stream(context, needs, filter, &mut rows)?;
        }
        context.ui.write(|out| {
            objects.into_iter().try_for_each(|object| rows.add(out, object))?;
            if !is_known {
                return rows.end_with_unknown(out, "objects");
            }
            if segments {
                rows.begin_list("objects", columns);
            }
            files.into_iter().try_for_each(|object| rows.add(out, object))?;
            rows.end(out)
        })?;
    } else {
        objects.extend(files);
        args.arrange(&mut objects, sort);
        context.print_rows("objects", columns, objects, style)?;
    }
    if segments && !args.all_ns {
        warn_of_removed(context, &filter.keys());
    }
    report_omitted(args, context, filter)?;
    Ok(exit_with(context, &failures))
}

/// Returns the objects without a name. Warns if some hold memory, but no process that uses one was found.
fn unlinked(context: &mut Context, needs: Needs) -> Result<Vec<Object>, Error> {
    let found = unlinked_objects(&context.system, needs)?;
    let held = || posix_usage(&context.system, Needs::empty()).ok()?.0.unlinked;
    if found.is_empty()
        && let Some(bytes) = held().filter(|bytes| *bytes > 0)
    {
        let system = &context.system;
        let (in_flight, can_inspect) = (some_are_in_flight(system), can_inspect_all(system));
        let why = match (in_flight, can_inspect) {
            (true, _) => HiddenBy::InFlight,
            (false, false) => HiddenBy::Permission,
            (false, true) => HiddenBy::Unknown,
        };
        let why = FileUsers { hidden: vec![why], ..FileUsers::default() }.why_hidden();
        let size = Size(bytes);
        context.ui.warning(&format!("unlinked objects hold {size}, but no process that uses them was found: {why}"));
        if !in_flight && !can_inspect {
            context.ui.hint(Hint::new("run as root", again("").sudo()));
        }
    }
    Ok(found)
}

/// Returns the objects that have a name, and reports the memory of those without. Where there is no /dev/shm, there are
/// none. Returns `None`, after a warning, if they cannot be listed; fails if the user asked for them.
fn named_files(context: &mut Context, needs: Needs, is_required: bool) -> Result<Option<Vec<Object>>, Error> {
    let (usage, objects) = match posix_usage(&context.system, needs) {
        Ok(found) => found,
        Err(error) if error.is_without_directory() && !is_required => return Ok(Some(Vec::new())),
        Err(error) if error.is_without_objects() && !is_required => {
            context.ui.warning(&format!("objects omitted: {}", Error::from(error)));
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    if let Some(bytes) = usage.unlinked.filter(|bytes| *bytes > 0 && context.format == Format::Table) {
        let holders = match usage.unlinked_files {
            Some(1) => "1 unlinked object holds".to_owned(),
            None => "unlinked objects hold".to_owned(),
            Some(count) => format!("{count} unlinked objects hold"),
        };
        let hint = Hint::new(format!("{holders} {}", Size(bytes)), shmadm("list --unlinked"));
        if let Some(hint) = context.ui.complete(hint) {
            context.ui.status(&hint.to_string());
        }
    }
    Ok(Some(objects))
}

/// Reports the objects without a name that a filter would select with `--unlinked`.
fn report_omitted(args: &ListArgs, context: &mut Context, filter: &Filter) -> Result<(), Error> {
    let is_requested = !filter.pid.is_empty() || filter.state.contains(&State::Unlinked);
    if args.unlinked || args.all_ns || !is_requested {
        return Ok(());
    }
    let mut omitted = match unlinked_objects(&context.system, filter.posix_needs() | Needs::STATE) {
        Err(error) if error.is_without_objects() => return Ok(()),
        found => found?,
    };
    omitted.retain(|object| filter.matches(&context.system, object));
    if !omitted.is_empty() {
        let omitted = counted(omitted.len() as u64, "unlinked object");
        context.ui.hint(Hint::new(format!("list also the {omitted}"), again("--unlinked")));
    }
    Ok(())
}
