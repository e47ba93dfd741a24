//! Reading a segment allocates no memory, and holes stay holes.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use nix::libc;
use serde_json::json;

use crate::oracle::{self, Attached};
use crate::pool::{HUGE, Pool};
use crate::sandbox::with_file_over;
use crate::sandbox::with_no_capabilities;
use crate::support::{NOBODY, file, finish, run, shmadm, shmadm_as};

/// The size of a large segment, mostly untouched.
const LARGE: usize = 1 << 30;
/// The touched offsets: at the start, in the middle and in the last page.
const TOUCHED: [usize; 3] = [0, (LARGE >> 1) + 4090, LARGE - 5];

#[apply(test)]
fn inspecting_allocates_no_memory() {
    looks(&shmadm, 0o600);
}

#[apply(test)]
#[requires(Root)]
fn inspecting_allocates_no_memory_without_privilege() {
    looks(&|| shmadm_as(NOBODY), 0o666);
}

#[apply(test)]
fn holes_stay_holes_in_a_file() {
    holes(&shmadm, 0o600);
}

#[apply(test)]
#[requires(Root)]
fn holes_stay_holes_in_a_file_without_privilege() {
    holes(&|| shmadm_as(NOBODY), 0o666);
}

#[apply(test)]
fn only_a_file_can_have_holes() {
    let id = sparse(0o600).to_string();
    run(["read", &id, "--raw", "--sparse"]).exits(1).says("(ESPIPE, lseek)").says("--sparse requires a file");
    run(["read", &id, "--sparse"]).exits(2);
}

#[apply(test)]
fn a_file_that_holes_would_not_replace_is_refused() {
    let id = sparse(0o600).to_string();
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path(), "output", b"before");
    let read_into =
        |output: File| finish(shmadm().args(["read", &id, "--raw", "--sparse", "--length", "8K"]).stdout(output));
    read_into(File::options().append(true).open(&path).unwrap()).exits(1).says("append mode");
    // Existing bytes after the current offset would look like the segment's.
    read_into(File::options().read(true).write(true).open(&path).unwrap()).exits(1).says("(EEXIST, lseek)");
    assert_eq!(std::fs::read(&path).unwrap(), b"before");
}

#[apply(test)]
#[requires(Root)]
fn a_segment_whose_holes_are_unknown_is_refused() {
    let id = sparse(0o600).to_string();
    let directory = tempfile::tempdir().unwrap();
    // There is swap, and it is unknown whether pages were swapped out meanwhile.
    let meminfo = file(directory.path(), "meminfo", b"MemTotal: 1000 kB\nSwapTotal: 1000 kB\n");
    let blind = || {
        let mut command = shmadm();
        with_file_over(&mut command, &meminfo, c"/proc/meminfo");
        with_file_over(&mut command, &file(directory.path(), "vmstat", b""), c"/proc/vmstat");
        with_no_capabilities(&mut command);
        command
    };
    let before = oracle::row(id.parse().unwrap()).unwrap();
    let rss = before.get("rss").to_owned();
    let ran = finish(blind().args(["read", &id, "--length", "1M"])).exits(5).says("--allow-allocation");
    assert_eq!(ran.stdout, "");
    assert_eq!(oracle::row(id.parse().unwrap()).unwrap().get("rss"), rss);
    let ran = finish(blind().args(["read", &id, "--length", "1M", "--allow-allocation"])).exits(0);
    assert!(ran.stdout.contains("00100000\n"), "{ran:?}");
    assert_ne!(oracle::row(id.parse().unwrap()).unwrap().get("rss"), rss, "reading would have allocated memory");
    // Reading a fully resident segment allocates nothing.
    let whole = oracle::create(0, 8192, 0o600);
    Attached::new(whole).write(0, &[1; 8192]);
    finish(blind().args(["read", &whole.to_string()])).exits(0);
    // With the kernel's swap counts, the holes are known.
    let mut swapless = shmadm();
    finish(with_no_capabilities(&mut swapless).args(["read", &sparse(0o600).to_string()])).exits(0);
}

