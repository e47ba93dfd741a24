//! `metrics`, `check` and hints about POSIX objects, compared with statvfs(3) and the files.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;

use nix::fcntl::AT_FDCWD;
use serde_json::json;

use super::{create, file_id};
use crate::actor::{Actor, Request};
use crate::fixtures::{assert_fields, can_inspect_all};
use crate::support::{NOBODY, finish, mount_tmpfs_on, run, shmadm_as};

/// Returns the value of a metric of this test's /dev/shm, with further labels.
#[track_caller]
fn metric(name: &str, labels: &str) -> Option<u64> {
    let text = run(["metrics"]).exits(0).stdout;
    let directory = file_id("/dev/shm");
    let dev = directory.trim_start_matches("obj:").rsplit_once(':').unwrap().0;
    let series = format!("shmadm_posix_{name}{{dev=\"{dev}\"{labels}}} ");
    text.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok())
}

/// Creates an object that is allocated, and that a process has open although its name was removed.
fn unlinked(actor: &mut Actor, size: usize) {
    let path = create("gone", 0);
    fs::write(&path, vec![1; size]).unwrap();
    actor.ask(Request::OpenFile { path: path.clone() });
    fs::remove_file(path).unwrap();
}

#[apply(test)]
fn metrics_match_the_file_system() {
    mount_tmpfs_on("/dev/shm", Some("mode=1777,size=1m,nr_inodes=100"));
    let mut actor = Actor::start();
    unlinked(&mut actor, 3 * 4096);
    fs::write(create("used", 0), vec![1; 8192]).unwrap();
    actor.ask(Request::MapFile { path: "/dev/shm/used".to_owned() });
    fs::create_dir("/dev/shm/directory").unwrap();
    fs::write("/dev/shm/directory/file", vec![1; 4096]).unwrap();
    let space = nix::sys::statvfs::statvfs("/dev/shm").unwrap();
    assert_eq!(metric("size_bytes", ""), Some(1 << 20));
    assert_eq!(metric("used_bytes", ""), Some((space.blocks() - space.blocks_free()) * space.fragment_size()));
    assert_eq!(metric("unlinked_bytes", ""), Some(3 * 4096));
    assert_eq!(metric("inodes", ""), Some(100));
    assert_eq!(metric("inodes_used", ""), Some(space.files() - space.files_free()));
    let me = fs::read_to_string("/etc/passwd").unwrap();
    let uid = format!(":x:{}:", nix::unistd::geteuid());
    let me = me.lines().find_map(|line| Some(line.split_once(&uid)?.0)).unwrap();
    assert_eq!(metric("objects", &format!(",owner=\"{me}\",state=\"in-use\"")), Some(1));
    for state in ["unknown", "idle", "kept", "orphan", "unused"] {
        assert_eq!(metric("objects", &format!(",owner=\"root\",state=\"{state}\"")), Some(0));
    }
}

#[apply(test)]
fn without_a_limit_nothing_is_counted() {
    mount_tmpfs_on("/dev/shm", Some("mode=1777,size=0,nr_inodes=0"));
    for name in ["size_bytes", "used_bytes", "unlinked_bytes", "inodes", "inodes_used"] {
        assert_eq!(metric(name, ""), None, "{name} is unknown");
    }
    fs::write("/dev/shm/x", [1; 4096]).unwrap();
    let limits = run(["limits", "--json"]).exits(0).json();
    let unknown = json!({ "size": 0, "used": null, "inodes": 0, "inodes_used": null, "unlinked": null });
    assert_fields(&limits["posix"], unknown);
    let table = run(["limits", "--format", "tsv"]).exits(0).stdout;
    assert!(table.contains("POSIX_SIZE\tmemory in /dev/shm\t\t\t\n"), "{table}");
    // The files show what the kernel does not count.
    let usage = run(["usage", "--json"]).exits(0).json();
    let instances = usage["instances"].as_array().unwrap();
    let instance = instances.iter().find(|it| it["dev"] == limits["posix"]["dev"]).unwrap();
    assert_fields(instance, json!({ "used": 4096, "inodes_used": null }));
    for what in ["shm-used=80%", "shm-used=1G", "unlinked-bytes=1G"] {
        let ran = run(["check", "-w", what]).exits(3).says("the kernel does not count what is used");
        assert!(ran.stdout.starts_with("SHM UNKNOWN: cannot determine "), "{ran:?}");
    }
    run(["check", "-w", "shm-inodes=80%"]).exits(3).says("its number of inodes is not limited");
}

