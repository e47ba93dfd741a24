//! From the command line to a command, and from its result to an exit.

mod command_line;
mod complete;
mod equivalents;
mod program;
mod roles;
mod table;
mod usage;

use std::ffi::OsString;
use std::path::Path;

use clap::ArgMatches;

use crate::commands::{Context, write};
use crate::error::{Error, Exit, ExitCodes, Kind, again};
use crate::model::path_text;
use crate::process::{
    caught_signal, enter_namespace, name_for_nsenter, pid_of, stdout_is_closed, survive_file_size_limit,
};
use crate::query::{DEV_SHM, ObjectsLocation, System, can_become_root};
use crate::render::{Format, unknown_line};
use crate::ui::{Color, Ui};

use program::GlobalArgs;

pub use program::{columns, program};
pub use table::{COMMANDS, Command, groups};

pub(crate) fn run(arguments: Vec<OsString>) -> Exit {
    survive_file_size_limit();
    if let Some(exit) = arguments.first().and_then(|name| roles::run_internal_role(name, &arguments[1..])) {
        return exit;
    }
    if let [_, role, words @ ..] = arguments.as_slice()
        && role == complete::ROLE
    {
        return complete::run(words);
    }
    let mut program = program();
    match program.try_get_matches_from_mut(write::mark_negative_numbers(&arguments)) {
        Ok(matches) => execute(&program, &matches, &arguments),
        Err(error) => usage::report(error, &program, &arguments),
    }
}

fn execute(program: &clap::Command, matches: &ArgMatches, arguments: &[OsString]) -> Exit {
    let called = matches.subcommand().and_then(|(name, inner)| Some((table::find(name)?, inner)));
    let codes = called.map_or(ExitCodes::Standard, |(command, _)| command.exit_codes);
    let globals = match GlobalArgs::collect(matches) {
        Ok(globals) => globals,
        Err(error) => return report(ui(false, Color::Auto), Error::new(Kind::Usage, error.to_string()), false, codes),
    };
    let typed = arguments.get(1..).unwrap_or_default();
    let line = command_line::split(program, typed);
    let directory = globals.dir.clone().map(OsString::from);
    let ui = ui(globals.quiet, globals.color.unwrap_or_default()).with_json(globals.prints_json());
    let ui = ui.with_command_line(line, globals.ns.clone(), directory, can_become_root);
    let mut context = match prepare(&globals, called) {
        Ok((format, system)) => {
            Context { ui, system, format, has_ns: globals.ns.is_some(), arguments: typed.to_owned() }
        }
        Err(error) => return report(ui, error, globals.prints_json(), codes),
    };
    let result = match called {
        Some((command, inner)) => (command.run)(inner, &mut context),
        None => context.ui.clap(&usage::rendered(&program.clone().render_help(), false)).map(|()| Exit::Done),
    };
    match result.and_then(|exit| context.ui.flush().map(|()| exit)) {
        Ok(exit) => codes.exit(exit),
        Err(error) => {
            let json = context.json();
            let name = globals.ns.as_deref().and_then(name_for_nsenter);
            report(context.ui.with_namespace_for_others(name), error, json, codes)
        }
    }
}

/// Returns the format, and the system that `--ns` and `--dir` select.
fn prepare(globals: &GlobalArgs, called: Option<(&Command, &ArgMatches)>) -> Result<(Format, System), Error> {
    let format = format(&globals.format, called.map(|(command, _)| command))?;
    if let (Some(directory), Some((_, inner))) = (&globals.dir, called) {
        check_names(directory, inner)?;
    }
    let all_namespaces = called.and_then(|(_, inner)| inner.try_get_one("all_ns").ok().flatten()) == Some(&true);
    for (is_given, option) in [(globals.ns.is_some(), "--ns"), (globals.dir.is_some(), "--dir")] {
        if all_namespaces && is_given {
            return Err(Error::new(Kind::Usage, format!("{option} and --all-ns cannot be combined")));
        }
    }
    Ok((format, system(globals)?))
}

