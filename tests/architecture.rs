//! Who may name whom: the import table of the house, held by walking the tokens of every source file.
//!
//! Tokens and not text, so that comments and strings do not count, while inline paths such as `crate::render::x` and
//! `super::super::x` do. The rules are data; the last tests show that the walk can fail.
#![expect(clippy::unwrap_used, reason = "a walk that cannot read the source fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// Each room, and the rooms that it may name beside itself.
const ROOMS: &[(&str, &[&str])] = &[
    ("main", &[]),
    // What the library exports lies in these; everything else it reaches through cli.
    ("lib", &["cli", "commands", "error", "process"]),
    ("cli", &["commands", "error", "process", "query", "render", "ui"]),
    ("commands", &["act", "contents", "error", "model", "process", "query", "render", "ui"]),
    ("act", &["error", "model", "procfs", "query", "sys"]),
    ("contents", &["error", "model", "procfs", "query", "sys"]),
    ("process", &["error", "model", "procfs", "query", "sys"]),
    ("query", &["error", "model", "procfs", "sys"]),
    ("ui", &["error", "render"]),
    ("render", &["error", "model"]),
    ("sys", &["model"]),
    ("procfs", &["model"]),
    ("error", &[]),
    ("model", &[]),
];

/// Crates that are not for everybody, and the rooms that may name them; code for tests alone may name any.
const CRATES: &[(&str, &[&str])] = &[
    ("clap", &["cli", "commands"]),
    ("clap_complete", &["commands"]),
    ("nix", &["act", "process", "query", "sys"]),
    ("prometheus_client", &["render"]),
    ("shmadm", &["main"]),
    ("comfy_table", &["render"]),
    ("terminal_size", &["ui"]),
];

/// Words that stand in one room alone.
const WORDS: &[(&str, &str)] = &[("unsafe", "sys"), ("ExitCode", "main"), ("_exit", "main")];

/// Macros that print behind the back of `ui`.
const PRINTING: &[&str] = &["print", "println", "eprint", "eprintln"];

/// Pairs of neighbours in a path that one room alone may name; `*` stands for any name.
const NEIGHBOURS: &[(&str, &str, &str)] = &[
    ("*", "stdout", "ui"),
    ("*", "stderr", "ui"),
    ("process", "exit", "main"),
    ("process", "abort", "main"),
    ("libc", "exit", "main"),
    ("libc", "abort", "main"),
];

/// Modules of `commands` that are no commands, and that every command may name.
const SHARED_BY_COMMANDS: &[&str] = &["args", "everywhere"];

/// The most lines that a file may have.
const MOST_LINES: usize = 500;

/// A source file: its path below `src`, and its text.
type Source = (String, String);

/// Gives the module that a file is.
fn module_of(file: &str) -> Vec<String> {
    let mut module: Vec<String> = file.trim_end_matches(".rs").split('/').map(ToOwned::to_owned).collect();
    if module.last().is_some_and(|name| name == "mod") {
        module.pop();
    }
    if module == ["lib"] { Vec::new() } else { module }
}

/// Finds what breaks a rule in some files.
fn violations(sources: &[Source]) -> Vec<String> {
    let modules: BTreeSet<Vec<String>> = sources.iter().map(|(file, _)| module_of(file)).collect();
    let mut found = Vec::new();
    for (file, text) in sources {
        let room = file.split('/').next().unwrap_or_default().trim_end_matches(".rs");
        let Some((room, may)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            found.push(format!("{file}: the table knows no room {room}"));
            continue;
        };
        let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut walk = Walk { file, room, may, modules: &modules, found: &mut found };
        walk.tokens(tokens, &module_of(file), false);
    }
    found
}

/// A walk over one file.
struct Walk<'a> {
    /// The file.
    file: &'a str,
    /// Its room.
    room: &'a str,
    /// The rooms that it may name.
    may: &'a [&'a str],
    /// Every module of the library.
    modules: &'a BTreeSet<Vec<String>>,
    /// What was found.
    found: &'a mut Vec<String>,
}

/// Where a path stands.
#[derive(Clone, Copy, Default)]
struct Place {
    /// In code for tests alone.
    test: bool,
    /// In a `use`.
    import: bool,
    /// In a `pub use`.
    public: bool,
}

