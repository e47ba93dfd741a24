//! What the shared memory of the machine consists of, for `usage` and `top`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::all_namespaces::{HIDDEN_PROCESSES, Survey, survey};
use super::{Context, usage_error};
use crate::error::{Error, Kind, again, shmadm};
use crate::model::{
    Holding, HugeMemory, Instance, InstanceUsage, Memory, Needs, Object, Possible, Source, SourceUsage, Unseen,
    by_source, counted, enumerate, first_names, grouped,
};
use crate::query::{
    ShmemSurvey, System, add_attachers_and_find_strays, add_page_sizes, add_products, charged_to_control_groups,
    container_of_process, huge_page_pools, survey_shmem,
};
use crate::render::{By, Column, RowKind, UsageReport, UsageRow, UsageRows, source_label};

/// Shared memory, as found by one survey.
#[derive(Debug)]
pub(crate) struct MemoryUsage {
    /// The kernel's own sum in bytes.
    pub(crate) shmem: u64,
    pub(crate) sources: [SourceUsage; Source::ALL.len()],
    pub(crate) accounted: u64,
    /// Negative if memory was allocated during the scan.
    pub(crate) unexplained: i64,
    /// Why memory can be unexplained.
    pub(crate) possible: Vec<Possible>,
    holdings: Vec<Holding>,
    /// What the sums of some file systems in `holdings` consist of.
    parts: Vec<Holding>,
    instances: Vec<InstanceUsage>,
    hugetlb: HugeMemory,
    /// The number of IPC namespaces.
    namespaces: usize,
}

impl MemoryUsage {
    /// Finds the machine's shared memory, with the fields that grouping by `by` requires, and the fields of segments in
    /// `needs`.
    pub(crate) fn find(context: &mut Context, by: By, needs: Needs) -> Result<Self, Error> {
        let by_file = !matches!(by, By::Source | By::Instance | By::ControlGroup);
        let found = survey_shmem(&context.system, by_file)?;
        let Survey { objects, namespaces, .. } = survey(context, Needs::RESIDENT)?;
        let needs = match by {
            By::Product => needs | Needs::PRODUCT,
            _ if by_file => needs | Needs::ATTACHERS,
            _ => needs,
        };
        let (segments, huge) = segment_holdings(&context.system, objects, needs)?;
        let ShmemSurvey { shmem, mut holdings, parts, instances, huge: mut hugetlb, possible } = found;
        hugetlb.sysv = huge;
        holdings.extend(segments);
        let sources = by_source(&holdings);
        let accounted = holdings.iter().map(|holding| holding.memory.rss).sum::<u64>();
        let unexplained = signed(shmem) - signed(accounted);
        let namespaces = namespaces.len();
        Ok(Self { shmem, sources, accounted, unexplained, possible, holdings, parts, instances, hugetlb, namespaces })
    }

