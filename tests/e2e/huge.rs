//! Segments of huge pages: sizes, resident counts, and an error instead of SIGBUS where no page is available.

use std::fs::File;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use nix::libc;
use serde_json::{Value, json};

use crate::fixtures::assert_fields;
use crate::oracle::{self, Attached};
use crate::pool::{HUGE, LARGER, Pool};
use crate::sandbox::with_no_capabilities;
use crate::support::{NOBODY, Ran, file, finish, noise, run, shmadm, shmadm_as};

#[apply(test)]
#[requires(HugePages(HUGE))]
fn a_size_is_rounded_up_and_reported() {
    let pool = &Pool::with_free(2, HUGE);
    let promised = pool.number("resv_hugepages");
    let ran = run(["create", "--huge", "--size", "3M"]).exits(0);
    let id: i32 = ran.stdout.trim().parse().unwrap();
    assert!(ran.stderr.contains("allocates 4 MiB (2 huge pages of 2 MiB); its size is 3 MiB"), "{ran:?}");
    assert_eq!(oracle::row(id).unwrap().get("size"), (3 << 20).to_string());
    assert_eq!(pool.number("resv_hugepages"), promised + 2, "the kernel has reserved the pages");
    oracle::remove(id);
    let ran = run(["create", "--huge=2M", "--size", "1"]).exits(0);
    assert!(ran.stderr.contains("allocates 2 MiB (1 huge page of 2 MiB); its size is 1 byte"), "{ran:?}");
    // A multiple of the page size is not rounded, and --quiet suppresses the message.
    for more in [&["--size", "2M"][..], &[], &["--size", "1M", "-q"]] {
        oracle::remove_all();
        let ran = run([&["create", "--huge=2M"], more].concat()).exits(0);
        assert!(!ran.stderr.contains("allocates"), "{ran:?}");
    }
}

#[apply(test)]
#[requires(HugePages(HUGE))]
fn fully_resident_segments_are_read_without_privilege() {
    let _pool = Pool::with_free(2, HUGE);
    let id = oracle::create(7, 2 * HUGE - 5, 0o666 | libc::SHM_HUGETLB);
    let attached = Attached::new(id);
    let read = || {
        let mut command = shmadm();
        with_no_capabilities(&mut command);
        finish(command.args(["read", "0x7", "--length", "4", "--text"]))
    };
    attached.write(0, b"text");
    read().exits(5).prints_nothing().says("it uses huge pages");
    attached.write(HUGE, b"x");
    assert_eq!(read().exits(0).stdout, "text\n");
}

#[apply(test)]
#[requires(HugePages(HUGE))]
fn an_unaligned_address_is_reported_as_a_possible_cause() {
    let _pool = Pool::with_free(1, HUGE);
    let id = run(["create", "--huge=2M", "-q"]).exits(0).stdout;
    let attach = |address: &str, more: &[&str]| {
        run([&["attach", id.trim(), "--address", address, "--for", "1ms"], more].concat())
    };
    for more in [&[][..], &["--round"]] {
        let ran = attach("0x200001000", more).exits(1).prints_nothing();
        ran.says("huge pages and the address is not a multiple of 2 MiB");
    }
    attach("0x200000000", &[]).exits(0);
    // An aligned address has another cause.
    assert!(!attach("0x8000000000000000", &[]).stderr.contains("huge pages"));
}

#[apply(test)]
#[requires(HugePages(LARGER))]
fn pages_of_every_supported_size() {
    let pool = &Pool::with_free(1, LARGER);
    let ran = run(["create", "--huge=1G", "--size", "5M", "--key", "7"]).exits(0);
    assert!(ran.stderr.contains("allocates 1 GiB (1 huge page of 1 GiB); its size is 5 MiB"), "{ran:?}");
    let before = pool.touched();
    run(["write", "0x7", "text"]).exits(0);
    assert_eq!(pool.touched(), before + 1);
    assert_eq!(run(["read", "0x7", "--text", "--length", "4"]).exits(0).stdout, "text\n");
    let report = run(["stat", "0x7", "--json"]).exits(0).json();
    assert_eq!(report["segments"][0]["rss"], json!(LARGER));
    let report = run(["map", "0x7", "--json"]).exits(0).json();
    assert_fields(&report, json!({ "page_size": LARGER, "resident": 5 << 20 }));
}

#[apply(test)]
fn an_unsupported_size_lists_the_supported_ones() {
    let ran = run(["create", "--huge=4M"]).exits(1).prints_nothing().says("(EINVAL, shmget)");
    let sizes = std::fs::read_dir("/sys/kernel/mm/hugepages").map_or(0, Iterator::count);
    let report = ran.stderr.lines().find(|line| line.starts_with("cause: huge pages"));
    let named = report.unwrap().matches("iB").count();
    assert_eq!(named, sizes, "{ran:?}");
}

