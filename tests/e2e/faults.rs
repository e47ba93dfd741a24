//! `dump` and `restore` are killed wherever they stand, and the world changes under them: nothing is half made, and
//! nothing is lost.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use libtest_mimic::Trial;
use nix::libc;
use nix::sys::signal::Signal;

use crate::actor::Actor;
use crate::guard::guard_of;
use crate::oracle::{self, Attached};
use crate::sandbox::with_empty_proc;
use crate::support::{finish, noise, root_trial, run, shmadm, trial, wait_for};
use crate::vanish::{Call, Stopped};

/// Bytes that are worked on in two pieces, in one thread.
const TWO_PIECES: usize = 512 << 10;
/// Bytes that are worked on in several threads, where there are processors for them.
const MANY_PIECES: usize = (5 << 20) - 77;

/// Gives the trials of this file.
pub(crate) fn trials() -> Vec<Trial> {
    [killed(), changed(), elsewhere()].into_iter().flatten().collect()
}

/// Killed before some system call of theirs.
fn killed() -> Vec<Trial> {
    vec![
        trial("faults::a_dump_that_is_killed_anywhere_leaves_no_half_file", || {
            killed_dumps(9000, 60, 1);
            killed_dumps(TWO_PIECES, 25, 2);
        }),
        trial("faults::a_dump_in_several_threads_that_is_killed_anywhere_leaves_no_half_file", || {
            killed_dumps(MANY_PIECES, 12, 3);
        }),
        trial("faults::a_restore_that_is_killed_anywhere_leaves_no_half_segment", || {
            killed_restores(9000, 60, 4);
            killed_restores(TWO_PIECES, 25, 5);
        }),
        trial("faults::a_restore_in_several_threads_that_is_killed_anywhere_leaves_no_half_segment", || {
            killed_restores(MANY_PIECES, 12, 6);
        }),
    ]
}

