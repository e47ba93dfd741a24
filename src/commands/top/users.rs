//! The processes that use a segment or object.

use super::live::table;
use crate::commands::Context;
use crate::commands::all_namespaces::{all_files, survey};
use crate::error::{Error, Kind};
use crate::explain::find;
use crate::model::{Ident, Instance, Needs, Object};
use crate::query::add_attachers_and_find_strays;
use crate::render::{
    ATTACHERS, BY_PROCESS, FILE_USERS, LargeObject, TableStyle, USERS_BY_PROCESS, UsedFile, UsedSegment, by_names,
    escape,
};

/// Returns the lines of a page.
pub(super) fn users(context: &mut Context, object: &LargeObject, width: usize) -> Result<Vec<String>, Error> {
    context.system = context.system.renewed();
    let (instance, ident) = &object.key;
    let removed = || Error::new(Kind::NotFound, format!("{ident} was removed by another process"));
    let style = |context: &Context| TableStyle { width: Some(width), color: false, ..context.table(&["SIZE", "FD"]) };
    let (lines, is_complete) = match ident {
        // It can be one of another namespace.
        Ident::Id(_) => {
            let mut objects = survey(context, Needs::NAMESPACE)?.objects;
            objects.retain(|it| it.ident() == *ident && it.ipc_namespace() == object.ns);
            add_attachers_and_find_strays(&context.system, &mut objects)?;
            let used = UsedSegment::of(objects.first().ok_or_else(removed)?);
            let columns = by_names(ATTACHERS, BY_PROCESS);
            (table(&columns, used.processes().collect(), &style(context)), used.attachers.hidden.is_empty())
        }
        ident => {
            let device = |it: &Object| it.file().map(|file| Instance::FileSystem(file.device));
            let is_it = |it: &Object| it.ident() == *ident && device(it).as_ref() == Some(instance);
            let found = match ident {
                Ident::Name(_) if !object.is_here => {
                    all_files(context, false, Needs::ATTACHERS, false)?.0.into_iter().find(is_it)
                }
                _ => find(&context.system, ident.clone(), Needs::ATTACHERS)?,
            };
            let found = found.ok_or_else(removed)?;
            let used = UsedFile::of(&found, &[]);
            let columns = by_names(FILE_USERS, USERS_BY_PROCESS);
            (table(&columns, used.rows(false), &style(context)), used.users.hidden.is_empty())
        }
    };
    let title = escape(&format!("Users of {ident}")).into_owned();
    let note = |note: &str| vec![title.clone(), note.to_owned()];
    // Before the users, of which not all may fit.
    Ok(match (lines.len(), is_complete) {
        (..=1, true) => note("no process uses it"),
        (..=1, false) => note("no process that uses it was found, but not all processes can be inspected"),
        (_, true) => [vec![title], lines].concat(),
        (_, false) => [note("there may be more: not all processes can be inspected"), lines].concat(),
    })
}
