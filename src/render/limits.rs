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
    let used = |resource, description: &str, limit: Option<u64>, used: Option<u64>, cell: fn(u64) -> Cell<'static>| {
        let share = used.zip(limit).map_or(Cell::Null, |(used, limit)| Cell::share(used, limit));
        row(resource, description, Cell::of(limit, cell), Cell::of(used, cell), share)
    };
    let limit = |resource, description, limit| row(resource, description, limit, Cell::Null, Cell::Null);
    let sum = |resource, description, bytes| row(resource, description, Cell::Null, Cell::Bytes(bytes), Cell::Null);
    let mut rows = vec![
        used("SHMMNI", "segments", Some(limits.shmmni), Some(usage.segments), Cell::Number),
        used("SHMALL", "pages in all segments", Some(limits.shmall), Some(usage.pages), Cell::Number),
        limit("SHMMAX", "maximum size of a segment", Cell::bytes(limits.shmmax)),
        limit("SHMMIN", "minimum size of a segment", Cell::bytes(limits.shmmin)),
        sum("SIZE", "size of all segments", usage.size),
        sum("RSS", "resident memory of all segments", usage.rss),
        sum("SWAP", "swapped memory of all segments", usage.swap),
        limit("PAGE_SIZE", "page size in bytes", Cell::bytes(limits.page_size)),
        limit("RMID_FORCED", "unattached segments are destroyed", Cell::of(limits.rmid_forced, Cell::Flag)),
    ];
    if let Some(PosixLimits { usage: posix, huge_pages }) = posix {
        let [memory, files] = ["memory", "files"].map(|what| format!("{what} in {}", posix.mount));
        let limited = |limit: u64| (limit > 0).then_some(limit);
        rows.extend([
            used("POSIX_SIZE", &memory, limited(posix.size), posix.used, Cell::bytes),
            used("POSIX_INODES", &files, limited(posix.inodes), posix.inodes_used, Cell::Number),
            used("POSIX_UNLINKED", "memory of objects without a name", None, posix.unlinked, Cell::bytes),
        ]);
        if let Some(huge) = huge_pages {
            let description = format!("{files} with huge pages");
            rows.push(row("POSIX_HUGE", &description, Cell::Word(huge.as_str()), Cell::Null, Cell::Null));
        }
    }
    if let Some((total, free)) = pool {
        let taken = total.saturating_sub(*free);
        rows.push(used("POSIX_HUGE", "huge pages in the pool", Some(*total), Some(taken), Cell::Number));
    }
    rows
}
