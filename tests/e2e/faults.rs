//! `dump` and `restore` are killed at any point, and files and segments change during the work: nothing incomplete
//! remains, and no data is lost.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use nix::libc;
use nix::sys::signal::Signal;

use crate::actor::Actor;
use crate::fixtures::{dump_path, file_names};
use crate::guard::guard_of;
use crate::oracle::{self, Attached};
use crate::sandbox::with_empty_proc;
use crate::support::{finish, noise, run, shmadm, wait_for};
use crate::vanish::{Call, Stopped};

/// A size that is processed in two pieces by one thread.
const TWO_PIECES: usize = 512 << 10;
/// A size that is processed by several threads, if there are several CPUs.
const MANY_PIECES: usize = (5 << 20) - 77;

#[apply(test)]
fn a_dump_killed_anywhere_leaves_no_partial_file() {
    killed_dumps(9000, 60, 1);
    killed_dumps(TWO_PIECES, 25, 2);
}

#[apply(test)]
fn a_dump_with_threads_killed_anywhere_leaves_no_partial_file() {
    killed_dumps(MANY_PIECES, 12, 3);
}

#[apply(test)]
fn a_restore_killed_anywhere_leaves_no_partial_segment() {
    killed_restores(9000, 60, 4);
    killed_restores(TWO_PIECES, 25, 5);
}

#[apply(test)]
fn a_restore_with_threads_killed_anywhere_leaves_no_partial_segment() {
    killed_restores(MANY_PIECES, 12, 6);
}

#[apply(test)]
fn a_dump_that_cannot_replace_another_leaves_it_unchanged() {
    let (id, _) = segment(9000, 8);
    let directory = tempfile::tempdir().unwrap();
    let path = dump_path(directory.path());
    run(["dump", "0x4d2", "--output", &path]).exits(0);
    let record = std::fs::read(format!("{path}.json")).unwrap();
    Attached::new(id).write(0, b"other contents");
    let stopped = Stopped::before(2, is_rename, &["dump", "0x4d2", "--output", &path, "--force"]);
    assert_ne!(std::fs::read(format!("{path}.json")).unwrap(), record, "the record is replaced first");
    // A directory, which no file can replace.
    std::fs::rename(&path, format!("{path}.moved")).unwrap();
    std::fs::create_dir(&path).unwrap();
    stopped.go_on().exits(1).says("cannot write");
    assert_eq!(std::fs::read(format!("{path}.json")).unwrap(), record);
    std::fs::remove_dir(&path).unwrap();
    std::fs::rename(format!("{path}.moved"), &path).unwrap();
    assert!(oracle::remove(id));
    run(["restore", &path]).exits(0);
    let names = file_names(directory.path());
    assert_eq!(names.len(), 2, "{names:?}");
}

#[apply(test)]
fn a_segment_removed_during_its_dump_is_dumped_completely() {
    let (id, contents) = segment(TWO_PIECES, 7);
    let directory = tempfile::tempdir().unwrap();
    let path = dump_path(directory.path());
    let stopped = Stopped::before(2, is_piece, &["dump", "0x4d2", "--output", &path]);
    assert!(oracle::remove(id));
    stopped.go_on().exits(0);
    assert!(std::fs::read(&path).unwrap() == contents);
    assert_eq!(oracle::rows(), [], "the dump's attachment was the last");
    assert!(restored(&path) == contents);
}

#[apply(test)]
fn a_segment_removed_before_dump_attaches_is_not_found() {
    let (id, _) = segment(9000, 8);
    let directory = tempfile::tempdir().unwrap();
    let path = dump_path(directory.path());
    let attaches = |call: &Call| call.number == libc::SYS_shmat;
    let stopped = Stopped::before(1, attaches, &["dump", "0x4d2", "--output", &path]);
    assert!(oracle::remove(id));
    stopped.go_on().exits(3).says("(EINVAL, shmat)");
    assert_eq!(file_names(directory.path()), Vec::<String>::new());
}

