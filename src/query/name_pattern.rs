//! The pattern by which a rule recognizes names.

use std::sync::OnceLock;

use regex_lite::{Captures, Regex};
use serde::Deserialize;

use crate::model::enumerate;

/// The groups of a pattern that mean something (products.toml).
const GROUPS: [&str; 3] = ["pid", "unit", "lock"];

/// A regular expression for a whole name, compiled when a name first passes the faster tests: its first or last byte
/// excludes most rules.
#[derive(Debug, Deserialize)]
#[serde(from = "String")]
pub(super) struct NamePattern {
    /// Without the slash at the end.
    text: String,
    /// Whether it is for directories: it ends in a slash.
    pub(super) is_for_directories: bool,
    /// The first byte of all names that match, unless there may be several.
    first: Option<u8>,
    /// The last byte of them.
    last: Option<u8>,
    regex: OnceLock<Result<Regex, String>>,
}

impl From<String> for NamePattern {
    fn from(text: String) -> Self {
        let (text, is_for_directories) = match text.strip_suffix('/') {
            Some(name) => (name.to_owned(), true),
            None => (text, false),
        };
        Self { first: first_byte(&text), last: last_byte(&text), text, is_for_directories, regex: OnceLock::new() }
    }
}

impl NamePattern {
    /// Compiles the expression, unless that was done before.
    fn regex(&self) -> Result<&Regex, &String> {
        let compile = || Regex::new(&format!("^(?:{})$", self.text)).map_err(|error| error.to_string());
        self.regex.get_or_init(compile).as_ref()
    }

    /// Fails if the expression is invalid, or has a group that no rule has.
    pub(super) fn check(&self) -> Result<(), String> {
        let mut names = self.regex()?.capture_names().flatten();
        match names.find(|name| !GROUPS.contains(name)) {
            Some(name) => Err(format!("unknown group \"{name}\": expected {}", enumerate(&GROUPS, "or"))),
            None => Ok(()),
        }
    }

    pub(super) fn captures<'name>(&self, name: &'name str) -> Option<Captures<'name>> {
        let bytes = name.as_bytes();
        let begins = self.first.is_none_or(|byte| bytes.first() == Some(&byte));
        let ends = self.last.is_none_or(|byte| bytes.last() == Some(&byte));
        if begins && ends { self.regex().ok()?.captures(name) } else { None }
    }
}

/// Returns the first byte of all names that a pattern matches, if it is evident.
fn first_byte(pattern: &str) -> Option<u8> {
    let mut bytes = pattern.bytes();
    let first = bytes.next().filter(u8::is_ascii_alphanumeric)?;
    let is_optional = matches!(bytes.next(), Some(b'?' | b'*' | b'{'));
    (!is_optional && !pattern.contains('|')).then_some(first)
}

/// Returns the last byte of all names that a pattern matches, if it is evident: not part of an escape such as `\d`, nor
/// subject to flags such as `(?i)`.
fn last_byte(pattern: &str) -> Option<u8> {
    let last = pattern.bytes().last().filter(u8::is_ascii_alphanumeric)?;
    let before = pattern.trim_end_matches(|letter: char| letter.is_ascii_alphanumeric());
    let has_flags = pattern.replace("(?<", "").contains("(?");
    (!before.ends_with('\\') && !has_flags && !pattern.contains('|')).then_some(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evident_ends_are_those_of_every_match() {
        let ends = |pattern| (first_byte(pattern), last_byte(pattern));
        for pattern in ["t", "torch_[0-9]+_x", r"t\.x", "t(?<pid>[0-9]+)x", "t+x"] {
            assert_eq!(ends(pattern), (pattern.bytes().next(), pattern.bytes().last()), "{pattern}");
        }
        for pattern in ["", "t|x", "(t|x)", "[tx]", ".t?", "(?i)t", "(?x)t # x", r"\d", r"\x41", "^t$", "\u{fc}"] {
            assert_eq!(ends(pattern), (None, None), "{pattern}");
        }
        for pattern in ["t?x", "t*x", "t{0,2}x"] {
            assert_eq!(ends(pattern), (None, Some(b'x')), "{pattern}");
        }
        for pattern in ["tx?", "tx*", "t[0-9]", r"t\d", r"t\x41", "t(?i)x"] {
            assert_eq!(ends(pattern), (Some(b't'), None), "{pattern}");
        }
    }

    #[test]
    fn whole_names_match() {
        let pattern = NamePattern::from("a[0-9]+z|b".to_owned());
        for (name, matches) in [("a1z", true), ("b", true), ("xa1z", false), ("a1zx", false), ("", false)] {
            assert_eq!(pattern.captures(name).is_some(), matches, "{name}");
        }
    }
}
