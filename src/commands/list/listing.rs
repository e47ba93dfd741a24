//! What a listing consists of: segments, POSIX objects, or both.

use super::{Kinds, ListArgs, NotListed, selected, stream};
use crate::commands::Context;
use crate::commands::all_namespaces::all_files;
use crate::commands::filters::{check_pids, warn_of_removed};
use crate::commands::objects::{
    anonymous_if_selected, are_anonymous, is_undetermined, named_objects, report_omitted, report_unlinked,
    suggest_probe, unlinked,
};
use crate::error::{Error, Exit};
use crate::model::{Needs, Object, State};
use crate::query::{Filter, probe};
use crate::render::{Column, Format, Rows, TableStyle};

/// Lists objects of some kinds. A table has one list of both kinds, JSON has two.
pub(super) fn list(
    args: &ListArgs,
    context: &mut Context,
    kinds: Kinds,
    filter: &Filter,
    needs: Needs,
    (columns, sort): (&[&'static Column<Object>], Option<&'static Column<Object>>),
    style: &TableStyle<'_>,
) -> Result<Exit, Error> {
    let (has_segments, has_files) = (kinds != Kinds::Objects, kinds != Kinds::Segments);
    let has_two_lists = kinds == Kinds::Both && context.json();
    let streams = (kinds == Kinds::Segments || has_two_lists) && args.can_stream(sort, needs, filter);
    let (mut segments, failures) = match has_segments {
        true if streams => (Vec::new(), Vec::new()),
        true => selected(args, context, needs, filter)?,
        false => (Vec::new(), check_pids(context, filter)?),
    };
    let file_columns = if has_two_lists { args.file_columns(Format::Json)? } else { columns.to_vec() };
    let (mut files, mut are_known) = (Vec::new(), true);
    if has_files {
        let needs = file_columns.iter().fold(needs | filter.posix_needs(), |needs, column| needs | column.needs);
        let found = match args.unlinked {
            _ if args.all_ns => {
                let (files, usages) = all_files(context, args.unlinked, needs, has_segments)?;
                for usage in usages {
                    report_unlinked(context, &usage, &format!(" on {}", usage.dev), "list --all-ns --unlinked");
                }
                Some(files)
            }
            _ if are_anonymous(filter) => Some(Vec::new()),
            true => Some(unlinked(context, needs)?),
            false => named_objects(context, needs, !has_segments)?,
        };
        are_known = found.is_some();
        files = found.unwrap_or_default();
        files.extend(anonymous_if_selected(&context.system, filter, needs)?);
        if args.probe {
            probe(&context.system, &mut files);
        }
    }
    let undetermined = count_undetermined(context, filter, &files);
    files.retain(|object| filter.matches(&context.system, object));
    let (mut first, mut second) = if has_two_lists {
        (segments, files)
    } else if segments.is_empty() {
        // The list is used as it is: there can be thousands of objects.
        (files, Vec::new())
    } else {
        segments.append(&mut files);
        (segments, Vec::new())
    };
    args.arrange(&mut first, sort);
    args.arrange(&mut second, sort);
    let (format, report) = (context.format, NotListed { failed: context.failure_records(&failures) });
    let name = if has_segments { "segments" } else { "objects" };
    let mut rows = context.ui.write(|_| Rows::begin(format, &report, name, columns, style))?;
    if streams {
        stream(context, needs, filter, &mut rows)?;
    }
    context.ui.write(|out| {
        rows.add_all(out, first)?;
        if has_two_lists && !are_known {
            return rows.end_with_unknown(out, "objects");
        }
        if has_two_lists {
            rows.begin_list("objects", &file_columns);
        }
        rows.add_all(out, second)?;
        rows.end(out)
    })?;
    if has_segments && !args.all_ns {
        warn_of_removed(context, &filter.keys(), filter);
    }
    if has_files && !args.unlinked && !args.all_ns {
        report_omitted(context, filter)?;
        if !args.probe {
            suggest_probe(context, undetermined);
        }
    }
    Ok(context.print_failures(&failures))
}

/// Returns the number of objects whose state --probe would determine, whatever state the filter selects.
fn count_undetermined(context: &Context, filter: &Filter, files: &[Object]) -> usize {
    // These states do not depend on a lease.
    if !filter.state.is_empty() && filter.state.iter().all(|state| matches!(state, State::Unlinked | State::Dest)) {
        return 0;
    }
    let filter = filter.in_any_state();
    let is_counted =
        |object: &&Object| is_undetermined(&context.system, object) && filter.matches(&context.system, object);
    files.iter().filter(is_counted).count()
}
