//! The columns that rows can have: one registry for tables, JSON, help and man page.

use super::Cell;
use crate::model::Needs;

/// On which side a column's values stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A column of rows of type `R`.
pub(crate) struct Column<R: 'static> {
    /// Its name, in capitals, by which it is chosen.
    pub(crate) name: &'static str,
    /// Its key in JSON.
    pub(crate) json: &'static str,
    /// Where its values stand.
    pub(crate) align: Align,
    /// To how many letters it may be cut where a terminal is too narrow; free text alone may.
    pub(crate) least: Option<usize>,
    /// What it shows, for help.
    pub(crate) help: &'static str,
    /// What must be asked of the system for it.
    pub(crate) needs: Needs,
    /// Its value.
    pub(crate) cell: for<'a> fn(&'a R) -> Cell<'a>,
}

impl<R> Column<R> {
    /// Makes a column that is never cut, and for which the system need not be asked anything more.
    pub(super) const fn plain(
        name: &'static str,
        json: &'static str,
        align: Align,
        help: &'static str,
        cell: for<'a> fn(&'a R) -> Cell<'a>,
    ) -> Self {
        Self { name, json, align, least: None, help, needs: Needs::empty(), cell }
    }
}

/// Chooses columns by a list of names such as `ID,KEY`, in any case; `+NAME` adds to `base`.
///
/// A column that is named twice is chosen once.
///
/// # Errors
/// A name is unknown, or the list is empty.
pub(crate) fn select<R>(
    registry: &'static [Column<R>],
    base: &[&'static str],
    list: &str,
) -> Result<Vec<&'static Column<R>>, String> {
    let (mut chosen, list) = match list.strip_prefix('+') {
        Some(rest) => (by_names(registry, base), rest),
        None => (Vec::new(), list),
    };
    for name in list.split(',') {
        let wanted = name.strip_prefix('+').unwrap_or(name);
        let named =
            |name: fn(&Column<R>) -> &str| registry.iter().find(|column| name(column).eq_ignore_ascii_case(wanted));
        // The name that JSON has is one as well.
        let column = named(|column| column.name)
            .or_else(|| named(|column| column.json))
            .ok_or_else(|| format!("invalid column {wanted:?}: --list-columns lists the available ones"))?;
        if !chosen.iter().any(|known: &&Column<R>| known.name == column.name) {
            chosen.push(column);
        }
    }
    Ok(chosen)
}

/// Gives the columns of names that are known to exist.
pub(crate) fn by_names<R>(registry: &'static [Column<R>], names: &[&'static str]) -> Vec<&'static Column<R>> {
    names.iter().filter_map(|name| registry.iter().find(|column| column.name == *name)).collect()
}

/// A column, as a row of the list of columns.
pub(crate) struct ColumnInfo {
    /// Its name.
    name: &'static str,
    /// Its key in JSON.
    json: &'static str,
    /// What it shows.
    help: &'static str,
}

impl ColumnInfo {
    /// The columns of that list.
    pub(crate) const COLUMNS: &'static [Column<Self>] = &[
        Column {
            name: "COLUMN",
            json: "column",
            align: Align::Left,
            least: None,
            help: "column name",
            needs: Needs::empty(),
            cell: |info| Cell::Word(info.name),
        },
        Column {
            name: "JSON",
            json: "json",
            align: Align::Left,
            least: None,
            help: "JSON key",
            needs: Needs::empty(),
            cell: |info| Cell::Word(info.json),
        },
        Column {
            name: "DESCRIPTION",
            json: "description",
            align: Align::Left,
            least: Some(8),
            help: "description",
            needs: Needs::empty(),
            cell: |info| Cell::Text(info.help),
        },
    ];
}

/// Describes the columns of a registry.
pub(crate) fn describe_columns<R>(registry: &'static [Column<R>]) -> Vec<ColumnInfo> {
    registry.iter().map(|column| ColumnInfo { name: column.name, json: column.json, help: column.help }).collect()
}
