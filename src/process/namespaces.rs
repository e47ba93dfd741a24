//! Other IPC namespaces: entering one for a whole command (`--ns`), and visiting all of them (`--all-ns`).
//!
//! `--ns` moves the whole process, before it starts any thread. Without CAP_SYS_ADMIN in the user namespace that owns
//! the IPC namespace, as with rootless containers, the process enters that user namespace first. Ids are then those
//! inside; `System` maps them back with the id maps that were read before.
//!
//! `--all-ns` works on the current namespace in place, which requires no privilege, and on the others one after the
//! other in one thread. No thread can enter a user namespace. Namespaces that require that are read by a worker: this
//! program, executed again with `--ns`. `prune` does not remove through the worker, which would choose the segments
//! again after the user has confirmed the list.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Kind, again, program};
use crate::model::{Limits, Object};
use crate::procfs;
use crate::query::{IdMaps, Namespace, System, can_inspect_all, census};
use crate::sys;

/// An IPC namespace as named on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Spec {
    /// The namespace of a process.
    Pid(i32),
    /// The namespace with this number.
    Number(u64),
    /// The namespace behind a file.
    Path(PathBuf),
}

impl Spec {
    /// Parses `PID`, `ipc:[NUMBER]` or a path.
    fn parse(argument: &OsStr) -> Result<Self, Error> {
        if argument.as_bytes().contains(&b'/') {
            return Ok(Self::Path(PathBuf::from(argument)));
        }
        let text = argument.to_string_lossy();
        let wrong = || {
            Error::new(
                Kind::Usage,
                format!("invalid namespace {text:?}: expected a PID, a PATH with a slash, or ipc:[N]"),
            )
            .hint("list the namespaces", program("lsns -t ipc"))
        };
        if let Some(number) = text.strip_prefix("ipc:[").and_then(|rest| rest.strip_suffix(']')) {
            return number.parse().map(Self::Number).map_err(|_| wrong());
        }
        let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
        text.parse().ok().filter(|_| digits).map(Self::Pid).ok_or_else(wrong)
    }
}

/// Moves this process, which must be single-threaded, to an IPC namespace. Returns the id maps of the user namespace
/// that had to be entered first, if any.
///
/// # Errors
/// There is no such namespace, the argument is invalid (Usage), or permission is missing (Permission).
pub(crate) fn enter_namespace(argument: &OsStr) -> Result<IdMaps, Error> {
    let system = System::new();
    let spec = Spec::parse(argument)?;
    let text = argument.to_string_lossy();
    let text = text.as_ref();
    let file = match spec {
        // If /proc belongs to another pid namespace, it shows another process under this pid. A pidfd is always the
        // right one.
        Spec::Pid(pid) if !system.proc_shows_own_pids() => return enter_by_pidfd(pid),
        _ => open(&system, &spec, text)?,
    };
    let cannot = |kind| Error::new(kind, format!("cannot enter the IPC namespace of {text}")).target(text);
    if !sys::is_ipc_namespace(file.as_fd()) {
        return Err(cannot(Kind::Failed)
            .cause("it is not an IPC namespace")
            .advice("use /proc/PID/ns/ipc, or a bind mount of one"));
    }
    if system.namespace().is_some() && file.metadata().ok().map(|file| file.ino()) == system.namespace() {
        // Already there: entering it would require privilege for nothing.
        return Ok(IdMaps::default());
    }
    let refused = match sys::enter_ipc(file.as_fd()) {
        Ok(()) => return Ok(IdMaps::default()),
        Err(error) if error.errno == Errno::EPERM => error,
        Err(error) => return Err(cannot(Kind::Failed).os(error.errno, error.call)),
    };
    // The caller can have CAP_SYS_ADMIN in the user namespace that owns it, as with rootless containers.
    let denied = |cause: String| {
        cannot(Kind::Permission).os(refused.errno, refused.call).cause(cause).hint("run it as root", again("").sudo())
    };
    let owner = sys::owning_user_namespace(file.as_fd()).map(File::from).map_err(|_| {
        denied(
            "requires CAP_SYS_ADMIN in the current user namespace and in the one that owns it, which is an ancestor"
                .to_owned(),
        )
    })?;
    let number = owner.metadata().map_or(0, |file| file.ino());
    let maps = id_maps_of(&system, &spec, number);
    sys::enter_user(owner.as_fd()).and_then(|()| sys::enter_ipc(file.as_fd())).map_err(|_| {
        denied(format!(
            "requires CAP_SYS_ADMIN in the current user namespace and in the one that owns it (user:[{number}]), which \
             only root and the creator of that one have"
        ))
    })?;
    Ok(maps)
}

