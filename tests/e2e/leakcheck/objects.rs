//! POSIX objects that a command leaks.

use std::process::Command;

use nix::errno::Errno;
use nix::libc;
use serde_json::json;

use super::{leakcheck, reported, reported_with};
use crate::actor::{Actor, Request};
use crate::fixtures::assert_fields;
use crate::objects::elsewhere::container;
use crate::objects::{create, names};
use crate::sandbox::without;
use crate::support::{finish, mount_tmpfs_on, run, run_with_input, shmadm, wait_for};

/// Prevents the kernel from reporting who creates a file, as for unprivileged users.
fn unobserved(command: &mut Command) -> &mut Command {
    without(command, libc::SYS_fanotify_init, None, Errno::EPERM)
}

#[apply(test)]
fn objects_in_a_private_dev_shm_are_leaked_and_destroyed_with_it() {
    mount_tmpfs_on("/dev/shm", Some("mode=1755,size=64k,nr_inodes=50"));
    create("kept", 4096);
    let script = "test -z \"$(ls /dev/shm)\" || exit 9; stat -fc '%b %c' /dev/shm; stat -c %a /dev/shm; \
                  echo hello >/dev/shm/x; mkdir /dev/shm/d";
    let (ran, report) = reported(&["--isolate", "always"], script);
    let ran = ran.exits(65);
    assert_eq!(ran.stdout, "16 50\n1755\n");
    ran.says("leaked: object /x (6 bytes, 4 KiB allocated), ").says("2 leaked objects (4 KiB allocated)");
    assert_fields(&report, json!({ "leaked": [], "unattributed": [], "unattributed_objects": [] }));
    let mut leaked: Vec<_> = report["leaked_objects"].as_array().unwrap().iter().map(|it| it["name"].clone()).collect();
    leaked.sort_by_key(ToString::to_string);
    assert_eq!(leaked, [json!("/d"), json!("/x")]);
    run_with_input(["rm", "--from", "-"], report.to_string().as_bytes())
        .exits(0)
        .says("ignored 2 leaked objects: rm --from removes only the segments in a leakcheck report\n");
    assert_eq!(names(), ["kept"]);
    // What it removes is not leaked, and its own failure counts.
    finish(&mut leakcheck(&["--isolate", "always"], "echo >/dev/shm/x; rm /dev/shm/x")).exits(0);
    finish(&mut leakcheck(&["--isolate", "always"], "echo >/dev/shm/x; exit 3")).exits(3).says("leaked: object /x");
}

