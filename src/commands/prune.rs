mod files;
mod question;
mod segments;
mod selection;
mod status;

use std::time::Duration;

use clap::Args;

use self::files::SecondLook;
use self::question::confirm;
use self::selection::Selection;
use self::status::{describe_skipped, restore_names};
use super::all_namespaces::{ONLY_SEGMENTS, Survey, namespace_suffix, survey};
use super::args::TableArgs;
use super::filters::{FilterArgs, check_pids};
use super::{Context, Manual, describe};
use crate::act::{Cleaned, UseEvidence};
use crate::error::{Error, Exit, Hint, again, shmadm};
use crate::model::{Needs, Object, ObjectKind, Outcome, State, TotalSize, counted, parse_duration};
use crate::process::Interrupts;
use crate::query::{DEFAULT_MIN_IDLE, Filter, inventory, wait_for_exiting_users};
use crate::render::{
    Format, PRUNE, PRUNE_BOTH, PRUNE_DEFAULT, PRUNE_DROP_ORDER, PruneReport, RemovalReport, Removed, Skipped,
    TableStyle, by_names, duration, effect_of_mark,
};
use crate::ui::Ui;

pub(crate) const MANUAL: Manual = Manual {
    summary: "Remove segments and objects that are no longer used",
    description: "Removes segments and POSIX objects that are no longer used. By default these are the ones that \
                  the caller owns or created, that are orphans (not in use, and their creators have exited), and \
                  that have been idle for at least ten minutes.\n\n\
                  Filters select among these, as in list. --owner and --any-owner replace the first condition, \
                  --older-than the last. --unattached also removes segments in state idle (the creator or last user \
                  is running) or unknown (whether they are running cannot be determined): these processes may still \
                  need them. Attached segments are never removed (`shmadm rm --force` does that); those marked for \
                  destruction are destroyed at the last detach.\n\n\
                  For each POSIX object, prune asks the kernel for a write lease, which it grants only if no \
                  process has the object open or mapped. An object is an orphan if the process whose pid is in its \
                  name has exited, if none of its program's other objects is in use (PostgreSQL and Fast DDS, and \
                  only if the contents of one of them, or a lock file of the same owner, prove that they belong to \
                  the program), or if its name has no pid and every process of its owner started after the object \
                  was created. --unattached also \
                  removes objects in state idle or unused, after a second check: objects that a process opens \
                  within --settle are kept, such as those of a restarting server. An object is never removed if it \
                  is in use, if that cannot be determined, if its program keeps it between runs or needs it while \
                  one of its other objects is in use, or if it has several names. Directories and symbolic links \
                  are never removed.\n\n\
                  On a terminal prune lists what it would remove and asks. Otherwise it requires --yes. --dry-run \
                  shows what would be removed and why, without the second check. A summary counts what is kept, by \
                  reason.\n\n\
                  A process that is exiting still has its segments attached for a moment. prune waits for such \
                  processes for up to --wait, and then checks the segments that they used.\n\n\
                  Each segment is checked again immediately before it is removed. One that was attached, used or \
                  changed, or whose state changed, is skipped, which is not an error.",
    examples: &[
        ("shmadm prune --dry-run", "show which of your segments and objects are no longer used, and why"),
        ("shmadm prune --yes", "remove them"),
        ("shmadm prune --yes --exclude 0x4d2", "remove them, but not the segment with key 0x4d2"),
        ("shmadm prune --any-owner --older-than 1d --yes", "remove orphans of all users that have been idle for a day"),
        ("shmadm prune --posix --unattached --name 'psm_*' --yes", "remove objects of Python that no process uses"),
    ],
    json: "As for rm, with \
           \"skipped\":[{\"id\":7,\"reason\":\"…\",\"ns\":…}],\"kept\":{\"young\":6,\"other_owner\":2,\"idle\":0,\"unknown\":0,\"attached\":1,\"excluded\":0,\"in_use\":0,\"unused\":0,\"persistent\":0,\"directory\":0,\"linked\":0},\"freed\":{\"segments\":2,\"objects\":0,\"size\":8192,\"rss\":4096,\"swap\":0}.",
    notes: "The kernel has no call that removes a segment only if it is not attached. If another process attaches a \
            segment between the last check and the removal, the segment is marked for destruction instead: that \
            process keeps it, and a warning names the process.\n\n\
            An object is removed under its lease, so no process loses one that it uses or is about to open. \
            Meanwhile, for less than a millisecond, its name is .shmadm-aside=NAME. If prune is killed at that \
            moment, the next one restores the name, unless another object has it now. Names of the form \
            .shmadm-aside#INODE.PID, which objects with very long names get, cannot be restored: prune removes such \
            objects as orphans. Where the kernel or a sandbox grants no leases, an object is removed only if all \
            processes could be inspected and none uses it, and the report says so. Stores to mapped pages leave no \
            trace in the times of an object.\n\n\
            The memory that a removal frees is RSS plus SWAP. SIZE is the requested size, which may never have been \
            used.",
};

