//! `rm --from`: segments listed in a report are removed if they are unchanged.

use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;

use serde_json::{Value, json};

use crate::actor::{Actor, Request};
use crate::fixtures::all_keys;
use crate::leakcheck::{making, reported};
use crate::oracle;
use crate::support::{NOBODY, Ran, file, finish, run, run_with_input, shmadm, shmadm_as};

/// A report of leakcheck with the keys 2 to 6; key 1 is not in it. Since then, the segment with key 2 has been changed,
/// 3 used, 4 attached, 5 removed, and 6 is unchanged.
struct Reported {
    _directory: tempfile::TempDir,
    report: String,
    _user: Actor,
}

impl Reported {
    fn new() -> Self {
        oracle::create(1, 4096, 0o600);
        let directory = tempfile::tempdir().unwrap();
        let report = directory.path().join("report.json").to_string_lossy().into_owned();
        let mut command = shmadm();
        command.args(["leakcheck", "--isolate", "never", "--report", &report, "--"]);
        let mut creator = Actor::spawn(command.arg(std::env::current_exe().unwrap()));
        let ids: Vec<i32> = (2..=6).map(|key| creator.create(key, 4096)).collect();
        assert_eq!(ids, [1, 2, 3, 4, 5]);
        creator.leave();
        let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        oracle::set(1, uid, gid, 0o640);
        run(["read", "2", "--allow-allocation"]).exits(0);
        let mut user = Actor::start();
        user.attach(3);
        oracle::remove(4);
        Self { _directory: directory, report, _user: user }
    }
}

#[apply(test)]
fn from_a_report_removes_only_unchanged_segments() {
    let reported = Reported::new();
    let ran = run(["rm", "--from", &reported.report, "--json"])
        .exits(1)
        .says("cannot remove segment 1: it has changed since the lookup")
        .says("cannot remove segment 2: it has been used since the listing")
        .says("cannot remove segment 3: it is attached");
    let report = ran.json();
    let removed: Vec<&Value> = report["removed"].as_array().unwrap().iter().map(|one| &one["id"]).collect();
    assert_eq!(removed, [5]);
    let codes: Vec<&Value> = report["failed"].as_array().unwrap().iter().map(|one| &one["code"]).collect();
    assert_eq!(codes, [5, 5, 5, 3]);
    assert_eq!(all_keys(), [1, 2, 3, 4]);
}

#[apply(test)]
fn a_dry_run_from_a_report_changes_nothing() {
    let reported = Reported::new();
    let before = oracle::rows();
    let ran = run(["rm", "--from", &reported.report, "--dry-run"]).exits(1);
    assert!(ran.stdout.starts_with("would remove segment 5 (key 0x00000006"), "{ran:?}");
    assert_eq!(oracle::rows(), before);
}

#[apply(test)]
fn a_segment_used_since_the_report_is_removed_by_id() {
    let _reported = Reported::new();
    run(["rm", "2"]).exits(0);
}

#[apply(test)]
fn from_a_dry_run_of_prune_and_from_standard_input() {
    for key in [1, 2] {
        let mut actor = Actor::start();
        actor.create(key, 4096);
        actor.leave();
    }
    oracle::create(3, 4096, 0o600);
    let list = run(["prune", "--dry-run", "--json", "--older-than", "0s"]).exits(0).stdout;
    let ran = run_with_input(["rm", "--from", "-"], list.as_bytes()).exits(0);
    assert_eq!(ran.stderr.matches("removed segment").count(), 2, "{ran:?}");
    assert_eq!(all_keys(), [3]);
    run_with_input(["rm", "--from", "-"], list.as_bytes()).exits(3);
    run_with_input(["rm", "--from", "-", "--ignore-missing"], list.as_bytes()).exits(0);
}

/// Runs `rm --from` with a report of one segment.
fn rm_from_report(isolation: &str, record: &Value) -> Ran {
    let report = json!({"schema": 1, "isolation": isolation, "leaked": [record]}).to_string();
    run_with_input(["rm", "--from", "-"], report.as_bytes())
}

