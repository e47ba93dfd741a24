//! The report of `usage`.

use anstyle::AnsiColor;
use serde::{Serialize, Serializer};

use super::{Cell, Column};
use crate::model::{HugeMemory, InstanceUsage, Memory, Possible, Source, SourceUsage, named};

named! {
    /// What the rows of `usage` are.
    pub(crate) enum By {
        Source = "source",
        Instance = "instance",
        Process = "process",
        User = "user",
        ControlGroup = "cgroup",
        Container = "container",
        Product = "product",
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct UsageReport<'a> {
    /// The kernel's sum in bytes.
    pub(crate) shmem: u64,
    /// Bytes in swap, as far as they are known; not part of `shmem`.
    pub(crate) swapped: u64,
    pub(crate) sources: UsageRows<'a, SourceUsage>,
    pub(crate) accounted: u64,
    /// Negative if memory was allocated during the scan.
    pub(crate) unexplained: i64,
    pub(crate) possible: &'a [Possible],
    pub(crate) instances: &'a [InstanceUsage],
    pub(crate) hugetlb: HugeMemory,
    pub(crate) by: By,
    /// Empty if the rows are sources.
    pub(crate) groups: UsageRows<'a, UsageRow>,
}

/// A list of the report.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum UsageRows<'a, T> {
    Whole(&'a [T]),
    Chosen(Vec<ChosenRow<'a>>),
}

impl<'a, T> UsageRows<'a, T> {
    /// Returns rows with the columns that the user has chosen (`-o`).
    pub(crate) fn chosen(rows: &'a [UsageRow], columns: &[&'static Column<UsageRow>]) -> Self {
        let cells = |row| ChosenRow(columns.iter().map(|column| (column.json, (column.cell)(row))).collect());
        Self::Chosen(rows.iter().map(cells).collect())
    }
}

/// A row with the keys of the chosen columns.
#[derive(Debug)]
pub(crate) struct ChosenRow<'a>(Vec<(&'static str, Cell<'a>)>);

impl Serialize for ChosenRow<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, cell)| (key, cell)))
    }
}

/// A row of the table.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct UsageRow {
    /// `None` for what belongs to none, such as memory that no process uses.
    pub(crate) name: Option<String>,
    /// The command of a process, the mount of a file system, or a remark.
    pub(crate) detail: Option<String>,
    #[serde(flatten)]
    pub(crate) memory: Memory,
    /// Bytes per second since the previous round of `top`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) change: Option<i64>,
    /// The total that the shares refer to.
    #[serde(skip)]
    pub(crate) shmem: u64,
    #[serde(skip)]
    pub(crate) kind: RowKind,
    #[serde(skip)]
    pub(crate) bar: String,
}

/// What a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowKind {
    /// A group of memory, or a source.
    Group(Option<Source>),
    /// A sum below the rows, without swap and count.
    Total,
    /// More of the remark in the row before it.
    Remark,
}

