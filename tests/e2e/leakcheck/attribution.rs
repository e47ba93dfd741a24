//! `leakcheck` attributes a segment by proof and not by pid: pids are reused.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;

use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::actor::{Actor, ChildRequest, Request};
use crate::dying::Killed;
use crate::fixtures::{all_keys, assert_fields, children, process_status, set_next_id};
use crate::holder::Holder;
use crate::leakcheck::{Daemon, create, keys, leakcheck};
use crate::support::{Running, shmadm, wait_for, wait_until_after};

#[apply(test)]
#[requires(Root)]
fn traced_a_segment_of_a_reused_pid_is_kept() {
    let mut checked = Checked::start(&["--trace", "--rm"]);
    // A child of the command creates a private segment, which the command removes.
    assert_eq!(checked.command.number(ChildRequest::CreateAndDie { key: 0, size: 4096 }), -9);
    let creator = creator_of(0);
    let id = id_of(0);
    checked.command.remove(id);
    // Another process with the same pid and user requests the same segment.
    assert_eq!(Actor::start().ask(ChildRequest::CreateAs { pid: creator, key: 0, size: 4096 }), "0");
    let report = checked.end();
    assert_fields(&report, json!({ "leaked": [], "unattributed": [] }));
    assert_eq!(all_keys(), [0]);
}

#[apply(test)]
#[requires(Root)]
fn a_segment_is_kept_whose_pid_a_descendant_reuses() {
    let mut checked = Checked::start(&["--rm"]);
    let mut stranger = Actor::start();
    stranger.create(5, 4096);
    let pid = stranger.leave();
    assert_eq!(checked.command.number(ChildRequest::StartAs { pid }), pid);
    checked.wait_until_observed(pid);
    let report = checked.end();
    assert_eq!((&report["leaked"], keys(&report["unattributed"])), (&json!([]), vec![5]));
    assert_eq!(report["unattributed"][0]["outcome"], Value::Null);
    assert_eq!(all_keys(), [5]);
}

#[apply(test)]
fn junit_shows_that_a_segment_is_unattributed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("leaks.xml");
    let checked = Checked::start(&["--junit", path.to_str().unwrap()]);
    let mut stranger = Actor::start();
    stranger.create(5, 4096);
    stranger.leave();
    checked.end();
    let text = std::fs::read_to_string(path).unwrap();
    let failure =
        "<failure message=\"1 unattributed System V shared memory segment\" type=\"leak\">unattributed: segment ";
    assert!(text.contains(failure), "{text}");
}

#[apply(test)]
#[requires(Root)]
fn a_segment_is_kept_whose_creator_reuses_a_descendants_pid() {
    let mut checked = Checked::start(&["--rm"]);
    let child = checked.command.number(ChildRequest::Fork);
    checked.wait_until_observed(child);
    // All of it happens between two scans.
    let leakcheck = Holder::new(checked.command.pid());
    leakcheck.signal(libc::SIGSTOP);
    let status = || std::fs::read_to_string(leakcheck.proc("status")).unwrap();
    wait_for("leakcheck to stop", || status().contains("State:\tT"));
    kill(Pid::from_raw(child), Signal::SIGKILL).unwrap();
    assert_eq!(checked.command.number(ChildRequest::Reap { pid: child }), -9);
    assert_eq!(Actor::start().ask(ChildRequest::CreateAs { pid: child, key: 5, size: 4096 }), "0");
    leakcheck.signal(libc::SIGCONT);
    let report = checked.end();
    assert_eq!((&report["leaked"], keys(&report["unattributed"])), (&json!([]), vec![5]));
    assert_eq!(all_keys(), [5]);
}

#[apply(test)]
fn a_segment_that_an_exiting_process_destroys_is_not_leaked() {
    let mut checked = Checked::start(&[]);
    let id = checked.command.create(5, 4096);
    checked.command.attach(id);
    let child = checked.command.number(ChildRequest::Fork);
    checked.command.remove(id);
    let dying = Killed::hold_child(child);
    let report = checked.end_and(|| drop(dying));
    assert_fields(&report, json!({ "leaked": [], "unattributed": [] }));
}

