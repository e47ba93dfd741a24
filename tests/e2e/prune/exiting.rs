//! `prune` and processes that are exiting: it waits for them, and then judges.

use std::process::Stdio;

use nix::libc;
use serde_json::json;

use crate::actor::{Actor, Request};
use crate::dying::{Blockade, Killed};
use crate::fixtures::assert_fields;
use crate::objects::create;
use crate::oracle::{self, Attached};
use crate::prune::{exists, ids};
use crate::support::{NOBODY, run, shmadm_as, wait_for_new_second};
use crate::vanish::{Call, Stopped};

/// Returns whether a call waits for a process.
fn waits(call: &Call) -> bool {
    (call.number == libc::SYS_poll || call.number == libc::SYS_ppoll) && call.arguments[2] != 0
}

const PRUNE: &[&str] = &["prune", "--yes", "--json", "--older-than", "0s", "--wait", "1h"];

#[apply(test)]
fn a_segment_is_judged_after_an_exiting_process_has_detached_it() {
    for leader_exits in [false, true] {
        let mut actor = Actor::start();
        let id = actor.create(1, 4096);
        actor.attach(id);
        if leader_exits {
            actor.exit_leader();
        }
        let dying = Killed::hold(actor);
        let stopped = Stopped::before(1, waits, PRUNE);
        drop(dying);
        let report = stopped.go_on().exits(0).json();
        assert_eq!(ids(&report["removed"]), json!([id]), "{report}");
    }
}

#[apply(test)]
fn a_segment_that_is_detached_during_the_search_for_its_users_is_judged_again() {
    let mut actor = Actor::start();
    let id = actor.create(1, 4096);
    actor.attach(id);
    let searches = |call: &Call| call.number == libc::SYS_memfd_create;
    let stopped = Stopped::before(1, searches, PRUNE);
    actor.leave();
    let report = stopped.go_on().exits(0).json();
    assert_eq!(ids(&report["removed"]), json!([id]), "{report}");
}

#[apply(test)]
fn an_object_is_judged_after_an_exiting_process_has_closed_it() {
    let mut actor = Actor::start();
    actor.ask(Request::OpenFile { path: create("torch_4194304_1_1", 4096) });
    let dying = Killed::hold(actor);
    let stopped = Stopped::before(1, waits, PRUNE);
    drop(dying);
    let report = stopped.go_on().exits(0).json();
    assert_eq!(report["removed"][0]["name"], "/torch_4194304_1_1", "{report}");
}

#[apply(test)]
#[requires(Root)]
fn an_object_is_judged_after_a_process_without_memory_map_has_exited() {
    let mut blockade = Blockade::new();
    blockade.actor.ask(Request::MapFile { path: create("torch_4194304_1_1", 4096) });
    let dying = blockade.kill(true);
    let who = run(["who", "/torch_4194304_1_1", "--json"]).exits(0).json();
    assert_eq!(who["objects"][0]["hidden"][0]["reason"], "exiting", "{who}");
    let stopped = Stopped::before(1, waits, PRUNE);
    drop(dying);
    let report = stopped.go_on().exits(0).json();
    assert_eq!(report["removed"][0]["name"], "/torch_4194304_1_1", "{report}");
}

#[apply(test)]
#[requires(Root)]
fn a_segment_is_judged_after_its_creator_has_exited() {
    let mut blockade = Blockade::new();
    let id = blockade.actor.create(1, 4096);
    let dying = blockade.kill(false);
    let kept = run(["prune", "--yes", "--json", "--wait", "0s"]).exits(0).json();
    assert_eq!(kept["kept"]["idle"], 1, "{kept}");
    let stopped = Stopped::before(1, waits, PRUNE);
    drop(dying);
    assert_eq!(ids(&stopped.go_on().exits(0).json()["removed"]), json!([id]));
}

#[apply(test)]
fn after_the_wait_the_exiting_process_is_named() {
    let mut actor = Actor::start();
    let id = actor.create(1, 4096);
    actor.attach(id);
    let dying = Killed::hold(actor);
    let arguments = ["prune", "--yes", "--json", "--older-than", "0s", "--wait", "10ms"];
    let ran = run(arguments).exits(0).says(&format!("kept 1: 1 attached by pid {} (exiting)\n", dying.pid()));
    assert_fields(&ran.json(), json!({ "removed": [], "skipped": [] }));
    assert!(exists(id));
}

#[apply(test)]
#[requires(Root)]
fn a_process_without_memory_map_is_waited_for_in_every_namespace() {
    let mut blockade = Blockade::new();
    blockade.actor.unshare();
    let namespace = blockade.actor.namespace();
    let id = blockade.actor.create(1, 4096);
    blockade.actor.attach(id);
    // Another process keeps the namespace.
    let mut keeper = Actor::start();
    keeper.enter(format!("/proc/{}/ns/ipc", blockade.actor.pid()));
    let dying = blockade.kill(false);
    let stopped = Stopped::before(1, waits, &[PRUNE, &["--all-ns", "--dry-run"]].concat());
    drop(dying);
    let report = stopped.go_on().exits(0).json();
    let removed = report["removed"].as_array().unwrap();
    assert!(removed.iter().any(|one| one["id"] == id && one["ns"] == namespace), "{report}");
}

#[apply(test)]
#[requires(Root)]
fn with_a_wait_of_zero_nothing_is_waited_for() {
    let id = oracle::create(1, 4096, 0o666);
    oracle::set(id, NOBODY, NOBODY, 0o666);
    let sleeps = |call: &Call| call.number == libc::SYS_clock_nanosleep || call.number == libc::SYS_nanosleep;
    for (wait, may_sleep) in [("0s", false), ("5s", true)] {
        // The caller cannot see who has attached it, and the kernel's times do not show when in this second.
        wait_for_new_second();
        let _attached = Attached::new(id);
        let mut command = shmadm_as(NOBODY);
        command.args(["prune", "--yes", "--older-than", "0s", "--wait", wait]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let stopped = Stopped::command_before(1, |call| call.number == libc::SYS_shmctl, command);
        let calls = stopped.calls_until(|call| call.number == libc::SYS_exit_group);
        assert!(may_sleep || !calls.iter().any(sleeps), "it waited");
        stopped.go_on().exits(0).says("kept 1: 1 attached");
    }
}
