//! `create` and `set` of POSIX objects: they appear complete, and what exists is never changed.

use std::fs::File;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::process::Command;

use nix::libc;
use nix::mount::{MsFlags, mount};
use serde_json::json;

use super::{create, names};
use crate::actor::{Actor, Request};
use crate::fixtures::assert_fields;
use crate::oracle;
use crate::support::{NOBODY, finish, mount_tmpfs_on, run, shmadm, shmadm_as};
use crate::vanish::{Call, Stopped};

#[apply(test)]
fn a_new_object_has_what_was_requested() {
    let ran = run(["create", "/x", "--size", "8K", "--mode", "640", "--fill", "0xab", "--reserve"]).exits(0);
    assert_eq!(ran.stdout, "/x\n");
    let file = std::fs::metadata("/dev/shm/x").unwrap();
    assert_eq!((file.len(), file.permissions().mode() & 0o7777, file.blocks()), (8192, 0o640, 16));
    assert_eq!(std::fs::read("/dev/shm/x").unwrap(), [0xab; 8192]);
    let report = run(["create", "/y", "--json"]).exits(0).json();
    assert_fields(&report, json!({ "schema": 1, "created": true }));
    assert_fields(&report["object"], json!({ "name": "/y", "size": 4096, "mode": "0600", "allocated": 0 }));
}

#[apply(test)]
fn an_existing_object_is_opened_if_it_is_as_requested_and_never_changed() {
    let path = create("x", 4096);
    run(["create", "/x"]).exits(0).says("opened existing object /x");
    run(["create", "/x", "--size", "4096", "--mode", "600"]).exits(0);
    let refused = run(["create", "/x", "--size", "8K", "--mode", "666"]).exits(5).prints_nothing();
    refused
        .says("cannot apply --size and --mode: object /x already exists")
        .says("--size 8 KiB differs from its size, 4 KiB; --mode 0666 differs from its mode, 0600")
        .says("hint: change the existing object: `shmadm set /x --size 8192 --mode 0666`\n")
        .says("hint: open it unchanged: `shmadm create /x`\n");
    let ran = run(["create", "/x", "--size", "8192P"]).exits(5).says("--size 8 EiB differs from its size, 4 KiB\n");
    assert!(!ran.stderr.contains("change the existing object"), "no object can have the size: {ran:?}");
    run(["create", "/x", "--fill", "1", "--reserve"])
        .exits(5)
        .says("--fill would overwrite its contents; --reserve would allocate its memory")
        .says("hint: fill the existing object: `shmadm write /x --fill 1`\n");
    run(["create", "/x", "--size", "8K", "-n"]).exits(5).says("would fail: ");
    let refused = run(["create", "/x", "--exclusive", "--mode", "666"]).exits(6);
    refused
        .says("cannot create object /x: File exists (EEXIST, linkat)\n")
        .says("hint: open the existing object: `shmadm create /x`\n");
    let file = std::fs::metadata(path).unwrap();
    assert_eq!((file.len(), file.permissions().mode() & 0o777), (4096, 0o600));
}

/// Asserts that a command and its dry run, if it has one, fail for the same reason.
#[track_caller]
fn fails(command: impl Fn() -> Command, arguments: &[&str], code: i32, reasons: &[&str]) {
    let ran = finish(command().args(arguments)).exits(code).prints_nothing();
    let dry = finish(command().args(arguments).arg("--dry-run")).exits(code).says("would fail: cannot ");
    for reason in reasons {
        assert!(ran.stderr.contains(reason) && dry.stderr.contains(reason), "{reason}: {ran:?} {dry:?}");
    }
}

