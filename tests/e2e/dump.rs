//! `dump`: a complete copy in a file, or none.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use nix::libc;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::actor::Actor;
use crate::fixtures::{assert_fields, dump_path, file_names, stable_fields};
use crate::oracle::{self, Attached};
use crate::support::{mount_tmpfs, noise, run, shmadm};
use crate::vanish::{Call, Stopped};

#[apply(test)]
fn a_large_segment_with_holes_stays_small() {
    let id = oracle::create(0, 1 << 30, 0o600 | libc::SHM_NORESERVE);
    Attached::new(id).write((1 << 29) + 5, b"here");
    let directory = tempfile::tempdir().unwrap();
    let path = dump_path(directory.path());
    let before = oracle::row(id).unwrap().get("rss").to_owned();
    run(["dump", &id.to_string(), "--output", &path]).exits(0);
    assert_eq!(oracle::row(id).unwrap().get("rss"), before);
    let metadata = std::fs::metadata(&path).unwrap();
    assert!(metadata.len() == 1 << 30 && metadata.blocks() * 512 < 1 << 20, "{metadata:?}");
    let restored: i32 = run(["restore", &path]).exits(0).stdout.trim().parse().unwrap();
    let row = oracle::row(restored).unwrap();
    assert_eq!((row.get("rss"), row.get("size")), (before.as_str(), "1073741824"));
}

#[apply(test)]
fn a_hint_names_the_dash_if_standard_output_is_a_file_name() {
    oracle::create(1234, 4096, 0o600);
    for (line, instead) in [
        ("dump 0x4d2 -o /dev/stdout", "dump 0x4d2 --output -"),
        ("dump 0x4d2 /dev/fd/1 --json", "dump 0x4d2 --output -"),
        ("metrics --output=/proc/self/fd/1", "metrics --output -"),
    ] {
        let ran = run(line.split(' ')).exits(5);
        ran.says(&format!("hint: write to standard output: `shmadm {instead}`\n"));
        run(instead.split(' ')).exits(0);
    }
}

