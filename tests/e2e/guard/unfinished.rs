//! Segments whose id was not printed: the guard removes them, or does not create them.

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::Signal;

use super::Dump;
use crate::oracle;
use crate::sandbox::without;
use crate::support::{finish, shmadm, wait_for};
use crate::vanish::{Call, Stopped};

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