#[apply(test)]
#[requires(Root)]
fn a_dry_run_fails_if_the_creation_would() {
    let nobody = || shmadm_as(NOBODY);
    fails(nobody, &["create", "/x", "--owner", "root"], 4, &["only a privileged caller can give it to another owner"]);
    assert_eq!(finish(nobody().args(["create", "/x", "--owner", "65534", "-n"])).exits(0).stderr, "");
    mount_tmpfs_on("/dev/shm", Some("mode=755"));
    let cause = "cause: the mode of /dev/shm is 0755 and its owner is root\n";
    fails(nobody, &["create", "/x"], 4, &["cannot create object /x of 4 KiB", cause]);
    mount_tmpfs_on("/dev/shm", Some("mode=1777,nr_inodes=1"));
    fails(shmadm, &["create", "/x"], 1, &["cause: all 1 inodes of /dev/shm are in use\n"]);
    mount_tmpfs_on("/dev/shm", Some("mode=1777,size=64k"));
    let cause = "cause: /dev/shm has 64 KiB free of 64 KiB\n";
    fails(shmadm, &["create", "/x", "--size", "1M", "--fill", "1"], 1, &[cause]);
    let ran = run(["create", "/x", "--size", "1M", "--reserve"]).exits(1).says(cause);
    assert!(!ran.stderr.contains("hint: list"), "there is nothing to list: {ran:?}");
    let problem = "error: cannot create object /x of 1 MiB: No space left on device (ENOSPC, pwrite)\n";
    run(["create", "/x", "--size", "1M", "--fill", "1"]).exits(1).says(problem);
    run(["create", "/x", "--size", "64K", "--fill", "1", "-n"]).exits(0);
    run(["create", "/x", "--size", "1M", "-n"]).exits(0);
    fails(shmadm, &["create", "/x", "--size", "8192P"], 1, &["cause: an object must be smaller than 8 EiB\n"]);
    assert_eq!(names(), [""; 0]);
}

#[apply(test)]
#[requires(Root)]
fn the_hints_about_a_full_directory_list_what_fills_it() {
    mount_tmpfs_on("/dev/shm", Some("mode=1777,size=64k"));
    std::fs::write("/dev/shm/named", vec![1; 8 << 10]).unwrap();
    let mut unlinked = std::fs::File::create("/dev/shm/unlinked").unwrap();
    std::io::Write::write_all(&mut unlinked, &[1; 40 << 10]).unwrap();
    std::fs::remove_file("/dev/shm/unlinked").unwrap();
    let ran = run(["create", "/x", "--size", "1M", "--reserve"]).exits(1);
    let hints = ran.stderr.split('`').skip(1).step_by(2).map(|command| run(command.split(' ').skip(1)).exits(0).stdout);
    let [named, nameless] = hints.collect::<Vec<_>>().try_into().unwrap();
    assert!(named.contains("/named ") && nameless.contains(" 40K "), "{named}{nameless}");
}

#[apply(test)]
#[requires(Root)]
fn a_file_system_that_is_mounted_read_only_is_the_cause() {
    mount_tmpfs_on("/dev/shm", Some("mode=1777"));
    create("torch_4194304_1_1", 4096);
    let none = None::<&str>;
    mount(none, "/dev/shm", none, MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, none).unwrap();
    let cause = "cause: /dev/shm is mounted read-only\n";
    fails(shmadm, &["create", "/x"], 1, &["cannot create object /x of 4 KiB", cause]);
    let name = "/torch_4194304_1_1";
    let warning =
        "warning: cannot open object /torch_4194304_1_1 for reading and writing: /dev/shm is mounted read-only\n";
    run(["create", name]).exits(0).says(warning);
    run(["write", name, "x"]).exits(1).says("cannot write object ").says(cause);
    run(["attach", name]).exits(1).says("cannot attach object ").says(cause).says(" --read-only`\n");
    for change in [["--size", "1"], ["--size", "8K"], ["--mode", "666"], ["--owner", "1"]] {
        run([&["set", name][..], &change].concat()).exits(1).says("cannot change object ").says(cause);
    }
    let problem = "cannot remove object /torch_4194304_1_1";
    fails(shmadm, &["rm", "/torch_4194304_1_1"], 1, &[problem, cause]);
    run(["prune", "--posix", "--older-than", "0s", "--yes"]).exits(1).says(problem).says(cause);
    run(["prune", "--posix", "--older-than", "0s", "-n"]).exits(1).says("would fail: ").says(problem).says(cause);
}

