mod selection;

use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use self::selection::Selection;
use super::all_namespaces::{Survey, namespace_suffix, survey, warn_of_closed};
use super::filters::FilterArgs;
use super::{Context, Manual, describe};
use crate::act::{Cleaned, clean, restore_aside};
use crate::error::{Error, Exit, Hint, Kind, again};
use crate::explain::describe_attachers;
use crate::model::{Needs, Object, Outcome, Size, State, counted, parse_duration};
use crate::process::{Interrupts, visit_namespaces};
use crate::query::{DEFAULT_MIN_IDLE, Filter, Namespace, System, inventory, wait_for_exiting_users};
use crate::render::{
    Format, PRUNE, PRUNE_DEFAULT, PRUNE_DROP_ORDER, PruneReport, RemovalReport, Removed, Skipped, TableStyle, by_names,
    duration,
};
use crate::ui::Ui;

pub(crate) const MANUAL: Manual = Manual {
    summary: "Remove segments that are no longer used",
    description: "Removes segments that are no longer used. By default these are the segments that the caller owns or \
                  created, that are orphans (not attached, creator and last user have exited), and that have been \
                  idle for at least ten minutes.\n\n\
                  Filters select among these, as in list. --owner and --any-owner replace the first condition, --older-than the last. --unattached also \
                  removes segments in state idle or unknown, whose creator or last user may still need them. Attached \
                  segments and those marked for destruction are never removed; `shmadm rm --force` is for them.\n\n\
                  On a terminal prune lists the segments and asks. Otherwise it requires --yes. --dry-run shows the \
                  segments and why they would be removed. What was not selected is summarised with the reasons.\n\n\
                  A process that is exiting still has its segments attached for a moment. prune waits for such \
                  processes, at most --wait, and then judges the segments that they use.\n\n\
                  Each segment is checked again immediately before it is removed. One that was attached, used or \
                  changed, or whose state changed, is skipped, which is not an error.",
    examples: &[
        ("shmadm prune --dry-run", "show which of your segments are no longer used, and why"),
        ("shmadm prune --yes", "remove them"),
        ("shmadm prune --yes --exclude 0x4d2", "remove them, but not the segment with key 0x4d2"),
        ("shmadm prune --any-owner --older-than 1d --yes", "remove orphans of all users that have been idle for a day"),
    ],
    json: "As for rm, with \
           \"skipped\":[{\"id\":7,\"reason\":\"…\",\"ns\":…}],\"kept\":{\"young\":6,\"other_owner\":2,\"idle\":0,\"unknown\":0,\"attached\":1,\"excluded\":0},\"freed\":{\"segments\":2,\"size\":8192,\"rss\":4096,\"swap\":0}.",
    notes: "The kernel cannot remove a segment only if it is not attached. If another process attaches a segment \
            between the last check and the removal, the segment is marked for destruction instead: that process keeps \
            it, and a warning names the process.\n\n\
            The memory that a removal frees is RSS plus SWAP. SIZE is the requested size, which may never have been \
            used.",
};

const SELECTION: &str = "By default prune removes segments that
  you own or created          --owner, --any-owner replace this
  are orphans                 --unattached also removes idle and unknown ones
  have been idle for 10m      --older-than replaces this
Attached segments are never removed. Processes that are exiting are
waited for, at most 5s (--wait).";

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

    /// Wait at most DURATION for exiting processes
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "5s")]
    wait: Duration,

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
        filter.mine |= filter.owner.is_empty() && !self.any_owner;
        filter.older_than.get_or_insert(DEFAULT_MIN_IDLE);
        Ok(filter)
    }

    /// Warns if prune never removes segments that the filter requires.
    fn warn_of_filter(&self, filter: &Filter, ui: &mut Ui) {
        let requires = |states: [State; 2]| filter.state.iter().any(|state| states.contains(state));
        // A segment that a process has attached is attached.
        if !filter.pid.is_empty() || requires([State::InUse, State::Dest]) {
            ui.warning("prune never removes attached segments");
            ui.hint(Hint::text("rm --force marks an attached segment for destruction"));
        }
        if requires([State::Idle, State::Unknown]) && !self.unattached {
            ui.warning("prune removes only orphans unless --unattached is given");
            ui.hint(Hint::new("remove these too, although a process may still need them", again("--unattached")));
        }
    }
}

