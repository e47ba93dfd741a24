//! Column definitions: one registry for each kind of row, used by tables, JSON, CSV, TSV, help and man pages.

use anstyle::AnsiColor;

use super::{Cell, shorten};
use crate::model::Needs;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

#[derive(Clone)]
pub(crate) struct Column<R: 'static> {
    /// Name in capitals, as `-o` takes it.
    pub(crate) name: &'static str,
    /// JSON key; empty if reports name the field themselves.
    pub(crate) json: &'static str,
    pub(crate) align: Align,
    /// Minimum width to which a narrow terminal may shorten it; `None` unless it is free text or a list.
    pub(crate) least: Option<usize>,
    /// Other columns are omitted rather than this one shortened to less.
    pub(super) preferred: usize,
    /// Shortens a text to a width, with an ellipsis for the rest.
    pub(super) shorten: fn(&str, usize, &str) -> String,
    /// Description for `--list-columns` and the man page.
    pub(crate) help: &'static str,
    pub(crate) needs: Needs,
    pub(crate) cell: for<'a> fn(&'a R) -> Cell<'a>,
    /// The color that it gives the row of a table.
    pub(super) color: fn(&R) -> Option<AnsiColor>,
}

impl<R> Column<R> {
    /// Creates a column that is never shortened and requires no expensive fields.
    const fn new(name: &'static str, align: Align, cell: for<'a> fn(&'a R) -> Cell<'a>) -> Self {
        let (shorten, needs, color): (_, _, fn(&R) -> _) = (shorten::text, Needs::empty(), |_| None);
        Self { name, json: "", align, least: None, preferred: 0, shorten, help: "", needs, cell, color }
    }

    pub(super) const fn left(name: &'static str, cell: for<'a> fn(&'a R) -> Cell<'a>) -> Self {
        Self::new(name, Align::Left, cell)
    }

    pub(super) const fn right(name: &'static str, cell: for<'a> fn(&'a R) -> Cell<'a>) -> Self {
        Self::new(name, Align::Right, cell)
    }

    /// Creates a column of users or groups, whose names can have 32 bytes.
    pub(super) const fn account(name: &'static str, cell: for<'a> fn(&'a R) -> Cell<'a>) -> Self {
        Self::left(name, cell).name_shortened_to(10)
    }

    pub(super) const fn described(mut self, json: &'static str, help: &'static str) -> Self {
        (self.json, self.help) = (json, help);
        self
    }

    pub(super) const fn needs(mut self, needs: Needs) -> Self {
        self.needs = needs;
        self
    }

    pub(super) const fn preferred_to_others(mut self, width: usize) -> Self {
        self.preferred = width;
        self
    }

    pub(super) const fn colored(mut self, color: fn(&R) -> Option<AnsiColor>) -> Self {
        self.color = color;
        self
    }

    pub(super) const fn list_shortened_to(mut self, least: usize) -> Self {
        self.shorten = shorten::list;
        self.shortened_to(least)
    }

    pub(super) const fn name_shortened_to(mut self, least: usize) -> Self {
        self.shorten = shorten::name;
        self.shortened_to(least)
    }

    pub(super) const fn reason_shortened_to(mut self, least: usize) -> Self {
        self.shorten = shorten::reason;
        self.shortened_to(least)
    }

    pub(super) const fn sentence_shortened_to(mut self, least: usize) -> Self {
        self.shorten = shorten::sentence;
        self.shortened_to(least)
    }

    pub(super) const fn shortened_to(mut self, least: usize) -> Self {
        self.least = Some(least);
        self
    }
}

/// A row of `--list-columns`.
pub(crate) struct ColumnRow {
    name: &'static str,
    json: &'static str,
    help: &'static str,
}

impl<R> From<&Column<R>> for ColumnRow {
    fn from(column: &Column<R>) -> Self {
        Self { name: column.name, json: column.json, help: column.help }
    }
}

pub(crate) static COLUMNS: &[Column<ColumnRow>] = &[
    Column::left("COLUMN", |column: &ColumnRow| Cell::Word(column.name)).described("column", ""),
    Column::left("JSON", |column: &ColumnRow| Cell::Word(column.json)).described("json", ""),
    Column::left("DESCRIPTION", |column: &ColumnRow| Cell::Text(column.help))
        .described("description", "")
        .shortened_to(8),
];

/// Selects columns by a list of names such as `ID,KEY`, in any case; `+NAME` adds to `base`.
///
/// A column that is named twice is selected once. An unknown name or an empty list is an error.
pub(crate) fn select<R>(
    registry: &'static [Column<R>],
    base: &[&str],
    list: &str,
) -> Result<Vec<&'static Column<R>>, String> {
    let (mut selected, list) = match list.strip_prefix('+') {
        Some(rest) => (by_names(registry, base), rest),
        None => (Vec::new(), list),
    };
    for name in list.split(',') {
        let name = name.strip_prefix('+').unwrap_or(name);
        let find =
            |field: fn(&Column<R>) -> &str| registry.iter().find(|column| field(column).eq_ignore_ascii_case(name));
        // The JSON key is accepted too.
        let column = find(|column| column.name)
            .or_else(|| find(|column| column.json))
            .filter(|_| !name.is_empty())
            .ok_or_else(|| format!("invalid column {name:?}: --list-columns lists the available ones"))?;
        if !selected.iter().any(|known: &&Column<R>| known.name == column.name) {
            selected.push(column);
        }
    }
    Ok(selected)
}

/// Returns the columns with these names, which must exist.
pub(crate) fn by_names<R>(registry: &'static [Column<R>], names: &[&str]) -> Vec<&'static Column<R>> {
    names.iter().filter_map(|name| registry.iter().find(|column| column.name == *name)).collect()
}
