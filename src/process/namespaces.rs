//! Other IPC namespaces: entering one for a whole command (`--ns`), and visiting all of them (`--all-ns`).
//!
//! `--ns` moves the whole process, before it starts any thread. Without CAP_SYS_ADMIN in the user namespace that owns
//! the IPC namespace, as with rootless containers, the process enters that user namespace first. Ids are then those
//! inside; `System` maps them back with the id maps that were read before.
//!
//! `--all-ns` works on the current namespace in place, which requires no privilege, and on the others in a thread that
//! enters one after the other. No thread can enter a user namespace. Namespaces that require that are read by a worker:
//! this program, executed again with `--ns`. `prune` does not remove through the worker, which would choose the
//! segments again after the user has confirmed the list.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;

use nix::errno::Errno;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::helper::{start_failed, this_program};
use crate::error::{Error, Hint, Kind, again, program};
use crate::model::{Limits, NamespaceName, Object, counted, escape_invalid_utf8};
use crate::procfs;
use crate::query::{CAP_SYS_ADMIN, IdMaps, Namespace, System, can_inspect_all, census, has_capability};
use crate::sys::{self, CloneFlags, SysError};

fn parse(argument: &OsStr) -> Result<NamespaceName, Error> {
    NamespaceName::parse(argument).ok_or_else(|| {
        let text = escape_invalid_utf8(argument.as_bytes());
        let wrong = format!("invalid namespace \"{text}\": expected a PID, a PATH with a slash, ipc:[N] or N");
        Error::new(Kind::Usage, wrong).hint("list the namespaces", program("lsns -t ipc"))
    })
}

/// Returns the process that a namespace argument names, if it names one.
pub(crate) fn pid_of(argument: &OsStr) -> Option<i32> {
    match NamespaceName::parse(argument) {
        Some(NamespaceName::Pid(pid)) => Some(pid),
        _ => None,
    }
}

/// Returns another name of a namespace that an argument names by its number: one that nsenter(1) accepts.
pub(crate) fn name_for_nsenter(argument: &OsStr) -> Option<OsString> {
    let Some(NamespaceName::Number(number)) = NamespaceName::parse(argument) else { return None };
    let mut namespaces = census(&System::new()).ok()?.namespaces.into_iter();
    namespaces.find(|namespace| namespace.number == number)?.lasting_name()
}

/// Moves this process, which must be single-threaded, to an IPC namespace. Returns the id maps of the user namespace
/// that had to be entered first, if any.
/// Fails if there is no such namespace, the argument is invalid (Usage), or permission is missing (Permission).
pub(crate) fn enter_namespace(argument: &OsStr) -> Result<IdMaps, Error> {
    let system = System::new();
    let name = parse(argument)?;
    let text = &*escape_invalid_utf8(argument.as_bytes());
    let file = match name {
        // If /proc belongs to another pid namespace, it shows another process under this pid. A pidfd is always the
        // right one.
        NamespaceName::Pid(pid) if !system.proc_shows_own_pids() => {
            let entered = sys::open_pidfd(pid).and_then(|pidfd| sys::enter(pidfd.as_fd(), CloneFlags::CLONE_NEWIPC));
            let failed =
                |error| refused(format!("cannot enter the IPC namespace of process {pid}"), error).target(text);
            return entered.map(|()| IdMaps::default()).map_err(failed);
        }
        _ => open(&system, &name, text)?,
    };
    let cannot = |kind| Error::new(kind, format!("cannot enter the IPC namespace of {text}")).target(text);
    if !sys::is_ipc_namespace(file.as_fd()) {
        return Err(
            cannot(Kind::Failed).cause("it is not an IPC namespace, such as /proc/PID/ns/ipc or a bind mount of it")
        );
    }
    if system.namespace().is_some() && file.metadata().ok().map(|file| file.ino()) == system.namespace() {
        // Already there: entering it would require privilege for nothing.
        return Ok(IdMaps::default());
    }
    let enter_ipc = || sys::enter(file.as_fd(), CloneFlags::CLONE_NEWIPC);
    let error = match enter_ipc() {
        Ok(()) => return Ok(IdMaps::default()),
        Err(error) if error.errno == Errno::EPERM => error,
        Err(error) => return Err(cannot(Kind::Failed).os(error.errno, error.call)),
    };
    // The caller can have CAP_SYS_ADMIN in the user namespace that owns it, as with rootless containers.
    let denied = |whose: &str| {
        cannot(Kind::Permission)
            .os(error.errno, error.call)
            .cause(format!("{NEEDS_ADMIN}{whose}"))
            .with(Hint::run_as_root())
    };
    let owner = sys::owning_user_namespace(file.as_fd()).map(File::from);
    let owner = owner.map_err(|_| denied(" (an ancestor)"))?;
    let number = owner.metadata().map_or(0, |file| file.ino());
    let maps = id_maps_of(&system, &name, number);
    sys::enter(owner.as_fd(), CloneFlags::CLONE_NEWUSER)
        .and_then(|()| enter_ipc())
        .map_err(|_| denied(&format!(" (user:[{number}]); only root and the creator of that namespace have it")))?;
    Ok(maps)
}

