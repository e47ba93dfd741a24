//! The loop that waits for traced threads, and lets each continue.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::libc;

use super::files::Files;
use super::thread::Inbox;
use super::{Observed, Observer, TracedCall, decode};
use crate::error::{Error, Kind, strerror};
use crate::model::{Arguments, Call, CallName, CallResult};
use crate::procfs;
use crate::sys::{self, CallState, Resume, SignalOrigin, Stop, SysError, TraceEvent};

/// Signals that do not end a process by default.
const IGNORED: [i32; 4] = [libc::SIGCHLD, libc::SIGCONT, libc::SIGURG, libc::SIGWINCH];

/// How traced threads continue while they are in no call that is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// The launcher has not begun.
    Launching,
    /// The launcher has not executed the command yet. The number of calls that its filter has reported.
    Starting { reported: usize },
    /// The filter reports the calls.
    Filter,
    /// Without a filter, or if another one can decide first: each call is a stop.
    EachCall,
}

pub(super) struct Tracer<'a, 'b> {
    /// `None` if /proc shows other processes.
    proc: Option<PathBuf>,
    /// `None` if calls on files are not shown.
    files: Option<Files>,
    inbox: &'a Inbox,
    pub(super) observe: &'a mut Observer<'b>,
    threads: HashMap<i32, Thread>,
    pub(super) mode: Mode,
    /// Whether it traces a process that existed before, and no command.
    pub(super) is_attached: bool,
    /// The pid of the command, while it is running.
    pub(super) command: Option<i32>,
    /// The exit code of the command.
    pub(super) code: u8,
    /// Whether a signal has asked this process to end.
    ends: bool,
    /// Why calls cannot be decoded.
    failure: Option<Error>,
}

/// A traced thread.
#[derive(Debug, Default)]
struct Thread {
    /// Its process, once it is known.
    process: Option<i32>,
    /// The call that it is in.
    call: Option<Begun>,
    /// Whether its process was shown as [`Observed::OtherArchitecture`]. Only of a leader.
    is_of_other_architecture: bool,
}

/// A call that has begun.
#[derive(Debug)]
struct Begun {
    name: CallName,
    raw: [u64; 6],
    arguments: Arguments,
}

impl<'a, 'b> Tracer<'a, 'b> {
    pub(super) fn new(
        proc: Option<PathBuf>,
        files: Option<Files>,
        inbox: &'a Inbox,
        observe: &'a mut Observer<'b>,
    ) -> Self {
        Self {
            proc,
            files,
            inbox,
            observe,
            threads: HashMap::new(),
            mode: Mode::EachCall,
            is_attached: false,
            command: None,
            code: 0,
            ends: false,
            failure: None,
        }
    }

    /// Runs until an event, until nothing is traced any more, or until a signal has asked this process to end. Returns
    /// whether it was the event.
    pub(super) fn run_until(&mut self, mut is_last: impl FnMut(i32, TraceEvent) -> bool) -> Result<bool, Error> {
        while !self.ends {
            let event = match sys::next_event() {
                Ok(event) => event,
                Err(Errno::ECHILD) => return Ok(false),
                Err(errno) => return Err(cannot_trace(errno, "waitpid")),
            };
            if let Some((thread, event)) = event {
                self.handle(thread, event);
                if let Some(failure) = self.failure.take() {
                    return Err(failure);
                } else if is_last(thread, event) {
                    return Ok(true);
                }
            }
            // What the command has left running may not be known yet: its first stop comes soon.
            if self.command.is_none() && !self.is_attached && self.threads.is_empty() {
                continue;
            }
            // After the event: if the command has just been reaped, its pid is free.
            for signal in self.inbox.take() {
                self.pass_on(signal);
            }
        }
        Ok(false)
    }

    /// Passes on a signal that was sent to this process.
    fn pass_on(&mut self, origin: SignalOrigin) {
        match (origin, self.command) {
            (SignalOrigin::Process(signal), Some(command)) => sys::forward_signal(command, signal),
            // The command has exited: the signal is for what it has left running.
            (SignalOrigin::Process(signal) | SignalOrigin::Kernel(signal), None) if !self.is_attached => {
                let threads: Vec<i32> = self.threads.keys().copied().collect();
                let processes: HashSet<i32> = threads.into_iter().map(|thread| self.process_of(thread)).collect();
                processes.into_iter().for_each(|process| sys::forward_signal(process, signal));
            }
            (SignalOrigin::Process(signal) | SignalOrigin::Kernel(signal), None) => {
                // An earlier request to end is kept: SIGCONT often follows SIGTERM.
                self.ends |= !IGNORED.contains(&signal);
            }
            // The kernel has sent it to the command as well.
            (SignalOrigin::Kernel(_), Some(_)) | (SignalOrigin::Child, _) => {}
        }
    }

    fn handle(&mut self, thread: i32, event: TraceEvent) {
        match event {
            TraceEvent::Stopped(stop) => self.handle_stop(thread, stop),
            TraceEvent::Ended(code) => {
                self.abandon_call(thread);
                self.threads.remove(&thread);
                if self.command == Some(thread) {
                    (self.command, self.code) = (None, code);
                }
            }
        }
    }

