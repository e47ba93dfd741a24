//! The errors of queries.

use nix::unistd::geteuid;

use super::access::{READ, may_access};
use crate::error::{Error, Hint, Invocation, Kind, again, program};
use crate::model::{Object, path_text};
use crate::procfs::ProcError;
use crate::query::{self, Account, Holder, HoldersError, PeekError, QueryError, System, rmid_forced};
use crate::sys::{Errno, SysError};

/// Why a directory has no objects.
pub(super) const NO_SHARED_MEMORY: &str = ": neither a tmpfs nor a hugetlbfs is mounted there";

/// The cause if both sources of segments are denied.
const BOTH_DENIED: &str = "both shmctl and /proc/sysvipc/shm are denied (seccomp filter, masked /proc)";

impl From<QueryError> for Error {
    fn from(error: QueryError) -> Self {
        let denied = |message: String, error: SysError| Self::failed_call(message, error).cause(BOTH_DENIED);
        match error {
            QueryError::List(error) => denied("cannot list segments".to_owned(), error),
            QueryError::Limits(error) => denied("cannot read the limits".to_owned(), error),
            QueryError::Stat(id, error) => denied(format!("cannot find segment {id}"), error).target(id.to_string()),
            QueryError::Table(error) => Self::new(Kind::Failed, format!("cannot list all segments: {error}")),
            QueryError::Mappings(error) => failed_read("cannot read the mappings of processes", error),
            QueryError::NoMemorySum => Self::new(Kind::Failed, "cannot find the shared memory of the machine")
                .cause("/proc/meminfo does not show Shmem: /proc is not mounted, or hidden"),
            QueryError::Devices(error) => Self::failed_call("cannot identify mappings of segments", error),
            QueryError::Directory(path, errno) => {
                let path = path_text(&path);
                Self::call(format!("cannot list {path}"), errno, "open").target(path)
            }
            QueryError::Link { path, target } => {
                let path = path_text(&path);
                let error = Self::call(format!("cannot list {path}"), Errno::ELOOP, "openat2").target(path).cause(
                    "it or a directory above it is a symbolic link, which could lead anywhere and is not followed",
                );
                match target {
                    Some(target) => error.hint("use the directory that it leads to", again("--dir").arg(target)),
                    None => error,
                }
            }
            QueryError::NoObjectDirectory => {
                Self::new(Kind::Failed, "cannot find the POSIX objects of this IPC namespace").cause(
                    "/dev/shm belongs to a mount namespace, not to an IPC namespace; name a process with \
                         --ns PID, or the directory with --dir",
                )
            }
            QueryError::NotSharedMemory(path) => {
                let path = path_text(&path);
                Self::new(Kind::Failed, format!("cannot use {path}{NO_SHARED_MEMORY}")).target(path)
            }
            QueryError::File(name, errno) => {
                Self::call(format!("cannot find object {name}"), errno, "statx").target(name.to_string())
            }
            QueryError::NotAnObject(name, what) => {
                Self::new(Kind::Failed, format!("\"{name}\" is not a shared memory object: it is {what}"))
                    .target(name.to_string())
            }
            QueryError::Namespaces(error) => Self::new(Kind::Failed, format!("cannot list IPC namespaces: {error}")),
        }
    }
}

fn failed_read(message: impl Into<String>, error: ProcError) -> Error {
    match error {
        ProcError::Read { error, .. } => Error::io(message, &error, "open"),
        ProcError::Format { .. } => Error::new(Kind::Failed, format!("{}: {error}", message.into())),
    }
}

