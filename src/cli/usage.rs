//! Reports of what clap did not accept: usage errors, and requests for help or the version.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use clap::Arg;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::table::{Command, find};
use super::{equivalents, report_on_stdout};
use crate::error::{Error, Exit, ExitCodes, Kind, shmadm};
use crate::model::escape_invalid_utf8;
use crate::render::escape;
use crate::ui::{Color, Rendered};

pub(super) fn report(error: clap::Error, program: &clap::Command, arguments: &[OsString]) -> Exit {
    let words: Vec<_> = arguments.iter().skip(1).map(|word| word.to_string_lossy()).collect();
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    // clap sets a command's `bin_name` when it parses that command's arguments.
    let built = program.get_subcommands().find(|command| command.get_bin_name().is_some());
    let called = called(built, &words);
    // In `shmadm --help list`, the help is that of the program, so the exit codes of `list` do not apply.
    let called_for = called.filter(|_| error.use_stderr() || built.is_some() || words.contains(&"help"));
    let codes = called_for.map_or(ExitCodes::Standard, |command| command.exit_codes);
    let before_dashes = words.split(|word| *word == "--").next().unwrap_or_default();
    let json = before_dashes.contains(&"--json") || values_of("--format", before_dashes).any(|format| format == "json");
    let color = values_of("--color", before_dashes).last();
    let color = Color::ALL.into_iter().find(|(word, _)| Some(*word) == color);
    let mut ui = super::ui(false, color.map_or(Color::Auto, |(_, color)| color)).with_json(json);
    // An argument that can begin with `-`.
    let is_text = |argument: &Arg| argument.get_value_names().is_some_and(|names| names == ["TEXT"]);
    let text = built.and_then(|command| command.get_positionals().find(|argument| is_text(argument)));
    let takes_text = text.is_some();
    let hint = equivalents::hint(&error, called, &words);
    let misread = match error.use_stderr() {
        false => built.and_then(|command| misread_help(command, before_dashes)),
        true if hint.is_none() => text.and_then(|text| misread_text(&error, program, text, before_dashes)),
        true => None,
    };
    if let Some(word) = misread {
        let usage = Error::new(Kind::Usage, format!("unexpected argument '{word}' found"));
        let others: Vec<_> = words.iter().filter(|other| **other != word).map(OsString::from).collect();
        let command = shmadm("").args(&others).arg("--").arg(word);
        let usage = if takes_text { usage.hint("put text that starts with - after --", command) } else { usage };
        return super::report(ui, usage, json, codes);
    }
    let invalid = invalid_value(&error);
    // With an unknown short option, there is a text already.
    let may_be_text = takes_text && unknown_short_option(&error).is_none();
    let mut error = harmless(error, may_be_text);
    if hint.is_some() {
        error.remove(ContextKind::SuggestedSubcommand);
        error.remove(ContextKind::Suggested);
        error.remove(ContextKind::SuggestedArg);
    }
    let is_error = error.use_stderr();
    let mut text = error.render().ansi().to_string();
    if let Some(message) = invalid {
        text = with_first_line(&text, &message);
    }
    let rendered = rendered(&with_invalid_utf8(text, arguments).into(), is_error);
    if let Err(error) = ui.clap(&rendered).and_then(|()| ui.flush()) {
        return super::report(ui, error, json, codes);
    }
    if !is_error {
        return codes.exit(Exit::Done);
    }
    // The message ends at the first empty line.
    let lines: Vec<_> = rendered.plain.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
    let message = lines.join(" ");
    let mut usage = Error::new(Kind::Usage, message.strip_prefix("error: ").unwrap_or(&message));
    if let Some(hint) = hint {
        ui.hint(hint.clone());
        usage = usage.with(hint);
    }
    report_on_stdout(&mut ui, &usage, json, codes);
    codes.exit(Exit::Failed(Kind::Usage))
}

/// Returns the message about a value that was not accepted, `invalid size "x": reason`, in the form of our own errors.
fn invalid_value(error: &clap::Error) -> Option<String> {
    let (Some(ContextValue::String(argument)), Some(ContextValue::String(value))) =
        (error.get(ContextKind::InvalidArg), error.get(ContextKind::InvalidValue))
    else {
        return None;
    };
    match error.kind() {
        ErrorKind::ValueValidation => {}
        // Without a value the message is another one.
        ErrorKind::InvalidValue if !value.is_empty() => {}
        _ => return None,
    }
    // `--size <SIZE>`, `--huge[=<SIZE>]`, `<SEGMENT>...` or `[TEXT]...`
    let name = match argument.strip_prefix("--") {
        Some(_) => argument.split([' ', '=', '[']).next()?.to_owned(),
        None => argument.trim_end_matches("...").trim_matches(['<', '>', '[', ']']).to_lowercase(),
    };
    let reason = std::error::Error::source(error).map(|reason| format!(": {reason}")).unwrap_or_default();
    Some(format!("invalid {name} {value:?}{reason}"))
}