impl Walk<'_> {
    /// Takes note of what breaks a rule.
    fn report(&mut self, what: &str) {
        self.found.push(format!("{}: {what}", self.file));
    }

    /// Walks some tokens of a module.
    fn tokens(&mut self, tokens: TokenStream, module: &[String], test: bool) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut place = Place { test, ..Place::default() };
        let mut index = 0;
        while index < tokens.len() {
            match &tokens[index] {
                TokenTree::Punct(punct) if punct.as_char() == ';' => place = Place { test, ..Place::default() },
                // `pub(crate)` names nobody, but `pub(in crate::x)` could.
                TokenTree::Group(group) if is_visibility(&tokens, index) && group.stream().into_iter().count() == 1 => {
                }
                TokenTree::Group(group) => {
                    place.test |= is_test_attribute(&tokens, index);
                    let inner = match name_of_module(&tokens, index) {
                        Some(name) => [module, &[name]].concat(),
                        None => module.to_vec(),
                    };
                    self.tokens(group.stream(), &inner, place.test);
                    if group.delimiter() == Delimiter::Brace {
                        place = Place { test, ..Place::default() };
                    }
                }
                TokenTree::Ident(word) if word == "crate" && index > 0 && is_word(&tokens[index - 1], "extern") => {
                    self.report("extern crate gives a crate another name");
                }
                TokenTree::Ident(word) if word == "use" => {
                    place.import = true;
                    place.public = is_public(&tokens, index);
                }
                TokenTree::Ident(_) if starts_path(&tokens, index) => {
                    index = self.path(&tokens, index, &[], module, place);
                    continue;
                }
                _ => {}
            }
            index += 1;
        }
    }

    /// Reads a path, with the branches of a `use`; gives the index behind it.
    fn path(
        &mut self,
        tokens: &[TokenTree],
        start: usize,
        before: &[String],
        module: &[String],
        place: Place,
    ) -> usize {
        let mut path = before.to_vec();
        let mut index = start;
        loop {
            match tokens.get(index) {
                Some(TokenTree::Ident(word)) => {
                    path.push(word.to_string());
                    index += 1;
                }
                Some(TokenTree::Punct(punct)) if punct.as_char() == '*' && !path.is_empty() => {
                    path.push("*".to_owned());
                    index += 1;
                }
                Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                    let branches: Vec<TokenTree> = group.stream().into_iter().collect();
                    for branch in branches.split(|token| is_punct(token, ',')).filter(|branch| !branch.is_empty()) {
                        self.path(branch, 0, &path, module, place);
                    }
                    return index + 1;
                }
                _ => break,
            }
            match tokens.get(index) {
                Some(TokenTree::Punct(punct)) if is_colons(tokens, index) && punct.spacing() == Spacing::Joint => {
                    index += 2;
                }
                _ => break,
            }
        }
        let is_macro = tokens.get(index).is_some_and(|token| is_punct(token, '!'));
        let is_absolute = before.is_empty() && start >= 2 && is_colons(tokens, start - 2);
        self.judge(&path, module, place, is_macro, is_absolute);
        index
    }

    /// Judges a path by all rules.
    fn judge(&mut self, path: &[String], module: &[String], place: Place, is_macro: bool, is_absolute: bool) {
        let shown = path.join("::");
        for (word, home) in WORDS {
            if self.room != *home && path.iter().any(|part| part == word) {
                self.report(&format!("only {home} may have the word {word}: {shown}"));
            }
        }
        if is_macro && self.room != "ui" && path.last().is_some_and(|last| PRINTING.contains(&last.as_str())) {
            self.report(&format!("only ui may print, and this is {shown}!"));
        }
        for (one, other, home) in NEIGHBOURS {
            let counts = path.windows(2).any(|pair| (*one == "*" || pair[0] == *one) && pair[1] == *other);
            if counts && self.room != *home {
                self.report(&format!("only {home} may name {shown}"));
            }
        }
        let whole = path.last().is_some_and(|last| last == "*") && path[..path.len() - 1] == ["std", "io"];
        if whole && self.room != "ui" {
            self.report("std::io::* would bring stdout along");
        }
        let named = path.len() > 1 || place.import;
        let inside = if is_absolute { None } else { self.resolve(path, module) };
        match inside {
            Some(target) if named => self.judge_inside(&shown, path, &target, module, place),
            Some(_) => {}
            None if named && !place.test => {
                let root = path.first().map(String::as_str).unwrap_or_default();
                let homes = CRATES.iter().find(|(name, _)| *name == root).map(|(_, homes)| homes);
                if homes.is_some_and(|homes| !homes.contains(&self.room)) {
                    self.report(&format!("{} may not name the crate {root}: {shown}", self.room));
                }
            }
            None => {}
        }
    }

    /// Judges a path that leads into the library.
    fn judge_inside(&mut self, shown: &str, path: &[String], target: &[String], module: &[String], place: Place) {
        let Some(room) = target.first().filter(|room| *room != "*") else {
            return self.report(&format!("{shown} brings in every room at once"));
        };
        if room == "self" {
            return self.report(&format!("{shown} gives the whole crate another name"));
        }
        let is_room = ROOMS.iter().any(|(name, _)| name == room);
        if is_room && room != self.room && !self.may.contains(&room.as_str()) {
            self.report(&format!("{} may not name {room}: {shown}", self.room));
        }
        let from_afar = path.first().is_some_and(|first| first == "crate") || (is_room && room != self.room);
        let is_front = self.room == "lib" || (module.len() == 1 && self.file.ends_with("/mod.rs"));
        if place.public && from_afar && !is_front {
            self.report(&format!("only a room's own mod.rs may hand on {shown}"));
        }
        let (Some(here), Some(there)) = (module.get(1), target.get(1)) else { return };
        let is_command = |name: &String| self.modules.contains(&vec!["commands".to_owned(), name.clone()]);
        let shared = SHARED_BY_COMMANDS.contains(&there.as_str());
        // A test within mod.rs is a module too, but no command.
        if self.room == "commands" && room == "commands" && is_command(here) && here != there {
            if there == "*" {
                self.report(&format!("{shown} brings in every command"));
            } else if is_command(there) && !shared {
                self.report(&format!("command {here} may not name command {there}: {shown}"));
            }
        }
    }

    /// Finds the module or item of the library that a path names; `None` if it names something else.
    fn resolve(&self, path: &[String], module: &[String]) -> Option<Vec<String>> {
        if self.room == "main" {
            // The binary is a crate of its own.
            return None;
        }
        let first = path.first()?;
        let mut base = module.to_vec();
        let ups = path.iter().take_while(|word| *word == "super").count();
        let rest = match first.as_str() {
            "crate" => {
                base.clear();
                &path[1..]
            }
            "self" => {
                let rest = &path[1..];
                let ups = rest.iter().take_while(|word| *word == "super").count();
                base.truncate(base.len().saturating_sub(ups));
                &rest[ups..]
            }
            "super" => {
                base.truncate(base.len().saturating_sub(ups));
                &path[ups..]
            }
            _ => {
                base.push(first.clone());
                if !self.modules.contains(&base) {
                    return None;
                }
                base.pop();
                path
            }
        };
        base.extend_from_slice(rest);
        // `a::{self}` names a; that of the root is left, for `judge_inside` to find.
        if base.len() > 1 && base.last().is_some_and(|last| last == "self") {
            base.pop();
        }
        if base.is_empty() { Some(vec!["self".to_owned()]) } else { Some(base) }
    }
}

