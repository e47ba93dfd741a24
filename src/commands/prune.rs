//! `shmadm prune`.

use std::sync::Arc;

use clap::Args;

use super::all_namespaces::{namespace_suffix, survey, warn_of_closed};
use super::args::FilterArgs;
use super::{Context, Manual, describe};
use crate::act::{Cleaned, clean};
use crate::error::{Error, Exit, Hint, Kind, again, shmadm};
use crate::explain::describe_attachers;
use crate::model::{Needs, Object, Outcome, Size, State};
use crate::process::{Interrupts, visit_namespaces};
use crate::query::{DEFAULT_MIN_IDLE, Filter, Namespace, System, inventory};
use crate::render::{
    Failure, Format, PRUNE, PRUNE_DEFAULT, PruneReport, RemovalReport, Removed, Skipped, TableStyle, by_names,
    duration, write_rows,
};
use crate::ui::Ui;

/// Its summary and manual.
pub(crate) const MANUAL: Manual = Manual {
    summary: "Remove segments that are no longer used",
    description: "Removes segments that are no longer used. By default these are the segments that the caller owns or \
                  created, that are orphans (not attached, creator and last user have exited), and that have been \
                  idle for at least ten minutes.\n\n\
                  --owner and --any-owner replace the first condition, --older-than the last. --unattached also \
                  removes segments in state idle or unknown, whose creator or last user may still need them. Attached \
                  segments and those marked for destruction are never removed; `shmadm rm --force` is for them.\n\n\
                  On a terminal prune lists the segments and asks. Otherwise it requires --yes. --dry-run shows the \
                  segments and why they would be removed.\n\n\
                  Each segment is checked again immediately before it is removed. One that was attached, used or \
                  changed, or whose state changed, is skipped, which is not an error.",
    examples: &[
        ("shmadm prune --dry-run", "show which of your segments are no longer used, and why"),
        ("shmadm prune --yes", "remove them"),
        ("shmadm prune --any-owner --older-than 1d --yes", "remove orphans of all users that have been idle for a day"),
    ],
    json: "As for rm, with \
           \"skipped\":[{\"id\":7,\"reason\":\"…\",\"ns\":…}],\"freed\":{\"segments\":2,\"size\":8192,\"rss\":4096,\"swap\":0}.",
    notes: "The kernel cannot remove a segment only if it is not attached. If another process attaches a segment \
            between the last check and the removal, the segment is marked for destruction instead: that process keeps \
            it, and a warning names the process.\n\n\
            The memory that a removal frees is RSS plus SWAP. SIZE is the requested size, which may never have been \
            used.",
};

/// The defaults, for the help.
const SELECTION: &str = "By default prune removes segments that
  you own or created          --owner, --any-owner replace this
  are orphans                 --unattached also removes idle and unknown ones
  have been idle for 10m      --older-than replaces this
Attached segments are never removed.";

/// Arguments of `shmadm prune`.
#[derive(Args, Debug)]
#[command(after_help = SELECTION)]
pub(crate) struct PruneArgs {
    #[command(flatten)]
    filters: FilterArgs,

    /// Also remove idle and unknown segments
    #[arg(long)]
    unattached: bool,

    /// Also remove segments of other users
    #[arg(long, conflicts_with_all = ["owner", "mine"])]
    any_owner: bool,

    /// Show what would be removed, without removing it
    #[arg(short = 'n', long)]
    dry_run: bool,

    /// Do not ask for confirmation
    #[arg(short = 'y', long)]
    yes: bool,

    /// Remove from all IPC namespaces
    #[arg(long)]
    pub(crate) all_ns: bool,
}

impl PruneArgs {
    /// Returns the filter, with the defaults of prune.
    fn filter(&self, system: &System) -> Result<Filter, Error> {
        let mut filter = self.filters.filter(system)?;
        filter.mine |= filter.owner.is_none() && !self.any_owner;
        filter.older_than.get_or_insert(DEFAULT_MIN_IDLE);
        Ok(filter)
    }

