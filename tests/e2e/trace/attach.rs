//! `trace -p`: a process that is already running.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::actor::{Actor, ChildRequest, Request};
use crate::fixtures::process_status;
use crate::leakcheck::is_alive;
use crate::oracle;
use crate::support::{NOBODY, Running, finish, run, shmadm, shmadm_as, wait_for};
use crate::trace::{lines_in, raw};

/// A trace of a process.
struct Attached {
    running: Running,
    directory: tempfile::TempDir,
}

impl Attached {
    /// Attaches to a process, and waits until that is done.
    fn to(pid: i32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut command = shmadm();
        command.args(["trace", "-p", &pid.to_string(), "-o"]).arg(directory.path().join("calls"));
        let mut running = Running(command.stderr(Stdio::piped()).spawn().unwrap());
        let mut line = String::new();
        BufReader::new(running.0.stderr.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, format!("tracing process {pid}; Ctrl-C ends the trace\n"));
        Self { running, directory }
    }

    /// Returns the calls so far, each with its prefix.
    fn lines(&self) -> Vec<String> {
        lines_in(&self.directory)
    }

    /// Ends the trace by a signal.
    fn end(mut self, signal: Signal) -> Vec<String> {
        kill(self.running.pid(), signal).unwrap();
        assert_eq!(self.running.0.wait().unwrap().code(), Some(0));
        self.lines()
    }
}

#[apply(test)]
fn calls_of_all_threads_and_new_children_are_shown_until_a_signal() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut actor = Actor::start();
        let pid = actor.pid();
        actor.ask(Request::StartThread);
        let attached = Attached::to(pid);
        let id = actor.create(0, 4096);
        actor.ask(Request::StartThread);
        assert_eq!(actor.number(ChildRequest::CreateAs { pid: 0, key: 0, size: 4096 }), 0);
        let lines = attached.end(signal);
        assert_eq!(lines[0], format!("[{pid}] shmget(IPC_PRIVATE, 4096, IPC_CREAT|IPC_EXCL|0600) = {id}"));
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!(process_status(pid, "TracerPid"), "0");
        assert!(actor.create(0, 4096) > id, "it continues");
    }
}

#[apply(test)]
fn a_signal_ends_the_trace_although_sigcont_follows() {
    let mut actor = Actor::start();
    let attached = Attached::to(actor.pid());
    // As timeout(1) does; while it is stopped, both are pending at the same time.
    kill(attached.running.pid(), Signal::SIGSTOP).unwrap();
    kill(attached.running.pid(), Signal::SIGTERM).unwrap();
    attached.end(Signal::SIGCONT);
    actor.create(1, 4096);
}

#[apply(test)]
fn the_trace_ends_with_the_process() {
    let actor = Actor::start();
    let mut attached = Attached::to(actor.pid());
    actor.leave();
    assert_eq!(attached.running.0.wait().unwrap().code(), Some(0));
}

#[apply(test)]
fn a_process_continues_if_the_tracer_is_killed() {
    let mut actor = Actor::start();
    let attached = Attached::to(actor.pid());
    kill(attached.running.pid(), Signal::SIGKILL).unwrap();
    wait_for("the tracer to exit", || !is_alive(attached.running.pid().as_raw()));
    actor.create(1, 4096);
}

#[apply(test)]
fn a_stopped_process_stays_stopped() {
    let mut actor = Actor::start();
    let pid = actor.pid();
    kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
    wait_for("the process to stop", || process_status(pid, "State").starts_with('T'));
    let attached = Attached::to(pid);
    attached.end(Signal::SIGINT);
    // The detached thread runs in the kernel for a moment, until it has stopped again.
    wait_for("the process to stop again", || process_status(pid, "State").starts_with('T'));
    assert!((0..500).all(|_| process_status(pid, "State").starts_with('T')));
    kill(Pid::from_raw(pid), Signal::SIGCONT).unwrap();
    actor.create(1, 4096);
}

#[apply(test)]
fn a_process_whose_leader_has_exited_is_traced() {
    let mut actor = Actor::start();
    actor.exit_leader();
    let attached = Attached::to(actor.pid());
    actor.create(1, 4096);
    let lines = attached.end(Signal::SIGINT);
    assert!(lines[0].starts_with(&format!("[{}:", actor.pid())), "{lines:?}");
}

