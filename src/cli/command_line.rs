//! The user's arguments in parts, for hints that repeat them.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::ui::{CommandLine, Part};

/// Splits arguments of `program`. What clap would reject becomes words.
pub(super) fn split(program: &clap::Command, arguments: &[OsString]) -> CommandLine {
    let mut command = program;
    let mut parts = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_bytes() {
            b"--" => {
                parts.push(Part::Rest([word].into_iter().chain(words.by_ref()).cloned().collect()));
            }
            [b'-', b'-', long @ ..] => {
                let name =
                    String::from_utf8_lossy(long.split(|byte| *byte == b'=').next().unwrap_or(long)).into_owned();
                let takes_next = !long.contains(&b'=')
                    && command.get_arguments().any(|arg| arg.get_long() == Some(&name) && takes_word(arg));
                let value = if takes_next { words.next() } else { None };
                parts.push(Part::Option(name, [word].into_iter().chain(value).cloned().collect()));
            }
            [b'-', letters @ ..] if short(command, letters).is_some() => {
                let mut letters = letters;
                while let Some(option) = short(command, letters) {
                    let name = option.get_long().unwrap_or_default().to_owned();
                    let takes_word = takes_word(option);
                    let end = if takes_word { letters.len() } else { 1 };
                    let typed = OsString::from_vec([b"-", &letters[..end]].concat());
                    let value = if takes_word && end == 1 { words.next() } else { None };
                    parts.push(Part::Option(name, [&typed].into_iter().chain(value).cloned().collect()));
                    letters = &letters[end..];
                }
                if !letters.is_empty() {
                    parts.push(Part::Word(OsString::from_vec([b"-", letters].concat())));
                }
            }
            _ => match command.find_subcommand(word) {
                Some(inner) => {
                    command = inner;
                    parts.push(Part::Command(word.clone()));
                }
                None if command.get_positionals().any(clap::Arg::is_trailing_var_arg_set) => {
                    parts.push(Part::Rest([word].into_iter().chain(words.by_ref()).cloned().collect()));
                }
                None => parts.push(Part::Word(word.clone())),
            },
        }
    }
    let options = command.get_arguments().filter_map(clap::Arg::get_long).map(str::to_owned).collect();
    CommandLine { parts, options }
}

/// Returns the option that is the first of these letters.
fn short<'a>(command: &'a clap::Command, letters: &[u8]) -> Option<&'a clap::Arg> {
    let letter = char::from(*letters.first()?);
    command.get_arguments().find(|arg| arg.get_short() == Some(letter))
}

/// Returns whether the value of an option can be the next word.
fn takes_word(option: &clap::Arg) -> bool {
    option.get_action().takes_values() && !option.is_require_equals_set()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(words: &[&str]) -> Vec<String> {
        let arguments: Vec<OsString> = [&["shmadm"], words].concat().iter().map(OsString::from).collect();
        let mut program = super::super::program();
        program.try_get_matches_from_mut(&arguments).unwrap();
        let line = split(&program, &arguments[1..]);
        line.parts.iter().map(|part| format!("{part:?}").replace("\"", "")).collect()
    }

    #[test]
    fn options_have_their_values() {
        assert_eq!(
            parts(&["--ns", "7", "rm", "-qn", "5", "--force"]),
            [
                "Option(ns, [--ns, 7])",
                "Command(rm)",
                "Option(quiet, [-q])",
                "Option(dry-run, [-n])",
                "Word(5)",
                "Option(force, [--force])"
            ]
        );
        assert_eq!(
            parts(&["dump", "-fox", "5", "--peek"]),
            ["Command(dump)", "Option(force, [-f])", "Option(output, [-ox])", "Word(5)", "Option(peek, [--peek])"]
        );
        assert_eq!(parts(&["set", "5", "--owner", "5"]), ["Command(set)", "Word(5)", "Option(owner, [--owner, 5])"]);
        assert_eq!(parts(&["create", "--huge"]), ["Command(create)", "Option(huge, [--huge])"]);
        assert_eq!(parts(&["write", "5", "--", "-x"]), ["Command(write)", "Word(5)", "Rest([--, -x])"]);
        assert_eq!(parts(&["write", "5", "--type", "i32", "-1"]).last().unwrap(), "Word(-1)");
        assert_eq!(
            parts(&["demo", "writer", "--key=5"]),
            ["Command(demo)", "Command(writer)", "Option(key, [--key=5])"]
        );
    }
}
