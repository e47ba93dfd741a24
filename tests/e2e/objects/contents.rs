//! `read` and `write` of POSIX objects.

use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};

use super::{create, file_id};
use crate::actor::{Actor, Request};
use crate::support::{NOBODY, finish, run, shmadm, shmadm_as};

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
        .says("its mode is 0600 and its owner is ");
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
    crate::support::mount_tmpfs_on("/dev/shm", Some("mode=1777,size=16k"));
    create("x", 1 << 20);
    let ran = run(["write", "/x", "--fill", "1"]).exits(1);
    ran.says("cannot write object /x at offset 16384: No space left on device (ENOSPC, pwrite)");
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions("/dev/shm/x", mode).unwrap();
}
