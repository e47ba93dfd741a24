//! The equivalents of what users of ipcs, ipcrm, lsipc, ipcmk and other programs type.
//!
//! The typed words are read as the other program reads them, together with the options of the command that replaces it.
//! Only a command that this program accepts is suggested: what has no equivalent gets no hint.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches};

use super::command_line::split;
use super::program;
use super::table::Command;
use crate::commands::write;
use crate::error::{Hint, shmadm};
use crate::model::Key;
use crate::ui::Part;

/// Names of commands that other programs have.
const SYNONYMS: [(&str, &str); 7] = [
    ("delete", "rm"),
    ("destroy", "rm"),
    ("remove", "rm"),
    ("show", "stat"),
    ("info", "stat"),
    ("cat", "read"),
    ("clean", "prune"),
];

/// The commands that require a target, with the text of the hint that suggests their help.
const WITH_SEGMENT: [(&str, &str); 2] =
    [("rm", "see how segments and objects are removed"), ("read", "see how contents are read")];

/// What an option of another program means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// Selects shared memory or everything, which is the same here.
    Default,
    /// Another command of this program.
    Command(&'static str),
    /// A segment, and the prefix that its value gets here. A plain number is an id, so a key gets `key:`.
    Segment(&'static str),
    /// An option of this program without a value.
    Flag(&'static str),
    /// An option of this program with the same value.
    Option(&'static str),
}

/// An option of another program: its letter, its long name and what it means.
type Foreign = (char, &'static str, Meaning);

const KEY: Meaning = Meaning::Segment("key:");
const PRUNE: Meaning = Meaning::Command("prune");

const SHMEMS: Foreign = ('m', "shmems", Meaning::Default);
const ALL: Foreign = ('a', "all", Meaning::Default);
const ID: Foreign = ('i', "id", Meaning::Segment(""));
const LIMITS: Foreign = ('l', "limits", Meaning::Command("limits"));
const SUMMARY: Foreign = ('u', "summary", Meaning::Command("limits"));
/// Of lsipc.
const POSIX_SHMEMS: Foreign = ('M', "posix-shmems", Meaning::Flag("--posix"));
/// Of ipcrm.
const SHMEM_KEY: Foreign = ('M', "shmem-key", KEY);
const JSON: Foreign = ('J', "json", Meaning::Flag("--json"));
const RAW: Foreign = ('r', "raw", Meaning::Flag("--format=tsv"));

/// Returns the options of the programs that a command replaces. `-M` has a value if `by_key`.
fn foreign_options(command: &str, by_key: bool) -> &'static [Foreign] {
    match command {
        "list" | "stat" if by_key => &[SHMEMS, ID, SHMEM_KEY, JSON, RAW],
        "list" | "stat" | "limits" => &[SHMEMS, ALL, ID, LIMITS, SUMMARY, POSIX_SHMEMS, JSON, RAW],
        // It has --all itself.
        "who" => &[SHMEMS, ID, SHMEM_KEY, LIMITS, SUMMARY, JSON, RAW],
        "attach" | "detach" | "dump" | "map" | "read" | "set" | "write" => &[SHMEMS, ID],
        "prune" => &[SHMEMS, ALL],
        "rm" => &[ID, ('m', "shmem-id", Meaning::Segment("")), SHMEM_KEY, ('a', "all", PRUNE)],
        "create" => &[SHMEMS, ('M', "shmem", Meaning::Option("--size")), ('p', "mode", Meaning::Option("--mode"))],
        _ => &[],
    }
}

/// Returns the hint for what clap rejected.
pub(super) fn hint(error: &clap::Error, called: Option<&Command>, words: &[&str]) -> Option<Hint> {
    if words.iter().any(|word| selects_other_kind(word)) {
        return None;
    }
    let unknown = match error.kind() {
        ErrorKind::InvalidSubcommand => error.get(ContextKind::InvalidSubcommand),
        ErrorKind::UnknownArgument => error.get(ContextKind::InvalidArg),
        ErrorKind::ValueValidation => return with_marked_keys(error, words),
        _ => None,
    };
    let Some(ContextValue::String(unknown)) = unknown else { return None };
    let called = called.map(|command| command.name);
    let synonym = SYNONYMS.iter().find(|(typed, _)| typed == unknown && called.is_none_or(|name| name == "list"));
    let mut rest = words.to_vec();
    let mut drop_first = |is_it: &dyn Fn(&str) -> bool| {
        rest.iter().position(|word| is_it(word)).map(|index| rest.remove(index)).is_some()
    };
    drop_first(&|word| synonym.is_some() && word == unknown);
    let is_called = drop_first(&|word| super::table::find(word).is_some_and(|command| Some(command.name) == called));
    if let (["help"], Some((_, name))) = (rest.as_slice(), synonym) {
        return Some(Hint::new("run this instead", shmadm(format!("help {name}"))));
    }
    // Without a command, `-M SIZE` is that of ipcmk. Otherwise, `-M KEY` is that of ipcrm, and `-M` that of lsipc.
    let has_value =
        |index: usize| rest[index].len() > 2 || rest.get(index + 1).is_some_and(|next| !next.starts_with('-'));
    let is_valued = rest.iter().position(|word| word.starts_with("-M")).is_some_and(has_value);
    let name = match (synonym, called) {
        (Some((_, name)), _) => name,
        (None, Some(name)) if name != "list" || is_called => name,
        _ if is_valued => "create",
        _ => "list",
    };
    let equivalent = translated(name, &rest, foreign_options(name, is_valued), synonym.is_some())?;
    if let Some((name, text)) = WITH_SEGMENT.iter().find(|(name, _)| equivalent == [*name]) {
        return Some(Hint::new(*text, shmadm(format!("help {name}"))));
    }
    instead(&equivalent)
}

/// Returns whether a word has an option that selects message queues or semaphores in ipcs, ipcrm and ipcmk. Here, these
/// letters mean something else, and their values would be segments.
fn selects_other_kind(word: &str) -> bool {
    word.starts_with('-') && !word.starts_with("--") && word.contains(['q', 's', 'Q', 'S'])
}

/// Returns the hint to run a command, if the program accepts it.
fn instead(arguments: &[OsString]) -> Option<Hint> {
    parsed(arguments).ok()?;
    Some(Hint::new("run this instead", shmadm("").args(arguments)))
}

fn parsed(arguments: &[OsString]) -> clap::error::Result<ArgMatches> {
    let line = [&["shmadm".into()], arguments].concat();
    program().try_get_matches_from_mut(write::mark_negative_numbers(&line))
}

/// If clap rejected a negative key as a segment, returns the hint to write all of them with `key:`.
fn with_marked_keys(error: &clap::Error, words: &[&str]) -> Option<Hint> {
    let rejected =
        |error: &clap::Error| match (error.get(ContextKind::InvalidArg), error.get(ContextKind::InvalidValue)) {
            (Some(ContextValue::String(argument)), Some(ContextValue::String(value))) => {
                (argument.contains("SEGMENT") && is_negative_key(value)).then(|| value.clone())
            }
            _ => None,
        };
    let mut words: Vec<OsString> = words.iter().map(OsString::from).collect();
    let mut key = rejected(error)?;
    loop {
        *words.iter_mut().find(|word| **word == *key)? = format!("key:{key}").into();
        match parsed(&words) {
            Ok(_) => return instead(&words),
            Err(error) => key = rejected(&error)?,
        }
    }
}

fn is_negative_key(text: &str) -> bool {
    text.starts_with('-') && Key::parse(text).is_ok()
}

/// Returns the arguments of this program that mean the same as `words` to the program that the command `name` replaces.
fn translated(name: &str, words: &[&str], options: &[Foreign], is_synonym: bool) -> Option<Vec<OsString>> {
    let words: Vec<OsString> = words.iter().map(OsString::from).collect();
    let (mut arguments, mut targets, mut meanings) = (Vec::new(), 0, Vec::new());
    for part in split(&dialect(name, options)?, &words).parts {
        match part {
            Part::Option(long, words) => {
                let Some((.., meaning)) = options.iter().find(|(_, foreign, _)| *foreign == long) else {
                    arguments.extend(words);
                    continue;
                };
                meanings.push(*meaning);
                match (*meaning, value(&words)) {
                    // Anything but a number would name something other than an id.
                    (Meaning::Segment(""), Some(value)) if !value.bytes().all(|byte| byte.is_ascii_digit()) => {
                        return None;
                    }
                    (Meaning::Segment(prefix), Some(value)) => {
                        targets += 1;
                        arguments.push(format!("{prefix}{value}").into());
                    }
                    (Meaning::Option(option), Some(value)) => arguments.extend([option.into(), value.into()]),
                    (Meaning::Option(_), None) => return None,
                    (Meaning::Flag(flag), _) => arguments.push(flag.into()),
                    (Meaning::Default | Meaning::Command(_) | Meaning::Segment(_), _) => {}
                }
            }
            Part::Word(word) if meanings == [PRUNE] && word == "shm" => {}
            // With -M, it could also be a key.
            Part::Word(_) if meanings.contains(&KEY) => return None,
            Part::Word(word) => {
                targets += 1;
                let key = word.to_str().filter(|text| is_negative_key(text)).map(|key| format!("key:{key}").into());
                arguments.push(key.unwrap_or(word));
            }
            Part::Rest(words) => arguments.extend(words),
            Part::Command(_) => return None,
        }
    }
    if meanings.is_empty() && !is_synonym {
        return None;
    }
    let command =
        meanings.iter().find_map(|meaning| if let Meaning::Command(name) = meaning { Some(*name) } else { None });
    let instead = match name {
        _ if command.is_some() => command?,
        "list" if targets > 0 => "stat",
        "stat" if targets == 0 => "list",
        "rm" if targets == 0 => return Some(vec!["rm".into()]),
        name => name,
    };
    Some([OsString::from(instead)].into_iter().chain(arguments).collect())
}

/// Returns the command with the options of the other program, as `split` understands it.
fn dialect(name: &str, options: &[Foreign]) -> Option<clap::Command> {
    let mut program = program();
    program.build();
    let own = program.find_subcommand(name)?.get_arguments().cloned();
    let foreign = options.iter().map(|(short, long, meaning)| {
        let takes_value = matches!(meaning, Meaning::Segment(_) | Meaning::Option(_));
        let action = if takes_value { ArgAction::Append } else { ArgAction::SetTrue };
        Arg::new(*long).short(*short).long(*long).action(action)
    });
    Some(clap::Command::new("").args(own).args(foreign))
}

/// Returns the value in the words of an option.
fn value(words: &[OsString]) -> Option<&str> {
    let [word] = words else { return words.get(1)?.to_str() };
    match word.to_str()?.strip_prefix("--") {
        Some(long) => long.split_once('=').map(|(_, value)| value),
        None => word.to_str()?.get(2..).filter(|value| !value.is_empty()),
    }
}
