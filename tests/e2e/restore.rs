//! `restore`: a segment as it was dumped, or none.

use std::os::unix::fs::PermissionsExt;

use nix::libc;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::fixtures::{created, dump_path, sysctl};
use crate::holder::Holder;
use crate::oracle::{self, Attached};
use crate::support::{NOBODY, file, finish, noise, run, shmadm_as};
use crate::vanish::Stopped;

#[apply(test)]
fn a_missing_file_is_named_as_given() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["missing", "missing/"] {
        let path = format!("{}/{name}", directory.path().display());
        let ran = run(["restore", &path]).exits(1).prints_nothing();
        assert_eq!(ran.stderr, format!("error: cannot read {path}: No such file or directory (ENOENT, open)\n"));
    }
}

#[apply(test)]
fn an_invalid_record_is_reported_without_internal_names() {
    let directory = tempfile::tempdir().unwrap();
    let path = dump_path(directory.path());
    file(directory.path(), "segment.bin", b"");
    let rest = r#""schema":1,"page_size":4096,"huge_page_size":null,"created":"2026-01-01T00:00:00Z","kernel":null,
        "checksum":{"algorithm":"blake3-blocks","value":"00"}"#;
    for (record, problem) in [
        (format!("{{{rest}}}"), "missing field `segment`"),
        (format!("{{\"segment\":5,{rest}}}"), "invalid type: integer `5`, expected a record "),
        ("[]".to_owned(), "invalid type: sequence, expected a dump record "),
    ] {
        file(directory.path(), "segment.bin.json", record.as_bytes());
        run(["restore", &path]).exits(1).says(&format!("error: invalid dump record {path}.json: {problem}"));
    }
}

#[apply(test)]
fn takes_as_much_memory_as_the_original() {
    let id = oracle::create(0, 1 << 20, 0o600);
    let attached = Attached::new(id);
    // Written zeros are a resident page: one next to data, one between holes.
    attached.write(0, &noise(4096, 5));
    attached.write(4096, &[0; 4096]);
    attached.write(100 * 4096, &[0; 4096]);
    let directory = tempfile::tempdir().unwrap();
    let path = dump_path(directory.path());
    run(["dump", &id.to_string(), "--output", &path]).exits(0);
    let rss = || {
        let id = run(["restore", &path]).exits(0).stdout.trim().parse().unwrap();
        oracle::row(id).unwrap().get("rss").to_owned()
    };
    assert_eq!(rss(), (3 * oracle::page_size()).to_string());
    // Holes of the copy are not allocated.
    let contents = std::fs::read(&path).unwrap();
    std::fs::write(&path, contents).unwrap();
    assert_eq!(rss(), oracle::page_size().to_string());
}

#[apply(test)]
#[requires(Root)]
fn may_be_larger_than_memory() {
    let id = oracle::create(0, 1 << 40, 0o600 | libc::SHM_NORESERVE);
    Attached::new(id).write(1 << 39, b"here");
    let directory = tempfile::tempdir().unwrap();
    let path = dump_path(directory.path());
    run(["dump", &id.to_string(), "--output", &path]).exits(0);
    let id = run(["restore", &path]).exits(0).stdout.trim().parse().unwrap();
    assert_eq!(oracle::row(id).unwrap().get("size"), (1_u64 << 40).to_string());
}

#[apply(test)]
fn accepts_another_key_and_mode_and_a_holder() {
    let id = oracle::create(1234, 4096, 0o600);
    let directory = tempfile::tempdir().unwrap();
    let path = dump_path(directory.path());
    run(["dump", "0x4d2", "--output", &path]).exits(0);
    let ran = run(["restore", &path]).exits(6).prints_nothing();
    assert!(ran.stderr.contains(&format!("hint: use another key: `shmadm restore {path} --key random`")), "{ran:?}");
    assert!(ran.stderr.contains("hint: remove it: `shmadm rm 0x000004d2`"), "{ran:?}");
    let attached = Attached::new(id);
    let ran = run(["restore", &path]).exits(6);
    assert!(!ran.stderr.contains("hint: remove it"), "{ran:?}");
    drop(attached);
    assert_eq!(oracle::rows().len(), 1);
    let ran = run(["restore", &path, "--key", "5", "--mode", "644", "--hold", "--json"]).exits(0);
    let holder = Holder::new(i32::try_from(ran.json()["holder"].as_i64().unwrap()).unwrap());
    let row = oracle::rows().into_iter().find(|row| row.get("shmid") != id.to_string()).unwrap();
    assert_eq!((row.get("key"), row.get("perms"), row.get("nattch")), ("5", "644", "1"));
    assert!(holder.is_running());
    let private = run(["restore", &path, "--key", "private"]).exits(0).stdout;
    assert_eq!(oracle::row(private.trim().parse().unwrap()).unwrap().get("key"), "0");
}

