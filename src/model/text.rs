//! Converts bytes and values to text.

use std::borrow::Borrow;
use std::fmt::{Display, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Converts bytes to text. Invalid UTF-8 becomes `\xNN`.
pub(crate) fn escape_invalid_utf8(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Converts bytes that arrive in pieces like [`escape_invalid_utf8`]. A piece may end within a character.
#[derive(Debug, Default)]
pub(crate) struct TextDecoder {
    /// The first bytes of an incomplete character.
    rest: Vec<u8>,
}

impl TextDecoder {
    /// Returns the text that is complete with this piece.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> String {
        self.rest.extend_from_slice(bytes);
        let end = self.rest.utf8_chunks().last().map_or(&[][..], |chunk| chunk.invalid());
        let is_cut = std::str::from_utf8(end).is_err_and(|error| error.error_len().is_none());
        let whole = self.rest.len() - if is_cut { end.len() } else { 0 };
        let text = escape_invalid_utf8(&self.rest[..whole]);
        self.rest.drain(..whole);
        text
    }

    /// Returns the rest at the end of the input.
    pub(crate) fn end(self) -> String {
        escape_invalid_utf8(&self.rest)
    }
}

/// Converts a path to text. Invalid UTF-8 becomes `\xNN`.
pub(crate) fn path_text(path: &Path) -> String {
    escape_invalid_utf8(path.as_os_str().as_bytes())
}

/// Returns a number with its noun: `1 segment`, `2 processes`.
pub(crate) fn counted(count: impl Into<u128>, noun: &str) -> String {
    match count.into() {
        1 => format!("1 {noun}"),
        count if noun.ends_with('s') => format!("{count} {noun}es"),
        count => format!("{count} {noun}s"),
    }
}

/// Joins items as in a sentence: `a, b and c`.
pub(crate) fn enumerate<T: Borrow<str> + Display>(items: &[T], conjunction: &str) -> String {
    match items.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} {conjunction} {last}", others.join(", ")),
        _ => items.concat(),
    }
}

/// Returns the first names and the number of the others: `a`, `b`, `2 more`.
pub(crate) fn first_names(max: usize, names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut names = names.into_iter();
    let mut first: Vec<String> = names.by_ref().take(max).collect();
    let more = names.count();
    first.extend((more > 0).then(|| format!("{more} more")));
    first
}

/// Describes a process with what is known of it: `12 (root, command)`.
pub(crate) fn describe_process<'a>(pid: i32, details: impl IntoIterator<Item = Option<&'a str>>) -> String {
    let details: Vec<&str> = details.into_iter().flatten().collect();
    if details.is_empty() { pid.to_string() } else { format!("{pid} ({})", details.join(", ")) }
}

/// Returns whether a character can change what the terminal shows around it: a control or bidirectional character.
pub(crate) fn is_dangerous(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_may_end_anywhere() {
        let bytes = b"gr\xc3\xbcn \xf0\x9f\xa6\x80\xff\xc3(b\xf0\x9f";
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let mut decoder = TextDecoder::default();
                let pieces =
                    [&bytes[..first], &bytes[first..second], &bytes[second..]].map(|piece| decoder.feed(piece));
                assert_eq!(
                    pieces.concat() + &decoder.end(),
                    "grün \u{1f980}\\xff\\xc3(b\\xf0\\x9f",
                    "{first} {second}"
                );
            }
        }
    }
}
