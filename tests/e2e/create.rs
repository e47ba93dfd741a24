//! `create`: new segments, existing segments that are opened instead, and refusals.

mod dry_run;
mod existing;
mod root;

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;

use serde_json::json;

use crate::fixtures::{assert_fields, created, sysctl_value, this_process};
use crate::holder::Holder;
use crate::oracle::{self, Row};
use crate::support::{file, is_root, run};

/// Returns a row's key as its 32 bits.
fn key(row: &Row) -> u32 {
    row.get("key").parse::<i32>().unwrap().cast_unsigned()
}

#[apply(test)]
fn by_default_creates_one_private_page_and_prints_only_its_id() {
    let ran = run(["create"]).exits(0).says("created segment 0 (");
    let row = created(&ran);
    assert_eq!((row.get("key"), row.get("perms"), row.get("nattch")), ("0", "600", "0"));
    assert_eq!(row.get("size"), oracle::page_size().to_string());
    assert_eq!(row.get("atime"), "0", "nothing was attached");
    let ran = run(["create", "--quiet"]).exits(0);
    assert_eq!(ran.stderr, "");
    created(&ran);
}

#[apply(test)]
fn accepts_a_key_in_each_form() {
    for (text, bits) in [
        ("1234", 1234),
        ("02323", 1235),
        ("0x4d4", 1236),
        ("0X4D5", 1237),
        ("0x80000000", 0x8000_0000),
        ("0xdeadbeef", 0xdead_beef),
        ("4294967295", u32::MAX),
    ] {
        assert_eq!(key(&created(&run(["create", "--key", text]).exits(0))), bits, "{text}");
    }
    assert_eq!(oracle::rows().len(), 7);
}

#[apply(test)]
fn an_invalid_key_is_a_usage_error() {
    for bad in ["0", "0x0", "", "-0", "-2147483649", "12abc", "089", "0x100000001", "4294967296", "ftok:", "Private"] {
        run(["create", "--key", bad]).exits(2).prints_nothing();
    }
    run(["create", "--key", "0"]).exits(2).says("IPC_PRIVATE");
    assert_eq!(oracle::rows(), []);
}

#[apply(test)]
fn ftok_keys_match_the_c_library() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path(), "with:colon", b"");
    let text = path.to_str().unwrap();
    for (proj, number) in [("1", 1), ("255", 255), ("A", b'A'), ("'5'", b'5'), ("5", 5)] {
        let row = created(&run(["create", "--key", &format!("ftok:{text}:{proj}")]).exits(0));
        assert_eq!(key(&row), oracle::ftok(&path, number), "{proj}");
    }
    let plain = file(directory.path(), "plain", b"");
    let row = created(&run(["create", "--key", &format!("ftok:{}", plain.display())]).exits(0));
    assert_eq!(key(&row), oracle::ftok(&plain, 1));
    assert_eq!(u64::from(key(&row) & 0xffff), plain.metadata().unwrap().ino() & 0xffff);
}

#[apply(test)]
fn an_ftok_key_needs_a_file_and_a_valid_project() {
    for name in ["ftok:/no/such/file", "ftok:/no/such/file:A"] {
        let ran = run(["create", "--key", name]).exits(1).prints_nothing();
        ran.says(&format!("error: cannot compute the key of {name}: No such file or directory (ENOENT, stat)\n"));
    }
    let directory = tempfile::tempdir().unwrap();
    for name in ["a:b", "a:7"] {
        let path = file(directory.path(), name, b"");
        let ran = run(["create", "--key", &format!("ftok:{}", path.display())]).exits(1).prints_nothing();
        ran.says(&format!("the file {} exists, but PROJ follows the last colon: append :1", path.display()));
        run(["create", "-n", "--key", &format!("ftok:{}:1", path.display())]).exits(0);
    }
    for bad in ["0", "256", "ab"] {
        run(["create", "--key", &format!("ftok:/:{bad}")]).exits(2);
    }
    assert_eq!(oracle::rows(), []);
}

#[apply(test)]
fn random_keys_are_new_ones() {
    let mut keys = HashSet::new();
    for exclusive in [None, None, Some("--exclusive")] {
        let bits = key(&created(&run(["create", "--key", "random"].into_iter().chain(exclusive)).exits(0)));
        assert_ne!(bits, 0);
        keys.insert(bits);
    }
    assert_eq!(keys.len(), 3);
}

