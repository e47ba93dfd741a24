//! Parsers of what /proc shows; its root is a parameter, so that tests hand in a directory of their own.

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

/// A file of /proc that could not be read, or not be understood.
#[derive(Debug)]
pub(crate) enum ProcError {
    /// It could not be read.
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A line of it could not be understood.
    Format {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The field, or what is wrong with the line.
        field: &'static str,
    },
}

impl ProcError {
    /// Makes the error of a file that could not be read.
    pub(crate) fn read(path: &Path, error: io::Error) -> Self {
        Self::Read { path: path.to_owned(), error }
    }
}

impl fmt::Display for ProcError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, error } => write!(formatter, "{}: {error}", path.display()),
            Self::Format { path, line, field } => {
                write!(formatter, "{}: line {line}: cannot understand its {field}", path.display())
            }
        }
    }
}
