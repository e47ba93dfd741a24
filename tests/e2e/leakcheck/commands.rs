//! Commands that `leakcheck` runs, and its reports.

use std::io::Write;
use std::process::Command;

use serde_json::Value;

use crate::actor::Request;
use crate::support::{Ran, file, finish, shmadm, wait_for};

/// The shell command that starts the test program as an actor.
pub(crate) fn actor() -> String {
    format!("{} --actor", std::env::current_exe().unwrap().display())
}

/// Returns a shell command that creates segments from one process, which then exits.
pub(crate) fn making(keys: &[u32]) -> String {
    let requests: Vec<Request> = keys.iter().copied().map(create).collect();
    piped(&requests, &format!("{} >/dev/null", actor()))
}

/// Returns a request to create a page with a key.
pub(crate) fn create(key: u32) -> Request {
    Request::Create { key, size: 4096, flags: 0 }
}

/// Returns a shell command that sends requests to an actor that another command starts.
pub(crate) fn piped(requests: &[Request], actor: &str) -> String {
    let lines: String = requests.iter().map(|request| format!("{request}\\n")).collect();
    format!("printf '{lines}' | {actor}")
}

/// Returns a `leakcheck` command that runs a shell script.
pub(crate) fn leakcheck(options: &[&str], script: &str) -> Command {
    let mut command = shmadm();
    command.arg("leakcheck").args(options).args(["--", "sh", "-c", script]).env("PATH", "/usr/bin:/bin");
    command
}

/// Runs `leakcheck` with a report; returns the run and the report.
pub(crate) fn reported(options: &[&str], script: &str) -> (Ran, Value) {
    reported_with(options, script, |command| command)
}

/// Runs `leakcheck` with a report like [`reported`], after a change to its command.
pub(crate) fn reported_with(
    options: &[&str],
    script: &str,
    change: impl FnOnce(&mut Command) -> &mut Command,
) -> (Ran, Value) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("report.json");
    let options = [options, &["--report", path.to_str().unwrap()]].concat();
    let ran = finish(change(&mut leakcheck(&options, script)));
    let report = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{error}: {ran:#?}"));
    (ran, serde_json::from_str(&report).unwrap())
}

/// An actor that outlives the command that started it, and accepts requests until this is dropped.
pub(crate) struct Daemon {
    /// The directory of its files.
    directory: tempfile::TempDir,
    /// The write end of its input pipe; closing it ends the actor.
    lines: Option<std::fs::File>,
}

impl Daemon {
    /// Prepares an actor that starts with the given requests.
    pub(crate) fn new(requests: &[Request]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("lines");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let end = std::fs::File::options().read(true).write(true).open(pipe).unwrap();
        file(directory.path(), "answers", b"");
        let mut this = Self { directory, lines: Some(end) };
        requests.iter().for_each(|request| this.send(request));
        this
    }

    /// Returns a shell command that starts it in the background; `$!` is then its pid.
    pub(crate) fn start(&self) -> String {
        let path = |name: &str| self.directory.path().join(name).display().to_string();
        format!("{} <{} >{} 2>&1 &", actor(), path("lines"), path("answers"))
    }

    /// Returns a shell command that starts it, waits for an answer and prints its pid.
    pub(crate) fn start_until(&self, answer: &str) -> String {
        let answers = self.directory.path().join("answers");
        format!("{} until grep -q '^{answer}$' {}; do :; done; echo $!", self.start(), answers.display())
    }

    /// Sends a request.
    pub(crate) fn send(&mut self, request: &Request) {
        writeln!(self.lines.as_mut().unwrap(), "{request}").unwrap();
    }

    /// Returns its answers so far.
    pub(crate) fn answers(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("answers")).unwrap()
    }

    /// Ends it and waits until it has exited.
    pub(crate) fn end(mut self, pid: i32) {
        self.lines = None;
        wait_for("the daemon to exit", || !is_alive(pid));
    }
}

/// Returns whether a process is running; a zombie is not.
pub(crate) fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.trim().is_empty() && !rest.starts_with(" Z"))
}

/// Returns the keys of a list of segments, as numbers.
pub(crate) fn keys(list: &Value) -> Vec<u32> {
    let key = |segment: &Value| u32::from_str_radix(&segment["key"].as_str().unwrap()[2..], 16).unwrap();
    list.as_array().unwrap().iter().map(key).collect()
}
