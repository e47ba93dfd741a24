//! `trace --posix`: calls on POSIX objects.

use crate::actor::Request;
use crate::support::{mount_tmpfs, shmadm};
use crate::trace::{Traced, calls};

#[apply(test)]
fn objects_are_shown_from_open_to_unlink() {
    let mut command = shmadm();
    command.args(["trace", "--posix", "--", env!("CARGO_BIN_EXE_shmadm"), "create", "/x", "--size", "8K"]);
    let lines = calls(&crate::support::finish(&mut command).exits(0));
    assert!(lines[0].starts_with("openat("), "{lines:?}");
    assert!(lines[0].contains("O_TMPFILE"), "{lines:?}");
    // Through /proc/self/fd, or with AT_EMPTY_PATH as root.
    let link = lines.iter().find(|line| line.starts_with("linkat(")).unwrap();
    assert!(link.contains(", \"x\", AT_") && link.ends_with(") = 0"), "{link}");
    assert!(lines.iter().any(|line| line.starts_with("ftruncate(") && line.ends_with(", 8192) = 0")), "{lines:?}");
    let mut traced = Traced::start(&["--posix"]);
    traced.actor.ask(Request::OpenFile { path: "/dev/shm/x".to_owned() });
    traced.actor.ask(Request::OpenFile { path: "/proc/self/cwd/../../../../../../../dev//shm/x".to_owned() });
    traced.actor.ask(Request::MapFile { path: "/dev/shm/./x".to_owned() });
    traced.actor.ask(Request::MapMemfd { name: "a\"b".to_owned() });
    let lines: Vec<String> = traced.end().iter().map(|line| line.split_once("] ").unwrap().1.to_owned()).collect();
    assert_eq!(lines[0], "openat(AT_FDCWD, \"/dev/shm/x\", O_RDWR|O_CLOEXEC) = 3");
    assert!(lines.iter().any(|line| line.starts_with("openat(AT_FDCWD, \"/dev/shm/./x\", O_RDWR|O_CLOEXEC) = ")));
    let map = lines.iter().find(|line| line.starts_with("mmap(")).unwrap();
    assert!(map.starts_with("mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, "), "{map}");
    assert!(map.contains("</dev/shm/x>, 0) = 0x"), "{map}");
    let rest: Vec<_> = lines.iter().skip_while(|line| !line.starts_with("memfd_create")).collect();
    assert!(rest[0].starts_with("memfd_create(\"a\\\"b\", 0) = "), "{lines:?}");
    assert!(rest[1].contains("</memfd:a\"b>, 4096) = 0"), "{lines:?}");
    assert!(rest[2].starts_with("mmap("), "{lines:?}");
}

#[apply(test)]
fn names_cannot_forge_lines() {
    let mut traced = Traced::start(&["--posix"]);
    traced.actor.ask(Request::MapMemfd { name: "\u{1b}[2J\u{202e}\r".to_owned() });
    let lines = traced.end();
    assert!(lines[0].contains(r#"memfd_create("\x1b[2J\u{202e}\r", 0) = "#), "{lines:?}");
    assert!(lines[1].contains(r"</memfd:\x1b[2J\u{202e}\r>, 4096) = 0"), "{lines:?}");
}

#[apply(test)]
fn other_files_and_without_the_option_all_files_are_omitted() {
    let mut traced = Traced::start(&["--posix"]);
    traced.actor.ask(Request::OpenFile { path: "/dev/null".to_owned() });
    assert_eq!(traced.end(), [] as [&str; 0]);
    std::fs::write("/dev/shm/x", [0; 4096]).unwrap();
    let mut traced = Traced::start(&[]);
    traced.actor.ask(Request::MapFile { path: "/dev/shm/x".to_owned() });
    assert_eq!(traced.end(), [] as [&str; 0]);
}

#[apply(test)]
fn the_directory_can_be_another_one() {
    mount_tmpfs(None);
    std::fs::write("/mnt/x", [0; 4096]).unwrap();
    std::fs::write("/dev/shm/x", [0; 4096]).unwrap();
    let mut traced = Traced::start(&["--posix", "--dir", "/mnt"]);
    traced.actor.ask(Request::OpenFile { path: "/dev/shm/x".to_owned() });
    traced.actor.ask(Request::MapFile { path: "/mnt/x".to_owned() });
    let lines = traced.end();
    assert!(lines[0].contains("openat(AT_FDCWD, \"/mnt/x\", ") && lines[1].contains("</mnt/x>, 0) = "), "{lines:?}");
    assert_eq!(lines.len(), 2);
}