/// Replaces the message in the first line of an error of clap, which begins with `error:`.
fn with_first_line(text: &str, message: &str) -> String {
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let prefix = first.find("invalid value").map_or("", |start| &first[..start]);
    format!("{prefix}{message}\n{rest}")
}

pub(super) fn rendered(text: &StyledStr, is_error: bool) -> Rendered {
    Rendered { plain: text.to_string(), ansi: text.ansi().to_string(), is_error }
}

/// Finds the command: the one that clap was parsing, or the first word that names one if clap stopped before.
fn called(built: Option<&clap::Command>, words: &[&str]) -> Option<&'static Command> {
    built.and_then(|command| find(command.get_name())).or_else(|| words.iter().find_map(|word| find(word)))
}

/// Returns the values of an option on a command line that clap did not accept.
fn values_of<'a>(option: &str, words: &[&'a str]) -> impl Iterator<Item = &'a str> {
    words.iter().enumerate().filter_map(move |(index, word)| match word.strip_prefix(option)? {
        "" => words.get(index + 1).copied(),
        rest => rest.strip_prefix('='),
    })
}

/// Finds a word, such as `-hello`, in which clap found `-h` or `-V` although it is not a cluster of options.
fn misread_help<'a>(command: &clap::Command, words: &[&'a str]) -> Option<&'a str> {
    if words.iter().any(|word| ["-h", "--help", "-V", "--version"].contains(word)) {
        return None;
    }
    let is_option = |short| command.get_arguments().any(|argument| argument.get_short() == Some(short));
    let clusters = words.iter().copied().filter(|word| word.starts_with('-') && !word.starts_with("--"));
    let mut requests = clusters.filter(|word| word.contains(['h', 'V']));
    requests.find(|word| !word.chars().skip(1).all(is_option))
}

/// Finds a text, such as `-foo`, in which clap found the unknown option `-f`: its advice is to write `-f`. Returns
/// `None` if the other words contain a text.
fn misread_text<'a>(error: &clap::Error, program: &clap::Command, text: &Arg, words: &[&'a str]) -> Option<&'a str> {
    let option = unknown_short_option(error)?;
    let word = words.iter().copied().find(|word| word.starts_with(option))?;
    let others = words.iter().copied().filter(|other| *other != word);
    let parsed = program.clone().try_get_matches_from([program.get_name()].into_iter().chain(others)).ok()?;
    let (_, given) = parsed.subcommand()?;
    given.get_raw(text.get_id().as_str()).is_none().then_some(word)
}

fn unknown_short_option(error: &clap::Error) -> Option<&str> {
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(option)) if error.kind() == ErrorKind::UnknownArgument => {
            Some(option.as_str()).filter(|option| !option.starts_with("--"))
        }
        _ => None,
    }
}

/// Shows invalid UTF-8 as `\xNN`, as elsewhere; clap shows replacement characters.
fn with_invalid_utf8(mut text: String, arguments: &[OsString]) -> String {
    for word in arguments.iter().filter(|word| word.to_str().is_none()) {
        text = text.replace(&*word.to_string_lossy(), &escape_invalid_utf8(word.as_bytes()));
    }
    text
}

/// Escapes what the user typed, which could forge lines, and removes advice that does not apply. Parsers of values
/// quote what they name.
fn harmless(mut error: clap::Error, may_be_text: bool) -> clap::Error {
    let contexts: Vec<_> = error.context().map(|(kind, value)| (kind, value.clone())).collect();
    let clean = |text: &String| escape(text).into_owned();
    for (kind, value) in contexts {
        let value = match value {
            ContextValue::String(text) => ContextValue::String(clean(&text)),
            ContextValue::Strings(texts) => ContextValue::Strings(texts.iter().map(clean).collect()),
            ContextValue::StyledStrs(texts) => {
                ContextValue::StyledStrs(texts.iter().map(|text| clean(&text.to_string()).into()).collect())
            }
            other => other,
        };
        error.insert(kind, value);
    }
    // `-- -1` helps only where an argument can begin with `-`. An empty list of suggestions would print an empty line.
    let suggested = error.get(ContextKind::Suggested);
    let is_empty = matches!(suggested, Some(ContextValue::StyledStrs(texts)) if texts.is_empty());
    if is_empty || error.kind() == ErrorKind::UnknownArgument && !may_be_text {
        error.remove(ContextKind::Suggested);
    }
    error
}
