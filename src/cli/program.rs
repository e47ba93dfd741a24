//! The command line as clap knows it: the program, its global options and its commands.

use std::ffi::OsString;
use std::fmt::Write;
use std::iter;
use std::path::PathBuf;

use clap::{ArgMatches, Args, FromArgMatches};

use super::table::{COMMANDS, Command, find, groups};
use crate::commands::args::word;
use crate::error::ExitCodes;
use crate::render::{FILE, Format, SEGMENT};
use crate::ui::Color;

const EXIT_CODES: &str = "Exit codes: 0 success, 1 failure, 2 usage error,
3 not found, 4 permission denied,
5 refused by a safety check, 6 already exists";

// They are not `global` in clap's sense: if an option is given both before and after the command, clap keeps only one
// value, and conflicts go unnoticed. It also clones each global argument for each command, which takes longer than the
// rest of parsing.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Global options")]
pub(super) struct GlobalArgs {
    /// Print JSON (short for --format json)
    #[arg(long, overrides_with = "json")]
    json: bool,

    /// Output format; csv and tsv only for commands that print rows
    #[arg(long, value_name = "FORMAT", value_parser = word(Format::ALL.map(|format| (format.as_str(), format))))]
    pub(super) format: Vec<Format>,

    /// Run in an IPC namespace, given by a pid, a file or a number
    #[arg(long, value_name = "PID|PATH|ipc:[N]|N")]
    pub(super) ns: Option<OsString>,

    /// Directory of POSIX objects [default: /dev/shm]
    #[arg(long, value_name = "PATH")]
    pub(super) dir: Option<PathBuf>,

    /// When to use color [default: auto]
    #[arg(long, value_name = "WHEN", value_parser = word(Color::ALL))]
    pub(super) color: Option<Color>,

    /// Suppress status messages
    #[arg(short, long)]
    pub(super) quiet: bool,
}

impl GlobalArgs {
    /// Merges the options before and after the words of a command; `format` then includes that of `--json`.
    pub(super) fn collect(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut all = Self::default();
        for level in iter::successors(Some(matches), |level| level.subcommand().map(|(_, inner)| inner)) {
            let Self { json, format, ns, dir, color, quiet } = Self::from_arg_matches(level)?;
            all.format.extend(json.then_some(Format::Json).into_iter().chain(format));
            all.ns = ns.or(all.ns);
            all.dir = dir.or(all.dir);
            all.color = color.or(all.color);
            all.quiet |= quiet;
        }
        Ok(all)
    }

    pub(super) fn prints_json(&self) -> bool {
        self.format.contains(&Format::Json)
    }
}

/// Returns the whole command line. clap adds the arguments of a command when it needs them.
#[must_use]
pub fn program() -> clap::Command {
    let groups: String = groups().map(help_group).collect();
    with_globals(clap::Command::new("shmadm"))
        // Not the name under which the program was executed, which can contain anything.
        .bin_name("shmadm")
        .version(env!("CARGO_PKG_VERSION"))
        .about("See, explain and clean up System V and POSIX shared memory")
        .help_template(format!(
            "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{groups}Options:\n{{options}}{{after-help}}"
        ))
        .after_help(format!(
            "{EXIT_CODES}\n(diff, check, leakcheck and trace have their own)\n\n\
             Run `shmadm help COMMAND` for the options and examples of a command."
        ))
        .subcommands(COMMANDS.iter().map(|command| {
            clap::Command::new(command.name)
                .about(command.manual.summary)
                .visible_aliases(command.alias)
                .defer(with_arguments)
        }))
}

/// Returns the lines of a group in the help, which replace clap's single list of commands.
fn help_group((heading, commands): (&str, &[Command])) -> String {
    let mut lines = format!("{heading}:\n");
    for command in commands {
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "  {:<12} {}", command.name, command.summary());
    }
    lines + "\n"
}

/// Adds the arguments and the rest of the help to a command.
fn with_arguments(command: clap::Command) -> clap::Command {
    let Some(Command { manual, arguments, prints_json, exit_codes, .. }) = find(command.get_name()) else {
        return command;
    };
    let examples: String = manual.examples.iter().map(|(line, what)| format!("\n  {line}\n      {what}")).collect();
    let command = arguments(command).about(manual.summary).mut_subcommands(with_globals);
    // `ansi` does not search the text for control sequences.
    let more = command.get_after_help().map(|more| format!("{}\n\n", more.ansi())).unwrap_or_default();
    let codes = match exit_codes {
        ExitCodes::Standard => format!("\n\n{EXIT_CODES}"),
        ExitCodes::Diff => "\n\nExit codes: 0 same, 1 different, 2 failure".to_owned(),
        // Their help has its own section.
        ExitCodes::Check | ExitCodes::Wrapper => String::new(),
    };
    let after_help = format!("{more}Examples:{examples}{codes}");
    let command = with_globals(command)
        // As a text of its own and not as `{after-help}`, whose tables and examples clap would break.
        .help_template(format!("{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{{all-args}}\n\n{after_help}"))
        .after_help(after_help);
    if *prints_json { command } else { command.mut_args(without_json) }
}

/// Hides the formats that a command refuses.
fn without_json(argument: clap::Arg) -> clap::Arg {
    let is_format = ["json", "format"].contains(&argument.get_id().as_str());
    if is_format { argument.hide(true) } else { argument }
}

fn with_globals(command: clap::Command) -> clap::Command {
    let about = command.get_about().cloned().unwrap_or_default();
    GlobalArgs::augment_args(command).about(about)
}

/// Returns the columns that `list` can show, each with its description: those of segments, and those of POSIX objects.
pub fn columns() -> [impl Iterator<Item = (&'static str, &'static str)>; 2] {
    [SEGMENT, FILE].map(|columns| columns.iter().map(|column| (column.name, column.help)))
}
