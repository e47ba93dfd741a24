//! `who` and processes whose thread-group leader has exited while other threads run.
//!
//! Such a leader has no memory and no namespaces any more, and kcmp(2) reports that any two of them share their memory.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;

use nix::libc;
use serde_json::{Value, json};

use crate::actor::{Actor, ChildRequest, Request};
use crate::fixtures::assert_fields;
use crate::oracle;
use crate::support::{NOBODY, Ran, run};
use crate::vanish::{Call, Stopped};
use crate::who::{pids, who};

/// An address that is free in every process.
const ADDRESS: usize = 0x10_0000_0000;

#[apply(test)]
fn a_process_with_an_exited_leader_is_found() {
    let mut actor = Actor::start();
    let id = actor.create(7, 4096);
    actor.attach(id);
    actor.exit_leader();
    let report = who(id);
    assert_eq!((pids(&report), &report["hidden"]), (BTreeSet::from([actor.pid()]), &json!([])), "{report}");
    let attachment = &report["attachments"][0];
    assert_fields(attachment, json!({ "ns": oracle::namespace(), "certain": true }));
    assert!(attachment["command"].as_str().unwrap().ends_with("--actor"), "{attachment}");
    run(["--ns", &actor.pid().to_string(), "list"]).exits(0);
}

#[apply(test)]
fn exited_leaders_do_not_make_two_memories_one() {
    let id = oracle::create(7, 4096, 0o600);
    let mut actors = [Actor::start(), Actor::start(), Actor::start()];
    for actor in &mut actors {
        actor.ask(Request::AttachAt { id, address: ADDRESS });
    }
    for actor in &mut actors[..2] {
        actor.exit_leader();
    }
    let report = who(id);
    assert_fields(&report, json!({ "nattch": 3, "found": 3, "hidden": [] }));
    assert_eq!(pids(&report), actors.iter().map(Actor::pid).collect(), "{report}");
}

#[apply(test)]
fn memory_shared_with_an_exited_leader_counts_once() {
    let (id, [actor, other], twin) = shared_memory(false);
    counts_once(&run(["who", "--all-ns", "--json"]), id, [&actor, &other], twin);
}

#[apply(test)]
fn memory_is_compared_though_a_thread_exits_during_the_search() {
    let (id, [mut actor, other], twin) = shared_memory(true);
    let stopped = Stopped::before(1, |call| call.number == libc::SYS_kcmp, &["who", "--all-ns", "--json"]);
    actor.end_thread();
    counts_once(&stopped.go_on(), id, [&actor, &other], twin);
}

#[apply(test)]
#[requires(Root)]
fn the_user_is_not_that_of_an_exited_leader() {
    let mut actor = Actor::start();
    let id = actor.create(7, 4096);
    actor.attach(id);
    actor.exit_leader();
    assert_eq!(actor.ask(Request::SetUid { uid: NOBODY }), "0");
    assert_eq!(who(id)["attachments"][0]["uid"], NOBODY);
}

#[apply(test)]
#[requires(Root)]
fn an_exited_leader_of_another_namespace_shares_no_memory() {
    let mut here = Actor::start();
    let id = here.create(1234, 4096);
    here.ask(Request::AttachAt { id, address: ADDRESS });
    let mut there = Actor::start();
    there.unshare();
    assert_eq!(there.create(1234, 4096), id);
    there.ask(Request::AttachAt { id, address: ADDRESS });
    let there_ns = ns_of(&there);
    for actor in [&mut here, &mut there] {
        actor.exit_leader();
    }
    let report = run(["who", "--all-ns", "--json"]).exits(0).json();
    let segments = report["segments"].as_array().unwrap();
    for (actor, ns) in [(&here, oracle::namespace()), (&there, there_ns)] {
        let segment = segments.iter().find(|segment| segment["ns"] == ns).unwrap();
        assert_eq!(pids(segment), BTreeSet::from([actor.pid()]), "{segment}");
        let attachment = attachment_of(segment, actor.pid());
        assert_fields(attachment, json!({ "certain": true, "shared_with": [] }));
    }
}

