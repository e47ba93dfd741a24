//! The report of `limits`.

use serde::Serialize;

use super::{Cell, Column};
use crate::model::{Limits, Usage};

#[derive(Debug, Serialize)]
pub(crate) struct LimitsReport {
    pub(crate) limits: Limits,
    pub(crate) usage: Usage,
}

pub(crate) struct LimitRow {
    resource: &'static str,
    description: &'static str,
    limit: Cell<'static>,
    used: Cell<'static>,
    share: Cell<'static>,
}

pub(crate) static LIMITS: &[Column<LimitRow>] = &[
    Column::left("RESOURCE", |row| Cell::Word(row.resource)),
    Column::left("DESCRIPTION", |row| Cell::Word(row.description)),
    Column::right("LIMIT", |row| row.limit.clone()),
    Column::right("USED", |row| row.used.clone()),
    Column::right("USE%", |row| row.share.clone()),
];

pub(crate) fn limit_rows(LimitsReport { limits, usage }: &LimitsReport) -> Vec<LimitRow> {
    let row = |resource, description, limit, used, share| LimitRow { resource, description, limit, used, share };
    let used = |resource, description, limit, used| {
        row(resource, description, Cell::Number(limit), Cell::Number(used), Cell::share(used, limit))
    };
    let limit = |resource, description, limit| row(resource, description, limit, Cell::Null, Cell::Null);
    let sum = |resource, description, bytes| row(resource, description, Cell::Null, Cell::Bytes(bytes), Cell::Null);
    vec![
        used("SHMMNI", "segments", limits.shmmni, usage.segments),
        used("SHMALL", "pages in all segments", limits.shmall, usage.pages),
        limit("SHMMAX", "maximum size of a segment", Cell::bytes(limits.shmmax)),
        limit("SHMMIN", "minimum size of a segment", Cell::bytes(limits.shmmin)),
        sum("SIZE", "size of all segments", usage.size),
        sum("RSS", "resident memory of all segments", usage.rss),
        sum("SWAP", "swapped memory of all segments", usage.swap),
        limit("PAGE_SIZE", "page size in bytes", Cell::bytes(limits.page_size)),
        limit("RMID_FORCED", "unattached segments are destroyed", Cell::of(limits.rmid_forced, Cell::Flag)),
    ]
}
