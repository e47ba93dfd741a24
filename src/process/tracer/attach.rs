//! The start of the trace of a process that is already running, and why that can fail.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;

use crate::error::{Error, Kind, again, sysctl};
use crate::explain::DENIED;
use crate::model::escape_invalid_utf8;
use crate::procfs;
use crate::query::{System, can_inspect_all};
use crate::sys::{self, SysError};

/// Seizes every thread of a process, and requests a stop of each. Returns them.
/// Fails if the process does not exist or one of its threads may not be traced.
pub(super) fn seize_all(proc: &Path, process: i32) -> Result<HashSet<i32>, SysError> {
    let (mut seen, mut seized) = (HashSet::new(), HashSet::new());
    loop {
        // A thread started by a seized thread is traced from its start. Other threads can be started until all are
        // seized.
        let threads: Vec<i32> = [process].into_iter().chain(procfs::other_thread_ids(proc, process)).collect();
        let new: Vec<i32> = threads.into_iter().filter(|thread| !seen.contains(thread)).collect();
        if new.is_empty() {
            return Ok(seized);
        }
        for thread in new {
            match sys::seize(thread, false) {
                Ok(()) => {
                    // A thread that has exited meanwhile ends without a stop.
                    let _ = sys::interrupt(thread);
                    seized.insert(thread);
                }
                Err(SysError { errno: Errno::ESRCH, .. }) if thread != process => {}
                Err(SysError { errno: Errno::EPERM, .. })
                    if is_ours(proc, thread) || procfs::has_exited_leader(proc, thread) => {}
                Err(error) => return Err(error),
            }
            seen.insert(thread);
        }
    }
}

fn tracer_of(proc: &Path, thread: i32) -> Option<i32> {
    procfs::tracer(proc, thread).and_then(|tracer| procfs::process_of(proc, tracer).or(Some(tracer)))
}

fn is_ours(proc: &Path, thread: i32) -> bool {
    tracer_of(proc, thread).is_some_and(|tracer| u32::try_from(tracer) == Ok(std::process::id()))
}

/// Returns the error for a command that cannot be traced, with the cause. It has been killed.
pub(super) fn cannot_seize_command(system: &System, failure: SysError) -> Error {
    let error = failed("the command", failure);
    let tracer = || tracer_of(system.proc(), std::process::id().cast_signed()).filter(|_| system.proc_shows_own_pids());
    if failure.errno == Errno::EPERM
        && let Some(tracer) = tracer()
    {
        return traced_already(error, system.proc(), tracer, "shmadm and what it starts")
            .advice("a process has at most one tracer: run shmadm outside of the other one");
    }
    match (failure.errno, scope(system)) {
        (Errno::EPERM, 3) => error.cause(NO_TRACING),
        (Errno::EPERM, 2) if !can_inspect_all(system) => requires_root(error, PRIVILEGED_TRACING),
        (Errno::EPERM | Errno::ENOSYS, _) => error.cause(DENIED),
        _ => error,
    }
}

/// Returns the error for a process that cannot be traced, with the cause.
pub(super) fn cannot_seize(system: &System, pid: i32, failure: SysError) -> Error {
    let error = failed(&format!("process {pid}"), failure).target(pid.to_string());
    let proc = system.proc();
    match failure.errno {
        Errno::EPERM => {}
        Errno::ENOSYS => return error.cause(DENIED),
        _ => return error,
    }
    if u32::try_from(pid) == Ok(std::process::id()) {
        return error.cause("it is this process");
    } else if procfs::is_zombie(proc, pid) {
        return Error { kind: Kind::NotFound, ..error.cause("it has exited, but its parent has not waited for it") };
    } else if let Some(tracer) = tracer_of(proc, pid) {
        return traced_already(error, proc, tracer, "it")
            .advice(format!("a process has at most one tracer: end pid {tracer} first"));
    } else if (pid == 2 || procfs::parent(proc, pid) == Some(2)) && procfs::command_line(proc, pid).is_none() {
        return error.cause("it is a kernel thread");
    }
    let may_trace_all = can_inspect_all(system);
    match (scope(system), system.effective_uid_now(pid), system.why_hidden(pid)) {
        (3, ..) => error.cause(NO_TRACING),
        (_, Some(user), _) if !may_trace_all && user != system.uid() => {
            requires_root(error, &format!("it belongs to user {}, which requires CAP_SYS_PTRACE", system.user(user)))
        }
        (_, _, Some(why)) if !may_trace_all => requires_root(error, why),
        (2, ..) if !may_trace_all => requires_root(error, PRIVILEGED_TRACING),
        (1, ..) if !may_trace_all => {
            requires_root(error, "kernel.yama.ptrace_scope is 1: without CAP_SYS_PTRACE only descendants can be traced")
                .hint("allow it for all processes of a user", sysctl("kernel.yama.ptrace_scope", 0))
        }
        (_, Some(user), _) if !may_trace_all && is_not_dumpable(proc, pid, user) => requires_root(
            error,
            "it is not dumpable: it has changed its user, has capabilities, or may not read its own program",
        ),
        _ if may_trace_all && procfs::user_namespace_of(proc, &pid.to_string()).is_none() => {
            error.cause("it belongs to another user namespace, in which CAP_SYS_PTRACE has no effect")
        }
        _ => error.cause(DENIED),
    }
}

fn traced_already(error: Error, proc: &Path, tracer: i32, what: &str) -> Error {
    let command = procfs::command(proc, tracer).map(|command| format!(" ({})", escape_invalid_utf8(&command)));
    error.cause(format!("pid {tracer}{} is already tracing {what}", command.unwrap_or_default()))
}

const NO_TRACING: &str = "kernel.yama.ptrace_scope is 3: no process can be traced until the next boot";
const PRIVILEGED_TRACING: &str = "kernel.yama.ptrace_scope is 2, which requires CAP_SYS_PTRACE";

fn failed(what: &str, failure: SysError) -> Error {
    let kind = match failure.errno {
        Errno::ESRCH => Kind::NotFound,
        Errno::EPERM => Kind::Permission,
        _ => Kind::Failed,
    };
    Error::new(kind, format!("cannot trace {what}")).os(failure.errno, failure.call)
}

/// Returns the restriction of ptrace(2) by the Yama security module; 0 for none.
fn scope(system: &System) -> u64 {
    procfs::sysctl(system.proc(), "kernel/yama/ptrace_scope").unwrap_or(0)
}

fn requires_root(error: Error, cause: &str) -> Error {
    error.cause(cause).hint("trace it as root", again("").sudo())
}

/// Returns whether the files of a process in /proc belong to another user than the process (proc(5)).
fn is_not_dumpable(proc: &Path, pid: i32, user: u32) -> bool {
    std::fs::metadata(proc.join(pid.to_string())).is_ok_and(|directory| directory.uid() != user)
}