#[apply(test)]
fn from_an_isolated_report_removes_nothing_with_the_same_id() {
    let id = oracle::create(1, 4096, 0o600);
    let record = run(["list", "--json"]).exits(0).json()["segments"][0].clone();
    for isolation in ["ipc", "user+ipc"] {
        rm_from_report(isolation, &record).exits(5).says("merely has the same number");
    }
    assert!(oracle::row(id).is_some());
    rm_from_report("none", &record).exits(0);
    assert!(oracle::row(id).is_none());
}

#[apply(test)]
fn from_a_report_without_a_valid_namespace_removes_nothing() {
    let id = oracle::create(1, 4096, 0o600);
    let mut record = run(["list", "--json"]).exits(0).json()["segments"][0].clone();
    rm_from_report("some", &record).exits(2);
    record["ns"] = Value::Null;
    rm_from_report("none", &record).exits(5).says("does not name its IPC namespace");
    assert!(oracle::row(id).is_some());
}

#[apply(test)]
fn from_a_report_of_another_namespace_removes_nothing_here() {
    // Isolated, with an id that also exists here.
    let (_, report) = reported(&["--isolate", "always"], &making(&[1]));
    let here = oracle::create(1, 4096, 0o600);
    assert_eq!(report["leaked"][0]["id"], here);
    let text = report.to_string();
    let ran = run_with_input(["rm", "--from", "-"], text.as_bytes());
    // Only a caller who sees all processes can know that the namespace is gone.
    match ran.code {
        Some(3) => drop(ran.says("no longer has a process")),
        _ => {
            let stderr = ran.exits(5).says("in another IPC namespace").stderr;
            // By now another namespace can have the number.
            assert!(
                stderr.contains("hint: ") != stderr.contains("no visible process is in that namespace"),
                "{stderr}"
            );
        }
    }
    let mut actor = Actor::start();
    actor.ask(Request::Unshare);
    let mut elsewhere = report.clone();
    elsewhere["leaked"][0]["ns"] = json!(actor.namespace());
    let ran = run_with_input(["rm", "--from", "-", "--ignore-missing"], elsewhere.to_string().as_bytes()).exits(5);
    // Without permission to create a namespace, the command ran here.
    let stayed = elsewhere["leaked"][0]["ns"] == oracle::namespace();
    drop(ran.says(if stayed {
        "merely has the same number"
    } else {
        "hint: run it again with the same input: `shmadm rm --ignore-missing --from - --ns 'ipc:["
    }));
    assert_eq!(all_keys(), [1]);
}

#[apply(test)]
#[requires(Root)]
fn each_namespace_of_a_list_is_removed_by_its_own_command() {
    oracle::create(1, 4096, 0o600);
    let mut actor = Actor::start();
    actor.ask(Request::Unshare);
    for key in [2, 3] {
        actor.create(key, 4096);
    }
    let (here, there) = (format!("ipc:[{}]", oracle::namespace()), format!("ipc:[{}]", actor.namespace()));
    let records = |ns: &str| {
        let list = run(["list", "--sysv", "--json", "--ns", ns]).exits(0).json();
        list["segments"].as_array().unwrap().clone()
    };
    let (own, others) = (records(&here), records(&there));
    assert_eq!((own.len(), others.len()), (1, 2));
    let remove = |listed: &[Value], more: &[&str]| {
        let list = json!({"schema": 1, "leaked": listed}).to_string();
        run_with_input(["rm", "--from", "-"].iter().chain(more), list.as_bytes())
    };
    // Without --ns, or if the list contains nothing of the namespace, the others are failures.
    remove(&others, &["--ns", &here]).exits(5).says("in another IPC namespace");
    let all = [own, others].concat();
    remove(&all, &[]).exits(5).says(&format!("--from - --ns '{there}'`\n"));
    assert_eq!((records(&here).len(), records(&there).len()), (0, 2));
    remove(&all, &["--ns", &there]).exits(0).says("ignored 1 segment of other IPC namespaces\n");
    assert_eq!(records(&there).len(), 0);
}

