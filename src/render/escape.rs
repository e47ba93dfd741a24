//! Escaping of untrusted text for terminals.

use std::borrow::Cow;
use std::fmt::Write;

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
    if !text.contains(is_escaped) {
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

/// Returns whether a character can change what the terminal shows around it.
fn is_dangerous(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}
