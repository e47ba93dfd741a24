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
//!
//! In a shared /dev/shm, the creators of POSIX objects are reported as they create them (`leaks::creations`). A creator
//! that is not a child of the supervisor can exit and be reaped at once, so the supervisor runs as soon as there is a
//! report: at normal priority it is often too late.

use std::ffi::OsString;
use std::io::Write;
use std::os::fd::AsFd;
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_child_subreaper;
use rustix::process::{Pid, Resource, WaitOptions, getrlimit, waitpid};

use super::launcher::{FailureFormat, Reports, inherited, launch};
use super::standby::start_standby;
use crate::error::{Error, Kind, again};
use crate::leaks::{Creations, CreatorEvidence, Descendants, UnboundCall};
use crate::model::{Key, ShmId, escape_invalid_utf8};
use crate::procfs;
use crate::query::System;
use crate::sys::{self, Call, FirstPriority, Inherited, Listener, Seized, SignalOrigin, SignalQueue};

/// The shortest interval between two scans of the descendants.
const INTERVAL: Duration = Duration::from_millis(5);
/// The pause after a scan, as a multiple of its duration: bounds the CPU time if there are many processes or
/// segments.
const REST: u32 = 20;

/// A command that has exited. While this is kept, traced processes create no further segment: their calls block.
#[derive(Debug)]
pub(crate) struct Supervised {
    /// The exit code, or 128 + the number of the signal that killed it.
    pub(crate) code: u8,
    observer: Observer,
}

/// How the creators of segments are observed.
#[derive(Debug)]
enum Observer {
    Descendants(Descendants),
    Tracer(Tracer),
}

impl Supervised {
    pub(crate) fn evidence(&self) -> &CreatorEvidence {
        match &self.observer {
            Observer::Descendants(descendants) => &descendants.evidence,
            Observer::Tracer(tracer) => &tracer.evidence,
        }
    }
}

/// Runs a command with the standard streams and signal dispositions that this process inherited.
/// Fails if the command cannot be started, or not traced (Permission).
pub(crate) fn supervise(
    system: &System,
    command: &[OsString],
    trace: bool,
    creations: &mut Creations,
) -> Result<Supervised, Error> {
    let failed = |errno| cannot_supervise(errno, "signalfd");
    let inherited = inherited(system);
    let signals = SignalQueue::open().map_err(failed)?;
    // Orphaned descendants become children of this process. All supported kernels can do this.
    let _ = set_child_subreaper(true);
    let start = if trace { start_traced } else { start_observed };
    let (child, mut observer) = start(system, inherited, command)?;
    creations.observe_command(child);
    let _priority = creations.descriptor().and_then(|_| FirstPriority::take());
    let mut next_look = Instant::now();
    loop {
        let mut timeout = PollTimeout::NONE;
        let mut descriptors = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        match &mut observer {
            Observer::Descendants(descendants) => {
                let now = Instant::now();
                if now >= next_look {
                    descendants.observe_now(system);
                    next_look = Instant::now() + INTERVAL.max(now.elapsed() * REST);
                }
                timeout = sys::poll_timeout(next_look.saturating_duration_since(Instant::now()));
            }
            Observer::Tracer(tracer) => descriptors.push(PollFd::new(tracer.listener.as_fd(), PollFlags::POLLIN)),
        }
        descriptors.extend(creations.descriptor().map(|watch| PollFd::new(watch, PollFlags::POLLIN)));
        match poll(&mut descriptors, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
        let is_call = descriptors.get(1).and_then(PollFd::revents).is_some_and(|is| is.contains(PollFlags::POLLIN));
        creations.record(system);
        if let (Observer::Tracer(tracer), true) = (&mut observer, is_call) {
            tracer.answer(system)?;
        }
        while let Some(origin) = signals.next().map_err(failed)? {
            match origin {
                SignalOrigin::Child => {
                    if let Some(code) = reap(system, child, &mut observer, creations)? {
                        return Ok(Supervised { code, observer });
                    }
                }
                SignalOrigin::Process(signal) => sys::forward_signal(child, signal),
                // The kernel has sent it to the command as well.
                SignalOrigin::Kernel(_) => {}
            }
        }
    }
}

fn cannot_supervise(errno: Errno, call: &'static str) -> Error {
    Error::new(Kind::Failed, "cannot supervise the command").os(errno, call)
}

/// Reaps all children that have exited. Returns the command's exit code, as shells report it, if it is one of them.
fn reap(system: &System, child: i32, observer: &mut Observer, creations: &mut Creations) -> Result<Option<u8>, Error> {
    let mut code = None;
    loop {
        let pid = match sys::exited_child() {
            Ok(Some(pid)) => pid,
            Ok(None) => break,
            // The command was the last child.
            Err(Errno::ECHILD) if code.is_some() => break,
            Err(errno) => return Err(cannot_supervise(errno, "waitid")),
        };
        if let Observer::Descendants(descendants) = observer {
            descendants.observe_now(system);
        }
        creations.record(system);
        let reaped = waitpid(Pid::from_raw(pid), WaitOptions::NOHANG);
        let reaped = reaped.map_err(|errno| cannot_supervise(Errno::from_raw(errno.raw_os_error()), "wait4"))?;
        let Some((_, status)) = reaped else { break };
        if pid == child {
            let number = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
            code = number.map(|number| u8::try_from(number).unwrap_or(u8::MAX));
        }
    }
    Ok(code)
}

fn start_observed(system: &System, inherited: Inherited, command: &[OsString]) -> Result<(i32, Observer), Error> {
    // Half the limit on open files, since each process takes a pidfd.
    let limit = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit / 2).ok());
    let mut descendants = Descendants::before_command(system, limit.unwrap_or(usize::MAX));
    let launched = launch(inherited, Reports::None, FailureFormat::Text, command)?;
    let arguments: Vec<String> =
        command.iter().map(|argument| escape_invalid_utf8(argument.as_encoded_bytes())).collect();
    descendants.observe_command(system, launched.pid, &arguments.join(" "));
    Ok((launched.release(), Observer::Descendants(descendants)))
}

