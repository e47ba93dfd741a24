//! From the command line to a command, and from its result to an exit.

mod before;
mod help;
mod roles;

use std::borrow::Cow;
use std::ffi::OsString;

use before::{color_of, command_word, forms, wants_json};
use clap::error::{ContextKind, ErrorKind};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::commands::{
    Context, MANUALS, attach, check, completions, create, demo, detach, diff, dump, leakcheck, limits, list, map,
    metrics, prune, quoted, read, restore, rm, set, stat, who, write,
};
use crate::error::{Error, Exit, ExitCodes, Kind};
use crate::process::{enter_namespace, interrupted_by, stdout_is_closed};
use crate::query::System;
use crate::render::{Format, escape, unknown_line};
use crate::ui::clap_text::Rendered;
use crate::ui::{Color, Ui};

pub use help::{GROUPS, columns, command, manuals};

/// Other names of commands.
const ALIASES: &[(&str, &str)] = &[("ls", "list"), ("attach-and-write", "write")];

/// See, explain and clean up System V shared memory
#[derive(Parser, Debug)]
#[command(name = "shmadm", version, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,

    #[command(subcommand)]
    command: Option<Command>,
}

/// Options that every command takes.
#[derive(clap::Args, Debug)]
struct GlobalArgs {
    /// Report in JSON (short for --format json)
    #[arg(long, global = true, help_heading = "Global options")]
    json: bool,

    /// Report in this form; csv and tsv where there are rows
    #[arg(long, global = true, value_enum, value_name = "FORMAT", help_heading = "Global options")]
    format: Option<FormatArg>,

    /// Do the whole command in this IPC namespace: that of a process, of a file, or the one with this number
    #[arg(long, global = true, value_name = "PID|PATH|ipc:[N]", help_heading = "Global options")]
    ns: Option<OsString>,

    /// When to colour
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        default_value = "auto",
        help_heading = "Global options"
    )]
    color: ColorArg,

    /// No status messages; errors and warnings stay
    #[arg(short, long, global = true, help_heading = "Global options")]
    quiet: bool,
}

/// The words for forms of output.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum FormatArg {
    /// For people
    Table,
    /// For programs
    Json,
    /// Comma-separated values
    Csv,
    /// Tab-separated values
    Tsv,
}

/// The words for when to colour.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum ColorArg {
    /// On a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl From<ColorArg> for Color {
    fn from(color: ColorArg) -> Self {
        match color {
            ColorArg::Auto => Self::Auto,
            ColorArg::Always => Self::Always,
            ColorArg::Never => Self::Never,
        }
    }
}

/// The commands. Only the one that is called gets its arguments built.
#[derive(Subcommand, Debug)]
#[command(defer = true)]
enum Command {
    Create(create::CreateArgs),
    Attach(attach::AttachArgs),
    #[command(visible_alias = ALIASES[1].0)]
    Write(write::WriteArgs),
    Read(read::ReadArgs),
    Dump(dump::DumpArgs),
    Restore(restore::RestoreArgs),
    Stat(stat::StatArgs),
    Set(set::SetArgs),
    Detach(detach::DetachArgs),
    Rm(rm::RmArgs),
    #[command(visible_alias = ALIASES[0].0)]
    List(list::ListArgs),
    Who(who::WhoArgs),
    Map(map::MapArgs),
    Prune(prune::PruneArgs),
    Leakcheck(leakcheck::LeakcheckArgs),
    Limits(limits::LimitsArgs),
    Diff(diff::DiffArgs),
    Check(check::CheckArgs),
    Metrics(metrics::MetricsArgs),
    Demo(demo::DemoArgs),
    Completions(completions::CompletionsArgs),
}

impl Command {
    /// Tells whether the command is about every IPC namespace.
    fn is_everywhere(&self) -> bool {
        match self {
            Self::List(args) => args.all_ns,
            Self::Who(args) => args.all_ns,
            Self::Prune(args) => args.all_ns,
            Self::Diff(args) => args.all_ns,
            Self::Metrics(args) => args.all_ns,
            _ => false,
        }
    }

    /// Tells whether the command prints rows, which CSV and TSV can hold.
    fn prints_rows(&self) -> bool {
        matches!(
            self,
            Self::List(_)
                | Self::Stat(_)
                | Self::Limits(_)
                | Self::Who(_)
                | Self::Map(_)
                | Self::Prune(_)
                | Self::Diff(_)
        )
    }
}

/// Runs the program.
pub(crate) fn run(arguments: Vec<OsString>) -> Exit {
    if let Some(exit) = arguments.first().and_then(|name| roles::run_internal_role(name, &arguments[1..])) {
        return exit;
    }
    // What is known before anything is parsed: a usage error has the form and the code that were asked for as well.
    let codes = ExitCodes::of(&command_word(&arguments));
    codes.exit(work(&arguments, codes))
}