    /// Returns the segments, the objects of every /dev/shm, the memfds and the shared anonymous memory.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &Holding> {
        self.holdings.iter().chain(&self.parts).filter(|holding| holding.ident.is_some())
    }

    /// Returns the namespace of a segment, or of an object that is not in the caller's /dev/shm.
    pub(crate) fn namespace_of(&self, holding: &Holding) -> Option<u64> {
        match holding.instance {
            Instance::Namespace(number) => Some(number),
            Instance::FileSystem(device) if !matches!(holding.source, Source::DevShm | Source::Unlinked) => {
                self.instances.iter().find(|instance| instance.dev == device)?.mnt_ns
            }
            Instance::FileSystem(_) | Instance::Internal => None,
        }
    }

    /// Returns the rows of a table: all sources, or groups from the largest to the smallest.
    pub(crate) fn rows(&self, context: &Context, by: By) -> Result<Vec<UsageRow>, Error> {
        let mut rows = match by {
            By::Source => return Ok(source_rows(self)),
            By::ControlGroup => control_groups(context)?,
            by => group_rows(context, by, &self.groupable(by), &self.instances),
        };
        rows.sort_by_key(|row| Reverse(row.memory.rss));
        rows.iter_mut().for_each(|row| row.shmem = self.shmem);
        Ok(rows)
    }

    /// Returns what can be grouped: the parts of a file system instead of its sums, except by file system.
    fn groupable(&self, by: By) -> Vec<&Holding> {
        let parts = if by == By::Instance { &[] } else { self.parts.as_slice() };
        let divided: BTreeSet<_> = parts.iter().map(|part| &part.instance).collect();
        self.holdings.iter().filter(|holding| !divided.contains(&holding.instance)).chain(parts).collect()
    }

    /// Returns the sums below the rows: what is accounted for, what is not, with the reasons, and all. The memory
    /// charged to control groups is the kernel's own count, so only the kernel's total is shown with it.
    pub(crate) fn totals(&self, by: By) -> Vec<UsageRow> {
        let total = |name: &str, rss, detail| UsageRow {
            kind: RowKind::Total,
            shmem: self.shmem,
            ..row(Some(name.to_owned()), detail, Memory { rss, ..Memory::NONE })
        };
        let shmem = total("Shmem (/proc/meminfo)", self.shmem, None);
        if by == By::ControlGroup {
            return vec![shmem];
        }
        let mut reasons = self.possible.iter().filter(|_| self.unexplained > 0).filter_map(|it| explain(*it));
        let mut totals = vec![
            total("accounted for", self.accounted, None),
            total("not accounted for", u64::try_from(self.unexplained).unwrap_or(0), reasons.next()),
        ];
        totals.extend(reasons.map(|reason| UsageRow { kind: RowKind::Remark, ..total("", 0, Some(reason)) }));
        totals.push(shmem);
        totals
    }

    /// Returns the report; `rows` are those of [`Self::rows`], and `chosen` the only columns of them, if the user has
    /// chosen some.
    pub(crate) fn report<'a>(
        &'a self,
        by: By,
        rows: &'a [UsageRow],
        chosen: Option<&[&'static Column<UsageRow>]>,
    ) -> UsageReport<'a> {
        let (sources, groups) = match (by, chosen) {
            (By::Source, None) => (UsageRows::Whole(self.sources.as_slice()), UsageRows::Whole([].as_slice())),
            (By::Source, Some(columns)) => (UsageRows::chosen(rows, columns), UsageRows::Whole([].as_slice())),
            (_, None) => (UsageRows::Whole(self.sources.as_slice()), UsageRows::Whole(rows)),
            (_, Some(columns)) => (UsageRows::Whole(self.sources.as_slice()), UsageRows::chosen(rows, columns)),
        };
        UsageReport {
            shmem: self.shmem,
            swapped: self.holdings.iter().filter_map(|holding| holding.memory.swap).sum(),
            sources,
            accounted: self.accounted,
            unexplained: self.unexplained,
            possible: if self.unexplained > 0 { &self.possible } else { &[] },
            instances: &self.instances,
            hugetlb: self.hugetlb,
            by,
            groups,
        }
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Fails if `command`, which shows the whole machine, is run for one namespace or directory.
pub(super) fn check_whole_machine(context: &Context, command: &str) -> Result<(), Error> {
    if !context.has_ns && !context.system.has_chosen_objects() {
        return Ok(());
    }
    let error = usage_error(format!("{command} shows the whole machine: --ns and --dir cannot be used"));
    Err(error.hint("show the whole machine", again("").without(&["ns", "dir"])))
}

/// Returns segments as holdings, with their users and programs if `needs` includes these, and the bytes of those in
/// huge pages, which are not part of Shmem.
pub(super) fn segment_holdings(
    system: &System,
    mut segments: Vec<Object>,
    needs: Needs,
) -> Result<(Vec<Holding>, u64), Error> {
    let can_be_huge = huge_page_pools().iter().any(|(_, pages)| *pages > 0);
    // Without attachments, the scan would find none.
    let are_attached = segments.iter().any(Object::is_in_use);
    if are_attached && (needs.contains(Needs::ATTACHERS) || can_be_huge) {
        add_attachers_and_find_strays(system, &mut segments)?;
    }
    if can_be_huge {
        // Only an attachment shows the page size.
        add_page_sizes(system, &mut segments);
    }
    if needs.contains(Needs::PRODUCT) {
        add_products(system, &mut segments);
    }
    let is_huge = |object: &Object| object.page_size.is_some_and(|page| page > system.page_size());
    let (huge, ordinary): (Vec<_>, Vec<_>) = segments.into_iter().partition(is_huge);
    let holding = |object: Object| {
        let memory =
            Memory { rss: object.rss.unwrap_or(0), swap: object.swap, size: object.size, ..Memory::NONE }.of_one();
        let instance = Instance::Namespace(object.ipc_namespace().unwrap_or_default());
        let ident = Some(object.ident());
        let attachers = object.attachers.unwrap_or_default();
        let pids = attachers.pids().collect();
        Holding {
            ident,
            uid: Some(object.uid),
            pids,
            container: object.container,
            product: object.product,
            ..Holding::new(Source::SysV, instance, memory)
        }
    };
    let bytes = huge.iter().filter_map(|object| object.rss).sum();
    Ok((ordinary.into_iter().map(holding).collect(), bytes))
}