const SELECTION: &str = "By default prune removes segments and objects that
  you own or created          --owner, --any-owner replace this
  are orphans                 --unattached also removes idle and unknown
                              segments, and idle and unused objects that
                              no process opens for 5s (--settle)
  have been idle for 10m      --older-than replaces this
What is in use is never removed. prune waits up to 5s (--wait) for exiting
processes. Without a terminal, it requires --yes.

STATE of what is not in use:
  orphan         the creator and the last user have exited
  idle           one of them is running
  unknown        cannot determine whether either is running
  unused         nothing shows which process created the object";

#[derive(Args, Debug)]
#[command(after_help = SELECTION)]
pub(crate) struct PruneArgs {
    #[command(flatten)]
    filters: FilterArgs,

    /// Also remove idle and unknown segments, and idle and unused objects
    #[arg(long)]
    unattached: bool,

    /// Keep what --unattached selects if it is opened within DURATION
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "5s")]
    settle: Duration,

    /// Remove System V segments only
    #[arg(long)]
    sysv: bool,

    /// Remove POSIX objects only
    #[arg(long, conflicts_with = "sysv")]
    posix: bool,

    /// Also remove segments and objects of other users
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

    #[command(flatten)]
    table: TableArgs,

    /// Remove segments, but no objects, from all IPC namespaces
    #[arg(long, conflicts_with = "posix")]
    pub(crate) all_ns: bool,
}

impl PruneArgs {
    /// Returns whether POSIX objects are removed, those of this mount namespace.
    fn takes_files(&self) -> bool {
        !self.sysv && !self.all_ns
    }

    /// Returns the filter, with the defaults of prune.
    fn filter(&self) -> Result<Filter, Error> {
        let mut filter = self.filters.filter()?;
        filter.mine |= filter.owner.is_empty() && !self.any_owner;
        filter.older_than.get_or_insert(DEFAULT_MIN_IDLE);
        Ok(filter)
    }

    /// Warns if prune never removes segments that the filter requires.
    fn warn_of_filter(&self, filter: &Filter, ui: &mut Ui) {
        let requires = |states: &[State]| filter.state.iter().any(|state| states.contains(state));
        // --pid selects only what a process uses.
        if !filter.pid.is_empty() || requires(&[State::InUse, State::Dest]) {
            ui.warning("prune never removes attached segments or objects in use");
            ui.hint(Hint::new("see how --force marks a segment, or removes the name of an object", shmadm("help rm")));
        }
        if requires(&[State::Idle, State::Unknown, State::Unused]) && !self.unattached {
            ui.warning("prune removes only orphans unless --unattached is given");
            ui.hint(Hint::new("remove these too, although a process may still need them", again("--unattached")));
        }
    }
}

pub(crate) fn run(args: &PruneArgs, context: &mut Context) -> Result<Exit, Error> {
    if args.takes_files() {
        restore_names(args, context);
    } else if !args.sysv {
        context.ui.status(ONLY_SEGMENTS);
    }
    let filter = args.filter()?;
    args.warn_of_filter(&filter, &mut context.ui);
    let removal = RemovalReport { dry_run: args.dry_run, ..RemovalReport::default() };
    let mut report = PruneReport { removal, ..PruneReport::default() };
    let mut survey = list(args, context, &filter)?;
    args.filters.check_exclude(&survey.objects)?;
    let mut failed = check_pids(context, &filter)?;
    let mut selection = Selection::of(args, &context.system, &filter, survey.objects.clone())?;
    if wait_for_exiting_users(&context.system, selection.all_in_use(), args.wait) || selection.has_changed {
        context.system = context.system.renewed();
        if args.all_ns {
            survey.list_again(&context.system, NEEDS);
        } else {
            survey = list(args, context, &filter)?;
        }
        selection = Selection::of(args, &context.system, &filter, survey.objects.clone())?;
    }
    let users = selection.describe_users();
    report.kept = selection.kept;
    let undetermined = selection.undetermined.into_iter();
    let skipped =
        undetermined.map(|segment| Skipped { reason: files::why_unknown(&context.system, &segment), segment });
    report.skipped.extend(skipped);
    let mut objects = segments::skip_closed(context, &survey, selection.selected, &mut report);
    let namespaces = survey.namespaces;
    if objects.is_empty() {
        context.ui.status("nothing to prune");
    }
    let second_look = SecondLook::start(args, &context.system, &objects)?;
    if !objects.is_empty() && !args.dry_run && !args.yes {
        confirm(args, context, &objects)?;
    }
    // Ctrl-C stops between two removals; what was removed is still reported.
    let interrupts = Interrupts::watch()?;
    if let Some(look) = second_look {
        let (settled, opened) = look.finish(args, &interrupts, objects)?;
        let reason = "opened since the listing";
        report.skipped.extend(opened.into_iter().map(|segment| Skipped { segment, reason: reason.to_owned() }));
        objects = settled;
    }
    let (segments, files): (Vec<&Object>, Vec<&Object>) = objects.iter().partition(|object| object.is_segment());
    // After a crash, PostgreSQL finds its objects by its segment: if prune is interrupted or fails, that must still
    // exist.
    let (removed_files, is_complete) = files::remove_all(args, &context.system, &files, &interrupts);
    let segments = if is_complete { segments.as_slice() } else { &[] };
    let mut removals = segments::remove_all(args, context, segments, &namespaces, &interrupts);
    removals.extend(removed_files);
    for (object, result) in removals {
        match result {
            Ok((cleaned, attachers)) => add(args, context, &mut report, object, cleaned, attachers.as_deref()),
            Err(error) => failed.push((object.ident().argument(), error)),
        }
    }
    let exit = context.print_failures(&failed);
    report.removal.failed = context.failure_records(&failed);
    print(args, context, &report)?;
    let least = filter.older_than.unwrap_or_default();
    let owners = args.filters.owner_options();
    if let Some(kept) = report.kept.describe(least, &owners, users.each_ref().map(String::as_str)) {
        context.ui.status(&kept);
    }
    interrupts.check()?;
    Ok(exit)
}

