//! Benchmarks of reading, writing and dumping contents against cat and cp on files in memory.

use std::os::unix::fs::PermissionsExt;

use crate::oracle;
use crate::timing::{Job, Output, SHMADM, compare};

/// Bytes that are read and written.
const SIZE: usize = 1 << 30;
/// Bytes that are dumped and restored.
const DUMPED: usize = 2 << 30;
/// The uid of an unprivileged user.
const NOBODY: u32 = 65534;

/// Compares reading and writing a segment with reading and writing a file.
pub(crate) fn run(pairs: usize, root: bool) {
    println!("-- 1 GiB");
    let directory = tempfile::Builder::new().prefix("shmadm-bench-").tempdir_in("/dev/shm").unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let path = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
    let (source, target) = (path("source"), path("target"));
    let pattern = pattern();
    for file in [&source, &target] {
        std::fs::write(file, pattern.repeat(SIZE / pattern.len())).unwrap();
    }
    let id = oracle::create(0x5eed, SIZE, 0o666);
    let attached = oracle::Attached::new(id);
    for index in 0..SIZE / pattern.len() {
        attached.write(index * pattern.len(), &pattern);
    }
    drop(attached);
    let id = id.to_string();

    let reading = |program: &str, uid| Job { output: Output::Pipe, uid, ..Job::new(&[program, "read", &id, "--raw"]) };
    let cat = |uid| Job { output: Output::Pipe, uid, ..Job::new(&["cat", &source]) };
    compare("read --raw, to a pipe : cat FILE", &reading(SHMADM, None), &cat(None), pairs, Some(1.0));
    if root {
        // The build directory may not be accessible to other users.
        let copy = path("shmadm");
        std::fs::copy(SHMADM, &copy).unwrap();
        std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o755)).unwrap();
        let what = "read --raw, to a pipe, unprivileged : cat FILE";
        compare(what, &reading(&copy, Some(NOBODY)), &cat(Some(NOBODY)), pairs, Some(1.0));
    }

    let feeder = Some(vec!["cat".to_owned(), source.clone()]);
    let writing = Job { feeder: feeder.clone(), ..Job::new(&[SHMADM, "write", &id]) };
    let overwriting = Job { feeder: feeder.clone(), output: Output::File(target.clone()), ..Job::new(&["cat"]) };
    compare("write from a pipe, resident : cat > FILE", &writing, &overwriting, pairs, Some(1.6));

    let program = format!("id=$({SHMADM} create --size 1G -q) && {SHMADM} write -q $id; {SHMADM} rm -q $id");
    let fresh = Job { feeder: feeder.clone(), ..Job::new(&["sh", "-c", &program]) };
    let new = path("new");
    let creating = Job { feeder, ..Job::new(&["sh", "-c", &format!("cat > {new}; rm {new}")]) };
    compare("create, write, rm : cat > NEW, rm", &fresh, &creating, pairs, None);

    assert!(oracle::remove(id.parse().unwrap()));
}

/// Compares dumping and restoring a segment with copying a file.
pub(crate) fn run_dump(pairs: usize, root: bool) {
    println!("-- 2 GiB, in memory");
    let directory = tempfile::Builder::new().prefix("shmadm-bench-").tempdir_in("/dev/shm").unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let path = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
    let (source, new, dump) = (path("source"), path("new"), path("dump"));
    let pattern = pattern();
    std::fs::write(&source, pattern.repeat(DUMPED / pattern.len())).unwrap();
    let id = oracle::create(0x5eed, DUMPED, 0o666);
    let attached = oracle::Attached::new(id);
    for index in 0..DUMPED / pattern.len() {
        attached.write(index * pattern.len(), &pattern);
    }
    drop(attached);
    // The build directory may not be accessible to other users.
    let copy = path("shmadm");
    std::fs::copy(SHMADM, &copy).unwrap();
    std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o755)).unwrap();
    // Each run deletes the file of the previous one and leaves its own.
    let sh = |line: &str, uid| Job { uid, ..Job::new(&["sh", "-c", line]) };
    for (user, uid) in [("", None), (", unprivileged", Some(NOBODY))] {
        if uid.is_some() && !root {
            continue;
        }
        let copying = sh(&format!("rm -f {new}; cp {source} {new}"), uid);
        let dumping = sh(&format!("rm -f {dump} {dump}.json; {copy} dump {id} -q --output {dump}"), uid);
        // At least 0.4 times as fast as cp, if the segment's file can be opened, which requires privileges.
        let target = uid.is_none().then_some(2.5);
        compare(&format!("dump{user} : cp"), &dumping, &copying, pairs, target);
        let restoring = sh(&format!("{copy} rm -q $({copy} restore -q --key private {dump})"), uid);
        compare(&format!("restore, rm{user} : cp"), &restoring, &copying, pairs, None);
        for file in [&new, &dump, &format!("{dump}.json")] {
            std::fs::remove_file(file).unwrap();
        }
    }
    assert!(oracle::remove(id));
}

/// Returns bytes that are not zero and differ from page to page, so no shortcut applies.
fn pattern() -> Vec<u8> {
    (0..1_u32 << 18).flat_map(|word| word.wrapping_mul(2_654_435_761).to_ne_bytes()).collect()
}
