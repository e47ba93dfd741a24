//! Segments: which of them this process can remove, and the removal in each namespace.

use super::PruneArgs;
use crate::act::{Cleaned, clean};
use crate::commands::Context;
use crate::commands::all_namespaces::{Survey, warn_of_closed};
use crate::error::{Error, Hint, again};
use crate::explain::describe_attachers;
use crate::model::{Object, ObjectKind, Outcome, State, SysV};
use crate::process::{Interrupts, visit_namespaces};
use crate::query::{Namespace, System};
use crate::render::{PruneReport, Skipped};

/// Skips objects of namespaces that this process cannot enter; returns the others.
pub(super) fn skip_closed(
    context: &Context,
    survey: &Survey,
    objects: Vec<Object>,
    report: &mut PruneReport,
) -> Vec<Object> {
    let mut open = Vec::new();
    for segment in objects {
        let mut via_worker = survey.via_worker.iter();
        let Some(namespace) = via_worker.find(|namespace| Some(namespace.number) == segment.ipc_namespace()) else {
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

/// The result of a removal, and the processes that attached the segment just before.
pub(super) type Removal = Result<(Cleaned, Option<String>), Error>;

/// Removes segments, each in its namespace, until a signal arrives.
pub(super) fn remove_all(
    args: &PruneArgs,
    context: &mut Context,
    objects: &[&Object],
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
    let attachers = match (&cleaned, &object.kind) {
        (Cleaned::Removed(removed), ObjectKind::SysV(sysv)) if removed.outcome == Outcome::Marked => {
            describe_attachers(system, sysv.id)
        }
        _ => None,
    };
    Ok((cleaned, attachers))
}

/// Returns why a segment is removed.
pub(super) fn reason(state: Option<State>, sysv: &SysV) -> String {
    let pid = |pid: Option<i32>| pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string());
    let (creator, last_user) = (pid(sysv.cpid), pid(sysv.lpid));
    match state {
        Some(State::Orphan) if sysv.atime.is_none() => format!("creator pid {creator} has exited, never attached"),
        Some(State::Orphan) => format!("creator pid {creator} and last user pid {last_user} have exited"),
        Some(State::Idle) => "not attached, but its creator or last user is running".to_owned(),
        _ => "not attached; cannot determine whether its creator or last user is running".to_owned(),
    }
}
