//! Parsers of /proc. Its root is a parameter, so that tests can use a directory of their own.

mod maps;
mod process;
mod row;
mod sysctl;
mod sysvipc;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub(crate) use maps::segment_mappings;
pub(crate) use process::{
    IdRange, children, command, command_line, control_groups, effective_uid, id_map, name, namespace_of,
    other_thread_ids, other_threads, parent, pids, process_of, start_ticks, status_line, thread_path,
};
pub(crate) use sysctl::{
    Pool, default_huge_page, forks, huge_page_sizes, memory_total, number as sysctl, pool, swap_total, swapped_out,
};
pub(crate) use sysvipc::{each_segment, find_segment};

/// A file of /proc that cannot be read or parsed.
#[derive(Debug)]
pub(crate) enum ProcError {
    Read {
        path: PathBuf,
        error: io::Error,
    },
    Format {
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The field, or what is wrong with the line.
        field: &'static str,
    },
}

impl ProcError {
    pub(crate) fn read(path: &Path, error: io::Error) -> Self {
        Self::Read { path: path.to_owned(), error }
    }
}

impl fmt::Display for ProcError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, error } => write!(formatter, "{}: {error}", path.display()),
            Self::Format { path, line, field } => {
                write!(formatter, "{}: line {line}: invalid {field}", path.display())
            }
        }
    }
}
