//! From rows to text: tables for people, JSON, CSV and TSV for programs. It asks the system nothing.

mod cell;
mod column;
mod delimited;
mod escape;
mod events;
mod fields;
mod hexdump;
mod human;
mod json;
mod limits;
mod segments;
mod table;

use std::io::{self, Write};

pub(crate) use cell::Cell;
pub(crate) use column::{Align, Column, ColumnInfo, describe_columns, select};
pub(crate) use escape::{escape, escape_lines};
pub(crate) use events::Event;
pub(crate) use fields::{segment_fields, write_fields};
pub(crate) use hexdump::{HexDump, write_hex};
pub(crate) use human::TimeStyle;
pub(crate) use json::{Object, write_error_json, write_string};
pub(crate) use limits::{LIMITS, limit_rows, write_limits_json};
pub(crate) use segments::{CREATORS, DEFAULT, NARROW, PIDS, RECORD, SEGMENT, TIMES};
pub(crate) use table::TableStyle;

/// The forms of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// Comma-separated values, RFC 4180.
    Csv,
    /// Tab-separated values; tab, newline and backslash are escaped.
    Tsv,
}

/// Writes rows in a format; `name` is the key under which JSON has them.
///
/// # Errors
/// The writer's.
pub(crate) fn write_rows<R>(
    out: &mut impl Write,
    format: Format,
    name: &str,
    columns: &[&Column<R>],
    rows: &[R],
    style: &TableStyle<'_>,
) -> io::Result<()> {
    match format {
        Format::Table => table::write(out, columns, rows, style),
        Format::Json => json::write_list(out, name, columns, rows),
        Format::Csv => delimited::write_csv(out, columns, rows, style.headings),
        Format::Tsv => delimited::write_tsv(out, columns, rows, style.headings),
    }
}
