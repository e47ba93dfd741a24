//! Benchmarks of POSIX objects against ls, rm and cat.

use std::process::Command;

use nix::unistd::Pid;

use crate::timing::{Job, Output, SHMADM, compare};

/// The number of objects that are listed and removed.
const OBJECTS: u32 = 32_000;

/// Compares listing many objects.
pub(crate) fn list(pairs: usize) {
    println!("-- {OBJECTS} objects");
    create_orphans();
    let piped = |command: &[&str]| Job { output: Output::Pipe, ..Job::new(command) };
    let ls = piped(&["ls", "-la", "/dev/shm"]);
    let files = piped(&[SHMADM, "list", "--posix", "-o", "NAME,OWNER,MODE,SIZE,MTIME"]);
    compare("list --posix -o NAME,… : ls -la /dev/shm", &files, &ls, pairs, Some(1.0));
    let scan = "ls -la /dev/shm; cat /proc/[0-9]*/maps; ls -l /proc/[0-9]*/fd; true";
    let states = piped(&[SHMADM, "list", "--posix"]);
    compare("list --posix : ls -la and a scan of /proc", &states, &piped(&["sh", "-c", scan]), pairs, Some(1.3));
    remove_all();
}

/// Compares removing many objects. Unless all processes can be inspected, prune takes the lease of each twice.
pub(crate) fn prune(pairs: usize) {
    let prepare = create_orphans;
    let ours = &[SHMADM, "prune", "--posix", "--older-than", "0s", "--yes", "-q"];
    let rm = &["find", "/dev/shm", "-name", "torch_*", "-exec", "rm", "{}", "+"];
    let (ours, rm) = (Job { prepare, ..Job::new(ours) }, Job { prepare, ..Job::new(rm) });
    compare("prune --yes : rm", &ours, &rm, pairs, Some(3.0));
    remove_all();
}

/// Compares reading an object with reading its file.
pub(crate) fn read(pairs: usize) {
    let path = "/dev/shm/contents";
    std::fs::write(path, vec![0x5a; 1 << 30]).unwrap();
    let ours = Job { output: Output::Pipe, ..Job::new(&[SHMADM, "read", "/contents", "--raw"]) };
    let cat = Job { output: Output::Pipe, ..Job::new(&["cat", path]) };
    compare("read --raw of 1 GiB, to a pipe : cat FILE", &ours, &cat, pairs, Some(1.0));
    std::fs::remove_file(path).unwrap();
}

/// Creates objects with the pid of a process that has exited in their names.
fn create_orphans() {
    let mut maker = Command::new("true").spawn().unwrap();
    let pid = Pid::from_raw(maker.id().try_into().unwrap());
    maker.wait().unwrap();
    for number in 0..OBJECTS {
        std::fs::write(format!("/dev/shm/torch_{pid}_1_{number}"), "contents").unwrap();
    }
}

fn remove_all() {
    for entry in std::fs::read_dir("/dev/shm").unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
}