/// The arguments that can name objects.
const OBJECT_ARGUMENTS: [&str; 4] = ["segment", "segments", "name", "exclude"];

/// Fails for an object of /dev/shm if `--dir` names another directory.
fn check_names(directory: &Path, arguments: &ArgMatches) -> Result<(), Error> {
    if directory == Path::new(DEV_SHM) {
        return Ok(());
    }
    let given = OBJECT_ARGUMENTS.iter().filter_map(|id| arguments.try_get_raw(id).ok().flatten()).flatten();
    let Some(name) = given.map(Path::new).find(|name| name.starts_with(DEV_SHM)) else { return Ok(()) };
    let (name, directory) = (path_text(name), path_text(directory));
    Err(Error::new(Kind::Usage, format!("{name} is not in {directory}, the directory of --dir"))
        .target(name)
        .cause(format!("/NAME is an object in {directory}; without --dir, it is one in {DEV_SHM}")))
}

/// Enters the IPC namespace of `--ns`, and opens the directory of `--dir`.
fn system(globals: &GlobalArgs) -> Result<System, Error> {
    // Before any thread exists: only a single-threaded process can enter a user namespace.
    let system = match &globals.ns {
        Some(namespace) => System::new().with_id_maps(enter_namespace(namespace)?),
        None => System::new(),
    };
    let path = globals.dir.clone();
    let system = match (globals.ns.as_deref().map(pid_of), path) {
        (Some(Some(pid)), path) => {
            system.with_objects_in(ObjectsLocation::Process(pid, path.unwrap_or_else(|| DEV_SHM.into())))
        }
        (_, Some(path)) => system.with_objects_in(ObjectsLocation::Path(path)),
        (Some(None), None) => system.with_objects_in(ObjectsLocation::Unknown),
        (None, None) => system,
    };
    if globals.dir.is_some() {
        // Without /dev/shm, commands run without objects. A directory that the user names must exist.
        system.objects()?;
    }
    Ok(system)
}

fn format(formats: &[Format], command: Option<&Command>) -> Result<Format, Error> {
    let usage = |message: String| Error::new(Kind::Usage, message);
    let Some(first) = formats.first() else { return Ok(Format::Table) };
    if let Some(other) = formats.iter().find(|format| *format != first) {
        return Err(usage(format!(
            "--format {} and --format {} cannot be combined; --json is the same as json",
            first.as_str(),
            other.as_str()
        )));
    }
    if matches!(first, Format::Csv | Format::Tsv) && !command.is_some_and(|command| command.prints_rows) {
        let names: Vec<_> = COMMANDS.iter().filter(|command| command.prints_rows).map(|command| command.name).collect();
        let error = usage(format!("csv and tsv are for commands that print rows: {}", names.join(", ")));
        return Err(match command {
            Some(command) if command.prints_json => error.hint("print JSON", again("--json").without(&["format"])),
            _ => error,
        });
    }
    Ok(*first)
}

fn ui(quiet: bool, color: Color) -> Ui {
    Ui::new(quiet, color, caught_signal, stdout_is_closed())
}

fn report(mut ui: Ui, error: Error, json: bool, codes: ExitCodes) -> Exit {
    if let Kind::Interrupted(signal) = error.kind {
        // The sender knows about the signal, so no error is printed; flush the output so far.
        let _ = ui.flush();
        return Exit::Signal(signal);
    }
    ui.error(&error);
    report_on_stdout(&mut ui, &error, json, codes);
    codes.exit(Exit::Failed(error.kind))
}

/// Reports an error on standard output too: to a program in JSON, to a monitoring system in its line.
fn report_on_stdout(ui: &mut Ui, error: &Error, json: bool, codes: ExitCodes) {
    // If standard output cannot be written, standard error still has the error.
    if json {
        let _ = ui.error_json(error).and_then(|()| ui.flush());
    } else if codes == ExitCodes::Check {
        let _ = ui.print(&unknown_line(error)).and_then(|()| ui.flush());
    }
}