/// Returns the error for a process whose mappings cannot be read, with its pid.
pub(crate) fn cannot_inspect(system: &System, (pid, error): (i32, ProcError)) -> (String, Error) {
    let message = format!("cannot inspect process {pid}");
    let error = match failed_read(&*message, error) {
        Error { source: Some(SysError { errno: Errno::ENOENT, .. }), .. } => match system.why_hidden(pid) {
            Some(why) => Error::new(Kind::Permission, message).cause(why).with(Hint::run_as_root()),
            None => Error::new(Kind::NotFound, format!("cannot find process {pid}")),
        },
        error if error.kind == Kind::Permission => {
            let why = match system.effective_uid(pid) {
                Some(uid) if !system.is_caller(uid) => format!("it is a process of user {}", system.user(uid)),
                _ => "its memory is protected (by prctl(2), PR_SET_DUMPABLE, or by a security module)".to_owned(),
            };
            let error = error.cause(format!("{why}; to inspect it, you need CAP_SYS_PTRACE in its user namespace"));
            if query::can_inspect_all(system) { error } else { error.with(Hint::run_as_root()) }
        }
        error => error,
    };
    (pid.to_string(), error.target(pid.to_string()))
}

pub(crate) fn holders(system: &System, object: &Object) -> Result<Vec<Holder>, Error> {
    let ident = object.ident();
    let message = format!("cannot find the holders of {ident}");
    query::holders(system, object).map_err(|error| {
        let without_proc = |cause| Error::new(Kind::Failed, &*message).cause(cause).with(mount_proc());
        let error = match error {
            HoldersError::NoProc => without_proc("/proc is not mounted"),
            HoldersError::ForeignProc => without_proc("/proc belongs to another pid namespace"),
            HoldersError::Processes(error) => return failed_read(&*message, error),
            HoldersError::Call(SysError { errno, call }) => return Error::new(Kind::Failed, &*message).os(errno, call),
        };
        error.target(ident.argument())
    })
}

/// Returns the error for a segment that cannot be read through another process (`--peek`).
pub(crate) fn cannot_peek(system: &System, object: &Object, error: PeekError) -> Error {
    let (kind, cause) = match error {
        PeekError::Query(error) => return error.into(),
        PeekError::Denied => (Kind::Permission, "this requires CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE".to_owned()),
        PeekError::Exited(error) => (Kind::Failed, format!("the process that had it attached has exited: {error}")),
        PeekError::NotFound if !object.is_in_use() => (Kind::Failed, "no process has it attached".to_owned()),
        PeekError::NotFound => (Kind::Permission, "no visible process is certain to have it attached".to_owned()),
    };
    let ident = object.ident();
    let error = Error::new(kind, format!("cannot open {ident} through another process"));
    let error = error.target(ident.argument()).cause(cause);
    // The detach after reading would destroy the segment.
    if !object.is_in_use() && rmid_forced(system) != Some(false) || !may_access(system, object, READ) {
        return error;
    }
    error.hint("attach the segment, which updates its times and last user", again("").without(&["peek"]))
}

/// Replaces the errno of a call that failed because there is no /proc of this pid namespace. `needed` says for what the
/// program needs it.
pub(crate) fn without_proc(error: Error, needed: &str) -> Error {
    let problem = System::new().proc_problem().unwrap_or("is not mounted");
    // The errno would look like that of a missing object.
    let error = Error { kind: Kind::Failed, source: None, ..error }.cause(format!("/proc {problem}, and {needed}"));
    error.with(mount_proc())
}

/// Suggests to mount the /proc that shows the caller's processes.
pub(crate) fn mount_proc() -> Hint {
    Hint::new("mount the /proc of this pid namespace", as_root(program("mount -t proc proc /proc")))
}

/// Adds `sudo` to a command that requires root, unless the caller is root.
pub(super) fn as_root(command: Invocation) -> Invocation {
    if geteuid().is_root() { command } else { command.sudo() }
}

/// Returns the error for an id that has no mapping in the current user namespace.
pub(crate) fn unmapped_id(system: &System, account: Account, id: u32) -> Error {
    let (kind, map) = (account.as_str(), account.map_file());
    let error = Error::new(Kind::Failed, format!("cannot use {kind} {id} in this user namespace"))
        .target(id.to_string())
        .cause(format!("its {map} has no mapping for this {kind}"));
    // The command would show the map of the caller's namespace, not of the entered one.
    if system.is_in_own_user_namespace() {
        error.hint("show the mapped ids", program(format!("cat /proc/self/{map}")))
    } else {
        error
    }
}
