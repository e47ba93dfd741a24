//! What commands do in every IPC namespace that a process is in.

use super::Context;
use crate::error::{Error, Kind};
use crate::model::{Attachers, Needs, Segment, ShmId};
use crate::process::{list_through_worker, visit_namespaces};
use crate::query::{Census, Namespace, System, can_inspect_all, census, inventory};

/// What a visit of all namespaces came to.
#[derive(Debug)]
pub(crate) struct Visited {
    /// The segments, by namespace and in the order of its table.
    pub(crate) segments: Vec<Segment>,
    /// The namespaces that could be visited.
    pub(crate) namespaces: Vec<Namespace>,
    /// Those of them that this process cannot enter, and that were listed by another one.
    pub(crate) apart: Vec<Namespace>,
    /// Whether every namespace could be visited, as far as can be known.
    pub(crate) all: bool,
}

/// Lists the segments of every namespace; one that cannot be entered is a warning.
///
/// # Errors
/// There is no way to look at all.
pub(crate) fn survey(context: &mut Context, needs: Needs) -> Result<Visited, Error> {
    // Who is attached is found with one look at all processes, later and for all.
    let needs = needs.union(Needs::NAMESPACE).difference(Needs::ATTACHERS | Needs::CONTAINER);
    let answers = ask_all(context, |system| inventory(system, needs), list_through_worker)?;
    let mut visited = Visited {
        segments: answers.here.unwrap_or_default(),
        namespaces: Vec::new(),
        apart: answers.apart,
        all: answers.all,
    };
    for (namespace, mut segments) in answers.there {
        segments.iter_mut().for_each(|segment| segment.container.clone_from(&namespace.container));
        visited.segments.extend(segments);
        visited.namespaces.push(namespace);
    }
    Ok(visited)
}

/// What was answered in all namespaces.
#[derive(Debug)]
pub(crate) struct Answers<T> {
    /// Our own answer, where /proc does not show in which namespace we are.
    pub(crate) here: Option<T>,
    /// The namespaces that could be visited, by number, each with its answer.
    pub(crate) there: Vec<(Namespace, T)>,
    /// Those of them that this process cannot enter, and that were asked by another one.
    pub(crate) apart: Vec<Namespace>,
    /// Whether every namespace could be visited, as far as can be known.
    pub(crate) all: bool,
}

/// Asks something in every namespace, and through another process where this one cannot enter; a namespace that cannot
/// be entered at all is a warning.
///
/// # Errors
/// There is no way to look at all.
pub(crate) fn ask_all<T: Send>(
    context: &mut Context,
    ask: impl Fn(&System) -> Result<T, Error> + Sync,
    ask_through_worker: impl Fn(&System, &Namespace) -> Result<T, Error>,
) -> Result<Answers<T>, Error> {
    let Census { namespaces, inaccessible: closed } = census(&context.system)?;
    let mut answers = Answers { here: None, there: Vec::new(), apart: Vec::new(), all: closed == 0 };
    let here = context.system.namespace();
    if !namespaces.iter().any(|namespace| Some(namespace.number) == here) {
        context.ui.warning(
            "/proc does not show this process: other IPC namespaces cannot be found, and only this one is shown",
        );
        answers.here = Some(ask(&context.system)?);
        answers.all = false;
    }
    let results = visit_namespaces(&context.system, &namespaces, |system, _| ask(system));
    for (namespace, result) in namespaces.into_iter().zip(results) {
        let result = match result {
            // One that belongs to a user namespace of ours takes a process of its own.
            Err(error) if error.kind == Kind::Permission => {
                let answer = ask_through_worker(&context.system, &namespace)
                    .map_err(|worker| if worker.kind == Kind::NotFound { worker } else { error });
                if answer.is_ok() {
                    answers.apart.push(namespace.clone());
                }
                answer
            }
            result => result,
        };
        match result {
            Ok(answer) => answers.there.push((namespace, answer)),
            // Everybody has left it meanwhile.
            Err(error) if error.kind == Kind::NotFound => {}
            Err(error) => {
                warn_of_closed(context, &namespace, &error);
                answers.all = false;
            }
        }
    }
    if closed > 0 && !can_inspect_all(&context.system) {
        let processes = if closed == 1 { "process" } else { "processes" };
        context.ui.warning(&format!(
            "cannot determine the IPC namespace of {closed} {processes}: there may be more than are shown"
        ));
        let line = format!("run as root: `sudo shmadm {}`", context.line);
        context.ui.hint(&line);
    }
    Ok(answers)
}

/// Warns of a namespace that could not be entered.
pub(crate) fn warn_of_closed(context: &mut Context, namespace: &Namespace, error: &Error) {
    let container = namespace.container.as_ref().map(|name| format!(", {name}")).unwrap_or_default();
    let cause = error.cause.as_ref().map(|cause| format!("; {cause}")).unwrap_or_default();
    context.ui.warning(&format!("segments omitted: {} (pid {}{container}){cause}", error, namespace.pid));
}

/// Warns of segments whose namespace was not among those that were visited.
pub(crate) fn warn_of_strays(context: &mut Context, strays: &[(ShmId, Attachers)], all: bool) {
    for (id, attachers) in strays {
        let pids: Vec<_> = attachers.processes().map(|process| process[0].pid.to_string()).collect();
        let why = if all {
            "no longer has a process and exists only because of this attachment"
        } else {
            "could not be entered, or no longer has a process and exists only because of this attachment"
        };
        let pids = pids.join(", ");
        context.ui.warning(&format!("pid {pids} has a segment with id {id} attached whose IPC namespace {why}"));
    }
}

/// Says in which namespace something is.
pub(crate) fn place_of(ns: Option<u64>, container: Option<&str>) -> String {
    match (ns, container) {
        (Some(number), Some(container)) => format!(" in namespace {number} ({container})"),
        (Some(number), None) => format!(" in namespace {number}"),
        (None, _) => String::new(),
    }
}