#[apply(test)]
fn sets_the_given_size_mode_owner_contents_and_lock() {
    let (uid, gid) = (nix::unistd::geteuid().to_string(), nix::unistd::getegid().to_string());
    let options = ["--size", "5000", "--mode", "0640", "--owner", &uid, "--group", &gid, "--fill", "0xa5"];
    let ran = run(["create", "--lock"].into_iter().chain(options)).exits(0);
    let row = created(&ran);
    assert_eq!((row.get("size"), row.get("perms")), ("5000", "2640"));
    assert_eq!((row.get("uid"), row.get("gid"), row.get("nattch")), (&*uid, &*gid, "0"));
    assert_eq!(oracle::contents(row.get("shmid").parse().unwrap()), vec![0xa5; 5000]);
}

#[apply(test)]
fn a_size_may_have_a_prefix_or_a_unit() {
    for (size, bytes) in [("0x1001", "4097"), ("4kb", "4000"), ("1MiB", "1048576"), ("1", "1")] {
        assert_eq!(created(&run(["create", "--size", size]).exits(0)).get("size"), bytes);
    }
}

#[apply(test)]
fn the_mode_may_be_0() {
    assert_eq!(created(&run(["create", "--mode", "0"]).exits(0)).get("perms"), "0");
}

#[apply(test)]
fn with_no_reserve_a_segment_may_be_larger_than_memory() {
    let row = created(&run(["create", "--size", "1T", "--no-reserve"]).exits(0));
    assert_eq!((row.get("size"), row.get("rss")), ("1099511627776", "0"));
}

#[apply(test)]
fn a_size_above_memory_and_swap_suggests_no_reserve() {
    if std::fs::read_to_string("/proc/sys/vm/overcommit_memory").unwrap().trim() == "0" {
        let ran = run(["create", "--size", "1P"]).exits(1).prints_nothing().says("1 PiB: ").says("(ENOMEM, shmget)");
        assert!(ran.stderr.contains("cause: the size exceeds memory and swap: "), "{ran:?}");
        assert!(ran.stderr.contains("`shmadm create --size 1P --no-reserve`"), "{ran:?}");
    }
    assert_eq!(oracle::rows(), []);
}

#[apply(test)]
fn json_matches_the_kernel() {
    let report = run(["create", "--key", "0x4d2", "--size", "5000", "--json"]).exits(0).json();
    assert_fields(&report, json!({ "schema": 1, "created": true }));
    assert_fields(&report["segment"], oracle::record(&oracle::rows()[0]));
    let again = run(["create", "--key", "0x4d2", "--json"]).exits(0).json();
    assert_eq!(again["created"], false);
    assert_fields(&again["segment"], json!({ "id": report["segment"]["id"], "size": 5000 }));
}

#[apply(test)]
fn hold_starts_a_holder_that_detach_ends() {
    let ran = run(["create", "--key", "0x4d2", "--mode", "644", "--hold", "--fill", "7"]).exits(0);
    let row = created(&ran);
    let holder = Holder::reported(&ran);
    assert_eq!((row.get("nattch"), row.get("perms")), ("1", "644"));
    assert_eq!(holder.read("comm"), "shmadm-hold\n");
    assert!(oracle::contents(row.get("shmid").parse().unwrap()).iter().all(|byte| *byte == 7));
    run(["detach", "0x4d2", "--pid", &holder.pid.to_string()]).exits(0).says("nattch 1 before, 0 after");
    assert!(!holder.is_running());
}

#[apply(test)]
fn an_existing_key_is_opened_and_reported() {
    let id = oracle::create(0x4d2, 5000, 0o640);
    let before = oracle::rows();
    for options in [&[][..], &["--size", "5000"], &["--size", "1"], &["--no-reserve"]] {
        let ran = run(["create", "--key", "1234"].into_iter().chain(options.iter().copied())).exits(0);
        assert_eq!(ran.stdout, format!("{id}\n"));
        assert!(ran.stderr.contains("opened existing segment") && !ran.stderr.contains("created"), "{ran:?}");
        assert_eq!(oracle::rows(), before, "{options:?}");
    }
}

