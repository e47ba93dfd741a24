//! How users name a segment.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::number::{is_decimal, parse_decimal};
use super::{Device, FileId, Key, ObjectName, ShmId, escape_invalid_utf8};

/// The forms of a SEGMENT, for error messages.
const EXPECTED: &str =
    "expected an id (65538), a key (0x4d2, key:1234), ftok:PATH, /NAME, sem:/NAME or obj:MAJ:MIN:INODE";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) text: String,
    pub(crate) name: Name,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Id(ShmId),
    /// Never key 0 (IPC_PRIVATE).
    Key(Key),
    Ftok(Ftok),
    /// A POSIX object.
    Object(ObjectName),
    /// A named semaphore: glibc's file, or that of musl, which has no prefix.
    Semaphore(ObjectName, ObjectName),
    /// A file by its device and inode.
    File(FileId),
}

/// The arguments of ftok(3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ftok {
    pub(crate) path: PathBuf,
    /// The project number, 1 to 255.
    pub(crate) proj: u8,
    /// PATH or PATH:PROJ, as the user typed it.
    pub(crate) typed: PathBuf,
}

/// The KEY argument of `create`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum KeySpec {
    #[default]
    Private,
    Random,
    Key(Key),
    Ftok(Ftok),
}

impl Target {
    /// Parses the name of a segment, or of a POSIX object: `/name`, `sem:/name` or `obj:MAJ:MIN:INODE`.
    pub(crate) fn from_os(text: &OsStr) -> Result<Self, String> {
        let bytes = text.as_bytes();
        let name = if bytes.starts_with(b"/") {
            Name::Object(ObjectName::parse(bytes)?)
        } else if let Some(name) = bytes.strip_prefix(b"sem:") {
            Name::Semaphore(ObjectName::parse(bytes)?, ObjectName::parse(name)?)
        } else {
            parse_os(text, Name::Ftok, Name::parse)?
        };
        Ok(Self { text: escape_invalid_utf8(bytes), name })
    }
}

impl Name {
    /// Returns whether it names a System V segment.
    pub(crate) const fn is_segment(&self) -> bool {
        matches!(self, Self::Id(_) | Self::Key(_) | Self::Ftok(_))
    }

    fn parse(text: &str) -> Result<Self, String> {
        if let Some(file) = text.strip_prefix("obj:") {
            parse_file(file).map(Self::File)
        } else if let Some(id) = text.strip_prefix("id:") {
            parse_id(id).map(Self::Id)
        } else if let Some(key) = text.strip_prefix("key:") {
            parse_name_key(key).map(Self::Key)
        } else if text.starts_with("0x") || text.starts_with("0X") {
            parse_name_key(text).map(Self::Key)
        } else if text.starts_with('-') && Key::parse(text).is_ok() {
            Err(format!("for a negative key, use key:{text}"))
        } else if text.is_empty() {
            Err(format!("the value is empty (an unset variable?): {EXPECTED}"))
        } else {
            parse_id(text).map(Self::Id)
        }
    }
}

