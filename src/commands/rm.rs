use std::cell::LazyCell;
use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::Args;

use super::all_namespaces::why_unreachable;
use super::args::{TARGETS_HELP, target};
use super::files::{is_read_once, path_argument, read_whole, unreadable};
use super::{Context, Manual, Resolved, describe, resolve_all, usage_error};
use crate::act::{self, Removal, UseEvidence};
use crate::error::{Error, Exit, Kind, again, quoted};
use crate::explain::{describe_running, describe_users, why_hidden};
use crate::model::{Isolation, Key, Needs, Object, Outcome, RemovalList, Target, counted, is_descriptor, path_text};
use crate::query::{Census, census};
use crate::render::{RemovalReport, Removed, effect_of_mark};

pub(crate) const MANUAL: Manual = Manual {
    summary: "Remove segments and POSIX objects",
    description: "Removes segments and POSIX objects. rm refuses to remove an attached segment and names the \
                  processes that have it attached. It first waits up to a few seconds for those that are exiting. \
                  --force marks the segment for destruction: its key is freed now, the memory at the last detach. \
                  Nothing can clear the mark, and a program that asks for the key later gets another segment. \
                  `shmadm detach` ends the background attachments of the caller (`attach --background`, `create \
                  --hold`). A segment that is not attached is removed even if its creator or last user is still \
                  running; a status message reports this.\n\n\
                  rm also refuses to remove an object (/NAME) that a process has open or mapped. --force removes \
                  its name; the memory is freed when the last process closes and unmaps it. If rm cannot determine \
                  whether a process uses the object, it reports the object as unlinked, with the reason. Without \
                  --force, rm refuses an object that its program keeps between runs or needs while one of its other \
                  objects is in use (STATE kept). It always refuses an object that has several names (hard \
                  links).\n\n\
                  All names are resolved before anything is removed, and each segment or object is checked again \
                  immediately before its removal. If one fails, the others are still removed.\n\n\
                  --from removes the segments that leakcheck reported as leaked (not the unattributed ones), or the \
                  segments and objects that `prune --dry-run --json` selected. A listed segment is removed only if \
                  its id, key, creator, change time and size are unchanged, it is in the same IPC namespace, and it \
                  has not been used since. A listed object is removed only if it is the same file and unchanged. \
                  A list of `prune --all-ns` can contain segments of several namespaces. rm removes those of its \
                  own namespace, and fails for the others with a hint for each namespace. With --ns, as in these \
                  hints, it ignores the others.",
    examples: &[
        ("shmadm rm 0x4d2", "remove the segment with key 0x4d2, unless it is attached"),
        ("shmadm rm --ignore-missing 0x4d2", "the same, but do not fail if it does not exist"),
        ("shmadm rm /psm_1a2b3c4d", "remove a POSIX object, unless a process uses it"),
        (
            "shmadm prune -n --json >old.json; shmadm rm --from - <old.json",
            "remove the listed segments and objects unless they have changed",
        ),
        (
            "shmadm list --state orphan -o ID --no-headings | xargs -r shmadm rm --dry-run",
            "show which orphans would be removed",
        ),
    ],
    json: "{\"schema\":1,\"dry_run\":false,\"removed\":[{segment…,\"outcome\":\"destroyed\"|\"marked\"|\"unlinked\"}],\"failed\":[{\"target\":\"7\",\"error\":\"…\",\"errno\":\"EINVAL\",\"code\":3,\"cause\":\"…\",\"hints\":[\"…\"]}]}",
    notes: "An object is removed under a write lease, which the kernel grants only if no process has it open or \
            mapped. While the lease is held, it is renamed to .shmadm-aside=NAME for about 0.1 ms, so that no \
            process opens it before its name is removed; if a process has tried to, the name is restored. Where the \
            lease is not permitted or not supported, a scan of all processes decides, and the report says so. rm \
            refuses to remove the object if some processes cannot be inspected.\n\n\
            If leakcheck isolated its command, nothing is removed unless --ns names that IPC namespace, which \
            exists only while processes that the command left run in it.\n\n\
            rm refuses a FILE that belongs to another user (except root), or that its group or other users can \
            write to: they could add segments to it. Standard input and descriptors that the caller opened \
            (/dev/stdin, /dev/fd/3, a process substitution) are always read.",
};

const WRITABLE_BY_OTHERS: u32 = 0o022;

#[derive(Args, Debug)]
pub(crate) struct RmArgs {
    #[arg(help = TARGETS_HELP, value_name = "SEGMENT", allow_negative_numbers = true, required_unless_present = "from", conflicts_with = "from", value_parser = target())]
    segments: Vec<Target>,

    /// Remove what a leakcheck or prune report lists; - for standard input
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,