#[apply(test)]
#[requires(Root)]
fn an_exited_leader_of_another_namespace_is_not_reported_as_certain() {
    // With a key of their own: processes of other tests have left namespaces in which they had attached a segment.
    let key = fastrand::u32(1..1 << 31);
    let mut here = Actor::start();
    let id = here.create(key, 4096);
    here.attach(id);
    // One of its threads stays in this namespace, and its mapping is of another one.
    let mut there = Actor::start();
    there.ask(Request::StartThread);
    there.unshare();
    assert_eq!(there.create(key, 8192), id);
    there.attach(id);
    there.exit_leader();
    // After the record was read, and before the search begins, the only process that has it attached exits.
    let searches = |call: &Call| call.number == libc::SYS_memfd_create;
    let stopped = Stopped::before(1, searches, &["who", &id.to_string(), "--json"]);
    here.leave();
    let report = stopped.go_on().exits(0).json();
    assert_eq!(report["segments"][0]["attachments"], json!([]), "{report}");
}

#[apply(test)]
#[requires(Root)]
fn after_the_leader_has_exited_the_file_identifies_the_segment() {
    let mut actor = Actor::start();
    let id = actor.create(1234, 16384);
    let address = actor.attach(id);
    actor.unshare();
    assert_eq!(actor.create(1234, 8192), id);
    actor.attach(id);
    actor.exit_leader();
    let report = who(id);
    assert_fields(&report, json!({ "found": 1, "hidden": [] }));
    assert_eq!(report["attachments"][0]["address"], address.as_str(), "{report}");
}

#[apply(test)]
#[requires(Root)]
fn the_namespace_of_an_exited_leaders_threads_is_inspected() {
    let mut actor = Actor::start();
    let id = actor.create(1234, 4096);
    actor.attach(id);
    actor.unshare();
    let namespace = actor.namespace();
    actor.exit_leader();
    let report = who(id);
    assert_eq!((pids(&report), &report["hidden"]), (BTreeSet::from([actor.pid()]), &json!([])), "{report}");
    let attachment = &report["attachments"][0];
    assert_fields(attachment, json!({ "ns": namespace, "certain": false }));
}

#[apply(test)]
#[requires(Root)]
fn another_thread_is_inspected_if_one_exits_during_the_search() {
    let mut actor = Actor::start();
    let id = actor.create(1234, 4096);
    actor.attach(id);
    actor.unshare();
    let namespace = actor.namespace();
    actor.ask(Request::StartThread);
    actor.exit_leader();
    // The file is read before the namespace.
    let asks = |call: &Call| call.number == libc::SYS_name_to_handle_at;
    let stopped = Stopped::before(1, asks, &["who", "0x4d2", "--json"]);
    actor.end_thread();
    let report = stopped.go_on().exits(0).json();
    let attachment = &report["segments"][0]["attachments"][0];
    assert_fields(attachment, json!({ "pid": actor.pid(), "ns": namespace, "certain": false }));
}

/// Attaches a segment to two processes that share their memory, and to a third one; the leader of the first has exited.
/// With `with_thread`, the first process has another thread, which is found first.
fn shared_memory(with_thread: bool) -> (i32, [Actor; 2], i32) {
    let id = oracle::create(7, 4096, 0o600);
    let (mut actor, mut other) = (Actor::start(), Actor::start());
    for actor in [&mut actor, &mut other] {
        actor.attach(id);
    }
    if with_thread {
        actor.ask(Request::StartThread);
    }
    actor.exit_leader();
    let twin = actor.number(ChildRequest::CloneVm);
    (id, [actor, other], twin)
}

/// Checks that a memory that two processes share is reported for the first of them.
#[track_caller]
fn counts_once(ran: &Ran, id: i32, [actor, other]: [&Actor; 2], twin: i32) {
    let report = ran.json();
    let segments = report["segments"].as_array().unwrap();
    let segment = segments.iter().find(|segment| segment["ns"] == oracle::namespace()).unwrap();
    let (first, second) = (actor.pid().min(twin), actor.pid().max(twin));
    let found = (&segment["id"], &segment["nattch"], &segment["found"]);
    assert_eq!(found, (&json!(id), &json!(2), &json!(2)), "{segment}");
    assert_eq!(pids(segment), BTreeSet::from([first, other.pid()]), "{segment}");
    assert_eq!(attachment_of(segment, first)["shared_with"], json!([second]), "{segment}");
}

/// Returns the number of the IPC namespace that an actor is in.
fn ns_of(actor: &Actor) -> u64 {
    std::fs::metadata(format!("/proc/{}/ns/ipc", actor.pid())).unwrap().ino()
}

/// Returns the attachment of a process.
#[track_caller]
fn attachment_of(report: &Value, pid: i32) -> &Value {
    let attachments = report["attachments"].as_array().unwrap();
    attachments.iter().find(|one| one["pid"] == pid).unwrap_or_else(|| panic!("pid {pid} is missing: {report}"))
}
