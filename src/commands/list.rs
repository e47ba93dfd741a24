use clap::Args;

use super::all_namespaces::{Survey, survey, warn_of_strays};
use super::args::{TableArgs, time_style};
use super::filters::{FilterArgs, select as select_objects, warn_of_removed};
use super::{Context, Manual, exit_with, usage};
use crate::error::{Error, Exit};
use crate::model::{Needs, Object};
use crate::query::{Filter, add_attachers, add_attachers_and_find_strays, add_page_sizes, each, inventory};
use crate::render::{
    COLUMNS, CREATORS, Cell, Column, DEFAULT, DEFAULT_ALL_NS, DROP_ORDER, Format, OPTIONAL, PIDS, RECORD,
    RECORD_ALL_NS, Rows, SEGMENT, TIMES, TableStyle, TimeStyle, select,
};

pub(crate) const MANUAL: Manual = Manual {
    summary: "List segments",
    description: "Lists the segments of the IPC namespace, in the order of the kernel's table unless --sort is given. \
                  Filters select segments; a segment must match all of them. Several values of one filter, separated \
                  by commas or in repeated options, are alternatives.\n\n\
                  STATE is the first of these that holds: dest (marked for destruction, still attached), in-use \
                  (attached), idle (the creator or the last user is running), unknown (one of them is outside this \
                  pid namespace, its pid was reused, or it cannot be determined), orphan (both have exited). A \
                  segment that is not attached is not necessarily garbage: its creator may attach it again.\n\n\
                  IDLE is the time since the last attach, detach or change; it is empty while the segment is \
                  attached.\n\n\
                  -o selects columns in every format. Without it, csv, tsv and json print fixed fields; the default \
                  table may change, and drops columns on a narrow terminal. Long commands are shortened so \
                  that their end stays. If standard output is not a terminal, the environment variable COLUMNS sets the \
                  width of the table.",
    examples: &[
        ("shmadm list", "show all segments of this IPC namespace"),
        ("shmadm list --mine --state orphan --older-than 10m", "show your segments that are no longer used"),
        ("shmadm list --sort rss --reverse -o ID,OWNER,SIZE,RSS,STATE", "show the largest users of memory first"),
        ("shmadm list -o ID --no-headings --format tsv", "print ids for a script"),
    ],
    json: "{\"schema\":1,\"segments\":[…]}; with -o an object has exactly the selected keys.",
    notes: "--pid, and the columns PIDS, COMMANDS, FORMER_KEY and PAGE_SIZE, require a search of processes. With --key, \
            a warning names segments that are marked for destruction and had that key: their users do not share memory \
            with those of the segment that has the key now.\n\n\
            --bytes and --time apply to the table. CSV, TSV and JSON always contain bytes and RFC 3339 times in UTC.",
};

#[derive(Args, Debug)]
#[command(after_help = columns_help())]
pub(crate) struct ListArgs {
    #[command(flatten)]
    filters: FilterArgs,

    /// Columns to show; +NAME,NAME adds to the default
    #[arg(short = 'o', long = "output", value_name = "COLUMNS")]
    output: Option<String>,

    /// List available columns
    #[arg(long)]
    list_columns: bool,

    /// Sort by COLUMN
    #[arg(long, value_name = "COLUMN")]
    sort: Option<String>,

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

    /// List the segments of all IPC namespaces
    #[arg(long)]
    pub(crate) all_ns: bool,
}

const STATES: &str = "STATE is the first of these that holds:
  dest           marked for destruction, still attached
  in-use         attached
  idle           not attached; creator or last user is running
  unknown        not attached; cannot determine whether they are running
  orphan         not attached; creator and last user have exited";

fn columns_help() -> String {
    let columns: String = SEGMENT.iter().map(|column| format!("\n  {:<14} {}", column.name, column.help)).collect();
    format!("{STATES}\n\nColumns:{columns}")
}

impl ListArgs {
    /// Returns the columns to show, and those of the default table that a narrow terminal may drop.
    fn columns(&self, format: Format) -> Result<(Vec<&'static Column<Object>>, Vec<&'static str>), Error> {
        let views = [(self.times, TIMES), (self.pids, PIDS), (self.creators, CREATORS)];
        let views = views.into_iter().filter(|(given, _)| *given && format == Format::Table).flat_map(|(_, view)| view);
        let mut base: Vec<&str> = Vec::new();
        views.for_each(|name| {
            if !base.contains(name) {
                base.push(name);
            }
        });
        let is_default = format == Format::Table && base.is_empty();
        if base.is_empty() {
            base.extend(match format {
                Format::Table if self.all_ns => DEFAULT_ALL_NS,
                Format::Table => DEFAULT,
                // JSON may gain fields: it includes those that identify the namespace.
                Format::Json if self.all_ns => RECORD_ALL_NS,
                Format::Json | Format::Csv | Format::Tsv => RECORD,
            });
        }
        if self.output.is_some() && is_default {
            base.retain(|name| !OPTIONAL.contains(name));
        }
        if self.all_ns && format == Format::Table && !base.contains(&"NS") {
            // Ids and keys are unique only within a namespace.
            base.insert(0, "NS");
        }
        let names = self.output.clone().unwrap_or_else(|| base.join(","));
        let added = match &self.output {
            Some(names) => names.strip_prefix('+'),
            None => Some(""),
        };
        // What was asked for is not dropped.
        let is_added = |name: &str| added.is_some_and(|names| names.split(',').any(|it| it.eq_ignore_ascii_case(name)));
        let mut droppable = if is_default && added.is_some() { DROP_ORDER.to_vec() } else { Vec::new() };
        droppable.retain(|name| !is_added(name));
        Ok((select(SEGMENT, &base, &names).map_err(usage)?, droppable))
    }

