//! Objects whose lease cannot be taken: a scan decides, if all processes can be inspected.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Command, Stdio};

use expect_test::expect;
use nix::errno::Errno;
use nix::libc;
use serde_json::{Value, json};

use super::prune::{ALL, orphan};
use super::{create, names};
use crate::actor::{Actor, Request};
use crate::fixtures::{assert_fields, can_inspect_all};
use crate::in_flight::queue_descriptor;
use crate::redact::Redaction;
use crate::sandbox::{ShownProcesses, with_no_capabilities, without, without_capabilities};
use crate::support::{NOBODY, finish, is_root, run, shmadm, shmadm_as};
use crate::vanish::{Call, Stopped};

const CAP_SETUID: i32 = 7;
const CAP_LEASE: i32 = 28;

/// What a report adds for an object that a scan has found unused.
const EVIDENCE: &str = "its write lease cannot be taken, and a scan of all processes found no user\n";

/// Returns a command for which F_SETLEASE fails.
fn denied(errno: Errno, arguments: &[&str]) -> Command {
    let mut command = shmadm();
    without(command.args(arguments), libc::SYS_fcntl, Some(libc::F_SETLEASE.cast_unsigned()), errno);
    command
}

/// Returns a command for which the kernel grants no leases at all.
pub(super) fn without_leases(arguments: &[&str]) -> Command {
    denied(Errno::EINVAL, arguments)
}

/// Returns a command of root that has no right to the lease of another user's file, not even as that user.
fn without_right(arguments: &[&str]) -> Command {
    let mut command = shmadm();
    without_capabilities(command.args(arguments), &[CAP_LEASE, CAP_SETUID]);
    command
}

#[apply(test)]
fn an_object_that_a_process_uses_is_refused_and_the_process_is_named() {
    let mut actor = Actor::start();
    actor.ask(Request::OpenFile { path: create("used", 8192) });
    let process = format!("open by pid {} (", actor.pid());
    let rm = |options: &[&str]| finish(&mut without_leases(&[&["rm", "/used"], options].concat()));
    for options in [&[][..], &["--dry-run"]] {
        rm(options).exits(5).says("cannot remove object /used: it is in use").says(&process);
    }
    for options in [&["--force", "--json", "--dry-run"][..], &["--force", "--json"]] {
        assert_eq!(names(), ["used"]);
        assert_fields(&rm(options).exits(0).json()["removed"][0], json!({ "name": "/used", "outcome": "unlinked" }));
    }
    assert_eq!(names(), [""; 0]);
}

#[apply(test)]
#[requires(Root)]
fn rm_removes_what_a_complete_scan_finds_unused_and_says_so() {
    for command in [without_leases, without_right] {
        let path = create("x", 4096);
        chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
        let mut actor = Actor::start();
        let shown = ShownProcesses::new(&[actor.pid()]);
        let rm = |options: &[&str]| finish(shown.to(&mut command(&[&["rm", "/x"], options].concat())));
        actor.ask(Request::MapFile { path });
        rm(&[]).exits(5).says(&format!("mapped by pid {} (", actor.pid()));
        drop(actor);
        let stdout = rm(&["--dry-run"]).exits(0).stdout;
        assert_eq!(stdout, format!("would remove object /x (4 KiB): {EVIDENCE}"));
        assert_eq!(names(), ["x"]);
        let report = rm(&["--json"]).exits(0).says(&format!("removed object /x (4 KiB): {EVIDENCE}")).json();
        assert_fields(&report["removed"][0], json!({ "name": "/x", "outcome": "destroyed" }));
        assert_eq!(names(), [""; 0]);
    }
}

#[apply(test)]
#[requires(Root)]
fn prune_removes_what_a_complete_scan_finds_unused_and_says_so() {
    let mut actor = Actor::start();
    let shown = ShownProcesses::new(&[actor.pid()]);
    let prune = |options: &[&str]| finish(shown.to(&mut without_leases(&[&ALL, options].concat())));
    actor.ask(Request::OpenFile { path: orphan(1) });
    orphan(2);
    let rows = prune(&["--dry-run", "--format", "csv"]).exits(0).stdout;
    let why = "not in use according to a scan of all processes; creator pid 4194304 has exited";
    assert!(rows.contains(why), "{rows}");
    prune(&[]).exits(0).says(&format!("removed object /torch_4194304_1_2 (4 KiB): {EVIDENCE}"));
    assert_eq!(names(), ["torch_4194304_1_1"]);
}

#[apply(test)]
#[requires(Root)]
fn what_was_removed_before_a_scan_fails_is_reported() {
    // One more than are removed together.
    (1..=65).map(orphan).for_each(drop);
    let shown = ShownProcesses::new(&[]);
    let mut command = without_leases(&ALL);
    shown.to(&mut command).arg("--json").stdout(Stdio::piped()).stderr(Stdio::piped());
    let stopped = Stopped::command_before(1, |call| call.number == libc::SYS_renameat2, command);
    shown.add_process_that_cannot_be_read();
    let ran = stopped.go_on().exits(1).says("removed object /torch_4194304_1_").says("(EISDIR, open)");
    let report = ran.json();
    assert_eq!(
        [&report["removed"], &report["failed"]].map(|list: &Value| list.as_array().unwrap().len()),
        [64, 1],
        "{report}"
    );
    assert_eq!(names().len(), 1);
}

