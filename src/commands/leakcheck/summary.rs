//! What `leakcheck` prints about leaks, on standard error.

use std::collections::HashSet;
use std::ffi::OsString;

use super::LeakcheckArgs;
use crate::commands::Context;
use crate::commands::files::path_argument;
use crate::error::{Hint, Invocation, again, program, shmadm};
use crate::leaks::has_no_children;
use crate::model::{
    FileType, Isolation, Leak, LeakCheck, LeakOutcome, Leaks, Object, Size, TotalSize, counted, enumerate, first_names,
    path_text, sum_of_objects,
};
use crate::render::{leak_line, object_leak_line};

pub(super) fn print_summary(args: &LeakcheckArgs, context: &mut Context, check: &LeakCheck) {
    let Leaks { leaked, unattributed, others } = &check.leaks;
    for (word, list) in [("leaked", leaked), ("unattributed", unattributed)] {
        list.iter().for_each(|leak| context.ui.notice(&format!("{word}: {}", leak_line(leak))));
    }
    if *others > 0 {
        context.ui.warning(&format!(
            "{} of other users not reported: the creators exited before they could be observed",
            counted(*others, "new segment")
        ));
        let trace = again("--trace");
        let observe = if context.system.uid() == 0 { trace } else { trace.sudo() };
        context.ui.hint(Hint::new("observe every creator", observe));
    }
    let all: Vec<&Leak> = leaked.iter().chain(unattributed).collect();
    let has_objects = print_objects(args, context, check);
    if all.is_empty() {
        if *others == 0 && !has_objects {
            context.ui.status("no shared memory was leaked");
        }
        return;
    }
    context.ui.warning(&totals(&check.leaks));
    if !unattributed.is_empty() {
        context.ui.status("unattributed segments may belong to the command or to another of your jobs");
        if !args.trace && *others == 0 {
            context.ui.hint(Hint::new("observe every creator", again("--trace")));
        }
    }
    let attached = all.iter().filter(|leak| leak.segment.is_in_use()).count();
    let is_removed = all.iter().all(|leak| leak.outcome == Some(LeakOutcome::Destroyed));
    if check.isolation == Isolation::None {
        hint_removal(args, context, leaked);
    } else if is_removed {
        // The line of each segment reports its removal.
    } else if attached == 0 && has_no_children(&context.system) {
        context.ui.status("leaked segments were destroyed with the command's IPC namespace");
    } else if attached == 0 {
        context
            .ui
            .status("leaked segments are destroyed with the command's IPC namespace, once no process is left in it");
    } else {
        context.ui.status(&format!(
            "leaked segments are destroyed with their IPC namespace; {attached} {} still attached by processes that \
             the command left running",
            if attached == 1 { "is" } else { "are" }
        ));
    }
}

/// Prints leaked POSIX objects; returns whether there are any.
fn print_objects(args: &LeakcheckArgs, context: &mut Context, check: &LeakCheck) -> bool {
    let LeakCheck { leaked_objects, unattributed_objects, .. } = check;
    for (word, list) in [("leaked", leaked_objects), ("unattributed", unattributed_objects)] {
        list.iter().for_each(|object| context.ui.notice(&format!("{word}: {}", object_leak_line(object))));
        if !list.is_empty() {
            let (number, bytes) = sum_of_objects(list);
            let objects = counted(number, &format!("{word} object"));
            context.ui.warning(&format!("{objects} ({} allocated)", Size(bytes)));
        }
    }
    let (has_leaked, has_others) = (!leaked_objects.is_empty(), !unattributed_objects.is_empty());
    if has_leaked && !check.objects_are_shared {
        context
            .ui
            .status("leaked objects are destroyed with the command's own /dev/shm, once no process is left in it");
    } else if args.rm && (has_leaked || has_others) {
        context.ui.status("no object was removed: --rm and --strict remove segments only");
    }
    if check.objects_are_shared {
        hint_removal_of_objects(context, leaked_objects, "");
    }
    if args.rm {
        hint_removal_of_objects(context, unattributed_objects, " if no other job needs them");
    }
    has_leaked || has_others
}