/// A directory that every user can search with a list of one segment, `a list`; requires root.
fn list_of_nobody() -> (i32, tempfile::TempDir) {
    let (id, list) = listed();
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let path = file(directory.path(), "a list", list.as_bytes());
    chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
    (id, directory)
}

#[apply(test)]
#[requires(Root)]
fn from_a_file_of_another_user_removes_nothing() {
    let (id, directory) = list_of_nobody();
    // The owner of the file counts, not that of a link to it.
    std::os::unix::fs::symlink("a list", directory.path().join("link")).unwrap();
    for (name, quoted) in [("a list", "'a list'"), ("link", "link")] {
        let mut command = shmadm();
        command.args(["rm", "--ignore-missing", "--dry-run", "--from", name]).current_dir(&directory);
        let ran = finish(&mut command).exits(5).prints_nothing();
        ran.says(&format!("error: cannot use {name}: it belongs to user nobody\n")).says(&format!(
            "hint: after reviewing it, read it from standard input: \
             `shmadm rm --ignore-missing --dry-run --from - < {quoted}`\n"
        ));
    }
    assert!(oracle::row(id).is_some());
}

#[apply(test)]
#[requires(Root)]
fn from_a_link_of_another_user_removes_nothing() {
    let reported = Reported::new();
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("link").to_string_lossy().into_owned();
    std::os::unix::fs::symlink(&reported.report, &link).unwrap();
    std::os::unix::fs::lchown(&link, Some(NOBODY), Some(NOBODY)).unwrap();
    let rows = oracle::rows();
    let ran = run(["rm", "--from", &link]).exits(5);
    ran.says(&format!("error: cannot use {link}: it is a symbolic link of user nobody\n"));
    assert_eq!(oracle::rows(), rows);
}

#[apply(test)]
#[requires(Root)]
fn from_standard_input_the_owner_of_the_file_does_not_matter() {
    let (id, directory) = list_of_nobody();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "\"$0\" rm --from - <'a list'", env!("CARGO_BIN_EXE_shmadm")]).current_dir(&directory);
    finish(&mut command).exits(0);
    assert!(oracle::row(id).is_none());
}

#[apply(test)]
#[requires(Root)]
fn every_user_accepts_only_their_own_files_and_those_of_root() {
    let (_, directory) = list_of_nobody();
    let path = directory.path().join("a list");
    let as_another = || finish(shmadm_as(NOBODY - 1).args(["rm", "--dry-run", "--from"]).arg(&path));
    as_another().exits(5).says("it belongs to user nobody");
    chown(&path, Some(0), Some(0)).unwrap();
    as_another().exits(4).says("would fail: ");
}

#[apply(test)]
fn from_a_file_that_other_users_may_write_removes_nothing() {
    let (id, list) = listed();
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path(), "list", list.as_bytes());
    for (mode, code) in [(0o620, 5), (0o602, 5), (0o664, 5), (0o666, 5), (0o755, 0), (0o644, 0), (0o400, 0)] {
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        let ran = finish(shmadm().args(["rm", "--dry-run", "--from"]).arg(&path)).exits(code);
        if code == 5 {
            ran.says(&format!(": users other than its owner can write to it (mode {mode:04o})\n"));
        }
    }
    assert!(oracle::row(id).is_some());
}

#[apply(test)]
fn from_a_descriptor_of_the_caller_ignores_its_mode() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path(), "list", b"");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
    nix::unistd::mkfifo(&directory.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for script in [
        "\"$0\" rm --from - <list",
        "\"$0\" rm --from /dev/stdin <list",
        "cat list | \"$0\" rm --from /dev/stdin",
        "\"$0\" rm --from /dev/fd/3 3<list",
        "\"$0\" rm --from <(cat list)",
        "cat list >fifo & \"$0\" rm --from fifo",
    ] {
        let (id, list) = listed();
        std::fs::write(&path, list).unwrap();
        let mut command = Command::new("bash");
        command.args(["-c", script, env!("CARGO_BIN_EXE_shmadm")]).current_dir(&directory);
        finish(&mut command).exits(0);
        assert!(oracle::row(id).is_none(), "{script}");
    }
}