/// Returns the IPC namespaces that [`enter_namespace`] can enter.
pub(crate) fn enterable_namespaces(system: &System) -> Vec<Namespace> {
    let is_admin = has_capability(system, CAP_SYS_ADMIN) == Some(true);
    let own = procfs::user_namespace_of(system.proc(), "self");
    let can_enter = |namespace: &Namespace| {
        let file = namespace.open(system).ok()?;
        // The owner of an ancestor's namespace is not shown.
        let owner = File::from(sys::owning_user_namespace(file.as_fd()).ok()?);
        Some(is_admin || Some(owner.metadata().ok()?.ino()) != own)
    };
    let mut namespaces = census(system).map(|census| census.namespaces).unwrap_or_default();
    namespaces.retain(|namespace| can_enter(namespace) == Some(true));
    namespaces
}

/// The cause of EPERM from setns(2).
const NEEDS_ADMIN: &str =
    "requires CAP_SYS_ADMIN in the current user namespace and in the user namespace that owns the IPC namespace";

/// Returns the error of a setns(2), or of the call before it.
fn refused(message: String, error: SysError) -> Error {
    let kind = if error.errno == Errno::EPERM { Kind::Permission } else { Kind::Failed };
    let failed = Error::new(kind, message).os(error.errno, error.call);
    match error.errno {
        Errno::EPERM => failed.cause(NEEDS_ADMIN),
        Errno::ESRCH => failed.cause("no such process exists"),
        Errno::EAGAIN => failed.cause("this requires a thread, and the user's limit is reached (RLIMIT_NPROC)"),
        _ => failed,
    }
}

fn open(system: &System, name: &NamespaceName, text: &str) -> Result<File, Error> {
    let failed = |error: &io::Error, message: String, cause: &str| {
        let failed = Error::io(message, error, "open").target(text);
        let failed = if cause.is_empty() { failed } else { failed.cause(cause) };
        match error.kind() {
            ErrorKind::PermissionDenied if !can_inspect_all(system) => failed.with(Hint::run_as_root()),
            _ => failed,
        }
    };
    match name {
        NamespaceName::Path(path) => sys::open_nonblocking(path).map_err(|error| {
            let denied = error.kind() == ErrorKind::PermissionDenied;
            let cause =
                if denied { "requires permission to inspect that process or search that directory" } else { "" };
            failed(&error, format!("cannot open the namespace {text}"), cause)
        }),
        NamespaceName::Pid(pid) => open_by_pid(system, *pid).map_err(|error| {
            if let Some(cause) = system.why_hidden(*pid) {
                let message = format!("cannot enter the IPC namespace of process {pid}");
                return Error::new(Kind::Permission, message).target(text).cause(cause).with(Hint::run_as_root());
            }
            let cause = match error.kind() {
                ErrorKind::NotFound => "no such process in this /proc",
                ErrorKind::PermissionDenied if can_inspect_all(system) => {
                    "not permitted even with CAP_SYS_PTRACE: another user namespace or a security module protects it"
                }
                ErrorKind::PermissionDenied => {
                    "requires CAP_SYS_PTRACE: the process belongs to another user or is protected"
                }
                _ => "",
            };
            failed(&error, format!("cannot enter the IPC namespace of process {pid}"), cause)
        }),
        NamespaceName::Number(number) => {
            let census = census(system)?;
            let Some(namespace) = census.namespaces.iter().find(|namespace| namespace.number == *number) else {
                let message = format!("cannot find the IPC namespace {text}");
                let mut pids = procfs::pids(system.proc()).into_iter().flatten();
                let is_in_it = |pid: &i32| procfs::mount_namespace_of(system.proc(), &pid.to_string()) == Some(*number);
                if let Some(pid) = pids.find(is_in_it) {
                    // `list --all-ns` shows the mount namespaces of objects.
                    return Err(Error::new(Kind::Failed, message)
                        .target(text)
                        .cause("this is a mount namespace")
                        .hint(
                            "use the namespaces of a process in it",
                            again("--ns").arg(pid.to_string()).without(&["ns"]),
                        ));
                }
                let (kind, cause) = match census.inaccessible {
                    Some(0) => {
                        (Kind::Failed, "no process is in this namespace, and it is not mounted anywhere".to_owned())
                    }
                    closed => {
                        let why = match closed {
                            Some(count) => format!("you are not permitted to inspect {}", counted(count, "process")),
                            None => "/proc hides processes (mount option hidepid)".to_owned(),
                        };
                        let seen = "no visible process is in this namespace or has it mounted";
                        (Kind::Permission, format!("{seen}, and {why}"))
                    }
                };
                return Err(Error::new(kind, message).target(text).cause(cause));
            };
            namespace.open(system).map_err(|error| failed(&error, format!("cannot enter the IPC namespace {text}"), ""))
        }
    }
}