#[apply(test)]
#[requires(Root)]
fn hugetlbfs_without_a_limit_of_inodes_counts_none() {
    let huge = |options: &str| {
        mount_tmpfs_on("/mnt", None);
        nix::mount::mount(None::<&str>, "/mnt", Some("hugetlbfs"), nix::mount::MsFlags::empty(), Some(options)).is_ok()
    };
    if !huge("pagesize=2M,size=4M") {
        return;
    }
    fs::write("/mnt/x", []).unwrap();
    let limits = || run(["--dir", "/mnt", "limits", "--json"]).exits(0).json()["posix"].clone();
    assert_fields(&limits(), json!({ "size": 4 << 20, "used": 0, "inodes": 0, "inodes_used": null }));
    let table = run(["--dir", "/mnt", "limits", "--format", "tsv"]).exits(0).stdout;
    assert!(table.contains("POSIX_INODES\tfiles in /mnt\t\t\t\n"), "{table}");
    let ran = run(["--dir", "/mnt", "check", "-w", "shm-inodes=80%"]);
    ran.exits(3).says("its number of inodes is not limited");
    if huge("pagesize=2M,min_size=0,nr_inodes=5") {
        assert_fields(&limits(), json!({ "size": 0, "used": null, "inodes": 5, "inodes_used": 1 }));
    }
}

#[apply(test)]
fn check_compares_memory_and_inodes_with_their_limits() {
    mount_tmpfs_on("/dev/shm", Some("mode=1777,size=1m,nr_inodes=10"));
    let mut actor = Actor::start();
    unlinked(&mut actor, 16 << 10);
    fs::write(create("x", 0), vec![1; 512 << 10]).unwrap();
    for (rule, warns) in [
        ("shm-used=51%", true),
        ("shm-used=52%", false),
        ("shm-used=512K", true),
        ("shm-used=528K", false),
        ("shm-inodes=29%", true),
        ("shm-inodes=30%", false),
        ("unlinked-bytes=16K", false),
        ("unlinked-bytes=16383", true),
    ] {
        run(["check", "-w", rule]).exits(i32::from(warns));
    }
    let line = run(["check", "-w", "shm-used=80%", "-w", "shm-inodes=80%", "-w", "unlinked-bytes=1M"]).exits(0).stdout;
    assert_eq!(
        line,
        "SHM OK: 528K of 1M of object memory (51.56%), 3 of 10 object inodes (30.00%), \
         16K in unlinked objects (16384 bytes) | 'shm-used'=540672B;838860.8;;0;1048576 'shm-inodes'=3;8;;0;10 \
         'unlinked-bytes'=16384B;1048576;;0\n"
    );
    let report = run(["check", "-c", "shm-used=50%", "--json"]).exits(2).json();
    assert_fields(&report["checks"][0], json!({ "what": "shm-used", "value": 540_672, "limit": 1 << 20 }));
    run(["check", "-w", "unlinked-bytes=50%"])
        .exits(3)
        .says("unlinked-bytes has no limit, so no percentage is possible");
    run(["check", "-w", "objects-orphan=50%"]).exits(3).says("expected a number");
}

#[apply(test)]
fn check_counts_orphans_and_is_unknown_if_it_cannot() {
    let mut actor = Actor::start();
    actor.ask(Request::MapFile { path: create("used", 4096) });
    fs::create_dir("/dev/shm/directory").unwrap();
    let line = run(["check", "-c", "objects-orphan=0"]).exits(0).stdout;
    assert_eq!(line, "SHM OK: 0 orphan objects | 'objects-orphan'=0;;0;0\n");
    // The pid of a process that has ended.
    let mut child = std::process::Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    create(&format!("torch_{}_1_0", child.id()), 4096);
    let ran = run(["check", "-c", "objects-orphan=0"]);
    if can_inspect_all() {
        ran.exits(2);
    } else {
        ran.exits(3)
            .says("cannot determine whether 1 object is an orphan")
            .says("hint: determine their state: `shmadm list --posix --probe`\n");
    }
    // Whatever it is, the status is the same.
    run(["check", "-c", "objects-orphan=1"]).exits(0);
}

