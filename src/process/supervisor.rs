//! Supervision of the user's command (`leakcheck`): its signals, its exit, its descendants, and its shmget calls.
//!
//! The supervisor blocks all signals except those that stop a process, and reads them from a signalfd. It forwards
//! what another process has sent; Ctrl-C comes from the kernel and has reached the command as well.
//!
//! Without a private IPC namespace, a segment is attributed to the command only by proof (`leaks::provenance`): the
//! creator's pid could have been reused. The supervisor is the subreaper of its descendants, looks at them and at the
//! kernel's table every few milliseconds, and holds a pidfd of each. Children from before the command, their
//! descendants, and orphans that may be theirs do not count.
//!
//! With `--trace`, a seccomp filter reports each shmget before it is executed (`sys::notify`). While the caller
//! waits, the supervisor seizes it (`sys::Seized`), lets it finish the call, and reads the id of the segment from its
//! registers. A seized process is not reaped, so its pid cannot be reused. Without the trace, segments of processes
//! that exit between two looks are unattributed.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_child_subreaper;
use rustix::process::{Pid, Resource, WaitOptions, WaitStatus, getrlimit, waitpid};

use super::launcher::launch;
use super::standby::Standby;
use crate::error::{Error, Kind, shmadm};
use crate::leaks::{Calls, Descendants, Evidence};
use crate::model::{Key, ShmId, escape_invalid_utf8};
use crate::procfs;
use crate::query::System;
use crate::sys::{self, Call, Inherited, Listener, Seized, SignalOrigin, SignalQueue};

/// The shortest interval between two scans of the descendants.
const INTERVAL: Duration = Duration::from_millis(5);
/// The pause after a scan, as a multiple of its duration: bounds the CPU time if there are many processes or
/// segments.
const REST: u32 = 20;

/// A command that has exited. While this is kept, shmget calls of its remaining processes block.
#[derive(Debug)]
pub(crate) struct Supervised {
    /// The exit code, or 128 + the number of the signal that killed it.
    pub(crate) code: u8,
    observed: Observed,
}

#[derive(Debug)]
enum Observed {
    Descendants(Descendants),
    Calls(Tracer),
}

impl Supervised {
    /// Returns the exit code and the evidence of which processes created segments. `isolated` means that no other
    /// process could create any.
    ///
    /// The evidence must be used before the last value is dropped: until then traced processes create no further
    /// segment.
    pub(crate) fn into_evidence(self, isolated: bool) -> (u8, Evidence, impl Sized) {
        let (evidence, blocked) = match self.observed {
            Observed::Descendants(descendants) => (Evidence::of_descendants(isolated, descendants), None),
            Observed::Calls(mut tracer) => {
                (Evidence::of_calls(isolated, std::mem::take(&mut tracer.calls)), Some(tracer))
            }
        };
        (self.code, evidence, blocked)
    }
}

/// Returns the maximum number of observed processes: half the limit on open files, since each takes a pidfd.
fn max_observed() -> usize {
    getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit / 2).ok()).unwrap_or(usize::MAX)
}