#[apply(test)]
fn limits_of_the_process_are_named() {
    let limited = |limit: &str| {
        let mut shell = Command::new("sh");
        let script = format!("ulimit {limit}; exec \"$0\" \"$@\"");
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_shmadm")]);
        shell
    };
    let cause = "cause: the size exceeds RLIMIT_FSIZE, 512 bytes\n";
    fails(|| limited("-f 1"), &["create", "/x", "--size", "4K"], 1, &[cause]);
    finish(limited("-f 1").args(["create", "/x", "--size", "512", "-n"])).exits(0);
    create("z", 4096);
    let ran = finish(limited("-f 1").args(["set", "/z", "--size", "8K", "--mode", "640"])).exits(1);
    ran.says("(EFBIG, ftruncate)").says(&format!("{}; its mode has been changed\n", cause.trim_end()));
    let ran = finish(limited("-f 1").args(["write", "/z", "--offset", "1K", "x"])).exits(1).says("(EFBIG, pwrite)");
    ran.says("cause: it would exceed the limit of this process (`ulimit -f`)");
    create("small", 256);
    create("y", 1 << 30);
    finish(limited("-f 1").args(["set", "/y", "--size", "4K"])).exits(0);
    finish(limited("-f 1").args(["set", "/y", "--size", "512"])).exits(0);
    let ran = finish(limited("-f 1").args(["create", "/small", "--size", "4K"])).exits(5);
    assert!(!ran.stderr.contains("shmadm set"), "{ran:?}");
    run(["set", "/y", "--size", "1G"]).exits(0);
    let ran = finish(limited("-v 500000").args(["attach", "/y", "--background"])).exits(1);
    ran.says("cause: 1 GiB more would exceed RLIMIT_AS: ");
}

#[apply(test)]
#[requires(Root)]
fn on_hugetlbfs_sizes_are_whole_pages_and_nothing_can_be_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    mount_tmpfs_on(path, None);
    let none = None::<&str>;
    if mount(none, path, Some("hugetlbfs"), MsFlags::empty(), Some("pagesize=2M")).is_err() {
        return;
    }
    let create = ["--dir", path, "create", "/x"];
    let cause = "cause: the size must be a multiple of the huge page size, 2 MiB\n";
    fails(shmadm, &[&create[..], &["--size", "3M"]].concat(), 1, &[cause, "--size 4194304`\n"]);
    let cause =
        "cause: hugetlbfs does not support write(2); only a process that maps the object can change its contents\n";
    fails(shmadm, &[&create[..], &["--size", "2M", "--fill", "1"]].concat(), 1, &[cause]);
    run([&create[..], &["--size", "2M"]].concat()).exits(0);
    run(["--dir", path, "set", "/x", "--size", "5K"]).exits(1).says("cause: the size must be a multiple of ");
    run(["--dir", path, "write", "/x", "--hex", "00"]).exits(1).says(cause);
    let limits = run(["--dir", path, "limits", "--no-headings"]).exits(0).stdout;
    assert!(limits.contains("POSIX_HUGE") && limits.contains(&format!("memory in {path}")), "{limits}");
    let number = |name: &str| {
        let file = format!("/sys/kernel/mm/hugepages/hugepages-2048kB/{name}");
        std::fs::read_to_string(file).unwrap().trim().parse::<u64>().unwrap()
    };
    if number("free_hugepages") == 0 && number("nr_overcommit_hugepages") == 0 {
        let cause = "cause: 1 huge page of 2 MiB required; free and not reserved in the pool: 0 of ";
        fails(shmadm, &["--dir", path, "create", "/y", "--size", "2M", "--reserve"], 1, &[cause]);
        run(["--dir", path, "attach", "/x", "--for", "1ms"]).exits(1).says("(ENOMEM, mmap)\n").says(cause);
    }
}