/// Tells whether a token is this character.
fn is_punct(token: &TokenTree, character: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == character)
}

/// Tells whether a token is this word.
fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == word)
}

/// Tells whether `::` stands at an index.
fn is_colons(tokens: &[TokenTree], index: usize) -> bool {
    tokens.get(index).is_some_and(|token| is_punct(token, ':'))
        && tokens.get(index + 1).is_some_and(|token| is_punct(token, ':'))
}

/// Tells whether a path begins at a word, which is neither a field or method nor an item of the type before it.
fn starts_path(tokens: &[TokenTree], index: usize) -> bool {
    let before = |back: usize| index.checked_sub(back).and_then(|place| tokens.get(place));
    let is = |back: usize, character: char| before(back).is_some_and(|token| is_punct(token, character));
    let of_value = is(1, '.') && !is(2, '.');
    let of_type = is(1, ':') && is(2, ':') && is(3, '>');
    !of_value && !of_type
}

/// Tells whether the group at an index is the `(crate)` of `pub(crate)`.
fn is_visibility(tokens: &[TokenTree], index: usize) -> bool {
    index > 0
        && is_word(&tokens[index - 1], "pub")
        && matches!(&tokens[index], TokenTree::Group(group) if group.delimiter() == Delimiter::Parenthesis)
}

