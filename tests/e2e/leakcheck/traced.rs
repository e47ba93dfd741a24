//! `leakcheck --trace`: every creator is known, and no traced process is left stopped.

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::actor::{Actor, Request};
use crate::fixtures::{all_keys, assert_fields, children};
use crate::leakcheck::shared::Meanwhile;
use crate::leakcheck::{Daemon, create, is_alive, keys, leakcheck, making, reported};
use crate::sandbox::without;
use crate::support::{NOBODY, file, finish, shmadm, shmadm_as, wait_for};
use crate::vanish::{Call, Stopped};

#[apply(test)]
#[requires(Root)]
fn every_creator_is_named_and_no_other_process() {
    let script: Vec<String> = (1..=20).map(|key| making(&[key])).collect();
    let directory = tempfile::tempdir().unwrap();
    let meanwhile = Meanwhile::start(&["--isolate", "never", "--trace", "--rm"], &script.join("; "));
    let mut other = Actor::start();
    other.create(99, 4096);
    other.leave();
    let (code, report) = meanwhile.end();
    assert_eq!((code, &report["unattributed"]), (1, &json!([])));
    assert_eq!(keys(&report["leaked"]), (1..=20).collect::<Vec<_>>());
    let mut pids: Vec<i64> = Vec::new();
    for leak in report["leaked"].as_array().unwrap() {
        assert!(leak["creator_command"].as_str().unwrap().ends_with(" --actor"), "{leak}");
        assert_eq!(leak["outcome"], "destroyed");
        pids.push(leak["cpid"].as_i64().unwrap());
    }
    pids.dedup();
    assert_eq!(pids.len(), 20);
    assert_eq!(all_keys(), [99], "segments of another job are not the command's");
    drop(directory);
}

#[apply(test)]
fn works_in_a_private_namespace_as_any_user() {
    let (ran, report) = reported(&["--isolate", "always", "--trace"], &making(&[1, 2]));
    ran.exits(65);
    assert_eq!(keys(&report["leaked"]), [1, 2]);
    assert!(report["leaked"][0]["creator_command"].as_str().unwrap().ends_with(" --actor"), "{report}");
}

#[apply(test)]
#[requires(Root)]
fn a_trace_without_permission_is_refused_and_nothing_runs() {
    let mut command = shmadm_as(NOBODY);
    command.args(["leakcheck", "--isolate", "never", "--trace", "--", "echo", "ran"]).env("PATH", "/usr/bin:/bin");
    let ran = finish(&mut command).exits(125).says("(EACCES, seccomp)").says("no_new_privs").prints_nothing();
    assert!(ran.stderr.contains("`shmadm leakcheck --trace --isolate always -- echo ran`"), "{ran:?}");
}

#[apply(test)]
#[requires(Root)]
fn processes_continue_if_the_supervisor_is_killed() {
    let mut traced = Traced::start();
    assert_eq!(traced.actor.create(1, 4096), 0);
    let standby = traced.standby();
    traced.kill_supervisor();
    // Now the command answers, not the supervisor.
    assert_eq!(traced.actor.create(2, 4096), 1);
    assert_eq!(all_keys(), [1, 2]);
    traced.actor.end_input();
    wait_for("the standby to exit", || !is_alive(standby));
}

#[apply(test)]
#[requires(Root)]
fn a_call_under_inspection_continues_if_the_supervisor_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let lines = file(directory.path(), "lines", b"create 1 4096 0\n");
    let answers = file(directory.path(), "answers", b"");
    let mut command = shmadm();
    command.args(["leakcheck", "-q", "--isolate", "never", "--trace", "--"]);
    command.arg(std::env::current_exe().unwrap()).arg("--actor");
    command.stdin(std::fs::File::open(lines).unwrap()).stdout(std::fs::File::create(&answers).unwrap());
    // The supervisor has received the call and is about to let it continue.
    let answers_it =
        |call: &Call| call.number == libc::SYS_ioctl && call.arguments[1] == libc::SECCOMP_IOCTL_NOTIF_SEND;
    let stopped = Stopped::command_before(1, answers_it, command);
    stopped.signal(Signal::SIGKILL);
    assert_eq!(stopped.go_on().signal, Some(9));
    wait_for("the answer", || std::fs::read_to_string(&answers).is_ok_and(|text| text == "0\n"));
    assert_eq!(all_keys(), [1]);
}