#[apply(test)]
#[requires(HugePages(HUGE))]
fn resident_sizes_match_the_pool() {
    let pool = &Pool::with_free(3, HUGE);
    let id = oracle::create(7, 3 * HUGE - 5, 0o600 | libc::SHM_HUGETLB);
    let attached = Attached::new(id);
    let before = pool.touched();
    for page in 0..3 {
        let rss = |report: &Value| report["segments"][0]["rss"].as_u64().unwrap();
        let touched = (pool.touched() - before) * HUGE as u64;
        assert_eq!(touched, (page * HUGE) as u64);
        assert_eq!(rss(&run(["list", "--json"]).exits(0).json()), touched);
        assert_eq!(rss(&run(["stat", "0x7", "--json"]).exits(0).json()), touched);
        let map = run(["map", "0x7", "--json"]).exits(0).json();
        assert_eq!(map["rss"].as_u64().unwrap(), touched, "{map}");
        if page > 0 {
            let shown = run(["map", "0x7"]).exits(0).stdout;
            assert!(
                shown.contains(&format!("? unknown      6M  3 pages of 2M, {}M of it resident", 2 * page)),
                "{shown}"
            );
            assert!(!shown.contains("# resident"), "{shown}");
        }
        attached.write(page * HUGE + 9, b"here");
    }
    let map = run(["map", "0x7", "--json"]).exits(0).json();
    assert_fields(&map, json!({ "resident": 3 * HUGE - 5, "page_size": HUGE }));
}

// Only an attachment shows the page size.
#[apply(test)]
#[requires(HugePages(HUGE), Program(&["unshare"]))]
fn the_memory_of_an_attached_segment_is_not_part_of_shmem() {
    let _pool = Pool::with_free(1, HUGE);
    let ordinary = oracle::create(0, 4096, 0o600);
    Attached::new(ordinary).write(0, b"x");
    Attached::new(oracle::create(7, HUGE, 0o600 | libc::SHM_HUGETLB)).write(0, b"x");
    // The segments of other tests are not visible there.
    let inside = |line: &str| {
        let script = format!("\"$0\" attach -q --background 0x7 >/dev/null && \"$0\" {line}");
        let mut command = Command::new("unshare");
        finish(command.args(["--pid", "--fork", "--mount-proc", "sh", "-c", &script, env!("CARGO_BIN_EXE_shmadm")]))
    };
    for by in ["source", "process"] {
        let report = inside(&format!("usage --json --by {by}")).exits(0).json();
        assert_eq!(report["hugetlb"]["sysv"], HUGE, "{report}");
        let sources = report["sources"].as_array().unwrap();
        assert_fields(sources.iter().find(|it| it["source"] == "sysv").unwrap(), json!({ "rss": 4096, "count": 1 }));
    }
    let metrics = inside("metrics --all-ns").exits(0).stdout;
    assert!(metrics.contains("shmadm_usage_bytes{source=\"sysv\"} 4096\n"), "{metrics}");
}

#[apply(test)]
#[requires(HugePages(HUGE))]
fn a_pool_exhausted_midway_is_reported_with_the_offset() {
    let _pool = Pool::with_free(1, HUGE);
    let id = oracle::create(7, 3 * HUGE, 0o600 | libc::SHM_HUGETLB | libc::SHM_NORESERVE);
    let start = (HUGE - 100_000).to_string();
    let text = "x".repeat(110_000);
    for more in [&["--fill", "1"][..], &[&text], &["--input", "/dev/zero"]] {
        let line = [&["write", "0x7", "--offset", &start], more].concat();
        let ran = run(line).exits(1).prints_nothing();
        let report = ran.stderr.strip_prefix(&format!("error: cannot write segment {id} at offset "));
        let place: usize = report.unwrap().split(':').next().unwrap().parse().unwrap();
        // The kernel counts the copied bytes in base pages.
        assert!((HUGE - 4096..=HUGE).contains(&place), "{ran:?}");
    }
    assert!(oracle::remove(id));
}

/// Asserts that a call failed for lack of huge pages, with the cause and a remedy.
#[track_caller]
fn assert_lacks_pages(ran: Ran, call: &str) {
    ran.exits(1).says(call).says("free and not reserved in the pool: 0 of ").says("hugepages-2048kB/nr_hugepages");
}

/// Creates a segment of two missing huge pages, with key 7.
fn missing_pages() -> i32 {
    oracle::create(7, 2 * HUGE - 9, 0o666 | libc::SHM_HUGETLB | libc::SHM_NORESERVE)
}