#[apply(test)]
fn unlinked_memory_that_a_surviving_process_holds_is_leaked() {
    let script = "exec 3>/dev/shm/x; echo hello >&3; rm /dev/shm/x; sleep 60 >&- 2>&- & echo $!";
    let (ran, report) = reported(&["--isolate", "always"], script);
    let pid = nix::unistd::Pid::from_raw(ran.stdout.trim().parse().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    ran.exits(65).says("4 KiB allocated, unlinked), open by pid ");
    assert_fields(&report["leaked_objects"][0], json!({ "name": null, "state": "unlinked", "users": 1 }));
}

#[apply(test)]
fn new_objects_of_unknown_creators_are_unattributed() {
    create("before", 4096);
    let (ran, report) = reported_with(&["--isolate", "never"], "echo hello >/dev/shm/x", unobserved);
    ran.exits(65).says("unattributed: object /x (6 bytes, 4 KiB allocated)");
    assert_eq!(report["leaked_objects"], json!([]));
    assert_fields(&report["unattributed_objects"][0], json!({ "name": "/x", "size": 6 }));
    let ran = run_with_input(["rm", "--from", "-"], report.to_string().as_bytes()).exits(0);
    assert_eq!(ran.stderr, "ignored 1 unattributed object\n");
    let mut lenient = leakcheck(&["--isolate", "never", "--lenient"], "echo >/dev/shm/y");
    finish(unobserved(&mut lenient)).exits(0).says("unattributed: ");
    assert_eq!(names(), ["before", "x", "y"]);
}

#[apply(test)]
#[requires(Root)]
fn new_unlinked_memory_of_unknown_creators_is_unattributed() {
    // An object that was in use before is not new.
    let mut actor = Actor::start();
    let path = create("before", 4096);
    actor.ask(Request::OpenFile { path: path.clone() });
    std::fs::write(&path, [1; 4096]).unwrap();
    for is_unlinked in [false, true] {
        if is_unlinked {
            std::fs::remove_file(&path).unwrap();
        }
        let script = "exec 3>/dev/shm/x; echo hello >&3; rm /dev/shm/x; sleep 60 >&- 2>&- & echo $!";
        let (ran, report) = reported_with(&["--isolate", "never"], script, unobserved);
        let pid = nix::unistd::Pid::from_raw(ran.stdout.trim().parse().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        ran.exits(65).says("unattributed: object ").says(", 4 KiB allocated, unlinked), open by pid ");
        assert_eq!(report["unattributed_objects"].as_array().unwrap().len(), 1, "{report}");
        assert_fields(&report["unattributed_objects"][0], json!({ "name": null, "state": "unlinked" }));
        // Its memory is freed before the next command runs.
        wait_for("the process to exit", || {
            run(["list", "--unlinked", "--min-size", "1", "--max-size", "6", "-o", "NAME", "--no-headings"])
                .stdout
                .is_empty()
        });
    }
    finish(&mut leakcheck(&["--isolate", "never"], "true")).exits(0).says("no shared memory was leaked");
}

#[apply(test)]
fn removal_says_that_it_leaves_objects() {
    for options in [&["--isolate", "never", "--rm"][..], &["--isolate", "never", "--rm", "--strict"]] {
        // rm keeps podman's lock.
        finish(unobserved(&mut leakcheck(options, "echo >/dev/shm/x; echo >/dev/shm/libpod_lock")))
            .exits(65)
            .says("no object was removed: --rm and --strict remove segments only\n")
            .says("hint: remove them if no other job needs them: `shmadm rm /x`\n");
        assert_eq!(names(), ["libpod_lock", "x"]);
        ["x", "libpod_lock"].iter().for_each(|name| std::fs::remove_file(format!("/dev/shm/{name}")).unwrap());
    }
}

#[apply(test)]
#[requires(Root)]
fn with_ns_the_objects_of_another_dev_shm_are_not_watched() {
    let other = container("mount -t tmpfs none /dev/shm");
    let ran = run(["--ns", &other.0.id().to_string(), "leakcheck", "--", "sh", "-c", "echo >/dev/shm/x"]).exits(0);
    ran.says("warning: objects omitted: the command uses the /dev/shm of this process, not that of --ns\n");
    let same = container("true");
    let mut command = shmadm();
    command.args(["--ns", &same.0.id().to_string(), "leakcheck", "--", "sh", "-c", "echo >/dev/shm/y"]);
    let ran = finish(unobserved(command.env("PATH", "/usr/bin:/bin"))).exits(65).says("unattributed: object /y");
    assert!(!ran.stderr.contains("omitted"), "{ran:?}");
}

#[apply(test)]
fn an_object_with_several_names_counts_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("leaks.xml");
    let options = ["--isolate", "never", "--rm", "--junit", path.to_str().unwrap()];
    let script = "cd /dev/shm; echo x >a; ln a b; mkdir d; ln a d/c";
    let ran = finish(unobserved(&mut leakcheck(&options, script))).exits(65);
    let ran = ran.says("unattributed: object /a (2 bytes, 4 KiB allocated, 3 names), ");
    let ran = ran.says("warning: 2 unattributed objects (4 KiB allocated)\n");
    let hint = "hint: remove objects with several names (hard links) with rm(1) if no other job needs them: /dev/shm/";
    assert!(!ran.says(hint).stderr.contains("`shmadm rm "), "shmadm rm refuses them");
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains("message=\"2 unattributed POSIX shared memory objects\""), "{text}");
}

#[apply(test)]
fn with_a_report_in_dev_shm_it_is_not_private() {
    let options = ["--isolate", "always", "--report", "/dev/shm/report.json"];
    let ran = finish(unobserved(&mut leakcheck(&options, "echo >/dev/shm/x"))).exits(65);
    ran.says("a report goes to /dev/shm").says("unattributed: object /x ");
    assert_eq!(names(), ["report.json", "x"]);
}
