//! Work in every IPC namespace that has a process.

use super::Context;
use crate::error::{Error, Hint, Kind, again};
use crate::model::{Attachers, Needs, Object, ShmId};
use crate::process::{list_through_worker, visit_namespaces};
use crate::query::{Census, Namespace, System, can_inspect_all, census, inventory};

/// Result of a visit to all namespaces.
#[derive(Debug)]
pub(crate) struct Visited {
    /// The segments, by namespace and in the order of its table.
    pub(crate) segments: Vec<Object>,
    /// The namespaces that could be visited.
    pub(crate) namespaces: Vec<Namespace>,
    /// Those of them that this process cannot enter; a worker process listed them.
    pub(crate) apart: Vec<Namespace>,
    /// Whether every namespace could be visited, as far as can be known.
    pub(crate) all: bool,
}

/// Lists the segments of every namespace; one that cannot be entered is a warning.
///
/// # Errors
/// No namespace can be examined.
pub(crate) fn survey(context: &mut Context, needs: Needs) -> Result<Visited, Error> {
    // Attachments are found later, by one scan of all processes for all namespaces.
    let needs = needs.union(Needs::NAMESPACE).difference(Needs::ATTACHERS | Needs::CONTAINER);
    let answers = ask_all(context, |system| Ok(inventory(system, needs)?), list_through_worker)?;
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

/// Answers from all namespaces.
#[derive(Debug)]
pub(crate) struct Answers<T> {
    /// This process's own answer if /proc does not show its namespace.
    pub(crate) here: Option<T>,
    /// The namespaces that could be visited, by number, each with its answer.
    pub(crate) there: Vec<(Namespace, T)>,
    /// Those of them that this process cannot enter; a worker process asked them.
    pub(crate) apart: Vec<Namespace>,
    /// Whether every namespace could be visited, as far as can be known.
    pub(crate) all: bool,
}

/// Calls `ask` in every namespace, through a worker process where this one cannot enter. Warns about namespaces that
/// cannot be entered at all.
///
/// # Errors
/// No namespace can be examined.
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
            // A namespace owned by a descendant user namespace requires a separate process: setns(CLONE_NEWUSER).
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
            // Its last process has exited or left it meanwhile.
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
        context.ui.hint(Hint::new("run as root", again("").sudo()));
    }
    Ok(answers)
}

/// Warns about a namespace that could not be entered.
pub(crate) fn warn_of_closed(context: &mut Context, namespace: &Namespace, error: &Error) {
    let container = namespace.container.as_ref().map(|name| format!(", {name}")).unwrap_or_default();
    let cause = error.cause.as_ref().map(|cause| format!("; {cause}")).unwrap_or_default();
    context.ui.warning(&format!("segments omitted: {} (pid {}{container}){cause}", error, namespace.pid));
}

/// Warns about attached segments whose namespace was not visited.
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

/// Returns the namespace of a segment as a suffix for messages.
pub(crate) fn namespace_suffix(ns: Option<u64>, container: Option<&str>) -> String {
    match (ns, container) {
        (Some(number), Some(container)) => format!(" in namespace {number} ({container})"),
        (Some(number), None) => format!(" in namespace {number}"),
        (None, _) => String::new(),
    }
}
