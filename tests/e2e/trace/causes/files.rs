//! Why the calls of a traced program on POSIX objects fail.

use std::os::unix::fs::{PermissionsExt, chown, symlink};

use nix::libc;

use super::diagnoses;
use crate::actor::CallRequest;
use crate::support::{NOBODY, finish, mount_tmpfs, mount_tmpfs_on, shmadm};
use crate::trace::{performing, trace};

/// Traces a Perl script, and returns the causes and hints of its failed calls on objects.
#[track_caller]
fn explained(script: &str) -> Vec<String> {
    explained_by(&[], script)
}

/// Starts a command as user nobody; requires root.
const AS_NOBODY: [&str; 6] = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];

#[track_caller]
fn explained_to_nobody(script: &str) -> Vec<String> {
    explained_by(&AS_NOBODY, script)
}

/// The same with another command in front.
#[track_caller]
fn explained_by(prefix: &[&str], script: &str) -> Vec<String> {
    explained_of(&[prefix, &["perl", "-e", script]].concat())
}

/// Traces a command, and returns the causes and hints of its failed calls on objects.
fn explained_of(command: &[&str]) -> Vec<String> {
    let ran = finish(shmadm().args(["trace", "--posix", "--"]).args(command).env("PATH", "/usr/bin:/bin"));
    diagnoses(&ran).into_iter().map(str::to_owned).collect()
}

