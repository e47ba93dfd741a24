//! Moments, as the kernel keeps them: whole seconds of the wall clock.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de};

/// A moment in whole seconds since 1970-01-01 UTC; shown as RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp(pub(crate) i64);

impl Stamp {
    /// Takes a time of `struct shmid_ds`, where 0 means that it never happened.
    pub(crate) fn from_kernel(seconds: i64) -> Option<Self> {
        (seconds != 0).then_some(Self(seconds))
    }

    /// Gives the library's moment, or `None` where a clock gone wrong left its range.
    pub(crate) fn timestamp(self) -> Option<Timestamp> {
        Timestamp::from_second(self.0).ok()
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.timestamp() {
            Some(timestamp) => timestamp.fmt(formatter),
            None => self.0.fmt(formatter),
        }
    }
}

impl<'de> Deserialize<'de> for Stamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let timestamp: Timestamp = text.parse().map_err(de::Error::custom)?;
        Ok(Self(timestamp.as_second()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_rfc_3339_in_utc_and_zero_is_never() {
        assert_eq!(Stamp(1_795_420_800).to_string(), "2026-11-23T08:00:00Z");
        assert_eq!(Stamp::from_kernel(0), None);
        assert_eq!(Stamp(i64::MAX).to_string(), i64::MAX.to_string());
    }
}