/// Tells whether the `use` at an index hands on what it names.
fn is_public(tokens: &[TokenTree], index: usize) -> bool {
    let after_group = index >= 2 && is_visibility(tokens, index - 1);
    after_group || (index >= 1 && is_word(&tokens[index - 1], "pub"))
}

/// Tells whether the group at an index is that of `#[cfg(test)]`.
fn is_test_attribute(tokens: &[TokenTree], index: usize) -> bool {
    let text = tokens[index].to_string().replace(' ', "");
    text == "[cfg(test)]" && index > 0 && is_punct(&tokens[index - 1], '#')
}

/// Gives the name of the inline module whose braces stand at an index.
fn name_of_module(tokens: &[TokenTree], index: usize) -> Option<String> {
    let name = tokens.get(index.checked_sub(1)?)?;
    is_word(tokens.get(index.checked_sub(2)?)?, "mod").then(|| name.to_string())
}

/// Reads every Rust file below a directory of the project.
fn sources(directory: &str) -> Vec<Source> {
    /// Reads the files of one directory and of those within.
    fn read(root: &Path, directory: &Path, sources: &mut Vec<Source>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read(root, &path, sources);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                sources.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let mut sources = Vec::new();
    read(&root, &root, &mut sources);
    sources
}

#[test]
fn the_source_keeps_the_table() {
    let sources = sources("src");
    assert!(sources.iter().any(|(file, _)| file == "lib.rs"), "where is the source?");
    let found = violations(&sources);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_file_is_too_long_to_read() {
    for directory in ["src", "tests", "benches"] {
        for (file, text) in sources(directory) {
            let lines = text.lines().count();
            assert!(lines <= MOST_LINES, "{directory}/{file} has {lines} lines, more than {MOST_LINES}");
        }
    }
}

/// Walks one file in a house that has a few others.
fn walk(file: &str, text: &str) -> Vec<String> {
    let others =
        ["lib.rs", "cli.rs", "commands/mod.rs", "commands/args.rs", "commands/ls.rs", "commands/rm.rs", "sys/mod.rs"];
    let empty = |file: &&str| ((*file).to_owned(), String::new());
    let mut sources: Vec<Source> = others.iter().filter(|other| **other != file).map(empty).collect();
    sources.push((file.to_owned(), text.to_owned()));
    violations(&sources)
}

#[test]
fn the_walk_sees_every_shape_of_a_forbidden_import() {
    for (file, text) in [
        ("query/a.rs", "use crate::render::Cell;"),
        ("query/a.rs", "use crate::{model::Key, render::Cell};"),
        ("query/a.rs", "use crate::{model, ui as u};"),
        ("query/a.rs", "use {crate::render};"),
        ("query/a.rs", "fn f() { crate::render::x(); }"),
        ("query/a.rs", "fn f() -> Vec<crate::render::Cell> { loop {} }"),
        ("query/a.rs", "fn f() { g::<crate::render::Cell>(0..crate::ui::N) }"),
        ("query/a.rs", "fn f() { <crate::render::Cell as Default>::default(); }"),
        ("query/a.rs", "use super::super::render::x;"),
        ("query/a.rs", "use self::super::super::render::x;"),
        ("query/a.rs", "mod inner { fn f() { super::super::super::render::x(); } }"),
        ("query/a.rs", "#[cfg(test)] mod tests { use crate::render::Cell; }"),
        ("query/a.rs", "macro_rules! m { () => { $crate::render::x() } }"),
        ("query/a.rs", "use crate::*;"),
        ("query/a.rs", "use crate as root;"),
        ("query/a.rs", "use crate::{self as root};"),
        ("query/a.rs", "use super::super as root;"),
        ("query/a.rs", "pub(in crate::render) fn f() {}"),
        ("model/a.rs", "use crate::error::Error;"),
        ("sys/a.rs", "use crate::error::Error;"),
        ("render/a.rs", "use crate::query::System;"),
        ("commands/ls.rs", "use crate::sys::stat;"),
        ("commands/ls.rs", "use crate::cli::command;"),
        ("commands/ls.rs", "use super::rm::run;"),
        ("commands/ls.rs", "fn f() { super::rm::run(); }"),
        ("commands/ls.rs", "fn f() { crate::commands::rm::run(); }"),
        ("commands/ls.rs", "use super::{Context, rm};"),
        ("commands/ls.rs", "use super::*;"),
        ("commands/ls/more.rs", "fn f() { super::super::rm::run(); }"),
        ("commands/args.rs", "use super::ls::LsArgs;"),
        ("act/a.rs", "pub(crate) use crate::sys::Place;"),
        ("act/a.rs", "pub use crate::act::Place;"),
        ("act/b/mod.rs", "pub(super) use super::super::sys::Place;"),
        ("ui.rs", "pub(crate) use crate::render::escape;"),
        ("lib.rs", "fn f() { sys::stat(); }"),
        ("hall/mod.rs", ""),
        ("ui.rs", "use clap::Parser;"),
        ("contents/a.rs", "use nix::errno::Errno;"),
        ("render/a.rs", "fn f() { nix::unistd::getuid(); }"),
        ("render/a.rs", "fn f() { ::nix::unistd::getuid(); }"),
        ("render/a.rs", "use nix as unix;"),
        ("render/a.rs", "extern crate nix;"),
        ("query/a.rs", "fn f() { unsafe { g() } }"),
        ("query/a.rs", "#[cfg(test)] mod tests { fn f() { unsafe { g() } } }"),
        ("query/a.rs", "fn f() { std::io::stdout(); }"),
        ("query/a.rs", "use std::io::{self, stderr};"),
        ("query/a.rs", "use std::io as i; fn f() { i::stderr(); }"),
        ("query/a.rs", "use std::io::*;"),
        ("query/a.rs", "fn f() { println!(); }"),
        ("cli.rs", "fn f() { std::process::exit(1) }"),
        ("cli.rs", "use std::process::{ExitCode};"),
        ("cli.rs", "use std::process; fn f() { process::exit(1) }"),
    ] {
        assert!(!walk(file, text).is_empty(), "nothing was found in {file}: {text}");
    }
}

#[test]
fn the_walk_lets_pass_what_is_allowed() {
    for (file, text) in [
        ("main.rs", "use std::process::ExitCode; fn main() { shmadm::run(); std::process::exit(1) }"),
        ("lib.rs", "mod cli; pub use cli::command; pub(crate) fn f() { cli::run(); }"),
        ("cli.rs", "use crate::commands::{Context, ls, rm}; fn f() { self::command(); ls::run(); }"),
        ("commands/mod.rs", "pub(crate) mod ls; const M: &[&M] = &[&ls::MANUAL, &rm::MANUAL];"),
        ("commands/ls.rs", "use super::args::One; use super::{Context, usage}; use crate::act; fn f() { act::x(); }"),
        ("commands/ls/more.rs", "use super::Row; use super::super::args::One; use crate::commands::ls::Other;"),
        ("act/mod.rs", "pub(crate) use crate::sys::{Attachment, Place};"),
        ("query/a.rs", "// crate::render::x\nconst TEXT: &str = \"crate::render::x, unsafe\";"),
        ("query/a.rs", "/// Not crate::render::x.\npub(crate) fn f() { self.render(x.stdout(), y.clap(ui)); }"),
        ("ui.rs", "use std::io; fn f() { io::stdout(); }"),
        ("sys/a.rs", "fn f() { unsafe { nix::libc::getpid() } }"),
        ("render/a.rs", "#[cfg(test)] mod tests { use super::*; use nix::unistd::getuid; }"),
        ("query/a.rs", "use crate::process_name; fn f() { command.stdout(s); }"),
    ] {
        let found = walk(file, text);
        assert!(found.is_empty(), "{file}: {text}: {found:?}");
    }
}
