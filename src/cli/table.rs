//! The table of commands.
//!
//! The grouped help, manual pages, completions, accepted formats and exit codes of usage errors are derived from it. A
//! new command is a file in `commands`, its `mod` there, and a line here.

use clap::{ArgMatches, Args};

use crate::commands::{self, Context, EXIT_STATUS, Manual, parsed};
use crate::error::{Error, Exit, ExitCodes};

/// Defines a command: its group, its name, its arguments, and what its `run` takes after the context.
macro_rules! command {
    ($group:literal, $name:literal, $module:ident::$args:ident $(, $more:expr)?) => {
        Command {
            group: $group,
            name: $name,
            alias: None,
            manual: &commands::$module::MANUAL,
            arguments: commands::$module::$args::augment_args,
            run: |matches, context| commands::$module::run(&parsed(matches)?, context $(, $more)?),
            prints_rows: false,
            prints_json: true,
            exit_codes: ExitCodes::Standard,
            exit_status: EXIT_STATUS,
        }
    };
}

/// All commands, in the order of the help; those of a group are adjacent.
pub const COMMANDS: &[Command] = &[
    command!("Lifecycle", "create", create::CreateArgs),
    command!("Lifecycle", "attach", attach::AttachArgs),
    command!("Lifecycle", "detach", detach::DetachArgs),
    command!("Lifecycle", "set", set::SetArgs),
    command!("Lifecycle", "rm", rm::RmArgs),
    command!("Inspect", "list", list::ListArgs).alias("ls").prints_rows(),
    command!("Inspect", "stat", stat::StatArgs).prints_rows(),
    command!("Inspect", "who", who::WhoArgs).prints_rows(),
    command!("Inspect", "map", map::MapArgs).prints_rows(),
    command!("Inspect", "limits", limits::LimitsArgs).prints_rows(),
    command!("Inspect", "usage", usage::UsageArgs).prints_rows(),
    command!("Inspect", "top", top::TopArgs),
    command!("Inspect", "identify", identify::IdentifyArgs).prints_rows(),
    command!("Inspect", "trace", trace::TraceArgs).exit_codes(ExitCodes::Wrapper, commands::trace::EXIT_STATUS),
    command!("Clean up", "prune", prune::PruneArgs).prints_rows(),
    command!("Clean up", "leakcheck", leakcheck::LeakcheckArgs)
        .without_json()
        .exit_codes(ExitCodes::Wrapper, commands::leakcheck::EXIT_STATUS),
    command!("Contents", "write", write::WriteArgs).alias("attach-and-write"),
    command!("Contents", "read", read::ReadArgs),
    command!("Contents", "dump", dump::DumpArgs),
    command!("Contents", "restore", restore::RestoreArgs),
    command!("Monitor", "diff", diff::DiffArgs).prints_rows().exit_codes(ExitCodes::Diff, commands::diff::EXIT_STATUS),
    command!("Monitor", "check", check::CheckArgs).exit_codes(ExitCodes::Check, commands::check::EXIT_STATUS),
    command!("Monitor", "metrics", metrics::MetricsArgs).without_json(),
    command!("Learn", "demo", demo::DemoArgs),
    command!("Learn", "completions", completions::CompletionsArgs, super::program()).without_json(),
];

/// A command.
#[derive(Debug)]
pub struct Command {
    /// The heading of the help under which it is listed.
    pub group: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Another name.
    pub alias: Option<&'static str>,
    /// Its summary and manual.
    pub manual: &'static Manual,
    pub(super) arguments: fn(clap::Command) -> clap::Command,
    /// Runs it with the arguments that clap has parsed.
    pub(super) run: fn(&ArgMatches, &mut Context) -> Result<Exit, Error>,
    /// Whether it prints rows, which CSV and TSV can represent.
    pub(super) prints_rows: bool,
    /// Whether it accepts `--json`.
    pub prints_json: bool,
    pub(super) exit_codes: ExitCodes,
    /// Its exit codes, with their meanings.
    pub exit_status: &'static [(u8, &'static str)],
}

impl Command {
    const fn alias(mut self, alias: &'static str) -> Self {
        self.alias = Some(alias);
        self
    }

    /// Allows the formats CSV and TSV.
    const fn prints_rows(mut self) -> Self {
        self.prints_rows = true;
        self
    }

    const fn without_json(mut self) -> Self {
        self.prints_json = false;
        self
    }

    const fn exit_codes(mut self, exit_codes: ExitCodes, meanings: &'static [(u8, &'static str)]) -> Self {
        self.exit_codes = exit_codes;
        self.exit_status = meanings;
        self
    }

    /// Returns the command's line in the grouped help, without its name.
    #[must_use]
    pub fn summary(&self) -> String {
        let alias = self.alias.map(|alias| format!(" (also {alias})")).unwrap_or_default();
        format!("{}{alias}", self.manual.summary)
    }
}

/// Returns the groups of commands, each with its heading.
pub fn groups() -> impl Iterator<Item = (&'static str, &'static [Command])> {
    COMMANDS.chunk_by(|one, next| one.group == next.group).map(|commands| (commands[0].group, commands))
}

pub(super) fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name || command.alias == Some(name))
}
