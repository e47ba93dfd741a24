mod listing;
mod manual;

use std::collections::HashSet;

use clap::Args;
use serde::Serialize;

use self::listing::list;
pub(crate) use self::manual::MANUAL;
use self::manual::columns_help;
use super::all_namespaces::{Survey, survey, warn_of_strays};
use super::args::{ColumnArgs, TableArgs, time_style};
use super::filters::{Failures, FilterArgs, select as select_objects, warn_of_removed_among};
use super::{Context, usage_error};
use crate::error::{Error, Exit, again};
use crate::model::{Needs, Object};
use crate::query::{
    Filter, add_attachers, add_attachers_and_find_strays, add_page_sizes, add_products, each, inventory,
};
use crate::render::{
    BOTH, CREATORS, Cell, Column, DEFAULT, DROP_ORDER, FILE, FILE_DEFAULT, FILE_DROP_ORDER, FILE_UNLINKED, Failure,
    Format, NAMESPACE, OPTIONAL, PIDS, Rows, SEGMENT, TIMES, TableStyle, TimeStyle, VIEWS_DROP_ORDER, file_record,
    record, select,
};

#[derive(Args, Debug)]
#[command(after_help = columns_help())]
pub(crate) struct ListArgs {
    #[command(flatten)]
    filters: FilterArgs,

    #[command(flatten)]
    columns: ColumnArgs,

    /// Reverse the sort order
    #[arg(short, long)]
    reverse: bool,

    #[command(flatten)]
    table: TableArgs,

    /// Format of times
    #[arg(long, value_name = "STYLE", default_value = "relative", value_parser = time_style())]
    time: TimeStyle,

    /// Show times, like ipcs -t
    #[arg(short = 't')]
    times: bool,

    /// Show processes, like ipcs -p
    #[arg(short = 'p')]
    pids: bool,

    /// Show creators and owners, like ipcs -c
    #[arg(short = 'c')]
    creators: bool,

    /// List the segments and objects of all namespaces
    #[arg(long, conflicts_with = "probe")]
    pub(crate) all_ns: bool,

    /// Ask the kernel whether objects without a known user are in use
    #[arg(long)]
    probe: bool,

    /// List only System V segments
    #[arg(long)]
    sysv: bool,

    /// List only POSIX objects
    #[arg(long, conflicts_with_all = ["sysv", "times", "pids", "creators"])]
    posix: bool,

    /// List only POSIX objects without a name that are still in use
    #[arg(long, conflicts_with_all = ["sysv", "times", "pids", "creators"])]
    unlinked: bool,
}

/// What to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kinds {
    Segments,
    Objects,
    Both,
}

impl ListArgs {
    /// Returns the kinds to list: both in tables and JSON if neither columns nor a kind are chosen.
    fn kinds(&self, format: Format) -> Kinds {
        let is_chosen = self.columns.output.is_some() || self.times || self.pids || self.creators || self.sysv;
        match format {
            _ if self.posix || self.unlinked => Kinds::Objects,
            Format::Table | Format::Json if !is_chosen => Kinds::Both,
            _ => Kinds::Segments,
        }
    }

