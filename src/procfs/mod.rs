//! Parsers of /proc. Its root is a parameter, so that tests can use a directory of their own.

mod limits;
mod locks;
mod maps;
mod mounts;
mod process;
mod sysctl;
mod sysvipc;

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

pub(crate) use limits::soft_limit;
pub(crate) use locks::locked_files;
pub(crate) use maps::{file_mappings, mapping_at, mapping_count, segment_mappings};
pub(crate) use mounts::{Mount, MountViews, mounted_namespaces, mounts};
pub(crate) use process::{
    IdRange, address_space, children, command, command_line, control_groups, descriptor_access, effective_uid,
    has_exited_leader, holds_files, id_map, inner_pids, is_busy, is_exiting, is_zombie, mount_namespace_of, name,
    namespace_of, open_namespace, other_thread_ids, other_threads, parent, pids, process_of, start_ticks, status_line,
    thread_path, tracer, uids, user_namespace_of,
};
pub(crate) use sysctl::{Pool, forks, huge_page_sizes, meminfo, memory_total, number as sysctl, pool, swapped_out};
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
        /// What is invalid in it.
        part: &'static str,
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
            Self::Format { path, line, part } => {
                write!(formatter, "{}: line {line}: invalid {part}", path.display())
            }
        }
    }
}

/// The lines of a file.
struct Lines<'a, R> {
    path: &'a Path,
    reader: BufReader<R>,
    /// The current line, without its newline.
    line: Vec<u8>,
    /// The number of the current line, counted from 1.
    number: usize,
}

impl<'a, R: Read> Lines<'a, R> {
    fn new(path: &'a Path, file: R) -> Self {
        Self { path, reader: BufReader::new(file), line: Vec::new(), number: 0 }
    }

    /// Reads the next line; `false` at the end of the file.
    fn advance(&mut self) -> Result<bool, ProcError> {
        self.line.clear();
        self.number += 1;
        let read = self.reader.read_until(b'\n', &mut self.line);
        match (read.map_err(|error| ProcError::read(self.path, error))?, self.line.pop()) {
            (0, _) => Ok(false),
            (_, Some(b'\n')) => Ok(true),
            _ => Err(self.invalid("end")),
        }
    }

    /// Returns the error of an invalid part of the current line.
    fn invalid(&self, part: &'static str) -> ProcError {
        ProcError::Format { path: self.path.to_owned(), line: self.number, part }
    }
}

/// Creates a directory with these files, to replace /proc in tests.
#[cfg(test)]
pub(crate) fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (name, contents) in files {
        let path = root.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, contents).unwrap();
    }
    root
}
