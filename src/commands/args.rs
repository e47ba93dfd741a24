//! Arguments that several commands take.

use clap::Args;
use clap::builder::{OsStringValueParser, PossibleValuesParser, TypedValueParser};

use super::{Context, usage_error};
use crate::error::{Error, Exit};
use crate::explain::{resolve, unmapped_id};
use crate::model::{KeySpec, Needs, Object, Target};
use crate::query::{self, Account, System};
use crate::render::{COLUMNS, Column, TableStyle, TimeStyle, select};

/// The help of arguments that name segments and POSIX objects.
pub(crate) const TARGETS_HELP: &str = "Ids (65538), keys (0x4d2, ftok:PATH), /NAME, sem:/NAME, obj:OBJECT";

/// The segment or POSIX object that a command is about.
#[derive(Args, Debug)]
pub(crate) struct ObjectArg {
    #[arg(id = "segment", help = "Id (65538), key (0x4d2, ftok:PATH), /NAME, sem:/NAME or obj:OBJECT", value_name = "SEGMENT", allow_negative_numbers = true, value_parser = target())]
    pub(crate) target: Target,
}

impl ObjectArg {
    pub(crate) fn resolve(&self, context: &Context, needs: Needs) -> Result<Object, Error> {
        resolve(&context.system, &self.target, needs)
    }
}

#[derive(Args, Debug)]
pub(crate) struct OwnerArgs {
    /// Owner: a user name or uid
    #[arg(long, value_name = "USER")]
    pub(crate) owner: Option<String>,

    /// Group: a name or gid
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
    pub(crate) fn style<'a>(&self, context: &Context, droppable: &'a [&'a str]) -> TableStyle<'a> {
        TableStyle { headings: !self.no_headings, bytes: self.bytes, ..context.table(droppable) }
    }

    /// Prints the columns that a command can show.
    pub(crate) fn list_columns<R>(&self, context: &mut Context, registry: &[Column<R>]) -> Result<Exit, Error> {
        let style = self.style(context, &["JSON"]);
        let rows = registry.iter().map(Into::into).collect();
        context.print_rows("columns", &COLUMNS.iter().collect::<Vec<_>>(), rows, &style)?;
        Ok(Exit::Done)
    }
}

/// Which columns to show, and by which to sort.
#[derive(Args, Debug)]
pub(crate) struct ColumnArgs {
    /// Columns to show; +NAME,NAME adds to the default
    #[arg(short = 'o', long = "output", value_name = "COLUMNS")]
    pub(crate) output: Option<String>,

    /// List available columns
    #[arg(long)]
    pub(crate) list_columns: bool,

    /// Sort by COLUMN
    #[arg(long, value_name = "COLUMN")]
    sort: Option<String>,
}

impl ColumnArgs {
    /// Returns the list of columns to show; `base` are the default ones.
    pub(crate) fn names(&self, base: &[&str]) -> String {
        self.output.clone().unwrap_or_else(|| base.join(","))
    }

    /// Returns the column to sort by, from the first registry that has it.
    pub(crate) fn sort<R>(&self, registries: &[&'static [Column<R>]]) -> Result<Option<&'static Column<R>>, Error> {
        let Some(name) = &self.sort else { return Ok(None) };
        let select_in = |found: Result<_, _>, registry: &&'static [_]| found.or_else(|_| select(registry, &[], name));
        match registries.iter().fold(Err(String::new()), select_in).map_err(usage_error)?.as_slice() {
            [column] if !name.starts_with('+') => Ok(Some(column)),
            _ => Err(usage_error(format!("invalid sort column {name:?}: expected one column"))),
        }
    }
}

impl OwnerArgs {
    /// Looks up the names, before anything is created or changed.
    pub(crate) fn ids(&self, system: &System) -> Result<(Option<u32>, Option<u32>), Error> {
        let owner = self.owner.as_ref().map(|name| find_user(name)).transpose()?;
        let group = self.group.as_ref().map(|name| find_group(name)).transpose()?;
        for (account, id) in [(Account::User, owner), (Account::Group, group)] {
            if let Some(id) = id.filter(|id| system.id_in_namespace(account, *id).is_none()) {
                return Err(unmapped_id(system, account, id));
            }
        }
        Ok((owner, group))
    }
}

pub(crate) fn find_user(text: &str) -> Result<u32, Error> {
    query::find_user(text).ok_or_else(|| unknown("user", text))
}

pub(crate) fn find_group(text: &str) -> Result<u32, Error> {
    query::find_group(text).ok_or_else(|| unknown("group", text))
}

fn unknown(what: &str, text: &str) -> Error {
    usage_error(format!("invalid {what} {text:?}: no such {what}")).target(text)
}

/// Returns the parser of a segment or POSIX object.
pub(crate) fn target() -> impl TypedValueParser<Value = Target> {
    OsStringValueParser::new().try_map(|text| Target::from_os(&text))
}

/// Returns the parser of a KEY; `expected` is the error for anything else.
pub(crate) fn key(expected: &'static str) -> impl TypedValueParser<Value = KeySpec> {
    OsStringValueParser::new().try_map(move |text| KeySpec::from_os(&text, expected))
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

/// The meaning of STATE, for the help.
pub(super) const STATES: &str = "STATE of a segment is the first of these that applies:
  dest           marked for destruction, still attached
  in-use         attached
  idle           not attached; creator or last user is running
  unknown        not attached; cannot determine whether either is running
  orphan         not attached; creator and last user have exited

STATE of a POSIX object is the first of these that applies:
  unlinked       has no name; exists because a process has it open or mapped
  in-use         open or mapped
  unknown        no user found, but not every process could be inspected
  idle           not in use; its creator or its program is running
  kept           not in use, but its program keeps or needs it
  orphan         not in use; its creator or its program has exited
  unused         not in use; nothing shows which process created it";
