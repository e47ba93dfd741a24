//! POSIX objects, with or without segments.

use super::{ListArgs, NotListed, selected, stream};
use crate::commands::Context;
use crate::commands::all_namespaces::all_files;
use crate::commands::filters::{check_pids, warn_of_removed};
use crate::commands::objects::{anonymous_if_selected, named_objects, report_omitted, unlinked};
use crate::error::{Error, Exit, Hint, again};
use crate::model::{Needs, Object, State, counted};
use crate::query::{Filter, probe};
use crate::render::{Column, Format, Rows, SEGMENT, TableStyle, by_names, record};

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
        (objects, failures) = selected(args, context, needs, filter)?;
    }
    if !segments {
        failures = check_pids(context, filter)?;
    }
    let mut file_needs = needs | filter.posix_needs();
    if segments && context.json() {
        // `needs` covers only the columns of segments.
        args.file_columns(Format::Json)?.iter().for_each(|column| file_needs |= column.needs);
    }
    let found = match args.unlinked {
        _ if args.all_ns => Some(all_files(context, args.unlinked, file_needs, segments)?),
        true => Some(unlinked(context, file_needs)?),
        false => named_objects(context, file_needs, !segments)?,
    };
    let is_known = found.is_some();
    let mut files = found.unwrap_or_default();
    files.extend(anonymous_if_selected(&context.system, filter, file_needs)?);
    if args.probe {
        probe(&context.system, &mut files);
    }
    let undetermined = count_undetermined(context, filter, &files);
    files.retain(|object| filter.matches(&context.system, object));
    if context.json() {
        args.arrange(&mut objects, sort);
        args.arrange(&mut files, sort);
        let columns = if segments { &args.file_columns(Format::Json)? } else { columns };
        let records = by_names(SEGMENT, &record(args.all_ns));
        let (first, shown) = if segments { ("segments", records.as_slice()) } else { ("objects", columns) };
        let report = NotListed { failed: context.failure_records(&failures) };
        let mut rows = context.ui.write(|_| Rows::begin(Format::Json, &report, first, shown, style))?;
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
        files.splice(..0, objects);
        args.arrange(&mut files, sort);
        context.print_rows("objects", columns, files, style)?;
    }
    if segments && !args.all_ns {
        warn_of_removed(context, &filter.keys());
    }
    if !args.unlinked && !args.all_ns {
        report_omitted(context, filter)?;
        if undetermined > 0 && !args.probe && context.format == Format::Table {
            let objects = counted(undetermined, "object");
            context.ui.suggest(Hint::new(format!("determine the state of {objects}"), again("--probe")));
        }
    }
    Ok(context.print_failures(&failures))
}

/// Returns the number of objects in state unknown on which the caller may take a lease, even if the filter selects
/// another state.
fn count_undetermined(context: &Context, filter: &Filter, files: &[Object]) -> u64 {
    // No lease shows these states.
    if !filter.state.is_empty() && filter.state.iter().all(|state| matches!(state, State::Unlinked | State::Dest)) {
        return 0;
    }
    let (system, filter) = (&context.system, filter.in_any_state());
    let is_undetermined = |object: &&Object| {
        object.state == Some(State::Unknown)
            && (system.is_caller(object.uid) || system.uid() == 0)
            && filter.matches(system, object)
    };
    files.iter().filter(is_undetermined).count() as u64
}
