//! System calls of traced programs, with decoded arguments.

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{Key, Mode, Stamp, named};

named! {
    /// The shared memory calls, in the order of summaries.
    pub(crate) enum CallName {
        Shmget = "shmget",
        Shmat = "shmat",
        Shmdt = "shmdt",
        Shmctl = "shmctl",
        Open = "open",
        Creat = "creat",
        Openat = "openat",
        Openat2 = "openat2",
        Link = "link",
        Linkat = "linkat",
        Unlink = "unlink",
        Unlinkat = "unlinkat",
        Ftruncate = "ftruncate",
        Mmap = "mmap",
        MemfdCreate = "memfd_create",
    }
}

impl CallName {
    /// Returns whether it is a call on segments, not on files.
    pub(crate) const fn is_on_segments(self) -> bool {
        matches!(self, Self::Shmget | Self::Shmat | Self::Shmdt | Self::Shmctl)
    }
}

/// Arguments, or fields of a structure, with their names.
pub(crate) type Arguments = Vec<(&'static str, Argument)>;

/// A decoded argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Argument {
    Key(Key),
    Number(i64),
    Size(u64),
    /// Seconds since 1970; 0 is never.
    Time(i64),
    /// NULL if it is 0.
    Address(u64),
    /// The name of a value, such as `IPC_STAT`.
    Word(Cow<'static, str>),
    Flags(Flags),
    /// Permission bits of a file, in octal.
    Mode(u64),
    Text(String),
    /// A descriptor, with the path of its file.
    Descriptor(i32, Option<String>),
    Structure(Arguments),
}

/// Bits with names; the rest in hexadecimal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    pub(crate) names: Vec<Cow<'static, str>>,
    /// The permission bits, if the argument has them.
    pub(crate) mode: Option<Mode>,
}

impl Flags {
    /// Decodes bits by a table of names.
    pub(crate) fn new(bits: u64, table: &[(u64, &'static str)]) -> Self {
        let mut rest = bits;
        let mut names: Vec<Cow<'static, str>> = Vec::new();
        for (bit, name) in table.iter().filter(|(bit, _)| *bit != 0 && bits & bit == *bit) {
            // Some flags consist of several bits, some of which are flags themselves.
            if rest & bit == *bit {
                names.push((*name).into());
                rest &= !bit;
            }
        }
        names.extend((rest != 0).then(|| format!("{rest:#x}").into()));
        Self { names, mode: None }
    }

    #[must_use]
    pub(crate) fn with_mode(mut self, bits: u64) -> Self {
        let [low, high, ..] = bits.to_le_bytes();
        self.mode = Some(Mode::from_kernel(u32::from_le_bytes([low, high, 0, 0])));
        self
    }
}

/// The result of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CallResult {
    Number(u64),
    Address(u64),
    Failed {
        /// The name of the errno.
        errno: String,
        /// The C library's text.
        text: String,
    },
    /// Interrupted: the kernel repeats it, or it fails with EINTR. The name is one of the kernel's, such as
    /// `ERESTARTSYS`.
    Interrupted(&'static str),
    /// The thread ended during the call, or its tracing did; or a seccomp filter raised SIGSYS instead of the call.
    Unknown,
}

/// A call of a traced thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) name: CallName,
    pub(crate) arguments: Arguments,
    pub(crate) result: CallResult,
}

impl Call {
    pub(crate) const fn has_failed(&self) -> bool {
        matches!(self.result, CallResult::Failed { .. })
    }
}

/// Serializes arguments as an object. The permission bits among flags are a field of their own.
pub(crate) fn serialize_arguments<S: Serializer>(arguments: &Arguments, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    for (name, argument) in arguments {
        match argument {
            Argument::Flags(flags) => {
                map.serialize_entry(if *name == "mode" { "flags" } else { name }, &flags.names)?;
                flags.mode.map_or(Ok(()), |mode| map.serialize_entry("mode", &mode.to_string()))?;
            }
            Argument::Descriptor(number, path) => {
                map.serialize_entry(name, number)?;
                map.serialize_entry("path", path)?;
            }
            other => map.serialize_entry(name, other)?,
        }
    }
    map.end()
}

impl Serialize for Argument {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Key(key) => key.serialize(serializer),
            Self::Number(number) => serializer.serialize_i64(*number),
            Self::Descriptor(number, _) => serializer.serialize_i32(*number),
            Self::Size(size) => serializer.serialize_u64(*size),
            Self::Time(seconds) => Stamp::from_kernel(*seconds).serialize(serializer),
            Self::Address(0) => serializer.serialize_none(),
            Self::Address(address) => serializer.collect_str(&format_args!("{address:#x}")),
            Self::Word(word) => serializer.serialize_str(word),
            Self::Mode(bits) => serializer.collect_str(&format_args!("{bits:04o}")),
            Self::Flags(flags) => flags.names.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Structure(fields) => serialize_arguments(fields, serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_several_bits_have_precedence_and_unknown_bits_are_kept() {
        let table = [(0b111, "ALL"), (0b1, "ONE"), (0b10, "TWO")];
        let names = |bits| Flags::new(bits, &table).names;
        assert_eq!(names(0b111), ["ALL"]);
        assert_eq!(names(0b11), ["ONE", "TWO"]);
        assert_eq!(names(0b1001), ["ONE", "0x8"]);
        assert_eq!(names(0), [] as [&str; 0]);
    }
}
