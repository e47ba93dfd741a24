//! `--peek`: reading through the file behind another process's attachment.

use serde_json::json;

use crate::actor::Actor;
use crate::oracle::{self, Attached};
use crate::support::{NOBODY, finish, run, shmadm, shmadm_as};

#[apply(test)]
#[requires(Root)]
fn changes_nothing_in_the_record() {
    let mut actor = Actor::start();
    let id = actor.create(1234, 8192);
    let attached = Attached::new(id);
    attached.write(4096, b"peek");
    drop(attached);
    actor.attach(id);
    let before = oracle::rows();
    let text = run(["read", "0x4d2", "--peek", "--offset", "4096", "--text"]).exits(0).stdout;
    assert_eq!(text.trim_end(), "peek");
    let values = run(["read", "0x4d2", "--peek", "--type", "u8", "--offset", "4096", "--count", "2", "--json"]);
    assert_eq!(values.exits(0).json()["values"], json!([112, 101]));
    let raw = shmadm().args(["read", "0x4d2", "--peek", "--raw"]).output().unwrap().stdout;
    assert_eq!((raw.len(), &raw[4096..4100]), (8192, b"peek".as_slice()));
    assert_eq!(oracle::rows(), before);
    // Also when marked for destruction, and from another namespace.
    actor.remove(id);
    let before = oracle::rows();
    run(["read", &id.to_string(), "--peek", "--offset", "4096", "--text"]).exits(0);
    assert_eq!(oracle::rows(), before);
}

#[apply(test)]
#[requires(Root)]
fn an_unattached_segment_suggests_a_read_without_peek() {
    oracle::create(1234, 8192, 0o666);
    let ran = run(["read", "0x4d2", "--peek"]).exits(1).prints_nothing();
    ran.says("no process has it attached").says("`shmadm read 0x4d2`");
    let ran = run(["dump", "0x4d2", "--peek", "--output", "/tmp/a dump"]).exits(1).prints_nothing();
    ran.says("`shmadm dump 0x4d2 --output '/tmp/a dump'`");
}

#[apply(test)]
#[requires(Root)]
fn another_user_may_not_read_through_the_attachment() {
    let id = oracle::create(1234, 8192, 0o666);
    let mut actor = Actor::start();
    actor.attach(id);
    let before = oracle::rows();
    finish(shmadm_as(NOBODY).args(["read", "0x4d2", "--peek"])).exits(4).prints_nothing();
    assert_eq!(oracle::rows(), before);
}

#[apply(test)]
fn peek_and_allow_allocation_conflict() {
    oracle::create(1234, 8192, 0o666);
    run(["read", "0x4d2", "--peek", "--allow-allocation"]).exits(2);
}

#[apply(test)]
#[requires(Root)]
fn a_process_with_an_exited_leader_is_read_through() {
    let mut actor = Actor::start();
    let id = actor.create(7, 4096);
    oracle::Attached::new(id).write(0, b"peek");
    actor.attach(id);
    actor.exit_leader();
    let before = oracle::rows();
    let read = run(["read", "0x7", "--peek", "--text"]).exits(0);
    assert_eq!((read.stdout.trim_end(), oracle::rows()), ("peek", before));
}
