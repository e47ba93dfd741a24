//! `prune` of POSIX objects: what no process uses, and never what a program keeps.

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use expect_test::expect;
use nix::libc;
use nix::sys::resource::Resource;
use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};

use super::aside::{is_rename, is_thread_mask};
use super::{create, names};
use crate::actor::{Actor, Request};
use crate::fixtures::assert_fields;
use crate::oracle;
use crate::redact::Redaction;
use crate::resources::limited;
use crate::support::{NOBODY, Ran, Running, finish, mount_tmpfs_on, run, run_with_input, shmadm, shmadm_as, wait_for};
use crate::vanish::{Call, Stopped};

/// Removes everything that is not in use, at once.
pub(super) const ALL: [&str; 8] = ["prune", "--posix", "--unattached", "--older-than", "0s", "--settle", "0s", "--yes"];

/// An object of a process that has exited.
pub(super) fn orphan(number: u32) -> String {
    create(&format!("torch_4194304_1_{number}"), 4096)
}

/// Returns the names of the objects in a list of a report.
fn named(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect()
}

#[apply(test)]
fn orphans_are_removed_and_everything_else_is_kept() {
    let mut actor = Actor::start();
    actor.ask(Request::MapFile { path: create("torch_4194304_1_1", 4096) });
    create("torch_4194304_1_2", 4096);
    create(&format!("torch_{}_1_3", actor.pid()), 4096);
    create("libpod_lock", 4096);
    create("mine", 4096);
    std::fs::create_dir("/dev/shm/joblib_memmapping_folder_4194304_x").unwrap();
    let report = run(["prune", "--posix", "--older-than", "0s", "--yes", "--json"]).exits(0).json();
    let removed = report["removed"].as_array().unwrap();
    assert_eq!(removed.len(), 1, "{report}");
    assert_fields(&removed[0], json!({ "name": "/torch_4194304_1_2", "state": "orphan", "outcome": "destroyed" }));
    assert_eq!(names().len(), 5, "{:?}", names());
}

#[apply(test)]
fn young_objects_are_kept_by_default() {
    create("torch_4194304_1_2", 4096);
    run(["prune", "--posix", "--yes"]).exits(0);
    assert_eq!(names().len(), 1);
}

#[apply(test)]
#[requires(Root)]
fn an_object_of_another_user_in_another_state_is_excluded() {
    chown(orphan(1), Some(NOBODY), Some(NOBODY)).unwrap();
    for (state, others, excluded) in [("idle", 0, 1), ("orphan", 1, 0)] {
        let arguments = ["prune", "--posix", "--unattached", "--state", state, "--dry-run", "--json"];
        let kept = run(arguments).exits(0).json()["kept"].clone();
        assert_fields(&kept, json!({ "other_owner": others, "excluded": excluded }));
    }
}

#[apply(test)]
fn unattached_removes_objects_with_an_unknown_creator() {
    create("mine", 4096);
    create("libpod_lock", 4096);
    let report = run(["prune", "--posix", "--unattached", "--older-than", "0s", "--settle", "0s", "--yes", "--json"])
        .exits(0)
        .json();
    assert_eq!(report["removed"].as_array().unwrap().len(), 1, "{report}");
    assert_eq!(names(), ["libpod_lock"]);
}

#[apply(test)]
fn both_kinds_are_pruned_unless_one_is_chosen() {
    let mut actor = Actor::start();
    let id = actor.create(0, 4096);
    drop(actor);
    create("torch_4194304_1_2", 4096);
    run(["prune", "--older-than", "0s", "--yes", "--sysv"]).exits(0);
    assert_eq!((oracle::stat(id).is_none(), names().len()), (true, 1));
    run(["prune", "--older-than", "0s", "--yes"]).exits(0);
    assert_eq!(names().len(), 0);
}