pub(crate) fn run(args: &PruneArgs, context: &mut Context) -> Result<Exit, Error> {
    if !args.dry_run {
        // Without a /dev/shm there is nothing to give back.
        let _ = restore_aside(&context.system);
    }
    let filter = args.filter(&context.system)?;
    args.warn_of_filter(&filter, &mut context.ui);
    let removal = RemovalReport { dry_run: args.dry_run, ..RemovalReport::default() };
    let mut report = PruneReport { removal, ..PruneReport::default() };
    let mut survey = list(args, context)?;
    let mut selection = Selection::of(args, &context.system, &filter, survey.objects.clone())?;
    if wait_for_exiting_users(&context.system, &selection.in_use, args.wait) {
        context.system = context.system.renewed();
        if args.all_ns {
            survey.list_again(&context.system, NEEDS);
        } else {
            survey = list(args, context)?;
        }
        selection = Selection::of(args, &context.system, &filter, survey.objects.clone())?;
    }
    report.kept = selection.kept;
    let attachers = selection.describe_attachers();
    let objects = skip_closed(context, &survey, selection.selected, &mut report);
    let namespaces = survey.namespaces;
    if objects.is_empty() {
        context.ui.status("nothing to prune");
    } else if !args.dry_run && !args.yes {
        confirm(args, context, &objects)?;
    }
    // Ctrl-C stops between two removals; what was removed is still reported.
    let interrupts = Interrupts::watch()?;
    let mut failed = Vec::new();
    for (object, result) in remove_all(args, context, &objects, &namespaces, &interrupts) {
        match result {
            Ok((cleaned, attachers)) => add(args, context, &mut report, object, cleaned, attachers.as_deref()),
            Err(error) => failed.push((object.ident().argument(), error)),
        }
    }
    report.removal.failed = context.failures(failed);
    print(args, context, &report)?;
    let least = filter.older_than.unwrap_or_default();
    if let Some(kept) = report.kept.describe(least, &attachers) {
        context.ui.status(&kept);
    }
    interrupts.check()?;
    Ok(Exit::of(report.removal.failed.iter().map(|failure| failure.kind)))
}

const NEEDS: Needs = Needs::RECORD.union(Needs::CONTAINER);

/// Lists the objects of this namespace or of all.
fn list(args: &PruneArgs, context: &mut Context) -> Result<Survey, Error> {
    if args.all_ns {
        return survey(context, NEEDS);
    }
    let objects = inventory(&context.system, Needs::RECORD)?;
    Ok(Survey { objects, namespaces: Vec::new(), apart: Vec::new(), is_complete: true })
}

/// Skips objects of namespaces that this process cannot enter; returns the others.
fn skip_closed(context: &Context, survey: &Survey, objects: Vec<Object>, report: &mut PruneReport) -> Vec<Object> {
    let mut open = Vec::new();
    for segment in objects {
        let mut apart = survey.apart.iter();
        let Some(namespace) = apart.find(|namespace| Some(namespace.number) == segment.ipc_namespace()) else {
            open.push(segment);
            continue;
        };
        let command = again("--ns").arg(namespace.ns_argument()).without(&["all-ns"]);
        let hint = context.ui.complete(Hint::new("run", command)).and_then(|hint| hint.command);
        let hint = hint.map(|command| format!(": run `{command}`")).unwrap_or_default();
        let reason = format!("its IPC namespace belongs to another user namespace{hint}");
        report.skipped.push(Skipped { segment, reason });
    }
    open
}