#[apply(test)]
#[requires(Root)]
fn traced_a_process_that_exits_at_once_is_the_creator() {
    let mut checked = Checked::start(&["--trace", "--rm"]);
    for key in 1..=50 {
        assert_eq!(checked.command.number(ChildRequest::CreateAndDie { key, size: 4096 }), -9);
    }
    let report = checked.end();
    assert_eq!((keys(&report["leaked"]), &report["unattributed"]), ((1..=50).collect(), &json!([])));
    assert_eq!(all_keys(), [] as [u32; 0]);
}

#[apply(test)]
#[requires(Root)]
fn traced_a_segment_that_was_only_opened_is_not_a_leak() {
    crate::oracle::create(1, 4096, 0o600);
    let mut checked = Checked::start(&["--trace", "--rm"]);
    let mut stranger = Actor::start();
    stranger.create(2, 4096);
    for key in [1, 2] {
        assert_ne!(checked.command.number(Request::OpenOrCreate { key, size: 4096 }), -1);
    }
    // By its pid, this child of the command could be the creator.
    let pid = stranger.leave();
    assert_eq!(checked.command.number(ChildRequest::OpenAs { pid, key: 2 }), 0);
    let report = checked.end();
    assert_fields(&report, json!({ "leaked": [], "unattributed": [] }));
    assert_eq!(all_keys(), [1, 2]);
}

#[apply(test)]
#[requires(Root)]
fn a_traced_thread_that_calls_execve_during_a_call_does_not_stop_the_supervisor() {
    let mut checked = Checked::start(&["--trace"]);
    for rounds in 0..100 {
        assert_eq!(checked.command.number(ChildRequest::CreateUntilExec { rounds }), 0);
    }
    // One that was held when its process executed the program may have left its segment.
    checked.end();
}

#[apply(test)]
#[requires(Root)]
fn traced_a_segment_is_kept_if_id_and_pid_recur() {
    let mut checked = Checked::start(&["--trace", "--rm"]);
    assert_eq!(checked.command.number(ChildRequest::CreateAndDie { key: 0, size: 4096 }), -9);
    let (creator, id, ctime) = (creator_of(0), id_of(0), ctime_of(0));
    checked.command.remove(id);
    wait_until_after(ctime);
    set_next_id(id);
    assert_eq!(Actor::start().ask(ChildRequest::CreateAs { pid: creator, key: 0, size: 4096 }), "0");
    assert_eq!((creator_of(0), id_of(0)), (creator, id));
    assert_eq!(checked.end()["leaked"], json!([]));
    assert_eq!(all_keys(), [0]);
}

#[apply(test)]
#[requires(Root)]
fn traced_a_process_under_a_debugger_is_unattributed() {
    let mut checked = Checked::start(&["--trace", "--rm"]);
    assert_eq!(checked.command.number(ChildRequest::CreateTraced { key: 3, size: 4096 }), 0);
    let report = checked.end();
    assert_eq!((&report["leaked"], keys(&report["unattributed"])), (&json!([]), vec![3]));
    assert_eq!(all_keys(), [3]);
}

#[apply(test)]
#[requires(Root)]
fn traced_a_process_whose_first_thread_has_exited_is_the_creator() {
    let mut checked = Checked::start(&["--trace", "--rm"]);
    let child = checked.command.number(ChildRequest::CreateWithoutLeader { key: 4, size: 4096 });
    wait_for("the segment of the other thread", || all_keys() == [4]);
    let report = checked.end();
    assert_eq!((keys(&report["leaked"]), &report["leaked"][0]["cpid"]), (vec![4], &json!(child)));
}

