//! Escaping of untrusted text for terminals.

use std::borrow::Cow;
use std::fmt::Write;

use crate::model::is_dangerous;

/// Escapes control and bidirectional characters in whole strings of JSON; ASCII controls are escaped already.
pub(crate) fn escape_json(text: &[u8]) -> Cow<'_, [u8]> {
    let is_escaped = |character: char| is_dangerous(character) && !matches!(character, '\n' | '\r' | '\t');
    match std::str::from_utf8(text) {
        Ok(text) if text.contains(is_escaped) => {
            let mut safe = String::with_capacity(text.len() + 8);
            for character in text.chars() {
                match character {
                    // Writing to a String cannot fail.
                    _ if is_escaped(character) => drop(write!(safe, "\\u{:04x}", u32::from(character))),
                    _ => safe.push(character),
                }
            }
            Cow::Owned(safe.into_bytes())
        }
        Ok(_) | Err(_) => Cow::Borrowed(text),
    }
}

/// Escapes control and bidirectional characters, which could forge or hide parts of the output.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    escape_except(text, &[])
}

/// Like [`escape`], but keeps newlines and tabs.
pub(crate) fn escape_lines(text: &str) -> Cow<'_, str> {
    escape_except(text, &['\n', '\t'])
}

fn escape_except<'a>(text: &'a str, kept: &[char]) -> Cow<'a, str> {
    let is_escaped = |character: char| is_dangerous(character) && !kept.contains(&character);
    // Most texts are printable ASCII, which is recognized faster.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) || !text.contains(is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            _ if !is_escaped(character) => safe.push(character),
            '\n' => safe.push_str("\\n"),
            '\t' => safe.push_str("\\t"),
            '\r' => safe.push_str("\\r"),
            // Writing to a String cannot fail.
            _ if character.is_ascii() => drop(write!(safe, "\\x{:02x}", u32::from(character))),
            _ => drop(write!(safe, "\\u{{{:04x}}}", u32::from(character))),
        }
    }
    Cow::Owned(safe)
}
