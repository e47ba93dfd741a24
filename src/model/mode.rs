//! Permission bits of a segment.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

/// The nine permission bits; the execute bits exist and mean nothing to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mode(u16);

impl Mode {
    /// Read and write for the owner: what `create` gives when nothing else is said.
    pub(crate) const PRIVATE: Self = Self(0o600);

    /// Takes the permission bits out of a kernel mode, leaving its flags aside.
    pub(crate) const fn from_kernel(mode: u32) -> Self {
        let [low, high, ..] = (mode & 0o777).to_le_bytes();
        Self(u16::from_le_bytes([low, high]))
    }

    /// Tells whether a kernel mode marks a segment for destruction (linux/shm.h, SHM_DEST).
    pub(crate) const fn marks(mode: u32) -> bool {
        mode & 0o1000 != 0
    }

    /// Tells whether a kernel mode says that a segment is locked in memory (linux/shm.h, SHM_LOCKED).
    pub(crate) const fn locks(mode: u32) -> bool {
        mode & 0o2000 != 0
    }

    /// Gives the bits.
    pub(crate) const fn bits(self) -> u16 {
        self.0
    }

    /// Gives the spelling, `0640`, without the detour of formatting: listings have one in every row.
    pub(crate) fn spelled(self) -> [u8; 4] {
        let digit = |place: u16| b"01234567"[usize::from(self.0 >> (3 * place) & 7)];
        [digit(3), digit(2), digit(1), digit(0)]
    }

    /// Reads an octal mode such as `600` or `0600`.
    ///
    /// # Errors
    /// The text has anything but octal digits, or is above 0777.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || !text.bytes().all(|byte| (b'0'..=b'7').contains(&byte)) {
            return Err(format!("{text:?} is no mode: a mode is octal, such as 600 or 0640"));
        }
        match u16::from_str_radix(text, 8) {
            Ok(bits) if bits <= 0o777 => Ok(Self(bits)),
            _ => Err(format!("mode {text} is above 0777: a segment has the nine permission bits alone")),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04o}", self.0)
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal_and_end_at_0777() {
        assert_eq!(Mode::parse("600").unwrap(), Mode::parse("0600").unwrap());
        assert_eq!(Mode::parse("0777").unwrap().to_string(), "0777");
        assert_eq!(Mode::parse("0").unwrap().to_string(), "0000");
        for mode in ["0000", "0640", "0777", "0007"] {
            assert_eq!(Mode::parse(mode).unwrap().spelled(), mode.as_bytes());
        }
        for bad in ["", "999", "1000", "0x1ff", "u+r", "-600", "77777777777777777777"] {
            assert!(Mode::parse(bad).is_err(), "{bad:?} was taken for a mode");
        }
    }

    #[test]
    fn kernel_flags_are_no_permission_bits() {
        assert_eq!(Mode::from_kernel(0o3640), Mode::parse("640").unwrap());
    }
}