#[apply(test)]
fn the_record_describes_the_segment() {
    let id = oracle::create(1234, 5000, 0o640);
    Attached::new(id).write(4990, b"contents");
    let record = oracle::record(&oracle::row(id).unwrap());
    let directory = tempfile::tempdir().unwrap();
    let path = dump_path(directory.path());
    let report = run(["dump", "0x4d2", "--output", &path, "--json"]).exits(0).json();
    let text = std::fs::read_to_string(format!("{path}.json")).unwrap();
    let kept: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(stable_fields(&kept["segment"]), record, "as it was before the dump");
    assert_fields(&kept, json!({ "schema": 1, "huge_page_size": null, "page_size": oracle::page_size() }));
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(kept["kernel"], release.trim());
    assert_fields(&report, json!({ "checksum": &kept["checksum"], "size": 5000 }));
    let contents = std::fs::read(&path).unwrap();
    assert_eq!((contents.len(), &contents[4990..4998]), (5000, b"contents".as_slice()));
    for name in [path.clone(), format!("{path}.json")] {
        assert_eq!(std::fs::metadata(name).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let piped = shmadm().args(["dump", "0x4d2", "--output", "-"]).output().unwrap();
    assert_eq!(piped.stdout, contents);
}

#[apply(test)]
fn peek_changes_nothing() {
    let mut actor = Actor::start();
    let id = actor.create(7, 8192);
    actor.attach(id);
    let before = oracle::rows();
    let directory = tempfile::tempdir().unwrap();
    let path = dump_path(directory.path());
    let ran = run(["dump", "0x7", "--output", &path, "--peek"]);
    assert!(matches!(ran.code, Some(0 | 4)), "{ran:?}");
    assert_eq!(std::fs::exists(&path).unwrap(), ran.code == Some(0), "{ran:?}");
    if ran.code == Some(0) {
        assert_eq!(std::fs::read(&path).unwrap(), [0; 8192]);
    }
    assert_eq!(oracle::rows(), before);
}

#[apply(test)]
fn overwrites_no_file_by_default() {
    let id = oracle::create(0, 4096, 0o600).to_string();
    let directory = tempfile::tempdir().unwrap();
    let path = dump_path(directory.path());
    for name in [path.clone(), format!("{path}.json")] {
        std::fs::write(&name, "before").unwrap();
        run(["dump", &id, "--output", &path]).exits(5).says("--force").prints_nothing();
        assert_eq!(std::fs::read_to_string(&name).unwrap(), "before");
        assert_eq!(file_names(directory.path()).len(), 1);
        std::fs::remove_file(name).unwrap();
    }
}

#[apply(test)]
fn force_overwrites_a_file() {
    let id = oracle::create(0, 4096, 0o600).to_string();
    let directory = tempfile::tempdir().unwrap();
    let path = dump_path(directory.path());
    std::fs::write(&path, "before").unwrap();
    run(["dump", &id, "--output", &path, "--force"]).exits(0);
    assert_eq!(file_names(directory.path()).len(), 2);
    run(["restore", &path]).exits(0);
}

#[apply(test)]
fn force_does_not_replace_a_link() {
    let id = oracle::create(0, 4096, 0o600).to_string();
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink("/dev/null", &link).unwrap();
    let link = link.to_str().unwrap();
    run(["dump", &id, "--output", link, "--force"]).exits(5).says("it is a symbolic link");
    assert!(std::fs::symlink_metadata(link).unwrap().is_symlink());
}

#[apply(test)]
fn a_missing_directory_or_segment_is_an_error() {
    let id = oracle::create(0, 4096, 0o600).to_string();
    run(["dump", &id, "--output", "/nonexistent/file"]).exits(1).says("(ENOENT, open)");
    let directory = tempfile::tempdir().unwrap();
    run(["dump", "99", "--output", &dump_path(directory.path())]).exits(3);
    assert_eq!(file_names(directory.path()), Vec::<String>::new());
}

#[apply(test)]
#[requires(Root)]
fn a_full_disk_leaves_no_file() {
    mount_tmpfs(Some("size=64k"));
    let id = oracle::create(0, 1 << 20, 0o600);
    Attached::new(id).write(0, &noise(1 << 20, 3));
    run(["dump", &id.to_string(), "--output", "/mnt/full"]).exits(1).says("(ENOSPC, write)");
    assert_eq!(file_names(Path::new("/mnt")), Vec::<String>::new());
}

#[apply(test)]
fn an_interrupted_dump_leaves_no_file() {
    let id = oracle::create(0, 1 << 20, 0o600).to_string();
    Attached::new(id.parse().unwrap()).write(5000, b"contents");
    let directory = tempfile::tempdir().unwrap();
    let path = dump_path(directory.path());
    for (nth, number) in [(1, libc::SYS_pwrite64), (1, libc::SYS_ftruncate)] {
        let stopped = Stopped::before(nth, |call| call.number == number, &["dump", &id, "--output", &path]);
        stopped.signal(Signal::SIGTERM);
        assert_eq!(stopped.go_on().signal, Some(libc::SIGTERM));
        assert_eq!(file_names(directory.path()), Vec::<String>::new());
    }
}

#[apply(test)]
fn the_file_may_be_named_without_an_option() {
    let id = oracle::create(0x4d2, 5000, 0o600);
    Attached::new(id).write(0, b"contents");
    let contents = oracle::contents(id);
    let directory = tempfile::tempdir().unwrap();
    let [one, two] = ["one", "two"].map(|name| directory.path().join(name).to_string_lossy().into_owned());
    run(["dump", "0x4d2", "-o", &one]).exits(0);
    let report = run(["dump", "0x4d2", &two, "--json"]).exits(0).json();
    assert_fields(&report, json!({ "schema": 1, "id": id, "file": &two, "size": 5000 }));
    for path in [&one, &two] {
        assert_eq!(std::fs::read(path).unwrap(), contents);
    }
    assert!(Path::new(&format!("{two}.json")).exists());
    run(["dump", "0x4d2", &two]).exits(5).prints_nothing().says("already exists");
    run(["dump", "0x4d2", &two, "--force"]).exits(0);
    let piped = shmadm().args(["dump", "0x4d2", "-"]).output().unwrap();
    assert_eq!(piped.stdout, contents);
    run(["dump", "0x4d2"]).exits(2).prints_nothing();
    run(["dump", "0x4d2", &two, "-o", &one, "--force"]).exits(2).prints_nothing();
    let link = directory.path().join("link").to_string_lossy().into_owned();
    std::os::unix::fs::symlink("target", &link).unwrap();
    run(["dump", "0x4d2", &link])
        .exits(5)
        .says(&format!("`shmadm dump 0x4d2 --output {}/target`", directory.path().display()));
}

#[apply(test)]
fn a_file_name_that_is_a_directory_is_refused_before_anything_else() {
    let id = oracle::create(0x4d2, 5000, 0o600).to_string();
    let before = oracle::rows();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    std::fs::create_dir(directory.path().join("segment.bin.json")).unwrap();
    for (name, message) in [
        (format!("{path}/"), format!("cannot write {path}/: it is a directory")),
        (format!("{path}/."), format!("cannot write {path}/.: it is a directory")),
        (path.to_owned(), format!("cannot write {path}: it is a directory")),
        (format!("{path}/segment.bin"), format!("cannot write {path}/segment.bin.json: it is a directory")),
    ] {
        // Even if there is no such segment.
        for segment in [id.as_str(), "99"] {
            for options in [&["--output", &name][..], &["--force", "-o", &name], &[&name]] {
                run([&["dump", segment], options].concat()).exits(5).prints_nothing().says(&message);
            }
        }
    }
    assert_eq!(file_names(directory.path()), ["segment.bin.json"]);
    assert_eq!(oracle::rows(), before);
}

#[apply(test)]
fn a_record_that_a_killed_dump_left_is_replaced() {
    let id = oracle::create(0, 4096, 0o600).to_string();
    let directory = tempfile::tempdir().unwrap();
    let path = dump_path(directory.path());
    let record = format!("{path}.json");
    run(["dump", &id, "--output", &path]).exits(0);
    std::fs::remove_file(&path).unwrap();
    run(["dump", &id, "--output", &path]).exits(0);
    run(["restore", &path]).exits(0);
    // Any other file is kept.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&record, "{\"schema\":1}").unwrap();
    run(["dump", &id, "--output", &path]).exits(5).says("it already exists");
    assert_eq!(std::fs::read_to_string(&record).unwrap(), "{\"schema\":1}");
}

#[apply(test)]
fn a_dump_killed_between_its_two_files_leaves_no_temporary_file() {
    let id = oracle::create(0, 4096, 0o600).to_string();
    let directory = tempfile::tempdir().unwrap();
    let dump = ["dump", &id, "--output", &dump_path(directory.path()), "--force"];
    run(dump).exits(0);
    let complete = file_names(directory.path());
    let killed = Stopped::before(2, |call| call.number == libc::SYS_linkat, &dump);
    killed.signal(Signal::SIGKILL);
    killed.go_on();
    assert_eq!(file_names(directory.path()), complete);
}

#[apply(test)]
fn the_next_dump_deletes_what_a_killed_one_left_but_not_what_a_running_one_needs() {
    let id = oracle::create(0, 4096, 0o600).to_string();
    let directory = tempfile::tempdir().unwrap();
    let path = dump_path(directory.path());
    let dump = ["dump", &id, "--output", &path, "--force"];
    run(dump).exits(0);
    let complete = file_names(directory.path());
    let renames = |call: &Call| [libc::SYS_rename, libc::SYS_renameat, libc::SYS_renameat2].contains(&call.number);
    let killed = Stopped::before(1, renames, &dump);
    killed.signal(Signal::SIGKILL);
    killed.go_on();
    let left = file_names(directory.path());
    assert!(left.iter().any(|name| name.starts_with(".shmadm-new-")), "{left:?}");
    // It follows no link.
    let link = directory.path().join(".shmadm-new-link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let running = Stopped::before(1, renames, &dump);
    let other = directory.path().join("other");
    run(["dump", &id, "--output", other.to_str().unwrap()]).exits(0);
    running.go_on().exits(0);
    std::fs::remove_file(link).unwrap();
    assert_eq!(file_names(directory.path()), [&["other".to_owned(), "other.json".to_owned()], &complete[..]].concat());
    run(["restore", &path]).exits(0);
}