#[apply(test)]
#[requires(Root)]
fn a_fifo_of_another_user_is_not_opened() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fifo");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    chown(&path, Some(NOBODY), None).unwrap();
    run(["rm", "--from", path.to_str().unwrap()]).exits(5).says("it belongs to user nobody");
}

#[apply(test)]
fn from_an_invalid_list_removes_nothing() {
    oracle::create(1, 4096, 0o600);
    let record = run(["list", "--json"]).exits(0).json()["segments"][0].clone();
    for text in [
        String::new(),
        "[]".to_owned(),
        "{}".to_owned(),
        json!({"schema": 1}).to_string(),
        json!({"schema": 2, "leaked": [record]}).to_string(),
        json!({"leaked": [record]}).to_string(),
        json!({"schema": 1, "removed": [record]}).to_string(),
        json!({"schema": 1, "dry_run": false, "removed": [record]}).to_string(),
        json!({"schema": 1, "dry_run": true, "removed": [record], "leaked": [record]}).to_string(),
        json!({"schema": 1, "segments": [record]}).to_string(),
        json!({"schema": 1, "leaked": [{"id": 0}]}).to_string(),
        json!({"schema": 1, "leaked": [record]}).to_string() + "x",
    ] {
        run_with_input(["rm", "--from", "-"], text.as_bytes()).exits(2).says("as a list of segments").prints_nothing();
    }
    assert_eq!(all_keys(), [1]);
}

#[apply(test)]
fn unattributed_segments_are_ignored() {
    oracle::create(1, 4096, 0o600);
    let record = run(["list", "--json"]).exits(0).json()["segments"][0].clone();
    let text = json!({"schema": 1, "leaked": [], "unattributed": [record]}).to_string();
    run_with_input(["rm", "--from", "-"], text.as_bytes()).exits(0).says("ignored 1 unattributed segment");
    assert_eq!(all_keys(), [1]);
}

#[apply(test)]
fn a_missing_list_or_a_segment_next_to_a_list_is_refused() {
    oracle::create(1, 4096, 0o600);
    run(["rm", "--from", "/none"]).exits(1).says("cannot read /none");
    run(["rm", "--from", "-", "1"]).exits(2);
    run(["rm"]).exits(2);
    assert_eq!(all_keys(), [1]);
}

#[apply(test)]
fn a_segment_that_is_listed_twice_counts_once() {
    oracle::create(1, 4096, 0o600);
    let record = run(["list", "--json"]).exits(0).json()["segments"][0].clone();
    let text = json!({"schema": 1, "leaked": [record, record]}).to_string();
    run_with_input(["rm", "--from", "-"], text.as_bytes()).exits(0);
    assert_eq!(all_keys(), [] as [u32; 0]);
}

#[apply(test)]
fn the_hint_for_a_used_segment_names_it() {
    let (id, list) = listed();
    run(["read", &id.to_string(), "--length", "1", "--allow-allocation"]).exits(0);
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path(), "list", list.as_bytes());
    for (from, options) in [("-", "-n"), ("-", "-q --json"), (path.to_str().unwrap(), "--ignore-missing -n")] {
        let arguments = ["rm", "--from", from].into_iter().chain(options.split(' '));
        let ran = run_with_input(arguments, list.as_bytes()).exits(5);
        ran.says(&format!("hint: remove anyway: `shmadm rm {options} {id}`\n"));
    }
}

/// Creates a segment; returns its id and a list that contains it.
fn listed() -> (i32, String) {
    let id = oracle::create(0, 4096, 0o600);
    let record = run(["stat", &id.to_string(), "--json"]).exits(0).json()["segments"][0].clone();
    (id, json!({"schema": 1, "isolation": "none", "leaked": [record]}).to_string())
}
