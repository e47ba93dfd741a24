//! `detach` ends holders, and no other process.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use expect_test::expect;
use serde_json::json;

use crate::actor::Actor;
use crate::fixtures::{assert_fields, foreground};
use crate::holder::{Holder, mapping};
use crate::oracle;
use crate::redact::Redaction;
use crate::support::{NOBODY, Running, finish, leave_namespace, run, shmadm, shmadm_as, wait_for};

#[apply(test)]
fn ends_only_the_given_holder() {
    let id = oracle::create(0, 4096, 0o600);
    let holders = [Holder::attached_to(id), Holder::attached_to(id), Holder::attached_to(id)];
    run(["detach", "0", "--pid", &holders[1].pid.to_string()]).exits(0).says("nattch 3 before, 2 after");
    assert_eq!(holders.each_ref().map(Holder::is_running), [true, false, true]);
}

#[apply(test)]
fn ends_all_holders_of_the_segment() {
    let (id, other) = (oracle::create(0, 4096, 0o600), oracle::create(0, 4096, 0o600));
    let holders = [Holder::attached_to(id), Holder::attached_to(id)];
    let elsewhere = Holder::attached_to(other);
    let report = run(["detach", "0", "--json"]).exits(0).json();
    let detached: BTreeSet<i64> =
        report["detached"].as_array().unwrap().iter().map(|pid| pid.as_i64().unwrap()).collect();
    assert_eq!(detached, holders.iter().map(|holder| holder.pid.into()).collect());
    assert_eq!((oracle::nattch(id), oracle::nattch(other)), (0, 1));
    assert!(elsewhere.is_running());
}

#[apply(test)]
fn a_holder_of_another_segment_is_refused() {
    let (id, other) = (oracle::create(0, 4096, 0o600), oracle::create(0, 4096, 0o600));
    let (_holder, elsewhere) = (Holder::attached_to(id), Holder::attached_to(other));
    run(["detach", "0", "--pid", &elsewhere.pid.to_string()])
        .exits(5)
        .prints_nothing()
        .says("is not a holder of it; user ")
        .says("'s holders: pid ")
        .says("hint: end all of them: `shmadm detach 0`");
    assert!(elsewhere.is_running());
}

#[apply(test)]
fn an_unattached_segment_has_no_holder() {
    oracle::create(0, 4096, 0o600);
    let ran = run(["detach", "0"]).exits(3).prints_nothing();
    assert_eq!(ran.stderr, "error: cannot detach segment 0: it is not attached\n");
    let error = run(["detach", "0", "--json"]).exits(3).json();
    assert_fields(&error["error"], json!({ "kind": "not-found", "hints": [] }));
}

