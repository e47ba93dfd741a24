//! `shmadm rm`.

use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::Args;

use super::args::target;
use super::{Context, Manual, STANDARD_INPUT, describe, path_argument, read_whole, usage};
use crate::act::{self, Removal};
use crate::error::{Error, Exit, Kind, quoted, shmadm};
use crate::explain::Resolver;
use crate::model::{Isolation, Object, Outcome, RemovalList, Target, is_descriptor, path_text};
use crate::query::{Census, census};
use crate::render::{Failure, RemovalReport, Removed};

/// Its summary and manual.
pub(crate) const MANUAL: Manual = Manual {
    summary: "Remove segments",
    description: "Removes segments. A segment that is attached is refused, and the error names the processes that \
                  have it attached. --force marks it for destruction: its key is freed now, the memory at the last \
                  detach. Nothing can clear the mark, and a program that asks for the key later gets another segment.\n\n\
                  All names are resolved before the first segment is removed, and each segment is checked again \
                  immediately before its removal. A failure for one segment does not stop the removal of the others.\n\n\
                  --from removes the segments that a report lists: those that leakcheck reported as leaked (not the \
                  unattributed ones), or those that `prune --dry-run --json` selected. A listed segment is removed \
                  only if its id, key, creator, change time and size are unchanged, it is in the same IPC namespace, \
                  and it has not been used since.",
    examples: &[
        ("shmadm rm 0x4d2", "remove the segment with key 0x4d2, unless it is attached"),
        ("shmadm rm --ignore-missing 0x4d2", "the same, but do not fail if it does not exist"),
        (
            "shmadm prune -n --json >old.json; shmadm rm --from - <old.json",
            "remove the listed segments unless they have changed",
        ),
        (
            "shmadm list --state orphan -o ID --no-headings | xargs -r shmadm rm --dry-run",
            "show which orphans would be removed",
        ),
    ],
    json: "{\"schema\":1,\"dry_run\":false,\"removed\":[{segment…,\"outcome\":\"destroyed\"|\"marked\"}],\"failed\":[{\"target\":\"7\",\"error\":\"…\",\"errno\":\"EINVAL\",\"code\":3,\"cause\":\"…\",\"hints\":[\"…\"]}]}",
    notes: "If leakcheck isolated its command, nothing is removed unless --ns names that IPC namespace: it no longer \
            exists, unless the command left processes running in it.\n\n\
            A FILE of a user who is neither root nor the caller is refused, and so is one that its group or other \
            users can write: they could add segments to it. Standard input and descriptors that the caller opened \
            (/dev/stdin, /dev/fd/3, a process substitution) are always read.",
};

/// The permission bits of the group and of all others to write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Arguments of `shmadm rm`.
#[derive(Args, Debug)]
pub(crate) struct RmArgs {
    #[arg(help = "Ids (65538), keys (0x4d2, key:1234) or ftok:PATH[:PROJ]", value_name = "SEGMENT", required_unless_present = "from", conflicts_with = "from", value_parser = target())]
    segments: Vec<Target>,

    /// Remove the segments of a leakcheck or prune report; - for standard input
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,

    /// Mark attached segments for destruction
    #[arg(short, long)]
    force: bool,

    /// Show what would be removed, without removing it
    #[arg(short = 'n', long)]
    dry_run: bool,

    /// Ignore segments that do not exist
    #[arg(long)]
    ignore_missing: bool,
}

/// Removes segments.
///
/// # Errors
/// Standard output takes no more; failures of single segments are in the report.
pub(crate) fn run(args: &RmArgs, context: &mut Context) -> Result<Exit, Error> {
    let (targets, failed) = match &args.from {
        Some(file) => listed(args, context, file)?,
        None => resolve_all(args, context),
    };
    let mut report = RemovalReport { dry_run: args.dry_run, removed: Vec::new(), failed };
    for (target, segment) in targets {
        let how = Removal { force: args.force, dry_run: args.dry_run, unused: args.from.is_some() };
        match act::remove(&context.system, &segment, how) {
            Ok(outcome) => {
                report_outcome(args, context, &segment, outcome)?;
                report.removed.push(Removed { segment, outcome, why: String::new() });
            }
            Err(error) if args.ignore_missing && error.kind == Kind::NotFound => {}
            Err(error) => {
                let error = context.ui.with_complete_hints(error);
                context.ui.error(&error);
                report.failed.push(Failure { target, error });
            }
        }
    }
    if context.json() {
        context.report(&report)?;
    }
    Ok(Exit::of(report.failed.iter().map(|failure| failure.error.kind)))
}

/// Resolved segments with their names, and failures.
type ResolvedTargets = (Vec<(String, Object)>, Vec<Failure>);

/// Resolves all targets before the first removal; two names of one segment are one target.
fn resolve_all(args: &RmArgs, context: &mut Context) -> ResolvedTargets {
    let mut found: Vec<(String, Object)> = Vec::new();
    let mut failures: Vec<Failure> = Vec::new();
    let resolver = Resolver::new(&context.system, context.record_needs(), args.segments.len());
    let (mut named, mut known) = (HashSet::new(), HashSet::new());
    for target in args.segments.iter().filter(|target| named.insert(target.text.as_str())) {
        match resolver.resolve(target) {
            Ok(segment) if !known.insert(segment.sysv().id) => {}
            Ok(segment) => found.push((target.text.clone(), segment)),
            Err(error) if args.ignore_missing && error.kind == Kind::NotFound => {}
            Err(error) => {
                let error = context.ui.with_complete_hints(error);
                context.ui.error(&error);
                failures.push(Failure { target: target.text.clone(), error });
            }
        }
    }
    (found, failures)
}

