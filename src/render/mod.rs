//! Output formats: tables, JSON, CSV, TSV, OpenMetrics and JUnit. This module never queries the system.
//!
//! Each kind of row has one static list of [`Column`]s. Tables, JSON, CSV, TSV and `--list-columns` all read that list,
//! so a new column is one new entry. A column turns a row into a typed [`Cell`]: tables print it in readable form
//! (units, "3m ago"), all other formats print the exact value. JSON is written key by key; no tree of values is built.
//!
//! Text from outside (command lines, user names) is escaped in tables and messages, because control and bidirectional
//! characters could forge or hide lines. Invalid UTF-8 appears as `\xNN`. Only free text is ever shortened, and only if
//! the terminal is too narrow; before that, the default table omits columns.

mod attachers;
mod cell;
mod check;
mod column;
mod delimited;
mod difference;
mod escape;
mod events;
mod fields;
mod hexdump;
mod human;
mod json;
mod junit;
mod leaks;
mod limits;
mod map;
mod metrics;
mod removal;
mod rows;
mod segments;
mod sidecar;
mod table;

pub(crate) use attachers::{
    ATTACHER_RECORD, ATTACHERS, Attachments, BY_MAPPING, BY_PROCESS, NAMESPACE_COLUMNS, write_who_json,
};
pub(crate) use cell::Cell;
pub(crate) use check::{Reading, unknown_line, worst, write_check, write_check_json};
pub(crate) use column::{Align, Column, ColumnInfo, describe_columns, select};
pub(crate) use difference::{
    DIFFERENCE, DIFFERENCE_DEFAULT, DIFFERENCE_DROP_ORDER, DifferenceRow, difference_rows, write_difference_json,
};
pub(crate) use escape::{escape, escape_lines};
pub(crate) use events::Event;
pub(crate) use fields::{segment_fields, write_fields};
pub(crate) use hexdump::{HexDump, write_hex};
pub(crate) use human::{TimeStyle, duration};
pub(crate) use json::{JsonObject, write_error_json, write_string, write_within_string};
pub(crate) use junit::write_junit;
pub(crate) use leaks::{leak_line, write_leaks_json};
pub(crate) use limits::{LIMITS, limit_rows, write_limits_json};
pub(crate) use map::{EXTENTS, write_map, write_map_json};
pub(crate) use metrics::{NamespaceMetrics, metrics_text};
pub(crate) use removal::{
    Failure, PRUNE, PRUNE_DEFAULT, PruneReport, Removed, Skipped, write_prune_json, write_rm_json,
};
pub(crate) use rows::{Rows, write_rows};
pub(crate) use segments::{CREATORS, DEFAULT, DEFAULT_ALL_NS, DROP_ORDER, PIDS, RECORD, RECORD_ALL_NS, SEGMENT, TIMES};
pub(crate) use sidecar::write_sidecar;
pub(crate) use table::TableStyle;

/// Output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Table,
    Json,
    /// Comma-separated values, RFC 4180.
    Csv,
    /// Tab-separated values; tab, newline and backslash are escaped.
    Tsv,
}

impl Format {
    /// All formats.
    pub(crate) const ALL: [Self; 4] = [Self::Table, Self::Json, Self::Csv, Self::Tsv];

    /// Returns the name that users type.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Tsv => "tsv",
        }
    }
}
