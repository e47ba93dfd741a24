//! Manual pages: generated from the command line as the program knows it, committed, and kept true by these tests.
//! `SHMADM_REGENERATE=1 cargo test --locked --test generated` regenerates them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails by panicking")]

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use shmadm::{COMMANDS, Command, EXIT_STATUS};

/// The date on the pages: the date of their last substantial change, not of the build.
const DATE: &str = "2026-11-25";

/// The commands that replace those of the older tools.
const COMPARED: &[(&str, &str)] = &[
    ("ipcs -m", "shmadm list"),
    ("ipcs -m -t", "shmadm list -t"),
    ("ipcs -m -p", "shmadm list -p"),
    ("ipcs -m -c", "shmadm list -c"),
    ("ipcs -m -i ID", "shmadm stat ID"),
    ("ipcs -m -l, ipcs -m -u", "shmadm limits"),
    ("lsipc -m -o COLUMNS", "shmadm list -o COLUMNS"),
    ("lsipc -m --json", "shmadm list --json"),
    ("ipcrm -m ID", "shmadm rm ID"),
    ("ipcrm -M KEY", "shmadm rm key:KEY"),
    ("ipcrm -a shm", "shmadm prune, which removes only unused segments"),
    ("grep -l SYSV /proc/*/maps", "shmadm who ID"),
    ("nsenter --ipc … ipcs -m", "shmadm --ns PID list"),
    ("ipcmk -M SIZE -p MODE", "shmadm create --key random --size SIZE --mode MODE"),
];

/// The names of segments and POSIX objects.
const NAMES: &[(&str, &str)] = &[
    ("65538", "the segment with this id (decimal, no leading zero)"),
    ("0x4d2", "the segment with this key"),
    ("id:65538", "the id, spelled out"),
    ("key:1234", "the key in decimal, hexadecimal (0x) or octal (leading 0)"),
    ("key:-865219304", "the key as a signed number, as in /proc/sysvipc/shm"),
    ("ftok:PATH", "the key that ftok(3) generates from the file, with project number 1"),
    (
        "ftok:PATH:PROJ",
        "the same with project number PROJ, 1 to 255 or one character. PROJ follows the last colon; quote a digit \
         ('5') to use it as a character",
    ),
    ("/NAME", "the POSIX object with this name, as shm_open(3) takes it: the file NAME in /dev/shm"),
    ("sem:/NAME", "the named semaphore with this name, as sem_open(3) takes it"),
    ("obj:MAJ:MIN:INODE", "the POSIX object with this device and inode number, even if it has no name"),
];

/// Returns every generated file with its contents.
fn generated() -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    let mut command = shmadm::program();
    command.build();
    add_pages(&command, None, &mut files);
    files
}

/// Adds the page of a command, and those of its subcommands.
fn add_pages(command: &clap::Command, parent: Option<&str>, files: &mut BTreeMap<PathBuf, String>) {
    let name =
        parent.map_or_else(|| command.get_name().to_owned(), |parent| format!("{parent}-{}", command.get_name()));
    files.insert(Path::new("man").join(format!("{name}.1")), page(command, &name));
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        add_pages(sub, Some(&name), files);
    }
}

/// Writes the page of a command.
fn page(command: &clap::Command, name: &str) -> String {
    let spaced = name.replace('-', " ");
    // clap requires 'static names; a test may leak them.
    let titled: &'static str = name.to_owned().leak();
    let command = command.clone().name(titled).display_name(titled).bin_name(spaced.leak() as &'static str);
    let is_main = name == "shmadm";
    let man = Man::new(command.clone())
        .title(name.to_uppercase())
        .date(DATE)
        .source(format!("shmadm {}", env!("CARGO_PKG_VERSION")))
        .manual("User Commands");
    let mut text = Vec::new();
    man.render_title(&mut text).unwrap();
    // Left adjusted: long words, as JSON has them, cannot be stretched to two even margins.
    text.extend_from_slice(b".ad l\n");
    man.render_name_section(&mut text).unwrap();
    let mut text = String::from_utf8(text).unwrap();
    text.push_str(&synopsis(&command));
    text.push_str(&description(&command, name, is_main));
    let mut roff = Roff::new();
    if is_main {
        for (heading, commands) in shmadm::groups() {
            roff.control("SH", [heading.to_uppercase().as_str()]);
            for command in commands {
                item(&mut roff, &format!("shmadm-{}(1)", command.name), &format!("{}.", command.summary()));
            }
        }
    }
    text.push_str(&roff.to_roff());
    let mut options = Vec::new();
    man.render_options_section(&mut options).unwrap();
    text.push_str(&String::from_utf8(options).unwrap());
    if !is_main && command.get_subcommands().next().is_some() {
        let mut subcommands = Vec::new();
        man.render_subcommands_section(&mut subcommands).unwrap();
        text.push_str(&String::from_utf8(subcommands).unwrap());
    }
    text.push_str(&sections(name, is_main).to_roff());
    tidied(&text)
}

/// Writes how a command is called.
fn synopsis(command: &clap::Command) -> String {
    let usage = command.clone().render_usage().to_string();
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]);
    for line in usage.trim_start_matches("Usage:").lines() {
        roff.text([roman(line.trim())]);
        roff.control("br", []);
    }
    roff.to_roff()
}

