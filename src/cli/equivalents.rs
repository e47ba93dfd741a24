//! The equivalents of what users of ipcs, ipcrm, lsipc, ipcmk and other programs type.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue};

use super::table::Command;
use crate::error::{Hint, shmadm};

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

pub(super) fn hint(error: &clap::Error, called: Option<&Command>, words: &[&str]) -> Option<Hint> {
    let unknown =
        [ContextKind::InvalidSubcommand, ContextKind::InvalidArg].into_iter().find_map(|kind| error.get(kind));
    let Some(ContextValue::String(unknown)) = unknown else { return None };
    let name = called.map(|command| command.name).filter(|name| *name != "list").unwrap_or_default();
    let (.., instead) = EQUIVALENTS.iter().find(|(command, typed, _)| *command == name && typed == unknown)?;
    let is_name = |word: &str| called.is_some_and(|command| command.is_called(word));
    let rest: Vec<OsString> =
        words.iter().filter(|word| *word != unknown && !is_name(word)).map(OsString::from).collect();
    let only_options = rest.iter().all(|word| word.as_encoded_bytes().starts_with(b"-"));
    match *instead {
        // `stat` and `rm` require a segment.
        "rm" if only_options => Some(Hint::new("see how segments and objects are removed", shmadm("help rm"))),
        "stat" if only_options => Some(Hint::new("run this instead", shmadm("list").args(&rest))),
        instead => Some(Hint::new("run this instead", shmadm(instead).args(&rest))),
    }
}