#[apply(test)]
#[requires(Root)]
fn an_existing_object_that_the_caller_cannot_open_is_reported() {
    create("theirs", 4096);
    let warning =
        "warning: cannot open object /theirs for reading and writing: its mode is 0600 and its owner is root\n";
    for options in [&["create", "/theirs"][..], &["create", "/theirs", "-n"]] {
        finish(shmadm_as(NOBODY).args(options)).exits(0).says(warning);
        assert!(!run(options).exits(0).stderr.contains("warning"));
    }
    // Nor can it be attached read-only.
    let ran = finish(shmadm_as(NOBODY).args(["attach", "/theirs", "--for", "1ms"])).exits(4);
    assert!(!ran.stderr.contains("--read-only"), "{ran:?}");
    std::fs::set_permissions("/dev/shm/theirs", PermissionsExt::from_mode(0o644)).unwrap();
    finish(shmadm_as(NOBODY).args(["attach", "/theirs", "--for", "1ms"])).exits(4).says("--read-only");
    // In a directory with the sticky bit, --force does not help.
    let ran = finish(shmadm_as(NOBODY).args(["rm", "/theirs"])).exits(4);
    let ran = ran.says(
        "error: cannot remove object /theirs: Permission denied (EACCES, fcntl F_SETLEASE)\ncause: only its owner, ",
    );
    assert!(!ran.says("hint: root can do this: `sudo shmadm rm /theirs`\n").stderr.contains("--force"));
    mount_tmpfs_on("/dev/shm", Some("mode=777"));
    create("theirs", 4096);
    finish(shmadm_as(NOBODY).args(["rm", "/theirs"])).exits(5).says("shmadm rm --force /theirs");
}

#[apply(test)]
fn names_of_new_objects_are_explained() {
    run(["create", "a"]).exits(2).says("expected /NAME; a segment has a key (--key), not a name");
    run(["create", "sem:/a"]).exits(2).says("expected /NAME; named semaphores are created with sem_open(3)");
    run(["restore", "x", "--name", "a"]).exits(2).says("expected /NAME or sem:/NAME");
    run(["stat", "a"]).exits(2).says("ftok:PATH, /NAME, sem:/NAME or obj:MAJ:MIN:INODE");
}

#[apply(test)]
fn a_dry_run_creates_nothing() {
    assert_eq!(
        run(["create", "/x", "-n", "--size", "1M"]).exits(0).stdout,
        "would create object /x (1 MiB, mode 0600)\n"
    );
    create("y", 4096);
    assert_eq!(run(["create", "/y", "-n"]).exits(0).stdout, "would open object /y (4 KiB)\n");
    let ran = run(["create", "/y", "-n", "--json"]).exits(0);
    assert_eq!((ran.json()["created"].clone(), &*ran.stderr), (json!(false), ""));
    assert_eq!(names(), ["y"]);
}

#[apply(test)]
fn reserve_fails_where_the_file_system_is_too_small_and_leaves_nothing() {
    mount_tmpfs_on("/dev/shm", Some("mode=1777,size=64k"));
    let ran = run(["create", "/x", "--size", "1M", "--reserve"]).exits(1);
    ran.says("cannot create object /x of 1 MiB: No space left on device (ENOSPC, fallocate)")
        .says("cause: /dev/shm has 64 KiB free of 64 KiB");
    run(["create", "/x", "--size", "1M", "--reserve", "--dry-run"]).exits(1).says("would fail: ");
    assert_eq!(names(), [""; 0]);
    // Without it, memory is allocated when a page is touched.
    run(["create", "/x", "--size", "1M"]).exits(0);
}

#[apply(test)]
fn without_free_inodes_the_cause_is_named() {
    mount_tmpfs_on("/dev/shm", Some("mode=1777,nr_inodes=2"));
    create("x", 4096);
    run(["create", "/y"]).exits(1).says("cause: all 2 inodes of /dev/shm are in use");
}

#[apply(test)]
fn options_of_segments_are_usage_errors() {
    for option in ["--key=0x4d2", "--huge", "--lock", "--hold", "--no-reserve"] {
        run(["create", "/x", option]).exits(2);
    }
    run(["create", "--reserve"]).exits(2);
    run(["create", "5"]).exits(2).says("expected /NAME");
    assert_eq!(names(), [""; 0]);
}