#[apply(test)]
fn a_segment_written_to_during_its_dump_gives_a_consistent_dump() {
    let (id, mut contents) = segment(TWO_PIECES, 9);
    let directory = tempfile::tempdir().unwrap();
    let path = dump_path(directory.path());
    let stopped = Stopped::before(2, is_piece, &["dump", "0x4d2", "--output", &path]);
    let attached = Attached::new(id);
    attached.write(10, b"too late");
    attached.write(TWO_PIECES - 100, b"in time");
    drop(attached);
    stopped.go_on().exits(0);
    contents[TWO_PIECES - 100..TWO_PIECES - 93].copy_from_slice(b"in time");
    assert!(std::fs::read(&path).unwrap() == contents);
    // The checksum matches the contents of the file.
    oracle::remove(id);
    assert!(restored(&path) == contents);
}

#[apply(test)]
#[requires(Root)]
fn a_segment_whose_last_user_detaches_during_peek_is_dumped_completely() {
    let mut actor = Actor::start();
    let id = actor.create(1234, TWO_PIECES);
    let contents = noise(TWO_PIECES, 10);
    Attached::new(id).write(0, &contents);
    actor.attach(id);
    let directory = tempfile::tempdir().unwrap();
    let path = dump_path(directory.path());
    let stopped = Stopped::before(2, is_piece, &["dump", "0x4d2", "--peek", "--output", &path]);
    actor.remove(id);
    actor.leave();
    assert_eq!(oracle::rows(), []);
    stopped.go_on().exits(0);
    assert!(std::fs::read(&path).unwrap() == contents);
}

#[apply(test)]
fn a_file_that_shrinks_during_restore_creates_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = dump_path(directory.path());
    let (id, _) = segment(TWO_PIECES, 12);
    run(["dump", "0x4d2", "--output", &path]).exits(0);
    oracle::remove(id);
    for nth in [2, 3] {
        let contents = std::fs::read(&path).unwrap();
        let stopped = Stopped::before(nth, is_piece, &["restore", &path]);
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(5000).unwrap();
        let ran = stopped.go_on().exits(1).prints_nothing();
        assert!(ran.stderr.contains("was truncated while being read"), "{ran:?}");
        assert_eq!(oracle::rows(), []);
        std::fs::write(&path, contents).unwrap();
    }
}

#[apply(test)]
fn links_are_followed_for_reading_and_never_for_writing() {
    let (id, contents) = segment(9000, 13);
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
    std::fs::create_dir(at("real")).unwrap();
    symlink("real", at("linked")).unwrap();
    // A directory may be a link; `..` then refers to its target's parent.
    run(["dump", "0x4d2", "--output", &at("linked/../real/one")]).exits(0);
    run(["dump", "0x4d2", "--output", &at("linked/two")]).exits(0);
    assert_eq!(file_names(Path::new(&at("real"))).len(), 4);
    std::fs::write(at("precious"), "precious").unwrap();
    for (name, target) in [("out", "precious"), ("out.json", "precious"), ("out.json", "missing")] {
        symlink(target, at(name)).unwrap();
        let ran = run(["dump", "0x4d2", "--output", &at("out"), "--force"]).exits(5);
        let ran = ran.says(&format!("error: cannot write {}: it is a symbolic link", at(name)));
        // The record's name derives from that of the contents.
        let hint =
            format!("hint: name the target of the symbolic link: `shmadm dump 0x4d2 --force --output {}`", at(target));
        assert_eq!(ran.stderr.contains(&hint), name == "out", "{ran:?}");
        assert_eq!(std::fs::read_to_string(at("precious")).unwrap(), "precious");
        std::fs::remove_file(at(name)).unwrap();
    }
    oracle::remove(id);
    symlink("real/one", at("out")).unwrap();
    symlink("real/two.json", at("out.json")).unwrap();
    assert!(restored(&at("out")) == contents);
    // The record of another segment does not match.
    let (other, _) = segment(9000, 14);
    run(["dump", "0x4d2", "--output", &at("other")]).exits(0);
    oracle::remove(other);
    std::fs::remove_file(at("out.json")).unwrap();
    symlink("other.json", at("out.json")).unwrap();
    run(["restore", &at("out")]).exits(1).says("its checksum differs").prints_nothing();
    assert_eq!(oracle::rows(), []);
}