/// Writes what a command does.
fn description(command: &clap::Command, name: &str, is_main: bool) -> String {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let mut roff = Roff::new();
    roff.control("SH", ["DESCRIPTION"]);
    match COMMANDS.iter().find(|command| name.strip_prefix("shmadm-") == Some(command.name)) {
        Some(command) => command.manual.description.split("\n\n").for_each(|text| paragraph(&mut roff, text)),
        None => {
            paragraph(&mut roff, &format!("{about}."));
            command
                .get_after_help()
                .filter(|_| !is_main)
                .into_iter()
                .for_each(|more| paragraph(&mut roff, &more.to_string()));
        }
    }
    if is_main {
        paragraph(
            &mut roff,
            "The commands work on the System V shared memory segments of the IPC namespace in which they run, and on the \
             POSIX shared memory objects in /dev/shm. Data goes to standard output; status, warnings, hints and errors \
             go to standard error.",
        );
    }
    roff.to_roff()
}

/// Joins what several generators wrote: one preamble, and no paragraph where a heading has just begun one.
fn tidied(text: &str) -> String {
    const PREAMBLE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";
    let mut lines: Vec<&str> = Vec::new();
    let body = text.replace(PREAMBLE, "").replace(".br\n\n.br\n", ".br\n");
    for line in body.lines() {
        let after_heading = lines.last().is_some_and(|before| before.starts_with(".SH"));
        let before_heading = line.starts_with(".SH") && lines.last() == Some(&".br");
        if before_heading {
            lines.pop();
        }
        let idle_paragraph = after_heading && line == ".PP";
        if !idle_paragraph && !line.is_empty() {
            lines.push(line);
        }
    }
    format!("{PREAMBLE}{}\n", lines.join("\n"))
}

