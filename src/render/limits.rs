//! The report of `limits`.

use serde::Serialize;

use super::{Cell, Column};
use crate::model::{HugePages, Limits, PosixUsage, Usage};

#[derive(Debug, Serialize)]
pub(crate) struct LimitsReport {
    pub(crate) limits: Limits,
    pub(crate) usage: Usage,
    /// `None` without a /dev/shm.
    pub(crate) posix: Option<PosixLimits>,
    /// The pool of a hugetlbfs: how many pages it has, and how many of them are free.
    #[serde(skip)]
    pub(crate) pool: Option<(u64, u64)>,
}

#[derive(Debug, Serialize)]
pub(crate) struct PosixLimits {
    #[serde(flatten)]
    pub(crate) usage: PosixUsage,
    /// Which files get huge pages; `None` on hugetlbfs, or if it is unknown.
    pub(crate) huge_pages: Option<HugePages>,
}

pub(crate) struct LimitRow {
    resource: &'static str,
    description: String,
    limit: Cell<'static>,
    used: Cell<'static>,
    share: Cell<'static>,
}

pub(crate) static LIMITS: &[Column<LimitRow>] = &[
    Column::left("RESOURCE", |row| Cell::Word(row.resource)),
    Column::left("DESCRIPTION", |row| Cell::Text(&row.description)),
    Column::right("LIMIT", |row| row.limit.clone()),
    Column::right("USED", |row| row.used.clone()),
    Column::right("USE%", |row| row.share.clone()),
];

pub(crate) fn limit_rows(LimitsReport { limits, usage, posix, pool }: &LimitsReport) -> Vec<LimitRow> {
    let row = |resource, description: &str, limit, used, share| LimitRow {
        resource,
        description: description.to_owned(),
        limit,
        used,
        share,
    };
    let used = |resource, description, limit, used| {
        row(resource, description, Cell::Number(limit), Cell::Number(used), Cell::share(used, limit))
    };
    let limit = |resource, description, limit| row(resource, description, limit, Cell::Null, Cell::Null);
    let sum = |resource, description, bytes| row(resource, description, Cell::Null, Cell::Bytes(bytes), Cell::Null);
    let mut rows = vec![
        used("SHMMNI", "segments", limits.shmmni, usage.segments),
        used("SHMALL", "pages in all segments", limits.shmall, usage.pages),
        limit("SHMMAX", "maximum size of a segment", Cell::bytes(limits.shmmax)),
        limit("SHMMIN", "minimum size of a segment", Cell::bytes(limits.shmmin)),
        sum("SIZE", "size of all segments", usage.size),
        sum("RSS", "resident memory of all segments", usage.rss),
        sum("SWAP", "swapped memory of all segments", usage.swap),
        limit("PAGE_SIZE", "page size in bytes", Cell::bytes(limits.page_size)),
        limit("RMID_FORCED", "unattached segments are destroyed", Cell::of(limits.rmid_forced, Cell::Flag)),
    ];
    if let Some(PosixLimits { usage: posix, huge_pages }) = posix {
        let bytes = |bytes: Option<u64>| Cell::of(bytes, Cell::bytes);
        let number = |number: Option<u64>| Cell::of(number, Cell::Number);
        let limited = |limit: u64| (limit > 0).then_some(limit);
        let (size, inodes) = (limited(posix.size), limited(posix.inodes));
        let share = |used: Option<u64>, limit: Option<u64>| {
            used.zip(limit).map_or(Cell::Null, |(used, limit)| Cell::share(used, limit))
        };
        rows.extend([
            row(
                "POSIX_SIZE",
                &format!("memory in {}", posix.mount),
                bytes(size),
                bytes(posix.used),
                share(posix.used, size),
            ),
            row(
                "POSIX_INODES",
                &format!("files in {}", posix.mount),
                number(inodes),
                number(posix.inodes_used),
                share(posix.inodes_used, inodes),
            ),
            row("POSIX_UNLINKED", "memory of objects without a name", Cell::Null, bytes(posix.unlinked), Cell::Null),
        ]);
        if let Some(huge) = huge_pages {
            let description = format!("files in {} with huge pages", posix.mount);
            rows.push(row("POSIX_HUGE", &description, Cell::Word(huge.as_str()), Cell::Null, Cell::Null));
        }
    }
    if let Some((total, free)) = pool {
        rows.push(used("POSIX_HUGE", "huge pages in the pool", *total, total.saturating_sub(*free)));
    }
    rows
}