#[apply(test)]
fn without_a_holder_names_the_attached_processes() {
    let mut actor = Actor::start();
    let id = actor.create(0, 4096);
    actor.attach(id);
    let before = oracle::rows();
    let mut redaction = Redaction::new();
    redaction.name(actor.pid(), "ACTOR");
    redaction.check(&run(["detach", "0"]), &expect![[r#"
        [stderr]
        error: cannot detach segment 0: no holder of user [USER] has it attached
        cause: attached by pid [ACTOR] ([USER], /proc/self/exe --actor); creator and last user pid [ACTOR] ([USER], /proc/self/exe --actor) is running
        hint: list the attached processes; only they can detach: `shmadm who 0`
        [exit code 5]
    "#]]);
    redaction.check(&run(["detach", "0", "--pid", &actor.pid().to_string()]), &expect![[r#"
        [stderr]
        error: cannot detach segment 0: pid [ACTOR] is not a holder of it; no holder of user [USER] has it attached
        cause: attached by pid [ACTOR] ([USER], /proc/self/exe --actor); creator and last user pid [ACTOR] ([USER], /proc/self/exe --actor) is running
        hint: list the attached processes; only they can detach: `shmadm who 0`
        [exit code 5]
    "#]]);
    assert_eq!(oracle::rows(), before);
}

#[apply(test)]
fn an_invalid_pid_is_a_usage_error() {
    oracle::create(0, 4096, 0o600);
    for pid in ["0", "-1", "x"] {
        run(["detach", "0", "--pid", pid]).exits(2);
    }
}

// Only its user may end it; detach ends only holders.
#[apply(test)]
fn an_attach_in_the_foreground_is_not_a_holder() {
    let id = oracle::create(0, 4096, 0o600);
    let (running, _stdout, _) = foreground(&["attach", "0"]);
    run(["detach", "0"]).exits(5);
    assert_eq!(mapping(running.0.id().cast_signed(), id).1, "rw-s");
}

#[apply(test)]
fn does_not_signal_a_process_that_only_has_the_name_of_a_holder() {
    let id = oracle::create(0, 4096, 0o600);
    let name = id.to_string();
    let mut impostor = Command::new("/bin/sh");
    impostor.args(["-c", "printf shmadm-hold > /proc/$$/comm; read -r _; exit 7"]);
    let mut impostor = Running(impostor.stdin(Stdio::piped()).spawn().unwrap());
    let comm = format!("/proc/{}/comm", impostor.0.id());
    wait_for("the name", || std::fs::read_to_string(&comm).unwrap() == "shmadm-hold\n");
    run(["detach", &name]).exits(3);
    let attached = oracle::Attached::new(id);
    run(["detach", &name]).exits(5);
    run(["detach", &name, "--pid", &impostor.0.id().to_string()]).exits(5);
    drop(attached);
    let holder = Holder::attached_to(id);
    run(["detach", &name]).exits(0);
    assert!(!holder.is_running());
    drop(impostor.0.stdin.take());
    assert_eq!(impostor.0.wait().unwrap().code(), Some(7), "it exited by itself");
}

#[apply(test)]
fn ignores_holders_in_other_namespaces() {
    let id = oracle::create(0x4d2, 4096, 0o600);
    let elsewhere = Holder::attached_to(id);
    // From here on the test is in another namespace, where the same id and key denote another segment.
    leave_namespace();
    assert_eq!(oracle::create(0x4d2, 4096, 0o600), id);
    run(["detach", "0x4d2"]).exits(3);
    let attached = oracle::Attached::new(id);
    run(["detach", "0x4d2"]).exits(5);
    drop(attached);
    let here = Holder::attached_to(id);
    run(["detach", "0x4d2"]).exits(0);
    assert!(!here.is_running());
    assert!(elsewhere.is_running());
}

#[apply(test)]
#[requires(Root)]
fn ignores_holders_of_other_users() {
    let id = oracle::create(0, 4096, 0o666);
    let name = id.to_string();
    let ran = finish(shmadm_as(NOBODY).args(["attach", &name, "--background"])).exits(0);
    let theirs = Holder::printed(&ran);
    run(["detach", &name]).exits(5).says("no holder of user root has it attached");
    let ours = Holder::attached_to(id);
    finish(shmadm_as(NOBODY).args(["detach", &name])).exits(0).says("nattch 2 before, 1 after");
    assert!(!theirs.is_running());
    assert!(ours.is_running());
    let ran = finish(shmadm_as(NOBODY).args(["detach", &name])).exits(5);
    ran.says("hint: list the attached processes; only they can detach: `sudo shmadm who 0`\n");
    assert!(ours.is_running());
}

#[apply(test)]
#[requires(Root)]
fn who_is_not_suggested_where_it_finds_no_process() {
    let id = oracle::create(0, 4096, 0o600);
    let _holder = Holder::attached_to(id);
    let mut other = Command::new("unshare");
    other.args(["--pid", "--fork", "--mount-proc"]).arg(shmadm().get_program()).args(["detach", "0"]);
    let ran = finish(&mut other).exits(5).says("no holder of user root has it attached");
    assert!(!ran.stderr.contains("hint:"), "{ran:?}");
}