/// Parses the command line and does what it says.
fn work(arguments: &[OsString], codes: ExitCodes) -> Exit {
    let wants_json = wants_json(arguments);
    let parsed = match parse(arguments) {
        Ok(parsed) => parsed,
        Err(error) => return report_clap(&error, arguments, wants_json, codes),
    };
    let Cli { global, command } = parsed;
    let format = match format(&global, command.as_ref(), &forms(arguments)) {
        Ok(format) => format,
        Err(error) => return report(ui(global.quiet, global.color.into()), error, wants_json, codes),
    };
    // Before there is any thread: a user namespace can be entered by a process with one alone.
    let everywhere = command.as_ref().is_some_and(Command::is_everywhere);
    let system = match global.ns.as_deref() {
        Some(_) if everywhere => Err(Error::new(Kind::Usage, "--ns and --all-ns exclude each other")),
        Some(namespace) => enter_namespace(namespace).map(|ids| System::new().within(ids)),
        None => Ok(System::new()),
    };
    let system = match system {
        Ok(system) => system,
        Err(error) => return report(ui(global.quiet, global.color.into()), error, format == Format::Json, codes),
    };
    let place = global.ns.as_ref().map(|namespace| quoted(&namespace.to_string_lossy()));
    let words: Vec<_> = arguments.iter().skip(1).map(|word| quoted(&word.to_string_lossy())).collect();
    let line = words.join(" ");
    let ui = ui(global.quiet, global.color.into()).within(place).called(&line);
    let mut context = Context { ui, system, format, elsewhere: global.ns.is_some(), line };
    let result = match &command {
        Some(command) => dispatch(command, &mut context),
        None => print_help(&mut context),
    };
    match result.and_then(|exit| context.ui.flush().map(|()| exit)) {
        Ok(exit) => exit,
        Err(error) => {
            let json = context.json();
            report(context.ui, error, json, codes)
        }
    }
}

/// Opens the streams for the user, who may interrupt us.
fn ui(quiet: bool, color: Color) -> Ui {
    Ui::new(quiet, color, interrupted_by, stdout_is_closed())
}

/// Runs a command.
fn dispatch(command: &Command, context: &mut Context) -> Result<Exit, Error> {
    match command {
        Command::Create(args) => create::run(args, context),
        Command::Attach(args) => attach::run(args, context),
        Command::Write(args) => write::run(args, context),
        Command::Read(args) => read::run(args, context),
        Command::Dump(args) => dump::run(args, context),
        Command::Restore(args) => restore::run(args, context),
        Command::Stat(args) => stat::run(args, context),
        Command::Set(args) => set::run(args, context),
        Command::Detach(args) => detach::run(args, context),
        Command::Rm(args) => rm::run(args, context),
        Command::List(args) => list::run(args, context),
        Command::Who(args) => who::run(args, context),
        Command::Map(args) => map::run(args, context),
        Command::Prune(args) => prune::run(args, context),
        Command::Leakcheck(args) => leakcheck::run(args, context),
        Command::Limits(args) => limits::run(args, context),
        Command::Diff(args) => diff::run(args, context),
        Command::Check(args) => check::run(args, context),
        Command::Metrics(args) => metrics::run(args, context),
        Command::Demo(args) => demo::run(args, context),
        Command::Completions(args) => completions::run(args, context, &mut self::command()),
    }
}

/// Prints the help that stands for no command at all.
fn print_help(context: &mut Context) -> Result<Exit, Error> {
    let rendered = self::command().render_help();
    let rendered = Rendered { plain: rendered.to_string(), ansi: rendered.ansi().to_string(), is_error: false };
    context.ui.clap(&rendered)?;
    Ok(Exit::Done)
}

/// Parses the command line.
fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let words = write::with_readable_numbers(arguments);
    if let Some(parsed) = parse_alone(&words) {
        return Ok(parsed);
    }
    // Without the help's texts, which most runs have no use for.
    let matches = Cli::command().try_get_matches_from(words)?;
    Cli::from_arg_matches(&matches)
}

/// Parses the command line as if there were no command but the one that it names; `None` if there is anything wrong.
///
/// The library gives each command there is a copy of the global options, which takes longer than all the rest of parsing.
fn parse_alone(words: &[OsString]) -> Option<Cli> {
    let word = command_word(words);
    let (name, alias) = match ALIASES.iter().find(|(alias, _)| *alias == word) {
        Some((alias, name)) => (*name, Some(*alias)),
        None => (word.as_str(), None),
    };
    let manual = MANUALS.iter().find(|manual| manual.name == name)?;
    let called = (manual.arguments)(clap::Command::new(manual.name)).visible_alias(alias);
    let program = GlobalArgs::augment_args(clap::Command::new("shmadm")).disable_help_subcommand(true);
    let matches = program.subcommand(called).try_get_matches_from(words).ok()?;
    Cli::from_arg_matches(&matches).ok()
}

