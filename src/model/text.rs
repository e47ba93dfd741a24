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
}