/// The result of a removal, and the processes that attached the object just before.
type Removal = Result<(Cleaned, Option<String>), Error>;

/// Removes objects, each in its namespace, until a signal arrives.
fn remove_all(
    args: &PruneArgs,
    context: &mut Context,
    objects: &[Object],
    namespaces: &[Namespace],
    interrupts: &Interrupts,
) -> Vec<(Object, Removal)> {
    let remove = |system: &System, object: &Object| {
        interrupts.check().ok()?;
        Some((object.clone(), remove(system, object, args.dry_run)))
    };
    let is_in = |object: &Object, namespace: &Namespace| object.ipc_namespace() == Some(namespace.number);
    let namespaces: Vec<Namespace> =
        namespaces.iter().filter(|namespace| objects.iter().any(|object| is_in(object, namespace))).cloned().collect();
    // Without --all-ns, or if /proc does not show the namespace of this process.
    let here = objects.iter().filter(|object| !namespaces.iter().any(|namespace| is_in(object, namespace)));
    let mut removals: Vec<_> = here.map_while(|object| remove(&context.system, object)).collect();
    if namespaces.is_empty() {
        return removals;
    }
    let results = visit_namespaces(&context.system, &namespaces, |system, namespace| {
        let objects = objects.iter().filter(|object| is_in(object, namespace));
        Ok(objects.map_while(|object| remove(system, object)).collect::<Vec<_>>())
    });
    for (namespace, result) in namespaces.iter().zip(results) {
        match result {
            Ok(removed) => removals.extend(removed),
            Err(error) => warn_of_closed(context, namespace, &error),
        }
    }
    removals
}

fn remove(system: &System, object: &Object, dry_run: bool) -> Removal {
    let cleaned = clean(system, object, dry_run)?;
    let is_marked = cleaned == Cleaned::Removed(Outcome::Marked);
    Ok((cleaned, if is_marked { describe_attachers(system, object.sysv().id) } else { None }))
}

/// Reports the result for an object and adds it to the report.
fn add(
    args: &PruneArgs,
    context: &mut Context,
    report: &mut PruneReport,
    segment: Object,
    cleaned: Cleaned,
    attachers: Option<&str>,
) {
    let what = describe_with_namespace(args, &segment);
    match cleaned {
        Cleaned::Kept(kept) => report.skipped.push(Skipped { segment, reason: kept.reason() }),
        Cleaned::Removed(outcome) => {
            match outcome {
                _ if args.dry_run => {}
                Outcome::Destroyed | Outcome::Unlinked => context.ui.status(&format!("removed {what}")),
                Outcome::Marked => context.ui.warning(&format!(
                    "marked {what} for destruction: it was attached just before the removal, {}; \
                     its key is freed now, the memory at the last detach",
                    attachers.unwrap_or("by a process that has detached it or exited since")
                )),
            }
            let why = reason(&segment);
            report.add(Removed { segment, outcome, why });
        }
    }
}

fn describe_with_namespace(args: &PruneArgs, object: &Object) -> String {
    let suffix = namespace_suffix(args.all_ns, object.ipc_namespace(), object.container.as_deref());
    format!("{}{suffix}", describe(object))
}

const MAX_NAMESPACES: usize = 8;

fn confirm(args: &PruneArgs, context: &mut Context, objects: &[Object]) -> Result<(), Error> {
    let mut what = counted(objects.len() as u64, "segment");
    if args.all_ns {
        what.push_str(&describe_namespaces(context, objects));
    }
    if !context.ui.can_confirm() {
        return Err(Error::new(Kind::Refused, format!("cannot remove {what}: confirmation required"))
            .cause("--yes is not given, and there is no terminal to ask on")
            .hint("show what would be removed", again("--dry-run"))
            .hint("remove without asking", again("--yes")));
    }
    for object in objects {
        context.ui.notice(&format!("{}: {}", describe_with_namespace(args, object), reason(object)));
    }
    if context.ui.confirm(&format!("remove {what}?"))? {
        Ok(())
    } else {
        Err(Error::new(Kind::Refused, "nothing was removed: not confirmed"))
    }
}

