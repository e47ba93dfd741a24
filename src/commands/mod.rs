//! The commands: a file for each, with its arguments and what it does. Here is what they share.

pub(crate) mod all_namespaces;
pub(crate) mod args;
pub(crate) mod attach;
pub(crate) mod check;
pub(crate) mod completions;
mod contents;
pub(crate) mod create;
pub(crate) mod demo;
pub(crate) mod detach;
pub(crate) mod diff;
pub(crate) mod dump;
mod files;
pub(crate) mod filters;
pub(crate) mod identify;
pub(crate) mod leakcheck;
pub(crate) mod limits;
pub(crate) mod list;
pub(crate) mod map;
mod memory;
pub(crate) mod metrics;
mod new_segment;
mod objects;
pub(crate) mod prune;
pub(crate) mod read;
pub(crate) mod restore;
pub(crate) mod rm;
pub(crate) mod set;
pub(crate) mod stat;
pub(crate) mod top;
pub(crate) mod trace;
pub(crate) mod usage;
pub(crate) mod who;
pub(crate) mod write;

use std::collections::HashSet;
use std::ffi::OsString;

use serde::Serialize;

use crate::contents::Progress;
use crate::error::{Error, Exit, Kind, grouped};
use crate::explain::{self, find};
use crate::model::{Ident, Key, Needs, Object, Size, Target};
use crate::process::WaitOutcome;
use crate::query::{System, rmid_forced};
use crate::render::{Column, Failure, Format, TableStyle, TimeStyle, write_report, write_rows};
use crate::ui::Ui;

/// What every command works with.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) ui: Ui,
    pub(crate) system: System,
    pub(crate) format: Format,
    /// Whether `--ns` was given.
    pub(crate) has_ns: bool,
    /// The arguments after the program name.
    pub(crate) arguments: Vec<OsString>,
}

impl Context {
    pub(crate) fn json(&self) -> bool {
        self.format == Format::Json
    }

    pub(crate) fn report(&mut self, report: &impl Serialize) -> Result<(), Error> {
        self.ui.write(|out| write_report(out, report))
    }

    /// Returns the fields that the JSON report of an object needs; none without JSON.
    pub(crate) fn record_needs(&self) -> Needs {
        if self.json() { Needs::RECORD | Needs::CONTENTS } else { Needs::empty() }
    }

