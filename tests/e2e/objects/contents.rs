//! `read`, `write` and `map` of POSIX objects.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use serde_json::json;

use super::{create, file_id};
use crate::actor::{Actor, Request};
use crate::fixtures::assert_fields;
use crate::support::{NOBODY, Running, finish, is_root, mount_tmpfs_on, run, run_with_input, shmadm, shmadm_as};

#[apply(test)]
fn an_object_is_read_in_every_form() {
    let path = create("x", 8192);
    std::fs::File::options().write(true).open(path).unwrap().write_all_at(b"abc\0def", 4096).unwrap();
    assert_eq!(run(["read", "/x", "--offset", "4096", "--text"]).exits(0).stdout, "abc\n");
    assert_eq!(run(["read", "/x", "--offset", "4096", "--type", "u8", "--count", "2"]).exits(0).stdout, "97\n98\n");
    assert!(run(["read", "/x"]).exits(0).stdout.starts_with("00000000  00 00"));
    assert_eq!(run(["read", "/x", "--raw"]).exits(0).stdout.len(), 8192);
    run(["read", "/x", "--offset", "8000", "--length", "200"])
        .exits(1)
        .says("range 8000..8200 exceeds object /x (8 KiB)");
}

#[apply(test)]
fn reading_allocates_nothing_and_moves_no_time() {
    let path = create("sparse", 64 << 20);
    let times = |file: std::fs::Metadata| (file.atime_nsec(), file.mtime_nsec(), file.ctime_nsec(), file.blocks());
    let before = times(std::fs::metadata(&path).unwrap());
    assert_eq!(run(["read", "/sparse", "--raw"]).exits(0).stdout.len(), 64 << 20);
    assert_eq!(times(std::fs::metadata(&path).unwrap()), before);
}

#[apply(test)]
fn an_unlinked_object_is_read_through_the_process_that_has_it_open() {
    let path = create("gone", 4096);
    std::fs::write(&path, "rescue me").unwrap();
    let name = file_id(&path);
    let mut actor = Actor::start();
    actor.ask(Request::OpenFile { path: path.clone() });
    std::fs::remove_file(path).unwrap();
    assert_eq!(run(["read", &name, "--text"]).exits(0).stdout, "rescue me\n");
    drop(actor);
    run(["read", &name, "--text"]).exits(3).says("cannot find object ");
}

#[apply(test)]
#[requires(Root)]
fn another_users_object_is_denied_with_its_mode_and_owner() {
    create("private", 4096);
    let ran = finish(shmadm_as(NOBODY).args(["read", "/private"])).exits(4);
    ran.says("cannot read object /private: Permission denied (EACCES, open)")
        .says("cause: its mode is 0600 and its owner is root\n");
}

#[apply(test)]
fn text_is_written_inside_the_size() {
    let path = create("x", 4096);
    run(["write", "/x", "hello", "--offset", "10"]).exits(0).says("wrote 5 bytes to object /x at offset 10");
    assert_eq!(&std::fs::read(&path).unwrap()[9..16], b"\0hello\0");
    run(["write", "/x", "hello", "--offset", "4094"]).exits(1).says("range 4094..4099 exceeds object /x (4 KiB)");
    run(["write", "/x", "--fill", "0xff", "--length", "2"]).exits(0);
    assert_eq!(&std::fs::read(&path).unwrap()[..3], b"\xff\xff\0");
    assert_eq!(std::fs::metadata(path).unwrap().len(), 4096);
}

#[apply(test)]
fn an_input_longer_than_the_object_fills_it_and_fails() {
    let path = create("x", 4);
    let input = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(input.path(), "abcdef").unwrap();
    let file = input.path().to_str().unwrap();
    run(["write", "/x", "--input", file]).exits(1).says("range 0..6 exceeds object /x");
    let mut command = shmadm();
    command.args(["write", "/x"]).stdin(std::fs::File::open(input.path()).unwrap());
    finish(&mut command).exits(1).says("the input exceeds object /x: 4 bytes were written");
    assert_eq!(std::fs::read(path).unwrap(), b"abcd");
}

#[apply(test)]
fn a_write_to_a_full_file_system_is_explained() {
    mount_tmpfs_on("/dev/shm", Some("mode=1777,size=16k"));
    create("x", 1 << 20);
    let ran = run(["write", "/x", "--fill", "1"]).exits(1);
    ran.says("cannot write object /x at offset 16384: No space left on device (ENOSPC, pwrite)")
        .says("cause: its file system has 0 bytes free of 16 KiB: 16 KiB in ")
        .says("); what was written before this offset remains\n")
        .says("hint: list the objects that take the most memory: `shmadm list --posix --sort RSS --reverse`\n");
}

