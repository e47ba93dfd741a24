//! How users name a segment.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::number::parse_decimal;
use super::{Key, ShmId, lossless};

/// A segment as a user named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The words that were typed.
    pub(crate) text: String,
    /// What they mean.
    pub(crate) name: Name,
}

/// The ways to name a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// By its id.
    Id(ShmId),
    /// By its key, which is not 0.
    Key(Key),
    /// By the key that ftok(3) makes.
    Ftok(Ftok),
}

/// The arguments of ftok(3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ftok {
    /// A file that exists.
    pub(crate) path: PathBuf,
    /// The project number, 1 to 255.
    pub(crate) proj: u8,
}

/// The key that a new segment shall have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeySpec {
    /// None: IPC_PRIVATE.
    Private,
    /// Any that is free.
    Random,
    /// This one.
    Key(Key),
    /// The one that ftok(3) makes.
    Ftok(Ftok),
}

impl Target {
    /// Names a segment by its id.
    pub(crate) fn of_id(id: ShmId) -> Self {
        Self { text: id.to_string(), name: Name::Id(id) }
    }

    /// Reads a SEGMENT: `65538`, `0x4d2`, `id:…`, `key:…` or `ftok:PATH[:PROJ]`.
    ///
    /// # Errors
    /// The text follows none of these forms, or names what can be no segment.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let name = if text.starts_with('/') {
            return Err(format!(
                "{text} would be a POSIX shared memory object, and these are not supported yet: \
                 name a System V segment by id, key: or ftok:"
            ));
        } else if let Some(id) = text.strip_prefix("id:") {
            Name::Id(parse_id(id)?)
        } else if let Some(key) = text.strip_prefix("key:") {
            Name::Key(parse_name_key(key)?)
        } else if let Some(rest) = text.strip_prefix("ftok:") {
            Name::Ftok(Ftok::parse(rest.as_bytes())?)
        } else if text.starts_with("0x") || text.starts_with("0X") {
            Name::Key(parse_name_key(text)?)
        } else if text.is_empty() {
            return Err("the name is empty: is a variable unset? name a segment by id, 0xKEY, key: or ftok:".to_owned());
        } else {
            Name::Id(parse_id(text)?)
        };
        Ok(Self { text: text.to_owned(), name })
    }

    /// Reads the name of a segment, in which the path of a file need not be UTF-8.
    ///
    /// # Errors
    /// As with [`Target::parse`].
    pub(crate) fn from_os(text: &OsStr) -> Result<Self, String> {
        let of_file = |ftok| Self { text: lossless(text.as_bytes()), name: Name::Ftok(ftok) };
        parse_os(text, Self::parse, of_file)
    }
}

/// Reads a name, of which only the path of a file may be other than UTF-8.
fn parse_os<T>(
    text: &OsStr,
    parse: impl FnOnce(&str) -> Result<T, String>,
    of_file: impl FnOnce(Ftok) -> T,
) -> Result<T, String> {
    match (text.to_str(), text.as_bytes().strip_prefix(b"ftok:")) {
        (Some(text), _) => parse(text),
        (None, Some(rest)) => Ftok::parse(rest).map(of_file),
        (None, None) => Err("it is not UTF-8, which only a path behind ftok: need not be".to_owned()),
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Ftok {
    /// Reads `PATH` or `PATH:PROJ`; PROJ follows the last colon.
    ///
    /// # Errors
    /// PATH is empty, or PROJ is neither 1 to 255 nor one character.
    fn parse(text: &[u8]) -> Result<Self, String> {
        let (path, proj) = match text.iter().rposition(|byte| *byte == b':') {
            Some(colon) => (&text[..colon], parse_proj(&lossless(&text[colon + 1..]))?),
            None => (text, 1),
        };
        if path.is_empty() {
            return Err("ftok: wants a path: write ftok:PATH or ftok:PATH:PROJ".to_owned());
        }
        Ok(Self { path: OsStr::from_bytes(path).into(), proj })
    }
}

impl KeySpec {
    /// Reads a KEY for a new segment, in which the path of a file need not be UTF-8.
    ///
    /// # Errors
    /// As with [`KeySpec::parse`].
    pub(crate) fn from_os(text: &OsStr) -> Result<Self, String> {
        parse_os(text, Self::parse, Self::Ftok)
    }

    /// Reads a KEY for a new segment: `private`, `random`, a number, or `ftok:PATH[:PROJ]`.
    ///
    /// # Errors
    /// The text is none of these, or is the number 0.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "private" => Ok(Self::Private),
            "random" => Ok(Self::Random),
            _ => {
                if let Some(rest) = text.strip_prefix("ftok:") {
                    return Ftok::parse(rest.as_bytes()).map(Self::Ftok);
                }
                match Key::parse(text.strip_prefix("key:").unwrap_or(text))? {
                    Key::PRIVATE => Err("key 0 is IPC_PRIVATE: for a segment without a key, write private".to_owned()),
                    key => Ok(Self::Key(key)),
                }
            }
        }
    }
}