/// Somebody changes or removes what they work on.
fn changed() -> Vec<Trial> {
    vec![
        trial("faults::a_dump_that_cannot_take_the_place_of_another_leaves_that_as_it_was", || {
            let (id, _) = segment(9000, 8);
            let directory = tempfile::tempdir().unwrap();
            let path = path_in(directory.path());
            run(["dump", "0x4d2", "--output", &path]).exits(0);
            let record = std::fs::read(format!("{path}.json")).unwrap();
            Attached::new(id).write(0, b"other contents");
            let renames = |call: &Call| call.number == libc::SYS_rename || call.number == libc::SYS_renameat2;
            let stopped = Stopped::before(2, renames, &["dump", "0x4d2", "--output", &path, "--force"]);
            assert_ne!(std::fs::read(format!("{path}.json")).unwrap(), record, "the record goes first");
            // What no file can take the place of.
            std::fs::rename(&path, format!("{path}.moved")).unwrap();
            std::fs::create_dir(&path).unwrap();
            stopped.go_on().exits(1).says("cannot write");
            assert_eq!(std::fs::read(format!("{path}.json")).unwrap(), record);
            std::fs::remove_dir(&path).unwrap();
            std::fs::rename(format!("{path}.moved"), &path).unwrap();
            assert!(oracle::remove(id));
            run(["restore", &path]).exits(0);
            let mut names: Vec<_> =
                directory.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            assert_eq!(names.len(), 2, "{names:?}");
        }),
        trial("faults::a_segment_that_is_removed_while_it_is_dumped_is_dumped_whole", || {
            let (id, contents) = segment(TWO_PIECES, 7);
            let directory = tempfile::tempdir().unwrap();
            let path = path_in(directory.path());
            let stopped = Stopped::before(2, is_piece, &["dump", "0x4d2", "--output", &path]);
            assert!(oracle::remove(id));
            stopped.go_on().exits(0);
            assert!(std::fs::read(&path).unwrap() == contents);
            assert_eq!(oracle::rows(), [], "our attachment was the last");
            assert!(restored(&path) == contents);
        }),
        trial("faults::before_it_is_attached_it_is_no_such_segment_and_no_file_stays", || {
            let (id, _) = segment(9000, 8);
            let directory = tempfile::tempdir().unwrap();
            let path = path_in(directory.path());
            let attaches = |call: &Call| call.number == libc::SYS_shmat;
            let stopped = Stopped::before(1, attaches, &["dump", "0x4d2", "--output", &path]);
            assert!(oracle::remove(id));
            stopped.go_on().exits(3).says("(EINVAL, shmat)");
            assert_eq!(names(directory.path()), Vec::<String>::new());
        }),
        trial("faults::a_segment_that_is_written_to_while_it_is_dumped_gives_a_dump_that_is_sound", || {
            let (id, mut contents) = segment(TWO_PIECES, 9);
            let directory = tempfile::tempdir().unwrap();
            let path = path_in(directory.path());
            let stopped = Stopped::before(2, is_piece, &["dump", "0x4d2", "--output", &path]);
            let attached = Attached::new(id);
            attached.write(10, b"too late");
            attached.write(TWO_PIECES - 100, b"in time");
            drop(attached);
            stopped.go_on().exits(0);
            contents[TWO_PIECES - 100..TWO_PIECES - 93].copy_from_slice(b"in time");
            assert!(std::fs::read(&path).unwrap() == contents);
            // The checksum is that of what is in the file.
            oracle::remove(id);
            assert!(restored(&path) == contents);
        }),
        root_trial("faults::a_segment_whose_only_user_goes_while_it_is_peeked_into_is_dumped_whole", || {
            let mut actor = Actor::start();
            let id = actor.number(&format!("create 1234 {TWO_PIECES} 0"));
            let contents = noise(TWO_PIECES, 10);
            Attached::new(id).write(0, &contents);
            actor.say(&format!("attach {id}"));
            let directory = tempfile::tempdir().unwrap();
            let path = path_in(directory.path());
            let stopped = Stopped::before(2, is_piece, &["dump", "0x4d2", "--peek", "--output", &path]);
            actor.say(&format!("remove {id}"));
            actor.leave();
            assert_eq!(oracle::rows(), []);
            stopped.go_on().exits(0);
            assert!(std::fs::read(&path).unwrap() == contents);
        }),
        trial("faults::a_file_that_shrinks_while_it_is_restored_makes_nothing", || {
            let directory = tempfile::tempdir().unwrap();
            let path = path_in(directory.path());
            let (id, _) = segment(TWO_PIECES, 12);
            run(["dump", "0x4d2", "--output", &path]).exits(0);
            oracle::remove(id);
            for nth in [2, 3] {
                let contents = std::fs::read(&path).unwrap();
                let stopped = Stopped::before(nth, is_piece, &["restore", &path]);
                let file = File::options().write(true).open(&path).unwrap();
                file.set_len(5000).unwrap();
                let ran = stopped.go_on().exits(1).prints_nothing();
                assert!(ran.stderr.contains("became shorter while it was read"), "{ran:?}");
                assert_eq!(oracle::rows(), []);
                std::fs::write(&path, contents).unwrap();
            }
        }),
    ]
}