/// Receives the shmget calls of a command and its descendants.
#[derive(Debug)]
struct Tracer {
    listener: Listener,
    standby: Child,
    evidence: CreatorEvidence,
}

/// Starts a command whose shmget calls are reported to this process.
///
/// The filter applies to the thread that installs it and starts the command. The thread then exits, so that no helper
/// process is filtered, and the listener reports a hangup when the last filtered process has exited.
fn start_traced(_: &System, inherited: Inherited, command: &[OsString]) -> Result<(i32, Observer), Error> {
    if !sys::HAS_SHM_CALLS {
        return Err(Error::new(Kind::Failed, "cannot trace the command").cause("not supported on this architecture"));
    }
    let (listener, launched) = std::thread::scope(|scope| {
        let start = || {
            let listener = sys::listen().map_err(cannot_trace)?;
            Ok::<_, Error>((listener, launch(inherited, Reports::None, FailureFormat::Text, command)?))
        };
        let starter = std::thread::Builder::new().spawn_scoped(scope, start);
        let starter = starter.map_err(|error| Error::io("cannot trace the command", &error, "clone"))?;
        starter.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    // Before the command starts: without a standby, its calls would fail if this process were killed.
    let standby = start_standby(listener.as_fd())?;
    let tracer = Tracer { listener, standby, evidence: CreatorEvidence::of_trace() };
    Ok((launched.release(), Observer::Tracer(tracer)))
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
            .hint("trace in a new user namespace", again("--isolate always")),
        Errno::EBUSY => failed
            .cause(
                "another process already receives seccomp notifications for this one: a container runtime or \
                    another trace",
            )
            .hint("run it without --trace; some leaks are then unattributed", again("").without(&["trace"])),
        _ => failed.cause("the kernel or a sandbox does not support seccomp notifications (Linux 5.5)"),
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // The standby takes over.
        drop(self.standby.stdin.take());
        let mut descriptors = [PollFd::new(self.listener.as_fd(), PollFlags::empty())];
        if matches!(poll(&mut descriptors, PollTimeout::ZERO), Ok(1..)) {
            // All traced processes have exited, and so does the standby. This fails if it has been killed and reaped.
            let _ = self.standby.wait();
        }
    }
}

impl Tracer {
    /// Answers a call, and records which segment it creates.
    fn answer(&mut self, system: &System) -> Result<(), Error> {
        let failed = |errno| cannot_supervise(errno, "ioctl");
        let Some(call) = sys::receive(&self.listener).map_err(failed)? else { return Ok(()) };
        // The standby responds to this call if this process is killed. Fails if the standby has been killed.
        let _ = self.standby.stdin.as_mut().map(|pipe| pipe.write_all(&call.id.to_ne_bytes()));
        match call.may_create {
            true => self.observe(system, &call),
            false => sys::respond_continue(&self.listener, call.id),
        }
        .map_err(failed)
    }

    /// Answers a call that can create a segment, and binds the segment to its caller.
    fn observe(&mut self, system: &System, call: &Call) -> Result<(), Errno> {
        let proc = system.proc();
        let seized = Seized::new(call.thread);
        // A /proc of another pid namespace shows other processes under these ids. There, use the thread id as the
        // pid, which is right for the main thread.
        let own = system.proc_shows_own_pids();
        let pid = if own { procfs::process_of(proc, call.thread) } else { Some(call.thread) };
        let command = pid.filter(|_| own).and_then(|pid| procfs::command(proc, pid));
        let command: Option<Arc<str>> = command.map(|command| escape_invalid_utf8(&command).into());
        // If the call is still pending, its caller is what was seized and read: the pid has not been reused.
        let is_pending = sys::is_pending(&self.listener, call.id)?;
        let pid = pid.filter(|_| is_pending);
        let found = (call.key != Key::PRIVATE).then(|| sys::find_key(call.key, 0).ok()).flatten();
        let proceed = || sys::respond_continue(&self.listener, call.id);
        let Some(pid) = pid else { return proceed() };
        let bound = match &seized {
            // Before Linux 5.19 the stop request can interrupt the call.
            Ok(thread) if self.listener.waits_killable => {
                let result = thread.finish_call(proceed)?;
                // In another IPC namespace the id names another segment.
                let here = procfs::namespace_of(proc, &call.thread.to_string()) == system.namespace();
                match result.filter(|_| here).map(ShmId::new) {
                    Some(Some(id)) => self.evidence.bind_call(system, pid, id, found, command.clone()).is_ok(),
                    // The call has failed.
                    Some(None) => true,
                    None => false,
                }
            }
            _ => {
                proceed()?;
                false
            }
        };
        if !bound {
            self.evidence.record_unbound(UnboundCall { pid, key: call.key, size: call.size, command });
        }
        Ok(())
    }
}
