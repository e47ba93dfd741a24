//! `set`: owner, group, mode and lock.

use nix::errno::Errno;
use nix::libc;
use nix::unistd::{getegid, geteuid};
use serde_json::json;

use crate::fixtures::assert_fields;
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
    assert_eq!(oracle::row(id).unwrap().get("nattch"), "0");
    assert_eq!(oracle::row(id).unwrap().get("atime"), "0", "nothing was attached");
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
