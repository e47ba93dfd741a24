//! What the kernel's Shmem consists of.

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::Args;

use super::all_namespaces::{Survey, survey};
use super::args::{TableArgs, word};
use super::{Context, Manual, usage};
use crate::error::{Error, Exit, Hint, Kind, again, shmadm};
use crate::model::{
    Holding, Instance, InstanceUsage, Memory, Needs, Object, Possible, Source, SourceUsage, Unseen, by_source, counted,
    grouped,
};
use crate::query::{
    ShmemSurvey, add_attachers_and_find_strays, add_page_sizes, can_inspect_all, charged_to_control_groups,
    container_of_process, huge_page_pools, survey_shmem,
};
use crate::render::{
    By, Column, Format, TableStyle, USAGE, USAGE_DROP_ORDER, UsageReport, UsageRow, bar, select, source_label,
};

pub(crate) const MANUAL: Manual = Manual {
    summary: "Show what the machine's shared memory consists of",
    description: "Adds up everything that the kernel counts as Shmem (shown as \"shared\" by free): tmpfs file systems, \
                  POSIX objects, memfds, shared anonymous mappings and System V segments, in all namespaces. The rows \
                  are followed by their sum, the kernel's sum, and the difference with its possible reasons.\n\n\
                  RSS is resident memory; swapped pages are not part of Shmem. Objects without a name (unlinked, but \
                  still in use) are included in /dev/shm. COUNT is the number of objects, segments or file systems.\n\n\
                  --by shows the same memory by file system (instance), process, user, control group, container or \
                  program. By process, an object is divided evenly among the processes that use it; memory that no \
                  process uses has a row without a name. By control group, the numbers are the kernel's: a page is \
                  charged to the group of the process that first touched it, even after that process has exited.\n\n\
                  Only root can see the processes of other users and other mount namespaces. Nothing is estimated: \
                  memory that cannot be seen is shown as not accounted for.",
    examples: &[
        ("shmadm usage", "show what shared memory consists of"),
        ("shmadm usage --by process", "show how much of it each process uses"),
        ("shmadm usage --by instance", "show the file systems and IPC namespaces"),
        ("shmadm usage --json", "the same as JSON, with exact numbers"),
    ],
    json: "{\"schema\":1,\"shmem\":…,\"swapped\":0,\"sources\":[{\"source\":\"devshm\"|\"unlinked\"|\"tmpfs\"|\"devtmpfs\"|\"container\"|\"detached\"|\"memfd\"|\"anonymous\"|\"sysv\",\"rss\":…,\"swap\":0,\"size\":…,\"count\":3,\"within\":null|\"devshm\"}], \
           \"accounted\":…,\"unexplained\":…,\"possible\":[{\"reason\":\"in-flight\"|\"permission\"|\"pid-namespace\"|\"hidden-mount\"|\"kernel\",\"count\":1}], \
           \"instances\":[{\"dev\":\"0:27\",\"mount\":\"/dev/shm\",\"mnt_ns\":…,\"container\":null,\"size\":…,\"used\":…,\"inodes\":…,\"inodes_used\":…,\"unlinked\":0}], \
           \"hugetlb\":{\"files\":0,\"memfd\":0,\"sysv\":0},\"by\":\"source\",\"groups\":[{\"name\":\"4711\",\"detail\":\"…\",\"rss\":…,\"swap\":0,\"size\":…,\"count\":1}]}. \
           Sizes are bytes. A source with \"within\" is part of that one. \"unexplained\" is \"shmem\" minus \"accounted\"; it can be negative.",
    notes: "The swapped bytes of a file are known only to a caller who may write it; otherwise SWAP is unknown and \
            RSS includes them. hugetlbfs and huge pages are not part of Shmem; JSON reports them in \"hugetlb\". The kernel uses \
            some Shmem itself, for example for the initial RAM file system.",
};

#[derive(Args, Debug)]
pub(crate) struct UsageArgs {
    /// Group the memory by WHAT
    #[arg(long, value_name = "WHAT", default_value = "source", value_parser = word(By::ALL.map(|by| (by.as_str(), by))))]
    by: By,

    /// Also show rows without memory
    #[arg(long)]
    all: bool,

    /// Columns to show; +NAME,NAME adds to the default
    #[arg(short = 'o', long = "output", value_name = "COLUMNS")]
    output: Option<String>,

    /// List available columns
    #[arg(long)]
    list_columns: bool,

    /// Sort by COLUMN, the largest first
    #[arg(long, value_name = "COLUMN")]
    sort: Option<String>,

    #[command(flatten)]
    table: TableArgs,
}