#[apply(test)]
fn mode_and_size_are_set() {
    let path = create("x", 4096);
    run(["set", "/x", "--mode", "640", "--size", "64K"]).exits(0).says("changed object /x (64 KiB)");
    let file = std::fs::metadata(&path).unwrap();
    assert_eq!((file.len(), file.permissions().mode() & 0o777), (65536, 0o640));
    let report = run(["set", "/x", "--size", "100", "--json"]).exits(0).json();
    assert_eq!(report.get("segment"), None);
    assert_fields(&report["object"], json!({ "name": "/x", "size": 100, "users": 0 }));
    run(["set", "/x", "--lock"]).exits(2).says("only segments can be locked");
}

#[apply(test)]
fn several_changes_report_segments_and_objects() {
    let id = oracle::create(0x4d2, 4096, 0o600);
    create("x", 4096);
    create("y", 4096);
    let report = run(["set", "/x", "0x4d2", "/y", "/z", "--mode", "640", "--json"]).exits(3).json();
    assert_eq!(report["segments"][0]["id"], id);
    let objects: Vec<_> = report["objects"].as_array().unwrap().iter().map(|object| &object["name"]).collect();
    assert_eq!(objects, ["/x", "/y"]);
    assert_fields(&report["failed"][0], json!({ "target": "/z", "code": 3 }));
}

#[apply(test)]
fn an_object_with_two_names_is_changed() {
    let path = create("x", 4096);
    std::fs::hard_link(&path, "/dev/shm/y").unwrap();
    run(["set", "/y", "--mode", "640"]).exits(0);
    assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o640);
}

#[apply(test)]
fn shrinking_an_object_in_use_is_refused_without_force() {
    let path = create("x", 8192);
    let mut actor = Actor::start();
    actor.ask(Request::MapFile { path: path.clone() });
    let by = format!("mapped by pid {}", actor.pid());
    run(["set", "/x", "--size", "4096"]).exits(5).says("cannot shrink object /x to 4 KiB: it is in use").says(&by);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 8192);
    run(["set", "/x", "--size", "16K"]).exits(0);
    run(["set", "/x", "--size", "4096", "--force"]).exits(0);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 4096);
}

#[apply(test)]
#[requires(Root)]
fn an_owner_without_privilege_cannot_give_an_object_away() {
    let path = create("x", 4096);
    chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
    for options in [&["--owner", "root"][..], &["--size", "100", "--mode", "600", "--group", "root"]] {
        let ran = finish(shmadm_as(NOBODY).args(["set", "/x"]).args(options)).exits(4);
        ran.says("cause: only a privileged caller can give it to another owner or group\n");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 4096, "its contents are kept");
    }
    // The new mode may deny what the new size requires.
    finish(shmadm_as(NOBODY).args(["set", "/x", "--mode", "400", "--size", "8K"])).exits(0);
    let file = std::fs::metadata(path).unwrap();
    assert_eq!((file.len(), file.permissions().mode() & 0o777), (8192, 0o400));
}

#[apply(test)]
fn an_object_that_another_process_creates_meanwhile_is_opened() {
    let links = |call: &Call| call.number == libc::SYS_linkat;
    for (options, code, problem) in [
        (&["create", "/x"][..], 0, "opened existing object /x"),
        (&["create", "/x", "--size", "8K"], 5, "--size 8 KiB differs from its size, 4 KiB"),
        (&["create", "/x", "--exclusive"], 6, "cannot create object /x: File exists (EEXIST, linkat)"),
    ] {
        let stopped = Stopped::before(1, links, options);
        let path = create("x", 4096);
        let ran = stopped.go_on().exits(code).says(problem);
        assert_eq!(ran.stdout, if code == 0 { "/x\n" } else { "" });
        std::fs::remove_file(path).unwrap();
    }
}

#[apply(test)]
fn an_object_cannot_be_opened_while_it_is_shrunk() {
    let path = create("x", 8192);
    let truncates = |call: &Call| [libc::SYS_truncate, libc::SYS_ftruncate].contains(&call.number);
    let stopped = Stopped::before(1, truncates, &["set", "/x", "--size", "4096"]);
    let opened = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&path);
    assert_eq!(opened.unwrap_err().raw_os_error(), Some(libc::EAGAIN));
    stopped.go_on().exits(0);
    assert_eq!(std::fs::metadata(path).unwrap().len(), 4096);
}
