//! `create --dry-run`: what the call would do, without doing it.

use std::process::Command;

use serde_json::json;

use crate::fixtures::{assert_fields, created, sysctl, without_locked_memory};
use crate::oracle;
use crate::support::{NOBODY, Ran, finish, run, shmadm_as};

/// Runs a dry run and then the same command without `--dry-run`; asserts that both exit alike, and that the dry run
/// names no system call and changes nothing.
#[track_caller]
fn would_fail(arguments: &[&str], cause: &str) {
    let before = oracle::rows();
    let dry = run(arguments.iter().copied().chain(["--dry-run"]));
    assert_would_fail(&dry, cause);
    assert_eq!(oracle::rows(), before, "{arguments:?}");
    run(arguments).exits(dry.code.unwrap()).prints_nothing().says(cause);
    assert_eq!(oracle::rows(), before, "{arguments:?}");
}

#[track_caller]
fn assert_would_fail(dry: &Ran, cause: &str) {
    assert!(dry.stderr.starts_with("error: would fail: ") && dry.stderr.contains(cause), "{dry:?}");
    assert!(!dry.stderr.contains("shmget") && !dry.stderr.contains("shmctl"), "{dry:?}");
    assert!(dry.stdout.is_empty() && dry.code != Some(0), "{dry:?}");
}

#[apply(test)]
fn reports_the_segment_that_would_be_created_and_uses_no_id() {
    let first = run(["create", "-q"]).exits(0).stdout.trim().parse::<i32>().unwrap();
    let before = oracle::rows();
    for (options, text) in [
        (&["-n"][..], "would create a segment (4 KiB, mode 0600)\n"),
        (&["--dry-run", "--key", "0x4d2", "--size", "64K", "--mode", "660"], "(key 0x000004d2, 64 KiB, mode 0660)\n"),
        (&["-n", "--key", "random", "--exclusive"], "would create a segment (random key, 4 KiB, mode 0600)\n"),
        (&["-n", "--key", "0x4d2", "--exclusive", "--fill", "1", "--hold"], "(key 0x000004d2, 4 KiB, mode 0600)\n"),
        (&["-n", "--size", "1T", "--no-reserve"], "would create a segment (1 TiB, mode 0600)\n"),
    ] {
        let ran = run(["create"].into_iter().chain(options.iter().copied())).exits(0);
        assert!(ran.stdout.ends_with(text) && ran.stderr.is_empty(), "{options:?}: {ran:?}");
        assert_eq!(oracle::rows(), before, "{options:?}");
    }
    let second = run(["create", "-q"]).exits(0).stdout.trim().parse::<i32>().unwrap();
    assert_eq!(second, first + 1, "a dry run uses no id");
}

#[apply(test)]
fn reports_the_segment_that_would_be_opened() {
    let id = oracle::create(0x4d2, 5000, 0o660);
    let before = oracle::rows();
    for options in [&[][..], &["--size", "5000", "--mode", "660"], &["--hold"]] {
        let ran = run(["create", "-n", "--key", "0x4d2"].into_iter().chain(options.iter().copied())).exits(0);
        assert_eq!(ran.stdout, format!("would open segment {id} (key 0x000004d2, 5000 bytes)\n"));
    }
    assert_eq!(oracle::rows(), before);
    would_fail(&["create", "--key", "0x4d2", "--size", "5001", "--lock"], "--lock would lock it in memory");
    would_fail(&["create", "--key", "0x4d2", "--mode", "600"], "--mode 0600 differs from its mode, 0660");
    would_fail(&["create", "--key", "0x4d2", "--exclusive"], &format!("segment {id} (owner "));
}

#[apply(test)]
fn the_report_in_json() {
    let create = |options: &[&str]| run(["create", "-n", "--json"].iter().chain(options));
    assert_eq!(
        create(&["--key", "0x4d2"]).exits(0).json(),
        json!({ "schema": 1, "dry_run": true, "created": true, "segment": null, "holder": null })
    );
    oracle::create(0x4d2, 5000, 0o600);
    let report = create(&["--key", "0x4d2"]).exits(0).json();
    assert_fields(&report, json!({ "schema": 1, "dry_run": true, "created": false, "holder": null }));
    assert_fields(&report["segment"], oracle::record(&oracle::rows()[0]));
    let error = create(&["--key", "0x4d2", "--exclusive"]).exits(6).json();
    assert_fields(&error["error"], json!({ "kind": "exists", "errno": null, "call": null, "target": "0x000004d2" }));
    assert!(error["error"]["message"].as_str().unwrap().starts_with("would fail: cannot create a segment"), "{error}");
}

