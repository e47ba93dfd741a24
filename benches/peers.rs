//! The program beside its peers, as ratios within one run: `cargo bench`.
//!
//! Each pair of commands runs in turn, A B A B, in an IPC namespace of its own; what is printed is the median of each
//! and the median of the ratios. 32,000 segments and the rights of two users take root: without it these parts are
//! left out, and said to be. A number as argument sets how many pairs are run.
#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on fails by panicking")]
#![expect(clippy::print_stdout, reason = "the table is what this is for")]

mod contents;
mod listing;
#[path = "../tests/e2e/oracle.rs"]
#[expect(dead_code, reason = "the trials use all of it")]
mod oracle;
mod timing;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::geteuid;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if let [word, first, count] = arguments.as_slice()
        && word == listing::CREATOR
    {
        return listing::create_and_die(first.parse().unwrap(), count.parse().unwrap());
    }
    let pairs = arguments.first().and_then(|number| number.parse().ok()).unwrap_or(15);
    let root = geteuid().is_root();
    if !root {
        println!("not root: 32,000 segments and what another user may do are left out");
    }
    enter_namespace(root);
    timing::headings();
    listing::startup(pairs);
    listing::of(4096, 1024, pairs);
    if root {
        std::fs::write("/proc/sys/kernel/shmmni", "32768").unwrap();
        listing::of(32_000, 8_000, pairs);
    }
    contents::run(pairs.min(9), root);
}

/// Enters a fresh IPC namespace; without root inside a user namespace in which we stay who we are.
#[expect(clippy::disallowed_methods, reason = "what is measured must not meet the host's segments")]
fn enter_namespace(root: bool) {
    if root {
        unshare(CloneFlags::CLONE_NEWIPC).unwrap();
        return;
    }
    let (uid, gid) = (geteuid(), nix::unistd::getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWIPC).unwrap();
    std::fs::write("/proc/self/setgroups", "deny").unwrap();
    std::fs::write("/proc/self/uid_map", format!("{uid} {uid} 1")).unwrap();
    std::fs::write("/proc/self/gid_map", format!("{gid} {gid} 1")).unwrap();
}