/// Runs a command with the standard streams and signal dispositions that this process inherited.
///
/// # Errors
/// The command cannot be started, or not traced (Permission).
pub(crate) fn supervise(system: &System, command: &[OsString], trace: bool) -> Result<Supervised, Error> {
    let failed = |errno| Error::new(Kind::Failed, "cannot supervise the command").os(errno, "signalfd");
    let set = |name| procfs::status_line(system.proc(), name).and_then(|set| u64::from_str_radix(&set, 16).ok());
    let inherited = Inherited::new(set("SigBlk").unwrap_or(0), set("SigIgn").unwrap_or(0));
    let signals = SignalQueue::open().map_err(failed)?;
    // Orphaned descendants become children of this process. All supported kernels can do this.
    let _ = set_child_subreaper(true);
    let (child, mut observed) = if trace {
        let (child, tracer) = start_traced(inherited, command)?;
        (child, Observed::Calls(tracer))
    } else {
        let mut descendants = Descendants::before_command(system, max_observed());
        let launched = launch(inherited, command)?;
        let arguments: Vec<String> =
            command.iter().map(|argument| escape_invalid_utf8(argument.as_encoded_bytes())).collect();
        descendants.observe_command(system, launched.pid, &arguments.join(" "));
        (launched.pid, Observed::Descendants(descendants))
    };
    let mut next_look = Instant::now();
    let mut code = None;
    while code.is_none() {
        let mut timeout = PollTimeout::NONE;
        if let Observed::Descendants(descendants) = &mut observed {
            let now = Instant::now();
            if now >= next_look {
                descendants.observe_now(system);
                next_look = Instant::now() + INTERVAL.max(now.elapsed() * REST);
            }
            timeout = sys::poll_timeout(next_look.saturating_duration_since(Instant::now()));
        }
        let mut descriptors = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        if let Observed::Calls(tracer) = &observed {
            descriptors.extend(tracer.to_poll());
        }
        match poll(&mut descriptors, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
        let events = descriptors.get(1).and_then(PollFd::revents);
        if let (Observed::Calls(tracer), Some(events)) = (&mut observed, events) {
            tracer.answer(system, events);
        }
        while let Some(origin) = signals.next().map_err(failed)? {
            match origin {
                SignalOrigin::Child => code = code.or(reap(system, child, &mut observed)?),
                SignalOrigin::Process(signal) if code.is_none() => sys::forward_signal(child, signal),
                // The command has exited, or the kernel has sent the signal to it as well.
                SignalOrigin::Process(_) | SignalOrigin::Kernel => {}
            }
        }
    }
    if let Observed::Descendants(descendants) = &mut observed {
        descendants.observe_now(system);
    }
    Ok(Supervised { code: code.unwrap_or_default(), observed })
}

/// Reaps all children that have exited. Returns the command's exit code if it is one of them.
fn reap(system: &System, child: i32, observed: &mut Observed) -> Result<Option<u8>, Error> {
    let mut code = None;
    while let Some(pid) = sys::exited_child() {
        if let Observed::Descendants(descendants) = observed {
            descendants.before_reaping(system, pid);
        }
        let Ok(Some((_, status))) = waitpid(Pid::from_raw(pid), WaitOptions::NOHANG) else { break };
        match observed {
            Observed::Calls(tracer) if tracer.standby.pid == pid => tracer.replace_standby()?,
            _ if pid == child => code = Some(code_of(status)),
            _ => {}
        }
    }
    Ok(code)
}

/// Returns the exit code of a process as shells report it.
fn code_of(status: WaitStatus) -> u8 {
    let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

/// Receives the shmget calls of a command and its descendants.
#[derive(Debug)]
struct Tracer {
    listener: Listener,
    standby: Standby,
    calls: Calls,
    /// Whether a traced process is left.
    open: bool,
}

/// Starts a command whose shmget calls are reported to this process.
///
/// The filter applies to the thread that installs it and starts the command. The thread then exits, so that no helper
/// process is filtered, and the listener reports a hangup when the last filtered process has exited.
fn start_traced(inherited: Inherited, command: &[OsString]) -> Result<(i32, Tracer), Error> {
    let failed = || Error::new(Kind::Failed, "cannot trace the command");
    if !sys::CAN_LISTEN {
        return Err(failed().cause("not supported on this architecture"));
    }
    std::thread::scope(|scope| {
        let (installed, listener) = std::sync::mpsc::channel();
        let (ready, standby) = std::sync::mpsc::channel();
        let start = move || {
            // It fails if this function has returned an error, which drops `ready` as well.
            let _ = installed.send(sys::listen());
            standby.recv().ok().map(|()| launch(inherited, command))
        };
        let starter = std::thread::Builder::new()
            .spawn_scoped(scope, start)
            .map_err(|error| Error::io("cannot trace the command", &error, "clone"))?;
        let listener = listener.recv().map_err(|_| failed())?.map_err(cannot_trace)?;
        // Before the command starts: without a standby, its calls would fail if this process were killed.
        let standby = Standby::start(listener.as_fd())?;
        let tracer = Tracer { listener, standby, calls: Calls::default(), open: true };
        let _ = ready.send(());
        let launched = starter.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).ok_or_else(failed)?;
        // The launcher need not wait: each shmget call does.
        launched.map(|launched| (launched.pid, tracer))
    })
}

fn cannot_trace(error: sys::SysError) -> Error {
    let kind = if error.errno == Errno::EACCES { Kind::Permission } else { Kind::Failed };
    let failed = Error::new(kind, "cannot trace the command").os(error.errno, error.call);
    match error.errno {
        Errno::EACCES => failed
            .cause(
                "requires CAP_SYS_ADMIN in the current user namespace; the alternative, no_new_privs, would take the \
                 privileges of setuid programs away",
            )
            .hint("trace in a new user namespace", shmadm("leakcheck --isolate always --trace -- COMMAND")),
        Errno::EBUSY => failed
            .cause("another process already receives this process's system calls: a container runtime or another trace")
            .advice("without --trace, leaks are reported as well, but some are unattributed"),
        _ => failed.cause("the kernel or a sandbox does not support seccomp notifications (Linux 5.5)"),
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.standby.release();
        if self.all_exited() {
            // It exits at once; reap it.
            let _ = waitpid(Pid::from_raw(self.standby.pid), WaitOptions::empty());
        }
    }
}

impl Tracer {
    /// Returns whether the last traced process has exited.
    fn all_exited(&self) -> bool {
        let mut descriptors = [PollFd::new(self.listener.as_fd(), PollFlags::empty())];
        matches!(poll(&mut descriptors, PollTimeout::ZERO), Ok(1..))
    }

    /// Starts another standby after one has exited, unless it did because all traced processes have.
    fn replace_standby(&mut self) -> Result<(), Error> {
        if !self.all_exited() {
            self.standby = Standby::start(self.listener.as_fd())?;
        }
        Ok(())
    }

    /// Returns the descriptor to poll; `None` once all traced processes have exited.
    fn to_poll(&self) -> Option<PollFd<'_>> {
        self.open.then(|| PollFd::new(self.listener.as_fd(), PollFlags::POLLIN))
    }

    /// Answers a call, and records which segment it creates.
    fn answer(&mut self, system: &System, events: PollFlags) {
        if !events.contains(PollFlags::POLLIN) {
            self.open = !events.intersects(PollFlags::POLLHUP | PollFlags::POLLERR);
            return;
        }
        let Ok(Some(call)) = sys::receive(&self.listener) else { return };
        self.standby.set_pending(call.id);
        if call.may_create {
            self.observe(system, &call);
        } else {
            sys::respond_continue(&self.listener, call.id);
        }
    }

    /// Answers a call that can create a segment, and binds the segment to its caller.
    fn observe(&mut self, system: &System, call: &Call) {
        let proc = system.proc();
        let seized = Seized::new(call.thread);
        // A /proc of another pid namespace shows other processes under these ids. There, use the thread id as the
        // pid, which is right for the main thread.
        let own = system.proc_shows_own_pids();
        let pid = if own { procfs::process_of(proc, call.thread) } else { Some(call.thread) };
        let command = pid.filter(|_| own).and_then(|pid| procfs::command(proc, pid));
        let command = command.map(|command| escape_invalid_utf8(&command));
        // If the call is still pending, its caller is what was seized and read: the pid has not been reused.
        let pid = pid.filter(|_| sys::is_pending(&self.listener, call.id));
        let found = (call.key != Key::PRIVATE).then(|| sys::find_key(call.key, 0).ok()).flatten();
        let proceed = || sys::respond_continue(&self.listener, call.id);
        let bound = match (pid, seized) {
            // Before Linux 5.19 the stop request can interrupt the call.
            (Some(pid), Ok(thread)) if self.listener.waits_killable => {
                let result = thread.finish_call(proceed);
                // In another IPC namespace the id names another segment.
                let here = procfs::namespace_of(proc, &call.thread.to_string()) == system.namespace();
                match result.filter(|_| here).map(ShmId::new) {
                    Some(Some(id)) => self.calls.bind(system, pid, id, found, command.as_deref()).is_ok(),
                    // The call has failed.
                    Some(None) => true,
                    None => false,
                }
            }
            _ => {
                proceed();
                false
            }
        };
        if let Some(pid) = pid.filter(|_| !bound) {
            self.calls.record_unbound(pid, call.key, call.size, command.as_deref());
        }
    }
}