#[apply(test)]
#[requires(Root)]
fn set_shrinks_what_a_complete_scan_finds_unused() {
    let path = create("x", 8192);
    let mut actor = Actor::start();
    let shown = ShownProcesses::new(&[actor.pid()]);
    let set = || finish(shown.to(&mut without_leases(&["set", "/x", "--size", "4096"])));
    actor.ask(Request::MapFile { path: path.clone() });
    set().exits(5).says("cannot shrink object /x to 4 KiB: it is in use");
    drop(actor);
    set().exits(0);
    assert_eq!(std::fs::metadata(path).unwrap().len(), 4096);
}

#[apply(test)]
#[requires(Root)]
fn a_process_that_opens_an_object_between_the_scan_and_its_removal_is_reported() {
    let renames = |call: &Call| call.number == libc::SYS_renameat2;
    for (arguments, effect) in [
        (&["rm", "/torch_4194304_1_1"][..], "its name is freed now"),
        (&ALL, "a process opened it just before the removal"),
    ] {
        let path = orphan(1);
        let mut actor = Actor::start();
        let shown = ShownProcesses::new(&[actor.pid()]);
        let mut command = without_leases(arguments);
        shown.to(&mut command).arg("--json").stdout(Stdio::piped()).stderr(Stdio::piped());
        let stopped = Stopped::command_before(1, renames, command);
        actor.ask(Request::OpenFile { path });
        let ran = stopped.go_on().exits(0).says(&format!("unlinked object /torch_4194304_1_1 (4 KiB): {effect}"));
        assert_fields(&ran.json()["removed"][0], json!({ "outcome": "unlinked" }));
    }
}

#[apply(test)]
#[requires(Root)]
fn an_object_in_flight_is_kept_although_no_process_has_it_open() {
    let process = queue_descriptor(orphan(1));
    let shown = ShownProcesses::new(&[process.pid().as_raw()]);
    let refused = "cannot determine whether it is in use: Invalid argument (EINVAL, fcntl F_SETLEASE)\n\
                   cause: the kernel or a sandbox grants no write leases, and a Unix socket ";
    let skipped = "cannot determine whether in use";
    for (arguments, code, text) in [
        (&["rm", "/torch_4194304_1_1"][..], 5, refused),
        (&["set", "/torch_4194304_1_1", "--size", "1"], 5, refused),
        (&ALL, 0, skipped),
    ] {
        finish(shown.to(&mut without_leases(arguments))).exits(code).says(text);
        assert_eq!(names(), ["torch_4194304_1_1"]);
    }
    drop(process);
    finish(shown.to(&mut without_leases(&ALL))).exits(0);
    assert_eq!(names(), [""; 0]);
}

#[apply(test)]
#[requires(Root)]
fn with_force_the_scan_decides_only_what_is_reported() {
    create("x", 4096);
    let shown = ShownProcesses::new(&[]);
    let ran = finish(shown.to(&mut without_leases(&["rm", "--force", "/x"]))).exits(0);
    assert_eq!(ran.stderr, format!("removed object /x (4 KiB): {EVIDENCE}"));
    create("x", 4096);
    let process = queue_descriptor("/dev/shm/x".to_owned());
    let shown = ShownProcesses::new(&[process.pid().as_raw()]);
    let rm = |options: &[&str]| finish(shown.to(&mut without_leases(&[&["rm", "--force", "/x"], options].concat())));
    let unknown = "cannot determine whether a process uses it: a Unix socket ";
    let stdout = rm(&["--dry-run"]).exits(0).stdout;
    assert!(stdout.starts_with(&format!("would unlink object /x (4 KiB); {unknown}")), "{stdout}");
    let ran = rm(&["--json"]).exits(0).says("warning: unlinked object /x (4 KiB): ").says(unknown);
    assert_fields(&ran.json()["removed"][0], json!({ "outcome": "unlinked" }));
}