    /// Warns if prune never removes segments in the requested state.
    fn warn_of_state(&self, state: Option<State>, ui: &mut Ui) {
        match state {
            Some(State::InUse | State::Dest) => {
                ui.warning("prune never removes attached segments");
                ui.hint(Hint::new("mark one for destruction", shmadm("rm --force SEGMENT")));
            }
            Some(State::Idle | State::Unknown) if !self.unattached => {
                ui.warning("prune removes only orphans unless --unattached is given");
                ui.hint(Hint::new("remove these too, although a process may still need them", again("--unattached")));
            }
            _ => {}
        }
    }

    /// Returns whether to remove a segment.
    fn takes(&self, system: &System, filter: &Filter, segment: &Object) -> bool {
        let state = match segment.state {
            Some(State::Orphan) => true,
            Some(State::Idle | State::Unknown) => self.unattached,
            Some(State::InUse | State::Dest) | None => false,
        };
        state && segment.sysv().nattch == 0 && filter.matches(system, segment)
    }
}

/// Removes segments that are no longer used.
///
/// # Errors
/// The segments cannot be listed, or a confirmation is missing (Refused); failures of single ones are in the report.
pub(crate) fn run(args: &PruneArgs, context: &mut Context) -> Result<Exit, Error> {
    let filter = args.filter(&context.system)?;
    args.warn_of_state(filter.state, &mut context.ui);
    let removal = RemovalReport { dry_run: args.dry_run, ..RemovalReport::default() };
    let mut pruning = PruneReport { removal, ..PruneReport::default() };
    let (mut chosen, mut namespaces) = (Vec::new(), Vec::new());
    if args.all_ns {
        let visited = survey(context, Needs::RECORD | Needs::CONTAINER)?;
        namespaces = visited.namespaces;
        for segment in visited.segments.into_iter().filter(|segment| args.takes(&context.system, &filter, segment)) {
            match visited.apart.iter().find(|namespace| Some(namespace.number) == segment.ipc_namespace()) {
                None => chosen.push(segment),
                Some(namespace) => pruning.skipped.push(Skipped {
                    segment,
                    reason: format!(
                        "its IPC namespace belongs to another user namespace: run `{}`",
                        shmadm("--ns")
                            .arg(namespace.ns_argument())
                            .args(context.arguments.iter().filter(|argument| *argument != "--all-ns"))
                    ),
                }),
            }
        }
    } else {
        chosen = inventory(&context.system, Needs::RECORD)?;
        chosen.retain(|segment| args.takes(&context.system, &filter, segment));
    }
    if chosen.is_empty() {
        context.ui.status("nothing to prune");
    } else if !args.dry_run && !args.yes {
        confirm(args, context, &chosen)?;
    }
    // Ctrl-C stops between two removals; what was removed is still reported.
    let interrupts = if chosen.is_empty() { None } else { Some(Interrupts::watch()?) };
    let check = || interrupts.as_ref().map_or(Ok(()), Interrupts::check);
    let results = if args.all_ns {
        prune_all_namespaces(args, context, chosen, &namespaces, check)
    } else {
        chosen.into_iter().map_while(|segment| one(&context.system, segment, args.dry_run, check)).collect()
    };
    for (segment, result) in results {
        match result {
            Ok((Cleaned::Kept(kept), _)) => pruning.skipped.push(Skipped { segment, reason: kept.reason() }),
            Ok((Cleaned::Removed(outcome), by)) => {
                report_outcome(args, context, &segment, outcome, by.as_deref());
                let why = reason(&segment);
                pruning.add(Removed { segment, outcome, why });
            }
            Err(error) => {
                let error = context.ui.with_complete_hints(error);
                context.ui.error(&error);
                pruning.removal.failed.push(Failure { target: segment.ident().argument(), error });
            }
        }
    }
    report(args, context, &pruning)?;
    check()?;
    Ok(Exit::of(pruning.removal.failed.iter().map(|failure| failure.error.kind)))
}

/// A segment, the result of its removal, and the processes that attached it just before.
type Attempt = (Object, Result<(Cleaned, Option<String>), Error>);

/// Removes one segment; `None` after a signal.
fn one(system: &System, segment: Object, dry_run: bool, check: impl Fn() -> Result<(), Error>) -> Option<Attempt> {
    check().ok()?;
    let cleaned = clean(system, &segment, dry_run).map(|cleaned| {
        let marked = cleaned == Cleaned::Removed(Outcome::Marked);
        (cleaned, if marked { describe_attachers(system, segment.sysv().id) } else { None })
    });
    Some((segment, cleaned))
}

