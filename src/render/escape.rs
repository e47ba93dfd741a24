//! Escaping of untrusted text for terminals.

use std::borrow::Cow;

use crate::model::is_dangerous;

/// Escapes control and bidirectional characters in whole strings of JSON; ASCII controls are escaped already.
pub(crate) fn escape_json(text: &[u8]) -> Cow<'_, [u8]> {
    let is_escaped = |character| is_dangerous(character) && !matches!(character, '\n' | '\r' | '\t');
    let escape = |character| format!("\\u{:04x}", u32::from(character));
    match std::str::from_utf8(text).map(|text| replace(text, is_escaped, escape)) {
        Ok(Cow::Owned(safe)) => Cow::Owned(safe.into_bytes()),
        Ok(Cow::Borrowed(_)) | Err(_) => Cow::Borrowed(text),
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
    let is_escaped = |character| is_dangerous(character) && !kept.contains(&character);
    replace(text, is_escaped, |character| match character {
        '\n' | '\t' | '\r' => character.escape_default().to_string(),
        _ if character.is_ascii() => format!("\\x{:02x}", u32::from(character)),
        _ => format!("\\u{{{:04x}}}", u32::from(character)),
    })
}

fn replace(text: &str, is_replaced: impl Fn(char) -> bool, replacement: impl Fn(char) -> String) -> Cow<'_, str> {
    // Most texts are printable ASCII, which is recognized faster.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) || !text.contains(&is_replaced) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_replaced(character) {
            safe.push_str(&replacement(character));
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}
