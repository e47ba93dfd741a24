//! `stat`: the record of segments, as text and as JSON.

use expect_test::expect;
use nix::errno::Errno;
use nix::libc;
use serde_json::{Value, json};

use crate::actor::{Actor, Request};
use crate::fixtures::{assert_fields, assert_is_row, without_former_key};
use crate::objects::create;
use crate::oracle::{self, Attached};
use crate::redact::Redaction;
use crate::sandbox::without;
use crate::support::{finish, run, shmadm};

#[apply(test)]
fn prints_segments_in_the_given_order() {
    let one = oracle::create(0xffff_fff0, 4096, 0o640);
    let two = oracle::create(0, 5000, 0o600);
    let _attached = Attached::new(one);
    let json = run(["stat", &two.to_string(), "0xfffffff0", "--json"]).exits(0).json();
    let keys: Vec<_> = json.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["failed", "objects", "schema", "segments"]);
    assert_eq!(json["schema"], 1);
    assert_eq!(json["failed"], json!([]));
    for (segment, id) in json["segments"].as_array().unwrap().iter().zip([two, one]) {
        assert_eq!(segment["idle_seconds"].is_null(), id == one, "what is attached is not idle");
        assert_eq!(segment["state"], if id == one { "in-use" } else { "idle" });
        assert_is_row(&without_former_key(segment), &oracle::row(id).unwrap());
    }
    assert_eq!(json["segments"].as_array().unwrap().len(), 2);
}

#[apply(test)]
fn a_missing_segment_does_not_stop_the_others() {
    let one = oracle::create(0, 4096, 0o600).to_string();
    let two = oracle::create(0, 8192, 0o600).to_string();
    let ran = run(["stat", &one, "77", &two, "--json"]).exits(3).says("77");
    let ids: Vec<_> = ran.json()["segments"].as_array().unwrap().iter().map(|row| row["id"].to_string()).collect();
    assert_eq!(ids, [one.as_str(), &two]);
    let failed = &ran.json()["failed"];
    assert_eq!(failed.as_array().unwrap().len(), 1, "{ran:?}");
    assert_fields(&failed[0], json!({ "target": "77", "errno": "EINVAL", "code": 3 }));
    let ran = run(["stat", &one, "0x77", &two]).exits(3).says("error: ");
    assert_eq!(ran.stdout.matches("Created by pid").count(), 2, "{ran:?}");
}

#[apply(test)]
fn without_an_existing_segment_prints_nothing() {
    run(["stat", "77", "78"]).exits(3).prints_nothing();
    let id = oracle::create(0, 4096, 0o600);
    oracle::remove(id);
    run(["stat", &id.to_string()]).exits(3).prints_nothing();
}

#[apply(test)]
fn an_invalid_segment_prints_nothing_of_the_others() {
    let id = oracle::create(0, 4096, 0o600).to_string();
    run(["stat", &id, "12abc"]).exits(2).prints_nothing();
    run(["stat"]).exits(2).prints_nothing();
}

#[apply(test)]
fn finds_a_segment_anywhere_in_a_long_table() {
    let ids: Vec<i32> = (0..300).map(|_| oracle::create(0, 4096, 0o600)).collect();
    for id in &ids[20..150] {
        assert!(oracle::remove(*id));
    }
    for id in [ids[0], ids[19], ids[150], ids[299]] {
        let json = run(["stat", &id.to_string(), "--json"]).exits(0).json();
        assert_is_row(&without_former_key(&json["segments"][0]), &oracle::row(id).unwrap());
    }
    run(["stat", &ids[20].to_string()]).exits(3).prints_nothing();
}

/// Returns the records of segments, without IDLE, which grows.
fn records(names: &[String]) -> Vec<Value> {
    let mut json = run(["stat", "--json"].into_iter().chain(names.iter().map(String::as_str))).json();
    let records = json["segments"].as_array_mut().unwrap();
    records.iter_mut().for_each(|record| drop(record.as_object_mut().unwrap().remove("idle_seconds")));
    records.clone()
}

#[apply(test)]
fn many_segments_are_reported_like_single_ones() {
    let ids: Vec<String> = (1..=12).map(|key| oracle::create(key, 4096 * key as usize, 0o600).to_string()).collect();
    let each: Vec<Value> = ids.iter().rev().map(|id| records(std::slice::from_ref(id))[0].clone()).collect();
    // By id and by key, one of them twice, and some that do not exist.
    let mut names: Vec<String> = ids.iter().rev().cloned().collect();
    names[3] = "key:9".to_owned();
    names.extend(["key:9", "0x77", "99", "12"].map(ToOwned::to_owned));
    assert_eq!(records(&names), each);
}

#[apply(test)]
fn each_missing_segment_is_an_error() {
    oracle::create(12, 4096, 0o600);
    let ran = run(["stat", "--json", "0x77", "99", "12"]).exits(3);
    let ran = ran.says("cannot find segment 99").says("a segment with key 12 (0xc) exists: write key:12");
    assert_eq!(ran.stderr.matches("error: ").count(), 3, "{ran:?}");
}