impl RowKind {
    /// Returns a cell with a number, if such rows have one; `is_sum` says whether the sums have it.
    fn number(self, is_sum: bool, cell: Cell<'_>) -> Cell<'_> {
        match self {
            Self::Remark => Cell::Text(""),
            Self::Total if !is_sum => Cell::Null,
            _ => cell,
        }
    }
}

/// The width of the bar for all of Shmem, in columns.
const BAR: usize = 20;

/// Returns a bar for a share, in eighths of a column; without Unicode in whole columns.
pub(crate) fn bar(part: u64, whole: u64, unicode: bool) -> String {
    let share = (u128::from(part) * 100_000).checked_div(whole.into()).unwrap_or(0).min(100_000);
    let eighths = usize::try_from(share).unwrap_or(0) * BAR * 8 / 100_000;
    if !unicode {
        return "#".repeat((eighths + 4) / 8);
    }
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    "█".repeat(eighths / 8) + PARTS[eighths % 8]
}

const COMMAND: Column<UsageRow> = detail("COMMAND");
const MOUNT: Column<UsageRow> = detail("MOUNT").name_shortened_to(12);
const NOTE: Column<UsageRow> = detail("NOTE").sentence_shortened_to(12);

const fn detail(name: &'static str) -> Column<UsageRow> {
    Column::left(name, |row: &UsageRow| Cell::Text(row.detail.as_deref().unwrap_or_default()))
        .described("detail", "command, mount point or remark")
        .shortened_to(12)
        .preferred_to_others(38)
}

/// The source of memory: a label in a table.
const SOURCE: Column<UsageRow> =
    named("SOURCE", "").described("source", "kind of shared memory").sentence_shortened_to(12);

const fn named(name: &'static str, help: &'static str) -> Column<UsageRow> {
    Column::left(name, |row: &UsageRow| Cell::text(row.name.as_ref()))
        .described("name", help)
        .shortened_to(12)
        .preferred_to_others(24)
        .colored(|row| color(row.kind))
}

const fn columns(name: Column<UsageRow>, detail: Column<UsageRow>) -> [Column<UsageRow>; 8] {
    [
        name,
        Column::right("RSS", |row: &UsageRow| row.kind.number(true, Cell::bytes(row.memory.rss)))
            .described("rss", "resident bytes"),
        Column::right("SWAP", |row: &UsageRow| row.kind.number(false, Cell::of(row.memory.swap, Cell::bytes)))
            .described("swap", "bytes in swap"),
        Column::right("SIZE", |row: &UsageRow| row.kind.number(false, Cell::bytes(row.memory.size)))
            .described("size", "requested size of objects, and limits of file systems"),
        Column::right("COUNT", |row: &UsageRow| row.kind.number(false, Cell::of(row.memory.count, Cell::Number)))
            .described("count", "number of objects, segments or file systems that have memory"),
        Column::right("SHARE", |row: &UsageRow| row.kind.number(true, Cell::share(row.memory.rss, row.shmem)))
            .described("share", "part of Shmem"),
        Column::left("BAR", |row: &UsageRow| Cell::Text(&row.bar)).described("bar", "the share as a bar"),
        detail,
    ]
}

fn color(kind: RowKind) -> Option<AnsiColor> {
    let RowKind::Group(Some(source)) = kind else { return None };
    Some(match source {
        Source::DevShm => AnsiColor::Green,
        Source::Unlinked => AnsiColor::Yellow,
        Source::Tmpfs | Source::Devtmpfs => AnsiColor::Cyan,
        Source::Container => AnsiColor::BrightCyan,
        Source::Detached => AnsiColor::Red,
        Source::Memfd => AnsiColor::Magenta,
        Source::Anonymous => AnsiColor::BrightMagenta,
        Source::SysV => AnsiColor::BrightGreen,
    })
}

/// The columns for each kind of rows.
static USAGE: [(By, [Column<UsageRow>; 8]); 7] = [
    (By::Source, columns(SOURCE, NOTE)),
    (By::Instance, columns(named("INSTANCE", "device of the file system, or IPC namespace"), MOUNT)),
    (By::Process, columns(named("PID", "process that uses it"), COMMAND)),
    (By::User, columns(named("USER", "owner"), NOTE)),
    (By::ControlGroup, columns(named("CGROUP", "control group that it is charged to"), NOTE)),
    (By::Container, columns(named("CONTAINER", "container or unit"), NOTE)),
    (By::Product, columns(named("PRODUCT", "program that it belongs to"), NOTE)),
];

static CHANGE: Column<UsageRow> =
    Column::right("CHANGE/S", |row| row.kind.number(true, Cell::of(row.change, Cell::Change)));

/// Returns the columns of `usage`.
pub(crate) fn usage_columns(by: By) -> &'static [Column<UsageRow>] {
    USAGE.iter().find(|(it, _)| *it == by).map(|(_, columns)| columns.as_slice()).unwrap_or_default()
}

/// Returns the columns of `top`.
pub(crate) fn top_columns(by: By) -> Vec<&'static Column<UsageRow>> {
    let is_shown = |column: &&Column<UsageRow>| match column.name {
        "SIZE" | "BAR" => false,
        // Each row is one group.
        "COUNT" => by != By::ControlGroup,
        _ => true,
    };
    let mut columns: Vec<_> = usage_columns(by).iter().filter(is_shown).collect();
    columns.insert(2.min(columns.len()), &CHANGE);
    columns
}

/// The columns to omit, in this order, if the terminal is too narrow.
pub(crate) const USAGE_DROP_ORDER: &[&str] = &["BAR", "COUNT", "SWAP"];

/// Returns the name of a source in the table.
pub(crate) fn source_label(source: Source) -> &'static str {
    match source {
        Source::DevShm => "tmpfs /dev/shm",
        Source::Unlinked => "  unlinked, still in use",
        Source::Tmpfs => "tmpfs, other mounts",
        Source::Devtmpfs => "devtmpfs",
        Source::Container => "tmpfs, other namespaces",
        Source::Detached => "tmpfs, not mounted",
        Source::Memfd => "memfd",
        Source::Anonymous => "shared anonymous",
        Source::SysV => "System V",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_proportional_and_never_too_long() {
        assert_eq!(bar(1, 2, true), "█".repeat(10));
        assert_eq!(bar(1, 160, true), "▏");
        assert_eq!(bar(1, 2, false), "#".repeat(10));
        assert_eq!((bar(5, 0, true), bar(9, 1, false)), (String::new(), "#".repeat(20)));
    }
}
