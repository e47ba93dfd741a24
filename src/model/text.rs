//! Bytes from outside as text.

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Gives bytes as text; those that are not UTF-8 become `\xNN`.
pub(crate) fn lossless(bytes: &[u8]) -> String {
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

/// Bytes that come piece by piece, as [`lossless`] text: a character may be cut in two.
#[derive(Debug, Default)]
pub(crate) struct TextPieces {
    /// The beginning of a character whose end is to come.
    rest: Vec<u8>,
}

impl TextPieces {
    /// Takes a piece, and gives the text of all characters that are whole.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> String {
        self.rest.extend_from_slice(bytes);
        let end = self.rest.utf8_chunks().last().map_or(&[][..], |chunk| chunk.invalid());
        let is_cut = std::str::from_utf8(end).is_err_and(|error| error.error_len().is_none());
        let whole = self.rest.len() - if is_cut { end.len() } else { 0 };
        let text = lossless(&self.rest[..whole]);
        self.rest.drain(..whole);
        text
    }

    /// Gives what is left at the end.
    pub(crate) fn end(self) -> String {
        lossless(&self.rest)
    }
}

/// Gives a path as text; bytes of it that are not UTF-8 become `\xNN`.
pub(crate) fn path_text(path: &Path) -> String {
    lossless(path.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_utf_8_is_spelled_out() {
        assert_eq!(lossless("grün".as_bytes()), "grün");
        assert_eq!(lossless(b"a\xff\xc3(b"), "a\\xff\\xc3(b");
    }

    #[test]
    fn pieces_may_end_anywhere() {
        let bytes = "grün \u{1f980}".as_bytes().iter().chain(b"\xff\xc3(b\xf0\x9f").copied().collect::<Vec<_>>();
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let mut pieces = TextPieces::default();
                let mut text = pieces.feed(&bytes[..first]);
                text.push_str(&pieces.feed(&bytes[first..second]));
                text.push_str(&pieces.feed(&bytes[second..]));
                text.push_str(&pieces.end());
                assert_eq!(text, lossless(&bytes), "{first} {second}");
            }
        }
    }
}