#[apply(test)]
#[requires(Root)]
fn gives_the_segment_back_to_its_owner() {
    let id = oracle::create(1234, 4096, 0o640);
    oracle::set(id, NOBODY, 100_000, 0o604);
    oracle::lock(id);
    let directory = tempfile::tempdir().unwrap();
    let path = dump_path(directory.path());
    run(["dump", "0x4d2", "--output", &path]).exits(0);
    oracle::remove(id);
    let id = run(["restore", &path]).exits(0).stdout.trim().parse().unwrap();
    let row = oracle::row(id).unwrap();
    assert_eq!((row.get("uid"), row.get("gid"), row.get("perms")), ("65534", "100000", "2604"));
    // The creator may give it away without privilege, but locking requires one.
    oracle::remove(id);
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    for name in [path.clone(), format!("{path}.json")] {
        std::fs::set_permissions(name, PermissionsExt::from_mode(0o644)).unwrap();
    }
    let ran = finish(shmadm_as(NOBODY - 1).args(["restore", &path]));
    let id = ran.exits(0).stdout.trim().parse().unwrap();
    let row = oracle::row(id).unwrap();
    assert_eq!((row.get("uid"), row.get("cuid")), ("65534", "65533"));
}

/// A dump of a removed segment of three pages, whose files a test damages.
struct Damaged {
    _directory: tempfile::TempDir,
    path: String,
    data: Vec<u8>,
    record: String,
}

impl Damaged {
    fn new() -> Self {
        let id = oracle::create(1234, 3 * 4096, 0o600);
        Attached::new(id).write(4096, b"contents");
        let directory = tempfile::tempdir().unwrap();
        let path = dump_path(directory.path());
        run(["dump", "0x4d2", "--output", &path]).exits(0);
        oracle::remove(id);
        let data = std::fs::read(&path).unwrap();
        let record = std::fs::read_to_string(format!("{path}.json")).unwrap();
        Self { _directory: directory, path, data, record }
    }

    /// Asserts that files with these contents are refused, and that no segment is created.
    #[track_caller]
    fn is_refused(&self, data: &[u8], record: &str, says: &str) {
        std::fs::write(&self.path, data).unwrap();
        std::fs::write(format!("{}.json", self.path), record).unwrap();
        run(["restore", &self.path]).exits(1).prints_nothing().says(says);
        assert_eq!(oracle::rows(), []);
    }
}

#[apply(test)]
fn an_undamaged_dump_is_restored() {
    run(["restore", &Damaged::new().path]).exits(0);
}

#[apply(test)]
fn damaged_contents_create_nothing() {
    let dump = Damaged::new();
    let data = &dump.data;
    dump.is_refused(&data[..data.len() - 1], &dump.record, "it has 12287 bytes, expected 12288");
    let mut flipped = data.clone();
    flipped[4099] ^= 1;
    dump.is_refused(&flipped, &dump.record, "its checksum differs");
    // The same bytes at another offset are different contents.
    let moved = [&data[4096..8192], &data[..4096], &data[8192..]].concat();
    dump.is_refused(&moved, &dump.record, "its checksum differs");
}

#[apply(test)]
fn a_damaged_record_creates_nothing() {
    let dump = Damaged::new();
    let record = &dump.record;
    dump.is_refused(&dump.data, &record[..record.len() / 2], "invalid dump record");
    for (before, after) in [
        ("\"size\":12288", "\"size\":1099511627776"),
        ("blake3-blocks", "crc32"),
        ("{\"schema\":1", "{\"schema\":2"),
        ("\"huge_page_size\":null", "\"huge_page_size\":5"),
        ("\"mode\":\"0600\"", "\"mode\":\"9600\""),
        ("\"uid\":", "\"uid\":4294967295,\"was\":"),
    ] {
        assert!(record.contains(before), "{record}");
        dump.is_refused(&dump.data, &record.replace(before, after), "error: ");
    }
}

#[apply(test)]
fn a_missing_record_suggests_a_write() {
    let dump = Damaged::new();
    std::fs::remove_file(format!("{}.json", dump.path)).unwrap();
    run(["restore", &dump.path]).exits(1).prints_nothing().says("`shmadm help write`");
    run(["restore", "-"]).exits(2).says("cannot restore from standard input").says("`shmadm help write`");
    assert_eq!(oracle::rows(), []);
}