#[apply(test)]
#[requires(Root)]
fn an_object_that_is_only_mapped_can_be_opened_by_root_only() {
    let path = create("x", 4096);
    chown(&path, Some(NOBODY), None).unwrap();
    let mut actor = Actor::spawn(Command::new("/proc/self/exe").uid(NOBODY).gid(NOBODY));
    actor.ask(Request::MapFile { path: path.clone() });
    let name = file_id(&path);
    std::fs::remove_file(path).unwrap();
    let cause =
        "cause: it is mapped, but not open, in every process that uses it, so opening it requires CAP_SYS_ADMIN\n";
    for arguments in [&["read", &name][..], &["dump", &name, "-o", "/tmp/unused"]] {
        let ran = finish(shmadm_as(NOBODY).args(arguments)).exits(4);
        ran.says("Operation not permitted (EPERM, open)").says(cause).says("hint: run as root: `sudo shmadm ");
    }
    run(["read", &name]).exits(0);
}

#[apply(test)]
fn a_full_file_system_is_broken_down_by_state_and_holder() {
    mount_tmpfs_on("/dev/shm", Some("mode=1777,size=64k,nr_inodes=4"));
    let (used, unlinked) = (create("used", 8192), create("unlinked", 16384));
    std::fs::write(&used, [1; 8192]).unwrap();
    std::fs::write(&unlinked, [1; 16384]).unwrap();
    let (mut user, mut holder) = (Actor::start(), Actor::start());
    user.ask(Request::MapFile { path: used });
    holder.ask(Request::MapFile { path: unlinked.clone() });
    std::fs::remove_file(&unlinked).unwrap();
    let [user, holder] = [user.pid(), holder.pid()].map(|pid| format!("used by pid {pid}, /proc/self/exe --actor"));
    let ran = run(["create", "/x", "--size", "1M", "--reserve"]).exits(1);
    let in_use = format!("8 KiB in objects in use (all {user})");
    // Only root sees how much memory a file takes that is only mapped.
    let held = match is_root() {
        true => format!("16 KiB in unlinked objects (all {holder}), {in_use}"),
        false => format!("{in_use}, 16 KiB in unlinked objects that cannot be inspected"),
    };
    ran.says(&format!("cause: /dev/shm has 40 KiB free of 64 KiB: {held}\n"))
        .says("hint: list those without a name: `shmadm list --unlinked`\n");
    create("last", 0);
    run(["create", "/x"])
        .exits(1)
        .says("cause: all 4 inodes of /dev/shm are in use: 1 in unlinked objects")
        .says(&format!("1 in objects in use ({user})"))
        .says("hint: list those without a name: `shmadm list --unlinked`\n");
    std::fs::remove_file("/dev/shm/used").unwrap();
    std::fs::remove_file("/dev/shm/last").unwrap();
    let ran = run(["create", "/x", "--size", "1M", "--reserve"]).exits(1);
    assert!(!ran.stderr.contains("take the most memory"), "no object has a name: {ran:?}");
}

#[apply(test)]
fn a_sparse_write_leaves_holes() {
    let path = create("x", 1 << 20);
    let mut input = vec![0; 1 << 20];
    input[500_000] = 1;
    run_with_input(["write", "/x", "--sparse"], &input).exits(0).says("wrote 1048576 bytes to object /x");
    assert_eq!(std::fs::read(&path).unwrap(), input);
    assert_eq!(std::fs::metadata(&path).unwrap().blocks(), 8, "one page");
    // Zeros replace what is there.
    run_with_input(["write", "/x", "--sparse"], &[0; 600_000]).exits(0);
    assert_eq!(std::fs::read(&path).unwrap(), [0; 1 << 20]);
}

#[apply(test)]
fn a_sparse_read_keeps_holes() {
    let path = create("x", 1 << 20);
    std::fs::File::options().write(true).open(path).unwrap().write_all_at(b"data", 500_000).unwrap();
    let output = tempfile::NamedTempFile::new_in("/dev/shm").unwrap();
    let mut command = shmadm();
    command.args(["read", "/x", "--raw", "--sparse"]).stdout(output.reopen().unwrap());
    finish(&mut command).exits(0);
    let metadata = output.as_file().metadata().unwrap();
    assert_eq!((metadata.len(), metadata.blocks()), (1 << 20, 8));
}

#[apply(test)]
fn hints_enlarge_an_object_that_is_too_small() {
    let path = create("x", 4096);
    let refused = run(["write", "/x", "hello", "--offset", "4094"]).exits(1);
    refused.says("hint: enlarge it: `shmadm set /x --size 4099`");
    run(["set", "/x", "--size", "4099"]).exits(0);
    run(["write", "/x", "hello", "--offset", "4094"]).exits(0);
    let refused = run_with_input(["write", "/x"], &[1; 5000]).exits(1).says("4099 bytes were written");
    assert!(!refused.stderr.contains("hint: "), "the length of the input is unknown: {refused:?}");
    assert_eq!(std::fs::metadata(path).unwrap().len(), 4099);
    let ran = run(["write", "/x", "hello", "--offset", "8192P"]).exits(1);
    assert!(!ran.stderr.contains("hint: "), "no object can have the size: {ran:?}");
}