/// Opens the IPC namespace of a process, or of one of its threads if the leader has exited.
fn open_by_pid(system: &System, pid: i32) -> io::Result<File> {
    let open = |process: &str| procfs::open_namespace(system.proc(), process, None);
    open(&pid.to_string()).or_else(|error| {
        procfs::other_threads(system.proc(), pid).iter().find_map(|thread| open(thread).ok()).ok_or(error)
    })
}

/// Reads the id maps of a user namespace from a process in it. They are empty if there is none.
fn id_maps_of(system: &System, name: &NamespaceName, owner: u64) -> IdMaps {
    let proc = system.proc();
    let is_in_it = |pid: &i32| procfs::user_namespace_of(proc, &pid.to_string()) == Some(owner);
    let first = if let NamespaceName::Pid(pid) = name { Some(*pid) } else { None };
    let all = || procfs::pids(proc).into_iter().flatten();
    let Some(pid) = first.filter(is_in_it).or_else(|| all().find(is_in_it)) else { return IdMaps::default() };
    let map = |name| procfs::id_map(proc, pid, name).unwrap_or_default();
    IdMaps { users: map("uid_map"), groups: map("gid_map") }
}

/// Calls `work` in each namespace: first in the current one in this thread, then in the others in a thread that enters
/// one after the other. Returns one result for each namespace, in order.
///
/// If a namespace cannot be entered, that is the result. It is `NotFound` if all processes have left the namespace
/// meanwhile.
pub(crate) fn visit_namespaces<T: Send>(
    system: &System,
    namespaces: &[Namespace],
    mut work: impl FnMut(&System, &Namespace) -> Result<T, Error> + Send,
) -> Vec<Result<T, Error>> {
    let own = namespaces.iter().position(|namespace| Some(namespace.number) == system.namespace());
    let here = own.map(|own| work(system, &namespaces[own]));
    let (before, after) = namespaces.split_at(own.unwrap_or(namespaces.len()));
    let others = || before.iter().chain(after.iter().skip(1));
    let message = |namespace: &Namespace| format!("cannot enter the IPC namespace {}", namespace.number);
    let refused =
        |namespace: &Namespace, error| refused(message(namespace), error).target(format!("ipc:[{}]", namespace.number));
    let mut entered = System::new();
    let visit = |namespace: &Namespace| {
        let file = namespace.open(&entered).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::new(Kind::NotFound, message(namespace)).cause("all processes have left it"),
            _ => Error::io(message(namespace), &error, "open"),
        })?;
        sys::enter(file.as_fd(), CloneFlags::CLONE_NEWIPC).map_err(|error| refused(namespace, error))?;
        entered.set_namespace(namespace.number, namespace.container.clone());
        work(&entered, namespace)
    };
    let visited = sys::in_thread(|| others().map(visit).collect());
    let mut results: Vec<_> =
        visited.unwrap_or_else(|error| others().map(|namespace| Err(refused(namespace, error))).collect());
    results.splice(before.len()..before.len(), here);
    results
}

/// Lists the segments of a namespace through a worker, which enters the owning user namespace first.
///
/// Entering a user namespace requires a single-threaded process, and is irreversible.
pub(crate) fn list_through_worker(system: &System, namespace: &Namespace) -> Result<Vec<Object>, Error> {
    let message = format!("cannot list the segments of the IPC namespace {}", namespace.number);
    let segments: Vec<Object> = ask_worker(system, namespace, &["list", "--sysv"], "segments", &message)?;
    // The process that identifies the namespace can have left it.
    if segments.iter().any(|segment| segment.ipc_namespace() != Some(namespace.number)) {
        return Err(Error::new(Kind::NotFound, message).cause("all processes have left it"));
    }
    Ok(segments)
}

pub(crate) fn limits_through_worker(system: &System, namespace: &Namespace) -> Result<Limits, Error> {
    let message = format!("cannot read the limits of the IPC namespace {}", namespace.number);
    ask_worker(system, namespace, &["limits"], "limits", &message)
}

/// Runs a command of this program in a namespace, and parses a field of its JSON.
fn ask_worker<T: DeserializeOwned>(
    system: &System,
    namespace: &Namespace,
    command: &[&str],
    field: &str,
    message: &str,
) -> Result<T, Error> {
    let denied = || Error::new(Kind::Permission, message);
    if !system.proc_shows_own_pids() {
        return Err(denied());
    }
    let mut worker = this_program("shmadm");
    worker.args(["--json", "--ns", &namespace.ns_argument()]).args(command).stdin(Stdio::null()).stderr(Stdio::null());
    let output = worker.output().map_err(|error| start_failed(message, &error))?;
    if !output.status.success() {
        return Err(denied());
    }
    serde_json::from_slice(&output.stdout)
        .and_then(|mut report: Value| T::deserialize(report[field].take()))
        .map_err(|error| Error::new(Kind::Failed, format!("{message}: {error}")))
}
