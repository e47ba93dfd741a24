//! Permission bits of a segment.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

/// The nine permission bits. The kernel uses the execute bits only for SHM_EXEC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mode(u16);

impl Mode {
    pub(crate) const PRIVATE: Self = Self(0o600);

    /// Returns the permission bits of a kernel mode, without its flags.
    pub(crate) const fn from_kernel(mode: u32) -> Self {
        let [low, high, ..] = (mode & 0o777).to_le_bytes();
        Self(u16::from_le_bytes([low, high]))
    }

    /// Returns whether a kernel mode has SHM_DEST: the segment is marked for destruction.
    pub(crate) const fn is_marked(mode: u32) -> bool {
        mode & 0o1000 != 0
    }

    pub(crate) const fn is_locked(mode: u32) -> bool {
        mode & 0o2000 != 0
    }

    pub(crate) const fn bits(self) -> u16 {
        self.0
    }

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || !text.bytes().all(|byte| (b'0'..=b'7').contains(&byte)) {
            return Err("expected an octal mode such as 600 or 0640".to_owned());
        }
        match u16::from_str_radix(text, 8) {
            Ok(bits) if bits <= 0o777 => Ok(Self(bits)),
            _ => Err("a mode is at most 0777".to_owned()),
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
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(|reason| de::Error::custom(format!("invalid mode {text:?}: {reason}")))
    }
}
