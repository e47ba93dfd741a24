//! Names of POSIX shared memory objects.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::escape_invalid_utf8;

/// What glibc puts before the name of a semaphore.
const SEMAPHORE_PREFIX: &[u8] = b"sem.";
const LONGEST: usize = 255;

/// The name of a file in the directory of POSIX objects: 1 to 255 bytes without a slash, not `.` or `..`.
///
/// Displayed as users type it: `/name`, or `sem:/name` for a named semaphore. Invalid UTF-8 becomes `\xNN`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ObjectName {
    file_name: Arc<[u8]>,
    text: Arc<str>,
}

impl ObjectName {
    /// Returns `None` unless these bytes are a file name.
    pub(crate) fn of_file(name: &[u8]) -> Option<Self> {
        (name.len() <= LONGEST && is_entry(name))
            .then(|| Self { file_name: name.into(), text: escape_invalid_utf8(&argument(name)).into() })
    }

    /// Parses `/name`, `/dev/shm/name` or `sem:/name`.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix(b"sem:") {
            return Self::parse_semaphore(name);
        }
        let name = text.strip_prefix(b"/dev/shm/").or_else(|| text.strip_prefix(b"/"));
        let name = name.ok_or("expected /NAME or sem:/NAME")?;
        Self::of_file(name).ok_or_else(|| match name.len() {
            0 => "expected a name after the slash".to_owned(),
            1..=LONGEST => "expected /NAME without another slash, and not /. or /..".to_owned(),
            _ => format!("a name has at most {LONGEST} bytes"),
        })
    }

    /// Parses the `/name` of a named semaphore.
    fn parse_semaphore(text: &[u8]) -> Result<Self, String> {
        match text.strip_prefix(b"/") {
            None => Err("expected sem:/NAME".to_owned()),
            Some(b"") => Err("expected a name after the slash".to_owned()),
            Some(name) => Self::parse(&[b"/", SEMAPHORE_PREFIX, name].concat()),
        }
    }

    /// Returns the name that has this text in a report, in which `\xNN` may stand for a byte; `None` if it leads into
    /// or out of a directory.
    pub(super) fn reported(text: String) -> Option<Self> {
        let file_name = match text.strip_prefix("sem:/") {
            Some(name) => [SEMAPHORE_PREFIX, name.as_bytes()].concat(),
            None => text.strip_prefix('/')?.as_bytes().to_vec(),
        };
        is_entry(&file_name).then(|| Self { file_name: file_name.into(), text: text.into() })
    }

    pub(crate) fn file_name(&self) -> &OsStr {
        OsStr::from_bytes(&self.file_name)
    }

    /// Returns whether it is the name of a semaphore, by glibc's prefix.
    pub(crate) fn is_semaphore(&self) -> bool {
        semaphore(&self.file_name).is_some()
    }

    /// Returns the name as an argument, byte for byte.
    pub(crate) fn argument(&self) -> OsString {
        OsString::from_vec(argument(&self.file_name))
    }

    /// Returns the name as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

/// Returns whether a name is that of an entry of a directory.
fn is_entry(name: &[u8]) -> bool {
    !name.is_empty() && !name.contains(&b'/') && !matches!(name, b"." | b"..")
}

fn semaphore(file_name: &[u8]) -> Option<&[u8]> {
    file_name.strip_prefix(SEMAPHORE_PREFIX).filter(|name| !name.is_empty())
}

fn argument(file_name: &[u8]) -> Vec<u8> {
    match semaphore(file_name) {
        Some(name) => [b"sem:/", name].concat(),
        None => [b"/", file_name].concat(),
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Serialize for ObjectName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_to_255_bytes_without_an_inner_slash() {
        let longest = [b"/".as_slice(), &[b'x'; 255]].concat();
        for (text, file) in [
            (&b"/x"[..], &b"x"[..]),
            (b"/dev/shm/x", b"x"),
            (b"/sem.x", b"sem.x"),
            (b"/ a\nb\xff", b" a\nb\xff"),
            (b"/.hidden", b".hidden"),
            (b"/dev", b"dev"),
            (&longest, &[b'x'; 255]),
        ] {
            assert_eq!(ObjectName::parse(text).unwrap().file_name(), OsStr::from_bytes(file));
        }
        let too_long = [b"/".as_slice(), &[b'x'; 256]].concat();
        for bad in [&b"/"[..], b"x", b"//x", b"/a/b", b"/.", b"/..", b"/x/", b"/dev/shm/", b"/dev/shm/a/b", &too_long] {
            assert!(ObjectName::parse(bad).is_err(), "{:?} was accepted", OsStr::from_bytes(bad));
        }
    }

    #[test]
    fn a_reported_name_leads_to_no_other_directory() {
        for (text, file) in [("/x", "x"), ("sem:/x", "sem.x"), ("/\\xff", "\\xff")] {
            assert_eq!(ObjectName::reported(text.to_owned()).unwrap().file_name(), OsStr::new(file));
        }
        for bad in ["", "x", "/", "//x", "/a/b", "/a/../b", "/.", "/..", "/../x", "sem:/a/b", "sem:/../x"] {
            assert_eq!(ObjectName::reported(bad.to_owned()), None, "{bad}");
        }
    }

    #[test]
    fn a_semaphore_is_named_as_sem_open_names_it() {
        let name = ObjectName::parse_semaphore(b"/x").unwrap();
        assert_eq!((name.file_name(), name.to_string()), (OsStr::new("sem.x"), "sem:/x".to_owned()));
        assert_eq!(ObjectName::parse(b"/sem.x").unwrap(), name);
        for bad in [&b"x"[..], b"/", b"/a/b", &[b"/".as_slice(), &[b'x'; 252]].concat()] {
            assert!(ObjectName::parse_semaphore(bad).is_err(), "{:?} was accepted", OsStr::from_bytes(bad));
        }
    }
}