/// Names that lead elsewhere, and places where files cannot be as they should.
fn elsewhere() -> Vec<Trial> {
    vec![
        trial("faults::a_name_that_leads_elsewhere_is_followed_to_read_and_never_to_write", || {
            let (id, contents) = segment(9000, 13);
            let directory = tempfile::tempdir().unwrap();
            let at = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
            std::fs::create_dir(at("real")).unwrap();
            symlink("real", at("linked")).unwrap();
            // A directory may be a link, and .. leads where it leads.
            run(["dump", "0x4d2", "--output", &at("linked/../real/one")]).exits(0);
            run(["dump", "0x4d2", "--output", &at("linked/two")]).exits(0);
            assert_eq!(names(Path::new(&at("real"))).len(), 4);
            std::fs::write(at("precious"), "precious").unwrap();
            for (name, target) in [("out", "precious"), ("out.json", "precious"), ("out.json", "missing")] {
                symlink(target, at(name)).unwrap();
                let ran = run(["dump", "0x4d2", "--output", &at("out"), "--force"]).exits(5);
                let ran = ran.says(&format!("error: cannot write {}: it is a symbolic link", at(name)));
                // The record has its name from the contents.
                let hint = format!("hint: name the file that the link leads to: `--output {}`", at(target));
                assert_eq!(ran.stderr.contains(&hint), name == "out", "{ran:?}");
                assert_eq!(std::fs::read_to_string(at("precious")).unwrap(), "precious");
                std::fs::remove_file(at(name)).unwrap();
            }
            oracle::remove(id);
            symlink("real/one", at("out")).unwrap();
            symlink("real/two.json", at("out.json")).unwrap();
            assert!(restored(&at("out")) == contents);
            // The record of another segment does not fit.
            let (other, _) = segment(9000, 14);
            run(["dump", "0x4d2", "--output", &at("other")]).exits(0);
            oracle::remove(other);
            std::fs::remove_file(at("out.json")).unwrap();
            symlink("other.json", at("out.json")).unwrap();
            run(["restore", &at("out")]).exits(1).says("its checksum is another one").prints_nothing();
            assert_eq!(oracle::rows(), []);
        }),
        trial("faults::a_limit_on_files_is_an_error_and_no_signal", || {
            let (id, _) = segment(TWO_PIECES, 15);
            let directory = tempfile::tempdir().unwrap();
            let path = path_in(directory.path());
            let limited = |arguments: &[&str]| {
                let mut shell = Command::new("/bin/sh");
                // In blocks of 512 bytes.
                shell.args(["-c", "ulimit -f 100 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_shmadm")]).args(arguments);
                finish(&mut shell)
            };
            limited(&["dump", "0x4d2", "--output", &path]).exits(1).says("(EFBIG, write)").prints_nothing();
            assert_eq!(names(directory.path()), Vec::<String>::new());
            run(["dump", "0x4d2", "--output", &path]).exits(0);
            oracle::remove(id);
            // A segment is no file, whatever way leads to it.
            limited(&["restore", &path]).exits(0);
        }),
        root_trial("faults::without_files_that_have_no_name_there_is_another_name_meanwhile", || {
            let (id, contents) = segment(9000, 16);
            let directory = tempfile::tempdir().unwrap();
            let path = path_in(directory.path());
            // Where kernel.shm_rmid_forced cannot be read, looking could destroy what nobody has attached.
            let mut command = shmadm();
            with_empty_proc(&mut command);
            finish(command.args(["read", "0x4d2"])).exits(5).prints_nothing().says("could destroy it");
            let _attached = Attached::new(id);
            // Without /proc a file that has no name could never get one.
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
            finish(command.args(["read", "0x4d2"])).exits(5).says("/proc does not tell whether they are huge");
            dump(&["--force"]).exits(0);
            assert_eq!(names(directory.path()), ["segment.bin", "segment.bin.json"]);
        }),
        trial("faults::a_record_without_an_end_is_none", || {
            let directory = tempfile::tempdir().unwrap();
            let path = path_in(directory.path());
            std::fs::write(&path, "x").unwrap();
            std::os::unix::fs::symlink("/dev/zero", format!("{path}.json")).unwrap();
            run(["restore", &path]).exits(1).prints_nothing().says("is no record of a dump");
        }),
        trial("faults::a_dump_that_is_replaced_has_its_old_contents_until_the_new_are_whole", || {
            let (id, contents) = segment(9000, 17);
            let directory = tempfile::tempdir().unwrap();
            let path = path_in(directory.path());
            run(["dump", "0x4d2", "--output", &path]).exits(0);
            Attached::new(id).write(50, b"new");
            let arguments = ["dump", "0x4d2", "--output", &path, "--force"];
            let renames = |call: &Call| call.number == libc::SYS_rename || call.number == libc::SYS_renameat2;
            let stopped = Stopped::before(1, renames, &arguments);
            assert!(std::fs::read(&path).unwrap() == contents);
            stopped.go_on().exits(0);
            assert_eq!(&std::fs::read(&path).unwrap()[50..53], b"new");
            assert_eq!(names(directory.path()), ["segment.bin", "segment.bin.json"]);
        }),
    ]
}

/// Makes the segment with key 1234, mode 0644, noise and a hole; gives its contents.
fn segment(size: usize, seed: u64) -> (i32, Vec<u8>) {
    let id = oracle::create(1234, size, 0o644);
    let mut contents = noise(size, seed);
    contents[4096..8192].fill(0);
    let attached = Attached::new(id);
    attached.write(0, &contents[..4096]);
    attached.write(8192, &contents[8192..]);
    (id, contents)
}