/// Enters the IPC namespace of a process by pidfd, for a /proc of another pid namespace.
fn enter_by_pidfd(pid: i32) -> Result<IdMaps, Error> {
    let entered = sys::open_pidfd(pid).and_then(|pidfd| sys::enter_ipc(pidfd.as_fd()));
    entered.map(|()| IdMaps::default()).map_err(|error| {
        let kind = if error.errno == Errno::EPERM { Kind::Permission } else { Kind::Failed };
        let failed = Error::new(kind, format!("cannot enter the IPC namespace of process {pid}"))
            .os(error.errno, error.call)
            .target(pid.to_string());
        match error.errno {
            Errno::ESRCH => failed.cause("no such process exists"),
            Errno::EPERM => {
                failed.cause("requires CAP_SYS_ADMIN in the current user namespace and in the one that owns it")
            }
            _ => failed,
        }
    })
}

fn open(system: &System, spec: &Spec, text: &str) -> Result<File, Error> {
    let failed = |error: std::io::Error, cause: &str, what: String| {
        let failed = Error::io(what, &error, "open").target(text);
        if cause.is_empty() { failed } else { failed.cause(cause) }
    };
    match spec {
        Spec::Path(path) => sys::open_nonblocking(path).map_err(|error| {
            let denied = error.kind() == std::io::ErrorKind::PermissionDenied;
            let cause =
                if denied { "requires permission to inspect that process or search that directory" } else { "" };
            failed(error, cause, format!("cannot open the namespace {text}"))
        }),
        Spec::Pid(pid) => open_by_pid(system, *pid).map_err(|error| {
            let cause = match error.kind() {
                std::io::ErrorKind::PermissionDenied if can_inspect_all(system) => {
                    "not permitted even with CAP_SYS_PTRACE: another user namespace or a security module protects it"
                }
                std::io::ErrorKind::NotFound => "no such process in this /proc",
                std::io::ErrorKind::PermissionDenied => {
                    "requires CAP_SYS_PTRACE: the process belongs to another user or is protected"
                }
                _ => "",
            };
            failed(error, cause, format!("cannot enter the IPC namespace of process {pid}"))
        }),
        Spec::Number(number) => {
            let census = census(system)?;
            let found = census.namespaces.iter().find(|namespace| namespace.number == *number);
            let Some(namespace) = found else {
                let cause = match census.inaccessible {
                    0 => "no process is in this namespace".to_owned(),
                    1 => "no visible process is in this namespace, and 1 process may not be inspected".to_owned(),
                    closed => {
                        format!("no visible process is in this namespace, and {closed} processes may not be inspected")
                    }
                };
                let kind = if census.inaccessible > 0 { Kind::Permission } else { Kind::Failed };
                return Err(Error::new(kind, format!("cannot find the IPC namespace {text}"))
                    .target(text)
                    .cause(cause));
            };
            namespace.open(system).map_err(|error| failed(error, "", format!("cannot enter the IPC namespace {text}")))
        }
    }
}

/// Opens the IPC namespace of a process, or of one of its threads if the leader has exited.
fn open_by_pid(system: &System, pid: i32) -> std::io::Result<File> {
    let open = |process: &str| File::open(system.proc().join(process).join("ns/ipc"));
    open(&pid.to_string()).or_else(|error| {
        procfs::other_threads(system.proc(), pid).iter().find_map(|thread| open(thread).ok()).ok_or(error)
    })
}

/// Reads the id maps of a user namespace from a process in it. They are empty if there is none.
fn id_maps_of(system: &System, spec: &Spec, owner: u64) -> IdMaps {
    let proc = system.proc();
    let is_in_it =
        |pid: &i32| std::fs::metadata(proc.join(format!("{pid}/ns/user"))).is_ok_and(|file| file.ino() == owner);
    let first = if let Spec::Pid(pid) = spec { Some(*pid) } else { None };
    let all = || procfs::pids(proc).into_iter().flatten();
    let Some(pid) = first.filter(is_in_it).or_else(|| all().find(is_in_it)) else { return IdMaps::default() };
    let map = |name| procfs::id_map(proc, pid, name).unwrap_or_default();
    IdMaps { users: map("uid_map"), groups: map("gid_map") }
}

