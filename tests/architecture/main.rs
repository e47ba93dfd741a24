//! Enforces the import table and other rules by walking the tokens of every source file.
//!
//! Tokens and not text, so that comments and strings do not count, while inline paths such as `crate::render::x` and
//! `super::super::x` do. The rules are data; the last tests show that the walk can fail.
#![expect(clippy::unwrap_used, reason = "a walk that cannot read the source fails by panicking")]

mod rules;
mod tokens;
mod walk;

use std::path::Path;

use walk::{Source, violations};

/// The most lines that a file may have.
const MOST_LINES: usize = 400;

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
fn imports_match_the_table() {
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

/// Walks one file of a library that has a few others.
fn walk(file: &str, text: &str) -> Vec<String> {
    let others =
        ["lib.rs", "cli.rs", "commands/mod.rs", "commands/args.rs", "commands/ls.rs", "commands/rm.rs", "sys/mod.rs"];
    let empty = |file: &&str| ((*file).to_owned(), String::new());
    let mut sources: Vec<Source> = others.iter().filter(|other| **other != file).map(empty).collect();
    sources.push((file.to_owned(), text.to_owned()));
    violations(&sources)
}

#[test]
fn forbidden_imports_are_found_in_every_form() {
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
        ("query/state.rs", "use super::users::holders;"),
        ("query/state.rs", "use super::System;"),
        ("query/host/huge.rs", "use super::system::System;"),
        ("query/host/huge.rs", "use crate::query::host::system::System;"),
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
fn allowed_imports_pass() {
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
