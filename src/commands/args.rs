//! Arguments that several commands take.

use std::time::Duration;

use clap::Args;
use clap::builder::{OsStringValueParser, PossibleValuesParser, TypedValueParser};

use super::{Context, usage};
use crate::contents::{Allocation, Range, Source};
use crate::error::Error;
use crate::explain::{ftok_key, resolve, unmapped_id};
use crate::model::{Access, Key, KeySpec, Needs, Object, State, Target, parse_duration, parse_size};
use crate::query::{Account, Filter, System};
use crate::render::{TableStyle, TimeStyle};

#[derive(Args, Debug)]
pub(crate) struct SegmentArg {
    #[arg(id = "segment", help = "Id (65538), key (0x4d2, key:1234) or ftok:PATH[:PROJ]", value_name = "SEGMENT", value_parser = target())]
    pub(crate) target: Target,
}

impl SegmentArg {
    pub(crate) fn resolve(&self, context: &Context, needs: Needs) -> Result<Object, Error> {
        resolve(&context.system, &self.target, needs)
    }
}

#[derive(Args, Debug)]
pub(crate) struct SourceArgs {
    /// Read via another process's attachment, changing no times (privileged)
    #[arg(long)]
    peek: bool,

    /// Allow reading to allocate memory for untouched pages
    #[arg(long, conflicts_with = "peek")]
    allow_allocation: bool,
}

impl SourceArgs {
    /// Opens an object to read `length` bytes at `offset`, or up to the end.
    pub(crate) fn open(
        &self,
        context: &mut Context,
        object: &Object,
        offset: u64,
        length: Option<u64>,
    ) -> Result<Source, Error> {
        if self.peek {
            return Source::via_peer(&context.system, object);
        }
        let attachment = context.attach(object, Access::ReadOnly)?;
        let range = Range::within(attachment.id(), attachment.size(), offset, length)?;
        Source::attached(&context.system, attachment, range, self.allocation())
    }

    pub(crate) fn allocation(&self) -> Allocation {
        if self.allow_allocation { Allocation::Allowed } else { Allocation::Refused }
    }
}

#[derive(Args, Debug)]
pub(crate) struct OwnerArgs {
    /// Owner of the segment
    #[arg(long, value_name = "USER")]
    pub(crate) owner: Option<String>,

    /// Group of the segment
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Option<String>,
}

/// How to print a table.
#[derive(Args, Debug)]
pub(crate) struct TableArgs {
    /// Omit the header line
    #[arg(long)]
    no_headings: bool,

    /// Show sizes in bytes
    #[arg(long)]
    bytes: bool,
}

impl TableArgs {
    pub(crate) fn style(&self, context: &Context, droppable: &'static [&'static str]) -> TableStyle<'static> {
        TableStyle { headings: !self.no_headings, bytes: self.bytes, ..context.table(droppable) }
    }
}

impl OwnerArgs {
    /// Looks up the names, before anything is created or changed.
    pub(crate) fn ids(&self, system: &System) -> Result<(Option<u32>, Option<u32>), Error> {
        let find_group = |name: &String| system.find_group(name).ok_or_else(|| unknown("group", name));
        let owner = self.owner.as_ref().map(|name| find_user(system, name)).transpose()?;
        let group = self.group.as_ref().map(find_group).transpose()?;
        for (account, id) in [(Account::User, owner), (Account::Group, group)] {
            if let Some(id) = id.filter(|id| system.id_in_namespace(account, *id).is_none()) {
                return Err(unmapped_id(system, account, id));
            }
        }
        Ok((owner, group))
    }
}

#[derive(Args, Debug, Default)]
pub(crate) struct FilterArgs {
    /// Only segments owned by USER
    #[arg(long, value_name = "USER", help_heading = "Filters")]
    owner: Option<String>,

    /// Only segments that you own or created
    #[arg(long, help_heading = "Filters")]
    mine: bool,

    /// Only segments with this key; `private` for those without a key
    #[arg(long, value_name = "KEY", allow_negative_numbers = true, value_parser = key().try_map(check_filter_key), help_heading = "Filters")]
    key: Option<KeySpec>,

    /// Only segments in this state
    #[arg(long, value_name = "STATE", value_parser = word(State::ALL.map(|state| (state.as_str(), state))), help_heading = "Filters")]
    state: Option<State>,

    /// Only segments idle for at least DURATION (10m, 1h30m)
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = "Filters")]
    older_than: Option<Duration>,

    /// Only segments of at least SIZE (4096, 4K, 1MB)
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "Filters")]
    min_size: Option<u64>,
}

impl FilterArgs {
    pub(crate) fn filter(&self, system: &System) -> Result<Filter, Error> {
        let key = match &self.key {
            None | Some(KeySpec::Random) => None,
            Some(KeySpec::Private) => Some(Key::PRIVATE),
            Some(KeySpec::Key(key)) => Some(*key),
            Some(KeySpec::Ftok(ftok)) => Some(ftok_key(ftok)?),
        };
        Ok(Filter {
            owner: self.owner.as_ref().map(|owner| find_user(system, owner)).transpose()?,
            mine: self.mine,
            key,
            state: self.state,
            older_than: self.older_than,
            min_size: self.min_size,
        })
    }
}

fn find_user(system: &System, text: &str) -> Result<u32, Error> {
    system.find_user(text).ok_or_else(|| unknown("user", text))
}

fn unknown(what: &str, text: &str) -> Error {
    usage(format!("invalid {what} {text:?}: no such {what}")).target(text)
}

pub(crate) fn target() -> impl TypedValueParser<Value = Target> {
    OsStringValueParser::new().try_map(|text| Target::from_os(&text))
}

pub(crate) fn key() -> impl TypedValueParser<Value = KeySpec> {
    OsStringValueParser::new().try_map(|text| KeySpec::from_os(&text))
}

fn check_filter_key(key: KeySpec) -> Result<KeySpec, String> {
    if matches!(key, KeySpec::Random) { Err("expected a key or private".to_owned()) } else { Ok(key) }
}

/// Returns a parser of words, each with its value.
pub(crate) fn word<T: Clone + Send + Sync + 'static>(
    values: impl IntoIterator<Item = (&'static str, T)>,
) -> impl TypedValueParser<Value = T> {
    let values: Vec<(&str, T)> = values.into_iter().collect();
    let words: Vec<&str> = values.iter().map(|(word, _)| *word).collect();
    PossibleValuesParser::new(words).try_map(move |typed| {
        values.iter().find(|(word, _)| *word == typed).map(|(_, value)| value.clone()).ok_or("unknown word")
    })
}

pub(crate) fn time_style() -> impl TypedValueParser<Value = TimeStyle> {
    word([("relative", TimeStyle::Relative), ("iso", TimeStyle::Iso), ("unix", TimeStyle::Unix)])
}
