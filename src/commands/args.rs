//! Arguments that several commands take.

use std::time::Duration;

use clap::Args;
use clap::builder::{OsStringValueParser, PossibleValuesParser, TypedValueParser};

use super::usage;
use crate::error::Error;
use crate::explain::{ftok_key, unmapped_id};
use crate::model::{Key, KeySpec, State, Target, parse_duration, parse_size};
use crate::query::{Account, Filter, System};
use crate::render::TimeStyle;

/// The one segment that a command is about.
#[derive(Args, Debug)]
pub(crate) struct SegmentArg {
    #[arg(help = "Id (65538), key (0x4d2, key:1234) or ftok:PATH[:PROJ]", value_name = "SEGMENT", value_parser = target())]
    pub(crate) segment: Target,
}

/// The segments that a command is about.
#[derive(Args, Debug)]
pub(crate) struct SegmentArgs {
    #[arg(help = "Ids (65538), keys (0x4d2, key:1234) or ftok:PATH[:PROJ]", value_name = "SEGMENT", required = true, value_parser = target())]
    pub(crate) segments: Vec<Target>,
}

/// The owner and group of a segment.
#[derive(Args, Debug)]
pub(crate) struct OwnerArgs {
    /// Owner of the segment
    #[arg(long, value_name = "USER")]
    pub(crate) owner: Option<String>,

    /// Group of the segment
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Option<String>,
}

impl OwnerArgs {
    /// Looks up the given names.
    ///
    /// # Errors
    /// There is no such user, or no such group.
    pub(crate) fn ids(&self, system: &System) -> Result<(Option<u32>, Option<u32>), Error> {
        let owner = self.owner.as_deref().map(|owner| find_user(system, owner)).transpose()?;
        let group = self
            .group
            .as_deref()
            .map(|group| system.find_group(group).ok_or_else(|| unknown("group", group)))
            .transpose()?;
        // Before anything is created or changed.
        for (account, id) in [(Account::User, owner), (Account::Group, group)] {
            if let Some(id) = id.filter(|id| system.id_in_namespace(account, *id).is_none()) {
                return Err(unmapped_id(system, account, id));
            }
        }
        Ok((owner, group))
    }
}

/// Conditions, all of which must hold.
#[derive(Args, Debug, Default)]
pub(crate) struct FilterArgs {
    /// Only segments owned by USER
    #[arg(long, value_name = "USER", help_heading = "Filters")]
    owner: Option<String>,

    /// Only segments that you own or created
    #[arg(long, help_heading = "Filters")]
    mine: bool,

    /// Only segments with this key; `private` for those without a key
    #[arg(long, value_name = "KEY", value_parser = key().try_map(check_filter_key), help_heading = "Filters")]
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
    /// Resolves users and ftok files.
    ///
    /// # Errors
    /// There is no such user, or no such file.
    pub(crate) fn filter(&self, system: &System) -> Result<Filter, Error> {
        let key = match &self.key {
            None | Some(KeySpec::Random) => None,
            Some(KeySpec::Private) => Some(Key::PRIVATE),
            Some(KeySpec::Key(key)) => Some(*key),
            Some(KeySpec::Ftok(ftok)) => Some(ftok_key(ftok)?),
        };
        Ok(Filter {
            owner: self.owner.as_deref().map(|owner| find_user(system, owner)).transpose()?,
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

/// Returns the parser of a SEGMENT.
pub(super) fn target() -> impl TypedValueParser<Value = Target> {
    OsStringValueParser::new().try_map(|text| Target::from_os(&text))
}

/// Returns the parser of a KEY.
pub(super) fn key() -> impl TypedValueParser<Value = KeySpec> {
    OsStringValueParser::new().try_map(|text| KeySpec::from_os(&text))
}

/// Rejects `random` as the key of a filter.
fn check_filter_key(key: KeySpec) -> Result<KeySpec, String> {
    match key {
        KeySpec::Random => Err("expected a key or private".to_owned()),
        key => Ok(key),
    }
}

/// Returns a parser of one of these words, for the value that belongs to it.
pub(crate) fn word<T: Clone + Send + Sync + 'static>(
    words: impl IntoIterator<Item = (&'static str, T)>,
) -> impl TypedValueParser<Value = T> {
    let words: Vec<(&str, T)> = words.into_iter().collect();
    let possible: Vec<_> = words.iter().map(|(word, _)| *word).collect();
    PossibleValuesParser::new(possible).try_map(move |found| {
        words.iter().find(|(word, _)| *word == found).map(|(_, value)| value.clone()).ok_or("unknown word")
    })
}

/// Returns the parser of a style of times.
pub(super) fn time_style() -> impl TypedValueParser<Value = TimeStyle> {
    word([("relative", TimeStyle::Relative), ("iso", TimeStyle::Iso), ("unix", TimeStyle::Unix)])
}