#[apply(test)]
fn a_long_symbolic_link_is_not_unlinked_memory() {
    mount_tmpfs_on("/dev/shm", Some("mode=1777,size=1m"));
    // The kernel keeps a target of this length in a page.
    symlink("/".to_owned() + &"y".repeat(3000), "/dev/shm/link").unwrap();
    let space = nix::sys::statvfs::statvfs("/dev/shm").unwrap();
    assert!(space.blocks() > space.blocks_free());
    assert_fields(&run(["limits", "--json"]).exits(0).json()["posix"], json!({ "unlinked": 0 }));
    assert_eq!(run(["list", "--posix"]).exits(0).stderr, "");
    run(["check", "-w", "unlinked-bytes=0"]).exits(0);
    // Other names of it take no more.
    fs::create_dir("/dev/shm/directory").unwrap();
    for name in ["other", "directory/third"] {
        let flags = nix::fcntl::AtFlags::empty();
        nix::unistd::linkat(AT_FDCWD, "/dev/shm/link", AT_FDCWD, &*format!("/dev/shm/{name}"), flags).unwrap();
    }
    assert_eq!(metric("unlinked_bytes", ""), Some(0));
    // It hides nothing either.
    let mut actor = Actor::start();
    unlinked(&mut actor, 4096);
    assert_eq!(metric("unlinked_bytes", ""), Some(4096));
}

#[apply(test)]
#[requires(Root)]
fn memory_below_an_unreadable_directory_is_not_taken_for_unlinked() {
    use std::os::unix::fs::PermissionsExt;
    fs::create_dir("/dev/shm/private").unwrap();
    fs::write("/dev/shm/private/file", vec![1; 1 << 20]).unwrap();
    fs::set_permissions("/dev/shm/private", fs::Permissions::from_mode(0o700)).unwrap();
    run(["check", "-w", "unlinked-bytes=0"]).exits(0);
    let ran = finish(shmadm_as(NOBODY).args(["check", "-w", "unlinked-bytes=0"])).exits(3);
    ran.says("cannot determine unlinked-bytes of /dev/shm").says("not permitted to read a directory in it");
    assert_eq!(metric("unlinked_bytes", ""), Some(0));
}

#[apply(test)]
fn check_and_hints_keep_the_directory() {
    mount_tmpfs_on("/mnt", Some("mode=1777,size=64k"));
    let mut file = fs::File::create("/mnt/x").unwrap();
    file.write_all(&[1; 4096]).unwrap();
    let report = run(["check", "--dir", "/mnt", "-w", "shm-used=80%", "--json"]).exits(0).json();
    assert_fields(&report["checks"][0], json!({ "value": 4096, "limit": 65536 }));
    let ran = run(["--dir", "/mnt", "rm", "/x"]);
    // In use by this process.
    ran.exits(5).says("`shmadm --dir /mnt rm --force /x`");
    fs::remove_file("/mnt/x").unwrap();
    run(["list", "--dir", "/mnt"]).exits(0).says("unlinked objects hold 4 KiB: `shmadm --dir /mnt list --unlinked`");
    run(["list", "--dir", "/mnt", "--all-ns"]).exits(2).says("--dir and --all-ns cannot be combined");
    drop(file);
}

#[apply(test)]
fn limits_show_which_files_get_huge_pages() {
    if !fs::exists("/sys/kernel/mm/transparent_hugepage/shmem_enabled").unwrap() {
        return;
    }
    for option in ["never", "always", "within_size", "advise"] {
        mount_tmpfs_on("/mnt", Some(&format!("huge={option}")));
        let report = run(["limits", "--dir", "/mnt", "--json"]).exits(0).json();
        assert_fields(&report["posix"], json!({ "huge": false, "huge_pages": option }));
        let table = run(["limits", "--dir", "/mnt", "--format", "tsv"]).exits(0).stdout;
        let row = format!("POSIX_HUGE\tfiles in /mnt with huge pages\t{option}\t\t\n");
        assert!(table.contains(&row), "{table}");
    }
}
