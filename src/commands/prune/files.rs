//! POSIX objects: on which of them to request a lease, the second check, and the removal in groups.

use std::collections::HashSet;
use std::os::fd::AsFd;
use std::time::Instant;

use super::PruneArgs;
use crate::act::{AT_ONCE, Failure, OpenWatch, clean_files};
use crate::commands::Context;
use crate::commands::objects::warn_of_unlisted;
use crate::error::{Errno, Error, again};
use crate::model::{Needs, Object, Posix, State, path_text};
use crate::process::Interrupts;
use crate::query::{Filter, QueryError, System, lookup, posix_objects, probe};

/// Lists the objects. Takes the leases of removable objects, unless the removal itself will take them and a scan has
/// already shown whether they are in use.
pub(super) fn list(args: &PruneArgs, context: &mut Context, filter: &Filter) -> Result<Vec<Object>, Error> {
    let objects = match posix_objects(&context.system, Needs::RECORD | context.record_needs()) {
        Err(error) if error.is_without_objects() && !args.posix => {
            warn_of_unlisted(context, error);
            return Ok(Vec::new());
        }
        objects => objects?,
    };
    let filter = filter.in_any_state();
    let is_shown = args.dry_run || !args.yes;
    let (mut asked, others): (Vec<Object>, Vec<Object>) = objects.into_iter().partition(|object| {
        let is_undecided = is_shown || object.file_users().and_then(|users| users.in_use()).is_none();
        is_undecided && can_be_removed(object) && filter.matches(&context.system, object)
    });
    probe(&context.system, &mut asked);
    asked.extend(others);
    Ok(asked)
}

fn can_be_removed(object: &Object) -> bool {
    let posix = object.posix();
    !object.is_directory() && posix.stat.links == 1 && !posix.rule.keep
}

/// The period during which no process may open an object that only `--unattached` selects.
pub(super) struct SecondLook {
    watch: OpenWatch,
    began: Instant,
}

impl SecondLook {
    /// Starts to watch, if any of the objects requires it.
    pub(super) fn start(args: &PruneArgs, system: &System, objects: &[Object]) -> Result<Option<Self>, Error> {
        if args.dry_run || args.settle.is_zero() || !objects.iter().any(requires_second_look) {
            return Ok(None);
        }
        let directory = system.objects()?;
        let watch = OpenWatch::new(directory.as_fd()).map_err(|failure| {
            let error = Error::failed_call(format!("cannot watch {}", path_text(&directory.path)), failure);
            let error = match failure.errno {
                Errno::EMFILE => error.cause(
                    "the limit of open files (RLIMIT_NOFILE) or of inotify instances of a user \
                     (fs.inotify.max_user_instances) is reached",
                ),
                _ => error,
            };
            error.hint("remove without a second check", again("--settle 0s"))
        })?;
        Ok(Some(Self { watch, began: Instant::now() }))
    }

    /// Waits for the rest of the time; returns the objects to remove, and those that a process has opened meanwhile.
    pub(super) fn finish(
        self,
        args: &PruneArgs,
        interrupts: &Interrupts,
        objects: Vec<Object>,
    ) -> Result<(Vec<Object>, Vec<Object>), Error> {
        let (mut opened, mut is_complete) = (HashSet::new(), true);
        loop {
            is_complete &= self.watch.read(&mut opened);
            let left = args.settle.saturating_sub(self.began.elapsed());
            if left.is_zero() {
                break;
            }
            interrupts.check()?;
            interrupts.wait(Some(left), Some(self.watch.as_fd()))?;
        }
        let is_unopened =
            |posix: &Posix| is_complete && posix.name.as_ref().is_none_or(|name| !opened.contains(name.file_name()));
        let is_settled = |object: &Object| !requires_second_look(object) || is_unopened(object.posix());
        Ok(objects.into_iter().partition(is_settled))
    }
}

fn requires_second_look(object: &Object) -> bool {
    !object.is_segment() && object.state != Some(State::Orphan)
}

/// Removes objects in groups and checks each again under its lease. Stops at a signal, or if a whole group fails; that
/// error is reported for the first object of the group. Also returns whether all groups were processed.
pub(super) fn remove_all(
    args: &PruneArgs,
    system: &System,
    objects: &[&Object],
    interrupts: &Interrupts,
) -> (Vec<(Object, super::segments::Removal)>, bool) {
    let mut removals = Vec::new();
    for group in objects.chunks(AT_ONCE) {
        if interrupts.check().is_err() {
            return (removals, false);
        }
        let results = match clean_files(system, group, args.dry_run) {
            Ok(results) => results,
            Err(error) => {
                removals.push((group[0].clone(), Err(error)));
                return (removals, false);
            }
        };
        let results = results.into_iter().map(|result| result.map(|cleaned| (cleaned, None)));
        removals.extend(group.iter().map(|object| (*object).clone()).zip(results));
    }
    (removals, true)
}

/// Returns why an object is removed.
pub(super) fn reason(state: Option<State>, posix: &Posix) -> String {
    let maker = posix.maker.map(|pid| format!("creator pid {pid}"));
    let creation = match (state, maker) {
        (Some(State::Orphan), Some(maker)) => format!("; {maker} has exited"),
        (Some(State::Orphan), None) if posix.family.is_proven => {
            "; no other object of its program is in use".to_owned()
        }
        (Some(State::Orphan), None) => "; every process of its owner started later".to_owned(),
        (Some(State::Idle), Some(maker)) => format!(", but {maker} is running"),
        _ => "; nothing shows which process created it".to_owned(),
    };
    let is_leased = posix.users.as_ref().is_some_and(|users| users.lease == Some(true));
    let evidence = if is_leased { "" } else { " according to a scan of all processes" };
    let cleanup = posix.rule.cleanup.as_deref().filter(|_| !posix.is_unproven());
    let cleanup = cleanup.map(|command| format!("; its program cleans up with `{command}`")).unwrap_or_default();
    format!("not in use{evidence}{creation}{cleanup}")
}

/// Returns why the use of an object could not be determined: its lease could not be taken, or it no longer has its name.
pub(super) fn why_unknown(system: &System, object: &Object) -> String {
    let failure = match lookup(system, object.ident(), Needs::DIRECTORIES) {
        Ok(None) => Some(Failure::Gone),
        Ok(Some(now)) if now.file() == object.file() => None,
        Ok(Some(_)) | Err(QueryError::NotAnObject(..)) => Some(Failure::Replaced),
        Err(_) => None,
    };
    if let Some(failure) = failure {
        return failure.reason();
    }
    let hidden = object.file_users().map(|users| users.why_hidden()).unwrap_or_default();
    format!("the write lease cannot be taken, and {hidden}")
}
