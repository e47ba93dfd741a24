//! `--all-ns`: every IPC namespace at once.

use nix::libc;
use serde_json::{Value, json};

use crate::actor::{Actor, Request};
use crate::fixtures::assert_fields;
use crate::namespaces::{all_ns, container_of_nobody, elsewhere, other_thread, unique_key};
use crate::oracle;
use crate::support::{NOBODY, finish, run, shmadm, shmadm_as};
use crate::vanish::{Call, Stopped};

#[apply(test)]
#[requires(Root)]
fn every_namespace_is_visited_once() {
    let key = unique_key();
    oracle::create(key, 100, 0o600);
    let mut expected = vec![oracle::namespace()];
    let mut actors: Vec<(Actor, u64)> = (0..12).map(|_| elsewhere()).collect();
    for (actor, number) in &mut actors {
        actor.create(key, 100);
        expected.push(*number);
    }
    // Two processes in one namespace count once; a single thread can be in another namespace.
    let (mut second, number) = elsewhere();
    second.enter(format!("/proc/{}/ns/ipc", actors[0].0.pid()));
    assert_ne!(second.namespace(), number);
    let rows = all_ns(&["list", "--all-ns", "--key", &format!("{key:#x}"), "--json"]);
    let mut found: Vec<u64> = rows.iter().map(|row| row["ns"].as_u64().unwrap()).collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    for row in &rows {
        let creator = actors
            .iter()
            .find(|(_, number)| row["ns"] == *number)
            .map_or_else(|| i32::try_from(std::process::id()).unwrap(), |(actor, _)| actor.pid());
        assert_fields(row, json!({ "cpid": creator, "state": "idle" }));
    }
    let table = run(["list", "--all-ns", "--key", &format!("{key:#x}")]).exits(0).stdout;
    assert!(table.trim_start().starts_with("NS  CONTAINER"), "{table}");
    assert_eq!(table.lines().count(), 14);
}

#[apply(test)]
#[requires(Root)]
fn a_namespace_with_only_one_thread_is_visited() {
    let mut actor = Actor::start();
    assert_eq!(actor.ask(Request::UnshareInThread), "0");
    let place = other_thread(&actor);
    let key = format!("{:#x}", unique_key());
    run(["--ns", &place, "create", "--key", &key]).exits(0);
    let rows = all_ns(&["list", "--all-ns", "--key", &key, "--json"]);
    assert_eq!(rows.len(), 1, "{rows:?}");
    run(["--ns", &place, "rm", &key]).exits(0);
}

#[apply(test)]
#[requires(Root)]
fn one_scan_finds_the_attachments_in_all_of_them() {
    let mut expected = Vec::new();
    let mut actors = Vec::new();
    for _ in 0..5 {
        let (mut actor, number) = elsewhere();
        // The same id, key and size in each, and usually the same second.
        let id = actor.create(1234, 4096);
        actor.attach(id);
        expected.push((number, id, actor.pid()));
        actors.push(actor);
    }
    let segments = all_ns(&["who", "--all", "--all-ns", "--json"]);
    for (number, id, pid) in expected {
        let of_it = |segment: &&Value| segment["ns"] == number && segment["id"] == id;
        let segment = segments.iter().find(of_it).unwrap();
        let attachments = segment["attachments"].as_array().unwrap();
        assert_eq!((attachments.len(), &attachments[0]["pid"]), (1, &json!(pid)), "{segment}");
        assert_eq!((&attachments[0]["certain"], &segment["hidden"]), (&json!(true), &json!([])), "{segment}");
    }
}

#[apply(test)]
#[requires(Root)]
fn a_namespace_that_exists_only_through_an_attachment_is_reported() {
    let mut actor = Actor::start();
    let home = format!("/proc/{}/ns/ipc", std::process::id());
    actor.unshare();
    let key = unique_key();
    let id = actor.create(key, 4096);
    let address = actor.attach(id);
    // No process is in that namespace any more.
    actor.enter(home);
    let ran = run(["who", "--all", "--all-ns", "--json"]).exits(0).says("exists only because of this attachment");
    let segments = ran.json()["segments"].as_array().unwrap().clone();
    let stray =
        segments.iter().find(|segment| segment["ns"].is_null() && segment["attachments"][0]["pid"] == actor.pid());
    let stray = stray.unwrap_or_else(|| panic!("{segments:?}"));
    assert_fields(stray, json!({ "id": id, "nattch": null, "found": 1 }));
    assert_eq!(stray["attachments"][0]["address"], address.as_str());
}