#[apply(test)]
#[requires(HugePages(HUGE))]
fn create_from_an_empty_pool_reports_the_cause() {
    let _pool = Pool::with_free(0, HUGE);
    assert_lacks_pages(run(["create", "--huge", "--size", "3M"]).prints_nothing(), "(ENOMEM, shmget)");
    let ran = run(["create", "--huge", "--no-reserve", "--fill", "1"]).prints_nothing();
    assert_lacks_pages(ran, "(EFAULT, process_vm_writev)");
    assert_eq!(oracle::rows(), []);
}

#[apply(test)]
#[requires(HugePages(HUGE))]
fn write_to_missing_pages_reports_the_cause() {
    let _pool = Pool::with_free(0, HUGE);
    missing_pages();
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path(), "input", b"contents");
    let path = path.to_str().unwrap();
    for (more, call) in [
        (&["text"][..], "process_vm_writev"),
        (&["--fill", "1"], "process_vm_writev"),
        (&["--type", "u8", "1"], "process_vm_writev"),
        (&["--input", path], "read"),
        (&["--sparse", "--input", path], "process_vm_writev"),
    ] {
        let ran = run([&["write", "0x7"][..], more].concat()).prints_nothing();
        assert_lacks_pages(ran, &format!("(EFAULT, {call})"));
    }
    let ran = finish(shmadm().args(["write", "0x7"]).stdin(File::open("/dev/zero").unwrap()));
    assert_lacks_pages(ran.prints_nothing(), "(EFAULT, read)");
    assert_lacks_pages(run(["demo", "reader", "--key", "7"]), "(EFAULT, process_vm_readv)");
}

// Through the file behind the segment.
#[apply(test)]
#[requires(HugePages(HUGE))]
fn missing_pages_are_read_as_zeros() {
    let _pool = Pool::with_free(0, HUGE);
    let id = missing_pages();
    for form in [&["--hex"][..], &["--raw"], &["--text"], &["--type", "u8"]] {
        let ran = shmadm().args([&["read", "0x7"], form].concat()).output().unwrap();
        assert!(ran.status.success() && !ran.stdout.is_empty(), "{form:?}: {ran:?}");
    }
    assert_eq!(oracle::row(id).unwrap().get("rss"), "0");
}

// Through an attachment, which would have to allocate them.
#[apply(test)]
#[requires(HugePages(HUGE))]
fn missing_pages_cannot_be_read_without_privilege() {
    let _pool = Pool::with_free(0, HUGE);
    let id = missing_pages();
    let as_nobody = |arguments: &[&str]| finish(shmadm_as(NOBODY).args(arguments));
    as_nobody(&["read", "0x7"]).exits(5).says("it uses huge pages");
    let ran = as_nobody(&["read", "0x7", "--allow-allocation", "--type", "u8"]);
    assert_lacks_pages(ran.prints_nothing(), "(EFAULT, process_vm_readv)");
    let raw = ["read", "0x7", "--raw", "--allow-allocation"];
    assert_lacks_pages(as_nobody(&raw).prints_nothing(), "(EFAULT, ");
    let ran = finish(shmadm_as(NOBODY).args(raw).stdout(tempfile::tempfile().unwrap()));
    assert_lacks_pages(ran.prints_nothing(), "(EFAULT, ");
    let row = oracle::row(id).unwrap();
    assert_eq!((row.get("rss"), row.get("nattch")), ("0", "0"));
}