    /// Mark attached segments for destruction, unlink objects in use
    #[arg(short, long)]
    force: bool,

    /// Show what would be removed, without removing it
    #[arg(short = 'n', long)]
    dry_run: bool,

    /// Ignore what does not exist
    #[arg(long)]
    ignore_missing: bool,
}

pub(crate) fn run(args: &RmArgs, context: &mut Context) -> Result<Exit, Error> {
    // All are resolved before the first removal.
    let Resolved { found, mut failed } = match &args.from {
        Some(file) => listed(context, file)?,
        None => resolve_all(context, &args.segments, context.record_needs() | Needs::DIRECTORIES),
    };
    let mut removed = Vec::new();
    let how = Removal { force: args.force, dry_run: args.dry_run, unchanged_only: args.from.is_some() };
    for (target, segment) in found {
        let running = describe_running(&context.system, &segment);
        match act::remove(&context.system, &segment, how) {
            Ok(result) => {
                running.iter().for_each(|note| context.ui.status(note));
                report_outcome(args, context, &segment, result)?;
                removed.push(Removed { segment, outcome: result.outcome, why: String::new() });
            }
            Err(error) => failed.push((target, error)),
        }
    }
    let is_ignored = |error: &Error| args.ignore_missing && error.kind == Kind::NotFound;
    for (_, error) in failed.extract_if(.., |(_, error)| is_ignored(error)) {
        // The hint that a segment has this number as its key.
        error.hints.into_iter().filter(|hint| hint.command.is_none()).for_each(|hint| context.ui.hint(hint));
    }
    let exit = context.print_failures(&failed);
    let report = RemovalReport { dry_run: args.dry_run, removed, failed: context.failure_records(&failed) };
    if context.json() {
        context.report(&report)?;
    }
    Ok(exit)
}

/// Returns the objects of this namespace that a file lists; the others are failures.
fn listed(context: &mut Context, file: &Path) -> Result<Resolved, Error> {
    let (name, text) = read_whole(file, |opened| check_owner(context, file, opened))?;
    let unusable = |why: &str| usage_error(format!("cannot use {name} as a list of segments: {why}")).target(&*name);
    let list: RemovalList = serde_json::from_slice(&text).map_err(|error| unusable(&error.to_string()))?;
    if list.schema != 1 {
        return Err(unusable("its schema is not 1"));
    }
    let objects = match (list.leaked, list.removed) {
        (Some(leaked), None) => leaked,
        (None, Some(removed)) if list.dry_run => removed,
        (None, Some(_)) => return Err(unusable("it reports segments that were already removed")),
        _ => {
            return Err(unusable("expected a report of leakcheck --report or prune --dry-run --json"));
        }
    };
    let ignored =
        [(list.unattributed.len(), "unattributed segment"), (list.unattributed_objects.len(), "unattributed object")];
    for (count, what) in ignored.into_iter().filter(|(count, _)| *count > 0) {
        context.ui.status(&format!("ignored {}", counted(count as u64, what)));
    }
    if !list.leaked_objects.is_empty() {
        let count = counted(list.leaked_objects.len() as u64, "leaked object");
        context.ui.status(&format!("ignored {count}: rm --from removes only the segments in a leakcheck report"));
    }
    let is_isolated = list.isolation.is_some_and(|isolation| isolation != Isolation::None);
    let census = LazyCell::new(|| census(&context.system).ok());
    let mut seen = HashSet::new();
    let mut objects: Vec<Object> =
        objects.into_iter().filter(|object| seen.insert((object.scope, object.ident(), object.file()))).collect();
    // --ns selects a namespace, unless the list contains nothing of it.
    let here = context.system.namespace();
    if context.has_ns && objects.iter().any(|object| object.ipc_namespace().is_some_and(|ns| Some(ns) == here)) {
        let elsewhere = |object: &mut Object| object.ipc_namespace().is_some_and(|ns| Some(ns) != here);
        let count = objects.extract_if(.., elsewhere).count() as u64;
        if count > 0 {
            context.ui.status(&format!("ignored {} of other IPC namespaces", counted(count, "segment")));
        }
    }
    let mut resolved = Resolved::default();
    for object in objects {
        let target = object.ident().argument();
        let checked = match object.is_segment() {
            true => check_namespace(context, &object, is_isolated, &census, file).map(|()| object),
            false => act::find_listed(&context.system, &object, context.record_needs()),
        };
        match checked {
            Ok(object) => resolved.found.push((target, object)),
            Err(error) => resolved.failed.push((target, error)),
        }
    }
    Ok(resolved)
}

