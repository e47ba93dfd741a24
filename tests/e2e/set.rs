//! `set`: owner, group, mode and lock.

use nix::errno::Errno;
use nix::libc;
use nix::unistd::{getegid, geteuid};
use serde_json::json;

use crate::fixtures::assert_fields;
use crate::objects::create;
use crate::oracle::{self, Row};
use crate::sandbox::without;
use crate::support::{NOBODY, finish, run, shmadm, shmadm_as};

/// Returns what can be changed of a segment: owner, group, and the mode with its flags.
fn changeable(row: &Row) -> [String; 3] {
    ["uid", "gid", "perms"].map(|name| row.get(name).to_owned())
}

#[apply(test)]
fn changes_only_the_given_attributes() {
    let id = oracle::create(0x4d2, 4096, 0o600);
    let [uid, gid, _] = changeable(&oracle::row(id).unwrap());
    let expect = |perms: &str| {
        assert_eq!(changeable(&oracle::row(id).unwrap()), [uid.clone(), gid.clone(), perms.to_owned()]);
    };
    run(["set", "0x4d2", "--mode", "0640"]).exits(0).prints_nothing().says("changed segment 0 (key 0x000004d2");
    expect("640");
    run(["set", "0x4d2", "--lock"]).exits(0);
    expect("2640");
    run(["set", "0x4d2", "--mode", "0"]).exits(0);
    expect("2000");
    run(["set", "0x4d2", "--unlock"]).exits(0);
    expect("0");
    // The owner may change the mode, although the mode denies even reading.
    run(["set", "0x4d2", "--mode", "777", "--lock", "--owner", &uid, "--group", &gid]).exits(0);
    expect("2777");
    assert_eq!(oracle::nattch(id), 0);
    assert_eq!(oracle::row(id).unwrap().get("atime"), "0", "nothing was attached");
}

#[apply(test)]
fn an_attribute_that_one_of_several_kinds_lacks_changes_none_of_them() {
    let id = oracle::create(0x4d2, 4096, 0o600).to_string();
    let path = create("x", 8192);
    let ran = run(["set", "/x", &id, "--size", "4K"]).exits(2).prints_nothing();
    ran.says("cannot resize segment 0: the size of a segment is fixed");
    run(["set", &id, "/x", "--lock"]).exits(2).says("cannot lock object /x: only segments can be locked");
    assert_eq!(std::fs::metadata(path).unwrap().len(), 8192);
    assert_eq!(oracle::row(0).unwrap().get("perms"), "600");
}

#[apply(test)]
fn reports_the_segment_after_the_change() {
    let id = oracle::create(0x4d2, 5000, 0o600);
    let report = run(["set", "0x4d2", "--mode", "644", "--lock", "--json"]).exits(0).json();
    assert_eq!(report["schema"], 1);
    let row = oracle::row(id).unwrap();
    assert_eq!(row.get("perms"), "2644");
    assert_fields(&report["segment"], oracle::record(&row));
}

#[apply(test)]
fn a_missing_segment_is_not_found() {
    let error = run(["set", "77", "--mode", "644", "--json"]).exits(3).json();
    assert_fields(&error["error"], json!({ "kind": "not-found", "target": "77" }));
}

#[apply(test)]
fn changes_several_segments() {
    let ids: Vec<i32> = (1..=3).map(|key| oracle::create(key, 4096, 0o600)).collect();
    let names: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let perms = || ids.iter().map(|id| oracle::row(*id).unwrap().get("perms").to_owned()).collect::<Vec<_>>();
    let ran = run(["set", &names[0], "0x2", "--mode", "640"]).exits(0).prints_nothing();
    assert_eq!(ran.stderr.matches("changed segment ").count(), 2, "{ran:?}");
    assert_eq!(perms(), ["640", "640", "600"]);
    // Two names of one segment are one target.
    let report = run(["set", "--lock", &names[2], "0x3", "0x1", "--json"]).exits(0).json();
    assert_eq!(report.as_object().unwrap().len(), 4, "{report}");
    assert_fields(&report, json!({ "schema": 1, "objects": [], "failed": [] }));
    let segments = report["segments"].as_array().unwrap();
    assert_eq!(segments.len(), 2);
    for (segment, id) in segments.iter().zip([ids[2], ids[0]]) {
        assert_fields(segment, oracle::record(&oracle::row(id).unwrap()));
    }
    assert_eq!(perms(), ["2640", "640", "2600"]);
}

