//! What commands do in every IPC namespace that a process is in.

use super::Context;
use crate::error::{Error, Kind};
use crate::model::{Needs, Segment};
use crate::process::{list_through_worker, visit};
use crate::query::{Census, Namespace, census, inventory};

/// What a visit of all namespaces came to.
#[derive(Debug)]
pub(crate) struct Visited {
    /// The segments, by namespace and in the order of its table.
    pub(crate) segments: Vec<Segment>,
    /// The namespaces that could be visited.
    pub(crate) namespaces: Vec<Namespace>,
    /// Those of them that this process cannot enter, and that were listed by another one.
    pub(crate) apart: Vec<Namespace>,
}

/// Lists the segments of every namespace; one that cannot be entered is a warning.
///
/// # Errors
/// There is no way to look at all.
pub(crate) fn survey(context: &mut Context, needs: Needs) -> Result<Visited, Error> {
    let Census { namespaces, closed } = census(&context.system)?;
    // Who is attached is found with one look at all processes, later and for all.
    let needs = needs.union(Needs::NAMESPACE).difference(Needs::ATTACHERS);
    let results = visit(&namespaces, |system, _| inventory(system, needs))?;
    let mut visited = Visited { segments: Vec::new(), namespaces: Vec::new(), apart: Vec::new() };
    for (namespace, result) in namespaces.into_iter().zip(results) {
        let result = match result {
            // One that belongs to a user namespace of ours takes a process of its own.
            Err(error) if error.kind == Kind::Permission => {
                let listed = list_through_worker(&namespace).map_err(|_| error);
                if listed.is_ok() {
                    visited.apart.push(namespace.clone());
                }
                listed
            }
            result => result,
        };
        match result {
            Ok(mut segments) => {
                segments.iter_mut().for_each(|segment| segment.container.clone_from(&namespace.container));
                visited.segments.extend(segments);
                visited.namespaces.push(namespace);
            }
            Err(error) => warn_of_closed(context, &namespace, &error),
        }
    }
    if closed > 0 {
        let processes = if closed == 1 { "process does" } else { "processes do" };
        context.ui.warning(&format!(
            "{closed} {processes} not tell us which IPC namespace they are in: there may be more than are shown"
        ));
        if context.system.uid() != 0 {
            context.ui.hint("root sees them all: `sudo shmadm … --all-ns`");
        }
    }
    Ok(visited)
}

/// Warns of a namespace that could not be entered.
pub(crate) fn warn_of_closed(context: &mut Context, namespace: &Namespace, error: &Error) {
    let container = namespace.container.as_ref().map(|name| format!(", {name}")).unwrap_or_default();
    context.ui.warning(&format!("{} (pid {}{container}): its segments are left out", error.line(), namespace.pid));
}
