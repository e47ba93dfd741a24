//! One value of one row, typed: each format writes it in its own way.

use std::cmp::Ordering;
use std::fmt;

use serde::{Serialize, Serializer};

use crate::model::{Device, FileId, Key, Mode, Stamp};

/// A value. Its `Display` is the exact value without quotes and units, as CSV and TSV have it; null is empty.
#[derive(Clone, Debug)]
pub(crate) enum Cell<'a> {
    /// Unknown, or never happened.
    Null,
    /// Text from outside.
    Text(&'a str),
    /// A word of our own.
    Word(&'static str),
    /// Device and inode.
    File(FileId),
    /// The missing name of a file: null in JSON; in a table, what identifies the file instead.
    Nameless(FileId),
    Device(Device),
    /// A user's or group's name, with the number that stands in for it in a table.
    Account(Option<&'a str>, u32),
    Number(u64),
    Bytes(u128),
    /// Bytes per second, with a sign.
    Change(i64),
    Seconds(u64),
    /// A share in hundredths of a percent.
    Share(u64),
    Time(Stamp),
    Flag(bool),
    Key(Key),
    Mode(Mode),
    Address(u64),
    /// Several pids; a list in JSON.
    Pids(Vec<i32>),
    /// Several texts from outside; a list in JSON.
    Texts(Vec<&'a str>),
}

impl<'a> Cell<'a> {
    /// Returns the cell of a value that may be missing.
    pub(crate) fn of<T>(value: Option<T>, cell: impl FnOnce(T) -> Self) -> Self {
        value.map_or(Self::Null, cell)
    }

    pub(crate) fn text(text: Option<&'a (impl AsRef<str> + ?Sized)>) -> Self {
        Self::of(text, |text| Self::Text(text.as_ref()))
    }

    pub(crate) fn number(number: impl Into<u64>) -> Self {
        Self::Number(number.into())
    }

    pub(crate) fn pid(pid: Option<i32>) -> Self {
        Self::of(pid.and_then(|pid| u64::try_from(pid).ok()), Self::Number)
    }

    pub(crate) fn bytes(bytes: u64) -> Self {
        Self::Bytes(bytes.into())
    }

    /// Returns the share of a limit in hundredths of a percent, rounded; null if the limit is 0.
    pub(crate) fn share(used: impl Into<u128>, limit: u64) -> Self {
        let share = (used.into() * 10_000 + u128::from(limit / 2)).checked_div(limit.into());
        Self::of(share.and_then(|share| u64::try_from(share).ok()), Self::Share)
    }

    /// Compares two values of one column; what is unknown comes last.
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        let (rank, other) = (self.rank(), other.rank());
        rank.is_none().cmp(&other.is_none()).then(rank.cmp(&other))
    }

    /// Compares two values of one column, the largest first; what is unknown comes last.
    pub(crate) fn compare_descending(&self, other: &Self) -> Ordering {
        let (rank, other) = (self.rank(), other.rank());
        rank.is_none().cmp(&other.is_none()).then(other.cmp(&rank))
    }

    fn rank(&self) -> Option<Rank<'_>> {
        Some(match self {
            Self::Null => return None,
            Self::Text(text) | Self::Word(text) | Self::Account(Some(text), _) => Rank::Text(text),
            Self::Account(None, number) => Rank::Number((*number).into()),
            Self::Number(number) | Self::Seconds(number) | Self::Share(number) | Self::Address(number) => {
                Rank::Number((*number).into())
            }
            Self::Bytes(number) => Rank::Number(i128::try_from(*number).unwrap_or(i128::MAX)),
            Self::Change(change) => Rank::Number((*change).into()),
            Self::Time(stamp) => Rank::Number(stamp.0.into()),
            Self::Flag(flag) => Rank::Number((*flag).into()),
            Self::Key(key) => Rank::Number(key.bits().into()),
            Self::Mode(mode) => Rank::Number(mode.bits().into()),
            Self::File(file) | Self::Nameless(file) => Rank::File(*file),
            Self::Device(device) => Rank::File(FileId { device: *device, inode: 0 }),
            Self::Pids(pids) => Rank::Number((*pids.first()?).into()),
            Self::Texts(texts) => Rank::Text(texts.first()?),
        })
    }
}

/// What values are ordered by: numbers first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Rank<'a> {
    Number(i128),
    Text(&'a str),
    File(FileId),
}

impl fmt::Display for Cell<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null | Self::Nameless(_) | Self::Account(None, _) => Ok(()),
            Self::Text(text) | Self::Word(text) | Self::Account(Some(text), _) => formatter.write_str(text),
            Self::Number(number) | Self::Seconds(number) => number.fmt(formatter),
            Self::Bytes(number) => number.fmt(formatter),
            Self::Change(change) => change.fmt(formatter),
            Self::Share(share) => write!(formatter, "{}.{:02}", share / 100, share % 100),
            Self::Time(stamp) => stamp.fmt(formatter),
            Self::Flag(flag) => flag.fmt(formatter),
            Self::Key(key) => key.fmt(formatter),
            Self::Mode(mode) => mode.fmt(formatter),
            Self::File(file) => file.fmt(formatter),
            Self::Device(device) => device.fmt(formatter),
            Self::Address(address) => write!(formatter, "{address:#x}"),
            Self::Pids(pids) => formatter.write_str(&pids.iter().map(i32::to_string).collect::<Vec<_>>().join(",")),
            Self::Texts(texts) => formatter.write_str(&texts.join("; ")),
        }
    }
}

impl Serialize for Cell<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null | Self::Nameless(_) | Self::Account(None, _) => serializer.serialize_none(),
            Self::Text(text) | Self::Word(text) | Self::Account(Some(text), _) => serializer.serialize_str(text),
            Self::Number(number) | Self::Seconds(number) => serializer.serialize_u64(*number),
            Self::Bytes(number) => number.serialize(serializer),
            Self::Change(change) => serializer.serialize_i64(*change),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Pids(pids) => pids.serialize(serializer),
            Self::Texts(texts) => texts.serialize(serializer),
            Self::Share(share) => {
                serializer.serialize_f64(f64::from(u32::try_from(*share).unwrap_or(u32::MAX)) / 100.0)
            }
            Self::Time(_) | Self::File(_) | Self::Device(_) | Self::Key(_) | Self::Mode(_) | Self::Address(_) => {
                serializer.collect_str(self)
            }
        }
    }
}