#[apply(test)]
fn a_file_size_limit_is_an_error_not_a_signal() {
    let (id, _) = segment(TWO_PIECES, 15);
    let directory = tempfile::tempdir().unwrap();
    let path = dump_path(directory.path());
    let limited = |arguments: &[&str]| {
        let mut shell = Command::new("/bin/sh");
        // In blocks of 512 bytes.
        shell.args(["-c", "ulimit -f 100 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_shmadm")]).args(arguments);
        finish(&mut shell)
    };
    limited(&["dump", "0x4d2", "--output", &path]).exits(1).says("(EFBIG, write)").prints_nothing();
    assert_eq!(file_names(directory.path()), Vec::<String>::new());
    run(["dump", "0x4d2", "--output", &path]).exits(0);
    oracle::remove(id);
    // A segment is not a file, however it is reached.
    limited(&["restore", &path]).exits(0);
}

#[apply(test)]
#[requires(Root)]
fn without_o_tmpfile_a_temporary_name_is_used() {
    let (id, contents) = segment(9000, 16);
    let directory = tempfile::tempdir().unwrap();
    let path = dump_path(directory.path());
    // If kernel.shm_rmid_forced cannot be read, peeking could destroy an unattached segment.
    let mut command = shmadm();
    with_empty_proc(&mut command);
    finish(command.args(["read", "0x4d2"])).exits(5).prints_nothing().says("could destroy it");
    let _attached = Attached::new(id);
    // Without /proc, an O_TMPFILE file cannot be linked to a name.
    let dump = |more: &[&str]| {
        let mut command = shmadm();
        with_empty_proc(&mut command);
        let arguments = [&["dump", "0x4d2", "--allow-allocation", "--output", &path], more].concat();
        finish(command.args(arguments))
    };
    dump(&[]).exits(0);
    assert!(std::fs::read(&path).unwrap() == contents);
    dump(&[]).exits(5);
    let mut command = shmadm();
    with_empty_proc(&mut command);
    finish(command.args(["read", "0x4d2"])).exits(5).says("/proc does not show whether it uses huge pages");
    dump(&["--force"]).exits(0);
    assert_eq!(file_names(directory.path()), ["segment.bin", "segment.bin.json"]);
}

#[apply(test)]
fn an_endless_record_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = dump_path(directory.path());
    std::fs::write(&path, "x").unwrap();
    std::os::unix::fs::symlink("/dev/zero", format!("{path}.json")).unwrap();
    run(["restore", &path]).exits(1).prints_nothing().says("invalid dump record");
}

#[apply(test)]
fn a_replaced_dump_keeps_its_old_contents_until_the_new_ones_are_complete() {
    let (id, contents) = segment(9000, 17);
    let directory = tempfile::tempdir().unwrap();
    let path = dump_path(directory.path());
    run(["dump", "0x4d2", "--output", &path]).exits(0);
    Attached::new(id).write(50, b"new");
    let arguments = ["dump", "0x4d2", "--output", &path, "--force"];
    let stopped = Stopped::before(1, is_rename, &arguments);
    assert!(std::fs::read(&path).unwrap() == contents);
    stopped.go_on().exits(0);
    assert_eq!(&std::fs::read(&path).unwrap()[50..53], b"new");
    assert_eq!(file_names(directory.path()), ["segment.bin", "segment.bin.json"]);
}

/// Creates a segment with key 1234, mode 0644, noise and a hole; returns its contents.
fn segment(size: usize, seed: u64) -> (i32, Vec<u8>) {
    let id = oracle::create(1234, size, 0o644);
    let mut contents = noise(size, seed);
    contents[4096..8192].fill(0);
    let attached = Attached::new(id);
    attached.write(0, &contents[..4096]);
    attached.write(8192, &contents[8192..]);
    (id, contents)
}

/// Returns whether a call reads a whole piece from the segment's file or a dump, or copies one out of the segment.
fn is_piece(call: &Call) -> bool {
    call.number == libc::SYS_pread64 && call.arguments[2] > 100_000 || call.number == libc::SYS_process_vm_readv
}

/// Returns whether a call renames a file.
fn is_rename(call: &Call) -> bool {
    [libc::SYS_rename, libc::SYS_renameat, libc::SYS_renameat2].contains(&call.number)
}

/// Restores a dump without its key and returns the contents.
fn restored(path: &str) -> Vec<u8> {
    let id = run(["restore", path, "--key", "private"]).exits(0).stdout.trim().parse().unwrap();
    let contents = oracle::contents(id);
    oracle::remove(id);
    contents
}

