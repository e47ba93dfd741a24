//! The tracer of a command or a process (`trace`): stops at shared memory calls, and shows them to an observer while
//! the calling thread is stopped at the end of its call.
//!
//! The launcher installs a seccomp filter before it executes the command; the filter stops the command only at these
//! calls. The command then runs to the end of the call (PTRACE_SYSCALL), and on without stops (PTRACE_CONT). Without
//! the filter it stops at each call, as does a process that was already running. The same applies if a sandbox's filter
//! decides first, and after a process installs its own filter. Children and threads are traced from their first
//! instruction.
//!
//! The tracer has a thread of its own: only the thread that traces may wait for what it traces, and children that this
//! process has inherited from before execve(2) are not that thread's. It ends when nothing is traced any more.
//!
//! A process that existed before is not stopped to end the trace: the kernel detaches when the thread exits, and no
//! call that waits is interrupted. A command cannot be detached, since its calls would fail with ENOSYS under the
//! filter without a tracer. It is killed with this process (PTRACE_O_EXITKILL).

mod attach;
mod decode;
mod engine;
mod files;
mod thread;

use std::ffi::OsString;
use std::path::PathBuf;

use self::attach::{cannot_seize, cannot_seize_command, seize_all};
use self::engine::{Mode, Tracer, cannot_trace};
use self::files::Files;
use self::thread::in_thread;
use super::launcher::{FailureFormat, Reports, inherited, launch};
use crate::error::{Error, Kind, again};
use crate::explain::{Attempt, in_no_directory};
use crate::model::{Call, ShmId};
use crate::procfs;
use crate::query::System;
use crate::sys::{self, Stop, SysError, TraceEvent};

/// What an observer is shown.
#[derive(Debug)]
pub(crate) enum Observed {
    /// The threads of a process that existed before are traced from now on.
    Attached(i32),
    /// A process executes another program.
    Executed(i32),
    Call(TracedCall),
    /// A process that makes 32-bit system calls, which are not decoded; once for each.
    OtherArchitecture(i32),
}

/// A call that has ended. Its thread is stopped, unless it has exited.
#[derive(Debug)]
pub(crate) struct TracedCall {
    pub(crate) process: i32,
    pub(crate) thread: i32,
    pub(crate) call: Call,
    /// The segment that it can have created, and whether it certainly has.
    pub(crate) created: Option<(ShmId, bool)>,
    /// What failed, and how; `None` on success, and for a failure that cannot be explained.
    pub(crate) failed: Option<(Attempt, SysError)>,
}

pub(crate) type Observer<'a> = dyn FnMut(Observed) + Send + 'a;

/// Runs a command with the standard streams and signal dispositions that this process inherited, and traces it. Returns
/// its exit code, or 128 plus the signal that ended it, when no traced process is left. Fails if the command cannot be
/// traced; then it does not run.
pub(crate) fn trace_command(
    system: &System,
    command: &[OsString],
    posix: bool,
    format: FailureFormat,
    observe: &mut Observer<'_>,
) -> Result<u8, Error> {
    let (proc, files) = prepare(system, posix)?;
    let inherited = inherited(system);
    let traced = in_thread(|inbox| {
        let reports = if posix { Reports::SegmentsAndFiles } else { Reports::Segments };
        let launched = launch(inherited, reports, format, command)?;
        let pid = launched.pid;
        if let Err(error) = sys::seize(pid, true) {
            // It would report that this process has exited.
            sys::forward_signal(pid, nix::libc::SIGKILL);
            return Ok(Err(error));
        }
        let mut tracer = Tracer::new(proc, files, inbox, observe);
        tracer.command = Some(pid);
        tracer.mode = Mode::Launching;
        // Its execve(2) need not have ended, and would be taken for the command's. This stop is either at its end or
        // after it: any stop takes the place of a requested one.
        sys::interrupt(pid).map_err(|errno| cannot_trace(errno, "ptrace PTRACE_INTERRUPT"))?;
        tracer.run_until(|_, event| {
            matches!(event, TraceEvent::Stopped(Stop::Exec | Stop::Other) | TraceEvent::Ended(_))
        })?;
        tracer.mode = Mode::Starting { reported: 0 };
        launched.release();
        tracer.run_until(|_, _| false)?;
        Ok(Ok(tracer.code))
    });
    traced?.map_err(|error| cannot_seize_command(system, error))
}

/// Traces a process that is already running, with its threads and the processes that it starts, until they have ended
/// or a signal asks this process to end. Fails if there is no such process, or if it may not be traced.
pub(crate) fn trace_process(system: &System, pid: i32, posix: bool, observe: &mut Observer<'_>) -> Result<(), Error> {
    let (proc, files) = prepare(system, posix)?;
    let root = proc.clone().ok_or_else(no_proc)?;
    let process = procfs::process_of(&root, pid).unwrap_or(pid);
    let traced = in_thread(|inbox| {
        let mut waiting = match seize_all(&root, process) {
            Ok(threads) => threads,
            Err(error) => return Ok(Err(error)),
        };
        let mut tracer = Tracer::new(proc, files, inbox, observe);
        tracer.is_attached = true;
        // A thread that has not stopped yet is not stopped at its next call either.
        let have_stopped = tracer.run_until(|thread, _| {
            waiting.remove(&thread);
            waiting.is_empty()
        })?;
        if have_stopped {
            (tracer.observe)(Observed::Attached(process));
            tracer.run_until(|_, _| false)?;
        }
        Ok(Ok(()))
    });
    traced?.map_err(|error| cannot_seize(system, process, error))
}

/// Returns the root of /proc, if it shows the processes of this pid namespace, and the files whose calls are shown.
fn prepare(system: &System, posix: bool) -> Result<(Option<PathBuf>, Option<Files>), Error> {
    if !sys::HAS_SHM_CALLS {
        return Err(Error::new(Kind::Failed, "cannot trace").cause("not supported on this architecture"));
    }
    let proc = system.proc_shows_own_pids().then(|| system.proc().to_owned());
    let files = match (&proc, posix) {
        (_, false) => None,
        (Some(proc), true) => {
            let directory = system.objects().map_err(|error| {
                in_no_directory(system, "trace the calls on objects", error)
                    .hint("trace only the calls on segments", again("").without(&["posix"]))
            });
            Some(Files::new(proc.clone(), &directory?.path))
        }
        (None, true) => return Err(no_proc()),
    };
    Ok((proc, files))
}

fn no_proc() -> Error {
    Error::new(Kind::Failed, "cannot trace").cause("this requires the /proc of this pid namespace")
}