#[apply(test)]
#[requires(Root)]
fn without_privilege_inaccessible_ones_are_a_warning() {
    let mut actor = container_of_nobody();
    let key = unique_key();
    actor.create(key, 4096);
    let number: u64 = actor.namespace();
    let ran = finish(shmadm_as(NOBODY).args(["list", "--all-ns", "--key", &format!("{key:#x}"), "--json"]));
    let ran = ran.exits(0).says("cannot determine the IPC namespace of");
    // The caller's own namespace is always included.
    let mine = oracle::create(key, 100, 0o600);
    let both = finish(shmadm_as(NOBODY).args(["list", "--all-ns", "--key", &format!("{key:#x}"), "--json"]));
    let both = both.exits(0).json()["segments"].clone();
    let is_mine = |row: &&Value| row["ns"] == oracle::namespace() && row["id"] == mine;
    assert!(both.as_array().unwrap().iter().any(|row| is_mine(&row)), "{both}");
    let rows = ran.json()["segments"].as_array().unwrap().clone();
    assert_eq!(rows.len(), 1, "listed by a child inside it: {ran:?}");
    assert_fields(&rows[0], json!({ "ns": number, "uid": NOBODY }));
}

#[apply(test)]
#[requires(Root)]
fn in_an_owned_user_namespace_a_threads_namespace_is_listed_through_the_thread() {
    // The leader is in one namespace and one of its threads in another; listing either requires a child
    // process.
    let mut actor = container_of_nobody();
    let key = unique_key();
    actor.create(key, 4096);
    assert_eq!(actor.ask(Request::UnshareInThread), "0");
    let place = other_thread(&actor);
    let text = format!("{key:#x}");
    finish(shmadm_as(NOBODY).args(["--ns", &place, "create", "--key", &text])).exits(0);
    let ran = finish(shmadm_as(NOBODY).args(["list", "--all-ns", "--key", &text, "--json"])).exits(0);
    let rows = ran.json()["segments"].as_array().unwrap().clone();
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert_ne!(rows[0]["ns"], rows[1]["ns"]);
    for view in ["-t", "-p", "-c"] {
        let report = run(["list", "--all-ns", view]).exits(0).stdout;
        assert!(report.trim_start().starts_with("NS "), "{view}: {report}");
        assert!(run(["list", view]).exits(0).stdout.trim_start().starts_with("ID "), "{view}");
    }
}

#[apply(test)]
#[requires(Root)]
fn an_attachment_made_after_the_listing_is_not_unexplained() {
    let mut actor = Actor::start();
    let id = actor.create(0, 4096);
    let looks = |call: &Call| call.number == libc::SYS_memfd_create;
    let stopped = Stopped::before(1, looks, &["who", "--all", "--all-ns", "--json"]);
    actor.attach(id);
    let ran = stopped.go_on().exits(0);
    let stray = |one: &Value| one["ns"].is_null() && one["attachments"][0]["pid"] == actor.pid();
    assert!(!ran.json()["segments"].as_array().unwrap().iter().any(stray), "{ran:?}");
}

#[apply(test)]
fn an_unprivileged_user_sees_their_own() {
    let key = unique_key();
    oracle::create(key, 100, 0o600);
    let rows = all_ns(&["list", "--all-ns", "--key", &format!("{key:#x}"), "--json"]);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["ns"], oracle::namespace());
    assert!(rows[0].as_object().unwrap().contains_key("container"));
}

#[apply(test)]
#[requires(Root)]
fn without_proc_the_callers_own_is_shown_with_a_warning() {
    oracle::create(7, 4096, 0o600);
    let mut command = shmadm();
    crate::sandbox::with_empty_proc(&mut command);
    let ran =
        finish(command.args(["list", "--all-ns", "--json"])).exits(0).says("other IPC namespaces cannot be found");
    assert_eq!(ran.json()["segments"].as_array().unwrap().len(), 1);
}
