//! The pid in the name of an object is that of its maker only if both are of the caller's pid namespace.

use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::elsewhere::started;
use super::{create, names};
use crate::actor::{Actor, Request};
use crate::fixtures::process_status;
use crate::sandbox::without_capabilities;
use crate::support::{Ran, Running, finish, run, wait_for};

const CAP_SYS_PTRACE: i32 = 19;
/// PROC_PID_INIT_INO of linux/proc_ns.h.
const INITIAL_PID_NAMESPACE: u64 = 0xefff_fffc;

/// Returns the state of the only object.
fn state() -> String {
    run(["list", "--posix", "--probe", "--format", "tsv", "--no-headings", "-o", "STATE"]).exits(0).stdout
}

/// A script that prints the state of the only object.
const STATE: &str = "\"$0\" list --posix --probe --format tsv --no-headings -o STATE";

/// Runs a script in a new pid namespace with its own /proc; `$0` is the program.
fn in_new_pid_namespace(script: &str) -> Ran {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "sh", "-c", script, env!("CARGO_BIN_EXE_shmadm")]);
    finish(&mut command)
}

#[apply(test)]
#[requires(Root)]
fn a_process_outside_the_pid_namespace_is_not_taken_for_one_that_has_exited() {
    let maker = Actor::start();
    create(&format!("torch_{}_1_1", maker.pid()), 4096);
    assert_eq!(state(), "idle\n");
    assert_eq!(in_new_pid_namespace(STATE).exits(0).stdout, "unused\n");
    in_new_pid_namespace("\"$0\" prune --posix --older-than 0s --yes")
        .exits(0)
        .says("kept 1: 1 unused (--unattached)\n");
    assert_eq!(names().len(), 1);
    // Processes of other containers can have created files in a /dev/shm of this pid namespace, too.
    let own = format!("mount -t tmpfs none /dev/shm; sh -c 'echo >/dev/shm/torch_$$_1_1'; {STATE}");
    assert_eq!(in_new_pid_namespace(&own).exits(0).stdout, "unused\n");
}

#[apply(test)]
#[requires(Root)]
fn a_process_that_has_changed_its_user_can_be_the_maker() {
    let mut maker = Actor::start();
    // No process has this user, so that none is older than the object.
    chown(create(&format!("torch_{}_1_1", maker.pid()), 4096), Some(54_324), None).unwrap();
    assert_eq!(maker.number(Request::SetUid { uid: 54_322 }), 0);
    assert_eq!(state(), "unused\n");
    run(["prune", "--posix", "--any-owner", "--older-than", "0s", "--yes"])
        .exits(0)
        .says("kept 1: 1 unused (--unattached)\n");
    drop(maker);
    wait_for("the end of the process", || state() == "orphan\n");
}

#[apply(test)]
#[requires(Root)]
fn a_process_of_an_inner_pid_namespace_is_not_taken_for_one_that_has_exited() {
    let script =
        "echo 4000000 >/proc/sys/kernel/ns_last_pid; sleep 1000 & echo >/dev/shm/torch_$!_1_1; echo ready; wait";
    let mut command = Command::new("unshare");
    let container = started(command.args(["--pid", "--fork", "--kill-child", "sh", "-c", script]));
    assert_eq!(state(), "unused\n", "{:?}", names());
    drop(container);
    wait_for("the end of the process", || state() == "orphan\n");
}

#[apply(test)]
#[requires(Root)]
fn a_zombie_is_not_an_older_process_of_the_owner() {
    // Elsewhere, processes of the owner may be invisible.
    if std::fs::metadata("/proc/self/ns/pid").unwrap().ino() != INITIAL_PID_NAMESPACE {
        return;
    }
    // No other process has this user.
    let owner = 54_321;
    let mut zombie = Command::new("true").uid(owner).spawn().unwrap();
    let pid = zombie.id().cast_signed();
    wait_for("the zombie", || process_status(pid, "State").starts_with('Z'));
    chown(create("x", 4096), Some(owner), Some(owner)).unwrap();
    assert_eq!(state(), "orphan\n");
    zombie.wait().unwrap();
    let mut running = Running(Command::new("sleep").arg("1000").uid(owner).spawn().unwrap());
    assert_eq!(state(), "unused\n", "it started within the tolerance");
    running.0.kill().unwrap();
}

#[apply(test)]
#[requires(Root)]
fn a_process_that_cannot_be_inspected_can_be_older() {
    // Elsewhere, processes of the owner may be invisible anyway.
    if std::fs::metadata("/proc/self/ns/pid").unwrap().ino() != INITIAL_PID_NAMESPACE {
        return;
    }
    // No other process has this user. One that changes its user is not dumpable.
    let owner = 54_323;
    let mut process = Actor::start();
    assert_eq!(process.number(Request::SetUid { uid: owner }), 0);
    chown(create("x", 4096), Some(owner), Some(owner)).unwrap();
    assert_eq!(state(), "unused\n");
    for hidepid in [1, 2] {
        // Group 0 would see every process.
        let script = format!(
            "mount -t proc -o hidepid={hidepid},gid={owner} proc /proc
             exec \"$0\" prune --posix --any-owner --older-than 0s --yes"
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script, env!("CARGO_BIN_EXE_shmadm")]);
        finish(without_capabilities(&mut command, &[CAP_SYS_PTRACE]))
            .exits(0)
            .says("kept 1: 1 unused (--unattached)\n");
        assert_eq!(names(), ["x"], "{script}");
    }
}
