//! Objects in another directory (`--dir`) or of another process (`--ns`).

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::create;
use crate::support::{Running, run};

/// Starts a shell in its own mount namespace that runs a script, then waits; returns when the script is done.
fn container(script: &str) -> Running {
    let mut shell = Command::new("unshare");
    shell.args(["--mount", "sh", "-c", &format!("{script}; echo ready; read line")]);
    let mut running = Running(shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    running
}

#[apply(test)]
fn another_tmpfs_directory_is_used_with_dir() {
    create("here", 4096);
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    std::fs::write(directory.path().join("there"), "").unwrap();
    let path = directory.path().to_str().unwrap();
    let names =
        run(["list", "--dir", path, "--posix", "-o", "NAME", "--no-headings", "--format", "tsv"]).exits(0).stdout;
    assert_eq!(names, "/there\n");
    run(["--dir", path, "rm", "/there"]).exits(0);
    assert!(!directory.path().join("there").exists());
    run(["list", "--posix", "--dir", "/etc"])
        .exits(1)
        .says("cannot use /etc: neither a tmpfs nor a hugetlbfs is mounted there");
    run(["list", "--posix", "--dir", "/missing"])
        .exits(3)
        .says("cannot list /missing: No such file or directory (ENOENT, open)");
}

#[apply(test)]
#[requires(Root)]
fn the_objects_of_a_process_are_those_of_its_mount_namespace() {
    create("here", 4096);
    let container = container("mount -t tmpfs none /dev/shm && echo hello >/dev/shm/inside");
    let pid = container.pid().to_string();
    let list = ["--ns", &pid, "list", "--posix", "-o", "NAME", "--no-headings", "--format", "tsv"];
    assert_eq!(run(list).exits(0).stdout, "/inside\n");
    assert_eq!(run(["--ns", &pid, "read", "/inside", "--text"]).exits(0).stdout, "hello\n");
    run(["--ns", &pid, "rm", "/here"]).exits(3);
    run(["--ns", &pid, "rm", "/inside"]).exits(0);
    assert_eq!(run(list).exits(0).stdout, "");
    assert_eq!(super::names(), ["here"]);
}

#[apply(test)]
#[requires(Root)]
fn a_symbolic_link_in_place_of_a_processs_dev_shm_is_refused() {
    for script in ["ln -s /etc /dev/shm", "ln -s ../../../../etc /dev/shm", "mkdir /dev/shm"] {
        let container = container(&format!("mount -t tmpfs none /dev && {script}"));
        let pid = container.pid().to_string();
        let ran = run(["--ns", &pid, "list", "--posix"]);
        let is_directory = script.starts_with("mkdir");
        // A directory of the container's own tmpfs is not /etc.
        assert_eq!(ran.code, Some(if is_directory { 0 } else { 1 }), "{ran:?}");
        if !is_directory {
            ran.says("Too many levels of symbolic links (ELOOP, openat2)");
        }
    }
}
