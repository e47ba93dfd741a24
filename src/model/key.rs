//! System V keys.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::number::{parse_decimal, parse_integer};

/// A System V key (`key_t`), 32 bits. Key 0 (`IPC_PRIVATE`) names no segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key(u32);

impl Key {
    pub(crate) const PRIVATE: Self = Self(0);

    pub(crate) const fn new(bits: u32) -> Self {
        Self(bits)
    }

    /// Converts from the kernel's signed `key_t`.
    pub(crate) const fn from_kernel(key: i32) -> Self {
        Self(key.cast_unsigned())
    }

    pub(crate) const fn to_kernel(self) -> i32 {
        self.0.cast_signed()
    }

    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    /// Returns `key 0x000004d2, `, to be followed by other attributes; empty for IPC_PRIVATE.
    pub(crate) fn prefix(self) -> String {
        if self == Self::PRIVATE { String::new() } else { format!("key {self}, ") }
    }

    /// Computes the key that ftok(3) returns for a file and a project number.
    ///
    /// The low 16 bits are from the inode number, the next 8 from the device and the upper 8 from `proj`, so two files
    /// can have the same key.
    pub(crate) const fn ftok(inode: u64, device: u64, proj: u8) -> Self {
        let bits = (inode & 0xffff) | ((device & 0xff) << 16) | ((proj as u64) << 24);
        let [low, second, third, high, ..] = bits.to_le_bytes();
        Self(u32::from_le_bytes([low, second, third, high]))
    }

    /// Parses a key of at most 32 bits, 0 included: decimal, `0x` hexadecimal or, with a leading 0, octal. A negative
    /// decimal is a key above 0x7fffffff as /proc/sysvipc/shm prints it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some(digits) = text.strip_prefix('-') {
            let signed = i64::try_from(parse_decimal(digits)?).ok().and_then(|number| i32::try_from(-number).ok());
            let negative = signed.filter(|key| *key < 0).map(Self::from_kernel);
            return negative.ok_or_else(|| "a negative key is -2147483648 to -1".to_owned());
        }
        let number = parse_integer(text)?;
        u32::try_from(number).map(Self).map_err(|_| "a key has 32 bits, 0x00000001 to 0xffffffff".to_owned())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every row of a listing has a key, and this is faster than `{:#010x}`.
        let mut text = *b"0x00000000";
        for (digit, shift) in text[2..].iter_mut().zip((0..32).step_by(4).rev()) {
            *digit = b"0123456789abcdef"[(self.0 >> shift & 0xf) as usize];
        }
        formatter.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(|reason| de::Error::custom(format!("invalid key {text:?}: {reason}")))
    }
}