/// Calls `work` in each namespace: in the current one in this thread, in the others in one thread that moves from one
/// to the next. Returns one result for each namespace.
///
/// If no thread can be created, or a namespace cannot be entered, that is the result. It is `NotFound` if all
/// processes have left the namespace meanwhile.
pub(crate) fn visit_namespaces<T: Send>(
    system: &System,
    namespaces: &[Namespace],
    mut work: impl FnMut(&System, &Namespace) -> Result<T, Error> + Send,
) -> Vec<Result<T, Error>> {
    let is_here = |namespace: &Namespace| Some(namespace.number) == system.namespace();
    let mut here: Vec<Option<Result<T, Error>>> =
        namespaces.iter().map(|namespace| is_here(namespace).then(|| work(system, namespace))).collect();
    let others: Vec<&Namespace> = namespaces.iter().filter(|namespace| !is_here(namespace)).collect();
    let visit_others = || {
        let mut system = System::new();
        let visit = |namespace: &&Namespace| {
            enter_with_thread(&system, namespace)?;
            system.set_namespace(namespace.number, namespace.container.clone());
            work(&system, namespace)
        };
        others.iter().map(visit).collect::<Vec<_>>()
    };
    let visited = std::thread::scope(|scope| match std::thread::Builder::new().spawn_scoped(scope, visit_others) {
        Ok(visitor) => visitor.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        Err(error) => {
            let failed = Error::io("cannot enter other IPC namespaces", &error, "clone")
                .cause("this requires a thread, and the limit of the user is reached (RLIMIT_NPROC)");
            others.iter().map(|_| Err(failed.clone())).collect()
        }
    });
    let mut visited = visited.into_iter();
    here.iter_mut().filter_map(|result| result.take().or_else(|| visited.next())).collect()
}

/// Moves this thread to a namespace.
fn enter_with_thread(system: &System, namespace: &Namespace) -> Result<(), Error> {
    let number = namespace.number;
    let what = || format!("cannot enter the IPC namespace {number}");
    let file = namespace.open(system).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::new(Kind::NotFound, what()).cause("all processes have left it"),
        _ => Error::io(what(), &error, "open"),
    })?;
    sys::enter_ipc(file.as_fd()).map_err(|error| {
        let kind = if error.errno == Errno::EPERM { Kind::Permission } else { Kind::Failed };
        Error::new(kind, what())
            .os(error.errno, error.call)
            .target(format!("ipc:[{number}]"))
            .cause("requires CAP_SYS_ADMIN in the current user namespace and in the one that owns it")
    })
}

/// The part of the output of `list --json` that is used.
#[derive(Deserialize)]
struct Listing {
    segments: Vec<Object>,
}

/// The part of the output of `limits --json` that is used.
#[derive(Deserialize)]
struct LimitsReport {
    limits: Limits,
}

/// Lists the segments of a namespace through a worker, which enters the owning user namespace first.
///
/// Entering a user namespace requires a single-threaded process, and is irreversible.
///
/// # Errors
/// The worker cannot enter the namespace, or cannot be started.
pub(crate) fn list_through_worker(system: &System, namespace: &Namespace) -> Result<Vec<Object>, Error> {
    let what = format!("cannot list the segments of the IPC namespace {}", namespace.number);
    let listing: Listing = ask_worker(system, namespace, "list", &what)?;
    // The process that identifies the namespace can have left it.
    if listing.segments.iter().any(|segment| segment.ipc_namespace() != Some(namespace.number)) {
        return Err(Error::new(Kind::NotFound, what).cause("all processes have left it"));
    }
    Ok(listing.segments)
}

/// Reads the limits of a namespace through a worker.
///
/// # Errors
/// As [`list_through_worker`].
pub(crate) fn limits_through_worker(system: &System, namespace: &Namespace) -> Result<Limits, Error> {
    let what = format!("cannot read the limits of the IPC namespace {}", namespace.number);
    ask_worker(system, namespace, "limits", &what).map(|report: LimitsReport| report.limits)
}

/// Runs a command of this program in a namespace and parses its JSON; `what` is the error message.
fn ask_worker<T: DeserializeOwned>(
    system: &System,
    namespace: &Namespace,
    command: &str,
    what: &str,
) -> Result<T, Error> {
    if !system.proc_shows_own_pids() {
        return Err(Error::new(Kind::Permission, what));
    }
    let output = Command::new("/proc/self/exe")
        .arg0("shmadm")
        .args(["--ns", &namespace.ns_argument(), command, "--json"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(|error| Error::io(what, &error, "execve"))?;
    if !output.status.success() {
        return Err(Error::new(Kind::Permission, what));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| Error::new(Kind::Failed, format!("{what}: {error}")))
}
