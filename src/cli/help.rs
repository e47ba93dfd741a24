//! The command line with its help, as users and the generated files see it.

use clap::CommandFactory;

use super::Cli;
use crate::commands::{MANUALS, Manual};
use crate::render::SEGMENT;

/// The commands in their groups, as the help shows them.
pub const GROUPS: &[(&str, &[&str])] = &[
    ("Lifecycle", &["create", "attach", "detach", "set", "rm"]),
    ("Inspect", &["list", "stat", "who", "map", "limits"]),
    ("Clean up", &["prune", "leakcheck"]),
    ("Contents", &["write", "read", "dump", "restore"]),
    ("Monitor", &["diff", "check", "metrics"]),
    ("Learn", &["demo", "completions"]),
];

/// Gives the command line as clap knows it, with the groups and the examples in its help.
#[must_use]
pub fn command() -> clap::Command {
    let mut command = Cli::command();
    for manual in MANUALS {
        let examples: Vec<_> = manual.examples.iter().map(|(line, what)| format!("  {line}\n      {what}")).collect();
        let mut after = format!("Examples:\n{}", examples.join("\n"));
        if manual.name == "list" {
            let columns: Vec<_> = columns().map(|(name, help)| format!("  {name:<14} {help}")).collect();
            after = format!("Columns:\n{}\n\n{after}", columns.join("\n"));
        }
        // With its arguments now, which makes them stand before the global ones.
        command = command
            .mut_subcommand(manual.name, |sub| (manual.arguments)(sub.defer(std::convert::identity)).after_help(after));
    }
    let groups: Vec<_> = GROUPS.iter().map(|(heading, names)| group(&command, heading, names)).collect();
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{}\n{{all-args}}{{after-help}}",
        groups.join("\n")
    );
    // The groups stand in the place of the list of subcommands, which clap would print as one.
    let template = template.replace("{all-args}", "Options:\n{options}");
    command.help_template(template).after_help("`shmadm COMMAND --help` tells more of a command.")
}

/// Gives the lines of one group of commands.
fn group(command: &clap::Command, heading: &str, names: &[&str]) -> String {
    let lines: Vec<_> = names
        .iter()
        .filter_map(|name| command.find_subcommand(name))
        .map(|sub| {
            let aliases: Vec<_> = sub.get_visible_aliases().collect();
            let also = if aliases.is_empty() { String::new() } else { format!(" (also {})", aliases.join(", ")) };
            let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
            format!("  {:<12} {about}{also}\n", sub.get_name())
        })
        .collect();
    format!("{heading}:\n{}", lines.concat())
}

/// Gives the columns that `list` can show, each with what it shows.
pub fn columns() -> impl Iterator<Item = (&'static str, &'static str)> {
    SEGMENT.iter().map(|column| (column.name, column.help))
}

/// Gives what the manual pages have besides the options.
#[must_use]
pub fn manuals() -> &'static [&'static Manual] {
    MANUALS
}
