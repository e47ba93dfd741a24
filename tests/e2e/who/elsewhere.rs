//! `who` where ids are equal in several namespaces, and for processes that left the namespace in which they attached.

use std::collections::BTreeSet;

use nix::errno::Errno;
use nix::libc;
use serde_json::json;

use crate::actor::{Actor, Request};
use crate::dying::Blockade;
use crate::fixtures::assert_fields;
use crate::oracle;
use crate::sandbox::{with_no_capabilities, without};
use crate::support::{finish, run, shmadm, wait_for_new_second, wait_until_after};
use crate::who::{pids, who};

#[apply(test)]
#[requires(Root)]
fn an_equal_id_in_another_namespace_is_another_segment() {
    let mut here = Actor::start();
    let mut there = Actor::start();
    there.unshare();
    // Equal in all but the namespace: id, key, size, user, and the second of creation.
    wait_for_new_second();
    let ids = [&mut here, &mut there].map(|actor| {
        let id = actor.create(1234, 4096);
        actor.attach(id);
        id
    });
    assert_eq!(ids[0], ids[1], "the first id of each namespace is the same");
    let report = who(ids[0]);
    assert_eq!((pids(&report), &report["found"]), (BTreeSet::from([here.pid()]), &json!(1)), "{report}");
    assert_eq!(report["attachments"][0]["certain"], true);
}

#[apply(test)]
#[requires(Root)]
fn a_process_that_left_the_namespace_is_still_attached() {
    let mut actor = Actor::start();
    let id = actor.create(1234, 4096);
    actor.attach(id);
    actor.unshare();
    let report = who(id);
    assert_eq!((pids(&report), &report["hidden"]), (BTreeSet::from([actor.pid()]), &json!([])), "{report}");
    let attachment = &report["attachments"][0];
    // It could have left a second namespace, in which it had another segment with this id attached.
    assert_eq!(attachment["certain"], false, "{report}");
    assert_ne!(attachment["ns"], report["ns"]);
    // In its new namespace it attaches another segment with the same id.
    let second = actor.create(4321, 4096);
    assert_eq!(second, id);
    actor.attach(second);
    let report = who(id);
    assert_fields(&report, json!({ "nattch": 1, "found": 1 }));
    assert_eq!(report["attachments"][0]["address"], attachment["address"], "the key in its name identifies it");
}

#[apply(test)]
#[requires(Root)]
fn a_segment_of_a_namespace_that_its_process_has_left_is_not_certain_to_be_this_one() {
    let mut here = Blockade::new();
    let mut there = Actor::start();
    there.unshare();
    // Equal in all but the namespace: id, key, size, user, and the second of creation. No other test has such a key.
    wait_for_new_second();
    let ids = [&mut here.actor, &mut there].map(|actor| {
        let id = actor.create(0x77_686f, 4096);
        actor.attach(id);
        id
    });
    assert_eq!(ids[0], ids[1]);
    // The process that has this segment attached shows no mappings, and that of the other one is in a third namespace.
    let _dying = here.kill(true);
    there.unshare();
    let report = who(ids[0]);
    assert_eq!((pids(&report), &report["nattch"]), (BTreeSet::from([there.pid()]), &json!(1)), "{report}");
    assert_eq!(report["attachments"][0]["certain"], false, "{report}");
    let read = run(["read", "0x77686f", "--peek"]).exits(4).prints_nothing();
    read.says("no visible process is certain to have it attached");
}

#[apply(test)]
#[requires(Root)]
fn without_privilege_a_process_that_left_is_uncertain() {
    let mut actor = Actor::start();
    let id = actor.create(1234, 4096);
    actor.attach(id);
    actor.unshare();
    assert_eq!(actor.ask(Request::DropCapabilities), "0");
    // Root without the capabilities that map_files and other namespaces require.
    let report = finish(with_no_capabilities(&mut shmadm()).args(["who", "0x4d2", "--json"])).exits(0);
    report.says("may belong to a segment with the same id");
    // Processes that may not be inspected are a better explanation for the missing attachment, so this one is
    // only possible.
    let row = finish(with_no_capabilities(&mut shmadm()).args(["list", "-o", "pids", "--json"])).json();
    let known = &row["segments"][0]["pids"];
    assert!(known.is_null() || *known == json!([actor.pid()]), "{row}");
    let report = finish(with_no_capabilities(&mut shmadm()).args(["who", "0x4d2", "--json"])).json();
    let report = &report["segments"][0];
    assert_eq!((pids(report), &report["attachments"][0]["certain"]), (BTreeSet::from([actor.pid()]), &json!(false)));
}