#[apply(test)]
fn a_process_that_does_not_exist_is_an_error() {
    let pid = Actor::start().leave().to_string();
    run(["trace", "-p", &pid]).exits(125).says(&format!("cannot trace process {pid}: No such process (ESRCH"));
    run(["trace", "-p", "0"]).exits(125).says("invalid --pid \"0\": a pid is 1 to");
    run(["trace", "-p", "1", "--", "true"]).exits(125);
    let mut child = Command::new("true").spawn().unwrap();
    let pid = child.id();
    wait_for("the child to exit", || process_status(pid.cast_signed(), "State").starts_with('Z'));
    run(["trace", "-p", &pid.to_string()])
        .exits(125)
        .says("cause: it has exited, but its parent has not waited for it");
    child.wait().unwrap();
}

#[apply(test)]
fn a_process_that_is_traced_already_names_its_tracer() {
    let actor = Actor::start();
    let attached = Attached::to(actor.pid());
    let pid = actor.pid().to_string();
    let ran = run(["trace", "-p", &pid, "--json"]).exits(125);
    let tracer = attached.running.pid();
    ran.says(&format!("cause: pid {tracer} ("))
        .says(&format!("hint: a process has at most one tracer: end pid {tracer}"));
}

#[apply(test)]
#[requires(Root)]
fn a_process_of_another_user_is_an_error() {
    let actor = Actor::start();
    let pid = actor.pid().to_string();
    let ran = finish(shmadm_as(NOBODY).args(["trace", "-p", &pid])).exits(125);
    ran.says("(EPERM, ptrace PTRACE_SEIZE)\n")
        .says("cause: it belongs to user root, which requires CAP_SYS_PTRACE\n")
        .says(&format!("hint: trace it as root: `sudo shmadm trace -p {pid}`\n"));
    for mut command in [shmadm(), shmadm_as(NOBODY)] {
        let ran = finish(command.args(["trace", "-p", "2"])).exits(125);
        assert!(ran.stderr.ends_with("cause: it is a kernel thread\n"), "{ran:?}");
    }
}

#[apply(test)]
#[requires(Root)]
fn a_process_that_proc_hides_is_an_error() {
    let actor = Actor::start();
    let pid = actor.pid();
    let program = env!("CARGO_BIN_EXE_shmadm");
    let script = format!(
        "mount -t proc -o hidepid=2 proc /proc && \
         exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups {program} trace -p {pid}"
    );
    let ran = finish(Command::new("unshare").args(["--mount", "sh", "-c", &script])).exits(125);
    ran.says("cause: /proc hides it (mount option hidepid): it belongs to another user or is not dumpable\n")
        .says(&format!("hint: trace it as root: `sudo shmadm trace -p {pid}`\n"));
}

#[apply(test)]
fn another_namespace_cannot_be_given() {
    let actor = Actor::start();
    let pid = actor.pid().to_string();
    run(["--ns", &pid, "trace", "-p", &pid]).exits(125).says("--ns and --pid cannot be combined");
}

#[apply(test)]
#[requires(Root)]
fn the_namespace_is_that_of_the_process() {
    oracle::create(0x4d2, 4096, 0o600);
    let mut actor = Actor::start();
    actor.unshare();
    let attached = Attached::to(actor.pid());
    assert_eq!(actor.ask(raw(libc::SYS_shmget, [0x4d2, 0, 0])), "ENOENT");
    actor.create(0x4d2, 4096);
    assert_eq!(actor.ask(raw(libc::SYS_shmget, [0x4d2, 8192, 0])), "EINVAL");
    let lines = attached.end(Signal::SIGINT);
    let causes: Vec<_> = lines.iter().filter_map(|line| line.trim_start().strip_prefix("cause: ")).collect();
    let here = "no segment in this IPC namespace has this key; shmadm's own IPC namespace has a segment with this key";
    assert_eq!(causes[0], here);
    let there = format!("segment 0 has this key and is only 4 KiB; it was created by pid {} (", actor.pid());
    assert!(causes[1].starts_with(&there), "{causes:?}");
}
