//! Descriptors that a scan must find, and those that must not stop it.
#![expect(clippy::disallowed_methods, reason = "threads of tests have their own descriptor tables")]

use std::fs::File;
use std::process::Command;
use std::sync::mpsc::channel;

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, unshare};
use serde_json::json;

use super::list::send_descriptor;
use super::no_lease::without_leases;
use super::{create, names};
use crate::fixtures::assert_fields;
use crate::sandbox::{ShownProcesses, without};
use crate::support::{finish, shmadm};

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
