//! Benchmarks of listings against cat, ipcs and lsipc.

use std::process::Command;

use nix::libc;

use crate::oracle;
use crate::timing::{Job, Output, SHMADM, compare};

/// Role argument: create segments and exit.
pub(crate) const CREATOR: &str = "create-and-exit";

/// Creates segments with consecutive keys.
pub(crate) fn create_and_exit(first: u32, count: u32) {
    for key in first..first + count {
        oracle::create(key, 4096, 0o600);
    }
}

/// Compares the startup time, with an empty list.
pub(crate) fn startup(pairs: usize) {
    println!("-- no segments");
    compare("list : ipcs -m", &Job::new(&[SHMADM, "list"]), &Job::new(&["ipcs", "-m"]), pairs * 10, Some(1.6));
}

/// Compares listings of `segments` segments that were created by `creators` processes, which have exited.
pub(crate) fn run(segments: u32, creators: u32, pairs: usize) {
    println!("-- {segments} segments of {creators} creators that have exited");
    let each = segments / creators;
    for creator in 0..creators {
        let arguments = [CREATOR.to_owned(), (creator * each + 1).to_string(), each.to_string()];
        let status = Command::new("/proc/self/exe").args(arguments).status().unwrap();
        assert!(status.success(), "the creator failed: {status}");
    }
    let rows = oracle::rows();
    assert_eq!(rows.len(), usize::try_from(segments).unwrap());

    let cat = Job::new(&["cat", "/proc/sysvipc/shm"]);
    let lsipc = Job::new(&["lsipc", "-m", "--json"]);
    let few = Job::new(&[SHMADM, "list", "-o", "ID,KEY,SIZE,NATTCH", "--format", "tsv"]);
    let whole = Job::new(&[SHMADM, "list", "--json"]);
    compare("list -o ID,KEY,SIZE,NATTCH, tsv : cat", &few, &cat, pairs, Some(1.0));
    compare("list -o ID,KEY,SIZE,NATTCH, tsv : lsipc --json", &few, &lsipc, pairs, Some(0.1));
    compare("list --json : cat", &whole, &cat, pairs, Some(2.0));
    compare("list --json : lsipc --json", &whole, &lsipc, pairs, None);
    let piped = |command| Job { output: Output::Pipe, ..Job::new(command) };
    compare("list : ipcs -m, both piped", &piped(&[SHMADM, "list"]), &piped(&["ipcs", "-m"]), pairs, Some(0.5));
    compare("metrics : list --json", &Job::new(&[SHMADM, "metrics"]), &whole, pairs, Some(1.0));
    compare("check : list --json", &Job::new(&[SHMADM, "check", "-w", "segments=100%"]), &whole, pairs, None);
    for (place, row) in [("middle", &rows[rows.len() / 2]), ("last", &rows[rows.len() - 1])] {
        let stat = Job::new(&[SHMADM, "stat", row.get("shmid")]);
        // Two that take about the same: more pairs than the others, for less chance in what comes out.
        compare(&format!("stat of the {place} one : cat"), &stat, &cat, pairs * 4, Some(1.25));
    }
    for row in rows {
        assert!(oracle::remove(row.get("shmid").parse::<libc::c_int>().unwrap()));
    }
}
