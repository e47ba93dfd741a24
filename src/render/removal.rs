//! What was removed, what was kept and what failed: the reports of `rm` and `prune`.

use std::io::{self, Write};
use std::sync::Arc;

use super::{Align, Cell, Column, Object, column, write_string};
use crate::error::Error;
use crate::model::Segment;

/// A segment that could not be removed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// How it was named.
    pub(crate) target: String,
    /// Why.
    pub(crate) error: Error,
}

/// A segment that was removed, or would be.
#[derive(Clone, Debug)]
pub(crate) struct Removed {
    /// The segment as it was.
    pub(crate) segment: Segment,
    /// What the removal came to: the contract's word.
    pub(crate) outcome: &'static str,
    /// Why it was chosen; empty where the user named it.
    pub(crate) why: String,
}

/// A segment that was kept, and why.
#[derive(Clone, Debug)]
pub(crate) struct Skipped {
    /// The segment as it was.
    pub(crate) segment: Segment,
    /// Why.
    pub(crate) reason: String,
}

/// What a cleaner did.
#[derive(Debug, Default)]
pub(crate) struct Pruning {
    /// What went.
    pub(crate) removed: Vec<Removed>,
    /// What could not be removed.
    pub(crate) failed: Vec<Failure>,
    /// What was kept.
    pub(crate) skipped: Vec<Skipped>,
}

/// What was freed by those segments that are gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Freed {
    /// How many.
    pub(crate) segments: u64,
    /// The sum of their sizes, which need not have taken any memory.
    pub(crate) size: u128,
    /// Bytes of memory.
    pub(crate) rss: u128,
    /// Bytes of swap.
    pub(crate) swap: u128,
}

impl Pruning {
    /// Sums up what was freed; a segment that is only marked frees nothing yet.
    pub(crate) fn freed(&self) -> Freed {
        let gone = self.removed.iter().filter(|removed| removed.outcome == "destroyed");
        gone.fold(Freed::default(), |sum, Removed { segment, .. }| Freed {
            segments: sum.segments + 1,
            size: sum.size + u128::from(segment.size),
            rss: sum.rss + u128::from(segment.rss.unwrap_or(0)),
            swap: sum.swap + u128::from(segment.swap.unwrap_or(0)),
        })
    }

    /// Gives a row for each segment.
    pub(crate) fn rows(&self) -> Vec<PruneRow> {
        let removed = self.removed.iter().map(|removed| (&removed.segment, removed.outcome, removed.why.as_str()));
        let skipped = self.skipped.iter().map(|skipped| (&skipped.segment, "skipped", skipped.reason.as_str()));
        removed
            .chain(skipped)
            .map(|(segment, outcome, why)| PruneRow { segment: segment.clone(), outcome, why: why.into() })
            .collect()
    }
}

/// A row of a cleaner's table.
#[derive(Clone, Debug)]
pub(crate) struct PruneRow {
    /// The segment as it was.
    segment: Segment,
    /// What became of it.
    outcome: &'static str,
    /// Why.
    why: Arc<str>,
}

/// The columns of a cleaner's table; CSV and TSV have all of them, and may only get more behind.
pub(crate) static PRUNE: &[Column<PruneRow>] = &[
    Column::plain("ID", "id", Align::Right, "id", |row| Cell::Number(u64::from(row.segment.id.raw().cast_unsigned()))),
    Column::plain("KEY", "key", Align::Left, "key", |row| Cell::Key(row.segment.key)),
    Column::plain("OWNER", "owner", Align::Left, "owner", |row| {
        Cell::Account(row.segment.owner.as_deref(), row.segment.uid)
    }),
    Column::plain("SIZE", "size", Align::Right, "requested size", |row| Cell::bytes(row.segment.size)),
    Column::plain("RSS", "rss", Align::Right, "resident bytes", |row| Cell::of(row.segment.rss, Cell::bytes)),
    Column::plain("SWAP", "swap", Align::Right, "swapped bytes", |row| Cell::of(row.segment.swap, Cell::bytes)),
    Column::plain("STATE", "state", Align::Left, "orphan, idle or unknown", |row| {
        Cell::of(row.segment.state, |state| Cell::Word(state.word()))
    }),
    Column::plain("IDLE", "idle_seconds", Align::Right, "time since the last attach, detach or change", |row| {
        Cell::of(row.segment.idle_seconds, Cell::Seconds)
    }),
    Column::plain("OUTCOME", "outcome", Align::Left, "destroyed, marked or skipped", |row| Cell::Word(row.outcome)),
    Column { least: Some(30), ..Column::plain("WHY", "why", Align::Left, "reason", |row| Cell::Text(&row.why)) },
    Column::plain("NS", "ns", Align::Right, "IPC namespace", |row| Cell::of(row.segment.ns, Cell::Number)),
    Column::plain("CONTAINER", "container", Align::Left, "container or unit of the namespace", |row| {
        Cell::of(row.segment.container.as_deref(), Cell::Text)
    }),
];

/// What a table shows.
pub(crate) const PRUNE_HERE: &[&str] =
    &["ID", "KEY", "OWNER", "SIZE", "RSS", "SWAP", "STATE", "IDLE", "OUTCOME", "WHY"];

/// Writes the fields that the reports of `rm` and `prune` share.
fn write_common<W: Write>(
    object: &mut Object<'_, W>,
    dry_run: bool,
    removed: &[Removed],
    failed: &[Failure],
) -> io::Result<()> {
    let record = column::by_names(super::SEGMENT, super::RECORD);
    object.flag("dry_run", dry_run)?;
    object.list("removed", removed, |out, removed| {
        let mut object = Object::open(out)?;
        object.row(&record, &removed.segment)?;
        object.text("outcome", removed.outcome)?;
        object.close()
    })?;
    object.list("failed", failed, |out, failure| {
        let mut object = Object::open(out)?;
        object.text("target", failure.target.as_str())?;
        object.text("error", failure.error.to_string().as_str())?;
        object.text("errno", failure.error.source.map(|source| source.name()).as_deref())?;
        object.number("code", failure.error.kind.code())?;
        object.text("cause", failure.error.cause.as_deref())?;
        object.list("hints", &failure.error.hints, |out, hint| write_string(out, hint))?;
        object.close()
    })
}

/// Writes the report of `rm` as JSON.
///
/// # Errors
/// The writer's.
pub(crate) fn write_rm_json(
    out: &mut impl Write,
    dry_run: bool,
    removed: &[Removed],
    failed: &[Failure],
) -> io::Result<()> {
    let mut object = Object::schema(out)?;
    write_common(&mut object, dry_run, removed, failed)?;
    object.end()
}

/// Writes the report of `prune` as JSON.
///
/// # Errors
/// The writer's.
pub(crate) fn write_prune_json(out: &mut impl Write, dry_run: bool, pruning: &Pruning) -> io::Result<()> {
    let mut object = Object::schema(out)?;
    write_common(&mut object, dry_run, &pruning.removed, &pruning.failed)?;
    object.list("skipped", &pruning.skipped, |out, skipped| {
        let mut object = Object::open(out)?;
        object.number("id", skipped.segment.id.raw())?;
        object.text("reason", skipped.reason.as_str())?;
        object.optional("ns", skipped.segment.ns)?;
        object.close()
    })?;
    let freed = pruning.freed();
    let mut inner = Object::open(object.field("freed")?)?;
    inner.number("segments", freed.segments)?;
    for (key, bytes) in [("size", freed.size), ("rss", freed.rss), ("swap", freed.swap)] {
        write!(inner.field(key)?, "{bytes}")?;
    }
    inner.close()?;
    object.end()
}
