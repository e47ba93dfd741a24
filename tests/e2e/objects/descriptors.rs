//! Descriptors that a scan must find, and those that must not stop it.
#![expect(clippy::disallowed_methods, reason = "threads of tests have their own descriptor tables")]

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;

use nix::errno::Errno;
use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::dup2;
use serde_json::{Value, json};

use super::no_lease::without_leases;
use super::{create, file_id, names};
use crate::fixtures::assert_fields;
use crate::in_flight::send_descriptor;
use crate::sandbox::{ShownProcesses, without};
use crate::support::{NOBODY, Running, finish, shmadm, wait_for};

/// Runs `test` while a thread of this process holds what `open` returns in a descriptor table of its own.
fn while_a_thread_holds<T>(open: impl FnOnce() -> T + Send, test: impl FnOnce()) {
    let ((opened, is_open), (done, is_done)) = (channel(), channel::<()>());
    std::thread::scope(|scope| {
        scope.spawn(move || {
            unshare(CloneFlags::CLONE_FILES).unwrap();
            let _held = open();
            opened.send(()).unwrap();
            // Fails as soon as the test has ended.
            is_done.recv().unwrap_err();
        });
        let _done = done;
        is_open.recv().unwrap();
        test();
    });
}

/// Returns commands for which kcmp(2) works, and does not.
fn with_and_without_kcmp() -> [Command; 2] {
    let mut denied = shmadm();
    without(&mut denied, libc::SYS_kcmp, None, Errno::ENOSYS);
    [shmadm(), denied]
}

#[apply(test)]
#[requires(Root)]
fn an_object_that_only_a_thread_with_its_own_descriptors_has_open_is_in_use() {
    let path = create("x", 4096);
    let test = || {
        for mut command in with_and_without_kcmp() {
            let report = finish(command.args(["who", "/x", "--json"])).exits(0).json();
            assert_fields(&report["objects"][0], json!({ "in_use": true, "found": 1 }));
            assert_eq!(report["objects"][0]["users"][0]["pid"], std::process::id(), "{report}");
        }
        finish(&mut without_leases(&["rm", "/x"])).exits(5).says("it is in use");
        assert_eq!(names(), ["x"]);
    };
    while_a_thread_holds(|| File::open(path).unwrap(), test);
}

#[apply(test)]
#[requires(Root)]
fn a_descriptor_that_several_threads_show_is_counted_once() {
    let _file = File::open(create("x", 4096)).unwrap();
    // The other thread has a copy of the descriptor.
    let test = || {
        for mut command in with_and_without_kcmp() {
            let report = finish(command.args(["who", "/x", "--json"])).exits(0).json();
            assert_fields(&report["objects"][0], json!({ "in_use": true, "found": 1 }));
        }
    };
    while_a_thread_holds(|| (), test);
}

#[apply(test)]
#[requires(Root)]
fn a_file_is_opened_through_the_thread_that_has_it_under_a_number_that_others_use_too() {
    let path = create("x", 4096);
    std::fs::write(&path, "contents").unwrap();
    let name = file_id(&path);
    // The other threads have this file under the number.
    let mut number = OwnedFd::from(File::open("/dev/null").unwrap());
    let open = || {
        dup2(File::open(&path).unwrap(), &mut number).unwrap();
        std::fs::remove_file(&path).unwrap();
    };
    let test = || {
        let read = finish(shmadm().args(["read", &name, "--text"])).exits(0);
        assert!(read.stdout.starts_with("contents"), "{}", read.stdout);
    };
    while_a_thread_holds(open, test);
}

#[apply(test)]
#[requires(Root)]
fn an_object_in_flight_in_a_socket_of_such_a_thread_is_kept() {
    let shown = ShownProcesses::new(&[std::process::id().cast_signed()]);
    let path = create("x", 4096);
    let test = || {
        let ran = finish(shown.to(&mut without_leases(&["rm", "/x"]))).exits(5);
        ran.says("cannot determine whether it is in use");
        assert_eq!(names(), ["x"]);
    };
    while_a_thread_holds(|| send_descriptor(path), test);
}

/// Mounts a FUSE file system of a user. Its server, which is this descriptor, answers nothing.
fn mount_dead_fuse(uid: u32, directory: &Path) -> File {
    let server = File::options().read(true).write(true).open("/dev/fuse").unwrap();
    let options = format!("fd={},rootmode=40000,user_id={uid},group_id={uid}", server.as_raw_fd());
    mount(Some("dead"), directory, Some("fuse"), MsFlags::empty(), Some(options.as_str())).unwrap();
    server
}

#[apply(test)]
#[requires(Root, Device("/dev/fuse"))]
fn a_server_of_a_file_system_that_does_not_answer_hides_no_descriptor() {
    // Root may not look at the files of the other user.
    for uid in [0, NOBODY] {
        let directory = tempfile::tempdir().unwrap();
        let server = mount_dead_fuse(uid, directory.path());
        let root = File::options().read(true).custom_flags(libc::O_PATH).open(directory.path()).unwrap();
        let object = File::open(create("x", 4096)).unwrap();
        for command in [&["list", "--json"][..], &["usage", "--json"], &["prune", "-n"], &["who", "/x", "--json"]] {
            let mut process =
                Running(shmadm().args(command).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
            wait_for(&format!("{command:?}"), || process.0.try_wait().unwrap().is_some());
            let mut stdout = String::new();
            process.0.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
            if command[0] == "who" {
                let report: Value = serde_json::from_str(&stdout).unwrap();
                assert_fields(&report["objects"][0], json!({ "in_use": true, "found": 1 }));
            }
        }
        drop((server, root, object));
        umount2(directory.path(), MntFlags::MNT_DETACH).unwrap();
        std::fs::remove_file("/dev/shm/x").unwrap();
    }
}
