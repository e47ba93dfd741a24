//! `rm` of POSIX objects: nothing that a process uses is lost.

use std::fs::{File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::process::{Command, Stdio};

use expect_test::expect;
use serde_json::json;

use super::{create, file_id, names};
use crate::actor::{Actor, Request};
use crate::fixtures::assert_fields;
use crate::in_flight::queue_descriptor;
use crate::oracle;
use crate::redact::Redaction;
use crate::support::{NOBODY, finish, mount_tmpfs_on, run, shmadm_as};

#[apply(test)]
fn removes_an_object_by_each_of_its_names() {
    for (file, name) in [
        ("x", "/x".to_owned()),
        ("y", "/dev/shm/y".to_owned()),
        ("sem.z", "sem:/z".to_owned()),
        ("sem.w", "/sem.w".to_owned()),
    ] {
        let path = create(file, 4096);
        run(["rm", &name]).exits(0).says("removed ");
        assert!(!std::fs::exists(path).unwrap(), "{name}");
    }
    let path = create("by-inode", 100);
    run(["rm", &file_id(&path)]).exits(0).says("removed object /by-inode (100 bytes)");
    assert_eq!(names(), [""; 0]);
}

#[apply(test)]
fn refuses_an_object_that_a_process_uses_and_names_it() {
    let path = create("used", 8192);
    for request in [Request::OpenFile { path: path.clone() }, Request::MapFile { path }] {
        let mut actor = Actor::start();
        let how = if matches!(request, Request::OpenFile { .. }) { "open" } else { "mapped" };
        actor.ask(request);
        let process = format!("{how} by pid {} (", actor.pid());
        run(["rm", "/used"]).exits(5).says("cannot remove object /used: it is in use").says(&process);
        run(["rm", "--dry-run", "/used"]).exits(5).prints_nothing().says(&process);
        assert_eq!(names(), ["used"]);
    }
}

#[apply(test)]
fn force_removes_the_name_of_a_used_object_and_reports_that_its_memory_remains() {
    let mut actor = Actor::start();
    actor.ask(Request::OpenFile { path: create("used", 8192) });
    create("unused", 4096);
    let ran = run(["rm", "--force", "/used", "/unused", "--json"]).exits(0).says("its name is freed now");
    let report = ran.says(&format!("(open by pid {} (", actor.pid())).json();
    assert_fields(&report["removed"][0], json!({ "name": "/used", "outcome": "unlinked", "type": "shm" }));
    assert_fields(&report["removed"][1], json!({ "name": "/unused", "outcome": "destroyed" }));
    assert_eq!(names(), [""; 0]);
}

#[apply(test)]
fn segments_and_objects_can_be_mixed_and_two_names_are_one_target() {
    let id = oracle::create(0x4d2, 4096, 0o600);
    let path = create("x", 4096);
    let report = run(["rm", "/x", "0x4d2", &file_id(&path), &id.to_string(), "--json"]).exits(0).json();
    assert_eq!(report["removed"].as_array().unwrap().len(), 2);
    assert_eq!((names().len(), oracle::rows().len()), (0, 0));
}

#[apply(test)]
fn what_is_not_a_regular_file_is_never_followed_or_removed() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("target");
    std::fs::write(&target, "contents").unwrap();
    symlink(&target, "/dev/shm/link").unwrap();
    std::fs::create_dir("/dev/shm/directory").unwrap();
    nix::unistd::mkfifo("/dev/shm/fifo", nix::sys::stat::Mode::S_IRUSR).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind("/dev/shm/socket").unwrap();
    for (name, what) in
        [("/link", "a symbolic link"), ("/directory", "a directory"), ("/fifo", "a FIFO"), ("/socket", "a socket")]
    {
        let problem = format!("\"{name}\" is not a shared memory object: it is {what}");
        run(["rm", name]).exits(1).says(&problem);
        run(["rm", "--force", name]).exits(1).says(&problem);
    }
    assert_eq!(names(), ["directory", "fifo", "link", "socket"]);
    assert_eq!(std::fs::read_to_string(target).unwrap(), "contents");
}

