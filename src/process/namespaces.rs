//! Other IPC namespaces: entering one for a whole command, and visiting them all.

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

use crate::error::{Error, Kind};
use crate::model::{Limits, Segment};
use crate::procfs;
use crate::query::{IdMaps, Namespace, System, census, looks_into_all};
use crate::sys;

/// An IPC namespace as a user named it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Spec {
    /// The one that this process is in.
    Pid(i32),
    /// The one with this number.
    Number(u64),
    /// The one of this namespace file.
    Path(PathBuf),
}

impl Spec {
    /// Reads `PID`, `ipc:[NUMBER]` or a path.
    fn parse(word: &OsStr) -> Result<Self, Error> {
        if word.as_bytes().contains(&b'/') {
            return Ok(Self::Path(PathBuf::from(word)));
        }
        let text = word.to_string_lossy();
        let wrong = || {
            Error::new(Kind::Usage, format!("{text:?} is no namespace: write a PID, a PATH with a slash, or ipc:[N]"))
                .hint("`lsns -t ipc` shows those that there are")
        };
        if let Some(number) = text.strip_prefix("ipc:[").and_then(|rest| rest.strip_suffix(']')) {
            return number.parse().map(Self::Number).map_err(|_| wrong());
        }
        let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
        text.parse().ok().filter(|_| digits).map(Self::Pid).ok_or_else(wrong)
    }
}

/// Enters an IPC namespace with this process, which must have one thread; gives the maps of ids of the user namespace
/// that had to be entered first, if one had.
///
/// # Errors
/// There is no such namespace, the text names none (Usage), or the right to it is missing (Permission).
pub(crate) fn enter_namespace(word: &OsStr) -> Result<IdMaps, Error> {
    let system = System::new();
    let spec = Spec::parse(word)?;
    let text = word.to_string_lossy();
    let text = text.as_ref();
    let file = match spec {
        // The /proc of another pid namespace would show another process: the kernel knows which one is meant.
        Spec::Pid(pid) if !system.owns_proc() => return enter_by_pidfd(pid),
        _ => open(&system, &spec, text)?,
    };
    let cannot = |kind| Error::new(kind, format!("cannot enter the IPC namespace of {text}")).target(text);
    if !sys::is_ipc(file.as_fd()) {
        return Err(cannot(Kind::Failed)
            .cause("it is no IPC namespace")
            .hint("a namespace's file is /proc/PID/ns/ipc, or what is mounted from there"));
    }
    if system.namespace().is_some() && file.metadata().ok().map(|file| file.ino()) == system.namespace() {
        // We are there, for which no right is needed.
        return Ok(IdMaps::default());
    }
    let refused = match sys::enter_ipc(file.as_fd()) {
        Ok(()) => return Ok(IdMaps::default()),
        Err(error) if error.errno == Errno::EPERM => error,
        Err(error) => return Err(cannot(Kind::Failed).os(error.errno, error.call)),
    };
    // Who lacks the right here may have it in the user namespace that owns it, as with containers of their own.
    let denied = |cause: String| {
        cannot(Kind::Permission)
            .os(refused.errno, refused.call)
            .cause(cause)
            .hint("root has that right: `sudo shmadm …`")
    };
    let owner = sys::owner_of(file.as_fd()).map(File::from).map_err(|_| {
        denied("it takes CAP_SYS_ADMIN, here and in the user namespace that owns it, which is above ours".to_owned())
    })?;
    let number = owner.metadata().map_or(0, |file| file.ino());
    let maps = maps_of(&system, &spec, number);
    sys::enter_user(owner.as_fd()).and_then(|()| sys::enter_ipc(file.as_fd())).map_err(|_| {
        denied(format!(
            "it takes CAP_SYS_ADMIN, here and in the user namespace that owns it (user:[{number}]), which only root and \
             whoever made that one have"
        ))
    })?;
    Ok(maps)
}