/// Decides on the form of output.
fn format(global: &GlobalArgs, command: Option<&Command>, forms: &[String]) -> Result<Format, Error> {
    let usage = |message: &str| Error::new(Kind::Usage, message);
    if let Some(first) = forms.first()
        && let Some(other) = forms.iter().find(|form| *form != first)
    {
        return Err(usage(&format!(
            "--format {first} and --format {other} exclude each other; --json is the same as json"
        )));
    }
    let format = match global.format {
        Some(FormatArg::Json) => Format::Json,
        _ if global.json => Format::Json,
        None | Some(FormatArg::Table) => Format::Table,
        Some(FormatArg::Csv) => Format::Csv,
        Some(FormatArg::Tsv) => Format::Tsv,
    };
    if matches!(format, Format::Csv | Format::Tsv) && !command.is_some_and(Command::prints_rows) {
        return Err(usage(
            "csv and tsv are for commands that print rows: list, stat, who, map, prune, limits and diff",
        )
        .hint("--json reports in JSON, whatever the command"));
    }
    Ok(format)
}

/// Reports an error, and gives the exit that it means.
fn report(mut ui: Ui, error: Error, json: bool, codes: ExitCodes) -> Exit {
    if let Kind::Interrupted(signal) = error.kind {
        // Whoever sent it knows; what was printed so far is still handed on.
        let _ = ui.flush();
        return Exit::Signal(signal);
    }
    ui.error(&error);
    // If standard output takes no more, the error has at least been told on standard error.
    if json {
        let _ = ui.error_json(&error).and_then(|()| ui.flush());
    } else if codes == ExitCodes::Check {
        let _ = ui.print(&unknown_line(&error)).and_then(|()| ui.flush());
    }
    Exit::Failed(error.kind)
}

/// Prints what clap has to say: help, the version, or a usage error.
fn report_clap(error: &clap::Error, arguments: &[OsString], json: bool, codes: ExitCodes) -> Exit {
    let color = color_of(arguments);
    let mut ui = ui(false, color);
    let asks_help = |word: &OsString| word == "-h" || word == "--help" || word == "-V" || word == "--version";
    let is_help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let writes = |word: &OsString| word == "write" || word == "attach-and-write";
    if is_help && arguments.iter().any(writes) && !arguments.iter().skip(1).any(asks_help) {
        // clap takes the text -hello for -h and four letters more.
        let is_cluster = |word: &str| word.strip_prefix('-').is_some_and(|rest| !rest.starts_with('-'));
        let mut words = arguments.iter().skip(1).map(|word| word.to_string_lossy());
        let word = words.find(|word| is_cluster(word) && word.contains(['h', 'V'])).unwrap_or_default();
        let usage = Error::new(Kind::Usage, format!("unexpected argument '{word}' found"))
            .hint(format!("a text that begins with - comes behind --: `shmadm … -- {word}`"));
        return report(ui, usage, json, codes);
    }
    // Parsed without the help's texts the first time, which most runs have no use for; and with arguments that cannot
    // forge lines where these are what is wrong.
    let harmless = || arguments.iter().map(|word| escape(&word.to_string_lossy()).into_owned());
    let mut full = command().try_get_matches_from(harmless()).err().filter(|full| full.kind() == error.kind());
    if let Some(full) = full.as_mut().filter(|_| !arguments.iter().any(writes)) {
        // That -1 could be given behind -- is no help where it is no segment there either.
        full.remove(ContextKind::Suggested);
    }
    let generic = clap::Error::new(error.kind());
    let hostile = || arguments.iter().any(|word| matches!(escape(&word.to_string_lossy()), Cow::Owned(_)));
    let error = if full.is_none() && hostile() { &generic } else { error };
    let error = full.as_ref().unwrap_or(error);
    let rendered = error.render();
    let rendered =
        Rendered { plain: rendered.to_string(), ansi: rendered.ansi().to_string(), is_error: error.use_stderr() };
    if let Err(error) = ui.clap(&rendered).and_then(|()| ui.flush()) {
        return report(ui, error, json, codes);
    }
    if !rendered.is_error {
        return Exit::Done;
    }
    // What is wrong stands before the first empty line, at times on several.
    let lines: Vec<_> = rendered.plain.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
    let message = lines.join(" ");
    let usage = Error::new(Kind::Usage, message.strip_prefix("error: ").unwrap_or(&message));
    if json {
        let _ = ui.error_json(&usage).and_then(|()| ui.flush());
    } else if codes == ExitCodes::Check {
        let _ = ui.print(&unknown_line(&usage)).and_then(|()| ui.flush());
    }
    Exit::Failed(Kind::Usage)
}
