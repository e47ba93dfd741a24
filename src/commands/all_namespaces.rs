//! Work in every IPC namespace that has a process or a bind mount.

use super::Context;
use crate::error::{Error, Hint, Kind};
use crate::model::{Needs, Object, PosixUsage, SegmentUsers, ShmId, counted};
use crate::process::{list_through_worker, visit_namespaces};
use crate::query::{
    Census, Instances, Namespace, ObjectDirectory, System, can_inspect_all, census, instances, inventory,
    posix_usage_in, unlinked_objects_in,
};

#[derive(Debug)]
pub(crate) struct Survey {
    /// The objects, by namespace and in the order of its table.
    pub(crate) objects: Vec<Object>,
    /// The namespaces that were visited.
    pub(crate) namespaces: Vec<Namespace>,
    /// Those of them that this process cannot enter; a worker process listed them.
    pub(crate) via_worker: Vec<Namespace>,
    /// Whether every namespace was visited, as far as is known.
    pub(crate) is_complete: bool,
}

/// Lists the objects of every namespace; one that cannot be entered is a warning.
pub(crate) fn survey(context: &mut Context, needs: Needs) -> Result<Survey, Error> {
    // Attachments are found later, by one scan of all processes for all namespaces.
    let needs = needs.union(Needs::NAMESPACE).difference(Needs::ATTACHERS | Needs::CONTAINER);
    let answers = ask_all(context, |system| Ok(inventory(system, needs)?), list_through_worker)?;
    let Answers { here, there, via_worker, is_complete } = answers;
    let mut survey = Survey { objects: here.unwrap_or_default(), namespaces: Vec::new(), via_worker, is_complete };
    for (namespace, mut objects) in there {
        objects.iter_mut().for_each(|object| object.container.clone_from(&namespace.container));
        survey.objects.extend(objects);
        survey.namespaces.push(namespace);
    }
    Ok(survey)
}

impl Survey {
    /// Lists the objects again; those of namespaces that this process cannot enter remain as they were.
    pub(crate) fn list_again(&mut self, system: &System, needs: Needs) {
        let results = visit_namespaces(system, &self.namespaces, |system, _| Ok(inventory(system, needs)?));
        for (namespace, result) in self.namespaces.iter().zip(results) {
            let Ok(mut objects) = result else { continue };
            objects.iter_mut().for_each(|object| object.container.clone_from(&namespace.container));
            self.objects.retain(|object| object.ipc_namespace() != Some(namespace.number));
            self.objects.extend(objects);
        }
    }
}

/// The processes that cannot be counted, for messages.
pub(super) const HIDDEN_PROCESSES: &str = "processes that /proc hides (mount option hidepid)";

/// Answers from all namespaces.
#[derive(Debug)]
pub(crate) struct Answers<T> {
    /// This process's own answer if /proc does not show its namespace.
    pub(crate) here: Option<T>,
    /// The namespaces that were visited, by number, each with its answer.
    pub(crate) there: Vec<(Namespace, T)>,
    /// Those of them that this process cannot enter; a worker process asked them.
    pub(crate) via_worker: Vec<Namespace>,
    /// Whether every namespace was visited, as far as is known.
    pub(crate) is_complete: bool,
}

/// Calls `ask` in every namespace, through a worker process where this one cannot enter. Warns about namespaces that
/// cannot be entered at all.
pub(crate) fn ask_all<T: Send>(
    context: &mut Context,
    ask: impl Fn(&System) -> Result<T, Error> + Sync,
    ask_through_worker: impl Fn(&System, &Namespace) -> Result<T, Error>,
) -> Result<Answers<T>, Error> {
    let Census { namespaces, inaccessible } = census(&context.system)?;
    let mut answers =
        Answers { here: None, there: Vec::new(), via_worker: Vec::new(), is_complete: inaccessible == Some(0) };
    let here = context.system.namespace();
    if !namespaces.iter().any(|namespace| Some(namespace.number) == here) {
        context.ui.warning(
            "/proc does not show this process: other IPC namespaces cannot be found, and only this one is shown",
        );
        answers.here = Some(ask(&context.system)?);
        answers.is_complete = false;
    }
    let results = visit_namespaces(&context.system, &namespaces, |system, _| ask(system));
    for (namespace, mut result) in namespaces.into_iter().zip(results) {
        // A namespace owned by a descendant user namespace requires a separate process: setns(CLONE_NEWUSER).
        if let Err(error) = &result
            && error.kind == Kind::Permission
        {
            match ask_through_worker(&context.system, &namespace) {
                Ok(answer) => {
                    answers.via_worker.push(namespace.clone());
                    result = Ok(answer);
                }
                Err(error) if error.kind == Kind::NotFound => result = Err(error),
                // The first error has the cause.
                Err(_) => {}
            }
        }
        match result {
            Ok(answer) => answers.there.push((namespace, answer)),
            // Its last process has exited or left it meanwhile.
            Err(error) if error.kind == Kind::NotFound => {}
            Err(error) => {
                warn_of_closed(context, &namespace, &error);
                answers.is_complete = false;
            }
        }
    }
    warn_of_inaccessible(context, inaccessible, "IPC namespace", "more");
    Ok(answers)
}