/// Creates a file in /dev/shm with a mode.
fn file(name: &str, mode: u32) {
    let path = format!("/dev/shm/{name}");
    std::fs::write(&path, [0; 10]).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// Returns a script that opens a file in /dev/shm. In Perl, 2 is O_RDWR, 0102 adds O_CREAT and 0302 O_EXCL.
fn open(name: &str, flags: &str) -> String {
    format!("sysopen(F, '/dev/shm/{name}', {flags}); ")
}

const LIST: &str = "hint: list the objects: `shmadm list --posix`";
const MISSING: &str = "cause: /dev/shm has no file with this name: it was removed or never existed";

#[apply(test)]
#[requires(Program(&["perl"]))]
fn names_are_missing_or_taken() {
    file("x", 0o600);
    assert_eq!(explained(&open("none", "2")), [MISSING, LIST]);
    assert_eq!(explained_of(&["unlink", "/dev/shm/none"]), [MISSING, LIST]);
    assert_eq!(explained(&open("none/x", "0102"))[0], "cause: the directory /dev/shm/none does not exist");
    assert_eq!(explained(&open("x/y", "2")), ["cause: /dev/shm/x is not a directory"]);
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap().name;
    assert_eq!(
        explained(&open("x", "0302")),
        [
            &*format!("cause: the file exists (owner {user}), and O_EXCL requires a new one"),
            "hint: inspect it: `shmadm stat /x`"
        ]
    );
    // sem_open(3) gives a new file its name by link(2).
    file("new", 0o600);
    assert_eq!(
        explained("link('/dev/shm/new', '/dev/shm/x'); link('/dev/shm/new', '/dev/shm/y')"),
        [
            &*format!("cause: the file exists (owner {user}), and link(2) never replaces a file"),
            "hint: inspect it: `shmadm stat /x`"
        ]
    );
    // The new name is not the missing one.
    assert_eq!(explained("link('/dev/shm/none', '/dev/shm/y')"), [MISSING, LIST]);
    symlink("x", "/dev/shm/link").unwrap();
    nix::unistd::mkfifo("/dev/shm/fifo", nix::sys::stat::Mode::S_IRWXU).unwrap();
    for (name, kind) in [("link", "a symbolic link"), ("fifo", "a FIFO")] {
        // `stat` does not show these.
        let cause = format!("cause: the file exists and is {kind} (owner {user}), and O_EXCL requires a new one");
        assert_eq!(explained(&open(name, "0302")), [cause]);
        let cause = format!("cause: the file exists and is {kind} (owner {user}), and link(2) never replaces a file");
        assert_eq!(explained(&format!("link('/dev/shm/new', '/dev/shm/{name}')")), [cause]);
    }
    let cause = "cause: the name is a symbolic link, which O_NOFOLLOW does not follow";
    assert_eq!(explained(&open("link", "0400000")), [cause]);
    let long = "x".repeat(256);
    assert_eq!(explained(&open(&long, "2")), ["cause: the name has 256 bytes; the maximum is 255"]);
    std::fs::create_dir("/dev/shm/directory").unwrap();
    assert_eq!(explained(&open("directory", "2")), ["cause: it is a directory"]);
}

#[apply(test)]
#[requires(Root, Program(&["perl"]), Program(&["setpriv"]))]
fn modes_are_explained_to_the_traced_user() {
    file("x", 0o640);
    let inspect = "hint: inspect it: `shmadm stat /x`";
    assert_eq!(
        explained_to_nobody(&open("x", "0")),
        ["cause: mode 0640, owner root:root: user nobody (other) has no access", inspect]
    );
    assert_eq!(
        explained_of(&[&AS_NOBODY[..], &["unlink", "/dev/shm/x"]].concat()),
        [
            "cause: /dev/shm is sticky: only the owner of the file (root), the owner of the directory (root) and a caller \
             with CAP_FOWNER can remove it; the caller is user nobody",
            inspect
        ]
    );
    chown("/dev/shm/x", None, Some(NOBODY)).unwrap();
    assert_eq!(
        explained_to_nobody(&open("x", "2"))[0],
        "cause: mode 0640, owner root:nogroup: user nobody (in the group) has read access only"
    );
    for (mode, cause) in [
        (
            0o755,
            "cause: /dev/shm/d requires write permission: mode 0755, owner root:root: user nobody (other) has read access only",
        ),
        (
            0o700,
            "cause: /dev/shm/d requires search permission: mode 0700, owner root:root: user nobody (other) has no access",
        ),
    ] {
        let _ = std::fs::create_dir("/dev/shm/d");
        file("d/y", 0o666);
        std::fs::set_permissions("/dev/shm/d", PermissionsExt::from_mode(mode)).unwrap();
        assert_eq!(explained_to_nobody(&open("d/x", "0102")), [cause]);
        assert_eq!(explained_of(&[&AS_NOBODY[..], &["unlink", "/dev/shm/d/y"]].concat()), [cause]);
    }
}

#[apply(test)]
#[requires(Root, Program(&["perl"]), Program(&["setpriv"]))]
fn a_link_to_a_file_of_another_user_requires_access_to_it() {
    file("x", 0o644);
    std::fs::create_dir("/dev/shm/directory").unwrap();
    let link = |name: &str| format!("link('/dev/shm/{name}', '/dev/shm/y')");
    let mode = "mode 0644, owner root:root: user nobody (other) has read access only";
    if std::fs::read_to_string("/proc/sys/fs/protected_hardlinks").unwrap().trim() == "1" {
        let rule = "fs.protected_hardlinks is 1: another user's file must be a regular one without setuid and setgid";
        assert_eq!(
            explained_to_nobody(&link("x")),
            [
                &*format!("cause: {rule} that the caller may read and write; {mode}"),
                "hint: inspect it: `shmadm stat /x`"
            ]
        );
    }
    assert_eq!(explained(&link("directory"))[0], "cause: it is a directory, which has only one name");
}

#[apply(test)]
#[requires(Root, Program(&["perl"]))]
fn a_file_of_another_user_in_a_sticky_directory_is_protected() {
    if std::fs::read_to_string("/proc/sys/fs/protected_regular").unwrap().trim() != "0" {
        file("x", 0o666);
        chown("/dev/shm/x", Some(1), None).unwrap();
        let lines = explained(&open("x", "0102"));
        assert!(lines[0].contains(" fs.protected_regular denies O_CREAT on a file of another user ("), "{lines:?}");
        assert_eq!(lines[1], "hint: open an existing file without O_CREAT");
    }
}

#[apply(test)]
#[requires(Program(&["perl"]))]
fn sizes_require_a_writable_descriptor_and_the_limit() {
    file("x", 0o600);
    assert_eq!(explained(&(open("x", "0") + "truncate(F, 5)")), ["cause: descriptor 3 is not open for writing"]);
    // O_PATH, then ftruncate and mmap.
    let calls = [libc::SYS_ftruncate, libc::SYS_mmap].map(|number| format!("syscall({number}, "));
    let script = format!("{}{}3, 5); {}0, 4096, 1, 1, 3, 0)", open("x", "010000000"), calls[0], calls[1]);
    let cause = "cause: descriptor 3 was opened with O_PATH, which allows neither reading nor writing";
    assert_eq!(explained(&script), [cause; 2]);
    let script = "$SIG{XFSZ} = 'IGNORE'; ".to_owned() + &open("x", "2") + "truncate(F, 5000)";
    let limited = ["sh", "-c", "ulimit -f 1; exec \"$@\"", "sh"];
    assert_eq!(explained_by(&limited, &script), ["cause: the size exceeds RLIMIT_FSIZE, 512 bytes"]);
    let limited = ["sh", "-c", "ulimit -n 5; exec \"$@\"", "sh"];
    let script = "sysopen($f[$_], '/dev/shm/x', 0) || last for 1 .. 9";
    assert_eq!(explained_by(&limited, script), ["cause: all 5 descriptors of the process are in use (RLIMIT_NOFILE)"]);
}

#[apply(test)]
fn a_mapping_requires_a_length_and_a_descriptor_for_its_access() {
    file("x", 0o600);
    let map = |size| CallRequest::MapReadOnly { path: "/dev/shm/x".to_owned(), size };
    let ran = finish(&mut trace(&["--posix"], &performing(&[&map(0), &map(4096)]))).exits(0);
    assert_eq!(
        diagnoses(&ran),
        [
            "cause: the length is 0, and an empty range cannot be mapped",
            "cause: descriptor 4 is open for reading only, and PROT_WRITE requires O_RDWR"
        ]
    );
}

#[apply(test)]
#[requires(Program(&["perl"]))]
fn seals_and_flags_of_a_mapping_are_named() {
    // memfd_create with MFD_ALLOW_SEALING, F_ADD_SEALS, then ftruncate and mmap.
    let sealed = |call: &str| {
        let numbers = [libc::SYS_memfd_create, libc::SYS_fcntl, libc::SYS_ftruncate, libc::SYS_mmap];
        let [create, fcntl, truncate, map] = numbers.map(|number| number.to_string());
        let call = call.replace("truncate", &truncate).replace("map", &map);
        format!(
            "my $f = syscall({create}, my $n = 'm', 2); syscall({truncate}, $f, 4096); \
             syscall({fcntl}, $f, 1033, 2 | 4 | 8); syscall({call})"
        )
    };
    for (call, cause) in [
        ("truncate, $f, 8192", "its seal F_SEAL_GROW forbids it"),
        ("truncate, $f, 9", "its seal F_SEAL_SHRINK forbids it"),
        ("map, 0, 4096, 3, 1, $f, 0", "its seal F_SEAL_WRITE forbids it"),
        ("map, 0, 4096, 1, 0, $f, 0", "the flags contain neither MAP_SHARED nor MAP_PRIVATE"),
        ("map, 0, 4096, 1, 0x40001, $f, 0", "MAP_HUGETLB requires a file on hugetlbfs"),
        ("map, 0, 4096, 1, 0x80003, $f, 0", "MAP_SYNC requires a file in persistent memory (DAX)"),
        (
            "map, 1 << 33, 4096, 1, 0x100001, $f, 0); syscall(map, 1 << 33, 4096, 1, 0x100001, $f, 0",
            "the range overlaps a mapping of /memfd:m (deleted) at 0x200000000-0x200001000",
        ),
        ("map, 0xf << 60, 4096, 1, 0x11, $f, 0", "the range is outside of the address space of a process"),
    ] {
        assert_eq!(explained(&sealed(call)), [format!("cause: {cause}")], "{call}");
    }
    for (arguments, cause) in [
        ("my $n = 'x' x 250, 0", "the name has 250 bytes; the maximum is 249"),
        ("my $n = 'm', 0x41", "the kernel has no flag 0x40 of memfd_create"),
    ] {
        let call = format!("syscall({}, {arguments})", libc::SYS_memfd_create);
        assert_eq!(explained(&call), [format!("cause: {cause}")]);
    }
}

#[apply(test)]
#[requires(Program(&["perl"]))]
fn a_file_system_is_full_or_read_only() {
    mount_tmpfs_on("/dev/shm", Some("nr_inodes=1,mode=1777"));
    // There are no objects to list.
    let full = ["cause: all 1 inodes of /dev/shm are in use"];
    assert_eq!(explained(&open("x", "0102")), full);
    // O_TMPFILE
    assert_eq!(explained_of(&[env!("CARGO_BIN_EXE_shmadm"), "create", "/x"]), full);
    mount_tmpfs_on("/dev/shm", Some("ro"));
    assert_eq!(explained(&open("x", "0102")), ["cause: /dev/shm is mounted read-only"]);
}

#[apply(test)]
#[requires(Root, Program(&["perl"]))]
fn commands_for_a_process_with_another_root_name_it() {
    mount_tmpfs(None);
    std::fs::create_dir_all("/mnt/dev/shm").unwrap();
    std::fs::write("/mnt/dev/shm/x", "").unwrap();
    let lines = explained(&format!("chroot('/mnt'); {}{}", open("x", "0302"), open("y", "2")));
    for (line, command) in [(&lines[1], "stat /x"), (&lines[3], "list --posix")] {
        assert!(line.contains(": `shmadm --ns ") && line.ends_with(&format!(" {command}`")), "{lines:?}");
    }
}

#[apply(test)]
#[requires(Root, Program(&["perl"]), Program(&["unshare"]))]
fn a_process_with_another_dev_shm_does_not_find_this_one() {
    file("x", 0o600);
    let script = "mount -t tmpfs none /dev/shm && exec \"$@\"";
    let lines = explained_by(&["unshare", "--mount", "sh", "-c", script, "sh"], &open("x", "2"));
    assert_eq!(
        lines[..2],
        [MISSING, "hint: shmadm's own /dev/shm has such a file, but the process has a different /dev/shm"]
    );
    assert!(lines[2].starts_with("hint: list the objects: `shmadm --ns "), "{lines:?}");
    assert!(lines[2].ends_with(" list --posix`"), "{lines:?}");
}
