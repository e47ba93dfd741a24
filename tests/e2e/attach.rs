//! `attach`: the kernel's attach counts while it runs and afterwards.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;

use expect_test::expect;
use nix::libc::{self, c_int};
use serde_json::json;

use crate::fixtures::{assert_fields, foreground, sysctl};
use crate::holder::{Holder, mapping};
use crate::oracle;
use crate::redact::Redaction;
use crate::support::{NOBODY, Ran, Running, finish, run, shmadm_as, wait_for};

/// An address in a free range on every architecture, but not page-aligned.
const UNALIGNED: &str = "0x200000123";

/// Sends a signal to a child that has not been waited for.
fn signal(child: &Running, signal: c_int) {
    let signal = nix::sys::signal::Signal::try_from(signal).unwrap();
    nix::sys::signal::kill(child.pid(), signal).unwrap();
}

#[apply(test)]
fn a_segment_that_exceeds_the_address_space_is_explained() {
    run(["create", "--size", "8191P", "--no-reserve"]).exits(0);
    for command in [&["attach", "0", "--background"][..], &["read", "0", "--length", "4"]] {
        let ran = run(command).exits(1).prints_nothing();
        let ran = ran.says("cause: its size, 8191 PiB, exceeds the address space of a process, ");
        assert!(!ran.stderr.contains("hint:"), "{ran:?}");
    }
}

#[apply(test)]
fn reports_the_attachment_and_holds_it_until_a_signal() {
    let id = oracle::create(0x4d2, 5000, 0o600);
    for (ending, code, by) in
        [(libc::SIGTERM, Some(0), None), (libc::SIGINT, Some(0), None), (libc::SIGHUP, None, Some(1))]
    {
        let (mut running, mut stdout, line) = foreground(&["attach", "0x4d2"]);
        let pid = running.0.id().cast_signed();
        let (address, rights) = mapping(pid, id);
        assert_eq!(line, format!("attached segment {id} at {address}, 5000 bytes, rw, pid {pid}\n"));
        assert_eq!(rights, "rw-s");
        assert_eq!(oracle::nattch(id), 1);
        signal(&running, ending);
        let status = running.0.wait().unwrap();
        assert_eq!((status.code(), status.signal()), (code, by), "after signal {ending}");
        assert_eq!(oracle::nattch(id), 0);
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "");
    }
}

#[apply(test)]
fn reports_in_json_before_it_waits() {
    let id = oracle::create(0, 4096, 0o600);
    let (running, _stdout, line) = foreground(&["attach", &id.to_string(), "--read-only", "--json"]);
    let pid = running.0.id();
    let (address, rights) = mapping(pid.cast_signed(), id);
    assert_eq!(rights, "r--s");
    let report: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(report["schema"], 1);
    let attachment = &report["attachment"];
    assert_fields(attachment, json!({ "id": id, "pid": pid, "address": address, "size": 4096, "access": "ro" }));
}

#[apply(test)]
fn ends_after_its_duration() {
    let id = oracle::create(0, 4096, 0o600);
    let ran = run(["attach", &id.to_string(), "--for", "30ms"]).exits(0).says("detached segment");
    assert!(ran.stdout.contains(", rw, pid "), "{ran:?}");
    let row = oracle::row(id).unwrap();
    assert_eq!(row.get("nattch"), "0");
    assert_ne!(row.get("dtime"), "0", "the segment was never attached: {row:?}");
}

#[apply(test)]
fn a_holder_exits_after_its_duration() {
    let id = oracle::create(0, 4096, 0o600);
    let holder =
        Holder::printed(&run(["attach", &id.to_string(), "--background", "--for", "30ms", "--quiet"]).exits(0));
    wait_for("a holder to exit after its duration", || !holder.is_running());
    assert_eq!(oracle::nattch(id), 0);
}

#[apply(test)]
fn a_duration_needs_a_unit() {
    run(["attach", "0", "--for", "30"]).exits(2).says("missing unit: use 30ms, 30s, 30m, 30h, 30d or 30w");
}

#[apply(test)]
fn an_unaligned_address_is_refused() {
    oracle::create(0, 4096, 0o600);
    for more in [None, Some("--background")] {
        let ran = run(["attach", "0", "--address", UNALIGNED].into_iter().chain(more)).exits(1).prints_nothing();
        ran.says("Invalid argument (EINVAL, shmat)")
            .says(&format!("cause: {UNALIGNED} is not a multiple"))
            .says("hint: attach it at 0x200000000: `shmadm attach ");
    }
    // Rounding does not help.
    let outside = run(["attach", "0", "--address", "0xffffffffffffffff"]).exits(1);
    outside.says("is not a multiple").says("hint: let the kernel choose the address: `shmadm attach 0`\n");
    let error = run(["attach", "0", "--address", UNALIGNED, "--json"]).exits(1).json();
    assert_fields(&error["error"], json!({ "errno": "EINVAL", "call": "shmat" }));
    assert_eq!(oracle::rows()[0].get("atime"), "0", "no segment was attached");
}

#[apply(test)]
fn attaches_at_the_given_address() {
    let id = oracle::create(0, 4096, 0o600);
    let (running, _stdout, _) = foreground(&["attach", "0", "--address", "0x200000000"]);
    assert_eq!(mapping(running.0.id().cast_signed(), id).0, "0x200000000");
}

