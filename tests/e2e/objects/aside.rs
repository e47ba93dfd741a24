//! The names of objects while they are removed, and after a removal that could not end.

use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::Signal;

use super::prune::{ALL, orphan};
use super::{create, names};
use crate::actor::{Actor, Request};
use crate::sandbox::without;
use crate::support::{Ran, finish, run, shmadm};
use crate::vanish::{Call, Stopped};

#[apply(test)]
fn a_name_left_aside_by_a_killed_removal_is_given_back() {
    create(".shmadm-aside=torch_1_2_3", 4096);
    run(["prune", "--posix", "--dry-run"])
        .exits(0)
        .says("would restore object /torch_1_2_3, which an unfinished removal had renamed\n");
    assert_eq!(names(), [".shmadm-aside=torch_1_2_3"]);
    run(["prune", "--posix", "--yes"])
        .exits(0)
        .says("restored object /torch_1_2_3, which an unfinished removal had renamed\n");
    assert_eq!(names(), ["torch_1_2_3"]);
}

#[apply(test)]
fn a_name_left_aside_is_restored_if_a_process_uses_the_object_but_not_during_a_removal() {
    let mut actor = Actor::start();
    actor.ask(Request::OpenFile { path: create(".shmadm-aside=used", 4096) });
    // A removal that is still running holds the lease.
    assert_eq!(actor.ask(Request::LeaseFile { path: create(".shmadm-aside=leased", 4096) }), "0");
    run(["prune", "--posix", "--yes"]).exits(0).says("restored object /used");
    assert_eq!(names(), [".shmadm-aside=leased", "used"]);
}

/// Returns whether a call blocks the signals before a removal.
pub(super) fn is_thread_mask(call: &Call) -> bool {
    call.number == libc::SYS_rt_sigprocmask && call.arguments[0] == u64::from(libc::SIG_BLOCK.cast_unsigned())
}

pub(super) fn is_rename(call: &Call) -> bool {
    call.number == libc::SYS_renameat2
}

#[apply(test)]
fn a_signal_during_a_removal_leaves_no_object_aside() {
    for arguments in [&["rm", "/torch_4194304_1_1"][..], &ALL] {
        orphan(1);
        let stopped = Stopped::before(1, is_rename, arguments);
        stopped.signal(Signal::SIGTERM);
        assert_eq!(stopped.go_on().signal, Some(libc::SIGTERM));
        assert_eq!(names(), [""; 0], "{arguments:?}");
    }
}

#[apply(test)]
fn a_failed_removal_leaves_no_object_aside() {
    orphan(1);
    for (errno, code) in [(Errno::EPERM, 4), (Errno::EIO, 1)] {
        let mut command = shmadm();
        command.args(ALL);
        let ran = finish(without(&mut command, libc::SYS_unlinkat, None, errno)).exits(code);
        ran.says("cannot remove object /torch_4194304_1_1: ").says("unlinkat)");
        assert_eq!(names(), ["torch_4194304_1_1"]);
    }
}

/// Stops a removal, whose unlinkat fails with EIO if `fails`, before it restores the name, which then is that of
/// another object.
fn left_aside(arguments: &[&str], fails: bool) -> Ran {
    let path = orphan(1);
    let mut command = shmadm();
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    if fails {
        without(&mut command, libc::SYS_unlinkat, None, Errno::EIO);
    }
    let stopped = Stopped::command_before(1, is_rename, command);
    if !fails {
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "replaced").unwrap();
    }
    stopped.calls_until(is_rename);
    std::fs::write(&path, "new").unwrap();
    stopped.go_on()
}

#[apply(test)]
fn an_object_left_aside_is_named_with_the_reason_why_it_was_not_removed() {
    for arguments in [&["rm", "/torch_4194304_1_1"][..], &["rm", "/torch_4194304_1_1", "--force"], &ALL] {
        for fails in [false, true] {
            let ran = left_aside(arguments, fails).exits(1);
            let ran = ran.says("cause: its name is now /.shmadm-aside=torch_4194304_1_1 and could not be restored");
            // The text of EIO depends on the C library.
            let ran = ran.says("error: cannot remove object /torch_4194304_1_1: ");
            ran.says(if fails { " (EIO, unlinkat)\n" } else { "_1: its name now belongs to another file\n" });
            assert_eq!(names(), [".shmadm-aside=torch_4194304_1_1", "torch_4194304_1_1"]);
            names().iter().for_each(|name| std::fs::remove_file(format!("/dev/shm/{name}")).unwrap());
        }
    }
}

#[apply(test)]
fn a_name_of_any_length_can_be_removed_and_a_taken_one_does_not_prevent_it() {
    let long = "x".repeat(255);
    create(&long, 4096);
    create("short", 4096);
    std::fs::create_dir("/dev/shm/.shmadm-aside=short").unwrap();
    run(ALL).exits(0);
    assert_eq!(names(), [".shmadm-aside=short"]);
}

#[apply(test)]
fn an_object_left_aside_whose_name_exists_is_an_object_like_any_other() {
    create(".shmadm-aside=x", 4096);
    create("x", 8192);
    let problem = "cannot restore object /x: another object has this name now; its name is still /.shmadm-aside=x\n";
    let hint = "hint: finish its removal: `shmadm rm /.shmadm-aside=x`\n";
    run(["prune", "--posix", "--dry-run"]).exits(0).says(problem).says(hint);
    for options in [&["--name", "nomatch"][..], &["--exclude", "/.shmadm-aside=x"], &["--older-than", "1h"], &[]] {
        run([&["prune", "--posix", "--yes"], options].concat()).exits(0).says(problem);
        assert_eq!(names(), [".shmadm-aside=x", "x"]);
    }
    run(ALL).exits(0).says("removed object /.shmadm-aside=x (4 KiB)").says("removed object /x (8 KiB)");
    assert_eq!(names(), [""; 0]);
}

#[apply(test)]
fn a_file_written_to_the_directory_deletes_no_object_left_aside() {
    let aside = [".shmadm-aside#7.1", ".shmadm-aside=torch_1_2_3"];
    aside.iter().for_each(|name| drop(create(name, 4096)));
    create("x", 4096);
    run(["dump", "/x", "--output", "/dev/shm/file"]).exits(0);
    assert_eq!(names()[..2], aside);
}

#[apply(test)]
fn an_object_left_aside_is_kept_if_its_name_cannot_be_restored() {
    create(".shmadm-aside=torch_1_2_3", 4096);
    let mut command = shmadm();
    command.args(["prune", "--posix", "--yes"]);
    let ran = finish(without(&mut command, libc::SYS_renameat2, None, Errno::EIO)).exits(0);
    ran.says("cannot restore object /torch_1_2_3: ")
        .says("(EIO, renameat2); its name is still /.shmadm-aside=torch_1_2_3\n");
    assert_eq!(names(), [".shmadm-aside=torch_1_2_3"]);
}

#[apply(test)]
fn an_object_left_aside_without_its_name_is_an_orphan_of_the_removal() {
    let mut removal = Command::new("true").spawn().unwrap();
    removal.wait().unwrap();
    let name = format!(".shmadm-aside#7.{}", removal.id());
    create(&name, 4096);
    run(["prune", "--posix", "--yes", "--older-than", "0s"]).exits(0).says(&format!("removed object /{name}"));
    assert_eq!(names(), [""; 0]);
}