/// Warns about processes whose namespaces cannot be read; `count` is `None` if /proc hides some.
fn warn_of_inaccessible(context: &mut Context, count: Option<u64>, namespace: &str, more: &str) {
    if count != Some(0) && !can_inspect_all(&context.system) {
        let processes = count.map_or_else(|| HIDDEN_PROCESSES.to_owned(), |count| counted(count, "process"));
        let message = format!("cannot determine the {namespace} of {processes}: there may be {more} than are shown");
        context.ui.warning(&message);
        context.ui.hint(Hint::run_as_root());
    }
}

/// Opens the /dev/shm of every mount namespace, each file system once. Warns about those that cannot be opened;
/// `with_segments` says that processes whose namespaces cannot be read are reported with the segments. Also returns
/// whether every one was opened, as far as is known.
pub(crate) fn all_instances(context: &mut Context, with_segments: bool) -> Result<(Vec<ObjectDirectory>, bool), Error> {
    let Instances { directories, failed, inaccessible } = instances(&context.system)?;
    let is_complete = failed.is_empty() && inaccessible == Some(0);
    for (pid, error) in failed {
        let error = Error::from(error);
        context.ui.warning(&format!("objects omitted: {error} (pid {pid})"));
    }
    if !with_segments {
        warn_of_inaccessible(context, inaccessible, "mount namespace", "more objects");
    }
    Ok((directories, is_complete))
}

/// Returns the objects of every /dev/shm after one scan of the processes: those without a name if `unlinked` is set,
/// otherwise those with a name, together with the usage of each file system.
pub(crate) fn all_files(
    context: &mut Context,
    unlinked: bool,
    needs: Needs,
    with_segments: bool,
) -> Result<(Vec<Object>, Vec<PosixUsage>), Error> {
    let (directories, _) = all_instances(context, with_segments)?;
    let needs = needs.difference(Needs::CONTAINER);
    let directories: Vec<_> = directories.iter().collect();
    if unlinked {
        return Ok((unlinked_objects_in(&context.system, &directories, needs)?, Vec::new()));
    }
    let (usages, objects) = posix_usage_in(&context.system, &directories, needs)?;
    Ok((objects, usages))
}

/// Returns why the IPC namespace with a number read from a file cannot be entered; `None` if it exists.
pub(crate) fn why_unreachable(census: &Census, number: u64) -> Option<String> {
    if census.namespaces.iter().any(|namespace| namespace.number == number) {
        return None;
    }
    Some(match census.inaccessible {
        Some(0) => format!("IPC namespace {number} no longer has a process"),
        _ => "no visible process is in that namespace, and you are not permitted to inspect some processes".to_owned(),
    })
}

/// The status message of commands that omit objects with `--all-ns`.
pub(crate) const ONLY_SEGMENTS: &str = "objects omitted: --all-ns selects segments only";

/// Warns about a namespace that could not be entered.
pub(crate) fn warn_of_closed(context: &mut Context, namespace: &Namespace, error: &Error) {
    let container = namespace.container.as_ref().map(|name| format!(", {name}")).unwrap_or_default();
    let user = namespace.pid.map_or_else(|| "bind mount".to_owned(), |pid| format!("pid {pid}"));
    let cause = error.cause.as_ref().map(|cause| format!("; {cause}")).unwrap_or_default();
    context.ui.warning(&format!("segments omitted: {error} ({user}{container}){cause}"));
}

/// Warns about attached segments whose namespace was not visited.
pub(crate) fn warn_of_strays(context: &mut Context, strays: &[(ShmId, SegmentUsers)], is_complete: bool) {
    for (id, attachers) in strays {
        let pids: Vec<_> = attachers.pids().map(|pid| pid.to_string()).collect();
        let why = if is_complete {
            "no longer has a process and exists only because of this attachment"
        } else {
            "could not be entered, or no longer has a process and exists only because of this attachment"
        };
        let pids = pids.join(", ");
        context
            .ui
            .warning(&format!("pid {pids} has segment {id} of another IPC namespace attached; that namespace {why}"));
    }
}

/// Returns the namespace of an object as a suffix for messages; empty unless all namespaces are visited.
pub(crate) fn namespace_suffix(all_ns: bool, ns: Option<u64>, container: Option<&str>) -> String {
    let Some(number) = ns.filter(|_| all_ns) else { return String::new() };
    let container = container.map(|name| format!(" ({name})")).unwrap_or_default();
    format!(" in namespace {number}{container}")
}
