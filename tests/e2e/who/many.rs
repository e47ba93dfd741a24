//! `who` of a process with many attachments.

use serde_json::Value;

use crate::actor::Actor;
use crate::sandbox::ShownProcesses;
use crate::support::{run, shmadm};
use crate::vanish::Stopped;

/// Creates segments, each attached twice by an actor; returns their ids.
fn attach_twice(actor: &mut Actor, count: usize) -> Vec<i32> {
    let create = |_| {
        let id = actor.create(0, 4096);
        actor.attach(id);
        actor.attach(id);
        id
    };
    (0..count).map(create).collect()
}

/// Returns the attachments of each segment as (pid, certain).
fn attachments(report: &Value) -> Vec<Vec<(i64, bool)>> {
    let attachment = |one: &Value| (one["pid"].as_i64().unwrap(), one["certain"].as_bool().unwrap());
    let of_segment = |one: &Value| one["attachments"].as_array().unwrap().iter().map(attachment).collect();
    report["segments"].as_array().unwrap().iter().map(of_segment).collect()
}

#[apply(test)]
#[requires(Root)]
fn each_additional_attachment_costs_one_system_call() {
    let mut actor = Actor::start();
    let shown = ShownProcesses::new(&[actor.pid()]);
    let count_calls = || {
        let mut command = shmadm();
        shown.to(&mut command).args(["who", "--json"]);
        Stopped::count_calls_of(command)
    };
    attach_twice(&mut actor, 50);
    let few = count_calls();
    attach_twice(&mut actor, 200);
    let many = count_calls();
    let pid = i64::from(actor.pid());
    let report = run(["who", "--json"]).exits(0).json();
    assert_eq!(attachments(&report), vec![vec![(pid, true); 2]; 250]);
    // Two shmctl for each segment, and PROCMAP_QUERY for each mapping; the output takes a few more.
    assert!(many < few + (2 + 2) * 200 + 100, "{few} calls for 50 segments, {many} for 250");
}

#[apply(test)]
#[requires(Root)]
fn of_many_mappings_one_of_another_namespace_is_not_counted() {
    let mut here = Actor::start();
    let ids = attach_twice(&mut here, 50);
    // A process with attachments of the same ids in another namespace enters this one.
    let mut stranger = Actor::start();
    stranger.unshare();
    assert_eq!(attach_twice(&mut stranger, 2), ids[..2]);
    stranger.enter(format!("/proc/{}/ns/ipc", std::process::id()));
    let report = run(["who", "--json"]).exits(0).json();
    let pid = i64::from(here.pid());
    assert_eq!(attachments(&report), vec![vec![(pid, true); 2]; 50]);
}