#[apply(test)]
#[requires(HugePages(HUGE))]
fn unbacked_huge_pages_stay_unbacked() {
    let _pool = Pool::with_free(2, HUGE);
    let free = || {
        let text = std::fs::read_to_string("/proc/meminfo").unwrap();
        text.lines().find_map(|line| line.strip_prefix("HugePages_Free:")).unwrap().trim().to_owned()
    };
    let id = oracle::create(0, 4 << 20, 0o600 | libc::SHM_HUGETLB);
    let before = free();
    let dump = run(["read", &id.to_string()]).exits(0).stdout;
    assert!(dump.ends_with("*\n00400000\n"), "{dump}");
    let mut command = shmadm();
    finish(with_no_capabilities(&mut command).args(["read", &id.to_string()])).exits(5).says("it uses huge pages");
    assert_eq!(free(), before);
    assert_eq!(oracle::row(id).unwrap().get("rss"), "0");
    oracle::remove(id);
}

#[apply(test)]
fn zeros_that_are_written_stay_holes() {
    written(&shmadm, 0o600);
}

#[apply(test)]
#[requires(Root)]
fn zeros_that_are_written_stay_holes_without_privilege() {
    written(&|| shmadm_as(NOBODY), 0o666);
}

#[apply(test)]
fn write_sparse_requires_an_input() {
    let id = oracle::create(0, 8192, 0o600).to_string();
    for more in [&["text"][..], &["--fill", "0"], &["--hex", "00"], &["--type", "u8", "0"]] {
        run([&["write", &id, "--sparse"], more].concat()).exits(2).prints_nothing();
    }
    let longer = shmadm().args(["write", &id, "--sparse"]).stdin(zeros(10_000)).output().unwrap();
    assert_eq!(longer.status.code(), Some(1), "{longer:?}");
    assert!(String::from_utf8_lossy(&longer.stderr).contains("8192 bytes were written"), "{longer:?}");
}

/// Returns a file of N zeros.
fn zeros(length: u64) -> File {
    let file = tempfile::tempfile().unwrap();
    file.set_len(length).unwrap();
    file
}

/// Writes inputs with zeros and holes to segments with data and holes. The contents are as after any other write, and
/// no more memory is allocated than for the data.
fn written(program: &dyn Fn() -> Command, mode: i32) {
    const SIZE: usize = 64 * 4096;
    let mut chance = fastrand::Rng::with_seed(7);
    for round in 0..24 {
        let id = oracle::create(0, SIZE - 100, mode);
        let attached = Attached::new(id);
        let (mut expected, mut touched) = (vec![0; SIZE - 100], vec![false; 64]);
        for _ in 0..chance.usize(..6) {
            let place = chance.usize(..SIZE - 200);
            attached.write(place, &[0xaa; 50]);
            expected[place..place + 50].fill(0xaa);
            touched[place / 4096..=(place + 49) / 4096].fill(true);
        }
        // Every other round the input is a file with holes, otherwise a pipe.
        let (offset, length) = (chance.usize(..4096 * 3), chance.usize(4096..SIZE - 4096 * 4));
        let input = zeros(length as u64);
        for _ in 0..chance.usize(..6) {
            let place = chance.usize(..length - 20);
            std::os::unix::fs::FileExt::write_all_at(&input, &[0xbb; 20], place as u64).unwrap();
        }
        let mut bytes = vec![0; length];
        std::os::unix::fs::FileExt::read_exact_at(&input, &mut bytes, 0).unwrap();
        expected[offset..offset + length].copy_from_slice(&bytes);
        for (page, touched) in touched.iter_mut().enumerate() {
            let (start, end) = ((page * 4096).max(offset), ((page + 1) * 4096).min(offset + length));
            *touched |= start < end && bytes[start - offset..end - offset].iter().any(|byte| *byte != 0);
        }
        let mut command = program();
        command.args(["write", &id.to_string(), "--sparse", "--offset", &offset.to_string()]);
        let output = if round % 2 == 0 {
            command.stdin(input).output().unwrap()
        } else {
            let mut cat = Command::new("cat").stdin(input).stdout(Stdio::piped()).spawn().unwrap();
            let output = command.stdin(cat.stdout.take().unwrap()).output().unwrap();
            cat.wait().unwrap();
            output
        };
        assert!(output.status.success(), "{output:?}");
        let rss = oracle::row(id).unwrap().get("rss").to_owned();
        assert_eq!(rss, (touched.iter().filter(|touched| **touched).count() * 4096).to_string(), "round {round}");
        assert!(attached.bytes() == expected, "round {round}: at offset {offset}, {length} bytes");
        drop(attached);
        oracle::remove(id);
    }
}