/// Refuses a list that another user may have written: it could remove the caller's segments. A descriptor that the
/// caller has opened is accepted, like standard input.
fn check_owner(context: &Context, file: &Path, opened: &File) -> Result<(), Error> {
    if is_descriptor(file) {
        return Ok(());
    }
    let name = path_text(file);
    let metadata = opened.metadata().map_err(|error| unreadable(&name, &error, "fstat"))?;
    let mode = metadata.mode() & 0o7777;
    let other_link =
        file.symlink_metadata().ok().filter(|link| link.is_symlink() && !act::is_root_or_caller(link.uid()));
    let reason = if let Some(link) = other_link {
        format!("it is a symbolic link of user {}", context.system.user(link.uid()))
    } else if !act::is_root_or_caller(metadata.uid()) {
        format!("it belongs to user {}", context.system.user(metadata.uid()))
    } else if mode & WRITABLE_BY_OTHERS != 0 {
        format!("users other than its owner can write to it (mode {mode:04o})")
    } else {
        return Ok(());
    };
    let argument = path_argument(file);
    Err(Error::new(Kind::Refused, format!("cannot use {name}: {reason}")).target(&*name).hint(
        "after reviewing it, read it from standard input",
        again("--from -").redirected(format!("< {}", quoted(&argument))),
    ))
}

/// Fails for an object of another namespace than this one.
fn check_namespace(
    context: &Context,
    object: &Object,
    is_isolated: bool,
    census: &LazyCell<Option<Census>, impl FnOnce() -> Option<Census>>,
    file: &Path,
) -> Result<(), Error> {
    let here = context.system.namespace();
    let (ident, argument) = (object.ident(), object.ident().argument());
    let refused = |why: String| Error::new(Kind::Refused, format!("cannot remove {ident}: {why}")).target(&*argument);
    let Some(ns) = object.ipc_namespace() else {
        let refusal = |_| Err(refused("the list does not name its IPC namespace".to_owned()));
        return here.map_or(Ok(()), refusal);
    };
    let in_another = || refused(format!("it is in another IPC namespace, {ns}"));
    if here == Some(ns) {
        // Within --ns, it is the command's namespace, in which it left processes running.
        return if !is_isolated || context.has_ns {
            Ok(())
        } else {
            Err(in_another().cause(
                "leakcheck created that namespace for its command and it no longer exists; the current \
                 namespace merely has the same number",
            ))
        };
    }
    if let Some(census) = census.as_ref()
        && let Some(why) = why_unreachable(census, ns)
    {
        return Err(match census.inaccessible {
            Some(0) => Error::new(Kind::NotFound, format!("cannot find {ident}")).target(argument).cause(why),
            _ => in_another().cause(why),
        });
    }
    let ns = format!("--ns ipc:[{ns}]");
    Err(match is_read_once(file) {
        true => {
            in_another().hint("run it again with the same input", again(&format!("--from - {ns}")).without(&["from"]))
        }
        false => in_another().hint("remove it in that namespace", again(&ns)),
    })
}

/// Reports what was removed, or would be.
fn report_outcome(args: &RmArgs, context: &mut Context, object: &Object, removed: act::Removed) -> Result<(), Error> {
    let (what, evidence) = (describe(object), removed.evidence());
    let unknown = (removed.evidence == UseEvidence::None)
        .then(|| format!("cannot determine whether a process uses it: {}", why_hidden(&context.system, object)));
    let later = match object.key() {
        None | Some(Key::PRIVATE) => String::new(),
        Some(key) => format!("; processes that ask for key {key} afterwards get another segment"),
    };
    match removed.outcome {
        _ if args.dry_run && context.json() => {}
        Outcome::Marked if object.is_marked() => {
            let when = "its memory is freed at the last detach";
            context.ui.warning(&format!("{what} was already marked for destruction: {when}"));
        }
        Outcome::Destroyed if args.dry_run => context.ui.print(&format!("would remove {what}{evidence}"))?,
        Outcome::Marked if args.dry_run => context.ui.print(&format!("would mark {what} for destruction{later}"))?,
        Outcome::Destroyed => context.ui.status(&format!("removed {what}{evidence}")),
        Outcome::Unlinked if args.dry_run => {
            let unknown = unknown.map(|why| format!("; {why}")).unwrap_or_default();
            context.ui.print(&format!("would unlink {what}{unknown}"))?;
        }
        Outcome::Unlinked => {
            let users = unknown.unwrap_or_else(|| describe_users(&context.system, object));
            let effect = "its name is freed now, the memory when the last process closes and unmaps it";
            context.ui.warning(&format!("unlinked {what}: {effect} ({users})"));
        }
        Outcome::Marked => {
            let effect = effect_of_mark(object);
            context.ui.warning(&format!("marked {what} for destruction: {effect}{later}"));
        }
    }
    Ok(())
}