/// Returns in how many namespaces objects are, and how many of them in each.
fn describe_namespaces(context: &Context, objects: &[Object]) -> String {
    let mut namespaces: Vec<(Option<u64>, Option<Arc<str>>)> =
        objects.iter().map(|object| (object.ipc_namespace(), object.container.clone())).collect();
    namespaces.dedup();
    let describe = |(ns, container): &(Option<u64>, Option<Arc<str>>)| {
        let count = objects.iter().filter(|object| object.ipc_namespace() == *ns).count();
        let number = ns.map_or_else(|| "?".to_owned(), |number| number.to_string());
        let container = container.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        let here = if *ns == context.system.namespace() { " (this one)" } else { "" };
        format!("{count} in {number}{container}{here}")
    };
    let mut each: Vec<String> = namespaces.iter().take(MAX_NAMESPACES).map(describe).collect();
    if namespaces.len() > MAX_NAMESPACES {
        each.push(format!("others in {} more", namespaces.len() - MAX_NAMESPACES));
    }
    format!(" in {} ({})", counted(namespaces.len() as u64, "IPC namespace"), each.join(", "))
}

fn reason(object: &Object) -> String {
    let sysv = object.sysv();
    let pid = |pid: Option<i32>| pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string());
    let (creator, last_user) = (pid(sysv.cpid), pid(sysv.lpid));
    let processes = match object.state {
        Some(State::Orphan) if sysv.atime.is_none() => format!("creator pid {creator} has exited, never attached"),
        Some(State::Orphan) => format!("creator pid {creator} and last user pid {last_user} have exited"),
        Some(State::Idle) => "not attached, but its creator or last user is running".to_owned(),
        _ => "not attached; cannot determine whether its creator or last user is running".to_owned(),
    };
    let since = object.idle_seconds.map(|seconds| format!(", idle for {}", duration(seconds))).unwrap_or_default();
    format!("{processes}{since}")
}

fn print(args: &PruneArgs, context: &mut Context, report: &PruneReport) -> Result<(), Error> {
    match context.format {
        Format::Json => context.report(report)?,
        Format::Table if !args.dry_run => {}
        format => print_rows(args, context, format, report)?,
    }
    for Skipped { segment, reason } in &report.skipped {
        context.ui.status(&format!("skipped {}: {reason}", describe_with_namespace(args, segment)));
    }
    let freed = report.freed;
    if freed.segments > 0 {
        let bytes = |bytes: u128| Size(u64::try_from(bytes).unwrap_or(u64::MAX));
        let verb = if args.dry_run { "would free" } else { "freed" };
        let (segments, size) = (counted(freed.segments, "segment"), bytes(freed.size));
        let resident = freed.rss.map(|rss| format!(", {} resident", bytes(rss))).unwrap_or_default();
        let swap = freed.swap.filter(|swap| *swap > 0);
        let swapped = swap.map(|swap| format!(", {} swapped", bytes(swap))).unwrap_or_default();
        context.ui.status(&format!("{verb} {segments} ({size}{resident}{swapped})"));
    }
    Ok(())
}

fn print_rows(args: &PruneArgs, context: &mut Context, format: Format, report: &PruneReport) -> Result<(), Error> {
    let is_table = format == Format::Table;
    let rows = report.rows(is_table);
    let columns = match is_table {
        true if args.all_ns => by_names(PRUNE, &[&["NS", "CONTAINER"], PRUNE_DEFAULT].concat()),
        true => by_names(PRUNE, PRUNE_DEFAULT),
        false => PRUNE.iter().collect(),
    };
    let style = TableStyle { headings: !is_table || !rows.is_empty(), ..context.table(PRUNE_DROP_ORDER) };
    context.print_rows("segments", &columns, rows, &style)
}
