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

/// Tells whether JSON is asked for, as far as that can be seen before parsing.
pub(super) fn wants_json(arguments: &[OsString]) -> bool {
    let mut words = arguments.iter().skip(1).map(|word| word.to_string_lossy()).take_while(|word| word != "--");
    let mut before = String::new();
    words.any(|word| {
        let found = word == "--json" || word == "--format=json" || (before == "--format" && word == "json");
        before = word.into_owned();
        found
    })
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
