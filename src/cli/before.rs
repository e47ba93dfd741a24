//! What can be seen of a command line before it is parsed, and where it cannot be.

use std::ffi::OsString;

use crate::ui::Color;

/// Finds the word that names the command, as far as that can be seen before parsing; empty if there is none.
pub(super) fn command_word(arguments: &[OsString]) -> String {
    let mut words = arguments.iter().skip(1).map(|word| word.to_string_lossy());
    while let Some(word) = words.next() {
        match word.as_ref() {
            // The next word is the option's value, whatever it looks like.
            "--format" | "--ns" | "--color" => drop(words.next()),
            option if option.starts_with('-') => {}
            command => return command.to_owned(),
        }
    }
    String::new()
}

/// Finds the forms that are asked for, as far as that can be seen before parsing: the parser keeps of an option on either
/// side of the command the last alone.
pub(super) fn forms(arguments: &[OsString]) -> Vec<String> {
    let mut words = arguments.iter().skip(1).map(|word| word.to_string_lossy()).take_while(|word| word != "--");
    let mut found = Vec::new();
    while let Some(word) = words.next() {
        match word.strip_prefix("--format") {
            _ if word == "--json" => found.push("json".to_owned()),
            Some("") => found.extend(words.next().map(Into::into)),
            Some(form) => found.extend(form.strip_prefix('=').map(ToOwned::to_owned)),
            None => {}
        }
    }
    found
}

/// Tells whether JSON is asked for, as far as that can be seen before parsing.
pub(super) fn wants_json(arguments: &[OsString]) -> bool {
    forms(arguments).iter().any(|form| form == "json")
}

/// Finds the --color that was asked for where the command line could not be parsed.
pub(super) fn color_of(arguments: &[OsString]) -> Color {
    let words: Vec<_> = arguments.iter().skip(1).map(|word| word.to_string_lossy()).collect();
    let given = words.iter().enumerate().find_map(|(index, word)| match word.strip_prefix("--color") {
        Some("") => words.get(index + 1).map(|word| word.to_string()),
        Some(rest) => rest.strip_prefix('=').map(ToOwned::to_owned),
        None => None,
    });
    match given.as_deref() {
        Some("always") => Color::Always,
        Some("never") => Color::Never,
        _ => Color::Auto,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives the arguments of a line.
    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(Into::into).collect()
    }

    #[test]
    fn forms_are_found_on_either_side_of_the_command() {
        for (line, found) in [
            ("shmadm --format csv list --json --format=tsv", vec!["csv", "json", "tsv"]),
            ("shmadm write 5 -- --json", vec![]),
            ("shmadm list --format", vec![]),
            ("shmadm list --formats=csv", vec![]),
        ] {
            assert_eq!(forms(&words(line)), found, "{line}");
        }
    }

    #[test]
    fn the_command_s_word_is_no_option_and_no_option_s_value() {
        for (line, word) in [
            ("shmadm", ""),
            ("shmadm check", "check"),
            ("shmadm -q check --format csv", "check"),
            ("shmadm --format csv check", "check"),
            ("shmadm --format=csv check", "check"),
            ("shmadm --ns check list", "list"),
            ("shmadm --no-such-option check", "check"),
            ("shmadm list --owner check", "list"),
            ("shmadm --color", ""),
        ] {
            assert_eq!(command_word(&words(line)), word, "{line}");
        }
    }
}
