//! A command of the user's under supervision: its signals, its end, its descendants, and its calls of shmget.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_child_subreaper;
use rustix::process::{WaitOptions, WaitStatus, wait};

use super::launcher::launch;
use super::standby::Standby;
use crate::error::{Error, Kind};
use crate::model::lossless;
use crate::procfs;
use crate::query::{Calls, Descendants, Evidence, System, words};
use crate::sys::{self, Arrival, Inbox, Inherited};

/// How often it is looked who descends from the command.
const INTERVAL: Duration = Duration::from_millis(5);
/// How many times longer than a look takes none follows it, so that many processes do not make looking all that is done.
const REST: u32 = 20;

/// A command that has ended. Kept until it was looked what is left: calls of those whom it left behind wait for that.
#[derive(Debug)]
pub(crate) struct Supervised {
    /// Its exit code, 128 and the signal if one ended it.
    pub(crate) code: u8,
    /// Who descended from it.
    descendants: Descendants,
    /// What was traced.
    calls: Option<Calls>,
    /// Lets calls go on when this ends.
    tracer: Option<Tracer>,
}

/// Calls of those whom a traced command left behind wait while this lives.
#[derive(Debug)]
pub(crate) struct Waiting(#[expect(dead_code, reason = "what counts is when it ends")] Option<Tracer>);

impl Supervised {
    /// Gives the exit code, and by what the creators of segments are told; `alone` if nobody else could make any.
    ///
    /// To be looked at before the last part ends: whom the command left behind makes no segment until then.
    pub(crate) fn into_evidence(self, alone: bool) -> (u8, Evidence, Waiting) {
        let Self { code, descendants, calls, tracer } = self;
        (code, Evidence { alone, descendants, calls }, Waiting(tracer))
    }
}

/// Runs a command with all that is ours: standard streams, and the signals as they were inherited.
///
/// # Errors
/// It cannot be started; or traced (Permission).
pub(crate) fn supervise(system: &System, command: &[OsString], trace: bool) -> Result<Supervised, Error> {
    let failed = |errno| Error::new(Kind::Failed, "cannot supervise the command").system(words(errno, "signalfd"));
    let inherited = Inherited::read();
    let inbox = Inbox::open().map_err(failed)?;
    // Whoever loses his parent becomes our child. No kernel that this program runs on lacks it.
    let _ = set_child_subreaper(true);
    let mut descendants = Descendants::before_command(system);
    let (child, mut tracer) = if trace {
        let (child, tracer) = start_traced(inherited, command)?;
        (child, Some(tracer))
    } else {
        (launch(inherited, command)?, None)
    };
    let words: Vec<String> = command.iter().map(|word| lossless(word.as_encoded_bytes())).collect();
    descendants.command(child, &words.join(" "));
    // Who is traced need not be looked for.
    let mut next = tracer.is_none().then(Instant::now);
    let mut code = None;
    while code.is_none() {
        if next.is_some_and(|next| Instant::now() >= next) {
            let start = Instant::now();
            descendants.look(system);
            next = Some(Instant::now() + INTERVAL.max(start.elapsed() * REST));
        }
        let mut descriptors = vec![PollFd::new(inbox.as_fd(), PollFlags::POLLIN)];
        descriptors.extend(tracer.as_ref().and_then(Tracer::to_poll));
        // Rounded up, so that the last millisecond is not spent in a spin.
        let left = next.map(|next| next.saturating_duration_since(Instant::now()) + Duration::from_millis(1));
        let timeout = left.map_or(PollTimeout::NONE, |left| PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX));
        match poll(&mut descriptors, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
        let events = descriptors.get(1).and_then(PollFd::revents);
        if let (Some(tracer), Some(events)) = (&mut tracer, events) {
            tracer.answer(system, events);
        }
        while let Some(arrival) = inbox.next().map_err(failed)? {
            match arrival {
                Arrival::Child => code = code.or(reap(child, &mut descendants, &mut tracer)?),
                Arrival::Sent(signal) if code.is_none() => sys::pass_on(child, signal),
                // There is nobody any more to have it.
                Arrival::Sent(_) => {}
                // It has had it from the kernel as well, or it is not its affair.
                Arrival::Kernel => {}
            }
        }
    }
    if tracer.is_none() {
        descendants.look(system);
    }
    let calls = tracer.as_mut().map(|tracer| std::mem::take(&mut tracer.calls));
    Ok(Supervised { code: code.unwrap_or_default(), descendants, calls, tracer })
}

/// Waits for all that have ended; gives the command's exit code if it is among them.
fn reap(child: i32, descendants: &mut Descendants, tracer: &mut Option<Tracer>) -> Result<Option<u8>, Error> {
    let mut code = None;
    // An error means that there is no child at all.
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        let pid = pid.as_raw_nonzero().get();
        match tracer {
            Some(tracer) if tracer.standby.pid == pid => tracer.replace_standby()?,
            _ if pid == child => code = Some(code_of(status)),
            _ => descendants.note_end(pid),
        }
    }
    Ok(code)
}

/// Gives the exit code of a process that has ended, as shells have it.
fn code_of(status: WaitStatus) -> u8 {
    let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

/// Listens to the calls of shmget that a command and its descendants make.
#[derive(Debug)]
struct Tracer {
    /// On which they are told.
    listener: OwnedFd,
    /// Who takes over.
    standby: Standby,
    /// What was told.
    calls: Calls,
    /// Whether somebody is left who could tell.
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
        go.recv().map(|()| launch(inherited, command)).unwrap_or_else(|_| Err(Error::new(Kind::Failed, "not started")))
    };
    std::thread::scope(|scope| {
        let starter = std::thread::Builder::new()
            .spawn_scoped(scope, start)
            .map_err(|error| Error::io("cannot trace the command", &error, "clone"))?;
        let tracer = listeners.recv().ok().map(|listener| {
            let standby = Standby::start(&listener)?;
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
    let failed = Error::new(kind, "cannot trace the command").system(words(error.errno, error.call));
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
            self.standby = Standby::start(&self.listener)?;
        }
        Ok(())
    }

    /// Gives what is to be waited for; nothing once nobody is left who could tell anything.
    fn to_poll(&self) -> Option<PollFd<'_>> {
        self.open.then(|| PollFd::new(self.listener.as_fd(), PollFlags::POLLIN))
    }

    /// Takes note of a call, and lets it go on.
    fn answer(&mut self, system: &System, events: PollFlags) {
        if !events.contains(PollFlags::POLLIN) {
            self.open = !events.intersects(PollFlags::POLLHUP | PollFlags::POLLERR);
            return;
        }
        let Ok(Some(call)) = sys::receive(&self.listener) else { return };
        self.standby.tell(call.id);
        let proc = system.proc();
        // A /proc of other pids tells of other processes: most have one thread, whose number is theirs.
        let own = system.owns_proc();
        let pid = if own { procfs::process_of(proc, call.thread) } else { Some(call.thread) };
        let command = pid.filter(|_| own).and_then(|pid| procfs::command(proc, pid));
        let command = command.map(|command| lossless(&command));
        // What was read is of the caller if that still waits: no pid can have become another's meanwhile.
        if let Some(pid) = pid.filter(|_| sys::still_waits(&self.listener, call.id)) {
            self.calls.note(pid, call.key, call.size, command.as_deref());
        }
        sys::let_go_on(&self.listener, call.id);
    }
}