#[apply(test)]
fn a_missing_segment_does_not_stop_the_others() {
    let [one, two] = [1, 2].map(|key| oracle::create(key, 4096, 0o600));
    let ran = run(["set", "77", &one.to_string(), "0x99", "0x2", "--mode", "640", "--json"]).exits(3);
    let report = ran.json();
    let ids: Vec<_> = report["segments"].as_array().unwrap().iter().map(|segment| segment["id"].clone()).collect();
    assert_eq!(ids, [json!(one), json!(two)]);
    let failed = report["failed"].as_array().unwrap();
    assert_fields(&failed[0], json!({ "target": "77", "code": 3 }));
    assert_fields(&failed[1], json!({ "target": "0x99", "code": 3, "errno": "ENOENT" }));
    assert_eq!((failed.len(), ran.stderr.matches("error: ").count()), (2, 2), "{ran:?}");
    for id in [one, two] {
        assert_eq!(oracle::row(id).unwrap().get("perms"), "640");
    }
    // An invalid name is a usage error before anything changes.
    let before = oracle::rows();
    run(["set", &one.to_string(), "12abc", "--mode", "600"]).exits(2).prints_nothing();
    run(["set", "--mode", "600"]).exits(2).prints_nothing();
    assert_eq!(oracle::rows(), before);
    let report = run(["set", "77", "78", "--mode", "640", "--json"]).exits(3).json();
    assert_eq!(report["segments"], json!([]));
}

#[apply(test)]
#[requires(Root)]
fn a_denied_segment_does_not_stop_the_others() {
    let denied = oracle::create(0x4d2, 4096, 0o666).to_string();
    let own = finish(shmadm_as(NOBODY).args(["create", "-q"])).exits(0).stdout.trim().to_owned();
    let set = |names: &[&str]| finish(shmadm_as(NOBODY).arg("set").args(names).args(["--mode", "640", "--json"]));
    let report = set(&[&denied, &own]).exits(4).json();
    assert_eq!(report["segments"].as_array().unwrap().len(), 1);
    assert_fields(&report["failed"][0], json!({ "target": denied, "errno": "EPERM", "code": 4 }));
    assert_eq!(oracle::row(own.parse().unwrap()).unwrap().get("perms"), "640");
    // Failures of different kinds.
    set(&[&denied, "77", &own]).exits(1);
}

#[apply(test)]
fn invalid_arguments_are_a_usage_error_and_change_nothing() {
    let id = oracle::create(0, 4096, 0o600).to_string();
    let before = oracle::rows();
    for options in [
        &[][..],
        &["--mode", "999"],
        &["--mode", "1000"],
        &["--mode", ""],
        &["--mode", "u+r"],
        &["--lock", "--unlock"],
        &["--owner", "no-such-user-anywhere"],
        &["--owner", ""],
        &["--owner", "-1"],
        &["--owner", "4294967295"],
        &["--group", "4294967296"],
        &["--lock", "--group", "no-such-group-anywhere"],
        &["--mode", "600", "--frozen"],
    ] {
        let ran = run(["set", &id].into_iter().chain(options.iter().copied())).exits(2).prints_nothing();
        assert!(ran.stderr.starts_with("error: "), "{options:?}: {ran:?}");
        assert_eq!(oracle::rows(), before, "{options:?}");
    }
}