/// Removes segments of several namespaces.
fn prune_all_namespaces(
    args: &PruneArgs,
    context: &mut Context,
    chosen: Vec<Object>,
    namespaces: &[Namespace],
    check: impl Fn() -> Result<(), Error> + Copy + Send + Sync,
) -> Vec<Attempt> {
    let concerned =
        |namespace: &&Namespace| chosen.iter().any(|segment| segment.ipc_namespace() == Some(namespace.number));
    let concerned: Vec<Namespace> = namespaces.iter().filter(concerned).cloned().collect();
    let results = visit_namespaces(&context.system, &concerned, |system, namespace| {
        let here = chosen.iter().filter(|segment| segment.ipc_namespace() == Some(namespace.number)).cloned();
        Ok(here.map_while(|segment| one(system, segment, args.dry_run, check)).collect::<Vec<Attempt>>())
    });
    // Segments of this namespace, if /proc does not show this process in it.
    let nowhere =
        |segment: &&Object| !concerned.iter().any(|namespace| segment.ipc_namespace() == Some(namespace.number));
    let here =
        chosen.iter().filter(nowhere).filter(|segment| segment.ipc_namespace() == context.system.namespace()).cloned();
    let mut outcomes: Vec<Attempt> =
        here.map_while(|segment| one(&context.system, segment, args.dry_run, check)).collect();
    for (namespace, result) in concerned.iter().zip(results) {
        match result {
            Ok(some) => outcomes.extend(some),
            Err(error) => warn_of_closed(context, namespace, &error),
        }
    }
    outcomes
}

/// Maximum number of namespaces in a question.
const MAX_NAMED: usize = 8;

/// Describes a segment, with its namespace under --all-ns.
fn named(args: &PruneArgs, segment: &Object) -> String {
    let place = if args.all_ns {
        namespace_suffix(segment.ipc_namespace(), segment.container.as_deref())
    } else {
        String::new()
    };
    format!("{}{place}", describe(segment))
}

/// Asks for confirmation.
fn confirm(args: &PruneArgs, context: &mut Context, chosen: &[Object]) -> Result<(), Error> {
    let count = if chosen.len() == 1 { "1 segment".to_owned() } else { format!("{} segments", chosen.len()) };
    let mut places: Vec<_> =
        chosen.iter().map(|segment| (segment.ipc_namespace(), segment.container.clone())).collect();
    places.dedup();
    let name = |(ns, container): &(Option<u64>, Option<Arc<str>>)| {
        let number = ns.map_or_else(|| "?".to_owned(), |number| number.to_string());
        let container = container.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        let here = if *ns == context.system.namespace() { " (this one)" } else { "" };
        let count = chosen.iter().filter(|segment| segment.ipc_namespace() == *ns).count();
        format!("{count} in {number}{container}{here}")
    };
    let mut names: Vec<String> = places.iter().take(MAX_NAMED).map(name).collect();
    if places.len() > MAX_NAMED {
        names.push(format!("others in {} more", places.len() - MAX_NAMED));
    }
    let namespaces = if places.len() == 1 { "IPC namespace" } else { "IPC namespaces" };
    let places =
        if args.all_ns { format!(" in {} {namespaces} ({})", places.len(), names.join(", ")) } else { String::new() };
    if !context.ui.can_confirm() {
        return Err(Error::new(Kind::Refused, format!("cannot remove {count}{places}: confirmation required"))
            .cause("--yes is not given, and there is no terminal to ask on")
            .hint("show what would be removed", again("--dry-run"))
            .hint("remove without asking", again("--yes")));
    }
    for segment in chosen {
        context.ui.notice(&format!("{}: {}", named(args, segment), reason(segment)));
    }
    if context.ui.confirm(&format!("remove {count}{places}?"))? {
        Ok(())
    } else {
        Err(Error::new(Kind::Refused, "nothing was removed: not confirmed"))
    }
}