    fn handle_stop(&mut self, thread: i32, stop: Stop) {
        let mut signal = 0;
        match (stop, self.mode) {
            (Stop::Reported, Mode::Starting { reported }) => {
                self.mode = Mode::Starting { reported: reported + 1 };
                // A probe is not shown. Its decoding fails if the kernel does not support it.
                self.handle_call(thread);
                self.threads.remove(&thread);
            }
            // It was seen already at the stop for the start of the call.
            (Stop::Reported, _) if self.is_in_call(thread) => {}
            (Stop::Call | Stop::Reported, _) => self.handle_call(thread),
            (Stop::Signal(number), _) => signal = number,
            (Stop::Exec, _) => self.handle_exec(thread),
            (Stop::Group, _) => {
                // A thread that is killed meanwhile fails with ESRCH here and below.
                let _ = sys::resume(thread, Resume::Listen, 0);
                return;
            }
            (Stop::Other, _) => drop(self.threads.entry(thread).or_default()),
        }
        let how = if self.is_in_call(thread) || self.mode == Mode::EachCall { Resume::ToCall } else { Resume::Run };
        let _ = sys::resume(thread, how, signal);
    }

    fn is_in_call(&self, thread: i32) -> bool {
        self.threads.get(&thread).is_some_and(|thread| thread.call.is_some())
    }

    fn handle_exec(&mut self, thread: i32) {
        if let Mode::Starting { reported } = self.mode {
            self.mode = if reported == sys::PROBES { Mode::Filter } else { Mode::EachCall };
        }
        // After execve(2), the thread continues under the leader's id. The old leader and the thread's former id no
        // longer exist.
        self.abandon_call(thread);
        if let Ok(former) = sys::former_thread(thread)
            && former != thread
        {
            self.threads.remove(&former);
        }
        self.threads.insert(thread, Thread { process: Some(thread), ..Thread::default() });
        (self.observe)(Observed::Executed(thread));
    }

    fn handle_call(&mut self, thread: i32) {
        match sys::call_state(thread) {
            Ok(CallState::Begins(name, raw)) => {
                self.abandon_call(thread);
                let arguments = match &self.files {
                    _ if name.is_on_segments() => Some(decode::arguments(thread, name, &raw)),
                    files => files.as_ref().and_then(|files| files.arguments(thread, name, &raw)),
                };
                let call = arguments.map(|arguments| Begun { name, raw, arguments });
                self.threads.entry(thread).or_default().call = call;
            }
            Ok(CallState::Ended(result)) => {
                let Some(call) = self.threads.get_mut(&thread).and_then(|thread| thread.call.take()) else { return };
                self.show(thread, call, Some(result));
            }
            Ok(CallState::Trapped) => self.abandon_call(thread),
            Ok(CallState::OtherArchitecture) => self.show_other_architecture(thread),
            // That filter can keep calls from being reported.
            Ok(CallState::InstallsFilter) => self.mode = Mode::EachCall,
            Err(errno @ (Errno::EIO | Errno::EINVAL)) => {
                let cause = "the kernel does not support PTRACE_GET_SYSCALL_INFO (Linux 5.3)";
                self.failure = Some(cannot_trace(errno, "ptrace PTRACE_GET_SYSCALL_INFO").cause(cause));
            }
            Ok(CallState::Other) | Err(_) => {}
        }
    }

    /// Shows a call that has no result, or whose end was not seen.
    fn abandon_call(&mut self, thread: i32) {
        if let Some(call) = self.threads.get_mut(&thread).and_then(|thread| thread.call.take()) {
            self.show(thread, call, None);
        }
    }

    fn show(&mut self, thread: i32, begun: Begun, result: Option<Result<u64, i32>>) {
        let Begun { name, raw, mut arguments } = begun;
        let (mut created, mut failed) = (None, None);
        let result = match result {
            None => CallResult::Unknown,
            Some(Ok(result)) => {
                decode::add_output(thread, name, &raw, &mut arguments);
                created = decode::created_segment(name, &raw, result);
                match name {
                    CallName::Shmat | CallName::Mmap => CallResult::Address(result),
                    _ => CallResult::Number(result),
                }
            }
            Some(Err(number)) => match restart_name(number) {
                Some(name) => CallResult::Interrupted(name),
                None => {
                    let errno = Errno::from_raw(number);
                    let failure = |(attempt, call)| (attempt, SysError { errno, call });
                    let of_file = || self.files.as_ref().and_then(|files| files.attempt(thread, name, &raw));
                    failed = decode::attempt(name, &raw).or_else(of_file).map(failure);
                    CallResult::Failed { errno: format!("{errno:?}"), text: strerror(errno) }
                }
            },
        };
        let process = self.process_of(thread);
        let call = Call { name, arguments, result };
        (self.observe)(Observed::Call(TracedCall { process, thread, call, created, failed }));
    }

    fn show_other_architecture(&mut self, thread: i32) {
        let process = self.process_of(thread);
        let leader = self.threads.entry(process).or_default();
        if !std::mem::replace(&mut leader.is_of_other_architecture, true) {
            (self.observe)(Observed::OtherArchitecture(process));
        }
    }

    /// Returns the process of a thread; the thread itself if that is unknown.
    fn process_of(&mut self, thread: i32) -> i32 {
        let proc = self.proc.as_deref();
        let entry = self.threads.entry(thread).or_default();
        let find = || proc.and_then(|proc| procfs::process_of(proc, thread)).unwrap_or(thread);
        *entry.process.get_or_insert_with(find)
    }
}

pub(super) fn cannot_trace(errno: Errno, call: &'static str) -> Error {
    Error::new(Kind::Failed, "cannot trace").os(errno, call)
}

/// Returns the name of a result that programs do not see: the call is repeated after a signal handler, or fails with
/// EINTR (linux/errno.h).
fn restart_name(number: i32) -> Option<&'static str> {
    match number {
        512 => Some("ERESTARTSYS"),
        513 => Some("ERESTARTNOINTR"),
        514 => Some("ERESTARTNOHAND"),
        516 => Some("ERESTART_RESTARTBLOCK"),
        _ => None,
    }
}
