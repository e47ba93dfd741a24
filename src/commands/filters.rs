//! The filters that `list`, `who` and `prune` share.

use std::ffi::OsStr;
use std::time::Duration;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};

use super::Context;
use super::all_namespaces::namespace_suffix;
use super::args::{find_group, find_user, target, word};
use crate::error::{Error, Hint, Kind, again};
use crate::explain::{cannot_inspect, describe_removed, ftok_key, suggest_key};
use crate::model::{
    FileType, Key, KeySpec, Mode, Name, Object, State, Target, enumerate, is_decimal, parse_duration, parse_pid,
    parse_size,
};
use crate::query::{Filter, KeyFilter, Pattern, not_inspectable, removed_among, removed_with_key, retain_attached_by};

/// Conditions, all of which must hold; the values of one are alternatives.
#[derive(Args, Debug, Default)]
pub(crate) struct FilterArgs {
    /// Owned by USER
    #[arg(long, value_name = "USER", value_delimiter = ',', help_heading = "Filters")]
    owner: Vec<String>,

    /// Owned by group GROUP
    #[arg(long, value_name = "GROUP", value_delimiter = ',', help_heading = "Filters")]
    group: Vec<String>,

    /// Created by USER (segments only)
    #[arg(long, value_name = "USER", value_delimiter = ',', help_heading = "Filters")]
    creator: Vec<String>,

    /// Owned or created by you
    #[arg(long, help_heading = "Filters")]
    mine: bool,

    /// With KEY, `any` key, or `private` (segments only)
    #[arg(long, value_name = "KEY", value_delimiter = ',', allow_hyphen_values = true, value_parser = key(), help_heading = "Filters")]
    key: Vec<KeyArg>,

    /// In state STATE
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = word(State::ALL.map(|state| (state.as_str(), state))), help_heading = "Filters")]
    state: Vec<State>,

    /// With permission bits MODE (octal)
    #[arg(long, value_name = "MODE", value_delimiter = ',', value_parser = Mode::parse, help_heading = "Filters")]
    mode: Vec<Mode>,

    /// Idle for at least DURATION (10m, 1h30m)
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = "Filters")]
    older_than: Option<Duration>,

    /// Of at least SIZE (4096, 4K, 1MB)
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "Filters")]
    min_size: Option<u64>,

    /// Of at most SIZE
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "Filters")]
    max_size: Option<u64>,

    /// Created by process PID (segments only)
    #[arg(long, value_name = "PID", value_delimiter = ',', value_parser = parse_pid, help_heading = "Filters")]
    cpid: Vec<i32>,

    /// In use by process PID
    #[arg(long, value_name = "PID", value_delimiter = ',', value_parser = parse_pid, help_heading = "Filters")]
    pid: Vec<i32>,

    /// With a name that matches GLOB (psm_*; objects only)
    #[arg(long, value_name = "GLOB", value_delimiter = ',', value_parser = Pattern::new, help_heading = "Filters")]
    name: Vec<Pattern>,

    /// Of type TYPE (objects only)
    #[arg(long, value_name = "TYPE", value_delimiter = ',', value_parser = word(FileType::ALL.map(|it| (it.as_str(), it))), help_heading = "Filters")]
    r#type: Vec<FileType>,

    /// Of program ID, as PRODUCT shows it (objects only)
    #[arg(long, value_name = "ID", value_delimiter = ',', help_heading = "Filters")]
    product: Vec<String>,

    /// Exclude SEGMENT
    #[arg(long, value_name = "SEGMENT", value_delimiter = ',', value_parser = target(), help_heading = "Filters")]
    exclude: Vec<Target>,
}

/// A value of `--key`.
#[derive(Clone, Debug)]
enum KeyArg {
    Any,
    Key(KeySpec),
}

fn key() -> impl TypedValueParser<Value = KeyArg> {
    OsStringValueParser::new().try_map(|text| parse_key(&text))
}

fn parse_key(text: &OsStr) -> Result<KeyArg, String> {
    let expected = "expected any, private, a key (0x4d2, 1234) or ftok:PATH";
    match KeySpec::from_os(text, expected) {
        _ if text == "any" => Ok(KeyArg::Any),
        Ok(KeySpec::Random) => Err(expected.to_owned()),
        key => key.map(KeyArg::Key),
    }
}

impl FilterArgs {
    /// Returns whether segments are selected by the processes that have them attached.
    pub(crate) fn has_pid(&self) -> bool {
        !self.pid.is_empty()
    }