pub(crate) fn run(args: &UsageArgs, context: &mut Context) -> Result<Exit, Error> {
    let registry =
        USAGE.iter().find(|(by, _)| *by == args.by).map(|(_, columns)| columns.as_slice()).unwrap_or_default();
    if args.list_columns {
        for column in registry {
            context.ui.print(&format!("{:<10} {}", column.name, column.help))?;
        }
        return Ok(Exit::Done);
    }
    let (columns, sort) = (args.columns(registry, context)?, args.sort_column(registry)?);
    if context.elsewhere || context.system.has_chosen_objects() {
        return Err(usage("usage shows the whole machine: --ns and --dir cannot be used")
            .hint("show the whole machine", again("").without(&["ns", "dir"])));
    }
    let by_file = !matches!(args.by, By::Source | By::Instance | By::ControlGroup);
    let found = survey_shmem(&context.system, by_file)?;
    let (namespaces, segments, huge) = segments(context, by_file)?;
    let ShmemSurvey { shmem, mut holdings, instances, huge: mut hugetlb, possible } = found;
    hugetlb.sysv = huge;
    holdings.extend(segments);
    let sources = by_source(&holdings);
    let accounted = holdings.iter().map(|holding| holding.memory.rss).sum::<u64>();
    let unexplained = signed(shmem) - signed(accounted);
    let mut rows = match args.by {
        By::Source => source_rows(&sources, namespaces),
        By::ControlGroup => control_groups(context)?,
        by => group_rows(context, by, &holdings, &instances),
    };
    rows.retain(|row| args.all || row.memory.allocated() > 0);
    match sort {
        Some(column) => rows.sort_by(|one, next| (column.cell)(next).compare(&(column.cell)(one))),
        None if args.by != By::Source => rows.sort_by_key(|row| std::cmp::Reverse(row.memory.rss)),
        None => {}
    }
    if context.json() {
        let swapped = holdings.iter().filter_map(|holding| holding.memory.swap).sum();
        let possible = if unexplained > 0 { possible } else { Vec::new() };
        let groups = if args.by == By::Source { &[] } else { rows.as_slice() };
        let report = UsageReport {
            shmem,
            swapped,
            sources: &sources,
            accounted,
            unexplained,
            possible: &possible,
            instances: &instances,
            hugetlb,
            by: args.by,
            groups,
        };
        context.report(&report)?;
        return Ok(Exit::Done);
    }
    if context.format == Format::Table {
        rows.extend(totals(shmem, accounted, unexplained, &possible));
    }
    let unicode = context.ui.ellipsis() == "\u{2026}";
    for row in &mut rows {
        row.shmem = shmem;
        if !row.is_total {
            row.bar = bar(row.memory.rss, shmem, unicode);
        }
    }
    let style = TableStyle { optional: &[], ..args.table.style(context, USAGE_DROP_ORDER) };
    context.print_rows("usage", &columns, rows, &style)?;
    if possible.iter().any(|possible| possible.reason == Unseen::Permission) && !can_inspect_all(&context.system) {
        context.ui.hint(Hint::new("run as root to see everything", again("").sudo()));
    }
    Ok(Exit::Done)
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
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
            _ => true,
        };
        let base: Vec<&str> = registry.iter().filter(is_shown).map(|column| column.name).collect();
        let list = self.output.clone().unwrap_or_else(|| base.join(","));
        select(registry, &base, &list).map_err(usage)
    }

    fn sort_column(&self, registry: &'static [Column<UsageRow>]) -> Result<Option<&'static Column<UsageRow>>, Error> {
        let Some(name) = &self.sort else { return Ok(None) };
        Ok(select(registry, &[], name).map_err(usage)?.first().copied())
    }
}

/// Returns the segments of all IPC namespaces as holdings, with the number of namespaces, and the bytes of those in huge
/// pages.
fn segments(context: &mut Context, with_users: bool) -> Result<(usize, Vec<Holding>, u64), Error> {
    let Survey { mut objects, namespaces, .. } = survey(context, Needs::RESIDENT)?;
    if with_users {
        add_attachers_and_find_strays(&context.system, &mut objects)?;
    }
    if huge_page_pools().iter().any(|(_, pages)| *pages > 0) {
        add_page_sizes(&context.system, &mut objects);
    }
    let is_huge = |object: &Object| object.page_size.is_some_and(|page| page > context.system.page_size());
    let (huge, ordinary): (Vec<_>, Vec<_>) = objects.into_iter().partition(is_huge);
    let holding = |object: Object| {
        let memory = Memory { rss: object.rss.unwrap_or(0), swap: object.swap, size: object.size, count: 1 };
        let instance = Instance::Namespace(object.ipc_namespace().unwrap_or_default());
        let attachers = object.attachers.unwrap_or_default();
        let pids = attachers.processes().map(|process| process[0].pid).collect();
        Holding {
            uid: Some(object.uid),
            pids,
            container: object.container,
            ..Holding::new(Source::SysV, instance, memory)
        }
    };
    let bytes = huge.iter().filter_map(|object| object.rss).sum();
    Ok((namespaces.len(), ordinary.into_iter().map(holding).collect(), bytes))
}

fn row(name: Option<String>, detail: Option<String>, memory: Memory) -> UsageRow {
    UsageRow { name, detail, memory, shmem: 0, is_total: false, bar: String::new() }
}