/// Parses an argument that may be `ftok:PATH[:PROJ]`. Only that path need not be UTF-8.
fn parse_os<T>(text: &OsStr, ftok: fn(Ftok) -> T, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<T, String> {
    match (text.as_bytes().strip_prefix(b"ftok:"), text.to_str()) {
        (Some(rest), _) => Ftok::parse(rest).map(ftok),
        (None, Some(text)) => parse(text),
        (None, None) => Err("invalid UTF-8, which is accepted only in the path after ftok:".to_owned()),
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Ftok {
    /// Parses `PATH` or `PATH:PROJ`. PROJ follows the last colon.
    fn parse(text: &[u8]) -> Result<Self, String> {
        let (path, proj) = match text.iter().rposition(|byte| *byte == b':') {
            Some(colon) => (&text[..colon], parse_proj(&escape_invalid_utf8(&text[colon + 1..]))?),
            None => (text, 1),
        };
        if path.is_empty() {
            return Err("missing path: expected ftok:PATH or ftok:PATH:PROJ".to_owned());
        }
        Ok(Self { path: OsStr::from_bytes(path).into(), proj, typed: OsStr::from_bytes(text).into() })
    }
}

impl KeySpec {
    /// What [`Self::from_os`] accepts, for error messages.
    pub(crate) const EXPECTED: &str = "expected private, random, a key (0x4d2, 1234) or ftok:PATH";

    /// Parses a KEY: `private`, `random`, a number, or `ftok:PATH[:PROJ]`. `expected` is the error for anything else.
    pub(crate) fn from_os(text: &OsStr, expected: &str) -> Result<Self, String> {
        parse_os(text, Self::Ftok, |text| Self::parse(text, expected))
    }

    fn parse(text: &str, expected: &str) -> Result<Self, String> {
        match text.strip_prefix("key:").unwrap_or(text) {
            _ if text == "private" => Ok(Self::Private),
            _ if text == "random" => Ok(Self::Random),
            digits if digits.starts_with(|first: char| first.is_ascii_digit() || first == '-') => {
                match Key::parse(digits)? {
                    Key::PRIVATE => Err("key 0 is IPC_PRIVATE: for a segment without a key, use private".to_owned()),
                    key => Ok(Self::Key(key)),
                }
            }
            _ => Err(expected.to_owned()),
        }
    }
}

/// Parses an id: decimal, without a leading zero, at most 31 bits.
fn parse_id(text: &str) -> Result<ShmId, String> {
    if !is_decimal(text) {
        return Err(EXPECTED.to_owned());
    }
    let number = parse_decimal(text)?;
    i32::try_from(number).ok().and_then(ShmId::new).ok_or_else(|| match u32::try_from(number) {
        Ok(_) => format!("an id is at most {}; for a key, use key:{text}", i32::MAX),
        Err(_) => format!("an id is at most {}", i32::MAX),
    })
}

/// Parses `MAJ:MIN:INODE`.
pub(super) fn parse_file(text: &str) -> Result<FileId, String> {
    let wrong = || "expected obj:MAJ:MIN:INODE, as the OBJECT column shows".to_owned();
    let numbers: Option<Vec<u64>> = text.split(':').map(|number| parse_decimal(number).ok()).collect();
    match numbers.as_deref() {
        Some([major, minor, inode]) => {
            let part = |number: &u64| u32::try_from(*number).map_err(|_| wrong());
            Ok(FileId { device: Device(part(major)?, part(minor)?), inode: *inode })
        }
        _ => Err(wrong()),
    }
}

/// Parses a key that names a segment: every key except 0.
fn parse_name_key(text: &str) -> Result<Key, String> {
    match Key::parse(text)? {
        Key::PRIVATE => {
            Err("key 0 is IPC_PRIVATE, which names no segment: use the id, as shown by `shmadm list`".to_owned())
        }
        key => Ok(key),
    }
}

/// Parses the project of ftok: a number from 1 to 255, or one character. A digit as a character is written `'5'`.
fn parse_proj(text: &str) -> Result<u8, String> {
    let wrong = || {
        format!(
            "expected 1 to 255 or one ASCII character after the last colon instead of {text:?}; if the path contains a \
             colon, append :1"
        )
    };
    if is_decimal(text) {
        let number = parse_decimal(text)?;
        return u8::try_from(number).ok().filter(|number| *number > 0).ok_or_else(wrong);
    }
    match text.as_bytes() {
        [character] | [b'\'', character, b'\''] if character.is_ascii() && *character != 0 => Ok(*character),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_path_of_ftok_need_not_be_utf_8() {
        for (text, path, proj) in [
            (&b"ftok:/etc"[..], &b"/etc"[..], 1),
            (b"ftok:/etc:A", b"/etc", b'A'),
            (b"ftok:/etc:5", b"/etc", 5),
            (b"ftok:/etc:'5'", b"/etc", b'5'),
            (b"ftok:/a:b:255", b"/a:b", 255),
            (b"ftok:/a:'", b"/a", b'\''),
            (b"ftok:/\xff:A", b"/\xff", b'A'),
        ] {
            let target = Target::from_os(OsStr::from_bytes(text)).unwrap();
            let typed = OsStr::from_bytes(&text[5..]).into();
            assert_eq!(target.name, Name::Ftok(Ftok { path: OsStr::from_bytes(path).into(), proj, typed }), "{target}");
        }
        for bad in [&b"\xff"[..], b"key:1\xff", b"ftok:/a:\xff", b"ftok:\xff:ab"] {
            assert!(Target::from_os(OsStr::from_bytes(bad)).is_err(), "{bad:?}");
        }
    }
}
