//! From rows to text: tables for people, JSON, CSV and TSV for programs. It asks the system nothing.

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

pub(crate) use attachers::{ATTACHER_RECORD, ATTACHERS, Attachments, BY_MAPPING, BY_PROCESS, WHERE, write_who_json};
pub(crate) use cell::Cell;
pub(crate) use check::{Reading, unknown_line, worst, write_check, write_check_json};
pub(crate) use column::{Align, Column, ColumnInfo, describe_columns, select};
pub(crate) use difference::{
    DIFFERENCE, DIFFERENCE_HERE, DIFFERENCE_NARROW, DifferenceRow, difference_rows, write_difference_json,
};
pub(crate) use escape::{escape, escape_lines};
pub(crate) use events::Event;
pub(crate) use fields::{segment_fields, write_fields};
pub(crate) use hexdump::{HexDump, write_hex};
pub(crate) use human::{TimeStyle, idle};
pub(crate) use json::{Object, write_error_json, write_string, write_within_string};
pub(crate) use junit::write_junit;
pub(crate) use leaks::{leak_line, write_leaks_json};
pub(crate) use limits::{LIMITS, limit_rows, write_limits_json};
pub(crate) use map::{EXTENTS, write_map, write_map_json};
pub(crate) use metrics::{Sums, metrics_text};
pub(crate) use removal::{Failure, PRUNE, PRUNE_HERE, Pruning, Removed, Skipped, write_prune_json, write_rm_json};
pub(crate) use rows::{Rows, write_rows};
pub(crate) use segments::{
    ALL_NAMESPACES, CREATORS, DEFAULT, NARROW, PIDS, RECORD, RECORD_ALL_NAMESPACES, SEGMENT, TIMES,
};
pub(crate) use sidecar::write_sidecar;
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