/// Kills dumps before randomly chosen calls.
fn killed_dumps(size: usize, rounds: usize, seed: u64) {
    let mut chance = fastrand::Rng::with_seed(seed);
    let (id, contents) = segment(size, seed);
    let directory = tempfile::tempdir().unwrap();
    let path = dump_path(directory.path());
    let line = ["dump", "0x4d2", "--output", &path];
    let calls = Stopped::count_calls(&line);
    for round in 0..rounds {
        file_names(directory.path()).iter().for_each(|name| std::fs::remove_file(directory.path().join(name)).unwrap());
        let signal = if chance.bool() { Signal::SIGKILL } else { Signal::SIGTERM };
        // Calls near the end can lose more.
        let nth = if round % 3 == 0 { chance.usize(calls - 30..calls) } else { chance.usize(1..calls) };
        let Some(stopped) = Stopped::before_call(nth, &line) else { continue };
        stopped.signal(signal);
        let ran = stopped.go_on();
        let what = format!("{signal} before call {nth} of {calls}: {ran:?}");
        match file_names(directory.path()).as_slice() {
            [] => assert_ne!(ran.code, Some(0), "{what}"),
            // The record is linked first; only unobservable steps come in between.
            [one] if one == "segment.bin.json" => assert_eq!(signal, Signal::SIGKILL, "{what}"),
            [one, two] if one == "segment.bin" && two == "segment.bin.json" => {
                assert!(std::fs::read(&path).unwrap() == contents && restored(&path) == contents, "{what}");
            }
            other => panic!("{other:?} after {what}"),
        }
        let row = oracle::row(id).unwrap();
        assert_eq!((row.get("nattch"), row.get("perms"), row.get("key")), ("0", "644", "1234"), "{what}");
        assert!(oracle::contents(id) == contents, "{what}");
    }
    oracle::remove(id);
}

/// Kills restores before randomly chosen calls.
fn killed_restores(size: usize, rounds: usize, seed: u64) {
    let mut chance = fastrand::Rng::with_seed(seed);
    let (id, contents) = segment(size, seed);
    let directory = tempfile::tempdir().unwrap();
    let path = dump_path(directory.path());
    run(["dump", "0x4d2", "--output", &path]).exits(0);
    oracle::remove(id);
    let record = std::fs::read(format!("{path}.json")).unwrap();
    let line = ["restore", &path];
    let calls = Stopped::count_calls(&line);
    oracle::remove_all();
    for round in 0..rounds {
        let signal = if chance.bool() { Signal::SIGKILL } else { Signal::SIGTERM };
        let nth = if round % 3 == 0 { chance.usize(calls - 60..calls) } else { chance.usize(1..calls) };
        let Some(stopped) = Stopped::before_call(nth, &line) else {
            // With several threads the number of calls varies.
            oracle::remove_all();
            continue;
        };
        // A killed process has no children any more.
        let guard = guard_of(stopped.pid());
        stopped.signal(signal);
        let ran = stopped.go_on();
        let what = format!("{signal} before call {nth} of {calls}: {ran:?}");
        wait_for("the guard to exit", || guard.as_ref().is_none_or(|guard| !guard.is_running()));
        match oracle::rows().as_slice() {
            // Until the guard is released, a kill removes the segment, also after its id was printed.
            [] => assert!(ran.stdout.is_empty() || signal == Signal::SIGKILL && guard.is_some(), "{what}"),
            [row] => {
                assert_eq!(row.get("perms"), "644", "{what}");
                if signal == Signal::SIGTERM {
                    assert_eq!(ran.stdout.trim(), row.get("shmid"), "{what}");
                }
                let id: i32 = row.get("shmid").parse().unwrap();
                // Before the test attaches it: a child forked by another test at that moment would inherit the
                // attachment.
                assert_eq!(row.get("nattch"), "0", "{what}");
                assert!(oracle::contents(id) == contents, "{what}");
                assert!(oracle::remove(id));
            }
            other => panic!("{other:?} after {what}"),
        }
        assert_eq!(file_names(directory.path()).len(), 2, "{what}");
        assert!(std::fs::read(&path).unwrap() == contents, "{what}");
        assert!(std::fs::read(format!("{path}.json")).unwrap() == record, "{what}");
    }
    // No leftover prevents the next run.
    run(line).exits(0);
    assert!(oracle::contents(oracle::rows()[0].get("shmid").parse().unwrap()) == contents);
    oracle::remove_all();
}