    /// Returns the options that select by owner.
    pub(crate) fn owner_options(&self) -> Vec<&'static str> {
        let options = [("--mine", self.mine), ("--owner", !self.owner.is_empty())];
        options.into_iter().filter_map(|(option, is_given)| is_given.then_some(option)).collect()
    }

    /// Fails if a plain number of `--exclude` is not the id of any of these objects, but a key: that segment is not
    /// excluded.
    pub(crate) fn check_exclude(&self, objects: &[Object]) -> Result<(), Error> {
        let segments: Vec<_> = objects.iter().filter_map(Object::as_sysv).collect();
        let as_key = |target: &Target| match target.name {
            Name::Id(id) if is_decimal(&target.text) && !segments.iter().any(|segment| segment.id == id) => {
                let key = Key::new(id.raw().cast_unsigned());
                segments.iter().any(|segment| segment.key == key && key != Key::PRIVATE).then_some(key)
            }
            _ => None,
        };
        let keys: Vec<Key> = self.exclude.iter().filter_map(as_key).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = keys.iter().map(|key| key.bits().to_string()).collect();
        let message = format!("cannot exclude segment {}: none of the segments has this id", enumerate(&names, "or"));
        let error = Error::new(Kind::NotFound, message).target(&*names[0]);
        Err(keys.into_iter().map(suggest_key).fold(error, Error::with))
    }

    pub(crate) fn filter(&self) -> Result<Filter, Error> {
        let users = |names: &[String]| names.iter().map(|name| find_user(name)).collect::<Result<Vec<_>, _>>();
        let key = |key: &KeyArg| match key {
            KeyArg::Any => Ok(KeyFilter::Any),
            KeyArg::Key(KeySpec::Private | KeySpec::Random) => Ok(KeyFilter::Is(Key::PRIVATE)),
            KeyArg::Key(KeySpec::Key(key)) => Ok(KeyFilter::Is(*key)),
            KeyArg::Key(KeySpec::Ftok(ftok)) => ftok_key(ftok).map(KeyFilter::Is),
        };
        Ok(Filter {
            owner: users(&self.owner)?,
            group: self.group.iter().map(|name| find_group(name)).collect::<Result<_, _>>()?,
            creator: users(&self.creator)?,
            mine: self.mine,
            key: self.key.iter().map(key).collect::<Result<_, _>>()?,
            state: self.state.clone(),
            mode: self.mode.clone(),
            older_than: self.older_than,
            min_size: self.min_size,
            max_size: self.max_size,
            cpid: self.cpid.clone(),
            pid: self.pid.clone(),
            name: self.name.clone(),
            file_type: self.r#type.clone(),
            product: self.product.clone(),
            exclude: self.exclude.iter().map(id_or_key).collect::<Result<_, _>>()?,
        })
    }
}

/// Replaces `ftok:PATH` with the key of the file.
fn id_or_key(target: &Target) -> Result<Name, Error> {
    match &target.name {
        Name::Ftok(ftok) => ftok_key(ftok).map(Name::Key),
        name => Ok(name.clone()),
    }
}

/// Returns the keys among names of segments.
pub(crate) fn keys(targets: &[Target]) -> Vec<Key> {
    let key = |target| match id_or_key(target) {
        Ok(Name::Key(key)) => Some(key),
        _ => None,
    };
    targets.iter().filter_map(key).collect()
}

/// Errors, each with its target.
pub(crate) type Failures = Vec<(String, Error)>;

/// Keeps the objects that a filter selects. Returns an error for each process of `--pid` that cannot be inspected.
pub(crate) fn select(
    context: &mut Context,
    args: &FilterArgs,
    filter: &Filter,
    objects: &mut Vec<Object>,
    all_ns: bool,
) -> Result<Failures, Error> {
    if let Err(error) = args.check_exclude(objects) {
        context.ui.warning(&error.to_string());
        error.hints.into_iter().for_each(|hint| context.ui.hint(hint));
    }
    objects.retain(|object| filter.matches(&context.system, object));
    if filter.pid.is_empty() {
        return Ok(Vec::new());
    }
    let here = context.system.namespace();
    for pid in &filter.pid {
        if let Some(ns) = context.system.namespace_of(*pid).filter(|ns| !all_ns && Some(*ns) != here) {
            context.ui.warning(&format!("process {pid} is in another IPC namespace, {ns}"));
            context.ui.hint(Hint::new("show the segments of all namespaces", again("--all-ns")));
        }
    }
    let failed = retain_attached_by(&context.system, objects, &filter.pid)?;
    Ok(failed.into_iter().map(|process| cannot_inspect(&context.system, process)).collect())
}

/// Returns an error for each process of `--pid` that cannot be inspected.
pub(crate) fn check_pids(context: &Context, filter: &Filter) -> Result<Failures, Error> {
    if filter.pid.is_empty() {
        return Ok(Vec::new());
    }
    let failed = not_inspectable(&context.system, &filter.pid)?;
    Ok(failed.into_iter().map(|process| cannot_inspect(&context.system, process)).collect())
}

pub(crate) fn is_attached_by(segment: &Object, pids: &[i32]) -> bool {
    segment.attachers.iter().flat_map(|attachers| attachers.pids()).any(|pid| pids.contains(&pid))
}

/// Warns about segments that had one of these keys until they were marked for destruction: their users do not share
/// memory with those of the segment that has the key now. A segment that another condition of the filter excludes is not
/// mentioned.
pub(crate) fn warn_of_removed(context: &mut Context, keys: &[Key], filter: &Filter) {
    // This warning is optional, so a failure is ignored.
    let removed = removed_with_key(&context.system, keys, filter.needs()).unwrap_or_default();
    warn_of(context, filter, &removed, false);
}

/// Warns like [`warn_of_removed`], about the listed segments of all namespaces.
pub(crate) fn warn_of_removed_among(context: &mut Context, filter: &Filter, listed: &[Object]) {
    let keys = filter.keys();
    if !keys.is_empty() {
        let removed = removed_among(&context.system, &keys, listed).unwrap_or_default();
        warn_of(context, filter, &removed, true);
    }
}

fn warn_of(context: &mut Context, filter: &Filter, removed: &[Object], all_ns: bool) {
    let filter = Filter { key: Vec::new(), ..filter.clone() };
    let is_used_by = |segment: &Object| filter.pid.is_empty() || is_attached_by(segment, &filter.pid);
    for segment in removed.iter().filter(|it| filter.matches(&context.system, it) && is_used_by(it)) {
        let namespace = namespace_suffix(all_ns, segment.ipc_namespace(), segment.container.as_deref());
        context.ui.warning(&describe_removed(&context.system, segment, &namespace));
    }
}
