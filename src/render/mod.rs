//! Output formats: tables, JSON, CSV, TSV, OpenMetrics and JUnit. This module never queries the system.
//!
//! Each kind of row has one static list of [`Column`]s. Tables, JSON, CSV, TSV and `--list-columns` all read that list,
//! so they cannot differ. Only the table of both kinds of objects has lists of its own. A column turns a row into a
//! typed [`Cell`]: tables print it in readable form (units, "3m ago"), all other formats print the exact value. Every
//! other JSON report is a type that implements `Serialize`.
//!
//! Text from outside (command lines, user names) is escaped in tables and messages, because control and bidirectional
//! characters could forge or hide lines. Invalid UTF-8 appears as `\xNN`. Only free text, names and lists are ever
//! shortened, and only if the terminal is too narrow; before that, the default table omits columns.

mod attachers;
mod call;
mod cell;
mod check;
mod column;
mod difference;
mod escape;
mod fields;
mod file_users;
mod files;
mod hexdump;
mod human;
mod identities;
mod json;
mod junit;
mod leaks;
mod limits;
mod map;
mod metrics;
mod removal;
mod rows;
mod segments;
mod shorten;
mod table;
mod top;
mod usage;
mod wrap;

pub(crate) use attachers::{
    ATTACHERS, BY_MAPPING, BY_PROCESS, BY_PROCESS_SIZE, NAMESPACE_COLUMNS, UsedSegment, WhoReport,
};
pub(crate) use call::{CallReport, call_line};
pub(crate) use cell::Cell;
pub(crate) use check::{CheckReport, Reading, unknown_line, worst, write_check};
pub(crate) use column::{Align, COLUMNS, Column, by_names, select};
pub(crate) use difference::{
    DIFFERENCE, DIFFERENCE_ALL_NS, DIFFERENCE_DEFAULT, DIFFERENCE_DROP_ORDER, DifferenceReport, DifferenceRow,
    FILE_DIFFERENCE, difference_rows,
};
pub(crate) use escape::{escape, escape_json, escape_lines};
pub(crate) use fields::{fields, write_fields};
pub(crate) use file_users::{FILE_USERS, USERS_BY_PROCESS, USERS_BY_PROCESS_SIZE, USERS_BY_USE, UsedFile};
pub(crate) use files::{BOTH, FILE, FILE_DEFAULT, FILE_DROP_ORDER, FILE_UNLINKED, NAMESPACE, file_record};
pub(crate) use hexdump::{HexDump, write_hex};
pub(crate) use human::{TimeStyle, duration, size as human_size};
pub(crate) use identities::{IDENTITIES, IdentityRow};
pub(crate) use json::{begin_report, write_error_json, write_report, write_within_string};
pub(crate) use junit::write_junit;
pub(crate) use leaks::{leak_line, object_leak_line};
pub(crate) use limits::{LIMITS, LimitsReport, PosixLimits, limit_rows};
pub(crate) use map::{EXTENTS, MapReport, write_map};
pub(crate) use metrics::{NamespaceMetrics, PosixMetrics, metrics_text};
pub(crate) use removal::{
    Failure, Keep, Kept, PRUNE, PRUNE_BOTH, PRUNE_DEFAULT, PRUNE_DROP_ORDER, PruneReport, RemovalReport, Removed,
    Skipped, effect_of_mark,
};
pub(crate) use rows::{Rows, write_rows};
pub(crate) use segments::{CREATORS, DEFAULT, DROP_ORDER, OPTIONAL, PIDS, SEGMENT, TIMES, VIEWS_DROP_ORDER, record};
pub(crate) use table::TableStyle;
pub(crate) use top::{
    LARGEST_DROP_ORDER, LargeObject, TopReport, clip, interval, largest_columns, spark_line, summary,
};
pub(crate) use usage::{
    By, RowKind, USAGE_DROP_ORDER, UsageReport, UsageRow, UsageRows, bar, source_label, top_columns, usage_columns,
};
pub(crate) use wrap::{wrap, wrap_lines};

use crate::model::named;

named! {
    pub(crate) enum Format {
        Table = "table",
        Json = "json",
        /// Comma-separated values, RFC 4180.
        Csv = "csv",
        /// Tab-separated values; tab, newline and backslash are escaped.
        Tsv = "tsv",
    }
}