#[apply(test)]
fn a_repeated_read_reports_that_the_object_was_shrunk() {
    let path = create("x", 8192);
    let mut command = shmadm();
    command.args(["read", "/x", "--type", "u8", "--offset", "8191", "--every", "1ms"]);
    let mut running = Running(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(running.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "0\n");
    std::fs::File::options().write(true).open(path).unwrap().set_len(4096).unwrap();
    let mut stderr = String::new();
    running.0.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert!(stderr.contains("exceeds object /x (4 KiB)") || stderr.contains("it was shrunk"), "{stderr}");
    assert_eq!(running.0.wait().unwrap().code(), Some(1));
}

#[apply(test)]
fn map_shows_what_is_in_memory() {
    let path = create("x", 5 * 4096 - 96);
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(b"1", 4096).unwrap();
    file.write_all_at(b"1", 4 * 4096).unwrap();
    let report = run(["map", "/x", "--json"]).exits(0).json();
    let extents = json!([
        { "offset": 0, "length": 4096, "state": "untouched" },
        { "offset": 4096, "length": 4096, "state": "resident" },
        { "offset": 8192, "length": 8192, "state": "untouched" },
        { "offset": 16384, "length": 4000, "state": "resident" },
    ]);
    let expected = json!({ "schema": 1, "name": "/x", "size": 20384, "page_size": 4096, "resident": 8096, "swapped": 0,
        "untouched": 12288, "unknown": 0, "rss": 8192, "extents": extents });
    assert_eq!(report, expected);
    assert_eq!(file.metadata().unwrap().blocks(), 16, "map touches no page");
    // Reserved pages are in memory, although they read as a hole.
    run(["create", "/reserved", "--size", "16K", "--reserve"]).exits(0);
    assert_eq!(run(["map", "/reserved", "--json"]).exits(0).json()["resident"], 16384);
    let empty = run(["create", "/empty", "--size", "0"]).exits(0);
    assert_eq!(empty.stdout, "/empty\n");
    assert_eq!(run(["map", "/empty", "--json"]).exits(0).json()["extents"], json!([]));
}

#[apply(test)]
#[requires(Root)]
fn map_needs_only_permission_to_read() {
    let path = create("x", 8192);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::File::options().write(true).open(path).unwrap().write_all_at(b"1", 4096).unwrap();
    let report = finish(shmadm_as(NOBODY).args(["map", "/x", "--json"])).exits(0).json();
    assert_eq!((&report["resident"], &report["untouched"]), (&json!(4096), &json!(4096)));
}

#[apply(test)]
#[requires(Root)]
fn reserved_pages_are_unknown_to_a_caller_who_may_not_write_the_object() {
    run(["create", "/reserved", "--size", "64K", "--reserve", "--mode", "644"]).exits(0);
    let path = "/dev/shm/reserved";
    std::fs::File::options().write(true).open(path).unwrap().write_all_at(b"1", 4096).unwrap();
    let map = || finish(shmadm_as(NOBODY).args(["map", "/reserved", "--json"])).exits(0).json();
    let fields = json!({ "resident": 4096, "untouched": 0, "unknown": 15 * 4096, "rss": 16 * 4096 });
    assert_fields(&map(), fields);
    let shown = finish(shmadm_as(NOBODY).args(["map", "/reserved"])).exits(0).stdout;
    assert!(shown.ends_with("? unknown     60K  15 pages of 4K, 60K of it resident\n"), "{shown}");
    // Which of the holes it added are reserved is unknown too.
    std::fs::File::options().write(true).open(path).unwrap().set_len(1 << 20).unwrap();
    let fields = json!({ "resident": 4096, "untouched": 0, "unknown": (1 << 20) - 4096, "rss": 16 * 4096 });
    assert_fields(&map(), fields);
    let of_owner = json!({ "resident": 16 * 4096, "untouched": (1 << 20) - 16 * 4096, "unknown": 0 });
    assert_fields(&run(["map", "/reserved", "--json"]).exits(0).json(), of_owner);
}

#[apply(test)]
fn map_does_not_wait_for_a_lease() {
    let mut holder = Actor::start();
    assert_eq!(holder.ask(Request::LeaseFile { path: create("x", 4096) }), "0");
    // The kernel breaks the lease after fs.lease-break-time, and only then lets a waiting open(2) continue.
    let ran = run(["map", "/x"]).exits(1).prints_nothing().says("error: cannot read object /x: ");
    ran.says("cause: another process holds a lease on it\n").says("hint: show its users: `shmadm who /x`\n");
    drop(holder);
    run(["map", "/x"]).exits(0);
}