#[apply(test)]
#[requires(HugePages(HUGE))]
fn a_dump_of_missing_pages_without_privilege_leaves_no_file() {
    let _pool = Pool::with_free(0, HUGE);
    missing_pages();
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let path = directory.path().join("dump").to_string_lossy().into_owned();
    let ran = finish(shmadm_as(NOBODY).args(["dump", "0x7", "--allow-allocation", "--output", &path]));
    assert_lacks_pages(ran.prints_nothing(), "(EFAULT, process_vm_readv)");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[apply(test)]
#[requires(HugePages(HUGE))]
fn map_reports_missing_pages_as_untouched() {
    let _pool = Pool::with_free(0, HUGE);
    missing_pages();
    let report = finish(shmadm_as(NOBODY).args(["map", "0x7", "--json"])).exits(0).json();
    assert_fields(&report, json!({ "untouched": 2 * HUGE - 9, "page_size": HUGE }));
}

#[apply(test)]
#[requires(HugePages(HUGE))]
fn a_restored_segment_equals_the_dumped_one() {
    let pool = &Pool::with_free(3, HUGE);
    round_trip(pool, &shmadm);
}

#[apply(test)]
#[requires(HugePages(HUGE))]
fn a_restored_segment_equals_the_dumped_one_without_privilege() {
    let pool = &Pool::with_free(3, HUGE);
    // All pages are resident, so that reading allocates none.
    let blind = || {
        let mut command = shmadm();
        with_no_capabilities(&mut command);
        command
    };
    round_trip(pool, &blind);
}

#[apply(test)]
#[requires(HugePages(HUGE))]
fn a_restore_from_an_empty_pool_leaves_nothing_and_uses_surplus_pages() {
    let pool = &Pool::with_free(1, HUGE);
    let id = oracle::create(7, HUGE - 5, 0o600 | libc::SHM_HUGETLB);
    Attached::new(id).write(100, b"here");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dump").to_string_lossy().into_owned();
    run(["dump", "0x7", "--output", &path]).exits(0);
    oracle::remove(id);
    pool.has(0);
    let ran = run(["restore", &path]).exits(1).prints_nothing().says("(ENOMEM, shmget)");
    assert!(ran.stderr.contains("cause: 1 huge page of 2 MiB required; "), "{ran:?}");
    assert_eq!(oracle::rows(), []);
    let surplus = pool.number("surplus_hugepages");
    pool.may_have_more(1);
    let id: i32 = run(["restore", &path]).exits(0).stdout.trim().parse().unwrap();
    assert_eq!(pool.number("surplus_hugepages"), surplus + 1);
    assert_eq!(&oracle::contents(id)[100..104], b"here");
}

#[apply(test)]
#[requires(HugePages(HUGE))]
fn a_dump_allocates_no_missing_page() {
    let pool = &Pool::with_free(4, HUGE);
    let id = oracle::create(7, 4 * HUGE - 5, 0o600 | libc::SHM_HUGETLB);
    Attached::new(id).write(2 * HUGE + 7, b"here");
    let before = pool.touched();
    let piped = shmadm().args(["read", "0x7", "--raw"]).output().unwrap();
    let file = tempfile::tempfile().unwrap();
    let ran = finish(shmadm().args(["read", "0x7", "--raw"]).stdout(file.try_clone().unwrap()));
    ran.exits(0);
    assert_eq!(pool.touched(), before);
    let sparse = tempfile::tempfile().unwrap();
    let line = ["read", "0x7", "--raw", "--sparse", "--offset", "5"];
    finish(shmadm().args(line).stdout(sparse.try_clone().unwrap())).exits(0);
    assert_eq!(pool.touched(), before);
    let contents = oracle::contents(id);
    let mut bytes = vec![0; contents.len() - 5];
    std::os::unix::fs::FileExt::read_exact_at(&sparse, &mut bytes, 0).unwrap();
    let metadata = sparse.metadata().unwrap();
    assert!(bytes == contents[5..] && metadata.len() == bytes.len() as u64);
    assert!(metadata.blocks() * 512 < 1 << 20, "{metadata:?}");
    assert!(piped.stdout == contents && file.metadata().unwrap().len() == contents.len() as u64);
}

/// Dumps a segment of three pages, one of which is resident, and restores it.
fn round_trip(pool: &Pool, program: &dyn Fn() -> Command) {
    let size = 3 * HUGE - 12_345;
    let id = oracle::create(1234, size, 0o640 | libc::SHM_HUGETLB);
    let attached = Attached::new(id);
    let free = pool.touched();
    for place in [0, HUGE + 5000, size - 7000] {
        attached.write(place, &noise(7000, place as u64));
    }
    let contents = attached.bytes();
    drop(attached);
    let before = oracle::row(id).unwrap();
    let touched = pool.touched() - free;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dump").to_string_lossy().into_owned();
    finish(program().args(["dump", "0x4d2", "--output", &path, "--allow-allocation"])).exits(0);
    assert!(std::fs::read(&path).unwrap() == contents);
    let holes = std::fs::metadata(&path).unwrap().blocks() * 512;
    assert!(holes < 1 << 20, "zeros are holes in the file: {holes}");
    let kept: Value = serde_json::from_slice(&std::fs::read(Path::new(&format!("{path}.json"))).unwrap()).unwrap();
    assert_eq!((&kept["huge_page_size"], &kept["segment"]["rss"]), (&json!(HUGE), &json!(3 * HUGE)), "{kept}");
    oracle::remove(id);
    assert_eq!(pool.touched(), free);
    let id = finish(program().args(["restore", &path])).exits(0).stdout.trim().parse().unwrap();
    let after = oracle::row(id).unwrap();
    for field in ["key", "perms", "size", "uid", "gid", "rss"] {
        assert_eq!(after.get(field), before.get(field), "{field}");
    }
    assert_eq!(pool.touched() - free, touched);
    let attached = Attached::new(id);
    assert!(attached.bytes() == contents);
}
