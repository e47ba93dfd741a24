//! The commands: a file for each, with its arguments and what it does.

pub(crate) mod all_namespaces;
pub(crate) mod args;
pub(crate) mod attach;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod create;
pub(crate) mod demo;
pub(crate) mod detach;
pub(crate) mod diff;
pub(crate) mod dump;

pub(crate) mod leakcheck;
pub(crate) mod limits;
pub(crate) mod list;
pub(crate) mod map;
pub(crate) mod metrics;
pub(crate) mod prune;
pub(crate) mod read;
pub(crate) mod restore;
pub(crate) mod rm;
pub(crate) mod set;
pub(crate) mod stat;
pub(crate) mod who;
pub(crate) mod write;

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::Serialize;

use crate::act::own_link_target;
use crate::error::{Error, Exit, Kind, quoted};
use crate::explain::Resolver;
use crate::model::{Key, Needs, Object, ShmId, Size, Target, path_text};
use crate::query::{System, last_user_preventing_orphan};
use crate::render::{Format, TableStyle, TimeStyle, write_report};
use crate::ui::Ui;

/// Everything that a command needs.
#[derive(Debug)]
pub(crate) struct Context {
    /// The user.
    pub(crate) ui: Ui,
    /// The system.
    pub(crate) system: System,
    /// Output format.
    pub(crate) format: Format,
    /// Whether --ns was given.
    pub(crate) elsewhere: bool,
    /// The arguments after the program name.
    pub(crate) arguments: Vec<OsString>,
}

impl Context {
    /// Returns whether to report in JSON.
    pub(crate) fn json(&self) -> bool {
        self.format == Format::Json
    }

    /// Prints a report as JSON.
    pub(crate) fn report(&mut self, report: &impl Serialize) -> Result<(), Error> {
        self.ui.write(|out| write_report(out, report))
    }

    /// Returns the fields that the JSON report of a segment needs; none without JSON.
    pub(crate) fn record_needs(&self) -> Needs {
        if self.json() { Needs::RECORD } else { Needs::empty() }
    }

    /// Returns the default table style, as wide as the terminal; `droppable` are the columns to omit first on a narrow
    /// one.
    pub(crate) fn table(&self, droppable: &'static [&'static str]) -> TableStyle<'static> {
        TableStyle {
            headings: true,
            bytes: false,
            time: TimeStyle::default(),
            now: self.system.now(),
            width: self.ui.width(),
            terminal: self.ui.is_terminal(),
            color: self.ui.color(),
            droppable,
        }
    }

    /// Warns that attaching replaces the last user, if only that process keeps the segment from being an orphan.
    pub(crate) fn warn_of_lost_record(&mut self, segment: &Object) {
        if segment.sysv().nattch == 0
            && let Some(pid) = last_user_preventing_orphan(&self.system, segment)
        {
            let command = self.system.command(pid).map(|command| format!(" ({command})")).unwrap_or_default();
            let id = segment.sysv().id;
            self.ui.warning(&format!(
                "attaching segment {id} replaces its last user, pid {pid}{command}, which is still running: \
                 the creator has exited, so the segment will be shown as an orphan"
            ));
        }
    }
}

/// Converts the arguments that clap has parsed.
///
/// # Errors
/// They are not the arguments of this command.
pub(crate) fn parsed<A: clap::FromArgMatches>(matches: &clap::ArgMatches) -> Result<A, Error> {
    A::from_arg_matches(matches).map_err(|error| usage(error.to_string()))
}

/// Resolves targets to distinct segments; returns the failures separately.
fn resolve_each(context: &Context, targets: &[Target], needs: Needs) -> (Vec<Object>, Vec<Error>) {
    let (mut segments, mut failures) = (Vec::new(), Vec::new());
    let resolver = Resolver::new(&context.system, needs, targets.len());
    let (mut seen, mut found) = (HashSet::new(), HashSet::new());
    for target in targets.iter().filter(|target| seen.insert(target.text.as_str())) {
        match resolver.resolve(target) {
            // Two names of one segment are one target.
            Ok(segment) if !found.insert(segment.sysv().id) => {}
            Ok(segment) => segments.push(segment),
            Err(error) => failures.push(error),
        }
    }
    (segments, failures)
}