#[apply(test)]
#[requires(Root)]
fn the_standby_exits_before_its_supervisor() {
    let traced = Traced::start();
    let standby = traced.standby();
    traced.end();
    assert!(!is_alive(standby));
}

#[apply(test)]
#[requires(Root)]
fn processes_continue_if_the_standby_is_killed() {
    let mut traced = Traced::start();
    traced.actor.create(1, 4096);
    kill(Pid::from_raw(traced.standby()), Signal::SIGKILL).unwrap();
    wait_for("the standby to be reaped", || traced.standby() == 0);
    assert_eq!(traced.actor.create(2, 4096), 1);
    let report = traced.end();
    assert_eq!(keys(&report["leaked"]), [1, 2]);
}

#[apply(test)]
fn a_segment_that_lost_its_key_is_attributed() {
    let daemon = Daemon::new(&[create(7), Request::Attach { id: 0 }, Request::Remove { id: 0 }, Request::Hello]);
    let (ran, report) = reported(&["--isolate", "always", "--trace"], &daemon.start_until("ready"));
    let ran = ran.exits(65).says("; destroyed at the last detach");
    let pid: i32 = ran.stdout.trim().parse().unwrap();
    let leak = &report["leaked"][0];
    assert_fields(leak, json!({ "state": "dest", "key": "0x00000000" }));
    assert!(leak["creator_command"].as_str().unwrap().ends_with(" --actor"), "{leak}");
    daemon.end(pid);
}

#[apply(test)]
#[requires(Root)]
fn leftover_processes_continue() {
    let mut daemon = Daemon::new(&[]);
    let script = format!("{} echo $!", daemon.start());
    let ran = finish(&mut leakcheck(&["--isolate", "never", "--trace"], &script)).exits(0);
    daemon.send(&create(1));
    wait_for("the answer", || daemon.answers() == "0\n");
    assert_eq!(all_keys(), [1]);
    daemon.end(ran.stdout.trim().parse().unwrap());
}

/// A traced leakcheck of an actor.
struct Traced {
    /// The actor: not the process that was started, but its child.
    actor: Actor,
    /// The path of the report.
    directory: tempfile::TempDir,
}

impl Traced {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let report = directory.path().join("report.json");
        let mut command = shmadm();
        command.args(["leakcheck", "-q", "--isolate", "never", "--trace", "--report", report.to_str().unwrap(), "--"]);
        command.arg(std::env::current_exe().unwrap());
        Self { actor: Actor::spawn(&mut command), directory }
    }

    /// Returns the pid of the standby; 0 if there is none at the moment.
    fn standby(&self) -> i32 {
        let is_standby = |pid: &i32| {
            std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"shmadm-trace"))
        };
        children(self.actor.pid()).into_iter().find(is_standby).unwrap_or(0)
    }

    fn kill_supervisor(&self) {
        let pid = self.actor.pid();
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        wait_for("the supervisor to exit", || !is_alive(pid));
    }

    /// Ends the command and returns the report.
    fn end(self) -> Value {
        let Self { actor, directory } = self;
        actor.leave();
        serde_json::from_slice(&std::fs::read(directory.path().join("report.json")).unwrap()).unwrap()
    }
}

#[apply(test)]
#[requires(Root)]
fn a_failed_call_on_the_listener_is_an_error() {
    let calls = [libc::SECCOMP_IOCTL_NOTIF_RECV, libc::SECCOMP_IOCTL_NOTIF_SEND, libc::SECCOMP_IOCTL_NOTIF_ID_VALID];
    for call in calls {
        let mut command = leakcheck(&["--isolate", "never", "--trace"], &making(&[7]));
        let ran = finish(without(&mut command, libc::SYS_ioctl, Some(u32::try_from(call).unwrap()), Errno::EPERM));
        ran.exits(125).says("cannot supervise the command").says("(EPERM, ioctl)");
    }
}
