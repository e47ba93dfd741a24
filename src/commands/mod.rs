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
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::act::own_link_target;
use crate::error::{Error, Exit, Kind};
use crate::model::{Key, Needs, Segment, ShmId, Size, Target, path_text};
use crate::query::{Resolver, System, last_user_preventing_orphan};
use crate::render::{Format, SEGMENT, TableStyle, TimeStyle, select};
use crate::ui::Ui;

/// What every command works with.
#[derive(Debug)]
pub(crate) struct Context {
    /// The user.
    pub(crate) ui: Ui,
    /// The system.
    pub(crate) system: System,
    /// The form in which to report.
    pub(crate) format: Format,
    /// Whether the user named another IPC namespace for the whole command.
    pub(crate) elsewhere: bool,
    /// What was typed behind the program's name, as a shell takes it.
    pub(crate) line: String,
}

impl Context {
    /// Tells whether to report in JSON.
    pub(crate) fn json(&self) -> bool {
        self.format == Format::Json
    }

    /// Gives what must be known of a segment that the report will show, if it shows one.
    pub(crate) fn record_needs(&self) -> Needs {
        if self.json() { Needs::RECORD } else { Needs::empty() }
    }

    /// Gives the style of a table with headings and sizes for people, as wide as the terminal; `droppable` are the columns
    /// that go first where that is too narrow.
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

    /// Warns before an attachment of ours replaces the record of a last user that alone keeps a segment from
    /// being an orphan.
    pub(crate) fn warn_of_lost_record(&mut self, segment: &Segment) {
        if segment.nattch == 0
            && let Some(pid) = last_user_preventing_orphan(&self.system, segment)
        {
            let command = self.system.command(pid).map(|command| format!(" ({command})")).unwrap_or_default();
            let id = segment.id;
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

/// Finds the segments that were named, each once; gives the failures besides.
fn resolve_each(context: &Context, targets: &[Target], needs: Needs) -> (Vec<Segment>, Vec<Error>) {
    let (mut segments, mut failures) = (Vec::new(), Vec::new());
    let resolver = Resolver::new(&context.system, needs, targets.len());
    let (mut seen, mut found) = (HashSet::new(), HashSet::new());
    for target in targets.iter().filter(|target| seen.insert(target.text.as_str())) {
        match resolver.resolve(target) {
            // Two names of one segment are one target.
            Ok(segment) if !found.insert(segment.id) => {}
            Ok(segment) => segments.push(segment),
            Err(error) => failures.push(error),
        }
    }
    (segments, failures)
}

/// Makes the one error of several targets that all failed, which stands for a report; the others are told at once.
fn nothing_to_report(context: &mut Context, mut failures: Vec<Error>) -> Option<Error> {
    let common = match Exit::of(failures.iter().map(|error| error.kind)) {
        Exit::Failed(kind) => kind,
        _ => return None,
    };
    let last = failures.pop()?;
    failures.iter().for_each(|error| context.ui.error(error));
    Some(Error { kind: common, ..last })
}

/// Adds to the error of a file that is not written the option that names its target, if it is a symbolic link of the
/// caller.
fn with_link_target(error: Error, option: &str, path: &Path) -> Error {
    match own_link_target(path).and_then(|target| typed(&target)) {
        Some(target) => error.hint(format!("name the target of the symbolic link: `{option} {target}`")),
        None => error,
    }
}

/// The name of standard input, where a file is asked for.
const STANDARD_INPUT: &str = "-";

/// The bytes that are read of a file at most: with half a kilobyte a segment, enough for two million of them.
const MOST_READ: u64 = 1 << 30;

/// Reads a file that `accept` has accepted, or standard input; returns what that is called, and what it holds.
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
    source.take(MOST_READ).read_to_end(&mut text).map_err(|error| failed(error, "read"))?;
    if text.len() as u64 == MOST_READ {
        return Err(Error::new(Kind::Failed, format!("cannot read {name}: a listing must be smaller than 1 GiB"))
            .target(&*name));
    }
    Ok((name, text))
}

/// Quotes a word for a shell, if it has to be.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,+@%".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// Gives a path as it can be typed; `None` if it cannot.
pub(crate) fn typed(path: &Path) -> Option<String> {
    let text = path.to_str().filter(|text| !text.chars().any(char::is_control))?;
    // What begins with - would be an option.
    Some(if text.starts_with('-') { quoted(&format!("./{text}")) } else { quoted(text) })
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

/// Gives the columns of the record that JSON has.
fn record_columns() -> Vec<&'static crate::render::Column<Segment>> {
    // Every name of the record exists, as a test of it shows.
    select(SEGMENT, &[], &crate::render::RECORD.join(",")).unwrap_or_default()
}

/// Names a segment in a status message: its id, its key if it has one, and its size.
fn describe(segment: &Segment) -> String {
    match segment.key {
        Key::PRIVATE => format!("segment {} ({})", segment.id, Size(segment.size)),
        key => format!("segment {} (key {key}, {})", segment.id, Size(segment.size)),
    }
}

/// Adds to an error of telling about a new segment what becomes of that.
fn taken_back(error: Error, id: ShmId) -> Error {
    error.hint(format!("segment {id} was removed again, because its id could not be printed"))
}

/// Makes the error of options that do not go together in a way that the parser cannot see.
fn usage(message: impl Into<String>) -> Error {
    Error::new(Kind::Usage, message)
}
