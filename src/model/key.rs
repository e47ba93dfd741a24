//! System V keys.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

use super::number::parse_integer;

/// A System V key (`key_t`), 32 bits. Key 0 (`IPC_PRIVATE`) names no segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key(u32);

impl Key {
    /// `IPC_PRIVATE`, the key of segments without a key.
    pub(crate) const PRIVATE: Self = Self(0);

    pub(crate) const fn new(bits: u32) -> Self {
        Self(bits)
    }

    /// Converts from the kernel's signed `key_t`.
    pub(crate) const fn from_kernel(key: i32) -> Self {
        Self(key.cast_unsigned())
    }

    /// Converts to the kernel's signed `key_t`.
    pub(crate) const fn to_kernel(self) -> i32 {
        self.0.cast_signed()
    }

    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    /// Computes the key that ftok(3) returns for a file and a project number.
    ///
    /// The low 16 bits are from the inode number, the next 8 from the device and the upper 8 from `proj`, so that two files
    /// can have the same key.
    pub(crate) const fn ftok(inode: u64, device: u64, proj: u8) -> Self {
        let bits = (inode & 0xffff) | ((device & 0xff) << 16) | ((proj as u64) << 24);
        let [low, second, third, high, ..] = bits.to_le_bytes();
        Self(u32::from_le_bytes([low, second, third, high]))
    }

    /// Parses a key of at most 32 bits, 0 included: decimal, `0x` hexadecimal or, with a leading 0, octal.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let number = parse_integer(text)?;
        u32::try_from(number).map(Self).map_err(|_| "a key has 32 bits, 0x00000001 to 0xffffffff".to_owned())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#010x}", self.0)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(|reason| de::Error::custom(format!("invalid key {text:?}: {reason}")))
    }
}