const NEEDS: Needs = Needs::RECORD.union(Needs::CONTAINER);

/// Lists the objects of this namespace or of all.
fn list(args: &PruneArgs, context: &mut Context, filter: &Filter) -> Result<Survey, Error> {
    if args.all_ns {
        return survey(context, NEEDS);
    }
    let mut objects = if args.posix { Vec::new() } else { inventory(&context.system, Needs::RECORD)? };
    if args.takes_files() {
        objects.extend(files::list(args, context, filter)?);
    }
    Ok(Survey { objects, namespaces: Vec::new(), via_worker: Vec::new(), is_complete: true })
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
        Cleaned::Removed(removed) => {
            let outcome = removed.outcome;
            match outcome {
                _ if args.dry_run => {}
                Outcome::Destroyed => context.ui.status(&format!("removed {what}{}", removed.evidence())),
                Outcome::Unlinked => {
                    let may_have = if removed.evidence == UseEvidence::None { "may have opened" } else { "opened" };
                    context.ui.warning(&format!(
                        "unlinked {what}: a process {may_have} it just before the removal; \
                         its memory is freed when the last process closes and unmaps it"
                    ));
                }
                Outcome::Marked => context.ui.warning(&format!(
                    "marked {what} for destruction: it was attached just before the removal, {}; {}",
                    attachers.unwrap_or("by a process that has detached it or exited since"),
                    effect_of_mark(&segment)
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

fn describe_counts(segments: u64, objects: u64) -> String {
    let counts = [(segments, "segment"), (objects, "object")].into_iter().filter(|(count, _)| *count > 0);
    counts.map(|(count, what)| counted(count, what)).collect::<Vec<_>>().join(" and ")
}

fn reason(object: &Object) -> String {
    let since = object.idle_seconds.map(|seconds| format!(", idle for {}", duration(seconds))).unwrap_or_default();
    let why = match &object.kind {
        ObjectKind::SysV(sysv) => segments::reason(object.state, sysv),
        ObjectKind::Posix(posix) => files::reason(object.state, posix),
    };
    format!("{why}{since}")
}

fn print(args: &PruneArgs, context: &mut Context, report: &PruneReport) -> Result<(), Error> {
    match context.format {
        Format::Json => context.report(report)?,
        Format::Table if !args.dry_run => {}
        format => print_rows(args, context, format, report)?,
    }
    // The table of a dry run shows them.
    if context.format != Format::Table || !args.dry_run {
        let lines = describe_skipped(args, &report.skipped);
        lines.iter().for_each(|line| context.ui.status(line));
    }
    let freed = report.freed;
    if freed.segments + freed.objects > 0 {
        let verb = if args.dry_run { "would free" } else { "freed" };
        let (what, size) = (describe_counts(freed.segments, freed.objects), TotalSize(freed.size));
        let resident = freed.rss.map(|rss| format!(", {} resident", TotalSize(rss))).unwrap_or_default();
        let swap = freed.swap.filter(|swap| *swap > 0);
        let swapped = swap.map(|swap| format!(", {} swapped", TotalSize(swap))).unwrap_or_default();
        context.ui.status(&format!("{verb} {what} ({size}{resident}{swapped})"));
    }
    Ok(())
}

fn print_rows(args: &PruneArgs, context: &mut Context, format: Format, report: &PruneReport) -> Result<(), Error> {
    let is_table = format == Format::Table;
    let rows = report.rows(is_table);
    let columns = match is_table {
        true if rows.iter().any(|row| !row.as_ref().is_segment()) => by_names(PRUNE, PRUNE_BOTH),
        true if args.all_ns => by_names(PRUNE, &[&["NS", "CONTAINER"], PRUNE_DEFAULT].concat()),
        true => by_names(PRUNE, PRUNE_DEFAULT),
        false => PRUNE.iter().collect(),
    };
    let style = args.table.style(context, PRUNE_DROP_ORDER);
    let style = TableStyle { headings: style.headings && !(is_table && rows.is_empty()), ..style };
    context.print_rows("segments", &columns, rows, &style)
}
