//! `trace`: every call is shown as it was made, and the traced program notices nothing.

mod attach;
mod calls;
mod causes;
mod files;
mod output;
mod pass_through;
mod processes;
mod signals;

use std::process::Command;

use crate::actor::{Actor, CallRequest, Line};
use crate::fixtures::children;
use crate::leakcheck::actor;
use crate::support::{Ran, finish, shmadm, wait_for};

/// Returns a `trace` command that runs a shell script.
pub(crate) fn trace(options: &[&str], script: &str) -> Command {
    let mut command = shmadm();
    command.arg("trace").args(options).args(["--", "sh", "-c", script]).env("PATH", "/usr/bin:/bin");
    command
}

/// Returns a shell command that makes an actor execute requests.
pub(crate) fn performing(requests: &[&dyn Line]) -> String {
    let lines: String = requests.iter().map(|request| format!("{request}\\n")).collect();
    format!("printf '{lines}' | {} >/dev/null", actor())
}

/// Traces an actor that executes requests, and returns the lines without their pids.
#[track_caller]
pub(crate) fn traced(options: &[&str], requests: &[&dyn Line]) -> Vec<String> {
    calls(&finish(&mut trace(options, &performing(requests))).exits(0))
}

/// Returns the calls that were shown, without their pids.
#[track_caller]
pub(crate) fn calls(ran: &Ran) -> Vec<String> {
    let lines = ran.stderr.lines().filter(|line| line.starts_with('['));
    lines.map(|line| line.split_once("] ").unwrap().1.to_owned()).collect()
}

/// Returns the lines of the file `calls` in a directory.
pub(crate) fn lines_in(directory: &tempfile::TempDir) -> Vec<String> {
    let text = std::fs::read_to_string(directory.path().join("calls")).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Returns a call by its number, which the C library does not see.
pub(crate) fn raw(number: i64, arguments: [u64; 3]) -> CallRequest {
    let [first, second, third] = arguments;
    CallRequest::Raw { number, first, second, third }
}

/// A traced actor, whose calls are written to a file.
pub(crate) struct Traced {
    pub(crate) actor: Actor,
    directory: tempfile::TempDir,
}

impl Traced {
    pub(crate) fn start(options: &[&str]) -> Self {
        Self::prepared(options, |_| {})
    }

    /// Like [`Traced::start`], with a command that is prepared first.
    pub(crate) fn prepared(options: &[&str], prepare: impl FnOnce(&mut Command)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut command = shmadm();
        command.args(["trace", "-q", "-o"]).arg(directory.path().join("calls")).args(options);
        command.arg("--").arg(std::env::current_exe().unwrap());
        prepare(&mut command);
        Self { actor: Actor::spawn(&mut command), directory }
    }

    /// The pid of shmadm.
    pub(crate) fn tracer(&self) -> i32 {
        self.actor.pid()
    }

    /// The pid of the command.
    pub(crate) fn command(&self) -> i32 {
        let [command] = children(self.tracer())[..] else { panic!("it has other children") };
        command
    }

    /// Returns the calls so far, each with its prefix.
    pub(crate) fn lines(&self) -> Vec<String> {
        lines_in(&self.directory)
    }

    /// Ends the command, and returns all calls.
    pub(crate) fn end(mut self) -> Vec<String> {
        self.actor.end_input();
        let tracer = self.tracer();
        wait_for("the trace to end", || !crate::leakcheck::is_alive(tracer));
        self.lines()
    }
}