#[apply(test)]
fn a_pipe_without_a_writer_does_not_block() {
    for (suffix, says) in [("", "it is not a regular file"), (".json", "invalid dump record")] {
        let dump = Damaged::new();
        let name = format!("{}{suffix}", dump.path);
        std::fs::remove_file(&name).unwrap();
        mkfifo(name.as_str(), Mode::S_IRWXU).unwrap();
        run(["restore", &dump.path]).exits(1).prints_nothing().says(says);
        assert_eq!(oracle::rows(), []);
    }
}

#[apply(test)]
fn an_interrupted_restore_leaves_no_segment() {
    let id = oracle::create(1234, 4096, 0o644);
    Attached::new(id).write(0, b"contents");
    let directory = tempfile::tempdir().unwrap();
    let path = dump_path(directory.path());
    run(["dump", "0x4d2", "--output", &path]).exits(0);
    oracle::remove(id);
    for number in [libc::SYS_shmat, libc::SYS_shmdt] {
        let stopped = Stopped::before(1, |call| call.number == number, &["restore", &path]);
        assert_eq!(oracle::rows()[0].get("perms"), "600", "no other user has access yet");
        stopped.signal(Signal::SIGTERM);
        assert_eq!(stopped.go_on().signal, Some(libc::SIGTERM));
        assert_eq!(oracle::rows(), []);
    }
}

#[apply(test)]
#[requires(Root)]
fn a_segment_destroyed_on_exit_is_refused_without_hold() {
    oracle::create(0x4d2, 4096, 0o640);
    let directory = tempfile::tempdir().unwrap();
    let path = dump_path(directory.path());
    run(["dump", "0x4d2", "--output", &path]).exits(0);
    oracle::remove_all();
    sysctl("shm_rmid_forced", 1);
    let ran = run(["restore", &path]).exits(5).prints_nothing().says("cause: kernel.shm_rmid_forced is 1");
    assert!(ran.stderr.contains(&format!("hint: keep a background holder attached: `shmadm restore {path} --hold`")));
    assert!(!ran.stderr.contains("shmadm create"), "{ran:?}");
    assert_eq!(oracle::rows(), []);
    let ran = run(["restore", &path, "--hold", "--json"]).exits(0).json();
    let holder = Holder::new(i32::try_from(ran["holder"].as_i64().unwrap()).unwrap());
    let rows = oracle::rows();
    assert_eq!((rows.len(), rows[0].get("nattch"), rows[0].get("perms")), (1, "1", "640"));
    holder.kill();
    assert_eq!(oracle::rows(), []);
}

#[apply(test)]
fn the_record_names_the_dump() {
    oracle::create(0x4d2, 5000, 0o640);
    let directory = tempfile::tempdir().unwrap();
    let path = dump_path(directory.path());
    run(["dump", "0x4d2", "-o", &path]).exits(0);
    run(["rm", "0x4d2"]).exits(0);
    let row = created(&run(["restore", &format!("{path}.json")]).exits(0));
    assert_eq!((row.get("size"), row.get("perms")), ("5000", "640"));
    // A dump whose own name ends in .json has its own record.
    run(["rm", "0x4d2"]).exits(0);
    let other = oracle::create(7, 100, 0o600).to_string();
    let name = format!("{path}.json");
    run(["dump", &other, "--force", "-o", &name]).exits(0);
    run(["rm", &other]).exits(0);
    assert_eq!(created(&run(["restore", &name]).exits(0)).get("size"), "100");
}

#[apply(test)]
fn a_missing_file_is_named_as_typed() {
    let directory = tempfile::tempdir().unwrap();
    let record = directory.path().join("a.bin.json").to_string_lossy().into_owned();
    run(["restore", &record]).exits(1).says(&format!("error: cannot read {record}: No such file or directory"));
    // Of a record without contents, the contents are missing.
    std::fs::write(&record, "{}").unwrap();
    run(["restore", &record]).exits(1).says(&format!("{record}: missing field"));
}

#[apply(test)]
fn a_directory_is_not_a_dump() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    for name in [path.to_owned(), format!("{path}/"), format!("{path}/.")] {
        let ran = run(["restore", &name]).exits(1).prints_nothing();
        assert_eq!(ran.stderr, format!("error: cannot restore {name}: it is a directory\n"));
    }
    // Nor is one a record.
    std::fs::create_dir(directory.path().join("a.bin.json")).unwrap();
    run(["restore", &format!("{path}/a.bin")]).exits(1).says("a.bin.json: Is a directory (EISDIR, read)");
    assert_eq!(oracle::rows(), []);
}
