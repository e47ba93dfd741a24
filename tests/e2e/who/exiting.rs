//! Processes that are exiting: being killed, or without their memory map while their attachments still exist.

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc;
use serde_json::{Value, json};

use crate::actor::Actor;
use crate::dying::{Blockade, Killed};
use crate::fixtures::assert_fields;
use crate::oracle;
use crate::support::{NOBODY, Ran, Running, finish, run, shmadm_as, wait_until_after};
use crate::vanish::{Call, Stopped};
use crate::who::{pids, who};

#[apply(test)]
#[requires(Root)]
fn attachments_of_a_process_without_memory_map_are_exiting() {
    let mut blockade = Blockade::new();
    let id = attached(&mut blockade.actor);
    let dying = blockade.kill(true);
    let pid = dying.pid();
    let hidden = json!([{"reason": "exiting", "count": 1, "pids": [pid]}]);
    assert_fields(&who(id), json!({ "nattch": 1, "found": 0, "attachments": [], "hidden": hidden }));
    let shown = run(["who", &id.to_string()]).exits(0);
    shown.says(&format!("warning: 1 attachment of segment {id} cannot be seen: pid {pid} is exiting\n"));
    let refused = run(["rm", &id.to_string()]).exits(5);
    refused
        .says(&format!("cause: attached by pid {pid} (exiting); creator and last user pid {pid} (root,"))
        .says(" is exiting\n");
    let fields = run(["stat", &id.to_string()]).exits(0).stdout;
    assert!(fields.contains(&format!("Not visible: 1: pid {pid} is exiting\n")), "{fields}");
    // The last user is certain to have it attached, whatever processes cannot be inspected.
    assert_eq!(who_as_nobody(id)["hidden"], hidden);
}

#[apply(test)]
#[requires(Root)]
fn an_exiting_process_does_not_explain_what_another_may_have_attached() {
    let mut blockade = Blockade::new();
    let id = blockade.actor.create(fastrand::u32(0x1000_0000..), 4096);
    let other = oracle::Attached::new(id);
    blockade.actor.attach(id);
    let dying = blockade.kill(true);
    let pids = json!([dying.pid()]);
    let exiting = json!({"reason": "exiting", "count": 1, "pids": pids});
    assert_fields(&who(id), json!({ "nattch": 2, "found": 1, "hidden": [exiting] }));
    // User nobody may not inspect the other one. Either may have the second attachment.
    let unknown = |count: u64| json!({"reason": "unknown", "count": count, "pids": pids});
    assert_eq!(who_as_nobody(id)["hidden"], json!([exiting, unknown(1)]));
    drop(other);
    // It has been used since: the creator may have it attached, and so may any process.
    assert_eq!(who_as_nobody(id)["hidden"], json!([unknown(1)]));
    let shown = finish(shmadm_as(NOBODY).args(["who", &id.to_string()])).exits(0);
    shown.says(&format!(
        "no visible process has it mapped; pid {} is exiting and may have it attached (unknown)",
        dying.pid()
    ));
}

#[apply(test)]
fn a_process_that_is_being_killed_is_marked() {
    for leader_exits in [false, true] {
        let mut actor = Actor::start();
        let id = attached(&mut actor);
        if leader_exits {
            actor.exit_leader();
        }
        let dying = Killed::hold(actor);
        let pid = dying.pid();
        assert_fields(&who(id), json!({ "found": 1, "hidden": [] }));
        let shown = run(["who", &id.to_string()]).exits(0);
        shown.says(&format!("pid {pid} is exiting: it keeps segment {id} attached until it has exited\n"));
        let refused = run(["rm", &id.to_string()]).exits(5).says(&format!("cause: attached by pid {pid} ("));
        refused.says(", exiting); creator and last user pid").says(" is exiting\n");
    }
}

#[apply(test)]
#[requires(Root)]
fn a_process_of_another_user_that_is_being_killed_is_exiting() {
    let mut actor = Actor::start();
    let id = attached(&mut actor);
    let dying = Killed::hold(actor);
    let hidden = json!([{"reason": "exiting", "count": 1, "pids": [dying.pid()]}]);
    assert_eq!(who_as_nobody(id)["hidden"], hidden);
    drop(dying);
    // The leader has exited, but another thread keeps the memory: the process is not exiting.
    let mut actor = Actor::start();
    let id = attached(&mut actor);
    actor.exit_leader();
    assert_eq!(who_as_nobody(id)["hidden"], json!([{"reason": "permission", "count": 1, "pids": null}]));
}

#[apply(test)]
#[requires(Root)]
fn permission_is_not_reported_if_a_process_attaches_and_detaches() {
    let id = oracle::create(fastrand::u32(0x1000_0000..), 4096, 0o666);
    let mut actor = Actor::spawn(Command::new("/proc/self/exe").uid(NOBODY).gid(NOBODY));
    actor.attach(id);
    let mut command = shmadm_as(NOBODY);
    command.args(["who", &id.to_string(), "--json"]).stdout(std::process::Stdio::piped());
    // During the search it is not attached; in both looks at the record it is, in the same second.
    let searches = |call: &Call| call.number == libc::SYS_memfd_create;
    let stopped = Stopped::command_before(1, searches, command);
    actor.detach();
    stopped.calls_until(|call| call.is_shmctl(libc::IPC_STAT) || is_stat_any(call));
    actor.attach(id);
    let report = stopped.go_on().exits(0).json()["segments"][0].clone();
    assert_eq!((pids(&report), &report["hidden"]), (BTreeSet::from([actor.pid()]), &json!([])), "{report}");
}

#[apply(test)]
#[requires(Root)]
fn permission_is_reported_after_a_second_look_if_a_process_can_be_attaching() {
    let mut holder = Actor::start();
    let id = holder.create(fastrand::u32(0x1000_0000..), 4096);
    holder.attach(id);
    // With the times of a past second, nothing else suggests a second check.
    wait_until_after(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs());
    let permission = json!([{"reason": "permission", "count": 1, "pids": null}]);
    assert_eq!(who_as_nobody(id)["hidden"], permission);
    // A process that always runs can be attaching.
    let mut busy = Command::new("/bin/sh");
    let _busy = Running(busy.args(["-c", "while :; do :; done"]).uid(NOBODY).gid(NOBODY).spawn().unwrap());
    let mut command = shmadm_as(NOBODY);
    command.args(["who", &id.to_string(), "--json"]).stdout(std::process::Stdio::piped());
    let sleeps = |call: &Call| call.number == libc::SYS_clock_nanosleep || call.number == libc::SYS_nanosleep;
    let stopped = Stopped::command_before(1, sleeps, command);
    // What had begun at the first look ends.
    holder.attach(id);
    let report = stopped.go_on().exits(0).json()["segments"][0].clone();
    assert_eq!(report["hidden"][0]["reason"], "in-flight", "{report}");
}

/// Returns whether a call reads a record by index.
fn is_stat_any(call: &Call) -> bool {
    // linux/shm.h: SHM_STAT_ANY.
    call.is_shmctl(15)
}

/// Creates a segment that an actor has attached.
fn attached(actor: &mut Actor) -> i32 {
    let id = actor.create(fastrand::u32(0x1000_0000..), 4096);
    actor.attach(id);
    id
}

fn who_as_nobody(id: i32) -> Value {
    let ran: Ran = finish(shmadm_as(NOBODY).args(["who", &id.to_string(), "--json"]));
    ran.exits(0).json()["segments"][0].clone()
}
