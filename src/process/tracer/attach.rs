//! The begin of tracing a process that is already running, and why that can fail.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;

use crate::error::{Error, Kind, again, sysctl};
use crate::model::escape_invalid_utf8;
use crate::procfs;
use crate::query::{System, can_inspect_all};
use crate::sys::{self, SysError};

/// Seizes every thread of a process, and requests a stop of each. Returns them.
/// Fails if the process does not exist or one of its threads may not be traced.
pub(super) fn seize_all(proc: &Path, process: i32) -> Result<HashSet<i32>, SysError> {
    let (mut seen, mut seized) = (HashSet::new(), HashSet::new());
    loop {
        // A thread that a seized one starts is traced from its begin, others can start until all are seized.
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

/// Returns the error for a process, or for the command (`None`), that cannot be traced, with the cause.
pub(super) fn cannot_seize(system: &System, process: Option<i32>, pid: i32, failure: SysError) -> Error {
    let what = process.map_or_else(|| "the command".to_owned(), |process| format!("process {process}"));
    let kind = match failure.errno {
        Errno::ESRCH => Kind::NotFound,
        Errno::EPERM => Kind::Permission,
        _ => Kind::Failed,
    };
    let error = Error::new(kind, format!("cannot trace {what}")).os(failure.errno, failure.call);
    let error = process.map_or(error.clone(), |process| error.target(process.to_string()));
    let proc = system.proc();
    if failure.errno != Errno::EPERM || !system.proc_shows_own_pids() {
        return error;
    } else if u32::try_from(pid) == Ok(std::process::id()) {
        return error.cause("it is this process");
    } else if procfs::is_zombie(proc, pid) {
        return Error { kind: Kind::NotFound, ..error.cause("it has exited, but its parent has not waited for it") };
    } else if let Some(tracer) = tracer_of(proc, pid) {
        let command = procfs::command(proc, tracer).map(|command| format!(" ({})", escape_invalid_utf8(&command)));
        let command = command.unwrap_or_default();
        return error
            .cause(format!("pid {tracer}{command} traces it already"))
            .advice(format!("a process has at most one tracer: end pid {tracer} first"));
    }
    let sudo = |error: Error| error.hint("trace it as root", again("").sudo());
    let scope = procfs::sysctl(proc, "kernel/yama/ptrace_scope").unwrap_or(0);
    let may_trace_all = can_inspect_all(system);
    let user = system.effective_uid_now(pid);
    match (scope, user) {
        (3, _) => error.cause("kernel.yama.ptrace_scope is 3: no process can be traced until the next boot"),
        (_, Some(user)) if !may_trace_all && user != system.uid() => {
            sudo(error.cause(format!("it belongs to user {}, which requires CAP_SYS_PTRACE", system.user(user))))
        }
        (2, _) if !may_trace_all => sudo(error.cause("kernel.yama.ptrace_scope is 2, which requires CAP_SYS_PTRACE")),
        (1, _) if !may_trace_all && process.is_some() => {
            sudo(error.cause("kernel.yama.ptrace_scope is 1: without CAP_SYS_PTRACE only descendants can be traced"))
                .hint("allow it for all processes of a user", sysctl("kernel.yama.ptrace_scope", 0))
        }
        (_, Some(user)) if !may_trace_all && is_not_dumpable(proc, pid, user) => sudo(
            error.cause("it is not dumpable: it has changed its user, has capabilities, or cannot read its program"),
        ),
        _ if (pid == 2 || procfs::parent(proc, pid) == Some(2)) && procfs::command_line(proc, pid).is_none() => {
            error.cause("it is a kernel thread")
        }
        _ if may_trace_all && std::fs::metadata(proc.join(format!("{pid}/ns/user"))).is_err() => {
            error.cause("it belongs to another user namespace, in which CAP_SYS_PTRACE has no effect")
        }
        _ => error.cause("denied by a security module or a seccomp filter"),
    }
}

/// Returns whether the files of a process in /proc belong to another user than the process (proc(5)).
fn is_not_dumpable(proc: &Path, pid: i32, user: u32) -> bool {
    std::fs::metadata(proc.join(pid.to_string())).is_ok_and(|directory| directory.uid() != user)
}
