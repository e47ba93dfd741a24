//! Completion: the candidates for a word that is being typed.
//!
//! The scripts in completions/ run `shmadm __complete WORD…` with the words up to the cursor. Each line of the answer
//! is a candidate, a tab and its description. Two special candidates leave the completion to the shell: `:files` (a
//! file name; the prefix follows the tab) and `:command` (another program's command line; the index of its first word
//! follows the tab). clap_complete determines which argument is completed; its value is a marker that contains the
//! value name, which this module replaces with values of the running system. An error produces no candidates.

use std::collections::{BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::Path;

use clap::{Arg, ArgMatches, ValueHint};
use clap_complete::ArgValueCompleter;
use clap_complete::engine::{CompletionCandidate, complete};

use super::program::{GlobalArgs, program};
use super::table::find;
use super::ui;
use crate::error::{Exit, quoted};
use crate::model::{Measure, Needs, Object, ObjectKind, Size, State};
use crate::process::enterable_namespaces;
use crate::query::{
    CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_IPC_OWNER, CAP_SYS_ADMIN, Capability, DEV_SHM, Namespace, System, capability,
    inventory, is_owner_or_creator, mode_shift, posix_objects, retain_held,
};
use crate::render::{BOTH, By, Column, FILE, SEGMENT, escape, usage_columns};
use crate::ui::Color;

/// The first argument of the scripts' calls.
pub(super) const ROLE: &str = "__complete";

/// The character before and after the value name in a marker.
const MARK: char = '\0';

/// A value and its description.
type Candidate = (String, String);

pub(super) fn run(words: &[OsString]) -> Exit {
    let mut ui = ui(true, Color::Never);
    let print = |out: &mut crate::ui::Out| {
        for (value, description) in candidates(words).unwrap_or_default() {
            let separator = if description.is_empty() { "" } else { "\t" };
            writeln!(out, "{}{separator}{}", escape(&value), escape(&description))?;
        }
        Ok(())
    };
    // The shell ignores a failure.
    let _ = ui.write(print).and_then(|()| ui.flush());
    Exit::Done
}

/// Returns the candidates for the last word.
fn candidates(words: &[OsString]) -> Option<Vec<Candidate>> {
    let (word, before) = words.split_last()?;
    // Parsing fails if help is requested.
    let matches = program().ignore_errors(true).try_get_matches_from(before).ok();
    let (command, inner) = matches.as_ref().and_then(ArgMatches::subcommand).unzip();
    let started = inner.and_then(|inner| inner.try_get_many::<OsString>("command").ok()?).map_or(0, Iterator::count);
    let by = inner.and_then(|inner| inner.try_get_one("by").ok()?).copied().unwrap_or(By::Source);
    if started > 0 {
        return Some(vec![(":command".to_owned(), (before.len() - started).to_string())]);
    }
    let globals = matches.as_ref().and_then(|matches| GlobalArgs::collect(matches).ok());
    let system = globals.as_ref().map_or_else(|| Ok(System::new()), super::system).ok()?;
    let has_other_directory = globals.and_then(|globals| globals.dir).is_some_and(|path| path != Path::new(DEV_SHM));
    let live = Live { system, command: command.unwrap_or_default(), by, has_other_directory, before };
    let mut program = program();
    program.build();
    let mut program = with_markers(program);
    let found = complete(&mut program, words.to_vec(), before.len(), None).ok()?;
    // Options only after a dash, or if there is nothing else.
    let (options, others): (Vec<_>, Vec<_>) =
        found.iter().partition(|candidate| candidate.get_value().as_encoded_bytes().starts_with(b"-"));
    let expand = |found: Vec<_>| found.into_iter().flat_map(|candidate| live.expand(candidate)).collect::<Vec<_>>();
    let others = if word.as_encoded_bytes().starts_with(b"-") { Vec::new() } else { expand(others) };
    Some(if others.is_empty() { expand(options) } else { others })
}

/// Marks the arguments whose values clap does not know.
fn with_markers(command: clap::Command) -> clap::Command {
    let mark = |argument: Arg| {
        if !argument.get_possible_values().is_empty() {
            return argument;
        }
        let name = match argument.get_value_hint() {
            // The type of the value is a path.
            ValueHint::AnyPath => "FILE".to_owned(),
            _ => argument.get_value_names().and_then(<[_]>::first).map(ToString::to_string).unwrap_or_default(),
        };
        argument.add(ArgValueCompleter::new(move |word: &OsStr| {
            vec![CompletionCandidate::new(format!("{MARK}{name}{MARK}{}", word.to_string_lossy()))]
        }))
    };
    // For a command with an alias, clap_complete would show only the alphabetically first name.
    let alias = find(command.get_name()).and_then(|command| command.alias);
    let command = command.visible_alias(None).aliases(alias);
    command.mut_args(mark).mut_subcommands(with_markers)
}

/// The source of values: the system, and the words before the one to complete.
struct Live<'a> {
    system: System,
    command: &'a str,
    /// What the rows of `usage` are.
    by: By,
    /// Whether `--dir` names another directory than /dev/shm.
    has_other_directory: bool,
    before: &'a [OsString],
}