/// Suggests commands that remove objects that are neither in use nor kept. `rm` refuses directories.
fn hint_removal_of_objects(context: &mut Context, objects: &[Object], condition: &str) {
    let Ok(directory) = context.system.objects() else { return };
    let (mut files, mut directories): (Vec<OsString>, Vec<OsString>) = (Vec::new(), Vec::new());
    let mut linked = Vec::new();
    for object in objects.iter().filter(|object| object.posix().in_use() != Some(true) && !object.posix().rule.keep) {
        match (&object.posix().name, object.posix().file_type) {
            (Some(name), FileType::Dir) => directories.push(directory.path_of(name).into()),
            // `shmadm rm` refuses them.
            (Some(name), _) if object.posix().stat.links > 1 => linked.push(path_text(&directory.path_of(name))),
            (Some(_), _) => files.push(object.ident().typed()),
            (None, _) => {}
        }
    }
    for (text, command, targets) in [
        ("remove them", shmadm("rm"), files),
        ("remove directories and everything in them", program("rm").arg("-r"), directories),
    ] {
        if !targets.is_empty() {
            let command = targets.into_iter().take(MAX_IDS).fold(command, Invocation::arg);
            context.ui.hint(Hint::new(format!("{text}{condition}"), command));
        }
    }
    if !linked.is_empty() {
        let names = enumerate(&first_names(MAX_IDS, linked), "and");
        context
            .ui
            .hint(Hint::text(format!("remove objects with several names (hard links) with rm(1){condition}: {names}")));
    }
}

/// Returns the numbers and sizes of leaked and unattributed segments.
fn totals(leaks: &Leaks) -> String {
    let Leaks { leaked, unattributed, .. } = leaks;
    let counts = [(leaked, "leaked segment"), (unattributed, "unattributed segment")].into_iter();
    let counts = counts.filter(|(list, _)| !list.is_empty()).map(|(list, noun)| counted(list.len() as u64, noun));
    let counts: Vec<String> = counts.collect();
    let sum = |bytes: fn(&Leak) -> Option<u64>| -> u128 {
        leaked.iter().chain(unattributed).filter_map(bytes).map(u128::from).sum()
    };
    let (size, rss) = (sum(|leak| Some(leak.segment.size)), sum(|leak| leak.segment.rss));
    let rss = if rss == 0 { "0 B".to_owned() } else { TotalSize(rss).to_string() };
    format!("{} ({}, {rss} resident)", counts.join(" and "), TotalSize(size))
}

/// Maximum number of segments, or of processes, in a hint.
const MAX_IDS: usize = 8;

/// Suggests commands that remove leaked segments, unless --rm was given. `rm` refuses those that are attached.
fn hint_removal(args: &LeakcheckArgs, context: &mut Context, leaked: &[Leak]) {
    if args.rm || leaked.is_empty() {
        return;
    }
    let (attached, unattached): (Vec<&Leak>, Vec<&Leak>) = leaked.iter().partition(|leak| leak.segment.is_in_use());
    let ids = |leaks: &[&Leak]| -> String {
        leaks.iter().map(|leak| leak.segment.ident().argument()).collect::<Vec<_>>().join(" ")
    };
    let report = args.report.as_ref().filter(|_| attached.is_empty());
    if let Some(report) = report {
        let command = shmadm("rm --from").arg(path_argument(report));
        context.ui.hint(Hint::new("remove the leaked segments, unless they have changed", command));
    } else if (1..=MAX_IDS).contains(&unattached.len()) {
        context.ui.hint(Hint::new("remove them", shmadm(format!("rm {}", ids(&unattached)))));
    } else if !unattached.is_empty() {
        context.ui.hint(Hint::new("remove them at the end of the command", again("--rm")));
    }
    if !attached.is_empty() {
        let are = if attached.len() == 1 { "is" } else { "are" };
        let count = counted(attached.len() as u64, "segment");
        let by = attached_processes(&attached);
        let who = shmadm(format!("who {}", ids(&attached[..attached.len().min(MAX_IDS)])));
        context.ui.hint(Hint::new(format!("{count} {are} still attached{by}"), who));
    }
}

/// Names the processes that have leaked segments attached.
fn attached_processes(attached: &[&Leak]) -> String {
    let processes = attached.iter().flat_map(|leak| leak.attachers.processes().map(|process| process[0].process()));
    let mut seen = HashSet::new();
    let names =
        first_names(MAX_IDS, processes.filter(|name| seen.insert(name.clone())).map(|name| format!("pid {name}")));
    if names.is_empty() { String::new() } else { format!(", by {}", names.join(", ")) }
}
