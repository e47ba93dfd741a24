//! Names and files that another user can put into the directory of POSIX objects.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use serde_json::json;

use super::create;
use super::list::objects;
use crate::fixtures::assert_fields;
use crate::support::{run, shmadm};
use crate::terminal::{WIDE, on_terminal};

#[apply(test)]
fn hostile_entries_break_no_output() {
    let names: [&[u8]; 4] = [b"a\n\x1b[2Jb\t\"'\\", b"\xff\xfe", &[b'x'; 255], " \u{202e}".as_bytes()];
    for name in names {
        std::fs::write(std::path::Path::new("/dev/shm").join(OsStr::from_bytes(name)), "").unwrap();
    }
    create("sem.trap", 0);
    create("tebibyte", 1 << 40);
    std::os::unix::fs::symlink("/etc/passwd", "/dev/shm/link").unwrap();
    std::os::unix::fs::symlink("nowhere", "/dev/shm/dangling").unwrap();
    std::fs::create_dir("/dev/shm/directory").unwrap();
    std::fs::write("/dev/shm/directory/inside", [1; 5000]).unwrap();
    nix::unistd::mkfifo("/dev/shm/fifo", nix::sys::stat::Mode::S_IRUSR).unwrap();
    let report = run(["list", "--posix", "--json"]).exits(0).json();
    assert_eq!(objects(&report).len(), 7, "four names, two files, one directory: {report}");
    let directory = objects(&report).into_iter().find(|object| object["type"] == "dir").unwrap();
    assert_fields(directory, json!({ "name": "/directory", "size": 5000, "allocated": 8192, "users": 0 }));
    let table = run(["list", "--posix", "--format", "tsv", "-o", "NAME", "--no-headings"]).exits(0).stdout;
    assert_eq!(table.lines().count(), 7, "{table:?}");
    run(["list"]).exits(0);
}

#[apply(test)]
fn reports_on_one_object_escape_its_name() {
    let name = "/a\n\x1b]0;title\u{7}\u{9b}\u{202e}";
    create(&name[1..], 4096);
    run(["dump", name, "-o", "/dev/shm/dump"]).exits(0);
    let restored = format!("{name}2");
    for arguments in [
        &["rm", name, "--dry-run"][..],
        &["map", name],
        &["stat", name],
        &["create", name],
        &["create", name, "--dry-run"],
        &["create", "/new\n\x1b\u{202e}", "--size", "1", "--dry-run"],
        &["attach", name, "--for", "1ms"],
        &["restore", "/dev/shm/dump", "--name", &restored],
    ] {
        let shown = on_terminal(shmadm().env("NO_COLOR", "1").args(arguments), WIDE).exits(0).stdout;
        let is_escaped = !shown.contains(['\x1b', '\u{7}', '\u{9b}', '\u{202e}']);
        assert!(is_escaped && shown.contains(r"\n\x1b"), "{arguments:?}: {shown:?}");
    }
    let lines = run(["create", name, "--dry-run"]).exits(0).stdout;
    assert_eq!(lines.lines().count(), 1, "no line is forged: {lines:?}");
    assert_eq!(run(["create", name]).exits(0).stdout, format!("{name}\n"), "a script gets the name itself");
    let name = OsStr::from_bytes(b"/x\xfe");
    assert_eq!(shmadm().arg("create").arg(name).output().unwrap().stdout, b"/x\xfe\n");
}