#[apply(test)]
fn exclusive_exits_6_if_the_key_is_taken() {
    let id = oracle::create(0x4d2, 4096, 0o600);
    let before = oracle::rows();
    let ran = run(["create", "--key", "1234", "--exclusive"]).exits(6).prints_nothing().says("(EEXIST, shmget)");
    assert!(ran.stderr.contains(&format!("cause: segment {id} (owner ")), "{ran:?}");
    // The existing segment is reported first, although the other options are invalid.
    run(["create", "--key", "1234", "--exclusive", "--fill", "1", "--mode", "666"]).exits(6);
    let error = run(["create", "--key", "1234", "--exclusive", "--json"]).exits(6).json();
    assert_fields(&error["error"], json!({ "kind": "exists", "errno": "EEXIST", "target": "0x000004d2" }));
    assert_eq!(oracle::rows(), before);
    created(&run(["create", "--key", "1235", "--exclusive"]).exits(0));
}

#[apply(test)]
fn a_key_with_a_smaller_segment_is_explained() {
    let id = oracle::create(0x4d2, 4096, 0o600);
    let before = oracle::rows();
    let ran = run(["create", "--key", "1234", "--size", "4097"]).exits(1).prints_nothing();
    let ran = ran.says("(EINVAL, shmget)");
    let cause = format!("cause: segment {id} has this key and is only 4 KiB; it was created by {}\n", this_process());
    assert!(ran.stderr.contains(&cause) && ran.stderr.contains("hint: "), "{ran:?}");
    let error = run(["create", "--key", "1234", "--size", "1G", "--json"]).exits(1).json();
    assert_eq!(error["error"]["errno"], "EINVAL");
    assert_eq!(oracle::rows(), before);
}

#[apply(test)]
fn hold_holds_an_existing_segment_too() {
    let id = oracle::create(0x4d2, 4096, 0o600);
    let ran = run(["create", "--key", "1234", "--hold"]).exits(0).says("opened existing segment");
    let _holder = Holder::reported(&ran);
    assert_eq!(oracle::row(id).unwrap().get("nattch"), "1");
}

#[apply(test)]
fn a_size_of_0_is_explained() {
    let ran = run(["create", "--size", "0"]).exits(1).prints_nothing().says("(EINVAL, shmget)");
    assert!(ran.stderr.contains("cause: the size is 0"), "{ran:?}");
    let error = run(["create", "--size", "0", "--json"]).exits(1).json();
    assert_eq!(error["schema"], 1);
    let mut keys: Vec<&String> = error["error"].as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, ["call", "cause", "errno", "hints", "kind", "message", "target"]);
    assert_fields(&error["error"], json!({ "call": "shmget", "target": null }));
    assert_eq!(oracle::rows(), []);
}

#[apply(test)]
fn invalid_arguments_are_a_usage_error_and_create_nothing() {
    for options in [
        ["--size", "1E"],
        ["--size", ""],
        ["--size", "-1"],
        ["--size", "16384P"],
        ["--size", "1.5K"],
        ["--mode", "999"],
        ["--mode", "01000"],
        ["--mode", "rw"],
        ["--fill", "256"],
        ["--fill", "x"],
        ["--owner", "no-such-user-anywhere"],
        ["--group", "no-such-group-anywhere"],
        ["--format", "tsv"],
        ["--huge=3M", "--lock"],
        ["--huge=1", "--lock"],
        ["--exclusive", "stray"],
    ] {
        let ran = run(["create", "--key", "1234"].into_iter().chain(options)).exits(2).prints_nothing();
        assert!(ran.stderr.starts_with("error: "), "{options:?}: {ran:?}");
        assert_eq!(oracle::rows(), [], "{options:?}");
    }
}

#[apply(test)]
fn at_the_limit_of_ids_names_the_limit_and_a_remedy() {
    let limit: usize = sysctl_value("shmmni").parse().unwrap();
    for _ in 0..limit {
        oracle::create(0, 4096, 0o600);
    }
    let ran = run(["create"]).exits(1).prints_nothing().says("No space left on device (ENOSPC, shmget)");
    let cause = format!("cause: all {limit} segment ids of this IPC namespace are in use (kernel.shmmni)");
    assert!(ran.stderr.contains(&cause), "{ran:?}");
    let raise = format!("sysctl -w kernel.shmmni={}`", limit * 2);
    assert!(ran.stderr.contains("`shmadm list "), "{ran:?}");
    // In the user namespace of the tests without root, no command raises it.
    assert_eq!(ran.stderr.contains(&raise), is_root(), "{ran:?}");
    let error = run(["create", "--key", "random", "--json"]).exits(1).json();
    assert_eq!(error["error"]["errno"], "ENOSPC");
    assert!(!error["error"]["hints"].as_array().unwrap().is_empty(), "{error}");
    assert_eq!(oracle::rows().len(), limit);
}
