//! `dump` and `restore` of POSIX objects.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};

use serde_json::{Value, json};

use super::{create, file_id, names};
use crate::actor::{Actor, Request};
use crate::fixtures::{assert_fields, dump_path};
use crate::support::{NOBODY, finish, noise, run, shmadm_as};

/// Returns the record of a dump.
fn record(path: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(format!("{path}.json")).unwrap()).unwrap()
}

#[apply(test)]
fn an_object_is_recreated_from_its_dump() {
    let path = create("x", 100_000);
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.write_all_at(&noise(9000, 1), 50_000).unwrap();
    drop(file);
    let (contents, blocks) = (std::fs::read(&path).unwrap(), std::fs::metadata(&path).unwrap().blocks());
    let directory = tempfile::tempdir().unwrap();
    let dump = dump_path(directory.path());
    run(["dump", "/x", &dump]).exits(0).says("dumped object /x (");
    assert_eq!(std::fs::read(&dump).unwrap(), contents);
    let kept = record(&dump);
    assert_fields(&kept, json!({ "schema": 1, "kind": "posix", "huge_page_size": null }));
    assert_fields(&kept["object"], json!({ "name": "/x", "size": 100_000, "mode": "0640", "users": 0 }));
    assert_eq!(kept.get("segment"), None);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(run(["restore", &dump]).exits(0).stdout, "/x\n");
    let restored = std::fs::metadata(&path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), contents);
    assert_eq!((restored.mode() & 0o7777, restored.blocks()), (0o640, blocks), "with the same holes");
}

#[apply(test)]
fn an_existing_object_is_never_replaced() {
    create("x", 4096);
    let directory = tempfile::tempdir().unwrap();
    let dump = dump_path(directory.path());
    run(["dump", "/x", &dump]).exits(0);
    let refused = run(["restore", &dump]).exits(6).prints_nothing();
    refused.says("cannot create object /x: File exists (EEXIST, linkat)").says("--name /x-restored");
    let report = run(["restore", &dump, "--name", "/y", "--json"]).exits(0).json();
    assert_fields(&report["object"], json!({ "name": "/y", "size": 4096, "mode": "0600", "state": "unknown" }));
    assert_eq!(names(), ["x", "y"]);
}

#[apply(test)]
fn an_unlinked_object_is_rescued() {
    let path = create("gone", 8192);
    std::fs::write(&path, "rescue me").unwrap();
    let name = file_id(&path);
    let mut actor = Actor::start();
    actor.ask(Request::OpenFile { path: path.clone() });
    std::fs::remove_file(&path).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let dump = dump_path(directory.path());
    run(["dump", &name, &dump]).exits(0);
    assert_eq!(record(&dump)["object"]["name"], Value::Null);
    drop(actor);
    run(["restore", &dump]).exits(2).says("choose one with --name");
    run(["restore", &dump, "--name", "/back"]).exits(0);
    assert_eq!(std::fs::read_to_string("/dev/shm/back").unwrap(), "rescue me");
}

#[apply(test)]
fn contents_that_are_not_the_recorded_ones_get_no_name() {
    let path = create("x", 4096);
    let directory = tempfile::tempdir().unwrap();
    let dump = dump_path(directory.path());
    run(["dump", "/x", &dump]).exits(0);
    std::fs::remove_file(path).unwrap();
    std::fs::write(&dump, noise(4096, 3)).unwrap();
    run(["restore", &dump]).exits(1).says("does not match its record: its checksum differs");
    assert_eq!(names(), [""; 0]);
}

#[apply(test)]
fn options_of_the_other_kind_are_usage_errors() {
    create("x", 4096);
    let directory = tempfile::tempdir().unwrap();
    let dump = dump_path(directory.path());
    run(["dump", "/x", &dump]).exits(0);
    for option in [&["--key", "random"][..], &["--hold"]] {
        run(["restore", &dump].iter().chain(option)).exits(2).says("--key and --hold are only for segments");
    }
    let id = run(["create"]).exits(0).stdout;
    run(["dump", id.trim(), &dump, "--force"]).exits(0);
    run(["restore", &dump, "--name", "/y"]).exits(2).says("--name is only for POSIX objects");
    run(["restore", &dump, "--name", "5"]).exits(2).says("expected /NAME or sem:/NAME");
}

#[apply(test)]
fn a_record_has_either_a_segment_or_an_object() {
    create("x", 4096);
    let directory = tempfile::tempdir().unwrap();
    let dump = dump_path(directory.path());
    run(["dump", "/x", &dump]).exits(0);
    let mut kept = record(&dump);
    kept.as_object_mut().unwrap().remove("kind");
    std::fs::write(format!("{dump}.json"), kept.to_string()).unwrap();
    run(["restore", &dump]).exits(1).says("invalid dump record");
}

#[apply(test)]
#[requires(Root)]
fn an_owner_that_the_caller_cannot_give_is_explained() {
    let path = create("x", 4096);
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let dump = dump_path(directory.path());
    finish(shmadm_as(NOBODY).args(["dump", "/x", &dump])).exits(0);
    let ran = finish(shmadm_as(NOBODY).args(["restore", &dump, "--name", "/y"])).exits(4);
    ran.says("cannot create object /y of 4 KiB: Operation not permitted (EPERM, fchown)")
        .says("only a privileged caller can give it to another owner or group")
        .says("--owner 65534");
    let own = ["restore", &dump, "--name", "/y", "--owner", "65534", "--group", "65534"];
    finish(shmadm_as(NOBODY).args(own)).exits(0);
    assert_eq!(std::fs::metadata("/dev/shm/y").unwrap().uid(), NOBODY);
}

#[apply(test)]
fn a_recorded_name_that_may_stand_for_another_is_not_restored() {
    let directory = tempfile::tempdir().unwrap();
    let dump = dump_path(directory.path());
    for name in [b"/a\xff".as_slice(), br"/a\xff"] {
        let name = OsStr::from_bytes(name);
        run([OsStr::new("create"), name]).exits(0);
        run([OsStr::new("dump"), name, OsStr::new("--force"), OsStr::new(&dump)]).exits(0);
        run([OsStr::new("rm"), name]).exits(0);
        run(["restore", &dump])
            .exits(2)
            .says("error: the record has no name, or one with \\x, which may replace a byte: choose one with --name\n");
        assert_eq!(names(), [""; 0]);
        run([OsStr::new("restore"), OsStr::new(&dump), OsStr::new("--name"), name]).exits(0);
        run([OsStr::new("rm"), name]).exits(0);
    }
}