/// Enters the namespace of a process that /proc does not show under the number by which we know it.
fn enter_by_pidfd(pid: i32) -> Result<IdMaps, Error> {
    let entered = sys::open_pidfd(pid).and_then(|pidfd| sys::enter_ipc(pidfd.as_fd()));
    entered.map(|()| IdMaps::default()).map_err(|error| {
        let kind = if error.errno == Errno::EPERM { Kind::Permission } else { Kind::Failed };
        let failed = Error::new(kind, format!("cannot enter the IPC namespace of process {pid}"))
            .os(error.errno, error.call)
            .target(pid.to_string());
        match error.errno {
            Errno::ESRCH => failed.cause("there is no such process"),
            Errno::EPERM => failed.cause("it takes CAP_SYS_ADMIN, here and in the user namespace that owns it"),
            _ => failed,
        }
    })
}

/// Opens a namespace.
fn open(system: &System, spec: &Spec, text: &str) -> Result<File, Error> {
    let failed = |error: std::io::Error, cause: &str, what: String| {
        let failed = Error::io(what, &error, "open").target(text);
        if cause.is_empty() { failed } else { failed.cause(cause) }
    };
    match spec {
        Spec::Path(path) => sys::open_at_once(path).map_err(|error| {
            let denied = error.kind() == std::io::ErrorKind::PermissionDenied;
            let cause = if denied { "it takes the right to look into that process or directory" } else { "" };
            failed(error, cause, format!("cannot open the namespace {text}"))
        }),
        Spec::Pid(pid) => open_of(system, *pid).map_err(|error| {
            let cause = match error.kind() {
                std::io::ErrorKind::PermissionDenied if looks_into_all(system) => {
                    "it is closed even to CAP_SYS_PTRACE: another user namespace or a security module protects it"
                }
                std::io::ErrorKind::NotFound => "there is no such process, as far as this /proc shows",
                std::io::ErrorKind::PermissionDenied => {
                    "it takes CAP_SYS_PTRACE to look into a process of another user, or one that is protected"
                }
                _ => "",
            };
            failed(error, cause, format!("cannot enter the IPC namespace of process {pid}"))
        }),
        Spec::Number(number) => {
            let census = census(system)?;
            let found = census.namespaces.iter().find(|namespace| namespace.number == *number);
            let Some(namespace) = found else {
                let cause = match census.closed {
                    0 => "no process is in it".to_owned(),
                    closed => {
                        format!("no process that can be seen is in it; {closed} would not tell us where they are")
                    }
                };
                let kind = if census.closed > 0 { Kind::Permission } else { Kind::Failed };
                return Err(Error::new(kind, format!("cannot find the IPC namespace {text}"))
                    .target(text)
                    .cause(cause));
            };
            namespace.open(system).map_err(|error| failed(error, "", format!("cannot enter the IPC namespace {text}")))
        }
    }
}

/// Opens the namespace of a process, or of a thread of it where its leader has ended.
fn open_of(system: &System, pid: i32) -> std::io::Result<File> {
    let open = |process: &str| File::open(system.proc().join(process).join("ns/ipc"));
    open(&pid.to_string()).or_else(|error| {
        procfs::other_threads(system.proc(), pid).iter().find_map(|thread| open(thread).ok()).ok_or(error)
    })
}

/// Reads the maps of ids of a user namespace, from a process in it; empty if none can be found.
fn maps_of(system: &System, spec: &Spec, owner: u64) -> IdMaps {
    let proc = system.proc();
    let is_in_it =
        |pid: &i32| std::fs::metadata(proc.join(format!("{pid}/ns/user"))).is_ok_and(|file| file.ino() == owner);
    let first = if let Spec::Pid(pid) = spec { Some(*pid) } else { None };
    let all = || procfs::pids(proc).into_iter().flatten();
    let Some(pid) = first.filter(is_in_it).or_else(|| all().find(is_in_it)) else { return IdMaps::default() };
    let map = |name| procfs::id_map(proc, pid, name).unwrap_or_default();
    IdMaps { users: map("uid_map"), groups: map("gid_map") }
}