/// Returns why a segment is to be removed.
fn reason(segment: &Object) -> String {
    let pid = |pid: Option<i32>| pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string());
    let processes = match (segment.state, segment.sysv().atime) {
        (Some(State::Orphan), None) => format!("creator pid {} has exited, never attached", pid(segment.sysv().cpid)),
        (Some(State::Orphan), _) => {
            format!(
                "creator pid {} and last user pid {} have exited",
                pid(segment.sysv().cpid),
                pid(segment.sysv().lpid)
            )
        }
        (Some(State::Idle), _) => "not attached, but its creator or last user is running".to_owned(),
        _ => "not attached; cannot determine whether its creator or last user is running".to_owned(),
    };
    let since = segment.idle_seconds.map(|seconds| format!(", idle for {}", duration(seconds))).unwrap_or_default();
    format!("{processes}{since}")
}

/// Reports the outcome for a segment.
fn report_outcome(args: &PruneArgs, context: &mut Context, segment: &Object, outcome: Outcome, by: Option<&str>) {
    let what = named(args, segment);
    match outcome {
        _ if args.dry_run => {}
        Outcome::Destroyed => context.ui.status(&format!("removed {what}")),
        Outcome::Marked => context.ui.warning(&format!(
            "marked {what} for destruction: it was attached just before the removal, {}; \
             its key is freed now, the memory at the last detach",
            by.unwrap_or("by a process that has detached it or exited since")
        )),
    }
}

/// Reports the result.
fn report(args: &PruneArgs, context: &mut Context, pruning: &PruneReport) -> Result<(), Error> {
    let format = context.format;
    match format {
        Format::Json => context.report(pruning)?,
        Format::Table if !args.dry_run => {}
        _ => {
            let place: &[&str] = if args.all_ns { &["NS", "CONTAINER"] } else { &[] };
            let columns = match format {
                Format::Table => by_names(PRUNE, &[place, PRUNE_DEFAULT].concat()),
                _ => PRUNE.iter().collect(),
            };
            let style = TableStyle {
                headings: format != Format::Table || !pruning.removal.removed.is_empty() || !pruning.skipped.is_empty(),
                ..context.table(&["SWAP", "OUTCOME", "CONTAINER", "STATE", "OWNER", "RSS", "IDLE"])
            };
            context.ui.write(|out| write_rows(out, format, "segments", &columns, pruning.rows(), &style))?;
        }
    }
    for skipped in &pruning.skipped {
        context.ui.status(&format!("skipped {}: {}", named(args, &skipped.segment), skipped.reason));
    }
    let freed = pruning.freed;
    if freed.segments > 0 {
        let bytes = |bytes: u128| Size(u64::try_from(bytes).unwrap_or(u64::MAX));
        let swapped = if freed.swap > 0 { format!(", {} swapped", bytes(freed.swap)) } else { String::new() };
        let (would, segments) = (
            if args.dry_run { "would free" } else { "freed" },
            if freed.segments == 1 { "segment" } else { "segments" },
        );
        context.ui.status(&format!(
            "{would} {} {segments} ({}, {} resident{swapped})",
            freed.segments,
            bytes(freed.size),
            bytes(freed.rss),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;

    use super::*;
    use std::time::Duration;

    /// Gives the filter of a command line.
    fn filter(words: &[&str]) -> Filter {
        let command = PruneArgs::augment_args(clap::Command::new("prune"));
        let matches = command.try_get_matches_from([&["prune"], words].concat()).unwrap();
        PruneArgs::from_arg_matches(&matches).unwrap().filter(&System::new()).unwrap()
    }

    #[test]
    fn ones_own_of_ten_minutes_unless_told_otherwise() {
        let plain = filter(&[]);
        assert_eq!((plain.mine, plain.owner, plain.older_than), (true, None, Some(Duration::from_secs(600))));
        assert_eq!(filter(&["--older-than", "1s"]).older_than, Some(Duration::from_secs(1)));
        let owner = filter(&["--owner", "7"]);
        assert_eq!((owner.mine, owner.owner), (false, Some(7)));
        assert!(!filter(&["--any-owner"]).mine);
        assert!(filter(&["--owner", "7", "--mine"]).mine, "all that is said must hold");
    }
}