fn source_rows(sources: &[SourceUsage], namespaces: usize) -> Vec<UsageRow> {
    let rows = sources.iter().map(|SourceUsage { source, memory, .. }| {
        let name = match source {
            Source::SysV if namespaces > 1 => format!("System V, {namespaces} namespaces"),
            source => source_label(*source).to_owned(),
        };
        let detail = (*source == Source::Unlinked).then(|| "shmadm list --unlinked".to_owned());
        row(Some(name), detail, *memory)
    });
    rows.collect()
}

fn control_groups(context: &Context) -> Result<Vec<UsageRow>, Error> {
    let groups = charged_to_control_groups(&context.system).ok_or_else(|| {
        Error::new(Kind::NotFound, "cannot read the memory of control groups: no memory.stat was found")
            .cause("the memory controller is not enabled, or its hierarchy is not mounted")
            .hint("show the memory of processes", shmadm("usage --by process"))
    })?;
    Ok(groups.into_iter().map(|(name, memory)| row(Some(name), None, memory)).collect())
}

fn group_rows(context: &Context, by: By, holdings: &[Holding], instances: &[InstanceUsage]) -> Vec<UsageRow> {
    let system = &context.system;
    match by {
        By::Process => {
            let groups = grouped(holdings, |holding| match holding.pids.as_slice() {
                [] => vec![None],
                pids => pids.iter().copied().map(Some).collect(),
            });
            let rows = groups.into_iter().map(|(pid, memory)| {
                let command = pid.map(|pid| system.command(pid).map(|command| command.to_string()).unwrap_or_default());
                let none = || Some("no process found".to_owned());
                row(pid.map(|pid| pid.to_string()), command.or_else(none), memory)
            });
            rows.collect()
        }
        By::Instance => {
            let groups = grouped(holdings, |holding| vec![holding.instance.clone()]);
            let rows = groups.into_iter().map(|(instance, memory)| {
                let (name, detail) = match &instance {
                    Instance::FileSystem(device) => {
                        let found = instances.iter().find(|instance| instance.dev == *device);
                        let mount = found.and_then(|found| found.mount.clone());
                        let container = found.and_then(|found| found.container.clone());
                        let container = container.map(|name| format!(" ({name})")).unwrap_or_default();
                        (device.to_string(), mount.unwrap_or_else(|| "not mounted".to_owned()) + &container)
                    }
                    Instance::Namespace(number) => (format!("ipc:[{number}]"), "System V".to_owned()),
                    Instance::Internal => ("internal".to_owned(), "memfd and shared anonymous".to_owned()),
                };
                row(Some(name), Some(detail), memory)
            });
            rows.collect()
        }
        By::User => {
            let groups = grouped(holdings, |holding| vec![holding.uid.map(|uid| system.user(uid))]);
            named_rows(groups)
        }
        By::Product => named_rows(grouped(holdings, |holding| vec![holding.product.clone()])),
        _ => {
            let container = |holding: &Holding| -> Vec<Option<Arc<str>>> {
                match (&holding.container, holding.pids.as_slice()) {
                    (Some(container), _) => vec![Some(container.clone())],
                    (None, []) => vec![None],
                    (None, pids) => pids.iter().map(|pid| container_of_process(system, *pid)).collect(),
                }
            };
            named_rows(grouped(holdings, container))
        }
    }
}

fn named_rows<N: ToString>(groups: BTreeMap<Option<N>, Memory>) -> Vec<UsageRow> {
    groups.into_iter().map(|(name, memory)| row(name.map(|name| name.to_string()), None, memory)).collect()
}

/// Returns the sums below the rows.
fn totals(shmem: u64, accounted: u64, unexplained: i64, possible: &[Possible]) -> [UsageRow; 3] {
    let total = |name: &str, rss, detail| UsageRow {
        is_total: true,
        ..row(Some(name.to_owned()), detail, Memory { rss, ..Memory::NONE })
    };
    let reasons: Vec<_> = possible.iter().filter_map(|possible| explain(*possible)).collect();
    let reasons = (unexplained > 0 && !reasons.is_empty()).then(|| reasons.join("; "));
    [
        total("accounted for", accounted, None),
        total("not accounted for", u64::try_from(unexplained).unwrap_or(0), reasons),
        total("Shmem (/proc/meminfo)", shmem, None),
    ]
}

fn explain(Possible { reason, count }: Possible) -> Option<String> {
    let count = count.unwrap_or_default();
    Some(match reason {
        Unseen::InFlight if count == 1 => "1 socket has descriptors in flight".to_owned(),
        Unseen::InFlight => format!("{count} sockets have descriptors in flight"),
        Unseen::Permission => format!("{} cannot be inspected", counted(count, "process")),
        Unseen::PidNamespace => "processes outside this pid namespace are not visible".to_owned(),
        Unseen::HiddenMount => format!("{} covered by other mounts", counted(count, "file system")),
        // Always possible.
        Unseen::Kernel => return None,
    })
}
