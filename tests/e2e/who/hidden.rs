//! Attached processes that `who` cannot see.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::json;

use crate::actor::Actor;
use crate::holder::Holder;
use crate::oracle;
use crate::sandbox::{with_empty_proc, with_new_pid_namespace};
use crate::support::{NOBODY, Ran, finish, shmadm, shmadm_as};
use crate::who::{pids, who};

#[apply(test)]
#[requires(Root)]
fn without_proc_no_permission_is_blamed() {
    let id = oracle::create(7, 4096, 0o600);
    let _attached = oracle::Attached::new(id);
    let mut command = shmadm();
    with_empty_proc(&mut command);
    let ran = finish(command.args(["who", &id.to_string(), "--json"])).exits(0);
    assert_eq!(
        ran.json()["segments"][0]["hidden"],
        json!([{"reason": "unknown", "count": 1, "pids": null}]),
        "{ran:?}"
    );
    assert!(!ran.stderr.contains("run as root"), "{ran:?}");
    ran.says("warning: /proc is not mounted: processes that have segments attached cannot be found\n");
    for (command, argument, code, says) in [
        ("detach", &id.to_string(), 1, "/proc is not mounted"),
        ("rm", &id.to_string(), 5, "cause: attached by processes that cannot be found (/proc is not mounted); "),
        ("who", &format!("--pid={}", std::process::id()), 1, ": /proc is not mounted\n"),
    ] {
        let mut run = shmadm();
        with_empty_proc(&mut run);
        finish(run.args([command, argument])).exits(code).says(says);
    }
    // With /proc, invisible attachments have another reason.
    let ran = finish(shmadm_as(NOBODY).args(["who", &id.to_string()])).exits(0).says("cannot be seen");
    assert!(!ran.stderr.contains("/proc"), "{ran:?}");
}

#[apply(test)]
#[requires(Root)]
fn processes_of_other_users_are_counted() {
    // With a unique key: a process of the same user in another namespace could otherwise match this segment.
    let id = oracle::create(fastrand::u32(0x1000_0000..), 4096, 0o666);
    let mut mine = Actor::start();
    mine.attach(id);
    let attach = finish(shmadm_as(NOBODY).args(["attach", &id.to_string(), "--background"])).exits(0);
    let holder = Holder::printed(&attach);
    let ran = finish(shmadm_as(NOBODY).args(["who", &id.to_string(), "--json"])).exits(0);
    let report = &ran.json()["segments"][0];
    assert_eq!(pids(report), BTreeSet::from([holder.pid]));
    assert_eq!(report["hidden"], json!([{"reason": "permission", "count": 1, "pids": null}]), "{report}");
    assert!(ran.stderr.contains("1 attachment of segment"), "{ran:?}");
    let report = who(id);
    assert_eq!((&report["found"], &report["hidden"]), (&json!(2), &json!([])), "root sees both: {report}");
    // An invisible user is reported as unknown, not as absent.
    let other = oracle::create(fastrand::u32(0x1000_0000..), 4096, 0o666);
    mine.attach(other);
    let rows = finish(shmadm_as(NOBODY).args(["list", "-o", "id,pids,commands", "--json"])).exits(0).json();
    assert_eq!(rows["segments"][1], json!({"id": other, "pids": null, "commands": null}));
    // A process whose state is unknown is not reported as exited.
    let refused = finish(shmadm_as(NOBODY).args(["rm", &other.to_string()])).exits(5);
    assert!(!refused.stderr.contains("exited") && !refused.stderr.contains("--force"), "{refused:?}");
}

#[apply(test)]
#[requires(Root)]
fn one_warning_covers_all_segments() {
    let mut other = Actor::start();
    let [first, second] = [0, 1].map(|_| other.create(fastrand::u32(0x1000_0000..), 4096).to_string());
    for id in [&first, &second] {
        other.attach(id.parse().unwrap());
    }
    let ran = finish(shmadm_as(NOBODY).args(["who", &first, &second])).exits(0);
    let warning = format!(
        "warning: 2 attachments of 2 segments ({first} and {second}) cannot be seen: you are not permitted to inspect \
         some processes (permission)\nhint: run as root: `sudo shmadm who {first} {second}`\n"
    );
    assert_eq!(ran.stderr, warning);
}

/// Runs a command of a shell in a new pid namespace, with the program as `$0`.
fn in_new_pid_namespace(script: &str) -> Ran {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &format!("{script}; exit $?"), env!("CARGO_BIN_EXE_shmadm")]);
    finish(with_new_pid_namespace(&mut command))
}

#[apply(test)]
fn with_the_proc_of_another_pid_namespace_the_reason_is_unknown() {
    let id = oracle::create(7, 4096, 0o600);
    let _attached = oracle::Attached::new(id);
    let ran = in_new_pid_namespace("\"$0\" who 0x7 --json").exits(0);
    let report = &ran.json()["segments"][0];
    assert_eq!(report["hidden"], json!([{"reason": "unknown", "count": 1, "pids": null}]), "{report}");
    ran.says("cannot be seen: /proc belongs to another pid namespace (unknown)\n");
    let unknown = "kept 1: 1 attached by a process that cannot be found (/proc belongs to another pid namespace)\n";
    in_new_pid_namespace("\"$0\" prune --sysv --older-than 0s --dry-run").exits(0).says(unknown);
}

#[apply(test)]
#[requires(Root)]
fn processes_outside_the_pid_namespace_are_counted() {
    let id = oracle::create(7, 4096, 0o600);
    let _attached = oracle::Attached::new(id);
    let mounted = "mount -t proc proc /proc && exec \"$0\" who 0x7 --json";
    let ran = in_new_pid_namespace(&format!("unshare --mount sh -c '{mounted}' \"$0\"")).exits(0);
    let report = &ran.json()["segments"][0];
    assert_eq!(report["hidden"], json!([{"reason": "pid-namespace", "count": 1, "pids": null}]), "{report}");
}