/// Returns the error to report if all targets failed alike, and prints the others.
fn nothing_to_report(context: &mut Context, mut failures: Vec<Error>) -> Option<Error> {
    let common = match Exit::of(failures.iter().map(|error| error.kind)) {
        Exit::Failed(kind) => kind,
        _ => return None,
    };
    let last = failures.pop()?;
    failures.iter().for_each(|error| context.ui.error(error));
    Some(Error { kind: common, ..last })
}

/// Adds a hint with the target of a symbolic link to the error for a file that was not written, if the link is the
/// caller's.
fn with_link_target(error: Error, option: &str, path: &Path) -> Error {
    match own_link_target(path) {
        Some(target) => {
            let target = path_argument(&target);
            error.advice(format!("name the target of the symbolic link: `{option} {}`", quoted(&target)))
        }
        None => error,
    }
}

/// The FILE that stands for standard input.
const STANDARD_INPUT: &str = "-";

/// Maximum size of a file: at half a kilobyte per segment, enough for two million segments.
const MAX_FILE_SIZE: u64 = 1 << 30;

/// Reads a file that `accept` accepts, or standard input; returns its name and contents.
fn read_whole(path: &Path, accept: impl FnOnce(&File) -> Result<(), Error>) -> Result<(String, Vec<u8>), Error> {
    let is_input = path.as_os_str() == STANDARD_INPUT;
    let name = if is_input { "standard input".to_owned() } else { path_text(path) };
    let failed = |error: io::Error, call| Error::io(format!("cannot read {name}"), &error, call).target(&*name);
    let source: Box<dyn Read> = if is_input {
        Box::new(io::stdin())
    } else {
        let file = File::open(path).map_err(|error| failed(error, "open"))?;
        accept(&file)?;
        Box::new(file)
    };
    let mut text = Vec::new();
    source.take(MAX_FILE_SIZE).read_to_end(&mut text).map_err(|error| failed(error, "read"))?;
    if text.len() as u64 == MAX_FILE_SIZE {
        return Err(Error::new(Kind::Failed, format!("cannot read {name}: a listing must be smaller than 1 GiB"))
            .target(&*name));
    }
    Ok((name, text))
}

/// Returns a path as an argument that runs as printed; `FILE` if it cannot be typed.
pub(crate) fn path_argument(path: &Path) -> OsString {
    match path.to_str().filter(|text| !text.chars().any(char::is_control)) {
        // What begins with - would be an option.
        Some(text) if text.starts_with('-') => format!("./{text}").into(),
        Some(text) => text.into(),
        None => "FILE".into(),
    }
}

/// The texts of a command for its help and manual page.
#[derive(Debug)]
pub struct Manual {
    /// One line for the list of commands.
    pub summary: &'static str,
    /// Command lines, each with what it does.
    pub examples: &'static [(&'static str, &'static str)],
    /// What it does, its defaults and its safety rules; paragraphs are separated by empty lines.
    pub description: &'static str,
    /// The JSON it prints.
    pub json: &'static str,
    /// Details and limitations; paragraphs as in `description`.
    pub notes: &'static str,
}

/// The standard exit codes, with their meanings; frozen.
pub const EXIT_STATUS: &[(u8, &str)] = &[
    (0, "Success."),
    (1, "Failure, several failures with different codes, or a range that exceeds the segment."),
    (2, "Usage error; nothing was done."),
    (3, "Not found: the segment, or a holder to detach."),
    (4, "Permission denied."),
    (
        5,
        "Refused by a safety check: the segment is in use, a confirmation is missing, raw bytes would go to a terminal, \
         a file would be overwritten, another user's segment would be changed, or reading would destroy the segment \
         (kernel.shm_rmid_forced).",
    ),
    (6, "The segment exists already."),
];

/// Describes a segment for a status message: id, key if it has one, and size.
fn describe(segment: &Object) -> String {
    match segment.sysv().key {
        Key::PRIVATE => format!("segment {} ({})", segment.sysv().id, Size(segment.size)),
        key => format!("segment {} (key {key}, {})", segment.sysv().id, Size(segment.size)),
    }
}

/// Adds to the error of a failed report that the new segment was removed again.
fn removed_again(error: Error, id: ShmId) -> Error {
    error.advice(format!("segment {id} was removed again, because its id could not be printed"))
}

/// Returns a usage error that clap cannot detect.
fn usage(message: impl Into<String>) -> Error {
    Error::new(Kind::Usage, message)
}