/// Visits namespaces one after the other, our own in this thread and the others in one that ends with the last; gives
/// for each what came of it.
///
/// That there is no thread to be had, or that one cannot be entered, is in its place of what is given; of one that
/// everybody has left meanwhile it is said that it is not found.
pub(crate) fn visit<T: Send>(
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
            enter_one(&system, namespace)?;
            system.moved_to(namespace);
            work(&system, namespace)
        };
        others.iter().map(visit).collect::<Vec<_>>()
    };
    let visited = std::thread::scope(|scope| match std::thread::Builder::new().spawn_scoped(scope, visit_others) {
        Ok(visitor) => visitor.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        Err(error) => {
            let failed = Error::io("cannot visit other IPC namespaces", &error, "clone")
                .cause("it takes a thread of its own, and this user may have no more of them (RLIMIT_NPROC)");
            others.iter().map(|_| Err(failed.clone())).collect()
        }
    });
    let mut visited = visited.into_iter();
    here.iter_mut().filter_map(|result| result.take().or_else(|| visited.next())).collect()
}

/// Enters one namespace with this thread.
fn enter_one(system: &System, namespace: &Namespace) -> Result<(), Error> {
    let number = namespace.number;
    let what = || format!("cannot enter the IPC namespace {number}");
    let file = namespace.open(system).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::new(Kind::NotFound, what()).cause("everybody has left it"),
        _ => Error::io(what(), &error, "open"),
    })?;
    sys::enter_ipc(file.as_fd()).map_err(|error| {
        let kind = if error.errno == Errno::EPERM { Kind::Permission } else { Kind::Failed };
        Error::new(kind, what())
            .os(error.errno, error.call)
            .target(format!("ipc:[{number}]"))
            .cause("it takes CAP_SYS_ADMIN, here and in the user namespace that owns it")
    })
}

/// What the worker prints of `list`.
#[derive(Deserialize)]
struct Listing {
    /// The segments.
    segments: Vec<Segment>,
}

/// What the worker prints of `limits`.
#[derive(Deserialize)]
struct LimitsReport {
    /// The limits.
    limits: Limits,
}

/// Lists the segments of a namespace through another process of this program, which enters the user namespace first.
///
/// Entering a user namespace takes a process with one thread, and there is no way back from it.
///
/// # Errors
/// The worker cannot enter it either, or cannot be started.
pub(crate) fn list_through_worker(system: &System, namespace: &Namespace) -> Result<Vec<Segment>, Error> {
    let what = format!("cannot list the segments of the IPC namespace {}", namespace.number);
    let listing: Listing = ask_worker(system, namespace, "list", &what)?;
    // Whoever was in it may have moved on meanwhile.
    if listing.segments.iter().any(|segment| segment.ns != Some(namespace.number)) {
        return Err(Error::new(Kind::NotFound, what).cause("everybody has left it"));
    }
    Ok(listing.segments)
}

/// Reads the limits of a namespace through another process of this program, likewise.
///
/// # Errors
/// As those of [`list_through_worker`].
pub(crate) fn limits_through_worker(system: &System, namespace: &Namespace) -> Result<Limits, Error> {
    let what = format!("cannot read the limits of the IPC namespace {}", namespace.number);
    ask_worker(system, namespace, "limits", &what).map(|report: LimitsReport| report.limits)
}

/// Has another process of this program enter a namespace and report there; `what` says what for.
fn ask_worker<T: DeserializeOwned>(
    system: &System,
    namespace: &Namespace,
    command: &str,
    what: &str,
) -> Result<T, Error> {
    if !system.owns_proc() {
        return Err(Error::new(Kind::Permission, what));
    }
    let output = Command::new("/proc/self/exe")
        .arg0("shmadm")
        .args(["--ns", &namespace.place(), command, "--json"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(|error| Error::io(what, &error, "execve"))?;
    if !output.status.success() {
        return Err(Error::new(Kind::Permission, what));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| Error::new(Kind::Failed, format!("{what}: {error}")))
}