#[apply(test)]
#[requires(Root)]
fn without_privilege_the_key_in_the_name_still_identifies_the_segment() {
    let mut actor = Actor::start();
    let id = actor.create(1234, 4096);
    actor.attach(id);
    let mut other = Actor::start();
    other.unshare();
    assert_eq!(other.create(4321, 4096), id);
    other.attach(id);
    for actor in [&mut actor, &mut other] {
        assert_eq!(actor.ask(Request::DropCapabilities), "0");
    }
    // Also attached here by a process that may not be inspected, so that an attachment is missing.
    let _closed = oracle::Attached::new(id);
    let report = finish(with_no_capabilities(&mut shmadm()).args(["who", "0x4d2", "--json"])).exits(0).json();
    assert_eq!(pids(&report["segments"][0]), BTreeSet::from([actor.pid()]), "{report}");
}

#[apply(test)]
#[requires(Root)]
fn a_process_that_left_is_uncertain_if_other_namespaces_are_inaccessible() {
    let mut actor = Actor::start();
    let id = actor.create(1234, 4096);
    actor.attach(id);
    actor.unshare();
    let mut command = shmadm();
    let command = without(&mut command, libc::SYS_setns, None, Errno::EPERM);
    let report = finish(command.args(["who", "0x4d2", "--json"])).exits(0).json();
    let report = &report["segments"][0];
    assert_eq!((pids(report), &report["attachments"][0]["certain"]), (BTreeSet::from([actor.pid()]), &json!(false)));
}

#[apply(test)]
#[requires(Root)]
fn a_process_that_created_the_same_id_and_key_elsewhere_is_still_attached_here() {
    let mut actor = Actor::start();
    let id = actor.create(1234, 4096);
    actor.attach(id);
    actor.unshare();
    // Created in the same second as well, but no process has that one attached.
    assert_eq!(actor.create(1234, 4096), id);
    let report = who(id);
    assert_eq!((pids(&report), &report["found"]), (BTreeSet::from([actor.pid()]), &json!(1)), "{report}");
    let there = run(["--ns", &actor.pid().to_string(), "who", "0x4d2", "--json"]).exits(0).json();
    assert_eq!(there["segments"][0]["attachments"], json!([]), "{there}");
}

#[apply(test)]
#[requires(Root)]
fn equal_ids_in_one_process_are_distinguished_by_size() {
    // The same id and key, and usually the same second; only the size of the file differs.
    let mut actor = Actor::start();
    let first = actor.create(1234, 16384);
    let address = actor.attach(first);
    actor.unshare();
    let second = actor.create(1234, 8192);
    assert_eq!(first, second);
    let there = actor.attach(second);
    for (ns, address) in [(None, address), (Some(actor.pid()), there)] {
        let place = ns.map(|pid| ["--ns".to_owned(), pid.to_string()]);
        let line = place.into_iter().flatten().chain(["who", "0x4d2", "--json"].map(ToOwned::to_owned));
        let report = &run(line).exits(0).json()["segments"][0];
        assert_fields(report, json!({ "found": 1, "hidden": [] }));
        assert_eq!(report["attachments"][0]["address"], address.as_str(), "{report}");
    }
}

#[apply(test)]
#[requires(Root)]
fn equal_ids_in_one_process_are_distinguished_by_the_file() {
    let mut actor = Actor::start();
    let first = actor.create(1234, 4096);
    actor.attach(first);
    let home = oracle::namespace();
    actor.unshare();
    // Created in another second: the segment's times have a resolution of one second.
    wait_until_after(oracle::stat(first).unwrap().shm_ctime.cast_unsigned());
    let second = actor.create(1234, 4096);
    let address = actor.attach(second);
    assert_eq!(first, second);
    let report = who(first);
    assert_fields(&report, json!({ "ns": home, "nattch": 1, "found": 1 }));
    assert_ne!(report["attachments"][0]["address"], address.as_str(), "{report}");
    assert_eq!(report["attachments"][0]["certain"], false, "{report}");
    let there = run(["--ns", &actor.pid().to_string(), "who", &second.to_string(), "--json"]).exits(0).json();
    let there = &there["segments"][0];
    assert_eq!((&there["found"], &there["attachments"][0]["address"]), (&json!(1), &json!(address)), "{there}");
}
