//! The report of `diff`.

use serde::Serialize;

use super::files::{NAME_WIDTH, file_name, posix};
use super::segments::field;
use super::{Cell, Column};
use crate::model::{Change, Changed, Difference, Object, Size};

#[derive(Debug)]
pub(crate) struct DifferenceRow {
    /// `created`, `removed` or `changed`.
    change: &'static str,
    /// Its latest known record.
    object: Object,
    /// The changed attributes, such as `mode 0600 -> 0640`.
    details: Vec<String>,
}

impl AsRef<Object> for DifferenceRow {
    fn as_ref(&self) -> &Object {
        &self.object
    }
}

const WHAT: Column<DifferenceRow> =
    Column::left("WHAT", |row: &DifferenceRow| Cell::Texts(row.details.iter().map(String::as_str).collect()))
        .shortened_to(20);

/// The columns of `diff`. CSV and TSV print those before STATE, which is only in the table.
pub(crate) static DIFFERENCE: &[Column<DifferenceRow>] = &[
    Column::left("CHANGE", |row| Cell::Word(row.change)),
    Column::right("ID", field::id),
    Column::left("KEY", field::key),
    Column::account("OWNER", field::owner),
    Column::left("MODE", field::mode),
    Column::right("SIZE", field::size),
    Column::right("NATTCH", field::nattch),
    Column::right("CPID", field::cpid),
    WHAT,
    Column::right("NS", field::namespace),
    Column::left("STATE", field::state),
];

/// The columns of the default table if all segments are in one namespace.
pub(crate) const DIFFERENCE_DEFAULT: &[&str] =
    &["CHANGE", "ID", "KEY", "OWNER", "MODE", "SIZE", "NATTCH", "STATE", "WHAT"];

/// The columns of the default table for several namespaces.
pub(crate) const DIFFERENCE_ALL_NS: &[&str] =
    &["CHANGE", "ID", "KEY", "OWNER", "MODE", "SIZE", "NATTCH", "CPID", "STATE", "WHAT", "NS"];

/// The columns of `diff` for POSIX objects.
pub(crate) static FILE_DIFFERENCE: &[Column<DifferenceRow>] = &[
    Column::left("CHANGE", |row| Cell::Word(row.change)),
    Column::left("NAME", |row: &DifferenceRow| file_name(&row.object)).name_shortened_to(NAME_WIDTH),
    Column::left("OBJECT", |row| Cell::of(row.object.file(), Cell::File)),
    Column::account("OWNER", field::owner),
    Column::left("MODE", field::mode),
    Column::right("SIZE", field::size),
    Column::left("STATE", field::state),
    WHAT,
];

/// The report of `diff`.
#[derive(Debug, Serialize)]
pub(crate) struct DifferenceReport<'a> {
    /// Of segments.
    #[serde(flatten)]
    pub(crate) segments: &'a Difference,
    /// Of POSIX objects; `None` if one of the listings has none.
    pub(crate) objects: Option<&'a Difference>,
}

/// Columns that the default table omits, in this order, if the terminal is too narrow.
pub(crate) const DIFFERENCE_DROP_ORDER: &[&str] = &["CPID", "MODE", "NATTCH", "STATE", "SIZE", "OWNER", "NS"];

/// Returns one row for each object: created, removed, then changed.
pub(crate) fn difference_rows(difference: Difference) -> Vec<DifferenceRow> {
    let row = |change| move |object| DifferenceRow { change, object, details: Vec::new() };
    let created = difference.created.into_iter().map(row("created"));
    let removed = difference.removed.into_iter().map(row("removed"));
    let changed = difference.changed.into_iter().map(|changed| {
        let details = details(&changed);
        DifferenceRow { change: "changed", object: changed.after, details }
    });
    created.chain(removed).chain(changed).collect()
}

/// Describes each changed attribute, with the old and the new value if it has values.
fn details(changed: &Changed) -> Vec<String> {
    let Changed { before, after, changes } = changed;
    let detail = |change: &Change| {
        let values: fn(&Object) -> String = match change {
            Change::Attached | Change::Detached => |object| field::nattch(object).to_string(),
            Change::Owner => |object| object.owner.as_deref().map_or_else(|| object.uid.to_string(), str::to_owned),
            Change::Group => |object| object.group.as_deref().map_or_else(|| object.gid.to_string(), str::to_owned),
            Change::Mode => |object| object.mode.to_string(),
            Change::Key => |object| field::key(object).to_string(),
            Change::Size => |object| Size(object.size).to_string(),
            Change::Name => |object| file_name(object).to_string(),
            Change::Links => |object| posix(object, |posix| Cell::Number(posix.stat.links)).to_string(),
            Change::Marked | Change::Unmarked | Change::Locked | Change::Unlocked => return change.as_str().to_owned(),
        };
        format!("{} {} -> {}", change.as_str(), values(before), values(after))
    };
    changes.iter().map(detail).collect()
}