#[apply(test)]
fn an_observed_descendant_is_the_creator() {
    // The command's child, which is not the command itself.
    let mut daemon = Daemon::new(&[]);
    let directory = tempfile::tempdir().unwrap();
    let report = directory.path().join("report.json");
    let options = ["--isolate", "never", "--report", report.to_str().unwrap()];
    let mut command = leakcheck(&options, &format!("{} echo $!; read line", daemon.start()));
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut running = Running(child);
    let mut answer = String::new();
    BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut answer).unwrap();
    let creator: i32 = answer.trim().parse().unwrap();
    wait_until_observed(running.0.id().cast_signed(), creator);
    daemon.send(&create(6));
    wait_for("the child's segment", || all_keys() == [6]);
    writeln!(running.0.stdin.take().unwrap()).unwrap();
    assert_eq!(running.0.wait().unwrap().code(), Some(65));
    let report: Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    assert_eq!((keys(&report["leaked"]), &report["leaked"][0]["cpid"]), (vec![6], &json!(creator)));
    assert!(report["leaked"][0]["creator_command"].as_str().unwrap().ends_with(" --actor"), "{report}");
    assert_eq!(report["unattributed"], json!([]));
    daemon.end(creator);
}

/// A leakcheck in this IPC namespace whose command is an actor.
pub(crate) struct Checked {
    pub(crate) command: Actor,
    /// The path of the report.
    directory: tempfile::TempDir,
}

impl Checked {
    pub(crate) fn start(options: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let report = directory.path().join("report.json");
        let mut command = shmadm();
        command.args(["leakcheck", "-q", "--isolate", "never"]).args(options);
        command.arg("--report").arg(report).arg("--").arg(std::env::current_exe().unwrap()).stderr(Stdio::null());
        Self { command: Actor::spawn(&mut command), directory }
    }

    /// Waits until leakcheck observes a process.
    fn wait_until_observed(&self, pid: i32) {
        wait_until_observed(self.command.pid(), pid);
    }

    /// Ends the command, and calls `release` once it has been reaped; returns the report.
    fn end_and(mut self, release: impl FnOnce()) -> Value {
        let command = children(self.command.pid())[0];
        self.command.end_input();
        wait_for("the command to be reaped", || !Path::new(&format!("/proc/{command}")).exists());
        release();
        self.end()
    }

    /// Ends the command and returns the report.
    pub(crate) fn end(self) -> Value {
        self.command.leave();
        serde_json::from_slice(&std::fs::read(self.directory.path().join("report.json")).unwrap()).unwrap()
    }
}

/// Waits until leakcheck holds a pidfd of a process and has completed the scan that opened it.
pub(crate) fn wait_until_observed(leakcheck: i32, pid: i32) {
    let line = format!("Pid:\t{pid}\n");
    let infos = format!("/proc/{leakcheck}/fdinfo");
    let is_it = |info: std::io::Result<std::fs::DirEntry>| {
        // A descriptor may have been closed since it was listed.
        info.is_ok_and(|info| std::fs::read_to_string(info.path()).is_ok_and(|info| info.contains(&line)))
    };
    wait_for("leakcheck to observe a process", || std::fs::read_dir(&infos).unwrap().any(is_it));
    // It sleeps after each scan.
    let sleeps = || process_status(leakcheck, "voluntary_ctxt_switches").parse::<u64>().unwrap();
    let before = sleeps();
    wait_for("two more scans", || sleeps() >= before + 2);
}

/// Returns the creator of the segment at an index of the kernel's table.
fn creator_of(position: usize) -> i32 {
    crate::oracle::rows()[position].get("cpid").parse().unwrap()
}

/// Returns the id of the segment at an index of the kernel's table.
fn id_of(position: usize) -> i32 {
    crate::oracle::rows()[position].get("shmid").parse().unwrap()
}

/// Returns the change time of the segment at a position of the kernel's list, in seconds.
fn ctime_of(position: usize) -> u64 {
    crate::oracle::rows()[position].get("ctime").parse().unwrap()
}
