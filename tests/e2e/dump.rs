//! `dump` and `restore`: complete copies to files and back, or none.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use libtest_mimic::Trial;
use nix::libc;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};

use crate::actor::Actor;
use crate::holder::Holder;
use crate::oracle::{self, Attached};
use crate::support::{NOBODY, finish, mount_tmpfs, noise, root_trial, run, shmadm, shmadm_as, trial};
use crate::vanish::Stopped;

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = whole();
    trials.extend(faults());
    trials
}

/// Complete copies.
fn whole() -> Vec<Trial> {
    vec![
        trial("dump::a_large_segment_with_holes_stays_small", || {
            let id = oracle::create(0, 1 << 30, 0o600 | libc::SHM_NORESERVE);
            Attached::new(id).write((1 << 29) + 5, b"here");
            let directory = tempfile::tempdir().unwrap();
            let path = path_in(directory.path());
            let before = oracle::row(id).unwrap().get("rss").to_owned();
            run(["dump", &id.to_string(), "--output", &path]).exits(0);
            assert_eq!(oracle::row(id).unwrap().get("rss"), before);
            let metadata = std::fs::metadata(&path).unwrap();
            assert!(metadata.len() == 1 << 30 && metadata.blocks() * 512 < 1 << 20, "{metadata:?}");
            let restored: i32 = run(["restore", &path]).exits(0).stdout.trim().parse().unwrap();
            let row = oracle::row(restored).unwrap();
            assert_eq!((row.get("rss"), row.get("size")), (before.as_str(), "1073741824"));
        }),
        trial("restore::takes_as_much_memory_as_the_original", || {
            let id = oracle::create(0, 1 << 20, 0o600);
            let attached = Attached::new(id);
            // Written zeros are a resident page; one is among others, one by itself.
            attached.write(0, &noise(4096, 5));
            attached.write(4096, &[0; 4096]);
            attached.write(100 * 4096, &[0; 4096]);
            let directory = tempfile::tempdir().unwrap();
            let path = path_in(directory.path());
            run(["dump", &id.to_string(), "--output", &path]).exits(0);
            let rss = || {
                let id = run(["restore", &path]).exits(0).stdout.trim().parse().unwrap();
                oracle::row(id).unwrap().get("rss").to_owned()
            };
            assert_eq!(rss(), (3 * oracle::page_size()).to_string());
            // Holes of the copy take no memory.
            let contents = std::fs::read(&path).unwrap();
            std::fs::write(&path, contents).unwrap();
            assert_eq!(rss(), oracle::page_size().to_string());
        }),
        root_trial("restore::may_be_larger_than_memory", || {
            let id = oracle::create(0, 1 << 40, 0o600 | libc::SHM_NORESERVE);
            Attached::new(id).write(1 << 39, b"here");
            let directory = tempfile::tempdir().unwrap();
            let path = path_in(directory.path());
            run(["dump", &id.to_string(), "--output", &path]).exits(0);
            let id = run(["restore", &path]).exits(0).stdout.trim().parse().unwrap();
            assert_eq!(oracle::row(id).unwrap().get("size"), (1_u64 << 40).to_string());
        }),
        trial("dump::the_record_describes_the_segment", || {
            let id = oracle::create(1234, 5000, 0o640);
            Attached::new(id).write(4990, b"contents");
            let record = oracle::record(&oracle::row(id).unwrap());
            let directory = tempfile::tempdir().unwrap();
            let path = path_in(directory.path());
            let report = run(["dump", "0x4d2", "--output", &path, "--json"]).exits(0).json();
            let text = std::fs::read_to_string(format!("{path}.json")).unwrap();
            let kept: Value = serde_json::from_str(&text).unwrap();
            let mut segment = kept["segment"].clone();
            segment.as_object_mut().unwrap().retain(|key, _| key != "state" && key != "idle_seconds");
            assert_eq!(segment, record, "as it was before the dump");
            assert_eq!((&kept["schema"], &kept["huge_page_size"]), (&json!(1), &Value::Null));
            assert_eq!(kept["page_size"], json!(oracle::page_size()));
            let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
            assert_eq!(kept["kernel"], release.trim());
            assert_eq!((&report["checksum"], &report["size"]), (&kept["checksum"], &json!(5000)));
            let contents = std::fs::read(&path).unwrap();
            assert_eq!((contents.len(), &contents[4990..4998]), (5000, b"contents".as_slice()));
            for name in [path.clone(), format!("{path}.json")] {
                assert_eq!(std::fs::metadata(name).unwrap().permissions().mode() & 0o777, 0o600);
            }
            let piped = shmadm().args(["dump", "0x4d2", "--output", "-"]).output().unwrap();
            assert_eq!(piped.stdout, contents);
        }),
        trial("dump::peek_changes_nothing", || {
            let mut actor = Actor::start();
            let id = actor.number("create 7 8192 0");
            actor.say(&format!("attach {id}"));
            let before = oracle::rows();
            let directory = tempfile::tempdir().unwrap();
            let path = path_in(directory.path());
            let ran = run(["dump", "0x7", "--output", &path, "--peek"]);
            assert!(matches!(ran.code, Some(0 | 4)), "{ran:?}");
            assert_eq!(std::fs::exists(&path).unwrap(), ran.code == Some(0), "{ran:?}");
            assert_eq!(oracle::rows(), before);
        }),
        trial("restore::accepts_another_key_and_mode_and_a_holder", || {
            let id = oracle::create(1234, 4096, 0o600);
            let directory = tempfile::tempdir().unwrap();
            let path = path_in(directory.path());
            run(["dump", "0x4d2", "--output", &path]).exits(0);
            let ran = run(["restore", &path]).exits(6).prints_nothing();
            assert!(
                ran.stderr.contains(&format!("hint: use another key: `shmadm restore {path} --key random`")),
                "{ran:?}"
            );
            assert!(ran.stderr.contains("hint: remove it: `shmadm rm 0x000004d2`"), "{ran:?}");
            assert_eq!(oracle::rows().len(), 1);
            let ran = run(["restore", &path, "--key", "5", "--mode", "644", "--hold", "--json"]).exits(0);
            let holder = Holder::new(i32::try_from(ran.json()["holder"].as_i64().unwrap()).unwrap());
            let row = oracle::rows().into_iter().find(|row| row.get("shmid") != id.to_string()).unwrap();
            assert_eq!((row.get("key"), row.get("perms"), row.get("nattch")), ("5", "644", "1"));
            assert!(holder.lives());
            let private = run(["restore", &path, "--key", "private"]).exits(0).stdout;
            assert_eq!(oracle::row(private.trim().parse().unwrap()).unwrap().get("key"), "0");
        }),
        root_trial("restore::gives_the_segment_back_to_its_owner", || {
            let id = oracle::create(1234, 4096, 0o640);
            oracle::set(id, NOBODY, 100_000, 0o604);
            oracle::lock(id);
            let directory = tempfile::tempdir().unwrap();
            let path = path_in(directory.path());
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
        }),
    ]
}