#[apply(test)]
fn what_is_kept_is_counted_by_reason() {
    let mut actor = Actor::start();
    actor.ask(Request::MapFile { path: create("used", 4096) });
    create(&format!("torch_{}_1_3", actor.pid()), 4096);
    create("mine", 4096);
    create("libpod_lock", 4096);
    std::fs::create_dir("/dev/shm/directory").unwrap();
    std::fs::hard_link(create("one", 4096), "/dev/shm/two").unwrap();
    symlink("mine", "/dev/shm/link").unwrap();
    orphan(1);
    let redaction = Redaction::new();
    redaction.check(
        &run(["prune", "--posix", "--older-than", "0s", "--exclude", "/torch_4194304_1_1"]),
        &expect![[r#"
            [stderr]
            nothing to prune
            kept 8: 1 idle (--unattached), 1 unused (--unattached), 1 in use by pid [PID] ([USER], /proc/self/exe --actor), 1 needed by its program, 1 a directory, 2 with several names, 1 excluded by filters
        "#]],
    );
    let report = run(["prune", "--posix", "--older-than", "0s", "-n", "--json"]).exits(0).json();
    let kept = json!({ "young": 0, "idle": 1, "unused": 1, "in_use": 1, "persistent": 1, "directory": 1, "linked": 2,
        "attached": 0, "excluded": 0, "unknown": 0 });
    assert_fields(&report["kept"], kept);
    assert_fields(&report["freed"], json!({ "segments": 0, "objects": 1, "size": 4096, "rss": 0 }));
    let report = run([&ALL[..], &["--json"]].concat()).exits(0).json();
    assert_eq!(named(&report["removed"]).len(), 3, "{report}");
    assert_eq!(names(), ["directory", "libpod_lock", "link", "one", "two", "used"]);
}

#[apply(test)]
fn filters_select_objects() {
    for number in 1..=4 {
        orphan(number);
    }
    create("psm_1a2b3c4d", 8192);
    let dry = |options: &[&str]| {
        let report = run([&ALL[..], &["-n", "--json"], options].concat()).exits(0).json();
        named(&report["removed"]).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(dry(&["--name", "psm_*"]), ["/psm_1a2b3c4d"]);
    assert_eq!(dry(&["--product", "pytorch"]).len(), 4);
    assert_eq!(dry(&["--exclude", "/torch_4194304_1_1,/torch_4194304_1_2"]).len(), 3);
    assert_eq!(dry(&["--type", "sem"]), [""; 0]);
    assert_eq!(dry(&["--min-size", "8K"]), ["/psm_1a2b3c4d"]);
    assert_eq!(dry(&["--key", "any"]), [""; 0]);
    assert_eq!(dry(&["--state", "orphan"]).len(), 4);
    assert_eq!(dry(&["--state", "unused"]), ["/psm_1a2b3c4d"]);
}

#[apply(test)]
#[requires(Root)]
fn the_table_shows_both_kinds_and_the_question_counts_them() {
    let mut actor = Actor::start();
    actor.create(0x4d2, 4096);
    drop(actor);
    orphan(1);
    let redaction = Redaction::new();
    redaction.check(&run(["prune", "--older-than", "0s", "-n"]), &expect![[r#"
        NAME                KEY         OWNER  SIZE  RSS  SWAP  STATE   IDLE  OUTCOME        WHY
        0                   0x000004d2  root     4K   0B    0B  orphan    [IDLE]s  would destroy  creator pid [PID] has exited, never attached, idle for [IDLE]s
        /torch_4194304_1_1  -           root     4K   0B    0B  orphan    [IDLE]s  would destroy  not in use; creator pid [PID] has exited, idle for [IDLE]s
        [stderr]
        would free 1 segment and 1 object (8 KiB, 0 bytes resident)
    "#]]);
    run(["prune", "--older-than", "0s"]).exits(5).says("cannot remove 1 segment and 1 object: confirmation required");
    redaction.check(
        &run(["prune", "--older-than", "0s", "--yes"]),
        &expect![[r#"
        [stderr]
        removed segment 0 (key 0x000004d2, 4 KiB)
        removed object /torch_4194304_1_1 (4 KiB)
        freed 1 segment and 1 object (8 KiB, 0 bytes resident)
    "#]],
    );
}

/// Waits until `prune` watches what is opened, for its second check.
pub(super) fn wait_for_watch(pid: u32) {
    let descriptors = format!("/proc/{pid}/fdinfo");
    wait_for("the watch", || {
        let mut infos =
            std::fs::read_dir(&descriptors).unwrap().filter_map(|info| std::fs::read_to_string(info.ok()?.path()).ok());
        infos.any(|info| info.contains("inotify wd:"))
    });
}

#[apply(test)]
fn an_object_that_a_process_opens_during_the_second_look_is_kept() {
    let (opened, unopened) = (create("opened", 4096), create("unopened", 4096));
    orphan(1);
    let mut command = shmadm();
    let settle = ["prune", "--posix", "--unattached", "--older-than", "0s", "--settle", "2s", "--yes", "--json"];
    let child = command.args(settle).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for_watch(child.id());
    // A server that restarts opens its object, and may not keep it open.
    drop(File::open(&opened).unwrap());
    let ran = Ran::from(child.wait_with_output().unwrap()).exits(0);
    let report = ran.json();
    assert_eq!(named(&report["skipped"]), ["/opened"]);
    assert_eq!(report["skipped"][0]["reason"], "opened since the listing");
    assert_eq!(names(), ["opened"], "{unopened}");
}

#[apply(test)]
fn an_object_that_was_read_or_changed_after_the_listing_is_skipped() {
    for change in [
        (|path: &str| std::fs::write(path, "x").unwrap()) as fn(&str),
        |path| drop(std::fs::read(path).unwrap()),
        |path| std::fs::set_permissions(path, Permissions::from_mode(0o640)).unwrap(),
        |path| std::fs::hard_link(path, "/dev/shm/other").unwrap(),
    ] {
        let path = orphan(1);
        std::fs::write(&path, "contents").unwrap();
        // A read moves atime only if that is not later than mtime.
        let stopped = Stopped::before(1, is_thread_mask, &ALL);
        change(&path);
        stopped.go_on().exits(0).says("skipped object /torch_4194304_1_1");
        assert!(names().contains(&"torch_4194304_1_1".to_owned()));
        names().iter().for_each(|name| std::fs::remove_file(format!("/dev/shm/{name}")).unwrap());
    }
}

#[apply(test)]
fn an_object_that_replaces_another_during_its_removal_is_kept() {
    let forced = &["rm", "/torch_4194304_1_1", "--force"];
    for arguments in [&["rm", "/torch_4194304_1_1"][..], forced, &ALL] {
        let path = orphan(1);
        let stopped = Stopped::before(1, is_rename, arguments);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "new").unwrap();
        stopped.go_on().says("object /torch_4194304_1_1").says(": its name now belongs to another file\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        std::fs::remove_file(path).unwrap();
    }
}

#[apply(test)]
#[requires(Root)]
fn an_object_that_another_file_has_replaced_before_its_lease_is_skipped_for_that_reason() {
    // The first call that refers to the object by its name in the directory.
    let refers = |call: &Call| {
        let flags = u64::from((libc::O_PATH | libc::O_NOFOLLOW).cast_unsigned());
        call.number == libc::SYS_openat && call.arguments[0] < 1024 && call.arguments[2] & flags == flags
    };
    for replace in [|path: &str| std::fs::write(path, "new").unwrap(), |path: &str| std::fs::create_dir(path).unwrap()]
    {
        let path = orphan(1);
        chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
        let mut command = shmadm_as(NOBODY);
        command.args(ALL).stdout(Stdio::piped()).stderr(Stdio::piped());
        let stopped = Stopped::command_before(1, refers, command);
        std::fs::remove_file(&path).unwrap();
        replace(&path);
        let reason = "skipped object /torch_4194304_1_1 (4 KiB): its name now belongs to another file\n";
        stopped.go_on().exits(0).says(reason);
        let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir(&path));
    }
}

#[apply(test)]
fn an_object_on_which_another_process_holds_a_lease_is_in_use() {
    // The lease lasts until the holder gives it up, or 45 seconds after another process has opened the object.
    let mut holder = Actor::start();
    assert_eq!(holder.ask(Request::LeaseFile { path: orphan(1) }), "0");
    let began = Instant::now();
    run(["rm", "/torch_4194304_1_1"]).exits(5).says("it is in use");
    run(ALL).exits(0).says("1 in use by");
    run(["list", "--posix", "--probe"]).exits(0);
    assert!(began.elapsed() < Duration::from_secs(40), "it waited for the lease of another process");
    assert_eq!(names(), ["torch_4194304_1_1"]);
}

#[apply(test)]
fn a_full_file_system_does_not_prevent_a_removal() {
    mount_tmpfs_on("/dev/shm", Some("mode=1777,size=64k,nr_inodes=3"));
    std::fs::write(orphan(1), [1; 60_000]).unwrap();
    orphan(2);
    run(ALL).exits(0);
    assert_eq!(names(), [""; 0]);
}

#[apply(test)]
fn rm_removes_what_a_dry_run_has_listed_unless_it_has_changed() {
    let mut actor = Actor::start();
    let id = actor.create(0, 4096);
    drop(actor);
    for name in ["torch_4194304_1_1", "torch_4194304_1_2", "torch_4194304_1_3"] {
        create(name, 4096);
    }
    let report = run(["prune", "--older-than", "0s", "-n", "--json"]).exits(0);
    assert_eq!(report.json()["removed"].as_array().unwrap().len(), 4, "{report:?}");
    let directory = tempfile::tempdir().unwrap();
    let file = crate::support::file(directory.path(), "old.json", report.stdout.as_bytes());
    std::fs::File::options().write(true).open("/dev/shm/torch_4194304_1_2").unwrap().set_len(8192).unwrap();
    std::fs::remove_file("/dev/shm/torch_4194304_1_3").unwrap();
    create("torch_4194304_1_3", 4096);
    let ran = run(["rm", "--from", file.to_str().unwrap()]).exits(5);
    let ran = ran.says("cannot remove object /torch_4194304_1_2: it has changed since the lookup");
    ran.says("cannot remove object /torch_4194304_1_3: it has changed since the lookup");
    assert_eq!(
        (oracle::stat(id).is_none(), names()),
        (true, vec!["torch_4194304_1_2".to_owned(), "torch_4194304_1_3".to_owned()])
    );
}

#[apply(test)]
fn a_listed_name_that_is_not_utf8_is_found_by_its_inode() {
    std::fs::write(Path::new("/dev/shm").join(OsStr::from_bytes(b"x\xff")), "").unwrap();
    let report = run([&ALL[..], &["--dry-run", "--json"]].concat()).exits(0);
    assert_eq!(report.json()["removed"][0]["name"], "/x\\xff");
    // It has the name by which the other one is listed.
    create("x\\xff", 4096);
    run_with_input(["rm", "--from", "-"], report.stdout.as_bytes()).exits(0);
    assert_eq!(names(), ["x\\xff"]);
}

#[apply(test)]
fn a_list_removes_no_file_below_or_outside_the_directory() {
    create("torch_4194304_1_1", 4096);
    let report = run(["prune", "--older-than", "0s", "-n", "--json"]).exits(0).stdout;
    std::fs::create_dir("/dev/shm/sub").unwrap();
    std::fs::rename("/dev/shm/torch_4194304_1_1", "/dev/shm/sub/inner").unwrap();
    for name in ["/sub/inner", "/../shm/sub/inner", "sem:/sub/inner"] {
        let list = report.replace("/torch_4194304_1_1", name);
        run_with_input(["rm", "--from", "-"], list.as_bytes()).exits(2).says("invalid name");
        assert!(std::fs::exists("/dev/shm/sub/inner").unwrap(), "{name}");
    }
}

#[apply(test)]
fn a_signal_ends_it_even_if_the_reader_of_its_messages_has_stopped() {
    let (_reader, messages) = std::io::pipe().unwrap();
    nix::fcntl::fcntl(&messages, nix::fcntl::FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    // One line for each, which are more than the pipe holds.
    (1..=99).map(orphan).for_each(drop);
    let mut prune = Running(shmadm().args(ALL).stderr(messages).spawn().unwrap());
    wait_for("the removal", || names().is_empty());
    kill(prune.pid(), Signal::SIGTERM).unwrap();
    let mut ended = None;
    wait_for("its end", || {
        ended = prune.0.try_wait().unwrap();
        ended.is_some()
    });
    assert_eq!(ended.unwrap().signal(), Some(libc::SIGTERM));
}

#[apply(test)]
fn everything_is_removed_even_if_few_files_may_be_open() {
    (1..=99).map(orphan).for_each(drop);
    finish(limited(shmadm().args(ALL), Resource::RLIMIT_NOFILE, 16)).exits(0);
    assert_eq!(names(), [""; 0]);
}