#[apply(test)]
fn a_size_that_cannot_be_created_would_fail() {
    would_fail(&["create", "--size", "0"], "cause: the size is 0");
    would_fail(&["create", "--key", "ftok:/no/such/file"], "cause: ftok: requires an existing file");
    if std::fs::read_to_string("/proc/sys/vm/overcommit_memory").unwrap().trim() == "0" {
        would_fail(&["create", "--size", "1P"], "cause: the size exceeds memory and swap: ");
    }
    // A usage error is one with and without --dry-run.
    run(["create", "-n", "--owner", "no-such-user-anywhere"]).exits(2).says("error: invalid user ");
}

#[apply(test)]
#[requires(Root)]
fn limits_of_the_namespace_would_fail() {
    sysctl("shmmax", 1 << 20);
    would_fail(&["create", "--size", "2M"], "(kernel.shmmax)");
    sysctl("shmall", 10);
    let page = oracle::page_size();
    oracle::create(0, 6 * page, 0o600);
    would_fail(&["create", "--size", &(5 * page).to_string()], "(kernel.shmall)");
    run(["create", "-n", "--size", &(4 * page).to_string()]).exits(0);
    sysctl("shmmni", 1);
    would_fail(&["create"], "(kernel.shmmni)");
    would_fail(
        &["create", "--size", "0"],
        "the minimum is 1 byte; the only segment id of this IPC namespace is in use",
    );
    sysctl("shmmni", 4096);
    sysctl("shm_rmid_forced", 1);
    would_fail(&["create"], "cause: kernel.shm_rmid_forced is 1");
    would_fail(&["create", "--size", "0"], "cause: the size is 0; the minimum is 1 byte; kernel.shm_rmid_forced is 1");
    for limit in ["(kernel.shmmax); 512 more pages", "(kernel.shmall): 6 in ", "; kernel.shm_rmid_forced is 1"] {
        would_fail(&["create", "--size", &(512 * page).to_string()], limit);
    }
    run(["create", "-n", "--hold"]).exits(0);
}

#[apply(test)]
#[requires(Root)]
fn missing_rights_would_fail() {
    let key = ["create", "--key", "0x4d2", "--dry-run"];
    oracle::create(0x4d2, 4096, 0o600);
    let before = oracle::rows();
    // Without --hold, the segment is found, and only an attach would fail.
    let ran = finish(shmadm_as(NOBODY).args(key)).exits(0).says("warning: cannot attach segment ");
    assert!(ran.stdout.starts_with("would open segment "), "{ran:?}");
    assert_would_fail(&finish(shmadm_as(NOBODY).args(key).arg("--hold")).exits(4), "owner root:root");
    for (options, cause) in
        [(["create", "--lock", "-n"], "RLIMIT_MEMLOCK is 0"), (["create", "--huge", "-n"], "vm.hugetlb_shm_group")]
    {
        assert_would_fail(&without_locked_memory(&options).exits(4), cause);
        without_locked_memory(&options[..2]).exits(4).says(cause);
    }
    let size_and_lock = ["create", "--size", "0", "--lock"];
    without_locked_memory(&size_and_lock)
        .exits(1)
        .says("1 byte; this user may not lock memory (RLIMIT_MEMLOCK is 0)\n");
    // A sufficient limit on locked memory grants no huge pages.
    let huge = |options: &[&str]| finish(shmadm_as(NOBODY).args(["create", "--huge"]).args(options)).exits(4);
    assert_would_fail(&huge(&["-n"]), "membership in the group vm.hugetlb_shm_group (root)");
    huge(&[]).says("membership in the group vm.hugetlb_shm_group (root)");
    assert_eq!(oracle::rows(), before);
    would_fail(&["create", "--huge", "--size", "1T"], " required; free and not reserved in the pool: ");
    created(&run(["create", "-q"]).exits(0));
}

#[apply(test)]
fn an_attachment_that_does_not_fit_is_predicted() {
    let cause = "its size, 200 TiB, exceeds the address space of a process, 128 TiB";
    for option in [&["--hold"][..], &["--fill", "1"]] {
        would_fail(&[&["create", "--size", "200T", "--no-reserve"], option].concat(), cause);
    }
    run(["create", "--size", "200T", "--no-reserve", "--dry-run"]).exits(0);
    run(["create", "--key", "9", "--size", "200T", "--no-reserve"]).exits(0);
    would_fail(&["create", "--key", "9", "--hold"], cause);
    let script = "ulimit -v 2000000; exec \"$0\" create --hold --size 3G --no-reserve --dry-run";
    let ran = finish(Command::new("sh").args(["-c", script, env!("CARGO_BIN_EXE_shmadm")])).exits(1);
    ran.says("error: would fail: cannot attach a segment of 3 GiB\n")
        .says("cause: 3 GiB more would exceed RLIMIT_AS: ");
}
