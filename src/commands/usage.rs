//! What the kernel's Shmem consists of.

use clap::Args;

use super::args::{ColumnArgs, TableArgs, word};
use super::memory::{MemoryUsage, check_whole_machine};
use super::{Context, Manual, usage_error};
use crate::error::{Error, Exit};
use crate::model::{Needs, Source};
use crate::render::{By, Column, Format, RowKind, USAGE_DROP_ORDER, UsageRow, bar, select, usage_columns};

pub(crate) const MANUAL: Manual = Manual {
    summary: "Show what the machine's shared memory consists of",
    description: "Adds up everything that the kernel counts as Shmem (shown as \"shared\" by free): tmpfs file \
                  systems, POSIX objects, memfds, shared anonymous mappings and System V segments, in all \
                  namespaces. The rows are followed by their total, the kernel's total, and the difference with its \
                  possible reasons.\n\n\
                  RSS is resident memory; swapped pages are not part of Shmem. Objects without a name (unlinked, \
                  but still in use) are included in /dev/shm. COUNT is the number of objects, segments or file \
                  systems that have memory; it is unknown if some of the processes that use them cannot be seen. By \
                  process, user, container or program, the files of a tmpfs are counted instead of the tmpfs.\n\n\
                  --by shows the same memory by file system (instance), process, user, control group, container or \
                  program. By process, an object is divided evenly among the processes that use it, and a file \
                  system that is mounted nowhere among those that have files on it open; memory that no process \
                  uses has a row without a name. By control group, the numbers are the kernel's: a page is charged \
                  to the group of the process that first touched it, even after that process has exited. Only the \
                  kernel's total is shown below these rows.\n\n\
                  Only root can see the processes of other users and other mount namespaces. Nothing is estimated: \
                  memory that cannot be seen is shown as not accounted for.",
    examples: &[
        ("shmadm usage", "show what shared memory consists of"),
        ("shmadm usage --by process", "show how much of it each process uses"),
        ("shmadm usage --by instance", "show the file systems and IPC namespaces"),
        ("shmadm usage --json", "the same as JSON, with exact numbers"),
    ],
    json: "{\"schema\":1,\"shmem\":…,\"swapped\":0, \"sources\":[{\"source\":\"devshm\"|\"unlinked\"|\"tmpfs\"| \"devtmpfs\"|\"container\"|\"detached\"| \"memfd\"|\"anonymous\"| \"sysv\", \"rss\":…,\"swap\":0,\"size\":…,\"count\":3,\"within\":null|\"devshm\"}], \
           \"accounted\":…,\"unexplained\":…, \"possible\":[{\"reason\":\"in-flight\"|\"permission\"|\"pid-namespace\"| \"hidden-mount\"|\"kernel\",\"count\":1}], \
           \"instances\":[{\"dev\":\"0:27\",\"mount\":\"/dev/shm\",\"mnt_ns\":…,\"container\":null, \"size\":…,\"used\":…,\"inodes\":…,\"inodes_used\":…,\"unlinked\":0}], \
           \"hugetlb\":{\"files\":0,\"memfd\":0,\"sysv\":0}, \"by\":\"source\",\"groups\":[{\"name\":\"4711\",\"detail\":\"…\", \"rss\":…,\"swap\":0,\"size\":…,\"count\":1}]}. \
           Sizes are bytes. A source with \"within\" is part of that one. \"unexplained\" is \"shmem\" minus \"accounted\"; it can be negative.",
    notes: "The swapped bytes of a file are known only to a caller who may write to it; otherwise SWAP is unknown \
            and RSS includes them. hugetlbfs and huge pages are not part of Shmem; JSON reports them in \
            \"hugetlb\". The page size of a segment is known only while a process has it attached: an unattached \
            one with huge pages is counted as System V.\n\n\
            The kernel uses some Shmem itself, for example for the initial RAM file system.",
};

#[derive(Args, Debug)]
#[command(mut_arg("sort", |sort| sort.help("Sort by COLUMN, the largest first")))]
pub(crate) struct UsageArgs {
    /// Group the memory by WHAT
    #[arg(long, value_name = "WHAT", default_value = "source", value_parser = word(By::ALL.map(|by| (by.as_str(), by))))]
    by: By,

    /// Also show rows without memory
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    columns: ColumnArgs,

    #[command(flatten)]
    table: TableArgs,
}

pub(crate) fn run(args: &UsageArgs, context: &mut Context) -> Result<Exit, Error> {
    let registry = usage_columns(args.by);
    let (columns, sort) = (args.columns(registry, context)?, args.columns.sort(&[registry])?);
    if args.columns.list_columns {
        return args.table.list_columns(context, registry);
    }
    check_whole_machine(context, "usage")?;
    let memory = MemoryUsage::find(context, args.by, Needs::empty())?;
    let mut rows = memory.rows(context, args.by)?;
    // The list of sources in JSON is complete.
    let shows_all = args.all || (context.json() && args.by == By::Source);
    rows.retain(|row| shows_all || row.memory.allocated() > 0);
    if let Some(column) = sort {
        rows.sort_by(|one, next| (column.cell)(one).compare_descending(&(column.cell)(next)));
        move_below_whole(&mut rows);
    }
    let is_table = context.format == Format::Table;
    if is_table {
        rows.extend(memory.totals(args.by));
        if !columns.iter().any(|column| column.json == "detail") {
            rows.retain(|row| row.kind != RowKind::Remark);
        }
    }
    let is_utf8 = context.ui.is_utf8();
    for row in &mut rows {
        let RowKind::Group(source) = row.kind else { continue };
        row.bar = bar(row.memory.rss, memory.shmem, is_utf8);
        if let Some(source) = source.filter(|_| !is_table) {
            row.name = Some(source.as_str().to_owned());
        }
    }
    if context.json() {
        let chosen = args.columns.output.is_some().then_some(columns.as_slice());
        context.report(&memory.report(args.by, &rows, chosen))?;
        return Ok(Exit::Done);
    }
    let style = args.table.style(context, USAGE_DROP_ORDER);
    context.print_rows("usage", &columns, rows, &style)?;
    if is_table && matches!(args.by, By::Process | By::Container) {
        context.ui.status("what several processes use is divided evenly among them");
    }
    Ok(Exit::Done)
}

/// Moves each source that another one includes below that.
fn move_below_whole(rows: &mut Vec<UsageRow>) {
    let source = |row: &UsageRow| if let RowKind::Group(source) = row.kind { source } else { None };
    let whole = |row: &UsageRow| source(row).and_then(Source::within);
    for part in rows.extract_if(.., |row| whole(row).is_some()).collect::<Vec<_>>() {
        let index = rows.iter().position(|row| source(row) == whole(&part));
        rows.insert(index.map_or(rows.len(), |index| index + 1), part);
    }
}

impl UsageArgs {
    fn columns(
        &self,
        registry: &'static [Column<UsageRow>],
        context: &Context,
    ) -> Result<Vec<&'static Column<UsageRow>>, Error> {
        let is_shown = |column: &&Column<UsageRow>| match column.name {
            // Bars are useful only to people.
            "BAR" => context.ui.is_terminal() && context.format == Format::Table,
            "SIZE" => context.format != Format::Table,
            // Each row is one group.
            "COUNT" => context.format != Format::Table || self.by != By::ControlGroup,
            _ => true,
        };
        let base: Vec<&str> = registry.iter().filter(is_shown).map(|column| column.name).collect();
        select(registry, &base, &self.columns.names(&base)).map_err(usage_error)
    }
}
