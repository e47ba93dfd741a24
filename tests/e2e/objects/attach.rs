//! `attach` and `detach` of POSIX objects.

use nix::sys::signal::{Signal, kill};
use serde_json::json;

use super::create;
use crate::actor::{Actor, Request};
use crate::fixtures::{assert_fields, foreground};
use crate::support::{NOBODY, finish, run, shmadm_as};

#[apply(test)]
fn a_holder_maps_the_object_until_it_is_detached() {
    create("x", 8192);
    let report = run(["attach", "/x", "--background", "--read-only", "--json"]).exits(0).json();
    let pid = report["attachment"]["pid"].as_i64().unwrap();
    assert_fields(&report["attachment"], json!({ "name": "/x", "size": 8192, "access": "ro", "exec": false }));
    let users = &run(["who", "/x", "--json"]).exits(0).json()["objects"][0]["users"];
    assert_fields(&users[0], json!({ "pid": pid, "how": "mapped", "access": "ro", "fd": null }));
    assert_eq!(users.as_array().unwrap().len(), 1, "{users}");
    for arguments in [&["rm", "/x"][..], &["set", "/x", "--size", "1"]] {
        let ran = run(arguments).exits(5).says("hint: end your background attachments first: `shmadm detach /x`\n");
        assert!(!ran.stderr.contains("--force"), "{ran:?}");
    }
    let other = run(["detach", "/x", "--pid", "1"]).exits(5);
    other.says("pid 1 is not a holder of it; user ").says("'s holders: pid ").says(&format!("detach /x --pid {pid}"));
    let report = run(["detach", "/x", "--json"]).exits(0).json();
    assert_eq!(report, json!({ "schema": 1, "name": "/x", "detached": [pid] }));
    run(["detach", "/x"]).exits(3).says("cannot detach object /x: it is not attached");
    run(["rm", "/x"]).exits(0);
}

#[apply(test)]
fn it_is_mapped_in_the_foreground_until_a_signal() {
    create("x", 8192);
    let (mut running, _stdout, line) = foreground(&["attach", "/x"]);
    assert!(line.starts_with("attached object /x at 0x") && line.contains(", 8 KiB, rw, pid "), "{line}");
    let user = &run(["who", "/x", "--json"]).exits(0).json()["objects"][0]["users"][0];
    assert_fields(user, json!({ "pid": running.pid().as_raw(), "how": "mapped", "access": "rw" }));
    kill(running.pid(), Signal::SIGTERM).unwrap();
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
    run(["attach", "/x", "--for", "1ms"]).exits(0).says("detached object /x");
}

#[apply(test)]
fn other_processes_are_never_ended() {
    let path = create("x", 8192);
    let mut actor = Actor::start();
    actor.ask(Request::MapFile { path });
    let ran = run(["detach", "/x"]).exits(5);
    ran.says("has it attached").says(&format!("mapped by pid {}", actor.pid())).says("shmadm who /x");
    actor.ask(Request::Hello);
}

#[apply(test)]
#[requires(Root)]
fn detach_does_not_call_an_object_unused_whose_users_are_invisible() {
    create("x", 8192);
    run(["attach", "/x", "--background"]).exits(0);
    finish(shmadm_as(NOBODY).args(["detach", "/x"])).exits(5).says(
        " has it attached\ncause: cannot determine whether other processes use it: you are not permitted to inspect ",
    );
    run(["detach", "/x"]).exits(0);
}

#[apply(test)]
fn what_cannot_be_mapped_is_explained() {
    create("empty", 0);
    let ran = run(["attach", "/empty"]).exits(1);
    ran.says("cannot attach object /empty: Invalid argument (EINVAL, mmap)").says("shmadm set /empty --size 4096");
    run(["attach", "/empty", "--background"]).exits(1).says("its size is 0");
    for address in [&["0x7f0000000000"][..], &["0x123", "--round"]] {
        run(["attach", "/empty", "--address"].iter().chain(address)).exits(2).says("--address is only for segments");
    }
}
