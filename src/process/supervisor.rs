//! A command of the user's under supervision: its signals, its exit, its descendants, and its calls of shmget.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_child_subreaper;
use rustix::process::{Pid, Resource, WaitOptions, WaitStatus, getrlimit, waitpid};

use super::launcher::{Launched, launch};
use super::standby::Standby;
use crate::error::{Error, Kind};
use crate::model::{Key, ShmId, lossless};
use crate::procfs;
use crate::query::{Calls, Descendants, Evidence, System};
use crate::sys::{self, Arrival, Call, Inbox, Inherited, Listener, Seized};

/// The time between two looks at the descendants.
const INTERVAL: Duration = Duration::from_millis(5);
/// The pause after a look, as a multiple of its duration, so that many processes or segments do not cost a whole processor.
const REST: u32 = 20;

/// A command that has exited. While it is kept, calls of shmget of the processes that it has left wait.
#[derive(Debug)]
pub(crate) struct Supervised {
    /// Its exit code, or 128 and the number of the signal that killed it.
    pub(crate) code: u8,
    observed: Observed,
}

/// How a command is observed.
#[derive(Debug)]
enum Observed {
    Descendants(Descendants),
    Calls(Tracer),
}

/// Calls of the processes that a traced command has left wait while this is kept.
#[derive(Debug)]
pub(crate) struct Waiting(#[expect(dead_code, reason = "it counts when it is dropped")] Option<Tracer>);

impl Supervised {
    /// Returns the exit code, and what is known of the creators of segments; `isolated` if no other process could create any.
    ///
    /// The evidence is to be used before the last part is dropped: until then the traced processes create no segment.
    pub(crate) fn into_evidence(self, isolated: bool) -> (u8, Evidence, Waiting) {
        match self.observed {
            Observed::Descendants(descendants) => {
                (self.code, Evidence::of_descendants(isolated, descendants), Waiting(None))
            }
            Observed::Calls(mut tracer) => {
                let calls = std::mem::take(&mut tracer.calls);
                (self.code, Evidence::of_calls(isolated, calls), Waiting(Some(tracer)))
            }
        }
    }
}

/// Returns how many processes may be observed at one time: half of the descriptors that this process may have.
fn most_observed() -> usize {
    getrlimit(Resource::Nofile).current.and_then(|most| usize::try_from(most / 2).ok()).unwrap_or(usize::MAX)
}

/// Runs a command with all that is ours: standard streams, and the signals as they were inherited.
///
/// # Errors
/// It cannot be started; or traced (Permission).
pub(crate) fn supervise(system: &System, command: &[OsString], trace: bool) -> Result<Supervised, Error> {
    let failed = |errno| Error::new(Kind::Failed, "cannot supervise the command").os(errno, "signalfd");
    let inherited = Inherited::read();
    let inbox = Inbox::open().map_err(failed)?;
    // Whoever loses his parent becomes our child. No kernel that this program runs on lacks it.
    let _ = set_child_subreaper(true);
    let (child, mut observed) = if trace {
        let (child, tracer) = start_traced(inherited, command)?;
        (child, Observed::Calls(tracer))
    } else {
        let mut descendants = Descendants::before_command(system, most_observed());
        let command_held = launch(inherited, command)?;
        let words: Vec<String> = command.iter().map(|word| lossless(word.as_encoded_bytes())).collect();
        descendants.observe_command(system, command_held.pid, &words.join(" "));
        (command_held.pid, Observed::Descendants(descendants))
    };
    let mut next_look = Instant::now();
    let mut code = None;
    while code.is_none() {
        let mut timeout = PollTimeout::NONE;
        if let Observed::Descendants(descendants) = &mut observed {
            let now = Instant::now();
            if now >= next_look {
                descendants.look(system);
                next_look = Instant::now() + INTERVAL.max(now.elapsed() * REST);
            }
            // Rounded up, so that the last millisecond is not spent in a spin.
            let left = next_look.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        }
        let mut descriptors = vec![PollFd::new(inbox.as_fd(), PollFlags::POLLIN)];
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
        while let Some(arrival) = inbox.next().map_err(failed)? {
            match arrival {
                Arrival::Child => code = code.or(reap(system, child, &mut observed)?),
                Arrival::Sent(signal) if code.is_none() => sys::pass_on(child, signal),
                // The command has exited.
                Arrival::Sent(_) => {}
                // The kernel has sent it to the command as well, or it concerns only this process.
                Arrival::Kernel => {}
            }
        }
    }
    if let Observed::Descendants(descendants) = &mut observed {
        descendants.look(system);
    }
    Ok(Supervised { code: code.unwrap_or_default(), observed })
}

/// Waits for all children that have exited; returns the command's exit code if it is among them.
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

/// Gives the exit code of a process that has ended, as shells have it.
fn code_of(status: WaitStatus) -> u8 {
    let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

/// Receives the calls of shmget that a command and its descendants make.
#[derive(Debug)]
struct Tracer {
    listener: Listener,
    standby: Standby,
    calls: Calls,
    /// Whether a traced process is left.
    open: bool,
}

/// Starts a command whose calls of shmget are told to us.
///
/// The filter is that of a thread, which starts the command and ends: whatever else we start is not filtered, and the
/// listener tells when the last process is gone that is.
fn start_traced(inherited: Inherited, command: &[OsString]) -> Result<(i32, Tracer), Error> {
    if !sys::CAN_LISTEN {
        let failed = Error::new(Kind::Failed, "cannot trace the command");
        return Err(failed.cause("how system calls look on this architecture is not known to this program"));
    }
    let (filtered, listeners) = std::sync::mpsc::channel();
    let (ready, go) = std::sync::mpsc::channel();
    let start = move || {
        // What cannot be told is told by the end of the channel.
        let _ = filtered.send(sys::listen().map_err(cannot_trace)?);
        // Not before the standby: the command must never find nobody who lets it go on.
        let launched = go.recv().map(|()| launch(inherited, command));
        let launched = launched.unwrap_or_else(|_| Err(Error::new(Kind::Failed, "not started")));
        // Nothing needs it held: each of its calls is.
        launched.map(|Launched { pid, .. }| pid)
    };
    std::thread::scope(|scope| {
        let starter = std::thread::Builder::new()
            .spawn_scoped(scope, start)
            .map_err(|error| Error::io("cannot trace the command", &error, "clone"))?;
        let tracer = listeners.recv().ok().map(|listener| {
            let standby = Standby::start(listener.as_fd())?;
            let _ = ready.send(());
            Ok(Tracer { listener, standby, calls: Calls::default(), open: true })
        });
        drop(ready);
        let child = starter.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match (tracer, child) {
            (Some(Ok(tracer)), Ok(child)) => Ok((child, tracer)),
            (Some(Err(error)), _) | (_, Err(error)) => Err(error),
            (None, Ok(_)) => Err(Error::new(Kind::Failed, "cannot trace the command")),
        }
    })
}

/// Makes the error of a trace that is not to be had.
fn cannot_trace(error: sys::SysError) -> Error {
    let kind = if error.errno == Errno::EACCES { Kind::Permission } else { Kind::Failed };
    let failed = Error::new(kind, "cannot trace the command").os(error.errno, error.call);
    match error.errno {
        Errno::EACCES => failed
            .cause(
                "it takes CAP_SYS_ADMIN in the own user namespace; without, the kernel wants no_new_privs, by which the \
                 command's setuid programs would lose their privilege",
            )
            .hint("`shmadm leakcheck --isolate always --trace -- COMMAND` makes a user namespace of your own"),
        Errno::EBUSY => failed
            .cause("somebody listens to this process's system calls already, as some containers and another trace do")
            .hint("without --trace, what is left behind is told all the same, and some creators are not named"),
        _ => failed.cause("this kernel, or a sandbox, has no notifications of system calls (Linux 5.5)"),
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.standby.release();
        if self.nobody_is_left() {
            // It ends at once, and not after us.
            let _ = rustix::process::waitpid(rustix::process::Pid::from_raw(self.standby.pid), WaitOptions::empty());
        }
    }
}

impl Tracer {
    /// Tells whether the last process has ended that could tell anything.
    fn nobody_is_left(&self) -> bool {
        let mut descriptors = [PollFd::new(self.listener.as_fd(), PollFlags::empty())];
        matches!(poll(&mut descriptors, PollTimeout::ZERO), Ok(1..))
    }

    /// Starts another standby, since this one has ended; unless it did because nobody is left.
    fn replace_standby(&mut self) -> Result<(), Error> {
        if !self.nobody_is_left() {
            self.standby = Standby::start(self.listener.as_fd())?;
        }
        Ok(())
    }

    /// Gives what is to be waited for; nothing once nobody is left who could tell anything.
    fn to_poll(&self) -> Option<PollFd<'_>> {
        self.open.then(|| PollFd::new(self.listener.as_fd(), PollFlags::POLLIN))
    }

    /// Lets a call proceed, and records which segment it creates.
    fn answer(&mut self, system: &System, events: PollFlags) {
        if !events.contains(PollFlags::POLLIN) {
            self.open = !events.intersects(PollFlags::POLLHUP | PollFlags::POLLERR);
            return;
        }
        let Ok(Some(call)) = sys::receive(&self.listener) else { return };
        self.standby.tell(call.id);
        if call.may_create {
            self.observe(system, &call);
        } else {
            sys::let_go_on(&self.listener, call.id);
        }
    }

    /// Lets a call proceed that may create a segment, and binds the segment to its caller.
    fn observe(&mut self, system: &System, call: &Call) {
        let proc = system.proc();
        let seized = Seized::new(call.thread);
        // Another pid namespace's /proc has other processes under these numbers. Most have one thread, whose number is theirs.
        let own = system.owns_proc();
        let pid = if own { procfs::process_of(proc, call.thread) } else { Some(call.thread) };
        let command = pid.filter(|_| own).and_then(|pid| procfs::command(proc, pid));
        let command = command.map(|command| lossless(&command));
        // If the call still waits, its caller is what was seized and read: the pid cannot have been reused.
        let pid = pid.filter(|_| sys::still_waits(&self.listener, call.id));
        let found = (call.key != Key::PRIVATE).then(|| sys::find_key(call.key, 0).ok()).flatten();
        let proceed = || sys::let_go_on(&self.listener, call.id);
        let bound = match (pid, seized) {
            // Before Linux 5.19 the caller's wait could be interrupted instead of its call.
            (Some(pid), Ok(thread)) if self.listener.waits_killable => {
                let result = thread.finish_call(proceed);
                // Ids of another IPC namespace are other segments.
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