    /// Returns the columns of POSIX objects.
    fn file_columns(&self, format: Format) -> Result<Vec<&'static Column<Object>>, Error> {
        let base = match format {
            Format::Table if self.unlinked => FILE_UNLINKED.to_vec(),
            Format::Table if self.all_ns => [&["DEV", "CONTAINER"], FILE_DEFAULT].concat(),
            Format::Table => FILE_DEFAULT.to_vec(),
            _ => file_record(),
        };
        select(FILE, &base, &self.columns.names(&base)).map_err(usage_error)
    }

    /// Returns the columns to show, and those of the default table that a narrow terminal may drop.
    fn columns(&self, format: Format) -> Result<(Vec<&'static Column<Object>>, Vec<&'static str>), Error> {
        match self.kinds(format) {
            Kinds::Objects => return Ok((self.file_columns(format)?, FILE_DROP_ORDER.to_vec())),
            Kinds::Both if format == Format::Table => {
                let namespace = if self.all_ns { NAMESPACE } else { &[] };
                return Ok((namespace.iter().chain(BOTH).collect(), FILE_DROP_ORDER.to_vec()));
            }
            _ => {}
        }
        let views = [(self.times, TIMES), (self.pids, PIDS), (self.creators, CREATORS)];
        let views = views.into_iter().filter(|(given, _)| *given && format == Format::Table).flat_map(|(_, view)| view);
        let mut seen = HashSet::new();
        let mut base: Vec<&str> = views.copied().filter(|name| seen.insert(*name)).collect();
        let is_default = format == Format::Table && base.is_empty();
        if base.is_empty() {
            base = match format {
                Format::Table if self.all_ns => [&["NS", "CONTAINER"], DEFAULT].concat(),
                Format::Table => DEFAULT.to_vec(),
                // JSON may gain fields: it includes those that identify the namespace.
                _ => record(self.all_ns && format == Format::Json),
            };
        }
        if self.columns.output.is_some() && is_default {
            base.retain(|name| !OPTIONAL.contains(name));
        }
        if self.all_ns && format == Format::Table && !base.contains(&"NS") {
            // Ids and keys are unique only within a namespace.
            base.insert(0, "NS");
        }
        let added = match &self.columns.output {
            Some(names) => names.strip_prefix('+'),
            None => Some(""),
        };
        // What was asked for is not dropped.
        let is_added = |name: &str| added.is_some_and(|names| names.split(',').any(|it| it.eq_ignore_ascii_case(name)));
        let mut droppable = match added {
            Some(_) if is_default => DROP_ORDER.to_vec(),
            Some(_) => VIEWS_DROP_ORDER.to_vec(),
            None => Vec::new(),
        };
        droppable.retain(|name| !is_added(name));
        let chosen = select(SEGMENT, &base, &self.columns.names(&base)).map_err(|message| self.unknown_column(message));
        Ok((chosen?, droppable))
    }

    /// Returns the error for an unknown column of segments, with a hint if POSIX objects have it.
    fn unknown_column(&self, message: String) -> Error {
        let of_segments = self.sysv || self.times || self.pids || self.creators;
        let base = FILE_DEFAULT.to_vec();
        let is_of_files = self.columns.output.as_ref().is_some_and(|names| select(FILE, &base, names).is_ok());
        match is_of_files && !of_segments {
            true => usage_error(message).hint("show this column of POSIX objects", again("--posix")),
            false => usage_error(message),
        }
    }

    fn arrange(&self, objects: &mut [Object], sort: Option<&'static Column<Object>>) {
        if let Some(column) = sort {
            objects.sort_by(|one, other| Cell::compare(&(column.cell)(one), &(column.cell)(other)));
        }
        if self.reverse {
            objects.reverse();
        }
    }

    /// Returns whether segments can be printed as they are read. Sorting, a scan for all objects at once, and the check
    /// of `--exclude` require the whole list.
    fn can_stream(&self, sort: Option<&Column<Object>>, needs: Needs, filter: &Filter) -> bool {
        let is_sorted = sort.is_some() || self.reverse;
        let needs_all = needs.contains(Needs::ATTACHERS) || !filter.pid.is_empty() || !filter.exclude.is_empty();
        !is_sorted && !self.all_ns && !needs_all
    }

    fn sort_column(&self, format: Format) -> Result<Option<&'static Column<Object>>, Error> {
        let registries: &[&'static [_]] = match self.kinds(format) {
            Kinds::Objects => &[FILE],
            Kinds::Segments => &[SEGMENT],
            // Rows of the other kind have no value in such a column: they come last, unsorted.
            Kinds::Both => &[NAMESPACE, BOTH, SEGMENT, FILE],
        };
        self.columns.sort(registries)
    }
}

/// What JSON reports in addition to the lists.
#[derive(Serialize)]
struct NotListed {
    /// The processes of `--pid` that could not be inspected.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failed: Vec<Failure>,
}

pub(crate) fn run(args: &ListArgs, context: &mut Context) -> Result<Exit, Error> {
    let (columns, droppable) = args.columns(context.format)?;
    let sort = args.sort_column(context.format)?;
    let kinds = args.kinds(context.format);
    if args.columns.list_columns {
        return args.table.list_columns(context, if kinds == Kinds::Objects { FILE } else { SEGMENT });
    }
    let style = TableStyle {
        time: args.time,
        optional: if args.columns.output.is_none() { OPTIONAL } else { &[] },
        ..args.table.style(context, &droppable)
    };
    let filter = args.filters.filter()?;
    let needs = columns.iter().chain(&sort).fold(filter.needs(), |needs, column| needs | column.needs);
    list(args, context, kinds, &filter, needs, (&columns, sort), &style)
}

/// Prints each segment as soon as it is read. The header is written with the first rows, so that a listing that fails
/// at once prints nothing.
fn stream(context: &mut Context, needs: Needs, filter: &Filter, rows: &mut Rows<'_, Object>) -> Result<(), Error> {
    let Context { ui, system, .. } = context;
    each(system, needs, |object| match filter.matches(system, &object) {
        true => ui.write(|out| rows.add(out, object)),
        false => Ok(()),
    })
}

/// Returns the segments that a filter selects, and an error for each process of `--pid` that cannot be inspected.
fn selected(
    args: &ListArgs,
    context: &mut Context,
    needs: Needs,
    filter: &Filter,
) -> Result<(Vec<Object>, Failures), Error> {
    let all_ns = args.all_ns;
    let mut objects = if all_ns { all_namespaces(context, needs, filter)? } else { inventory(&context.system, needs)? };
    let failures = select_objects(context, &args.filters, filter, &mut objects, all_ns)?;
    if needs.contains(Needs::ATTACHERS) && !all_ns {
        add_attachers(&context.system, &mut objects)?;
    }
    if needs.contains(Needs::PAGE_SIZE) {
        add_page_sizes(&context.system, &mut objects);
    }
    if needs.contains(Needs::PRODUCT) {
        add_products(&context.system, &mut objects);
    }
    Ok((objects, failures))
}

/// Lists the segments of all namespaces. Attachments of segments in namespaces that were not visited are found only if
/// `needs` includes ATTACHERS.
fn all_namespaces(context: &mut Context, needs: Needs, filter: &Filter) -> Result<Vec<Object>, Error> {
    let Survey { mut objects, is_complete, .. } = survey(context, needs)?;
    warn_of_removed_among(context, filter, &objects);
    if needs.contains(Needs::ATTACHERS) {
        let strays = add_attachers_and_find_strays(&context.system, &mut objects)?;
        warn_of_strays(context, &strays, is_complete);
    }
    Ok(objects)
}
