//! The reports of `rm` and `prune`: removed, skipped and failed segments.

use std::io::{self, Write};
use std::sync::Arc;

use super::{Align, Cell, Column, JsonObject, column, write_string};
use crate::error::Error;
use crate::model::Object;

/// A segment that could not be removed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The segment as the user named it.
    pub(crate) target: String,
    pub(crate) error: Error,
}

/// A segment that was removed, or that a dry run would remove.
#[derive(Clone, Debug)]
pub(crate) struct Removed {
    /// The segment before its removal.
    pub(crate) segment: Object,
    /// `destroyed` or `marked`, as in JSON.
    pub(crate) outcome: &'static str,
    /// Why it was selected; empty if the user named it.
    pub(crate) why: String,
}

/// A segment that was not removed.
#[derive(Clone, Debug)]
pub(crate) struct Skipped {
    pub(crate) segment: Object,
    pub(crate) reason: String,
}

/// What `prune` removed, skipped and failed to remove.
#[derive(Debug, Default)]
pub(crate) struct PruneReport {
    pub(crate) removed: Vec<Removed>,
    pub(crate) failed: Vec<Failure>,
    pub(crate) skipped: Vec<Skipped>,
}

/// Totals over the destroyed segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Freed {
    pub(crate) segments: u64,
    /// Sum of the requested sizes, which can exceed the memory that was used.
    pub(crate) size: u128,
    pub(crate) rss: u128,
    pub(crate) swap: u128,
}

impl PruneReport {
    /// Sums up the destroyed segments; a segment that is only marked for destruction frees nothing yet.
    pub(crate) fn freed(&self) -> Freed {
        let destroyed = self.removed.iter().filter(|removed| removed.outcome == "destroyed");
        destroyed.fold(Freed::default(), |sum, Removed { segment, .. }| Freed {
            segments: sum.segments + 1,
            size: sum.size + u128::from(segment.size),
            rss: sum.rss + u128::from(segment.rss.unwrap_or(0)),
            swap: sum.swap + u128::from(segment.swap.unwrap_or(0)),
        })
    }

    pub(crate) fn rows(&self) -> Vec<PruneRow> {
        let removed = self.removed.iter().map(|removed| (&removed.segment, removed.outcome, removed.why.as_str()));
        let skipped = self.skipped.iter().map(|skipped| (&skipped.segment, "skipped", skipped.reason.as_str()));
        removed
            .chain(skipped)
            .map(|(segment, outcome, why)| PruneRow { segment: segment.clone(), outcome, why: why.into() })
            .collect()
    }
}

/// A row of `prune`'s table.
#[derive(Clone, Debug)]
pub(crate) struct PruneRow {
    segment: Object,
    outcome: &'static str,
    why: Arc<str>,
}

/// The columns of `prune`. CSV and TSV print all of them; new columns may only be appended.
pub(crate) static PRUNE: &[Column<PruneRow>] = &[
    Column::plain("ID", "id", Align::Right, "id", |row| {
        Cell::Number(u64::from(row.segment.sysv().id.raw().cast_unsigned()))
    }),
    Column::plain("KEY", "key", Align::Left, "key", |row| Cell::Key(row.segment.sysv().key)),
    Column::plain("OWNER", "owner", Align::Left, "owner", |row| {
        Cell::Account(row.segment.owner.as_deref(), row.segment.uid)
    }),
    Column::plain("SIZE", "size", Align::Right, "requested size", |row| Cell::bytes(row.segment.size)),
    Column::plain("RSS", "rss", Align::Right, "resident bytes", |row| Cell::of(row.segment.rss, Cell::bytes)),
    Column::plain("SWAP", "swap", Align::Right, "swapped bytes", |row| Cell::of(row.segment.swap, Cell::bytes)),
    Column::plain("STATE", "state", Align::Left, "orphan, idle or unknown", |row| {
        Cell::of(row.segment.state, |state| Cell::Word(state.as_str()))
    }),
    Column::plain("IDLE", "idle_seconds", Align::Right, "time since the last attach, detach or change", |row| {
        Cell::of(row.segment.idle_seconds, Cell::Seconds)
    }),
    Column::plain("OUTCOME", "outcome", Align::Left, "destroyed, marked or skipped", |row| Cell::Word(row.outcome)),
    Column { least: Some(30), ..Column::plain("WHY", "why", Align::Left, "reason", |row| Cell::Text(&row.why)) },
    Column::plain("NS", "ns", Align::Right, "IPC namespace", |row| Cell::of(row.segment.ipc_namespace(), Cell::Number)),
    Column::plain("CONTAINER", "container", Align::Left, "container or unit of the namespace", |row| {
        Cell::of(row.segment.container.as_deref(), Cell::Text)
    }),
];

/// The columns of the default table.
pub(crate) const PRUNE_DEFAULT: &[&str] =
    &["ID", "KEY", "OWNER", "SIZE", "RSS", "SWAP", "STATE", "IDLE", "OUTCOME", "WHY"];

/// Writes the fields common to the reports of `rm` and `prune`.
fn write_common<W: Write>(
    object: &mut JsonObject<'_, W>,
    dry_run: bool,
    removed: &[Removed],
    failed: &[Failure],
) -> io::Result<()> {
    let record = column::by_names(super::SEGMENT, super::RECORD);
    object.flag("dry_run", dry_run)?;
    object.list("removed", removed, |out, removed| {
        let mut object = JsonObject::open(out)?;
        object.row(&record, &removed.segment)?;
        object.text("outcome", removed.outcome)?;
        object.close()
    })?;
    object.list("failed", failed, |out, failure| {
        let mut object = JsonObject::open(out)?;
        object.text("target", failure.target.as_str())?;
        object.text("error", failure.error.to_string().as_str())?;
        object.text("errno", failure.error.source.map(|source| source.name()).as_deref())?;
        object.number("code", failure.error.kind.code())?;
        object.text("cause", failure.error.cause.as_deref())?;
        object.list("hints", &failure.error.hints, |out, hint| write_string(out, &hint.to_string()))?;
        object.close()
    })
}

/// Writes the report of `rm` as JSON.
pub(crate) fn write_rm_json(
    out: &mut impl Write,
    dry_run: bool,
    removed: &[Removed],
    failed: &[Failure],
) -> io::Result<()> {
    let mut object = JsonObject::schema(out)?;
    write_common(&mut object, dry_run, removed, failed)?;
    object.end()
}

/// Writes the report of `prune` as JSON.
pub(crate) fn write_prune_json(out: &mut impl Write, dry_run: bool, report: &PruneReport) -> io::Result<()> {
    let mut object = JsonObject::schema(out)?;
    write_common(&mut object, dry_run, &report.removed, &report.failed)?;
    object.list("skipped", &report.skipped, |out, skipped| {
        let mut object = JsonObject::open(out)?;
        object.number("id", skipped.segment.sysv().id.raw())?;
        object.text("reason", skipped.reason.as_str())?;
        object.optional("ns", skipped.segment.ipc_namespace())?;
        object.close()
    })?;
    let freed = report.freed();
    let mut inner = JsonObject::open(object.field("freed")?)?;
    inner.number("segments", freed.segments)?;
    for (key, bytes) in [("size", freed.size), ("rss", freed.rss), ("swap", freed.swap)] {
        write!(inner.field(key)?, "{bytes}")?;
    }
    inner.close()?;
    object.end()
}