    fn sort_column(&self) -> Result<Option<&'static Column<Object>>, Error> {
        let Some(name) = &self.sort else { return Ok(None) };
        match select(SEGMENT, &[], name).map_err(usage)?.as_slice() {
            [column] if !name.starts_with('+') => Ok(Some(column)),
            _ => Err(usage(format!("invalid sort column {name:?}: expected one column"))),
        }
    }
}

pub(crate) fn run(args: &ListArgs, context: &mut Context) -> Result<Exit, Error> {
    let (columns, droppable) = args.columns(context.format)?;
    let sort = args.sort_column()?;
    let style = TableStyle {
        time: args.time,
        optional: if args.output.is_none() { OPTIONAL } else { &[] },
        ..args.table.style(context, &droppable)
    };
    if args.list_columns {
        let style = TableStyle { droppable: &["JSON"], ..style };
        let columns: Vec<_> = COLUMNS.iter().collect();
        context.print_rows("columns", &columns, SEGMENT.to_vec(), &style)?;
        return Ok(Exit::Done);
    }
    let filter = args.filters.filter(&context.system)?;
    let needs = columns.iter().chain(&sort).fold(filter.needs(), |needs, column| needs | column.needs);
    // Sorting, and a scan for all objects at once, require the whole list.
    if sort.is_none() && !args.reverse && !args.all_ns && !needs.contains(Needs::ATTACHERS) && filter.pid.is_empty() {
        stream(context, needs, &filter, &columns, &style)?;
        warn_of_removed(context, &filter.keys());
        return Ok(Exit::Done);
    }
    let (mut objects, failures) =
        if args.all_ns { all_namespaces(context, needs, &filter)? } else { this_namespace(context, needs, &filter)? };
    if needs.contains(Needs::PAGE_SIZE) {
        add_page_sizes(&context.system, &mut objects);
    }
    if let Some(column) = sort {
        objects.sort_by(|one, other| Cell::compare(&(column.cell)(one), &(column.cell)(other)));
    }
    if args.reverse {
        objects.reverse();
    }
    context.print_rows("segments", &columns, objects, &style)?;
    if !args.all_ns {
        warn_of_removed(context, &filter.keys());
    }
    Ok(exit_with(context, &failures))
}

/// Prints each object as soon as it is read.
fn stream(
    context: &mut Context,
    needs: Needs,
    filter: &Filter,
    columns: &[&'static Column<Object>],
    style: &TableStyle<'_>,
) -> Result<(), Error> {
    let Context { ui, system, format, .. } = context;
    // The header is written with the first rows, so that a listing that fails at once prints nothing.
    let mut rows = ui.write(|_| Rows::begin(*format, "segments", columns, style))?;
    each(system, needs, |object| {
        if !filter.matches(system, &object) {
            return Ok(());
        }
        ui.write(|out| rows.add(out, object))
    })?;
    ui.write(|out| rows.end(out))
}

/// The objects that a filter selects, and an error for each process of `--pid` that cannot be inspected.
type Selected = (Vec<Object>, Vec<Error>);

fn all_namespaces(context: &mut Context, needs: Needs, filter: &Filter) -> Result<Selected, Error> {
    let Survey { mut objects, is_complete, .. } = survey(context, needs)?;
    if needs.contains(Needs::ATTACHERS) {
        let strays = add_attachers_and_find_strays(&context.system, &mut objects)?;
        warn_of_strays(context, &strays, is_complete);
    }
    let failures = select_objects(context, filter, &mut objects, true)?;
    Ok((objects, failures))
}

fn this_namespace(context: &mut Context, needs: Needs, filter: &Filter) -> Result<Selected, Error> {
    let mut objects = inventory(&context.system, needs)?;
    let failures = select_objects(context, filter, &mut objects, false)?;
    if needs.contains(Needs::ATTACHERS) {
        add_attachers(&context.system, &mut objects)?;
    }
    Ok((objects, failures))
}