impl Live<'_> {
    /// Replaces a marker with the values that match the word in it. What precedes the marker is part of each.
    fn expand(&self, candidate: &CompletionCandidate) -> Vec<Candidate> {
        let value = candidate.get_value().to_string_lossy();
        let mut parts = value.splitn(3, MARK);
        let (Some(prefix), Some(name), Some(word)) = (parts.next(), parts.next(), parts.next()) else {
            let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
            return vec![(value.into_owned(), help)];
        };
        if name == "FILE" || name.starts_with("PID|PATH") && word.contains('/') {
            return vec![(":files".to_owned(), prefix.to_owned())];
        }
        if matches!(name, "SEGMENT" | "KEY") && word.starts_with("ftok:") {
            return vec![(":files".to_owned(), format!("{prefix}ftok:"))];
        }
        if name == "COMMAND" {
            return vec![(":command".to_owned(), self.before.len().to_string())];
        }
        let matching = self.values(name, word).into_iter().filter(|(value, _)| value.starts_with(word));
        matching.map(|(value, description)| (format!("{prefix}{value}"), description)).collect()
    }

    fn values(&self, name: &str, word: &str) -> Vec<Candidate> {
        match name {
            "SEGMENT" => {
                let found = self.usable();
                let names = found.iter().flat_map(|object| names(object, word));
                // The command would refuse a path below /dev/shm.
                names.filter(|(name, _)| !(self.has_other_directory && Path::new(name).starts_with(DEV_SHM))).collect()
            }
            "KEY" => self.keys(word),
            "COLUMN" => self.columns(&[SEGMENT, FILE, BOTH], word),
            "COLUMNS" => {
                let (chosen, last) = word.split_at(word.rfind([',', '+']).map_or(0, |separator| separator + 1));
                let is_new = |name: &str| !chosen.split([',', '+']).any(|other| other.eq_ignore_ascii_case(name));
                let new = self.columns(&[SEGMENT], last).into_iter().filter(|(name, _)| is_new(name));
                new.map(|(name, help)| (format!("{chosen}{name}"), help)).collect()
            }
            "USER" => self.accounts("/etc/passwd", |object| match &object.kind {
                ObjectKind::SysV(sysv) => vec![self.system.user(object.uid), self.system.user(sysv.cuid)],
                ObjectKind::Posix(_) => vec![self.system.user(object.uid)],
            }),
            "GROUP" => self.accounts("/etc/group", |object| vec![self.system.group(object.gid)]),
            "WHAT=RANGE" => Measure::ALL.map(|measure| (format!("{}=", measure.as_str()), String::new())).into(),
            _ if name.starts_with("PID|PATH") => {
                let describe = |pid: i32| {
                    let command = self.system.command(pid).map(|command| format!(" ({command})")).unwrap_or_default();
                    format!("IPC namespace of pid {pid}{command}")
                };
                let candidate = |namespace: Namespace| {
                    let text = namespace.pid.map_or_else(|| "IPC namespace without a process".to_owned(), describe);
                    (namespace.number.to_string(), text)
                };
                enterable_namespaces(&self.system).into_iter().map(candidate).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Returns the segments and the POSIX objects that have a name.
    fn objects(&self) -> Vec<Object> {
        let mut objects = inventory(&self.system, Needs::NAMES | Needs::STATE).unwrap_or_default();
        // Their state would require a scan of all processes.
        let mut files = posix_objects(&self.system, Needs::NAMES).unwrap_or_default();
        files.sort_by_key(Object::ident);
        objects.extend(files.into_iter().filter(|object| !object.is_directory()));
        objects
    }

    /// Returns the objects with which the caller may do what the command does.
    fn usable(&self) -> Vec<Object> {
        let mut objects = self.objects();
        // Whether the caller must own the object; if not, the mode bits that the caller needs.
        let (must_own, access) = match self.command {
            "detach" => {
                retain_held(&self.system, &mut objects);
                return objects;
            }
            "rm" | "set" => (true, 0),
            "read" | "dump" | "map" => (false, 4),
            "attach" if self.before.iter().any(|word| word == "--read-only") => (false, 4),
            "attach" | "write" => (false, 6),
            _ => (false, 0),
        };
        let capabilities = if must_own { [CAP_SYS_ADMIN, CAP_FOWNER] } else { [CAP_IPC_OWNER, CAP_DAC_OVERRIDE] };
        let [may_use_segments, may_use_files] =
            capabilities.map(|number| capability(&self.system, number) == Capability::Effective);
        objects.retain(|object| match (object.is_segment(), must_own) {
            (true, _) if may_use_segments => true,
            (false, _) if may_use_files => true,
            (_, true) => is_owner_or_creator(&self.system, object),
            (_, false) => object.mode.bits() >> mode_shift(&self.system, object) & access == access,
        });
        objects
    }

    /// Returns the columns of the command, by default those of `both`.
    fn columns(&self, both: &[&'static [Column<Object>]], word: &str) -> Vec<Candidate> {
        let lists_only_files = self.before.iter().any(|word| word == "--posix" || word == "--unlinked");
        match self.command {
            "usage" => column_names(&[usage_columns(self.by)], word),
            _ if lists_only_files => column_names(&[FILE], word),
            _ => column_names(both, word),
        }
    }

    /// Returns the keys that an option accepts: those of segments, and keywords.
    fn keys(&self, word: &str) -> Vec<Candidate> {
        let words: &[(&str, &str)] = match self.command {
            "demo" => &[],
            "create" | "restore" => &[("private", "no key"), ("random", "an unused key")],
            _ => &[("any", "a key"), ("private", "no key")],
        };
        let mut keys: Vec<Candidate> =
            words.iter().map(|(name, meaning)| ((*name).to_owned(), (*meaning).to_owned())).collect();
        if self.command != "restore" {
            let key = |object: &Object| Some((key_name(object, word)?, describe(object)));
            keys.extend(self.usable().iter().filter_map(key));
        }
        keys
    }

    /// Returns the names of users or groups: for filters those of objects, otherwise those in a file of the system.
    fn accounts(&self, file: &str, of: impl Fn(&Object) -> Vec<String>) -> Vec<Candidate> {
        let names: BTreeSet<String> = if matches!(self.command, "list" | "who" | "prune") {
            self.objects().iter().flat_map(of).collect()
        } else {
            let accounts = std::fs::read_to_string(file).unwrap_or_default();
            accounts.lines().filter_map(|line| line.split(':').next().map(ToOwned::to_owned)).collect()
        };
        names.into_iter().map(|name| (name, String::new())).collect()
    }
}

/// Returns the id of a segment, or the name of another object, in the form in which the word begins, and the key.
fn names(object: &Object, word: &str) -> impl Iterator<Item = Candidate> {
    let argument = object.ident().argument();
    let name = match &object.kind {
        ObjectKind::SysV(_) => matching([argument.clone(), format!("id:{argument}")], word),
        ObjectKind::Posix(posix) => {
            let file = posix.name.as_ref().map(|name| name.file_name().to_string_lossy()).unwrap_or_default();
            let forms = [argument, format!("/{file}"), format!("/dev/shm/{file}"), format!("obj:{}", posix.file())];
            // bash would insert other names unquoted.
            matching(forms, word).filter(|name| quoted(name) == *name)
        }
    };
    [name, key_name(object, word)].into_iter().flatten().map(|name| (name, describe(object)))
}

/// Returns the key in the form in which the word begins; `None` without a key.
fn key_name(object: &Object, word: &str) -> Option<String> {
    let key = object.key()?;
    let short = format!("{:#x}", key.bits());
    let forms = [key.to_string(), short.clone(), format!("key:{key}"), format!("key:{short}")];
    matching(forms, word).filter(|_| key.bits() != 0)
}

fn matching<const N: usize>(forms: [String; N], word: &str) -> Option<String> {
    forms.into_iter().find(|form| form.starts_with(word))
}

fn describe(object: &Object) -> String {
    let owner = object.owner.as_deref().map_or_else(|| object.uid.to_string(), ToOwned::to_owned);
    let what = match &object.kind {
        ObjectKind::SysV(_) => object.state.map_or("unknown", State::as_str),
        ObjectKind::Posix(posix) => posix.file_type.as_str(),
    };
    format!("{}, {owner}, {what}", Size(object.size))
}

/// Returns the names of the columns, each once; in lower case if the word contains lower-case letters.
fn column_names<R>(registries: &[&'static [Column<R>]], word: &str) -> Vec<Candidate> {
    let lower = word.contains(char::is_lowercase);
    let mut seen = HashSet::new();
    let name = |name: &str| if lower { name.to_lowercase() } else { name.to_owned() };
    let columns = registries.iter().copied().flatten().filter(|column| seen.insert(column.name));
    columns.map(|column| (name(column.name), column.help.to_owned())).collect()
}