/// Tells whether a call reads a whole piece, from the file behind a segment, a dump, or a pipe.
fn is_piece(call: &Call) -> bool {
    call.number == libc::SYS_pread64 && call.arguments[2] > 100_000
        || call.number == libc::SYS_write && call.arguments[2] == 64 << 10
}

/// Restores a dump without its key, and gives the contents.
fn restored(path: &str) -> Vec<u8> {
    let id = run(["restore", path, "--key", "private"]).exits(0).stdout.trim().parse().unwrap();
    let contents = oracle::contents(id);
    oracle::remove(id);
    contents
}

/// Gives a name in a directory.
fn path_in(directory: &Path) -> String {
    directory.join("segment.bin").to_string_lossy().into_owned()
}

/// Gives the names of the files in a directory.
fn names(directory: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = std::fs::read_dir(directory).unwrap().map(name).collect();
    names.sort_unstable();
    names
}

/// Kills dumps before calls that chance chooses.
fn killed_dumps(size: usize, rounds: usize, seed: u64) {
    let mut chance = fastrand::Rng::with_seed(seed);
    let (id, contents) = segment(size, seed);
    let directory = tempfile::tempdir().unwrap();
    let path = path_in(directory.path());
    let line = ["dump", "0x4d2", "--output", &path];
    let calls = Stopped::count_calls(&line);
    for round in 0..rounds {
        names(directory.path()).iter().for_each(|name| std::fs::remove_file(directory.path().join(name)).unwrap());
        let signal = if chance.bool() { Signal::SIGKILL } else { Signal::SIGTERM };
        // Towards the end there is more to lose.
        let nth = if round % 3 == 0 { chance.usize(calls - 30..calls) } else { chance.usize(1..calls) };
        let Some(stopped) = Stopped::before_call(nth, &line) else { continue };
        stopped.signal(signal);
        let ran = stopped.go_on();
        let what = format!("{signal} before call {nth} of {calls}: {ran:?}");
        match names(directory.path()).as_slice() {
            [] => assert_ne!(ran.code, Some(0), "{what}"),
            // The record comes first; and only what cannot be noticed comes between.
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

/// Kills restores before calls that chance chooses.
fn killed_restores(size: usize, rounds: usize, seed: u64) {
    let mut chance = fastrand::Rng::with_seed(seed);
    let (id, contents) = segment(size, seed);
    let directory = tempfile::tempdir().unwrap();
    let path = path_in(directory.path());
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
            // With several threads the number of calls differs a little.
            oracle::remove_all();
            continue;
        };
        // A killed process has no children any more.
        let guard = guard_of(stopped.pid());
        stopped.signal(signal);
        let ran = stopped.go_on();
        let what = format!("{signal} before call {nth} of {calls}: {ran:?}");
        wait_for("the end of the guard", || guard.as_ref().is_none_or(|guard| !guard.lives()));
        match oracle::rows().as_slice() {
            [] => assert_eq!(ran.stdout, "", "{what}"),
            [row] => {
                assert_eq!(row.get("perms"), "644", "{what}");
                if signal == Signal::SIGTERM {
                    assert_eq!(ran.stdout.trim(), row.get("shmid"), "{what}");
                }
                let id: i32 = row.get("shmid").parse().unwrap();
                // Before we attach it ourselves: a child that another trial forks at that moment would have it, too.
                assert_eq!(row.get("nattch"), "0", "{what}");
                assert!(oracle::contents(id) == contents, "{what}");
                assert!(oracle::remove(id));
            }
            other => panic!("{other:?} after {what}"),
        }
        assert_eq!(names(directory.path()).len(), 2, "{what}");
        assert!(std::fs::read(&path).unwrap() == contents, "{what}");
        assert!(std::fs::read(format!("{path}.json")).unwrap() == record, "{what}");
    }
    // Nothing of all that is in the way.
    run(line).exits(0);
    assert!(oracle::contents(oracle::rows()[0].get("shmid").parse().unwrap()) == contents);
    oracle::remove_all();
}