fn row(name: Option<String>, detail: Option<String>, memory: Memory) -> UsageRow {
    let kind = RowKind::Group(None);
    UsageRow { name, detail, memory, change: None, shmem: 0, kind, bar: String::new() }
}

fn source_rows(usage: &MemoryUsage) -> Vec<UsageRow> {
    let namespaces = usage.namespaces;
    let rows = usage.sources.iter().map(|SourceUsage { source, memory, .. }| {
        let name = match source {
            Source::SysV if namespaces > 1 => format!("System V, {namespaces} namespaces"),
            source => source_label(*source).to_owned(),
        };
        let detail = match source {
            Source::Unlinked => Some("shmadm list --unlinked".to_owned()),
            Source::Detached => open_by(&usage.holdings, |holding| holding.source == Source::Detached),
            _ => None,
        };
        UsageRow { shmem: usage.shmem, kind: RowKind::Group(Some(*source)), ..row(Some(name), detail, *memory) }
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

fn group_rows(context: &Context, by: By, holdings: &[&Holding], instances: &[InstanceUsage]) -> Vec<UsageRow> {
    let holdings = || holdings.iter().copied();
    let system = &context.system;
    match by {
        By::Process => {
            let groups = grouped(holdings(), |holding| match holding.pids.as_slice() {
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
            let groups = grouped(holdings(), |holding| vec![holding.instance.clone()]);
            let rows = groups.into_iter().map(|(instance, mut memory)| {
                let (name, detail) = match &instance {
                    Instance::FileSystem(device) => {
                        let found = instances.iter().find(|instance| instance.dev == *device);
                        // Its limit includes the objects without a name.
                        memory.size = found.map_or(memory.size, |found| found.size);
                        let mount = found.and_then(|found| found.mount.clone());
                        let container = found.and_then(|found| found.container.clone());
                        let container = container.map(|name| format!(" ({name})")).unwrap_or_default();
                        let not_mounted = || {
                            let users = open_by(holdings(), |holding| holding.instance == instance);
                            ["not mounted".to_owned()].into_iter().chain(users).collect::<Vec<_>>().join(", ")
                        };
                        (device.to_string(), mount.unwrap_or_else(not_mounted) + &container)
                    }
                    Instance::Namespace(number) => (format!("ipc:[{number}]"), "System V".to_owned()),
                    Instance::Internal => ("internal".to_owned(), "memfd and shared anonymous".to_owned()),
                };
                row(Some(name), Some(detail), memory)
            });
            rows.collect()
        }
        By::User => {
            let groups = grouped(holdings(), |holding| vec![holding.uid.map(|uid| system.user(uid))]);
            named_rows(groups)
        }
        By::Product => named_rows(grouped(holdings(), |holding| vec![holding.product.clone()])),
        _ => {
            let container = |holding: &Holding| -> Vec<Option<Arc<str>>> {
                match (&holding.container, holding.pids.as_slice()) {
                    (Some(container), _) => vec![Some(container.clone())],
                    (None, []) => vec![None],
                    (None, pids) => pids.iter().map(|pid| container_of_process(system, *pid)).collect(),
                }
            };
            named_rows(grouped(holdings(), container))
        }
    }
}

fn named_rows<N: ToString>(groups: BTreeMap<Option<N>, Memory>) -> Vec<UsageRow> {
    groups.into_iter().map(|(name, memory)| row(name.map(|name| name.to_string()), None, memory)).collect()
}

/// Returns which processes have files open on the file systems that `is_one` accepts.
fn open_by<'a>(holdings: impl IntoIterator<Item = &'a Holding>, is_one: impl Fn(&Holding) -> bool) -> Option<String> {
    let pids: BTreeSet<_> = holdings.into_iter().filter(|it| is_one(it)).flat_map(|it| &it.pids).collect();
    let pids = first_names(2, pids.into_iter().map(ToString::to_string));
    (!pids.is_empty()).then(|| format!("open by pid {}", enumerate(&pids, "and")))
}

fn explain(Possible { reason, count }: Possible) -> Option<String> {
    if count.is_none() && reason == Unseen::Permission {
        return Some(HIDDEN_PROCESSES.to_owned());
    }
    let count = count.unwrap_or_default();
    Some(match reason {
        Unseen::InFlight if count == 1 => "files held by 1 socket or io_uring".to_owned(),
        Unseen::InFlight => format!("files held by {count} sockets or io_urings"),
        Unseen::Permission => format!("{} cannot be inspected", counted(count, "process")),
        Unseen::PidNamespace => "processes outside this pid namespace".to_owned(),
        Unseen::HiddenMount => format!("{} hidden by other mounts", counted(count, "file system")),
        // Always possible.
        Unseen::Kernel => return None,
    })
}