/// Reads an id: decimal, without leading zero, within 31 bits.
fn parse_id(text: &str) -> Result<ShmId, String> {
    let number = parse_decimal(text).map_err(|message| {
        format!("{message}: name a segment by its id (65538), its key (0x4d2, key:1234) or a file (ftok:PATH)")
    })?;
    i32::try_from(number).ok().and_then(ShmId::new).ok_or_else(|| match u32::try_from(number) {
        Ok(_) => format!("{text} is no id: ids are 0 to {}; a key is written key:{text}", i32::MAX),
        Err(_) => format!("{text} is no id: ids are 0 to {}", i32::MAX),
    })
}

/// Reads a key that shall name a segment, and so cannot be 0.
fn parse_name_key(text: &str) -> Result<Key, String> {
    match Key::parse(text)? {
        Key::PRIVATE => Err("key 0 is IPC_PRIVATE, which every segment without a key has: \
             it names none of them, use the id that `shmadm list` shows"
            .to_owned()),
        key => Ok(key),
    }
}

/// Reads the project of ftok: a number from 1 to 255, or one character, which `'5'` makes of a digit.
fn parse_proj(text: &str) -> Result<u8, String> {
    let wrong = || {
        format!(
            "{text:?} is no PROJ: it is 1 to 255, or one ASCII character; if the path itself has a colon, end it with :1"
        )
    };
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
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

    /// Parses a name that must be good.
    fn name(text: &str) -> Name {
        Target::parse(text).unwrap().name
    }

    /// Makes the name that ftok arguments give.
    fn ftok(path: &str, proj: u8) -> Name {
        Name::Ftok(Ftok { path: path.into(), proj })
    }

    #[test]
    fn each_form_means_one_thing() {
        assert_eq!(name("65538"), Name::Id(ShmId::new(65538).unwrap()));
        assert_eq!(name("0"), Name::Id(ShmId::new(0).unwrap()));
        assert_eq!(name("id:65538"), name("65538"));
        for key in ["0x4d2", "0X4D2", "key:1234", "key:0x4d2", "key:02322", "key:0x000004d2"] {
            assert_eq!(name(key), Name::Key(Key::new(1234)), "{key}");
        }
        assert_eq!(name("0xffffffff"), Name::Key(Key::new(u32::MAX)));
        assert_eq!(name("ftok:/etc"), ftok("/etc", 1));
        assert_eq!(name("ftok:/etc:A"), ftok("/etc", b'A'));
        assert_eq!(name("ftok:/etc:5"), ftok("/etc", 5));
        assert_eq!(name("ftok:/etc:'5'"), ftok("/etc", b'5'));
        assert_eq!(name("ftok:/a:b:255"), ftok("/a:b", 255));
        assert_eq!(name("ftok:/a:'"), ftok("/a", b'\''));
        // A path may be of any bytes, and nothing else.
        let raw = Target::from_os(OsStr::from_bytes(b"ftok:/\xff:A")).unwrap();
        assert_eq!(raw.name, Name::Ftok(Ftok { path: OsStr::from_bytes(b"/\xff").into(), proj: b'A' }));
        assert_eq!(raw.to_string(), "ftok:/\\xff:A");
        assert_eq!(Target::from_os(OsStr::new("0x4d2")).unwrap().name, name("0x4d2"));
        for bad in [&b"\xff"[..], b"key:1\xff", b"ftok:/a:\xff", b"ftok:\xff:ab"] {
            assert!(Target::from_os(OsStr::from_bytes(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused_and_never_wraps() {
        for bad in [
            "",
            "12abc",
            "-1",
            "+1",
            "010",
            "4294967296",
            "2147483648",
            "1e3",
            " 5",
            "5 ",
            "key:",
            "key:0",
            "key:0x0",
            "key:00",
            "key:0x100000001",
            "key:4294967296",
            "key:-1",
            "0x",
            "0x0",
            "0xg",
            "id:",
            "id:0x5",
            "id:-1",
            "ftok:",
            "ftok::1",
            "ftok:/a:",
            "ftok:/a:0",
            "ftok:/a:256",
            "ftok:/a:ab",
            "ftok:/a:07",
            "ftok:/a:é",
            "/name",
            "shm",
            "٣",
        ] {
            assert!(Target::parse(bad).is_err(), "{bad:?} was taken for a segment");
        }
        assert!(Target::parse("key:0").is_err_and(|message| message.contains("IPC_PRIVATE") && message.contains("id")));
        assert!(Target::parse("/name").is_err_and(|message| message.contains("POSIX")));
    }

    #[test]
    fn new_keys_have_their_own_words() {
        assert_eq!(KeySpec::parse("private"), Ok(KeySpec::Private));
        assert_eq!(KeySpec::parse("random"), Ok(KeySpec::Random));
        assert_eq!(KeySpec::parse("02322"), Ok(KeySpec::Key(Key::new(1234))));
        assert_eq!(KeySpec::parse("1234"), Ok(KeySpec::Key(Key::new(1234))));
        for bad in ["", "0", "0x0", "Private", "-1", "0x100000000"] {
            assert!(KeySpec::parse(bad).is_err(), "{bad:?} was taken for a key");
        }
    }
}