#[apply(test)]
#[requires(Root)]
fn with_force_an_object_that_may_be_in_use_is_unlinked() {
    let mut actor = Actor::start();
    let path = create("x", 4096);
    actor.ask(Request::OpenFile { path: path.clone() });
    chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o000)).unwrap();
    let rm = |options: &[&str]| finish(shmadm_as(NOBODY).args(["rm", "--force", "/x"]).args(options));
    Redaction::new().check(
        &rm(&["--dry-run"]),
        &expect![[r#"
            would unlink object /x (4 KiB); cannot determine whether a process uses it: you are not permitted to inspect some processes
        "#]],
    );
    Redaction::new().check(
        &rm(&[]),
        &expect![[r#"
            [stderr]
            warning: unlinked object /x (4 KiB): its name is freed now, the memory when the last process closes and unmaps it (cannot determine whether a process uses it: you are not permitted to inspect some processes)
        "#]],
    );
    assert_eq!(names(), [""; 0]);
}

#[apply(test)]
fn prune_scans_only_where_no_process_could_take_the_lease() {
    let shown = ShownProcesses::new(&[]);
    for errno in [Errno::EINVAL, Errno::EPERM, Errno::EACCES] {
        let path = orphan(1);
        let mut command = denied(errno, &ALL);
        if is_root() {
            shown.to(&mut command);
        }
        let report = finish(command.arg("--json")).exits(0).json();
        let expected = if (is_root() || can_inspect_all()) && errno != Errno::EACCES { 0 } else { 1 };
        assert_eq!(names().len(), expected, "{errno}: {report}");
        assert_eq!(report["skipped"].as_array().unwrap().len(), expected, "{errno}: {report}");
        let _ = std::fs::remove_file(path);
    }
}

#[apply(test)]
#[requires(Root)]
fn prune_removes_another_users_object_only_with_the_right_to_its_lease() {
    let theirs = || chown(orphan(1), Some(NOBODY), Some(NOBODY)).unwrap();
    theirs();
    // A caller without the right skips it.
    std::fs::set_permissions("/dev/shm/torch_4194304_1_1", Permissions::from_mode(0o666)).unwrap();
    let ran = finish(shmadm_as(12345).args(ALL).arg("--any-owner")).exits(0);
    ran.says("skipped object /torch_4194304_1_1 (4 KiB): the write lease cannot be taken");
    // Several with the same reason are one line, and a dry run has them in its table.
    for number in 2..=5 {
        std::fs::set_permissions(orphan(number), Permissions::from_mode(0o666)).unwrap();
    }
    let prune = |options: &[&str]| finish(shmadm_as(12345).args(ALL).arg("--any-owner").args(options)).exits(0);
    let ran = prune(&[]);
    let lines: Vec<_> = ran.stderr.lines().filter(|line| line.starts_with("skipped ")).collect();
    assert_eq!(lines.len(), 1, "{ran:?}");
    assert!(
        lines[0].starts_with("skipped 5 objects (") && lines[0].contains(" and 2 more): the write lease "),
        "{ran:?}"
    );
    let ran = prune(&["-n"]);
    assert!(!ran.stderr.contains("skipped") && ran.stdout.matches(" skipped ").count() == 5, "{ran:?}");
    let ran = finish(shmadm_as(12345).args(["rm", "/torch_4194304_1_1"])).exits(4);
    ran.says(
        "(EACCES, fcntl F_SETLEASE)\ncause: only its owner, the owner of the directory and a privileged user can ",
    );
    std::fs::set_permissions("/dev/shm", Permissions::from_mode(0o777)).unwrap();
    let ran = finish(shmadm_as(12345).args(["rm", "/torch_4194304_1_1"])).exits(5);
    let cause =
        "cause: only its owner and a caller with CAP_LEASE can take its write lease, and you are not permitted ";
    ran.says(cause);
    finish(shmadm_as(12345).args(["set", "/torch_4194304_1_1", "--size", "1"])).exits(5).says(cause);
    (2..=5).for_each(|number| std::fs::remove_file(format!("/dev/shm/torch_4194304_1_{number}")).unwrap());
    // By default, only the caller's own are removed.
    run(ALL).exits(0).says("1 of other users (--any-owner)");
    assert_eq!(names().len(), 1);
    run([&ALL[..], &["--any-owner"]].concat()).exits(0);
    assert_eq!(names(), [""; 0]);
    theirs();
    let mut command = shmadm();
    finish(with_no_capabilities(command.args(ALL).arg("--any-owner"))).exits(0);
    assert_eq!(names().len(), 1, "root without capabilities has no right to it");
}

#[apply(test)]
#[requires(Root)]
fn an_object_that_its_owner_may_not_open_is_refused_with_its_mode() {
    let path = create("x", 4096);
    chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o000)).unwrap();
    let ran = finish(shmadm_as(NOBODY).args(["rm", "/x"])).exits(5);
    let ran =
        ran.says("cannot remove object /x: cannot determine whether it is in use: Permission denied (EACCES, open)");
    assert!(!ran.stderr.contains("lease"), "{ran:?}");
    ran.says("cause: its mode is 0000 and its owner is ")
        .says("hint: give yourself access: `shmadm set /x --mode 0600`\n");
    for command in ["read /x", "write /x --hex 00", "attach /x --for 1ms", "set /x --size 1"] {
        let ran = finish(shmadm_as(NOBODY).args(command.split(' '))).exits(4);
        ran.says("hint: give yourself access: `shmadm set /x --mode 0600`\n");
    }
    finish(shmadm_as(NOBODY).args(["set", "/x", "--mode", "0600"])).exits(0);
    finish(shmadm_as(NOBODY).args(["rm", "/x"])).exits(0);
}