fn sparse(mode: i32) -> i32 {
    let id = oracle::create(0, LARGE, mode | libc::SHM_NORESERVE);
    let attached = Attached::new(id);
    for place in TOUCHED {
        attached.write(place, b"here!");
    }
    id
}

/// Inspects it with every command, none of which may allocate memory.
fn looks(program: &dyn Fn() -> Command, mode: i32) {
    let id = sparse(mode);
    let name = id.to_string();
    let rss = || oracle::row(id).unwrap().get("rss").to_owned();
    let before = rss();
    assert_eq!(before, (3 * oracle::page_size()).to_string());
    let dump = finish(program().args(["read", &name])).exits(0).stdout;
    let lines: Vec<&str> = dump.lines().collect();
    assert_eq!(lines.len(), 8, "{dump}");
    assert!(lines[0].starts_with("00000000  68 65 72 65 21 00"), "{dump}");
    assert_eq!((lines[2], lines[7]), ("*", "40000000"), "{dump}");
    assert!(lines.iter().any(|line| line.starts_with("20000ff0  00 00 00 00 00 00 00 00  00 00 68 65 72 65 21 00")));
    let values = finish(program().args(["read", &name, "--type", "u8", "--offset", "512M", "--json"])).exits(0).json();
    assert_eq!(values["values"], json!([0]));
    let hex = finish(program().args(["read", &name, "--offset", "1M", "--length", "10000", "--json"])).exits(0).json();
    assert_eq!(hex["hex"].as_str().unwrap(), "00".repeat(10_000));
    finish(program().args(["read", &name, "--text", "--offset", "600M"])).exits(0);
    // To a pipe, and to a file that is not sparse.
    let piped = program().args(["read", &name, "--raw", "--length", "300M"]).output().unwrap();
    assert!(piped.status.success() && piped.stdout.len() == 300 << 20 && piped.stdout.starts_with(b"here!\0"));
    assert!(piped.stdout[5..].iter().all(|byte| *byte == 0));
    let null = program().args(["read", &name, "--raw"]).stdout(Stdio::null()).status().unwrap();
    assert!(null.success());
    assert_eq!(rss(), before);
}

/// Copies it to a sparse file.
fn holes(program: &dyn Fn() -> Command, mode: i32) {
    let id = sparse(mode);
    let before = oracle::row(id).unwrap().get("rss").to_owned();
    let copy = tempfile::tempfile().unwrap();
    let ran = finish(program().args(["read", &id.to_string(), "--raw", "--sparse"]).stdout(copy.try_clone().unwrap()));
    ran.exits(0);
    let metadata = copy.metadata().unwrap();
    assert_eq!(metadata.len(), LARGE as u64);
    assert!(metadata.blocks() * 512 < 1 << 20, "{metadata:?}");
    for place in TOUCHED {
        let mut bytes = [0; 5];
        std::os::unix::fs::FileExt::read_exact_at(&copy, &mut bytes, place as u64).unwrap();
        assert_eq!(&bytes, b"here!");
    }
    assert_eq!(oracle::row(id).unwrap().get("rss"), before);
    // A hole at the end still counts for the file's size.
    let part = tempfile::tempfile().unwrap();
    let line = ["read", &id.to_string(), "--raw", "--sparse", "--offset", "100M", "--length", "12345"];
    finish(program().args(line).stdout(part.try_clone().unwrap())).exits(0);
    assert_eq!(part.metadata().unwrap().len(), 12_345);
}