    /// Returns the default table style, as wide as the terminal; `droppable` are the columns to omit first on a narrow
    /// one.
    pub(crate) fn table<'a>(&self, droppable: &'a [&'a str]) -> TableStyle<'a> {
        TableStyle {
            headings: true,
            bytes: false,
            time: TimeStyle::default(),
            now: self.system.now(),
            width: self.ui.width(),
            terminal: self.ui.is_terminal(),
            color: self.ui.color(),
            ellipsis: self.ui.ellipsis(),
            droppable,
            optional: &[],
        }
    }

    /// Prints rows in the chosen format; `name` is their key in JSON.
    fn print_rows<R>(
        &mut self,
        name: &str,
        columns: &[&'static Column<R>],
        rows: Vec<R>,
        style: &TableStyle<'_>,
    ) -> Result<(), Error> {
        let format = self.format;
        self.ui.write(|out| write_rows(out, format, &(), name, columns, rows, style))
    }

    /// Shows the progress of `work`, which copies `total` bytes.
    fn with_progress<T>(&self, message: &'static str, total: u64, work: impl FnOnce(Progress<'_>) -> T) -> T {
        let mut line = self.ui.progress(message, Some(total));
        work(&mut |bytes| line.advance(bytes))
    }

    /// Prints failures, merging those that differ only in their segment, and returns the exit.
    fn print_failures(&mut self, failed: &[(String, Error)]) -> Exit {
        grouped(failed.iter().map(|(_, error)| error)).iter().for_each(|error| self.ui.error(error));
        Exit::of(failed.iter().map(|(_, error)| error.kind))
    }

    /// Returns failures for the report.
    fn failure_records(&self, failed: &[(String, Error)]) -> Vec<Failure> {
        let failure = |(target, error): &(String, Error)| {
            Failure::new(target.clone(), self.ui.with_complete_hints(error.clone()))
        };
        failed.iter().map(failure).collect()
    }
}

pub(crate) fn parsed<A: clap::FromArgMatches>(matches: &clap::ArgMatches) -> Result<A, Error> {
    A::from_arg_matches(matches).map_err(|error| usage_error(error.to_string()))
}

/// Targets as the user named them, with their objects and failures.
#[derive(Default)]
struct Resolved {
    found: Vec<(String, Object)>,
    failed: Vec<(String, Error)>,
}

impl Resolved {
    fn into_objects(self) -> (Vec<Object>, Vec<(String, Error)>) {
        (self.found.into_iter().map(|(_, object)| object).collect(), self.failed)
    }
}

/// Returns whether all targets are POSIX objects, whose rows have other columns. Both kinds are a usage error in CSV
/// and TSV.
fn are_objects(format: Format, targets: &[Target]) -> Result<bool, Error> {
    let segments = targets.iter().filter(|target| target.name.is_segment()).count();
    match format {
        Format::Csv | Format::Tsv if segments > 0 && segments < targets.len() => {
            Err(usage_error("csv and tsv show segments or POSIX objects, not both"))
        }
        _ => Ok(segments == 0 && !targets.is_empty()),
    }
}

/// Resolves targets; two names of one object are one target.
fn resolve_all(context: &Context, targets: &[Target], needs: Needs) -> Resolved {
    let mut resolved = Resolved::default();
    let (mut names, mut idents) = (HashSet::new(), HashSet::new());
    let targets: Vec<&Target> = targets.iter().filter(|target| names.insert(&target.text)).collect();
    for (target, found) in targets.iter().zip(explain::resolve_all(&context.system, &targets, needs)) {
        match found {
            Ok(object) if !idents.insert(object.unique_ident()) => {}
            Ok(object) => resolved.found.push((target.text.clone(), object)),
            Err(error) => resolved.failed.push((target.text.clone(), error)),
        }
    }
    resolved
}

/// If nothing was found, fails with the error that covers all failures. If they differ, a JSON report lists them; in
/// other formats, all but the last are printed, and the last is returned with the kind that they have in common.
fn check_any_found(context: &mut Context, any: bool, failed: &[(String, Error)]) -> Result<(), Error> {
    match Exit::of(failed.iter().map(|(_, error)| error.kind)) {
        Exit::Failed(kind) if !any => {
            let mut groups = grouped(failed.iter().map(|(_, error)| error));
            if context.json() && groups.len() > 1 {
                return Ok(());
            }
            let last = groups.pop();
            groups.iter().for_each(|error| context.ui.error(error));
            last.map_or(Ok(()), |last| Err(Error { kind, ..last }))
        }
        _ => Ok(()),
    }
}

/// Returns the exit after a wait that Ctrl-C and SIGTERM end normally.
fn exit_after(outcome: WaitOutcome) -> Exit {
    match outcome {
        WaitOutcome::Signal(signal) => Exit::Signal(signal),
        _ => Exit::Done,
    }
}

/// Reads the record of a segment that was just created, opened or changed.
fn look_up_again(context: &Context, ident: impl Into<Ident>, needs: Needs) -> Result<Object, Error> {
    let ident = ident.into();
    let removed = || match (&ident, rmid_forced(&context.system)) {
        (Ident::Id(_), None | Some(true)) => format!(
            "{ident} no longer exists: another process removed it, or its last detach destroyed it \
             (kernel.shm_rmid_forced)"
        ),
        _ => format!("{ident} was removed by another process"),
    };
    find(&context.system, ident.clone(), needs)?
        .ok_or_else(|| Error::new(Kind::NotFound, removed()).target(ident.argument()))
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
    (1, "Failure, several failures with different codes, or a range that exceeds the segment or object."),
    (2, "Usage error; nothing was done."),
    (3, "The segment, object or holder was not found."),
    (4, "Permission denied."),
    (
        5,
        "Refused by a safety check: the segment or object is in use, its program keeps it, a confirmation is \
         missing, raw bytes would go to a terminal, a file would be overwritten, another user's segment would be \
         changed, or reading would destroy the segment (kernel.shm_rmid_forced).",
    ),
    (6, "The segment or object already exists."),
];

/// Describes an object for a status message: id, key if it has one, and size.
fn describe(object: &Object) -> String {
    let key = object.key().map(Key::prefix).unwrap_or_default();
    format!("{} ({key}{})", object.ident(), Size(object.size))
}

/// Returns a usage error that clap cannot detect.
fn usage_error(message: impl Into<String>) -> Error {
    Error::new(Kind::Usage, message)
}