#[apply(test)]
#[requires(Root)]
fn root_gives_a_segment_away_by_number_and_by_name() {
    let id = oracle::create(0, 4096, 0o600);
    run(["set", "0", "--owner", "100000", "--group", "100001"]).exits(0);
    let row = oracle::row(id).unwrap();
    assert_eq!(changeable(&row), ["100000", "100001", "600"]);
    let (uid, gid) = (geteuid().to_string(), getegid().to_string());
    assert_eq!((row.get("cuid"), row.get("cgid")), (&*uid, &*gid));
    run(["set", "0", "--owner", "root", "--group", "root"]).exits(0);
    assert_eq!(changeable(&oracle::row(id).unwrap()), ["0", "0", "600"]);
}

#[apply(test)]
#[requires(Root)]
fn the_creator_can_change_a_segment_of_another_owner() {
    let ran = finish(shmadm_as(NOBODY).args(["create", "--owner", "100000"])).exits(0);
    let id = ran.stdout.trim();
    finish(shmadm_as(NOBODY).args(["set", id, "--mode", "640"])).exits(0);
    let row = oracle::row(id.parse().unwrap()).unwrap();
    assert_eq!(changeable(&row), ["100000".to_owned(), NOBODY.to_string(), "640".to_owned()]);
}

#[apply(test)]
#[requires(Root)]
fn another_users_segment_is_denied_with_the_cause() {
    let id = oracle::create(0x4d2, 4096, 0o666);
    oracle::set(id, 100_000, 100_000, 0o666);
    let before = oracle::rows();
    for (option, call) in [
        (&["--mode", "600"][..], "EPERM, shmctl IPC_SET"),
        (&["--owner", "65534"], "EPERM, shmctl IPC_SET"),
        (&["--group", "65534", "--mode", "777"], "EPERM, shmctl IPC_SET"),
        (&["--lock"], "EPERM, shmctl SHM_LOCK"),
        (&["--unlock"], "EPERM, shmctl SHM_UNLOCK"),
        (&["--lock", "--mode", "600"], "EPERM, shmctl SHM_LOCK"),
    ] {
        let ran = finish(shmadm_as(NOBODY).args(["set", "0x4d2"]).args(option)).exits(4).prints_nothing();
        let ran = ran.says(call);
        assert!(ran.stderr.contains("is neither the owner (100000) nor the creator (root)"), "{ran:?}");
        assert_eq!(oracle::rows(), before, "{option:?}");
    }
    let error = finish(shmadm_as(NOBODY).args(["set", "0x4d2", "--mode", "600", "--json"])).exits(4).json();
    assert_fields(&error["error"], json!({ "kind": "permission", "errno": "EPERM", "target": id.to_string() }));
}

#[apply(test)]
fn a_partial_failure_is_rolled_back() {
    let id = oracle::create(0, 4096, 0o600).to_string();
    let before = oracle::rows();
    // SHM_LOCK is another command of shmctl(2), and is not denied.
    let mut command = shmadm();
    let refused = without(&mut command, libc::SYS_shmctl, Some(libc::IPC_SET.cast_unsigned()), Errno::EPERM);
    finish(refused.args(["set", &id, "--lock", "--mode", "640"])).exits(4).prints_nothing().says("IPC_SET");
    assert_eq!(oracle::rows(), before);
    // If the lock cannot be undone either, that is reported.
    let mut command = shmadm();
    for denied in [libc::IPC_SET, libc::SHM_UNLOCK] {
        without(&mut command, libc::SYS_shmctl, Some(denied.cast_unsigned()), Errno::EPERM);
    }
    let ran = finish(command.args(["set", &id, "--lock", "--mode", "640"])).exits(4).prints_nothing();
    ran.says("IPC_SET").says("the segment is still locked").says(&format!("`shmadm set {id} --unlock`"));
    assert!(oracle::rows()[0].get("perms") == "2600");
}