#[apply(test)]
fn a_missing_object_is_counted_once_whatever_its_form() {
    let ran = run(["stat", "/dev/shm/a", "/dev/shm/b", "/a"]).exits(3);
    assert!(ran.stderr.starts_with("error: cannot find 2 objects (/a and /b): No such file or directory "), "{ran:?}");
    assert_eq!(ran.stderr.matches("error: ").count(), 1, "{ran:?}");
}

#[apply(test)]
fn a_key_is_not_suggested_where_a_sandbox_denies_shmget() {
    let mut command = shmadm();
    without(&mut command, libc::SYS_shmget, None, Errno::EPERM);
    let ran = finish(command.args(["stat", "99"])).exits(3);
    assert!(!ran.stderr.contains("exists"), "{ran:?}");
}

#[apply(test)]
fn prints_one_field_per_line() {
    let mut actor = Actor::start();
    let id = actor.create(1234, 65_536);
    actor.attach(id);
    Attached::new(id).write(0, &[1; 4096]);
    actor.detach();
    actor.attach(id);
    let mut redaction = Redaction::new();
    redaction.name(actor.pid(), "ACTOR");
    redaction.check(
        &run(["stat", "0x4d2"]),
        &expect![[r#"
                            Id: 0
                           Key: 0x000004d2 (1234)
                          Size: 65536 (64K)
                          Mode: 0600
                         Owner: [CALLER]
                         Group: [CALLER]
                       Creator: [CALLER]
               Creator's group: [CALLER]
                Created by pid: [ACTOR] (/proc/self/exe --actor)
              Last used by pid: [ACTOR] (/proc/self/exe --actor)
                      Attached: once
               Attached by pid: [ACTOR] ([USER], /proc/self/exe --actor)
                   Last attach: [TIME]
                   Last detach: [TIME]
                   Last change: [TIME]
                          Idle: -
        Marked for destruction: no
              Locked in memory: no
                      Resident: 4096 (4K)
                       Swapped: 0 bytes
                         State: in-use (attached)
                 IPC namespace: [NS]
    "#]],
    );
}

#[apply(test)]
fn shows_that_a_segment_is_marked_and_locked() {
    let mut actor = Actor::start();
    let id = actor.create(1234, 4096);
    actor.attach(id);
    oracle::lock(id);
    oracle::remove(id);
    let mut redaction = Redaction::new();
    redaction.name(actor.pid(), "ACTOR");
    redaction.check(
        &run(["stat", "0"]),
        &expect![[r#"
                                Id: 0
                               Key: none (marked for destruction; it was 0x000004d2, 1234)
                              Size: 4096 (4K)
                              Mode: 0600
                             Owner: [CALLER]
                             Group: [CALLER]
                           Creator: [CALLER]
                   Creator's group: [CALLER]
                    Created by pid: [ACTOR] (/proc/self/exe --actor)
                  Last used by pid: [ACTOR] (/proc/self/exe --actor)
                          Attached: once
                   Attached by pid: [ACTOR] ([USER], /proc/self/exe --actor)
                       Last attach: [TIME]
                       Last detach: never
                       Last change: [TIME]
                              Idle: -
            Marked for destruction: yes
                  Locked in memory: yes
                          Resident: 0 bytes
                           Swapped: 0 bytes
                             State: dest (marked for destruction; destroyed at the last detach)
                     IPC namespace: [NS]
        "#]],
    );
    actor.detach();
    run(["stat", "0"]).exits(3).prints_nothing();
}

#[apply(test)]
fn shows_the_program_with_its_evidence() {
    let mut process = Actor::named("postgres");
    let id = process.create(5, 4096);
    process.attach(id);
    process.ask(Request::OpenFile { path: create("PostgreSQL.1", 4096) });
    create("PostgreSQL.2", 4096);
    let product = |target: &str| {
        let fields = run(["stat", target]).exits(0).stdout;
        fields.lines().find_map(|line| Some(line.trim_start().strip_prefix("Product: ")?.to_owned()))
    };
    assert_eq!(product(&id.to_string()).as_deref(), Some("postgresql (by its users)"));
    assert_eq!(product("/PostgreSQL.1").as_deref(), Some("postgresql (by its users and name)"));
    assert_eq!(product("/PostgreSQL.2").as_deref(), Some("postgresql (by its name)"));
}

#[apply(test)]
fn changes_nothing() {
    let id = oracle::create(1234, 4096, 0);
    let before = oracle::rows();
    run(["stat", &id.to_string()]).exits(0);
    run(["stat", &id.to_string(), "--json"]).exits(0);
    run(["list"]).exits(0);
    run(["limits"]).exits(0);
    assert_eq!(oracle::rows(), before);
}
