//! One value of one row, typed: each format writes it in its own way.

use std::cmp::Ordering;
use std::io::{self, Write};

use crate::model::{Key, Mode, Stamp};

/// A value.
#[derive(Clone, Debug)]
pub(crate) enum Cell<'a> {
    /// Unknown, or never happened.
    Null,
    /// Text from outside.
    Text(&'a str),
    /// A word of our own.
    Word(&'static str),
    /// A user's or group's name, with the number that stands in for it in a table.
    Account(Option<&'a str>, u32),
    /// A count, an id or a pid.
    Number(u64),
    /// A number of bytes.
    Bytes(u128),
    /// A duration in seconds.
    Seconds(u64),
    /// A share in hundredths of a percent, which tables alone show.
    Share(u64),
    /// A moment.
    Time(Stamp),
    /// Yes or no.
    Flag(bool),
    /// A key.
    Key(Key),
    /// A mode.
    Mode(Mode),
    /// An address in a process.
    Address(u64),
    /// Several pids; a list in JSON.
    Pids(Vec<i32>),
    /// Several texts from outside; a list in JSON.
    Texts(Vec<&'a str>),
}

impl<'a> Cell<'a> {
    /// Makes a cell of a value that may be missing.
    pub(crate) fn of<T>(value: Option<T>, cell: impl FnOnce(T) -> Self) -> Self {
        value.map_or(Self::Null, cell)
    }

    /// Makes a cell of a pid.
    pub(crate) fn pid(pid: Option<i32>) -> Self {
        Self::of(pid.and_then(|pid| u64::try_from(pid).ok()), Self::Number)
    }

    /// Makes a cell of a number of bytes.
    pub(crate) fn bytes(bytes: u64) -> Self {
        Self::Bytes(bytes.into())
    }

    /// Writes the value as JSON.
    ///
    /// # Errors
    /// The writer's.
    pub(crate) fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Null | Self::Account(None, _) => out.write_all(b"null"),
            Self::Text(text) | Self::Account(Some(text), _) => serde_json::to_writer(out, text).map_err(Into::into),
            Self::Number(number) | Self::Seconds(number) => serde_json::to_writer(out, number).map_err(Into::into),
            Self::Flag(flag) => out.write_all(if *flag { b"true" } else { b"false" }),
            Self::Bytes(_) | Self::Share(_) => self.write_raw(out),
            Self::Pids(pids) => serde_json::to_writer(out, pids).map_err(Into::into),
            Self::Texts(texts) => serde_json::to_writer(out, texts).map_err(Into::into),
            Self::Word(_) | Self::Time(_) | Self::Key(_) | Self::Mode(_) | Self::Address(_) => {
                out.write_all(b"\"")?;
                self.write_raw(out)?;
                out.write_all(b"\"")
            }
        }
    }

    /// Writes the value as it is, without quotes and units; null is empty.
    ///
    /// # Errors
    /// The writer's.
    pub(crate) fn write_raw(&self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Null | Self::Account(None, _) => Ok(()),
            Self::Text(text) | Self::Account(Some(text), _) => out.write_all(text.as_bytes()),
            Self::Word(word) => out.write_all(word.as_bytes()),
            Self::Number(number) | Self::Seconds(number) => serde_json::to_writer(out, number).map_err(Into::into),
            // Almost all fit, and are divided by ten with less work.
            Self::Bytes(number) => match u64::try_from(*number) {
                Ok(number) => serde_json::to_writer(out, &number).map_err(Into::into),
                Err(_) => serde_json::to_writer(out, number).map_err(Into::into),
            },
            Self::Share(share) => write!(out, "{}.{:02}", share / 100, share % 100),
            Self::Flag(flag) => out.write_all(if *flag { b"true" } else { b"false" }),
            Self::Time(stamp) => write!(out, "{stamp}"),
            Self::Key(key) => out.write_all(&key.to_ascii()),
            Self::Mode(mode) => out.write_all(&mode.to_ascii()),
            Self::Address(address) => write!(out, "{address:#x}"),
            Self::Pids(pids) => out.write_all(joined(pids).as_bytes()),
            Self::Texts(texts) => out.write_all(texts.join("; ").as_bytes()),
        }
    }

    /// Compares two values of one column; what is unknown comes last.
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        match (self.rank(), other.rank()) {
            (Some(rank), Some(other)) => rank.cmp(&other),
            (rank, other) => rank.is_none().cmp(&other.is_none()),
        }
    }

    /// Gives what the value is ordered by.
    fn rank(&self) -> Option<Rank<'_>> {
        Some(match self {
            Self::Null => return None,
            Self::Text(text) | Self::Account(Some(text), _) => Rank::Text(text),
            Self::Word(word) => Rank::Text(word),
            Self::Account(None, number) => Rank::Number(i128::from(*number)),
            Self::Number(number) | Self::Seconds(number) | Self::Share(number) => Rank::Number(i128::from(*number)),
            Self::Bytes(number) => Rank::Number(i128::try_from(*number).unwrap_or(i128::MAX)),
            Self::Time(stamp) => Rank::Number(stamp.0.into()),
            Self::Flag(flag) => Rank::Number(i128::from(*flag)),
            Self::Key(key) => Rank::Number(key.bits().into()),
            Self::Mode(mode) => Rank::Number(mode.bits().into()),
            Self::Address(address) => Rank::Number(i128::from(*address)),
            Self::Pids(pids) => Rank::Number(i128::from(*pids.first()?)),
            Self::Texts(texts) => Rank::Text(texts.first()?),
        })
    }
}

/// Joins pids by commas.
pub(super) fn joined(pids: &[i32]) -> String {
    pids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// What values are ordered by.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Rank<'a> {
    /// By number.
    Number(i128),
    /// By text, after all numbers.
    Text(&'a str),
}