/// Writes the sections of a page except the options.
fn sections(name: &str, is_main: bool) -> Roff {
    let mut roff = Roff::new();
    let name_of_command = name.strip_prefix("shmadm-").unwrap_or_default().split('-').next().unwrap_or_default();
    let command = COMMANDS.iter().find(|command| command.name == name_of_command);
    let manual = command.map(|command| command.manual);
    if is_main {
        roff.control("SH", ["NAMING SEGMENTS AND OBJECTS"]);
        for (form, meaning) in NAMES {
            item(&mut roff, form, meaning);
        }
        paragraph(
            &mut roff,
            "Key 0 is IPC_PRIVATE, which names no segment. SIZE is a whole number of bytes, with K, M, G, \
            T or P for powers of 1024 and KB, MB, … for powers of 1000. DURATION has the units ms, s, m, h, d, w, as in \
            1h30m. MODE is octal.",
        );
    }
    if name == "shmadm-list" {
        roff.control("SH", ["COLUMNS"]);
        for (kind, columns) in ["Segments", "POSIX objects (--posix, --unlinked)"].iter().zip(shmadm::columns()) {
            roff.control("SS", [*kind]);
            columns.for_each(|(column, help)| item(&mut roff, column, help));
        }
    }
    let all: Vec<_> = COMMANDS.iter().filter_map(|command| command.manual.examples.first()).collect();
    roff.control("SH", ["EXAMPLES"]);
    let examples = manual.map_or(all, |manual| manual.examples.iter().collect());
    for (line, what) in examples {
        item(&mut roff, line, &sentence(what));
    }
    roff.control("SH", ["EXIT STATUS"]);
    for (code, meaning) in command.map_or(EXIT_STATUS, |command| command.exit_status) {
        item(&mut roff, &if *code == 128 { "128+N".to_owned() } else { code.to_string() }, meaning);
    }
    if is_main {
        paragraph(
            &mut roff,
            "shmadm-diff(1), shmadm-check(1), shmadm-leakcheck(1) and shmadm-trace(1) use their own exit codes.",
        );
    }
    paragraph(
        &mut roff,
        "A signal that ends the program is re-raised, so the shell sees it. A closed pipe (EPIPE) is not an error.",
    );
    roff.control("SH", ["JSON"]);
    if let Some(manual) = manual {
        paragraph(&mut roff, manual.json);
    }
    let failure = match command.is_none_or(|command| command.prints_json) {
        true => " A command that fails before it has a report prints {\"schema\":1,\"error\":{…}}.",
        false => "",
    };
    let general = "Every top-level object has \"schema\":1, and every field is always present, except where its \
        description says otherwise; unknown values and events that never happened are null. Sizes are bytes, times \
        RFC 3339 in UTC, durations seconds. Fields may be added; existing ones are never renamed, removed or retyped.";
    paragraph(&mut roff, &format!("{general}{failure}"));
    roff.control("SH", ["NOTES"]);
    if let Some(manual) = manual {
        manual.notes.split("\n\n").for_each(|notes| paragraph(&mut roff, notes));
    }
    if is_main {
        paragraph(&mut roff, "Equivalents of ipcs(1), lsipc(1), ipcrm(1) and ipcmk(1) commands:");
        for (before, now) in COMPARED {
            item(&mut roff, before, now);
        }
        paragraph(
            &mut roff,
            "Unlike these, shmadm refuses to remove an attached segment, never confuses ids and keys, has different \
             exit codes for a missing segment and for denied access, and explains the cause of an error.",
        );
    }
    roff.control("SH", ["SEE ALSO"]);
    let also = if is_main {
        "ipcs(1), lsipc(1), ipcrm(1), ipcmk(1), sysvipc(7), shmget(2), shmat(2), shmctl(2)"
    } else {
        "shmadm(1), shmget(2), shmat(2), shmctl(2)"
    };
    paragraph(&mut roff, also);
    roff
}

/// Adds a term with what it means.
fn item(roff: &mut Roff, term: &str, meaning: &str) {
    roff.control("TP", []);
    roff.text([bold(term)]);
    roff.text([roman(meaning)]);
}

/// Adds a paragraph.
fn paragraph(roff: &mut Roff, text: &str) {
    roff.control("PP", []);
    roff.text([roman(text)]);
}

/// Returns the words that follow a command as a sentence.
fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
}

#[test]
fn manual_pages_are_those_of_the_program() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = generated();
    if std::env::var_os("SHMADM_REGENERATE").is_some() {
        for (path, contents) in &files {
            std::fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            std::fs::write(root.join(path), contents).unwrap();
        }
    }
    let how = "`SHMADM_REGENERATE=1 cargo test --locked --test generated` regenerates it";
    for (path, contents) in &files {
        let committed = std::fs::read_to_string(root.join(path)).unwrap_or_default();
        assert!(committed == *contents, "{} is stale: {how}", path.display());
    }
    for entry in std::fs::read_dir(root.join("man")).unwrap() {
        let path = Path::new("man").join(entry.unwrap().file_name());
        assert!(files.contains_key(&path), "{} belongs to no command: remove it", path.display());
    }
}

#[test]
fn every_command_of_the_table_has_examples() {
    let headings: Vec<_> = shmadm::groups().map(|(heading, _)| heading).collect();
    let different: HashSet<_> = headings.iter().collect();
    assert_eq!(different.len(), headings.len(), "the commands of a group are not adjacent: {headings:?}");
    for Command { name, manual, .. } in COMMANDS {
        assert!(!manual.examples.is_empty() && !manual.summary.is_empty(), "{name} has no examples");
    }
}

#[test]
fn every_help_text_is_one_line() {
    let mut program = shmadm::program();
    program.build();
    let nested = program.get_subcommands().flat_map(clap::Command::get_subcommands);
    for command in program.get_subcommands().chain(nested).filter(|command| command.get_name() != "help") {
        for argument in command.get_arguments() {
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            assert!((4..=72).contains(&help.len()), "{} {argument}: {help:?}", command.get_name());
            assert!(help.starts_with(|first: char| first.is_uppercase()) && !help.ends_with('.'), "{help:?}");
        }
    }
}

#[test]
fn the_command_line_is_sound() {
    shmadm::program().debug_assert();
}