#[apply(test)]
fn round_rounds_the_address_down() {
    oracle::create(0, 4096, 0o600);
    let (_running, _stdout, line) = foreground(&["attach", "0", "--address", UNALIGNED, "--round"]);
    assert!(line.contains(" at 0x200000000, "), "{line}");
    run(["attach", "0", "--round"]).exits(2);
}

// Root may map page zero, but a pointer to it is null.
#[apply(test)]
fn an_address_that_is_or_rounds_to_zero_is_invalid() {
    oracle::create(0, 4096, 0o600);
    Redaction::new().check(
        &run(["attach", "0", "--address", "0x123", "--round", "--for", "1ms"]),
        &expect![[r#"
        [stderr]
        error: invalid address 0x123: it rounds down to 0, which means that the kernel chooses the address
        hint: let the kernel choose the address: `shmadm attach 0 --for 1ms`
        [exit code 2]
    "#]],
    );
    Redaction::new().check(
        &run(["attach", "0", "--address", "0", "--for", "1ms"]),
        &expect![[r#"
        [stderr]
        error: invalid address 0x0: 0 means that the kernel chooses the address
        hint: let the kernel choose the address: `shmadm attach 0 --for 1ms`
        [exit code 2]
    "#]],
    );
    run(["attach", "0", "--address", "0x200000000g"]).exits(2);
}

#[apply(test)]
fn exec_needs_execute_permission() {
    let id = oracle::create(0, 4096, 0o700);
    let (running, _stdout, _) = foreground(&["attach", &id.to_string(), "--exec"]);
    assert_eq!(mapping(running.0.id().cast_signed(), id).1, "rwxs");
}

#[apply(test)]
fn a_missing_segment_is_not_found() {
    for more in [None, Some("--background"), Some("--json")] {
        let ran = run(["attach", "5"].into_iter().chain(more)).exits(3).says("EINVAL");
        assert_eq!(ran.stdout.is_empty(), more != Some("--json"), "{ran:?}");
    }
}

#[apply(test)]
#[requires(Root)]
fn another_users_private_segment_cannot_be_attached() {
    oracle::create(0x4d2, 4096, 0o600);
    let before = oracle::rows();
    for arguments in [
        &["read", "0x4d2"][..],
        &["read", "0x4d2", "--raw"],
        &["write", "0x4d2", "text"],
        &["attach", "0x4d2"],
        &["attach", "0x4d2", "--read-only", "--background"],
    ] {
        let ran = finish(shmadm_as(NOBODY).args(arguments)).exits(4).prints_nothing();
        let ran = ran.says("segment 0").says("Permission denied (EACCES, shmat)");
        let cause = "cause: mode 0600, owner root:root: user ";
        assert!(ran.stderr.contains(cause) && ran.stderr.contains(" (other) has no access\n"), "{ran:?}");
        assert!(ran.stderr.contains("hint: run as root, which bypasses the permission bits: `sudo shmadm "), "{ran:?}");
        assert_eq!(oracle::rows(), before, "{arguments:?}");
    }
    let error = finish(shmadm_as(NOBODY).args(["read", "0x4d2", "--json"])).exits(4).json();
    assert_fields(&error["error"], json!({ "kind": "permission", "errno": "EACCES" }));
}

#[apply(test)]
#[requires(Root)]
fn the_record_of_another_users_private_segment_is_shown() {
    oracle::create(0x4d2, 4096, 0o600);
    for command in [&["stat", "0x4d2", "--json"][..], &["list", "--json"]] {
        let report = finish(shmadm_as(NOBODY).args(command)).exits(0).json();
        assert_fields(&report["segments"][0], oracle::record(&oracle::rows()[0]));
    }
}

#[apply(test)]
#[requires(Root)]
fn detach_finds_no_holder_of_another_users_private_segment() {
    oracle::create(0x4d2, 4096, 0o600);
    let before = oracle::rows();
    finish(shmadm_as(NOBODY).args(["detach", "0x4d2"])).exits(3);
    assert_eq!(oracle::rows(), before);
}

#[apply(test)]
#[requires(Root)]
fn an_attachment_that_the_mode_forbids_is_explained() {
    let id = oracle::create(0, 4096, 0o604);
    let name = id.to_string();
    let before = oracle::rows();
    for more in [None, Some("--background")] {
        let ran: Ran = finish(shmadm_as(NOBODY).args(["attach", &name]).args(more));
        let ran = ran.exits(4).prints_nothing().says("EACCES, shmat");
        assert!(ran.stderr.contains("cause: mode 0604, owner root:root: user "), "{ran:?}");
        assert_eq!(oracle::rows(), before);
    }
    let ran = Ran::from(shmadm_as(NOBODY).args(["attach", &name, "--read-only", "--for", "1ms"]).output().unwrap());
    ran.exits(0);
}

#[apply(test)]
#[requires(Root)]
fn warns_where_the_last_detach_destroys() {
    let id = oracle::create(0x4d2, 4096, 0o600);
    // The creator, this process, keeps running, so the setting destroys nothing yet.
    sysctl("shm_rmid_forced", 1);
    let before = oracle::rows();
    assert_eq!(before.len(), 1);
    for arguments in [&["read", "0x4d2"][..], &["write", "0x4d2", "text"]] {
        run(arguments).exits(5).prints_nothing().says("kernel.shm_rmid_forced is 1");
        assert_eq!(oracle::rows(), before, "{arguments:?}");
    }
    run(["attach", "0x4d2", "--for", "1ms"]).exits(0).says(&format!("the last detach will destroy segment {id}"));
    assert_eq!(oracle::rows(), []);
}