/// Refuses a list that another user may have written: it could remove the caller's segments. A descriptor that the
/// caller has opened is accepted, like standard input.
fn accept(args: &RmArgs, context: &Context, file: &Path, opened: &File) -> Result<(), Error> {
    if is_descriptor(file) {
        return Ok(());
    }
    let name = path_text(file);
    let metadata =
        opened.metadata().map_err(|error| Error::io(format!("cannot read {name}"), &error, "fstat").target(&*name))?;
    let mode = metadata.mode() & 0o7777;
    let reason = if !act::is_root_or_caller(metadata.uid()) {
        format!("it belongs to user {}", context.system.user(metadata.uid()))
    } else if mode & WRITABLE_BY_OTHERS != 0 {
        format!("users other than its owner can write it (mode {mode:04o})")
    } else {
        return Ok(());
    };
    let options = [(args.force, " --force"), (args.dry_run, " --dry-run"), (args.ignore_missing, " --ignore-missing")];
    let options: String = options.into_iter().filter_map(|(given, option)| given.then_some(option)).collect();
    let typed = quoted(&path_argument(file)).into_owned();
    Err(Error::new(Kind::Refused, format!("cannot remove what {name} lists: {reason}")).target(&*name).hint(
        "after reviewing it, read it from standard input",
        shmadm(format!("rm{options} --from")).redirected(format!("- <{typed}")),
    ))
}

/// Reads a list and returns its segments of this namespace; others are failures.
fn listed(args: &RmArgs, context: &mut Context, file: &Path) -> Result<ResolvedTargets, Error> {
    let (name, text) = read_whole(file, |opened| accept(args, context, file, opened))?;
    let unusable = |why: &str| usage(format!("cannot use {name} as a list of segments: {why}")).target(&*name);
    let list: RemovalList = serde_json::from_slice(&text).map_err(|error| unusable(&error.to_string()))?;
    if list.schema != 1 {
        return Err(unusable("its schema is not 1"));
    }
    let segments = match (list.leaked, list.removed) {
        (Some(leaked), None) => leaked,
        (None, Some(removed)) if list.dry_run => removed,
        (None, Some(_)) => return Err(unusable("it reports segments that were already removed")),
        _ => {
            return Err(unusable("expected a report of leakcheck --report or prune --dry-run --json")
                .hint("write one", shmadm("leakcheck --report FILE -- COMMAND")));
        }
    };
    if !list.unattributed.is_empty() {
        let count = list.unattributed.len();
        let segments = if count == 1 { "segment" } else { "segments" };
        context.ui.status(&format!("ignored {count} unattributed {segments}"));
    }
    let isolated = list.isolation.is_some_and(|isolation| isolation != Isolation::None);
    let here = context.system.namespace();
    let mut census = None;
    let mut seen = HashSet::new();
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for segment in segments.into_iter().filter(|segment| seen.insert((segment.ipc_namespace(), segment.sysv().id))) {
        let target = segment.sysv().id.to_string();
        let error = match segment.ipc_namespace() {
            Some(ns) if isolated && here == Some(ns) && !context.elsewhere => of_another(&segment, ns).cause(
                "leakcheck created that namespace for its command and it no longer exists; this one only has the same number",
            ),
            Some(ns) if here != Some(ns) => {
                let census = census.get_or_insert_with(|| self::census(&context.system).ok());
                not_here(census.as_ref(), &segment, ns, file)
            }
            None if here.is_some() => Error::new(
                Kind::Refused,
                format!("cannot remove segment {target}: the list does not name its IPC namespace"),
            )
            .target(&*target),
            _ => {
                found.push((target, segment));
                continue;
            }
        };
        if !(args.ignore_missing && error.kind == Kind::NotFound) {
            let error = context.ui.with_complete_hints(error);
            context.ui.error(&error);
            failures.push(Failure { target, error });
        }
    }
    Ok((found, failures))
}

/// Returns the error for a segment of another namespace: not found if the namespace no longer exists.
fn not_here(census: Option<&Census>, segment: &Object, ns: u64, file: &Path) -> Error {
    let id = segment.sysv().id;
    let is_gone =
        |census: &Census| census.inaccessible == 0 && census.namespaces.iter().all(|known| known.number != ns);
    if !census.is_some_and(is_gone) {
        // Standard input has been consumed.
        let file = if file.as_os_str() == STANDARD_INPUT { "FILE".into() } else { path_argument(file) };
        of_another(segment, ns)
            .hint("remove it in that namespace", shmadm(format!("--ns ipc:[{ns}] rm --from")).arg(file))
    } else {
        Error::new(Kind::NotFound, format!("cannot find segment {id}"))
            .target(id.to_string())
            .cause(format!("its IPC namespace, {ns}, no longer has a process"))
    }
}

/// Returns the error for a segment of another namespace.
fn of_another(segment: &Object, ns: u64) -> Error {
    let id = segment.sysv().id;
    Error::new(Kind::Refused, format!("cannot remove segment {id}: it is in another IPC namespace, {ns}"))
        .target(id.to_string())
}

/// Reports the outcome for a segment.
fn report_outcome(args: &RmArgs, context: &mut Context, segment: &Object, outcome: Outcome) -> Result<(), Error> {
    let what = describe(segment);
    if args.dry_run {
        let line = match outcome {
            Outcome::Destroyed => format!("would remove {what}"),
            Outcome::Marked => format!("would mark {what} for destruction"),
        };
        return if context.json() { Ok(()) } else { context.ui.print(&line) };
    }
    match outcome {
        Outcome::Destroyed => context.ui.status(&format!("removed {what}")),
        Outcome::Marked => {
            let effect = "its key is freed now, the memory at the last detach";
            context.ui.warning(&format!("marked {what} for destruction: {effect}"));
        }
    }
    Ok(())
}