#[apply(test)]
fn an_object_with_several_names_is_refused() {
    let path = create("one", 4096);
    std::fs::hard_link(path, "/dev/shm/two").unwrap();
    let failed = run(["rm", "/one", "/two", "--json"]).exits(5).json()["failed"].clone();
    assert_eq!(failed.as_array().unwrap().len(), 1, "two names of one object are one target: {failed}");
    let mut redaction = Redaction::new();
    redaction.hide(format!("-inum {}", std::fs::metadata("/dev/shm/one").unwrap().ino()), "-inum [INODE]");
    redaction.check(
        &run(["rm", "/one"]),
        &expect![[r#"
            [stderr]
            error: cannot remove object /one: it has 2 names (hard links)
            cause: shmadm removes only the last name of an object (rm(1) removes the others)
            hint: find its other names: `find /dev/shm -xdev -inum [INODE]`
            [exit code 5]
        "#]],
    );
    assert_eq!(names(), ["one", "two"]);
}

#[apply(test)]
fn a_missing_object_is_not_found() {
    let redaction = Redaction::new();
    redaction.check(
        &run(["rm", "/missing"]),
        &expect![[r#"
            [stderr]
            error: cannot find object /missing: No such file or directory (ENOENT, statx)
            cause: no object has this name: it was removed or never existed
            hint: list the objects: `shmadm list --posix`
            [exit code 3]
        "#]],
    );
    run(["rm", "/missing", "--ignore-missing"]).exits(0).prints_nothing();
}

#[apply(test)]
fn the_same_failure_of_several_objects_is_one_error() {
    Redaction::new().check(
        &run(["rm", "/a", "/b", "sem:/s", "/c", "sem:/t"]),
        &expect![[r#"
        [stderr]
        error: cannot find 3 objects (/a, /b and /c): No such file or directory (ENOENT, statx)
        cause: no object has this name: it was removed or never existed
        hint: list the objects: `shmadm list --posix`
        error: cannot find 2 semaphores (sem:/s and sem:/t): No such file or directory (ENOENT, statx)
        cause: no object has this name: it was removed or never existed
        hint: list the objects: `shmadm list --posix`
        [exit code 3]
    "#]],
    );
    let mut actor = Actor::start();
    for name in ["a", "b", "c"] {
        actor.ask(Request::OpenFile { path: create(name, 4096) });
    }
    let ran = run(["rm", "-q", "/a", "/b", "/c", "--color", "never"]).exits(5);
    ran.says("error: cannot remove 3 objects (/a, /b and /c): they are in use\n")
        .says("hint: remove the name now; ")
        .says("`shmadm rm -q --color never --force /a /b /c`\n");
    run(["rm", "-q", "--color", "never", "--force", "/a", "/b", "/c"]).exits(0);
    assert_eq!(names(), [""; 0]);
}

#[apply(test)]
fn invalid_names_are_usage_errors() {
    create("a", 4096);
    let long = format!("/{}", "x".repeat(256));
    for name in ["/", "//a", "/a/b", "/.", "/..", "/dev/shm/", "sem:a", "sem:/", "obj:1", "obj:0:1:x", &long] {
        run(["rm", name]).exits(2).says(&format!("invalid segment {name:?}: "));
    }
    assert_eq!(names(), ["a"]);
}

#[apply(test)]
fn an_object_that_is_meant_to_persist_is_kept_without_force() {
    create("libpod_lock", 4096);
    run(["rm", "/libpod_lock"])
        .exits(5)
        .says("podman keeps it between runs")
        .says("hint: let podman clean up: `podman system renumber`\n");
    run(["rm", "/libpod_lock", "--force"]).exits(0);
}

#[apply(test)]
fn several_conflicts_are_all_reported_and_the_decisive_one_is_first() {
    let mut redaction = Redaction::new();
    let mut actor = Actor::start();
    redaction.name(actor.pid(), "ACTOR");
    let [podman, two, lttng] = ["libpod_lock", "two", "lttng-ust-wait-8"].map(|name| create(name, 4096));
    for path in [&two, &lttng] {
        std::fs::hard_link(path, format!("{path}-again")).unwrap();
        redaction.hide(format!("-inum {}", std::fs::metadata(path).unwrap().ino()), "-inum [INODE]");
    }
    for path in [podman, two] {
        actor.ask(Request::OpenFile { path });
    }
    redaction.check(
        &run(["rm", "/libpod_lock"]),
        &expect![[r#"
            [stderr]
            error: cannot remove object /libpod_lock: it is in use
            cause: open by pid [ACTOR] ([USER], /proc/self/exe --actor); podman keeps it between runs
            hint: let podman clean up: `podman system renumber`
            hint: remove the name now; the memory is freed when the last process closes and unmaps it: `shmadm rm --force /libpod_lock`
            [exit code 5]
        "#]],
    );
    redaction.check(
        &run(["rm", "/two", "--force"]),
        &expect![[r#"
            [stderr]
            error: cannot remove object /two: it has 2 names (hard links)
            cause: shmadm removes only the last name of an object (rm(1) removes the others); it is in use: open by pid [ACTOR] ([USER], /proc/self/exe --actor)
            hint: find its other names: `find /dev/shm -xdev -inum [INODE]`
            [exit code 5]
        "#]],
    );
    redaction.check(
        &run(["rm", "/lttng-ust-wait-8"]),
        &expect![[r#"
            [stderr]
            error: cannot remove object /lttng-ust-wait-8: it has 2 names (hard links)
            cause: shmadm removes only the last name of an object (rm(1) removes the others); lttng keeps it between runs
            hint: find its other names: `find /dev/shm -xdev -inum [INODE]`
            [exit code 5]
        "#]],
    );
    run(["rm", "--force", "/libpod_lock"]).exits(0);
}

#[apply(test)]
#[requires(Root)]
fn force_is_not_suggested_to_a_caller_who_may_not_remove_the_name() {
    let mut actor = Actor::start();
    for name in ["theirs", "libpod_lock"] {
        let path = create(name, 4096);
        std::fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        actor.ask(Request::OpenFile { path });
    }
    let path = create("libpod_rootless_lock_0", 4096);
    std::fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    for name in ["/theirs", "/libpod_lock", "/libpod_rootless_lock_0"] {
        let ran = finish(shmadm_as(NOBODY).args(["rm", name]));
        assert!(!ran.stderr.contains("--force"), "{ran:?}");
        ran.says("only its owner, the owner of the directory and a privileged user can remove it");
    }
}

#[apply(test)]
#[requires(Root)]
fn the_reason_why_no_user_was_found_is_named() {
    let _process = queue_descriptor(create("flies", 4096));
    let reason = "cause: no process that uses it was found: a Unix socket has descriptors queued";
    run(["rm", "/flies"]).exits(5).says("it is in use\n").says(reason);
    run(["set", "/flies", "--size", "1"]).exits(5).says("it is in use\n").says(reason);
    run(["rm", "--force", "/flies"]).exits(0).says(reason.strip_prefix("cause: ").unwrap());
}

#[apply(test)]
fn a_dry_run_fails_if_the_removal_would() {
    std::fs::hard_link(create("one", 4096), "/dev/shm/two").unwrap();
    let path = create("unlinked", 4096);
    let unlinked = file_id(&path);
    let mut actor = Actor::start();
    actor.ask(Request::OpenFile { path: path.clone() });
    std::fs::remove_file(path).unwrap();
    for (name, reason) in [("/one", "it has 2 names (hard links)"), (&*unlinked, "it has no name; its memory")] {
        for options in [&["rm", name][..], &["rm", name, "--force"]] {
            run(options).exits(5).says(reason);
            run([options, &["--dry-run"]].concat()).exits(5).says("would fail: cannot remove object ").says(reason);
        }
    }
    assert_eq!(names(), ["one", "two"]);
}

#[apply(test)]
#[requires(Root)]
fn a_forced_dry_run_depends_on_the_right_to_the_name_and_not_on_the_right_to_look() {
    let rm = |name: &str, options: &[&str]| finish(shmadm_as(NOBODY).args(["rm", "--force", name]).args(options));
    let create_all = || {
        create("theirs", 4096);
        let own = create("own", 4096);
        chown(&own, Some(NOBODY), Some(NOBODY)).unwrap();
        std::fs::set_permissions(own, Permissions::from_mode(0o000)).unwrap();
    };
    create_all();
    let cause = "cause: only its owner, the owner of the directory and a privileged user can remove it";
    let problem = "would fail: cannot remove object /theirs: not permitted";
    let hint = "hint: root can do this: `sudo shmadm rm --force /theirs`\n";
    rm("/theirs", &["--dry-run"]).exits(4).says(problem).says(cause);
    rm("/theirs", &[]).exits(4).says("(EPERM, renameat2)").says(cause).says(hint);
    let stdout = rm("/own", &["--dry-run"]).exits(0).stdout;
    assert!(stdout.starts_with("would unlink object /own (4 KiB); cannot determine whether a process uses it: "));
    rm("/own", &[]).exits(0);
    assert_eq!(names(), ["theirs"]);
    // Without the sticky bit, it is enough that the caller may write to the directory.
    mount_tmpfs_on("/dev/shm", Some("mode=777"));
    create_all();
    rm("/theirs", &["--dry-run"]).exits(0);
    rm("/theirs", &[]).exits(0);
}

#[apply(test)]
#[requires(Root, Program(&["chattr"]))]
fn an_immutable_object_is_the_cause() {
    let path = create("x", 4096);
    // tmpfs has attributes since Linux 6.6.
    if !Command::new("chattr").args(["+i", &path]).stderr(Stdio::null()).status().unwrap().success() {
        return;
    }
    let cause = "cause: it is immutable or append-only\nhint: allow changes: `chattr -i -a /dev/shm/x`\n";
    for command in [&["rm", "/x"][..], &["write", "/x", "text"], &["set", "/x", "--mode", "640"]] {
        run(command).exits(4).says("(EPERM, ").says(cause);
    }
    for dry_run in [&["rm", "-n", "/x"][..], &["prune", "-n", "--older-than", "0", "--unattached"]] {
        run(dry_run).exits(4).says("would fail: cannot remove object /x: not permitted\n").says(cause);
    }
    let user = File::open(&path).unwrap();
    assert!(!run(["rm", "/x"]).exits(5).says("immutable").stderr.contains("--force"));
    drop(user);
    assert!(Command::new("chattr").args(["-i", &path]).status().unwrap().success());
}
