//! A dump that changes while `restore` reads it: the segment gets the contents that the record describes, or none.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::Stdio;

use nix::fcntl::{FallocateFlags, fallocate};
use nix::libc;

use crate::fixtures::dump_path;
use crate::oracle::{self, Attached};
use crate::sandbox::with_no_capabilities;
use crate::support::{noise, run, shmadm};
use crate::vanish::{Call, Stopped};

/// Bytes of a dump that one thread restores, without and with several pieces, and of one for several threads.
const SIZES: [usize; 3] = [9000, 512 << 10, (5 << 20) - 77];

#[apply(test)]
fn a_dump_that_changes_after_its_verification_is_not_restored() {
    // Neither the size nor the time of the last change shows any of these.
    let changes: [fn(&File); 3] = [
        |file| file.write_all_at(b"other", 100).unwrap(),
        |file| file.write_all_at(b"other", 5000).unwrap(),
        |file| {
            fallocate(file, FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, 4096)
                .unwrap()
        },
    ];
    for size in SIZES {
        for change in changes {
            for privileged in [true, false] {
                let dump = Dump::new(size);
                let stopped = dump.restore_up_to(libc::SYS_shmat, privileged);
                dump.change(change);
                stopped.go_on().exits(1).prints_nothing().says("changed while being restored");
                assert_eq!(oracle::rows(), [], "{size} bytes, privileged: {privileged}");
            }
        }
    }
}

#[apply(test)]
fn a_dump_that_changes_after_it_was_copied_is_restored_as_it_was() {
    for size in SIZES {
        for privileged in [true, false] {
            let dump = Dump::new(size);
            let stopped = dump.restore_up_to(libc::SYS_shmdt, privileged);
            dump.change(|file| file.write_all_at(b"other", 100).unwrap());
            let id = stopped.go_on().exits(0).stdout.trim().parse().unwrap();
            assert!(oracle::contents(id) == dump.contents, "{size} bytes, privileged: {privileged}");
            oracle::remove(id);
        }
    }
}

/// A dump of a segment that was removed.
struct Dump {
    /// Its path.
    path: String,
    /// What the segment held.
    contents: Vec<u8>,
    /// The directory that it is in.
    _directory: tempfile::TempDir,
}

impl Dump {
    /// Dumps a segment of noise whose second page is a hole.
    fn new(size: usize) -> Self {
        let id = oracle::create(1234, size, 0o644);
        let mut contents = noise(size, 1);
        contents[4096..8192].fill(0);
        let attached = Attached::new(id);
        attached.write(0, &contents[..4096]);
        attached.write(8192, &contents[8192..]);
        drop(attached);
        let directory = tempfile::tempdir().unwrap();
        let path = dump_path(directory.path());
        run(["dump", "0x4d2", "--output", &path]).exits(0);
        assert!(oracle::remove(id));
        Self { path, contents, _directory: directory }
    }

    /// Starts to restore it, up to a system call.
    fn restore_up_to(&self, number: libc::c_long, privileged: bool) -> Stopped {
        let mut command = shmadm();
        command.args(["restore", &self.path]).stdout(Stdio::piped()).stderr(Stdio::piped());
        if !privileged {
            with_no_capabilities(&mut command);
        }
        Stopped::command_before(1, |call: &Call| call.number == number, command)
    }

    /// Changes the file and restores its modification time.
    fn change(&self, change: impl FnOnce(&File)) {
        let file = File::options().write(true).open(&self.path).unwrap();
        let before = file.metadata().unwrap();
        change(&file);
        file.set_modified(before.modified().unwrap()).unwrap();
        let after = file.metadata().unwrap();
        assert_eq!((after.len(), after.modified().unwrap()), (before.len(), before.modified().unwrap()));
    }
}
