//! The equivalents of what users of ipcs, ipcrm, lsipc, ipcmk and other programs type.

use std::ffi::OsString;

use clap::Arg;
use clap::error::{ContextKind, ContextValue};

use super::table::Command;
use crate::error::{Hint, shmadm};
use crate::model::Key;

/// The command, what is typed after it, and what to type instead of both. Without a command, or after `list`, they are the
/// options of ipcs and lsipc, or the names of commands.
const EQUIVALENTS: &[(&str, &str, &str)] = &[
    ("", "delete", "rm"),
    ("", "remove", "rm"),
    ("", "show", "stat"),
    ("", "info", "stat"),
    ("", "-m", "list"),
    ("", "-a", "list"),
    ("", "-i", "stat"),
    ("", "-l", "limits"),
    ("", "-u", "limits"),
    ("", "-M", "create --size"),
    ("rm", "-m", "rm"),
    ("rm", "-a", "prune"),
    ("rm", "--all", "prune"),
    ("rm", "-M", "rm"),
    ("create", "-M", "create --size"),
    ("stat", "-i", "stat"),
];

/// Returns the hint for what clap did not accept; `built` is the command if clap came to its arguments.
pub(super) fn hint(
    error: &clap::Error,
    called: Option<&Command>,
    built: Option<&clap::Command>,
    words: &[&str],
) -> Option<Hint> {
    let unknown =
        [ContextKind::InvalidSubcommand, ContextKind::InvalidArg].into_iter().find_map(|kind| error.get(kind));
    let Some(ContextValue::String(unknown)) = unknown else { return None };
    let keys = built.map(|command| negative_keys(command, words)).unwrap_or_default();
    let with_key = |(index, word): (usize, &&str)| match keys.contains(&index) {
        true => OsString::from(format!("key:{word}")),
        false => OsString::from(word),
    };
    if keys.iter().any(|index| words[*index].starts_with(unknown)) {
        let words: Vec<_> = words.iter().enumerate().map(with_key).collect();
        return Some(Hint::new("run this instead", shmadm("").args(&words)));
    }
    let name = called.map(|command| command.name).filter(|name| *name != "list").unwrap_or_default();
    let (.., instead) = EQUIVALENTS.iter().find(|(command, typed, _)| *command == name && typed == unknown)?;
    let is_name = |word: &str| called.is_some_and(|command| command.is_called(word));
    let rest = words.iter().enumerate().filter(|(_, word)| *word != unknown && !is_name(word));
    let rest: Vec<OsString> = rest.map(with_key).collect();
    let only_options = rest.iter().all(|word| word.as_encoded_bytes().starts_with(b"-"));
    match *instead {
        // `stat` and `rm` require a segment.
        "rm" if only_options => Some(Hint::new("see how segments and objects are removed", shmadm("help rm"))),
        "stat" if only_options => Some(Hint::new("run this instead", shmadm("list").args(&rest))),
        instead => Some(Hint::new("run this instead", shmadm(instead).args(&rest))),
    }
}

/// Returns where negative keys are, which clap takes for options.
fn negative_keys(command: &clap::Command, words: &[&str]) -> Vec<usize> {
    let is_segment = |argument: &Arg| argument.get_value_names().is_some_and(|names| names == ["SEGMENT"]);
    if !command.get_positionals().any(is_segment) {
        return Vec::new();
    }
    let is_option = |argument: &Arg, word: &str| match word.strip_prefix("--") {
        Some(name) => argument.get_long() == Some(name),
        None => argument.get_short().is_some_and(|short| word.starts_with('-') && word.ends_with(short)),
    };
    let takes_value = |word: &str| {
        command.get_opts().any(|argument| argument.get_action().takes_values() && is_option(argument, word))
    };
    let is_key = |index: &usize| {
        let is_value = index.checked_sub(1).is_some_and(|before| takes_value(words[before]));
        words[*index].starts_with('-') && Key::parse(words[*index]).is_ok() && !is_value
    };
    // What follows the segment can be a negative number.
    let most = if command.get_positionals().count() > 1 { 1 } else { usize::MAX };
    (0..words.len()).filter(is_key).take(most).collect()
}