/// Failures leave nothing incomplete.
fn faults() -> Vec<Trial> {
    vec![
        trial("dump::overwrites_no_file_by_default", || {
            let id = oracle::create(0, 4096, 0o600).to_string();
            let directory = tempfile::tempdir().unwrap();
            let path = path_in(directory.path());
            for name in [path.clone(), format!("{path}.json")] {
                std::fs::write(&name, "before").unwrap();
                run(["dump", &id, "--output", &path]).exits(5).says("--force").prints_nothing();
                assert_eq!(std::fs::read_to_string(&name).unwrap(), "before");
                assert_eq!(names(directory.path()).len(), 1);
                std::fs::remove_file(name).unwrap();
            }
            std::fs::write(&path, "before").unwrap();
            run(["dump", &id, "--output", &path, "--force"]).exits(0);
            assert_eq!(names(directory.path()).len(), 2);
            run(["restore", &path]).exits(0);
            run(["dump", &id, "--output", "/nonexistent/file"]).exits(1).says("(ENOENT, open)");
            run(["dump", "99", "--output", &path]).exits(3);
            // Only a regular file is replaced.
            let link = directory.path().join("link");
            std::os::unix::fs::symlink("/dev/null", &link).unwrap();
            let link = link.to_str().unwrap();
            run(["dump", &id, "--output", link, "--force"]).exits(5).says("it is a symbolic link");
            assert!(std::fs::symlink_metadata(link).unwrap().is_symlink());
        }),
        root_trial("dump::a_full_disk_leaves_no_file", || {
            mount_tmpfs(Some("size=64k"));
            let id = oracle::create(0, 1 << 20, 0o600);
            Attached::new(id).write(0, &noise(1 << 20, 3));
            run(["dump", &id.to_string(), "--output", "/mnt/full"]).exits(1).says("(ENOSPC, write)");
            assert_eq!(names(Path::new("/mnt")), Vec::<String>::new());
        }),
        trial("dump::an_interrupted_dump_leaves_no_file", || {
            let id = oracle::create(0, 1 << 20, 0o600).to_string();
            Attached::new(id.parse().unwrap()).write(5000, b"contents");
            let directory = tempfile::tempdir().unwrap();
            let path = path_in(directory.path());
            for (nth, number) in [(1, libc::SYS_pwrite64), (1, libc::SYS_ftruncate)] {
                let stopped = Stopped::before(nth, |call| call.number == number, &["dump", &id, "--output", &path]);
                stopped.signal(Signal::SIGTERM);
                assert_eq!(stopped.go_on().signal, Some(libc::SIGTERM));
                assert_eq!(names(directory.path()), Vec::<String>::new());
            }
        }),
        trial("restore::a_damaged_or_inconsistent_dump_creates_nothing", || {
            let id = oracle::create(1234, 3 * 4096, 0o600);
            Attached::new(id).write(4096, b"contents");
            let directory = tempfile::tempdir().unwrap();
            let path = path_in(directory.path());
            run(["dump", "0x4d2", "--output", &path]).exits(0);
            oracle::remove(id);
            let (data, record) = (std::fs::read(&path).unwrap(), std::fs::read(format!("{path}.json")).unwrap());
            let refused = |says: &str| {
                let ran = run(["restore", &path]).exits(1).prints_nothing();
                assert!(ran.stderr.contains(says), "{says}: {ran:?}");
                assert_eq!(oracle::rows(), []);
                std::fs::write(&path, &data).unwrap();
                std::fs::write(format!("{path}.json"), &record).unwrap();
            };
            std::fs::write(&path, &data[..data.len() - 1]).unwrap();
            refused("it has 12287 bytes, expected 12288");
            let mut other = data.clone();
            other[4099] ^= 1;
            std::fs::write(&path, &other).unwrap();
            refused("its checksum differs");
            // The same bytes at another offset are different contents.
            other = [&data[4096..8192], &data[..4096], &data[8192..]].concat();
            std::fs::write(&path, &other).unwrap();
            refused("its checksum differs");
            std::fs::write(format!("{path}.json"), &record[..record.len() / 2]).unwrap();
            refused("invalid dump record");
            let text = String::from_utf8(record.clone()).unwrap();
            for (before, after) in [
                ("\"size\":12288", "\"size\":1099511627776"),
                ("blake3-blocks", "crc32"),
                ("{\"schema\":1", "{\"schema\":2"),
                ("\"huge_page_size\":null", "\"huge_page_size\":5"),
                ("\"mode\":\"0600\"", "\"mode\":\"9600\""),
                ("\"uid\":", "\"uid\":4294967295,\"was\":"),
            ] {
                assert!(text.contains(before), "{text}");
                std::fs::write(format!("{path}.json"), text.replace(before, after)).unwrap();
                refused("");
            }
            std::fs::remove_file(format!("{path}.json")).unwrap();
            refused("write SEGMENT --sparse --input FILE");
            run(["restore", "-"]).exits(2).says("cannot restore from standard input");
            // A pipe without a writer does not block.
            for (name, says) in
                [(path.clone(), "it is not a regular file"), (format!("{path}.json"), "invalid dump record")]
            {
                std::fs::remove_file(&name).unwrap();
                mkfifo(name.as_str(), Mode::S_IRWXU).unwrap();
                let ran = run(["restore", &path]).exits(1).prints_nothing();
                assert!(ran.stderr.contains(says), "{says}: {ran:?}");
                std::fs::remove_file(&name).unwrap();
                refused("");
            }
            run(["restore", &path]).exits(0);
        }),
        trial("restore::an_interrupted_restore_leaves_no_segment", || {
            let id = oracle::create(1234, 4096, 0o644);
            Attached::new(id).write(0, b"contents");
            let directory = tempfile::tempdir().unwrap();
            let path = path_in(directory.path());
            run(["dump", "0x4d2", "--output", &path]).exits(0);
            oracle::remove(id);
            for number in [libc::SYS_shmat, libc::SYS_shmdt] {
                let stopped = Stopped::before(1, |call| call.number == number, &["restore", &path]);
                assert_eq!(oracle::rows()[0].get("perms"), "600", "no other user has access yet");
                stopped.signal(Signal::SIGTERM);
                assert_eq!(stopped.go_on().signal, Some(libc::SIGTERM));
                assert_eq!(oracle::rows(), []);
            }
        }),
    ]
}

/// Returns the path of a name in a directory.
fn path_in(directory: &Path) -> String {
    directory.join("segment.bin").to_string_lossy().into_owned()
}

/// Returns the names of the files in a directory.
fn names(directory: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    std::fs::read_dir(directory).unwrap().map(name).collect()
}
