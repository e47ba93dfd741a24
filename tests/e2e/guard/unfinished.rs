//! Segments of commands that ended before they printed the id: the guard removes them, or does not create them.

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::Signal;
use nix::unistd::getuid;

use super::{Before, Dump, attaches};
use crate::oracle;
use crate::sandbox::without;
use crate::support::{finish, shmadm, wait_for};
use crate::vanish::{Call, Stopped};

#[apply(test)]
fn the_guard_removes_the_segment_of_a_killed_create_or_demo() {
    let starts: Before = |call| call.number == libc::SYS_clone || call.number == libc::SYS_clone3;
    let changes: Before = |call| call.is_shmctl(libc::IPC_SET) || call.is_shmctl(libc::SHM_LOCK);
    let creates = ["create", "--key", "1234"];
    let uid = getuid().to_string();
    for (nth, before, arguments) in [
        (1, attaches as Before, [&creates[..], &["--fill", "1"]].concat()),
        // The first process that it starts is the guard, the next one the holder.
        (2, starts, [&creates[..], &["--hold"]].concat()),
        (1, changes, [&creates[..], &["--lock"]].concat()),
        (1, changes, [&creates[..], &["--owner", &uid, "--mode", "660"]].concat()),
        (3, starts, vec!["demo", "--interval", "1ms"]),
    ] {
        let stopped = Stopped::before(nth, before, &arguments);
        wait_for("the segment", || oracle::rows().len() == 1);
        stopped.signal(Signal::SIGKILL);
        assert_eq!(stopped.go_on().signal, Some(libc::SIGKILL));
        wait_for("its removal", || oracle::rows().is_empty());
    }
}

#[apply(test)]
fn the_guard_removes_a_segment_whose_id_was_not_printed() {
    let dump = Dump::new();
    let prints = |call: &Call| call.number == libc::SYS_write && call.arguments[0] == 1;
    for arguments in [&["create", "--fill", "1"][..], &["create", "--hold"], &["restore", &dump.path]] {
        let stopped = Stopped::before(1, prints, arguments);
        stopped.signal(Signal::SIGKILL);
        stopped.go_on().prints_nothing();
        wait_for("its removal", || oracle::rows().is_empty());
    }
}

#[apply(test)]
fn a_guard_that_cannot_be_reached_is_an_error() {
    let dump = Dump::new();
    for arguments in [&["create", "--fill", "1"][..], &["create", "--hold"], &["restore", &dump.path], &["demo"]] {
        let mut command = shmadm();
        // It cannot write to standard error either.
        finish(without(&mut command, libc::SYS_write, None, Errno::EIO).args(arguments)).exits(1);
        wait_for("the guard to exit", || oracle::rows().is_empty());
    }
}
