//! What `prune` reports in addition to its table: restored names, and what was skipped.

use super::{PruneArgs, describe_with_namespace};
use crate::act::{aside_name, restore_aside};
use crate::commands::Context;
use crate::error::{Errno, Hint, shmadm};
use crate::model::{Ident, Object, counted, enumerate, first_names};
use crate::render::Skipped;

/// The maximum number of names in a line.
const MAX_NAMES: usize = 3;

/// Restores the names of objects whose removal was killed, and reports it.
pub(super) fn restore_names(args: &PruneArgs, context: &mut Context) {
    for (name, restored) in restore_aside(&context.system, args.dry_run) {
        let ident = Ident::Name(name.clone());
        let verb = if args.dry_run { "would restore" } else { "restored" };
        match restored {
            Ok(()) => context.ui.status(&format!("{verb} {ident}, which an unfinished removal had renamed")),
            // Another process has restored it.
            Err(Errno::ENOENT) => {}
            Err(errno) => {
                let aside = aside_name(&name);
                let still = aside.as_ref().map(|aside| format!("; its name is still {aside}")).unwrap_or_default();
                let reason = match errno {
                    Errno::EEXIST => "another object has this name now".to_owned(),
                    errno => format!("{} ({errno:?}, renameat2)", errno.desc()),
                };
                context.ui.warning(&format!("cannot restore {ident}: {reason}{still}"));
                if let (Errno::EEXIST, Some(aside)) = (errno, aside) {
                    context.ui.suggest(Hint::new("finish its removal", shmadm("rm").arg(Ident::Name(aside).typed())));
                }
            }
        }
    }
}

/// Describes what was skipped: the objects of one kind with the same reason in one line, unless their names are unique
/// only within a namespace.
pub(super) fn describe_skipped(args: &PruneArgs, skipped: &[Skipped]) -> Vec<String> {
    let mut groups: Vec<(&str, Vec<&Object>)> = Vec::new();
    for Skipped { segment, reason } in skipped {
        let is_same = |(why, objects): &&mut (&str, Vec<&Object>)| {
            why == reason && objects[0].noun() == segment.noun() && !args.all_ns
        };
        match groups.iter_mut().find(is_same) {
            Some((_, objects)) => objects.push(segment),
            None => groups.push((reason, vec![segment])),
        }
    }
    let describe = |(reason, objects): (&str, Vec<&Object>)| {
        if let [one] = objects[..] {
            return format!("skipped {}: {reason}", describe_with_namespace(args, one));
        }
        let names = first_names(MAX_NAMES, objects.iter().map(|object| object.ident().argument()));
        let (count, names) = (counted(objects.len() as u64, objects[0].noun()), enumerate(&names, "and"));
        format!("skipped {count} ({names}): {reason}")
    };
    groups.into_iter().map(describe).collect()
}
