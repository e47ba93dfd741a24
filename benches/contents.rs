//! Contents, beside cat on files in memory.

use std::os::unix::fs::PermissionsExt;

use crate::oracle;
use crate::timing::{Job, Output, compare};

/// The program.
const SHMADM: &str = env!("CARGO_BIN_EXE_shmadm");
/// Bytes that are moved.
const SIZE: usize = 1 << 30;
/// A user who may do nothing special.
const NOBODY: u32 = 65534;

/// Compares reading and writing a segment with reading and writing a file.
pub(crate) fn run(pairs: usize, root: bool) {
    println!("-- 1 GiB");
    let directory = tempfile::Builder::new().prefix("shmadm-bench-").tempdir_in("/dev/shm").unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let path = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
    let (source, target) = (path("source"), path("target"));
    // Neither zeros, which could be cheaper, nor one page again and again.
    let piece: Vec<u8> = (0..1_u32 << 18).flat_map(|word| word.wrapping_mul(2_654_435_761).to_ne_bytes()).collect();
    for file in [&source, &target] {
        std::fs::write(file, piece.repeat(SIZE / piece.len())).unwrap();
    }
    let id = oracle::create(0x5eed, SIZE, 0o666);
    let attached = oracle::Attached::new(id);
    for part in 0..SIZE / piece.len() {
        attached.write(part * piece.len(), &piece);
    }
    drop(attached);
    let id = id.to_string();

    let reading = |program: &str, uid| Job { output: Output::Pipe, uid, ..Job::new(&[program, "read", &id, "--raw"]) };
    let cat = |uid| Job { output: Output::Pipe, uid, ..Job::new(&["cat", &source]) };
    compare("read --raw, to a pipe : cat FILE", &reading(SHMADM, None), &cat(None), pairs, Some(1.0));
    if root {
        // Where this was built, others need not be able to go.
        let copy = path("shmadm");
        std::fs::copy(SHMADM, &copy).unwrap();
        std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o755)).unwrap();
        let what = "read --raw, to a pipe, unprivileged : cat FILE";
        compare(what, &reading(&copy, Some(NOBODY)), &cat(Some(NOBODY)), pairs, Some(1.0));
    }

    let feeder = Some(vec!["cat".to_owned(), source.clone()]);
    let writing = Job { feeder: feeder.clone(), ..Job::new(&[SHMADM, "write", &id]) };
    let over = Job { feeder: feeder.clone(), output: Output::File(target.clone()), ..Job::new(&["cat"]) };
    compare("write from a pipe, resident : cat > FILE", &writing, &over, pairs, Some(1.6));

    let program = format!("id=$({SHMADM} create --size 1G -q) && {SHMADM} write -q $id; {SHMADM} rm -q $id");
    let fresh = Job { feeder: feeder.clone(), ..Job::new(&["sh", "-c", &program]) };
    let new = path("new");
    let making = Job { feeder, ..Job::new(&["sh", "-c", &format!("cat > {new}; rm {new}")]) };
    compare("create, write, rm : cat > NEW, rm", &fresh, &making, pairs, None);

    // Each begins with no file, and leaves it to the next one.
    let dump = path("dump");
    let dumping = format!("rm -f {dump}; {SHMADM} dump {id} -q --output {dump} --force");
    let dumping = Job::new(&["sh", "-c", &dumping]);
    let copying = Job::new(&["sh", "-c", &format!("rm -f {new}; cp {source} {new}")]);
    // At least 0.4 times as fast.
    compare("dump : cp, in memory", &dumping, &copying, pairs, Some(2.5));
    let restoring = format!("{SHMADM} rm -q $({SHMADM} restore -q --key private {dump})");
    let restoring = Job::new(&["sh", "-c", &restoring]);
    compare("restore, rm : cp, in memory", &restoring, &copying, pairs, None);
    assert!(oracle::remove(id.parse().unwrap()));
}
